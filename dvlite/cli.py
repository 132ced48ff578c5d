"""The whole command line: the verbs of versioning, and the one place where an error becomes an exit code.

A verb's module is loaded when the verb runs, so that `--help` costs click and the standard library only. The verbs of pipelines and
lineage are declared in `cli_pipeline`, what all share in `frame`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.shell_completion import ShellComplete, get_completion_class, shell_complete

from dvlite import __version__, cli_ci, cli_lineage, cli_pipeline
from dvlite.errors import DvliteError, NotARepository, UsageError
from dvlite.frame import (
    DRY_RUN,
    EXIT_CODE,
    FORCE,
    JOBS,
    NO_STAGE,
    NO_WAIT,
    PATHS,
    REMOTE,
    REVISION,
    ComparingVerb,
    PathText,
    R,
    Session,
    Verbs,
    after_dashes,
    output_of,
    revisions_and_paths,
    run,
    scope_of,
    scoped,
)

if TYPE_CHECKING:
    from dvlite.results.all import Result

EXIT_INTERRUPTED, EXIT_PIPE = 130, 141
MOVE_CODES = (3, 10, 11, 12, 13)
COMPLETE = "_DVLITE_COMPLETE"


# --- one run of the program ---


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; raises nothing."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    flags: dict[str, Any] = {}
    if sys.stdout is None or sys.stderr is None:  # closed by the caller (`dvlite status >&-`)
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for the rest of the process
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    try:
        code = _invoke(arguments, flags)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read standard output has seen enough
        _forget_stdout()
        return EXIT_PIPE
    except (KeyboardInterrupt, click.Abort) as stopped:
        output_of(flags).plain(f"interrupted; {str(stopped) or 'the same command again goes on from here'}")
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        return output_of({"json": "--json" in arguments, **flags}).failure(_in_our_words(error))
    except Exception as error:  # the one place: every error becomes a message and an exit code
        return output_of({"json": "--json" in arguments, **flags}).failure(error)
    return code


def entry() -> NoReturn:
    """Is what the `dvlite` program calls."""
    sys.exit(main())


def _invoke(arguments: list[str], flags: dict[str, Any]) -> int:
    instruction = os.environ.get(COMPLETE)
    if instruction:
        return shell_complete(app, {}, "dvlite", COMPLETE, instruction)
    try:
        with app.make_context("dvlite", arguments, obj=flags) as ctx:
            return int(app.invoke(ctx) or 0)
    except click.exceptions.Exit as leaving:  # --help, --version
        return leaving.exit_code


def _in_our_words(error: click.ClickException) -> UsageError:
    ctx = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=f"{ctx.command_path if ctx else 'dvlite'} --help")


def _forget_stdout() -> None:
    """Points standard output nowhere, so that Python does not complain about it on the way out."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _move(
    verb: Callable[..., R],
    *,
    paths: tuple[str, ...],
    revision: str | None,
    all_branches: bool,
    all_tags: bool,
    all_commits: bool,
    **flags: Any,  # remote, jobs, dry_run, and force of pull
) -> int:
    scope = scope_of(revision, all_branches=all_branches, all_tags=all_tags, all_commits=all_commits)
    return run(lambda s: verb(s.repo(), paths, scope=scope, progress=s.progress, **flags))


# --- start ----------------------------------------------------------------------------------------------------------------------


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="dvlite %(version)s")
def app() -> None:
    """Versions data and models next to code: git, and a folder or bucket for the data."""


@app.command(example="dvlite init", codes=(10,))
@click.option("--hooks", is_flag=True, help="Install git hooks too.")
@NO_STAGE
def init(*, hooks: bool) -> int:
    """Start using dvlite in this git work tree."""
    from pathlib import Path

    from dvlite.commands.init import init as verb

    return run(lambda s: verb(Path(), s.environ, stage=s.stage(), hooks=hooks, progress=s.progress))


@app.command(example="dvlite clone git@example.com:acme/birds", codes=(3, 10, 12, 13))
@click.argument("url", metavar="URL")
@click.argument("directory", metavar="[DIR]", required=False, type=PathText())
@click.option("--no-data", is_flag=True, help="Leave the data for later (dvlite pull).")
@click.option("--no-hooks", is_flag=True, help="Install no git hooks (dvlite install).")
@JOBS
def clone(url: str, directory: str | None, *, no_data: bool, no_hooks: bool, jobs: int | None) -> int:
    """Clone a git repository and pull its data."""
    from pathlib import Path

    from dvlite.commands.clone import clone as verb

    def work(session: Session) -> Result:
        where = None if directory is None else Path(directory)
        cloned = verb(url, where, session.environ, hooks=not no_hooks, progress=session.progress)
        if no_data or not cloned.has_dvlite:
            return cloned
        try:
            pulled = session.trusting(lambda s: _pull_all(s, cloned.directory, jobs))
        except DvliteError:
            session.output.warning(f"cloned into {cloned.directory}, without its data; to go on, there: dvlite pull")
            raise
        return replace(cloned, pull=pulled)

    return run(work)


def _pull_all(session: Session, directory: str, jobs: int | None) -> Any:
    from dvlite.commands.pull import pull as verb

    scope = scope_of()
    repo = session.repo(directory)
    if not repo.config.remote_names():
        session.output.warning(
            f"no remote is configured in {directory}; there: dvlite remote add URL, then dvlite pull"
        )
        return None
    return verb(repo, (), remote=None, scope=scope, jobs=jobs, dry_run=False, force=False, progress=session.progress)


@app.group()
def remote() -> None:
    """Manage where the data is pushed to."""


@remote.command("add", example="dvlite remote add s3://acme-data/birds -o region=eu-west-1", codes=(10,))
@click.argument("words", nargs=-1, required=True, metavar="[NAME] URL")
@click.option("-d", "--default", is_flag=True, help="Make it the default remote.")
@click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="A setting of the store.")
@click.option("--local", is_flag=True, help="In the file that git ignores (for secrets).")
@NO_STAGE
def remote_add(words: tuple[str, ...], *, default: bool, options: tuple[str, ...], local: bool) -> int:
    """Add a remote: a folder or s3://bucket/prefix. NAME is `origin` if left out."""
    from dvlite.commands.remote import remote_add as verb

    if len(words) > 2:
        raise UsageError(f"expected [NAME] URL, got {len(words)} words", hint="dvlite remote add --help")
    pairs = dict(_pair(option) for option in options)
    name = words[0] if len(words) == 2 else "origin"
    return run(
        lambda s: verb(
            s.repo(), name, words[-1], options=pairs, default=default, local=local, stage=s.stage(), progress=s.progress
        )
    )


def _pair(option: str) -> tuple[str, str]:
    key, equals, value = option.partition("=")
    if not key or not equals:
        raise UsageError(f"'{option}' is not KEY=VALUE", hint="for example -o region=eu-west-1")
    return key, value


@remote.command("list", example="dvlite remote list -v", codes=(10,))
def remote_list() -> int:
    """List the remotes."""
    from dvlite.commands.remote import remote_list as verb

    return run(lambda s: verb(s.repo(), progress=s.progress))


@remote.command("remove", example="dvlite remote remove old", codes=(10,))
@click.argument("name", metavar="NAME")
@NO_STAGE
def remote_remove(name: str) -> int:
    """Forget a remote; its data stays where it is."""
    from dvlite.commands.remote import remote_remove as verb

    return run(lambda s: verb(s.repo(), name, stage=s.stage(), progress=s.progress))


@remote.command("default", example="dvlite remote default backup", codes=(10,))
@click.argument("name", metavar="NAME")
@NO_STAGE
def remote_default(name: str) -> int:
    """Choose the remote that push and pull use."""
    from dvlite.commands.remote import remote_default as verb

    return run(lambda s: verb(s.repo(), name, stage=s.stage(), progress=s.progress))


@remote.command("trust", example="dvlite remote trust https://minio.example.com")
@click.argument("place", metavar="PLACE")
def remote_trust(place: str) -> int:
    """Approve a host or folder that a committed config names, for this user."""
    from dvlite.commands.remote import remote_trust as verb

    return run(lambda s: verb(s.environ, place))


@remote.command("test", example="dvlite remote test origin", codes=(10,))
@click.argument("name", metavar="[NAME]", required=False)
def remote_test(name: str | None) -> int:
    """Try what a remote must be able to do, and time it."""
    from dvlite.commands.remote import remote_test as verb

    return run(lambda s: verb(s.repo(), name, progress=s.progress))


# --- work -----------------------------------------------------------------------------------------------------------------------


@app.command(
    example="dvlite add data/images\ndvlite add -u          # every tracked path that changed", codes=(3, 10, 11)
)
@click.argument("paths", nargs=-1, metavar="PATH...", type=PathText())
@click.option("-u", "--update", is_flag=True, help="Every tracked path that changed.")
@click.option("-f", "--force", is_flag=True, help="Also what lacks changes that its pointer has.")
@NO_STAGE
@NO_WAIT
def add(paths: tuple[str, ...], *, update: bool, force: bool) -> int:
    """Track files and folders, or take in their changes."""
    from dvlite.commands.add import add as verb

    if not paths and not update:
        raise UsageError("no path is given", hint="dvlite add PATH..., or dvlite add -u for what changed")
    return run(lambda s: verb(s.repo(), paths, update=update, force=force, stage=s.stage(), progress=s.progress))


@app.command(example="dvlite rm --cached data/images", codes=(10, 11, 12))
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=PathText())
@click.option("--cached", is_flag=True, help="Keep the data in the workspace.")
@NO_STAGE
@NO_WAIT
def rm(paths: tuple[str, ...], *, cached: bool) -> int:
    """Stop tracking paths and remove their data from the workspace."""
    from dvlite.commands.rm import rm as verb

    return run(lambda s: verb(s.repo(), paths, cached=cached, stage=s.stage(), progress=s.progress))


@app.command(example="dvlite mv data/images data/birds", codes=(10, 11))
@click.argument("source", metavar="SOURCE", type=PathText())
@click.argument("target", metavar="TARGET", type=PathText())
@NO_STAGE
@NO_WAIT
def mv(source: str, target: str) -> int:
    """Move or rename a tracked path."""
    from dvlite.commands.mv import mv as verb

    return run(lambda s: verb(s.repo(), source, target, stage=s.stage(), progress=s.progress))


@app.command(example="dvlite status --remote --exit-code", codes=(3, 10, 13))
@PATHS
@click.option("--remote", "check_remote", is_flag=True, help="Also ask the remote what it has.")
@click.option("-r", "remote", metavar="NAME", help="Ask this remote.")
@EXIT_CODE
def status(paths: tuple[str, ...], *, check_remote: bool, remote: str | None, exit_code: bool) -> int:
    """Show what is not added, committed, cached or pushed."""
    from dvlite.commands.status import status as verb

    asks = check_remote or remote is not None
    return run(
        lambda s: verb(s.repo(), paths, remote=remote, check_remote=asks, progress=s.progress),
        found=lambda result: exit_code and not result.clean,
    )


@app.command(cls=ComparingVerb, example="dvlite diff main..HEAD --stat -- data/images", codes=(10, 12, 13))
@click.argument("words", nargs=-1, metavar="[A | A B | A..B | A...B] [-- PATH...]", type=PathText())
@click.option("--stat", is_flag=True, help="One line for each tracked path.")
@click.option("--md", "markdown", is_flag=True, help="As Markdown, for a comment on a pull request.")
@EXIT_CODE
@click.option("--driver", is_flag=True, hidden=True, help="Be git's external diff program.")
def diff(words: tuple[str, ...], *, stat: bool, markdown: bool, exit_code: bool, driver: bool) -> int:
    """Show which files differ between revisions, or from the workspace."""
    from dvlite.commands.diff import diff as verb
    from dvlite.commands.diff import driver as verb_of_git

    if driver:
        sides = (*words, *(after_dashes() or ()))
        return run(lambda s: verb_of_git(s.repo(), sides, progress=s.progress))

    def work(session: Session) -> Any:
        revisions, paths = revisions_and_paths(words)
        if len(revisions) > 2:
            raise UsageError(f"at most two revisions can be compared, not {len(revisions)}", hint="dvlite diff --help")
        return verb(session.repo(), revisions, paths, progress=session.progress)

    def in_markdown(result: Any, _: Any) -> list[str]:
        from dvlite.reports.diff_markdown import diff_markdown

        return diff_markdown(result).splitlines()

    return run(
        work,
        found=lambda result: exit_code and bool(result.paths),
        words=in_markdown if markdown else "stat" if stat else "text",
    )


@app.command(example="dvlite checkout data/images/val", codes=(3, 10, 11, 12, 13))
@PATHS
@REVISION
@FORCE
@NO_WAIT
def checkout(paths: tuple[str, ...], *, revision: str | None, force: bool) -> int:
    """Make the workspace what the pointers say."""
    from dvlite.commands.checkout import checkout as verb

    return run(lambda s: verb(s.repo(), paths, revision=revision, force=force, progress=s.progress))


# --- share ----------------------------------------------------------------------------------------------------------------------


@app.command(example="dvlite push\ndvlite push -r backup --all-branches", codes=MOVE_CODES)
@scoped
@click.option("--allow-missing", is_flag=True, help="Leave out versions whose data is lost, and warn.")
def push(**flags: Any) -> int:
    """Upload data to a remote."""
    from dvlite.commands.push import push as verb

    return _move(verb, **flags)


@app.command(example="dvlite pull data/images/val", codes=MOVE_CODES)
@scoped
@FORCE
def pull(**flags: Any) -> int:
    """Download data and put it into the workspace."""
    from dvlite.commands.pull import pull as verb

    return _move(verb, **flags)


@app.command(example="dvlite fetch --all-tags", codes=MOVE_CODES)
@scoped
def fetch(**flags: Any) -> int:
    """Download data into the cache only."""
    from dvlite.commands.fetch import fetch as verb

    return _move(verb, **flags)


# --- inspect --------------------------------------------------------------------------------------------------------------------


@app.command(example="dvlite ls -l HEAD~1:data/images", codes=(10, 12, 13))
@click.argument("target", metavar="[REV:][PATH]", required=False, type=PathText())
@click.option("-l", "long", is_flag=True, help="With sizes, ids and links.")
@click.option("-R", "recursive", is_flag=True, help="Everything below, too.")
def ls(target: str | None, *, long: bool, recursive: bool) -> int:
    """List what is tracked."""
    from dvlite.commands.ls import ls as verb

    return run(lambda s: verb(s.repo(), target, long=long, recursive=recursive, progress=s.progress))


@app.command(example="dvlite get git@example.com:acme/birds model.pt --rev v1.2 -o model.pt", codes=(12, 13))
@click.argument("source", metavar="REPO_OR_PATH", type=PathText())
@click.argument("path", metavar="[PATH]", required=False)
@REVISION
@click.option("-o", "--output", metavar="OUT", type=PathText(), help="Where to write it; - is standard output.")
@JOBS
def get(source: str, path: str | None, *, revision: str | None, output: str | None, jobs: int | None) -> int:
    """Copy data out of any repository, without a clone."""
    from dvlite.commands.get import get as verb

    flags: dict[str, Any] = click.get_current_context().ensure_object(dict)
    if output == "-" and flags.get("json"):
        raise UsageError("-o - and --json both want standard output", hint="give -o a file")
    where = sys.stdout.buffer if output == "-" else output
    return run(
        lambda s: verb(source, path, revision=revision, output=where, environ=s.environ, jobs=jobs, progress=s.progress)
    )


# --- maintain -------------------------------------------------------------------------------------------------------------------


@app.group()
def cache() -> None:
    """Look after the cache in this clone."""


@cache.command("prune", example="dvlite cache prune --pushed -n", codes=(3, 10, 11, 13))
@click.option("--pushed", is_flag=True, help="What the remote provably has.")
@REMOTE
@DRY_RUN
@NO_WAIT
def cache_prune(*, pushed: bool, remote: str | None, dry_run: bool) -> int:
    """Free disk space by dropping what a remote provably has."""
    from dvlite.commands.cache import cache_prune as verb

    if not pushed:
        raise UsageError("say what to prune", hint="dvlite cache prune --pushed  drops what the remote provably has")
    return run(lambda s: verb(s.repo(), remote=remote, dry_run=dry_run, progress=s.progress))


@app.command(example="dvlite config --user cache.dir /bigdisk/dvlite", codes=(10,))
@click.argument("key", metavar="[KEY]", required=False)
@click.argument("value", metavar="[VALUE]", required=False)
@click.option("--unset", is_flag=True, help="Remove KEY.")
@click.option("--local", "place", flag_value="local", help="The file of this clone that git ignores.")
@click.option("--user", "place", flag_value="user", help="Your own file, for all repositories.")
@click.option("--system", "place", flag_value="system", help="The file of this machine.")
@NO_STAGE
def config(key: str | None, value: str | None, *, unset: bool, place: str | None) -> int:
    """Show or change settings."""
    from dvlite.commands.config import config as verb

    return run(lambda s: verb(s.repo(), key, value, unset=unset, place=place, stage=s.stage(), progress=s.progress))


@app.command(example="dvlite doctor")
def doctor() -> int:
    """Check this installation and this repository."""
    from dvlite.commands.doctor import doctor as verb

    def work(session: Session) -> Result:
        try:
            repo = session.repo()
        except NotARepository:
            repo = None
        return verb(repo, session.environ, progress=session.progress)

    return run(work)


@app.command(example='eval "$(dvlite completion bash)"      # in ~/.bashrc')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the script that completes dvlite's commands in a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"'{shell}' has no completion", hint="bash, zsh or fish")
    click.echo(
        ShellComplete.source(kind(app, {}, "dvlite", COMPLETE))
    )  # not bash's own: that starts bash to ask its version
    return 0


for _verb in (*cli_pipeline.VERBS, *cli_lineage.VERBS, *cli_ci.VERBS):
    app.add_command(_verb)
