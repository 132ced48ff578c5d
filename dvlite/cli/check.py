"""The verbs for git and CI on the command line: hooks, merges, verify; one short function for each. See `cli`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import click

from dvlite.cli.options import (
    DRY_RUN,
    JOBS,
    NO_STAGE,
    NO_WAIT,
    PATHS,
    REVISION,
    FreeText,
    PathText,
    Session,
    Verb,
    on_remote,
    output_of,
    run,
)
from dvlite.errors import DvliteError, NotARepository, UsageError

if TYPE_CHECKING:
    from dvlite.commands.check import CheckResult
    from dvlite.commands.verify import VerifyResult
    from dvlite.hooks.result import HookResult
    from dvlite.merge.listings import Choice
    from dvlite.reports.write import ReportOptions

R = TypeVar("R", "VerifyResult", "CheckResult")

MARKDOWN = click.option(
    "--md",
    "markdown",
    metavar="[FILE]",
    type=PathText(),
    is_flag=False,
    flag_value="",
    help="Write Markdown to FILE, the job summary of GitHub Actions, or standard output.",
)
SUMMARY = click.option("--summary", envvar="GITHUB_STEP_SUMMARY", hidden=True, help="The file of the job summary.")

# --- hooks ----------------------------------------------------------------------------------------------------------------------


@click.command("install", cls=Verb, example="dvlite install", codes=(10, 11))
@click.option("--uninstall", is_flag=True, help="Remove the hooks and restore those they replaced.")
@click.option("-f", "--force", is_flag=True, help="Install even into a folder that other repositories share.")
@NO_WAIT
def install(*, uninstall: bool, force: bool) -> int:
    """Install the git hooks and the merge driver in this clone."""
    from dvlite.commands.install import install as verb

    return run(lambda s: verb(s.repo(), uninstall=uninstall, force=force, progress=s.progress), text="install")


@click.command(
    "hook",
    cls=Verb,
    hidden=True,
    example='dvlite hook pre-push "$@"',
    context_settings={"ignore_unknown_options": True},
)
@click.argument(
    "name",
    type=click.Choice(["pre-commit", "pre-merge-commit", "pre-push", "post-checkout", "post-merge", "post-rewrite"]),
)
@click.argument("words", nargs=-1, type=FreeText())
def hook(name: str, words: tuple[str, ...]) -> int:
    """Run as a hook of git. A failure after git has done its work never fails git."""
    try:
        return run(
            lambda s: _hook(s, name, words),
            text="hook",
            has_findings=lambda result: bool(result.blocked),
            to_stderr=True,
        )
    except Exception as error:
        if name.startswith("pre-"):
            raise
        output_of(click.get_current_context().ensure_object(dict)).failure(error)
        return 0


def _hook(session: Session, name: str, words: tuple[str, ...]) -> HookResult:
    from dvlite.hooks.result import Blocked, HookResult

    if session.environ.get("DVLITE_HOOKS", "").lower() in {"0", "off", "no", "false"}:
        return HookResult(hook=name)
    try:
        return _called(session, name, words)
    except DvliteError as error:
        closed = isinstance(error, NotARepository)
        if closed and not _concerns_data(session.environ):
            return HookResult(hook=name)
        if closed and name in ("pre-commit", "pre-merge-commit"):
            return HookResult(hook=name, notes=(f"this commit was not checked: {error.message}",))
        if not name.startswith("pre-"):
            return HookResult(hook=name, notes=(error.message,))
        fixes = (*(error.hint or "").splitlines(), "to switch the hooks off for once: DVLITE_HOOKS=0")
        return HookResult(hook=name, blocked=(Blocked(message=error.message, fixes=fixes),))


def _concerns_data(environ: Mapping[str, str]) -> bool:
    """Returns whether dvlite was used in a repository that it cannot open; the hook scripts check the same."""
    from pathlib import Path

    return Path(".dvlite/config.yaml").is_file() or Path(environ.get("GIT_DIR") or ".git", "dvlite").is_dir()


def _called(session: Session, name: str, words: tuple[str, ...]) -> HookResult:
    from dvlite.hooks.result import HookResult
    from dvlite.repo.repository import open_for_hook

    environ = session.environ
    repo = session.opened = open_for_hook(environ)
    if name == "pre-push":  # a branch with data may be pushed from one without
        from dvlite.commands.hook_push import hook_push, lines_of

        lines = lines_of(environ)
        if not lines and sys.stdin is not None and not sys.stdin.isatty():
            lines = [line for line in os.fsdecode(sys.stdin.buffer.read()).split("\n") if line]
        to = words or (environ.get("PRE_COMMIT_REMOTE_NAME", ""), environ.get("PRE_COMMIT_REMOTE_URL", ""))
        allow = environ.get("DVLITE_ALLOW_MISSING", "").lower() in {"1", "on", "yes", "true"}
        return hook_push(repo, to, lines, allow_missing=allow, progress=session.progress)
    if not repo.is_initialised:
        return HookResult(hook=name)
    if name == "pre-commit":
        from dvlite.commands.hook_commit import hook_commit

        return hook_commit(repo, progress=session.progress)
    if name == "pre-merge-commit":
        from dvlite.commands.hook_commit import hook_merge

        return hook_merge(repo, progress=session.progress)
    from dvlite.commands.hook_follow import hook_follow

    return hook_follow(repo, name, words or _words_of_pre_commit(name, environ), progress=session.progress)


def _words_of_pre_commit(name: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the arguments of git, from the variables that the program pre-commit sets instead."""
    variables = {
        "post-checkout": ("PRE_COMMIT_FROM_REF", "PRE_COMMIT_TO_REF", "PRE_COMMIT_CHECKOUT_TYPE"),
        "post-merge": ("PRE_COMMIT_IS_SQUASH_MERGE",),
        "post-rewrite": ("PRE_COMMIT_REWRITE_COMMAND",),
    }
    return tuple(environ.get(variable, "") for variable in variables[name])


# --- merges ---------------------------------------------------------------------------------------------------------------------


@click.command(
    "resolve",
    cls=Verb,
    example="dvlite resolve data/images\ndvlite resolve data/images --theirs\ndvlite resolve data/birds.csv --ours --row 17",
    codes=(10, 11, 12, 13),
)
@PATHS
@click.option("--ours", is_flag=True, help="Take our version of what both sides changed.")
@click.option("--theirs", is_flag=True, help="Take their version of what both sides changed.")
@click.option("--union", is_flag=True, help="Keep both: theirs as NAME.theirs.EXT.")
@click.option("--row", "rows", metavar="KEY", multiple=True, help="Of a table, settle only the row with this key.")
@NO_STAGE
@NO_WAIT
def resolve(paths: tuple[str, ...], *, ours: bool, theirs: bool, union: bool, rows: tuple[str, ...]) -> int:
    """Settle merge conflicts in pointers and lockfiles."""
    from dvlite.commands.resolve import resolve as verb

    if ours + theirs + union > 1:
        raise UsageError("--ours, --theirs and --union exclude each other", hint="give one of them")
    if rows and (len(paths) != 1 or not ours + theirs):
        raise UsageError("--row needs one PATH, and --ours or --theirs", hint="dvlite resolve PATH --ours --row KEY")
    choice: Choice = "ours" if ours else "theirs" if theirs else "union" if union else ""
    return run(lambda s: verb(s.repo(), paths, choice, rows=rows, stage=s.stage(), progress=s.progress), text="resolve")


@click.command("merge-driver", cls=Verb, hidden=True, example="git config merge.dvlite.driver")
@click.argument("words", nargs=-1, metavar="BASE OURS THEIRS MARKERS PATH", type=FreeText())
@click.option("--ancestor", is_flag=True, help="Merge several common ancestors into one.")
def merge_driver(words: tuple[str, ...], *, ancestor: bool) -> int:
    """Run as git's merge driver."""
    from pathlib import Path

    from dvlite.commands.merge_driver import merge_driver as verb

    return run(
        lambda s: verb(Path(), s.environ, words, ancestor=ancestor, progress=s.progress),
        text="merge_driver",
        to_stderr=True,
    )


# --- checks ---------------------------------------------------------------------------------------------------------------------


@click.command(
    "check",
    cls=Verb,
    example="dvlite check\ndvlite check data/sales.csv\ndvlite check --junit checks.xml",
    codes=(3, 10),
    says={1: "a check failed", 3: "not everything could be checked"},
)
@PATHS
@DRY_RUN
@click.option("-f", "--force", is_flag=True, help="Check again even if nothing changed.")
@click.option("--junit", metavar="FILE", type=PathText(), help="Also write a JUnit report.")
@MARKDOWN
@SUMMARY
def check(
    paths: tuple[str, ...],
    *,
    dry_run: bool,
    force: bool,
    junit: str | None,
    markdown: str | None,
    summary: str | None,
) -> int:
    """Check data against the checks in dvlite.yaml; runs their commands."""
    import platform

    from dvlite import __version__
    from dvlite.checks.execute import CheckOptions
    from dvlite.commands.check import check as verb

    def work(session: Session) -> CheckResult:
        options, made_by = CheckOptions(force, dry_run), {"host": platform.node(), "version": __version__}
        return verb(session.repo(), paths, options, environ=session.environ, progress=session.progress, **made_by)

    if junit is None and markdown is None:
        return run(work, text="check", has_findings=lambda result: result.is_finding)
    from dvlite.reports.write import ReportOptions

    return _reported(ReportOptions(junit=junit, markdown=markdown, summary=summary), work, "check")


# --- verify ---------------------------------------------------------------------------------------------------------------------


@click.command(
    "verify",
    cls=Verb,
    example="dvlite verify\ndvlite verify --remote\ndvlite verify --range main..HEAD\ndvlite verify --rerun train --html report.html\n"
    "dvlite verify --served /mnt/models --digest manifest:5f0c...",
    codes=(3, 4, 10, 13),
    says={1: "problems found", 3: "not everything could be checked", 4: "a stage failed in the rerun"},
)
@PATHS
@REVISION
@click.option("--range", "commits", metavar="A..B", help="Check each commit of a range.")
@on_remote("Also check that all data is on this remote; with --rerun, fetch from it. Without NAME, the default one.")
@click.option("--deep", is_flag=True, help="With --remote: read and hash every byte.")
@click.option("--offline", is_flag=True, help="Do not use the network; report what could not be checked (exit 3).")
@click.option("--rerun", is_flag=True, help="Also rerun the stages in a clean clone and compare their outputs.")
@click.option("--from-data", is_flag=True, help="With --rerun: use the outputs of the rerun as inputs (default).")
@click.option("--stage-inputs", is_flag=True, help="With --rerun: use the inputs named by the lockfile.")
@click.option("--twice", is_flag=True, help="With --rerun: run each stage twice.")
@click.option("--keep", is_flag=True, help="With --rerun: keep the clean clone.")
@click.option(
    "--served",
    metavar="PLACE",
    type=PathText(),
    help="Check a model that servers read: DIR, s3://..., X.mar, http://...",
)
@click.option("--digest", metavar="ID", help="With --served: the model has to be this one.")
@click.option("--junit", metavar="FILE", type=PathText(), help="Also write a JUnit report.")
@click.option("--html", metavar="FILE", type=PathText(), help="Also write an HTML report.")
@MARKDOWN
@SUMMARY
@click.option(
    "--annotations/--no-annotations",
    envvar="GITHUB_ACTIONS",
    help="Annotate files and lines for GitHub (default in GitHub Actions).",
)
def verify(
    paths: tuple[str, ...],
    *,
    revision: str | None,
    commits: str | None,
    remote: str | None,
    deep: bool,
    offline: bool,
    rerun: bool,
    from_data: bool,
    junit: str | None,
    html: str | None,
    markdown: str | None,
    summary: str | None,
    annotations: bool,
    served: str | None,
    digest: str | None,
    **flags: bool,
) -> int:
    """Check that lockfiles, pointers and code agree; needs no data."""
    if served is not None:
        others = (revision, commits, remote, junit, html, markdown, deep, offline, rerun, from_data, *flags.values())
        if paths or any(other not in (None, False) for other in others):
            raise UsageError("--served checks what a server reads, and goes with --digest alone")
        return _verify_served(served, digest)
    if digest is not None:
        raise UsageError("--digest belongs to --served", hint="dvlite verify --served DIR --digest manifest:...")
    from dvlite.commands.verify import VerifyOptions, verify_again
    from dvlite.commands.verify import verify as verb
    from dvlite.repo.remotes import configured

    check_remote = remote is not None and not (rerun and remote)  # a rerun reads from it what it lacks
    remote = remote or None
    options = VerifyOptions(
        paths=paths,
        revision=revision,
        commits=commits,
        check_remote=check_remote,
        remote=remote,
        deep=deep,
        offline=offline,
    )
    if rerun:
        if from_data and flags["stage_inputs"]:
            raise UsageError("--from-data and --stage-inputs exclude each other", hint="give one of them")
        from dvlite.rerun.session import RerunOptions

        how = RerunOptions(remote=remote, offline=offline, **flags)
    elif from_data or any(flags.values()):
        raise UsageError(
            "--from-data, --stage-inputs, --twice and --keep belong to --rerun", hint="dvlite verify --rerun"
        )

    def work(session: Session) -> VerifyResult:
        repo = session.repo()
        if remote is not None:
            configured(repo.config, remote)  # refuses a name that is none
        if rerun:
            return verify_again(repo, options, how, environ=session.environ, progress=session.progress)
        if check_remote and session.may_ask():
            repo.remote(remote)  # asks the user to approve its place
        return verb(repo, options, progress=session.progress)

    if junit is None and html is None and markdown is None and not annotations:
        return run(work, text="verify", has_findings=lambda result: result.is_finding)
    from dvlite.reports.write import ReportOptions

    reports = ReportOptions(junit=junit, html=html, markdown=markdown, summary=summary, annotations=annotations)
    return _reported(reports, work, "verify")


def _verify_served(place: str, digest: str | None) -> int:
    from dvlite.commands.verify_served import verify_served as verb

    return run(
        lambda s: verb(s.repo_if_any(), place, digest=digest, environ=s.environ, progress=s.progress),
        text="verify_served",
    )


def _reported(reports: ReportOptions, work: Callable[[Session], R], text: str) -> int:
    """Runs `verify` or `check` and writes the reports, with or without findings."""
    from dvlite.reports.write import deliver, printed, require_places

    def verified(session: Session) -> R:
        require_places(reports, with_json=bool(session.flags.get("json")))
        result = work(session)
        session.progress.finish()
        for line in deliver(result, reports):
            session.output.plain(line)
        return result

    return run(
        verified,
        text=(lambda result, _: printed(result, reports)) if reports.printed else text,
        has_findings=lambda result: result.is_finding,
    )


# --- fsck -----------------------------------------------------------------------------------------------------------------------


@click.command(
    "fsck",
    cls=Verb,
    example="dvlite fsck\ndvlite fsck --deep --repair\ndvlite fsck --remote origin --for 30m --repair",
    codes=(3, 10, 11, 13),
    says={1: "damage found and repaired, or failed", 3: "not everything could be checked", 13: "damage is left"},
)
@on_remote("Check a remote instead of the cache; without NAME, the default one.")
@click.option("--deep", is_flag=True, help="Read and hash every byte.")
@click.option(
    "--sample",
    metavar="P",
    type=click.FloatRange(0, 100, min_open=True),
    help="Read P percent, of what was not read for longest.",
)
@click.option(
    "--for", "duration", metavar="TIME", help="Read for this long, for example 30m; the next check continues."
)
@click.option("--repair", is_flag=True, help="Set damaged objects aside and restore good ones from wherever they are.")
@JOBS
@NO_WAIT
def fsck(
    *, remote: str | None, deep: bool, sample: float | None, duration: str | None, repair: bool, jobs: int | None
) -> int:
    """Check stored objects, and repair damaged ones."""
    from dvlite.commands.fsck import FsckOptions
    from dvlite.commands.fsck import fsck as verb
    from dvlite.formats.config import duration_seconds

    seconds = None if duration is None else duration_seconds(duration)
    if duration is not None and seconds is None:
        raise UsageError(f"'{duration}' is not a time", hint="for example 90s, 30m, 8h")
    options = FsckOptions(
        on_remote=remote is not None,
        remote=remote or None,
        deep=deep,
        percent=sample,
        seconds=seconds,
        repair=repair,
        jobs=jobs,
    )
    return run(
        lambda s: verb(s.repo(), options, progress=s.progress),
        text="fsck",
        has_findings=lambda result: result.is_repaired,
    )


VERBS = {"Check": (check, verify, fsck, install, resolve, hook, merge_driver)}
