"""The verbs that set dvlite up and look after it: init, clone, gc, purge, cache, config, doctor and completion. Declares flags and help; the work is in `commands`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
from click.shell_completion import ShellComplete, get_completion_class

from dvlite.cli.complete import NameOf
from dvlite.cli.options import (
    COMPLETE,
    DRY_RUN,
    JOBS,
    NO_STAGE,
    NO_WAIT,
    PATHS,
    REMOTE,
    ComparingVerb,
    FreeText,
    PathText,
    Session,
    Verb,
    Verbs,
    after_dashes,
    on_remote,
    run,
    scope_of,
)
from dvlite.errors import DvliteError, NotARepository, Untrusted, UsageError


@click.command(cls=Verb, example="dvlite init", codes=(10,))
@click.option("--no-hooks", is_flag=True, help="Do not install the git hooks (later: dvlite install).")
@NO_STAGE
def init(*, no_hooks: bool) -> int:
    """Start using dvlite in this git work tree."""
    from pathlib import Path

    from dvlite.commands.init import init as verb

    return run(lambda s: verb(Path(), s.environ, stage=s.stage(), hooks=not no_hooks, progress=s.progress), text="init")


@click.command(
    cls=ComparingVerb,
    example="dvlite clone git@example.com:acme/birds\ndvlite clone URL --branch v2 --depth 1\ndvlite clone URL -- --filter=blob:none    # options of git clone",
    codes=(3, 10, 12, 13),
)
@click.argument("url", metavar="URL")
@click.argument("directory", metavar="[DIR] [-- GITFLAG...]", required=False, type=PathText())
@click.option("-b", "--branch", metavar="NAME", help="Check out this branch or tag.")
@click.option("--depth", metavar="N", type=click.IntRange(min=1), help="Fetch the last N commits only.")
@click.option("--no-data", is_flag=True, help="Do not pull the data (later: dvlite pull).")
@click.option("--no-hooks", is_flag=True, help="Do not install the git hooks (later: dvlite install).")
@JOBS
def clone(
    url: str, directory: str | None, *, no_data: bool, no_hooks: bool, jobs: int | None, **git_options: Any
) -> int:  # git_options: branch, depth
    """Clone a git repository and pull its data."""
    from pathlib import Path

    from dvlite.commands.clone import clone as verb

    after = after_dashes()

    def work(session: Session) -> Any:
        where = None if directory is None else Path(directory)
        quiet = ["--quiet"] if session.flags.get("quiet") else []
        given = [f"--{name}={value}" for name, value in git_options.items() if value is not None]
        flags = [*quiet, *given, *(after or ())]
        cloned = verb(url, where, session.environ, hooks=not no_hooks, git_flags=flags, progress=session.progress)
        if no_data or not cloned.has_dvlite:
            return cloned
        while True:
            try:
                return replace(cloned, pull=_pull_all(session, cloned.directory, jobs))
            except DvliteError as error:
                if not isinstance(error, Untrusted) or not session.trusts(error):
                    session.output.warning(
                        f"cloned into {cloned.directory}, without its data; to go on, there: dvlite pull"
                    )
                    raise

    return run(work, text="clone")


def _pull_all(session: Session, directory: str, jobs: int | None) -> Any:
    from dvlite.commands.pull import pull as verb

    scope = scope_of()
    repo = session.repo(directory)
    if not repo.config.remote_names:
        session.output.warning(
            f"no remote is configured in {directory}; there: dvlite remote add URL, then dvlite pull"
        )
        return None
    return verb(repo, (), remote=None, scope=scope, jobs=jobs, dry_run=False, force=False, progress=session.progress)


@click.group(cls=Verbs)
def cache() -> None:
    """Manage the cache of this clone."""


@cache.command("prune", example="dvlite cache prune --pushed -n", codes=(3, 10, 11, 13))
@click.option("--pushed", is_flag=True, help="Drop what the remote provably has (required).")
@REMOTE
@DRY_RUN
@NO_WAIT
def cache_prune(*, pushed: bool, remote: str | None, dry_run: bool) -> int:
    """Free disk space by dropping what a remote provably has."""
    from dvlite.commands.cache import cache_prune as verb

    if not pushed:
        hint = "dvlite cache prune --pushed  drops what the remote provably has; dvlite gc  shows what nothing needs"
        raise UsageError("choose what to prune", hint=hint)
    return run(lambda s: verb(s.repo(), remote=remote or None, dry_run=dry_run, progress=s.progress), text="cache")


@click.command(
    cls=Verb,
    example="dvlite gc\ndvlite gc --yes\ndvlite gc --uncommitted --older-than 30d\ndvlite gc --remote\ndvlite gc --remote --yes",
    codes=(3, 10, 11, 12, 13),
)
@on_remote("Collect on a remote, the default one without NAME, instead of the cache.")
@click.option("-y", "--yes", is_flag=True, help="Remove it; without this, only the plan is printed.")
@click.option(
    "--grace",
    metavar="DURATION",
    help="Keep what was stored or reused in this time: 24h in the cache. On a remote, shortens the 14 days of claims and the 24 hours of data. "
    "0s may remove what a command that runs now relies on.",
)
@click.option(
    "--uncommitted",
    is_flag=True,
    help="Also remove outputs of runs, and saved copies, that no commit and no tag names.",
)
@click.option(
    "--older-than", metavar="DURATION", help="With --uncommitted: only those older than this, for example 30d."
)
@click.option("--clones", is_flag=True, help="With --remote: list which clones claim what there.")
@click.option(
    "--forget-clone",
    "gone",
    multiple=True,
    metavar="ID",
    help="With --remote: a clone that is lost claims nothing any more.",
)
@click.option(
    "--forget-version",
    "given_up",
    multiple=True,
    metavar="OID",
    help="With --remote: a version whose list of files is lost keeps nothing.",
)
@JOBS
@NO_WAIT
def gc(
    *,
    remote: str | None,
    yes: bool,
    grace: str | None,
    uncommitted: bool,
    older_than: str | None,
    clones: bool,
    gone: tuple[str, ...],
    given_up: tuple[str, ...],
    jobs: int | None,
) -> int:
    """Show what the cache or a remote needs no more; remove it."""
    seconds, age = _duration("--grace", grace), _duration("--older-than", older_than)
    if (uncommitted and remote is not None) or (older_than is not None and not uncommitted):
        message = "--uncommitted is about the cache, and --older-than limits it"
        raise UsageError(message, hint="dvlite gc --uncommitted --older-than 30d")
    if remote is None:
        if clones or gone or given_up:
            raise UsageError(
                "--clones, --forget-clone and --forget-version are about a remote", hint="dvlite gc --remote --clones"
            )
        from dvlite.commands.gc import GRACE_SECONDS
        from dvlite.commands.gc import gc as verb

        wanted = GRACE_SECONDS if seconds is None else seconds
        drops = (age or 0) if uncommitted else None
        return run(
            lambda s: verb(s.repo(), yes=yes, grace_seconds=wanted, uncommitted_seconds=drops, progress=s.progress),
            text="gc",
        )
    from dvlite.commands.gc_remote import gc_clones, gc_remote
    from dvlite.share.collect_remote import CollectOptions

    options = CollectOptions(remote or None, jobs, yes, seconds, gone, given_up)
    if clones and (gone or given_up):
        raise UsageError("--clones only lists: it forgets nothing", hint="dvlite gc --remote --clones")
    if clones:
        return run(lambda s: gc_clones(s.repo(), options, progress=s.progress), text="gc_remote")
    return run(lambda s: gc_remote(s.repo(), options, progress=s.progress), text="gc_remote")


def _duration(option: str, text: str | None) -> int | None:
    """Returns an option in seconds, None if it was not given."""
    from dvlite.formats.config import duration_seconds

    seconds = None if text is None else duration_seconds(text)
    if text is not None and seconds is None:
        raise UsageError(f"'{text}' is not a duration", hint=f"for example {option} 12h; units: s, m, h, d, w")
    return seconds


@click.command(
    cls=Verb,
    example='dvlite purge data/people.csv --all-versions --reason "erasure request 17"\n'
    'dvlite purge data/people.csv --all-versions --reason "erasure request 17" --yes\ndvlite purge --list',
    codes=(3, 10, 11, 12, 13),
)
@PATHS
@click.option("--rev", "revision", metavar="R", help="Purge what the paths hold at this commit, tag or branch.")
@click.option("--all-versions", is_flag=True, help="Purge all that the paths ever held, in any commit.")
@click.option("--reason", metavar="TEXT", help="Say why: all who miss the content are shown this (required).")
@click.option("-y", "--yes", is_flag=True, help="Do it; without this, only the plan is printed.")
@click.option("--list", "lists", is_flag=True, help="List what was purged.")
@click.option("-r", "--remote", metavar="NAME", help="Purge on this remote alone, instead of all that are configured.")
@click.option(
    "--grace",
    metavar="DURATION",
    help="On remotes, delete after this time instead of a day. 0s deletes at once, and transfers that run have to look again.",
)
@JOBS
@NO_WAIT
def purge(
    paths: tuple[str, ...], *, reason: str | None, yes: bool, lists: bool, grace: str | None, **chosen: Any
) -> int:
    """Remove the content of files from every version, in the cache and on remotes, for good."""
    from dvlite.commands.purge import PurgeOptions, purge_list
    from dvlite.commands.purge import purge as verb

    if lists:
        return run(lambda s: purge_list(s.repo(), progress=s.progress), text="purge")
    seconds = _duration("--grace", grace)
    if not paths or not (reason or "").strip():
        raise UsageError("say what is to be purged, and why", hint='dvlite purge PATH... --reason "erasure request 17"')
    if chosen["revision"] is not None and chosen["all_versions"]:
        raise UsageError("--rev and --all-versions exclude each other", hint="give one of them")
    options = PurgeOptions(reason=str(reason).strip(), apply=yes, grace_seconds=seconds, **chosen)
    return run(lambda s: verb(s.repo(), paths, options, progress=s.progress), text="purge")


@click.command(cls=Verb, example="dvlite config --user cache.dir /bigdisk/dvlite", codes=(10,))
@click.argument("key", metavar="[KEY]", required=False, type=NameOf("setting"))
@click.argument("value", metavar="[VALUE]", required=False, type=FreeText())
@click.option("--unset", is_flag=True, help="Remove KEY.")
@click.option("--local", "place", flag_value="local", help="Use this clone's file, which git ignores.")
@click.option("--user", "place", flag_value="user", help="Use your own file, for all repositories.")
@click.option("--system", "place", flag_value="system", help="Use the file of this machine.")
@NO_STAGE
def config(key: str | None, value: str | None, *, unset: bool, place: str | None) -> int:
    """Show or change settings."""
    from dvlite.commands.config import config as verb

    flags: dict[str, Any] = {"unset": unset, "place": place}
    is_own = place in {"user", "system"} or (place is None and value is None and not unset)

    def work(session: Session) -> Any:
        try:
            repo = session.repo()
        except NotARepository:
            if not is_own:
                raise
            repo = None
        return verb(
            repo, key, value, **flags, environ=session.environ, stage=session.stage(), progress=session.progress
        )

    return run(work, text="config")


@click.command(cls=Verb, example="dvlite doctor")
def doctor() -> int:
    """Check this installation and this repository."""
    from dvlite.commands.doctor import doctor as verb

    def work(session: Session) -> Any:
        try:
            repo = session.repo()
        except NotARepository:
            repo = None
        return verb(repo, session.environ, progress=session.progress)

    return run(work, text="doctor")


@click.command(cls=Verb, example='eval "$(dvlite completion bash)"      # in ~/.bashrc')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the script that completes dvlite's commands in a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"'{shell}' has no completion", hint="bash, zsh or fish")
    app = click.get_current_context().find_root().command
    click.echo(
        ShellComplete.source(kind(app, {}, "dvlite", COMPLETE))
    )  # not bash's own: that starts bash to ask its version
    return 0


VERBS = {"Start": (init, clone), "Maintain": (gc, purge, cache, config, doctor, completion)}
