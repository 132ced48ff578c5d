"""What all verbs of the command line share: common flags, help, options, one run.

Knows no verb: the modules beside this one declare them. Prints through `terminal`, help through click.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from dvlite.cli.complete import NameOf
from dvlite.errors import NotARepository, Untrusted, UsageError

if TYPE_CHECKING:
    from dvlite.cli.terminal import Terminal, TerminalProgress, Words
    from dvlite.repo.repository import Repo
    from dvlite.repo.revisions import Scope

R = TypeVar("R")
CODES = {
    0: "ok",
    1: "failed",
    2: "usage",
    3: "partly done",
    4: "a stage failed",
    10: "not a repository",
    11: "busy",
    12: "data missing",
    13: "data corrupt",
    130: "interrupted",
}
FINDS = {1: "something was found (with --exit-code), or failed"}
COMPLETE = "_DVLITE_COMPLETE"  # the variable in which a shell asks for completions
RUNS_OF = ("mlflow", "wandb", "neptune", "mlmd")  # programs whose runs can be imported
SECTIONS = (
    "Start",
    "Work",
    "Share",
    "Pipeline",
    "Lineage",
    "Check",
    "Inspect",
    "Maintain",
    "Move",
)  # each area lists its verbs by section
_GLOB = frozenset("*?[")  # no name of a revision has them
_OTHERS = {  # words of other programs, by what they mean here; of several, the first that the group has
    "checkout": "undo restore reset revert switch unprotect",
    "add": "track",
    "rm|remove": "rm remove delete del untrack unadd",
    "mv|rename": "move mv",
    "ls|list": "list ls ls-files",
    "set": "set-url modify update change",
    "list": "get-url get",
    "pull": "download",
    "push": "upload",
    "repro": "run reproduce",
    "runs": "exp experiments",
    "lineage": "provenance",
    "log": "history",
    "stage freeze": "freeze",
    "stage thaw|thaw": "unfreeze",
    "cache prune": "prune",
    "gc": "clean",
    "fsck": "repair",
    "--help": "help",
    "--version": "version",
}
MEANT = {word: meant for meant, words in _OTHERS.items() for word in words.split()}


# --- the frame: common flags, help, one run -------------------------------------------------------------------------------------


class PathText(click.ParamType[str]):
    """A path as typed; the shell completes it."""

    name = "path"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Lets the shell offer its own files."""
        return [CompletionItem(incomplete, type="file")]


class FreeText(click.types.UnprocessedParamType):
    """Words that may be empty: those of another program, and values of settings."""


def empty_word(what: str) -> UsageError:
    """Returns the error for a word of the command line that is empty."""
    return UsageError(f"{what} is empty", hint="is a variable of a script not set?")


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Stores a common flag for the run, wherever it was given."""
    flags: dict[str, Any] = ctx.ensure_object(dict)
    if value == "":
        raise empty_word(param.opts[-1])
    if value and param.name == "start_in":
        flags["start_in"] = os.path.join(flags.get("start_in", ""), value)
    elif value:
        flags[str(param.name)] = value


def _common(*names: str, **settings: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_keep, **settings)


COMMON: tuple[click.Parameter, ...] = (
    _common("-q", "--quiet", is_flag=True, help="Print results and errors only."),
    _common("-v", "--verbose", count=True, help="Print more."),
    _common("--json", is_flag=True, help="Print the result as JSON."),
    _common("--no-progress", is_flag=True, help="Print no progress."),
    _common("--no-pager", is_flag=True, help="Print long lists without a pager."),
    _common(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        help="Use colours: auto (on a terminal), always or never.",
    ),
    _common("-C", "start_in", metavar="DIR", type=PathText(), help="Start in this folder."),
)


class Verb(click.Command):
    """A command that takes the common flags, and whose help ends in an example and its exit codes; one that `pages` may list much."""

    def __init__(
        self,
        *args: Any,
        example: str = "",
        codes: tuple[int, ...] = (),
        says: Mapping[int, str] | None = None,
        pages: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.params += COMMON
        self.example, self.codes, self.says, self.pages = example, codes, says or {}, pages

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuses an empty word: it stands for nothing, and never for all or for the default."""
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click leaves it out where a value is missing, and the hint names the verb
            raise
        for param in self.params:
            value = ctx.params.get(str(param.name))
            is_empty = value == "" or (isinstance(value, tuple) and "" in value)
            flag_value = getattr(param, "flag_value", None)
            may_be_empty = isinstance(param.type, FreeText) or param.default == "" or isinstance(flag_value, str)
            if is_empty and not may_be_empty:
                raise empty_word("an argument" if isinstance(param, click.Argument) else param.opts[-1])
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options of the verb, and the common ones in one line."""
        own = [p for p in self.get_params(ctx) if p not in COMMON and isinstance(p, click.Option)]
        records = [record for param in own if (record := param.get_help_record(ctx)) is not None]
        if records:
            with formatter.section("Options"):
                formatter.write_dl(records)
        formatter.write("\nAlso: -q, -v, --json, --no-progress, --no-pager, --color WHEN, -C DIR (see dvlite --help)\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the example and the exit codes."""
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"  {line}\n")
        codes = sorted({0, 1, 2, 130, *self.codes})
        formatter.write_paragraph()
        words = {**CODES, **self.says}
        formatter.write_text("Exit codes: " + ", ".join(f"{code} {words[code]}" for code in codes))


class ComparingVerb(Verb):
    """A verb that separates revisions from paths by `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps the words after `--` apart, which click does not."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["dvlite.after"] = None if at == len(args) else tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])


def key_value(text: str, example: str) -> tuple[str, str]:
    """Returns both parts of `KEY=VALUE`; raises UsageError for anything else."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"'{text}' is not KEY=VALUE", hint=f"for example {example}")
    return key, value


def after_dashes() -> tuple[str, ...] | None:
    """Returns the words after `--` on the command line of a ComparingVerb, None without it."""
    after: tuple[str, ...] | None = click.get_current_context().meta["dvlite.after"]
    return after


def revisions_and_paths(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Splits as git does: revisions first, paths after `--` or from the first word that exists on disk, has a pointer, or is a glob.

    `/data`, `./data` and `../data` are paths whether they exist or not: no revision is written like that.
    """
    after = after_dashes()
    if after is not None:
        return words, after
    there = (
        os.path.lexists(word)
        or os.path.lexists(f"{word}.dvlite")
        or word.startswith(("/", "./"))
        or ".." in word.split("/")
        or (not _GLOB.isdisjoint(word) and ":/" not in word)
        for word in words
    )
    at = next((i for i, exists in enumerate(there) if exists), len(words))
    return words[:at], words[at:]


class Verbs(click.Group):
    """A group of verbs that takes the common flags and suggests a verb for an unknown one."""

    command_class = Verb
    group_class = type  # groups below are of this class too

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, "invoke_without_command": True, **settings})
        self.params += COMMON
        self.sections: dict[str, list[click.Command]] = {}

    def add_area(self, area: Mapping[str, Sequence[click.Command]]) -> None:
        """Adds the verbs of an area by their sections of the help."""
        self.sections = self.sections or {title: [] for title in SECTIONS}
        for title, verbs in area.items():
            for verb in verbs:
                self.add_command(verb)
                self.sections[title].append(verb)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Prints the help where a verb is missing."""
        rest = super().parse_args(ctx, args)
        if not ctx._protected_args and not rest and not ctx.resilient_parsing:  # noqa: SLF001  # click's own name for the verb that comes next
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return rest

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the verb, or suggests one."""
        wrong = args[0]
        if not wrong:
            raise empty_word("an argument")
        if wrong in self.commands or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        from dvlite.show import closest

        others = MEANT.get(wrong, "").split("|")
        known = (word for word in others if word.startswith("-") or word.partition(" ")[0] in self.commands)
        meant = next(known, "") or closest(wrong, self.commands)
        if wrong == "help" and args[1:2] and args[1] in self.commands:
            meant = f"{args[1]} --help"
        first = f"did you mean: {ctx.command_path} {meant}\n" if meant else ""
        raise UsageError(
            f"'{ctx.command_path} {wrong}' is not a command", hint=f"{first}all commands: {ctx.command_path} --help"
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the verbs by section."""
        for title, verbs in (self.sections or {"Commands": list(self.commands.values())}).items():
            with formatter.section(title):
                formatter.write_dl([(str(verb.name), verb.get_short_help_str(70)) for verb in verbs if not verb.hidden])


class DefaultVerbs(Verbs):
    """Verbs whose first form needs no name: `dvlite runs --stage train` is `dvlite runs list --stage train`."""

    def __init__(self, *args: Any, default: str, takes_word: bool, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._default, self._takes_word = default, takes_word

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Inserts the default verb after common flags if no verb follows; without any word only if it `takes_word` not."""
        names = {name for param in COMMON for name in param.opts}
        at = 0
        while at < len(args) and args[at].partition("=")[0] in names:
            at += 2 if args[at] in ("-C", "--color") else 1
        first = args[at] if at < len(args) else ""
        is_other = first not in self.commands and first not in ("-h", "--help")
        is_other = is_other and (bool(first) or not ctx.resilient_parsing)  # a shell completes the word that comes next
        if is_other and (first.startswith("-") or bool(first) == self._takes_word):
            args = [*args[:at], self._default, *args[at:]]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offers the verbs, and the options of the default one."""
        if not incomplete.startswith("-"):
            names = [CompletionItem(incomplete, type="file")] if self._takes_word else []
            return [*super().shell_complete(ctx, incomplete), *names]
        verb = self.commands[self._default]
        with verb.make_context(self._default, [], parent=ctx, resilient_parsing=True) as inner:
            return verb.shell_complete(inner, incomplete)


@dataclass(slots=True)
class Session:
    """One run of one verb: terminal, progress, environment and flags."""

    output: Terminal
    progress: TerminalProgress
    environ: Mapping[str, str]
    flags: Mapping[str, Any]
    opened: Repo | None = None
    asked: set[str] = field(default_factory=set)

    def repo(self, start: str = ".") -> Repo:
        """Opens the repository around the current folder."""
        from pathlib import Path

        from dvlite.repo.repository import open_repo

        waiting: dict[str, Any] = {"wait": False} if self.flags.get("no_wait") else {}
        self.opened = open_repo(Path(start), self.environ, **waiting)
        return self.opened

    def repo_if_any(self) -> Repo | None:
        """Opens the repository around the current folder; None if there is none."""
        try:
            return self.repo()
        except NotARepository:
            return None

    def stage(self) -> bool:
        """Returns whether written files are staged in git: neither `--no-stage` nor `core.autostage: false`."""
        return not self.flags.get("no_stage") and (self.opened is None or self.opened.config.autostage)

    def pages(self) -> bool:
        """Returns whether the user wants a pager: neither `--no-pager` nor `core.pager: false`."""
        if self.flags.get("no_pager"):
            return False
        if self.opened is not None:
            return self.opened.config.get("core.pager") is True
        from dvlite.repo.config_files import load

        return load(None, self.environ).get("core.pager") is True

    def trusts(self, error: Untrusted) -> bool:
        """Asks on a terminal, once per place, whether the user approves it; if so, the work can be tried again."""
        self.progress.finish()
        place: str | None = getattr(error, "place", None)
        if place is None or place in self.asked:
            return False
        self.asked.add(place)
        reads_only = getattr(error, "reads_only", False)
        sent = "Send it your requests and credentials?" if "://" in place else "Read and write your data there?"
        if getattr(error, "to_push", False):
            sent = "Push this project's data there?"
        if reads_only:
            sent = "Read data from there?"
        if not self._approves(place, file=getattr(error, "file", ""), sent=sent):
            return False
        from dvlite.commands.remote import remote_trust

        flags = {"reads_only": True} if reads_only else {"project": getattr(error, "project", None)}
        remote_trust(self.environ, place, **flags)
        return True

    def _approves(self, place: str, *, file: str, sent: str) -> bool:
        if not self.may_ask():
            return False
        self.output.ask(f"{place} (from {file}) is a place you have not used before. {sent} [y/N]")
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def may_ask(self) -> bool:
        """Returns whether the user can be asked: both streams are terminals."""
        return not self.output.settings.json and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def run(
    work: Callable[[Session], R],
    text: str | Words,
    form: str = "text",
    *,
    has_findings: Callable[[R], bool] = lambda _: False,
    to_stderr: bool = False,
) -> int:
    """Runs a verb, prints what it returns, and returns the exit code: 1 if the result `has_findings`.

    `text` is the module of `dvlite.text` that formats it, `form` the function in it. `to_stderr`: standard output belongs to git.
    """
    ctx = click.get_current_context()
    flags: dict[str, Any] = ctx.ensure_object(dict)
    output = output_of(flags)
    folder = flags.get("start_in")
    if folder is not None and not os.path.isdir(folder):
        raise UsageError(f"'{folder}' is not a folder", hint="-C takes the folder to start in")
    with contextlib.chdir(folder) if folder is not None else contextlib.nullcontext():
        with output.progress(to_stderr=to_stderr) as progress:
            session = Session(output, progress, os.environ, flags)
            while True:
                try:
                    result = work(session)
                    break
                except Untrusted as error:
                    if not session.trusts(error):
                        raise
        root = None if session.opened is None else str(session.opened.root)
        if isinstance(ctx.command, Verb) and ctx.command.pages and session.pages():
            output.use_pager()
        failure = output.result(result, text, form, root=root, to_stderr=to_stderr)
    if failure is not None:
        raise failure
    return int(has_findings(result))


def open_page(file: str, environ: Mapping[str, str]) -> bool:
    """Opens a page in the user's browser; returns False if there is none, or no display for one."""
    import webbrowser
    from pathlib import Path

    if sys.platform.startswith("linux") and not {"BROWSER", "DISPLAY", "WAYLAND_DISPLAY"} & environ.keys():
        return False
    return webbrowser.open(Path(file).absolute().as_uri())


def output_of(flags: Mapping[str, Any]) -> Terminal:
    """Returns the two streams of a run, with the settings of the common flags."""
    from dvlite.cli.terminal import Terminal, TerminalOptions

    settings = TerminalOptions(
        quiet=flags.get("quiet", False),
        verbose=flags.get("verbose", 0),
        json=flags.get("json", False),
        progress=not flags.get("no_progress", False),
        color=flags.get("color", "auto"),
    )
    return Terminal(settings, os.environ, sys.stdout, sys.stderr)


# --- options that several verbs have --------------------------------------------------------------------------------------------

PATHS = click.argument("paths", nargs=-1, metavar="[PATH]...", type=PathText())
NO_STAGE = click.option(
    "--no-stage", is_flag=True, expose_value=False, callback=_keep, help="Do not stage changes in git."
)
NO_WAIT = click.option(
    "--no-wait",
    is_flag=True,
    expose_value=False,
    callback=_keep,
    help="Exit with 11 instead of waiting for another dvlite command.",
)


_THE_DEFAULT = "(the default one)"  # no remote can be called so


def on_remote(help_text: str, metavar: str = "[NAME]") -> Callable[[Any], Any]:
    """Returns the option `-r, --remote [NAME]`: None if it is not given, '' for the default remote."""

    def named(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value == "":
            raise empty_word("--remote")
        return "" if value == _THE_DEFAULT else value

    return click.option(
        "-r",
        "--remote",
        metavar=metavar,
        type=NameOf("remote"),
        is_flag=False,
        flag_value=_THE_DEFAULT,
        callback=named,
        help=help_text,
    )


REMOTE = on_remote("Use this remote; without NAME, the default one.")
REVISION = click.option(
    "--rev", "revision", metavar="R", type=NameOf("revision"), help="Use the version at this commit, tag or branch."
)
JOBS = click.option("-j", "--jobs", metavar="N", type=click.IntRange(1, 256), help="Run up to N transfers in parallel.")
DRY_RUN = click.option("-n", "--dry-run", is_flag=True, help="Show what would be done without doing it.")
FORCE = click.option("-f", "--force", is_flag=True, help="Overwrite changed files (a copy stays in the cache).")
EXCLUDE = click.option(
    "-x",
    "--exclude",
    multiple=True,
    metavar="PATH",
    type=PathText(),
    help="Leave out this path, or what this glob matches.",
)
EXIT_CODE = click.option("--exit-code", is_flag=True, help="Exit with 1 if anything is found.")


def scoped(function: Callable[..., int]) -> Callable[..., int]:
    """Adds the common options of push, fetch, pull and sync."""
    options = (
        PATHS,
        REVISION,
        click.option("--all-branches", is_flag=True, help="All branches."),
        click.option("--all-tags", is_flag=True, help="All tags."),
        click.option("--all-commits", is_flag=True, help="All commits of all branches and tags."),
        JOBS,
        DRY_RUN,
        NO_WAIT,
    )
    for option in reversed(options):
        function = option(function)
    return function


def scope_of(revision: str | None = None, **every: bool) -> Scope:
    """Returns the revisions that the flags choose; raises UsageError for more than one choice."""
    from dvlite.repo.revisions import Scope

    if sum((revision is not None, *every.values())) > 1:
        raise UsageError(
            "--rev, --all-branches, --all-tags and --all-commits exclude each other", hint="give one of them"
        )
    return Scope(revision=revision, **every)
