"""The verbs of everyday work: add, rm, mv, status, diff, checkout and ls. Declares flags and help; the work is in `commands`."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import (
    EXIT_CODE,
    FINDS,
    FORCE,
    NO_STAGE,
    NO_WAIT,
    PATHS,
    REVISION,
    ComparingVerb,
    PathText,
    Session,
    Verb,
    after_dashes,
    on_remote,
    revisions_and_paths,
    run,
)
from dvlite.errors import NotARepository, UsageError

if TYPE_CHECKING:
    from dvlite.commands.diff import DiffResult


@click.command(
    cls=Verb,
    example="dvlite add data/images\ndvlite add -u          # every tracked path that changed\ndvlite add /mnt/raw/2024 -o data/raw\npg_dump shop | dvlite add - -o data/shop.sql",
    codes=(3, 10, 11),
)
@click.argument("paths", nargs=-1, metavar="PATH...", type=PathText())
@click.option("-u", "--update", is_flag=True, help="Add every tracked path that changed.")
@click.option(
    "-f",
    "--force",
    is_flag=True,
    help="Add data even if it lacks changes that its pointer has (undoes them), and Delta tables that are not whole.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    type=PathText(),
    help="Add a file or folder from elsewhere as PATH; - is standard input.",
)
@click.option(
    "--allow-purged", is_flag=True, help="Let versions name files that were purged; no store has their content."
)
@NO_STAGE
@NO_WAIT
def add(paths: tuple[str, ...], *, update: bool, force: bool, output: str | None, allow_purged: bool) -> int:
    """Track files and folders, or update tracked ones."""
    from dvlite.commands.add import add as verb

    if output is not None or paths == ("-",):
        return _add_from(paths, output, update=update or force, allow_purged=allow_purged)
    if not paths and not update:
        raise UsageError("no path is given", hint="dvlite add PATH..., or dvlite add -u for what changed")
    flags: dict[str, Any] = {"update": update, "force": force, "allow_purged": allow_purged}
    return run(lambda s: verb(s.repo(), paths, **flags, stage=s.stage(), progress=s.progress), text="add")


def _add_from(paths: tuple[str, ...], output: str | None, *, update: bool, allow_purged: bool) -> int:
    """Adds one file or folder from elsewhere, or standard input."""
    from pathlib import Path

    from dvlite.commands.add import add as verb

    if output is None:
        raise UsageError("standard input has no name", hint="dvlite add - -o PATH")
    if len(paths) != 1 or update:
        raise UsageError("-o takes one source, without -u and -f", hint="dvlite add SOURCE -o PATH")

    def work(session: Session) -> Any:
        source = sys.stdin.buffer if paths == ("-",) else Path(paths[0]).resolve()
        if "://" in paths[0] and not Path(paths[0]).exists():
            from dvlite.show import quote, word

            hint = f"download it: curl -fL {word(paths[0])} | dvlite add - -o {word(output)}"
            raise UsageError(f"{quote(paths[0])} is a URL, not a file or folder", hint=hint)
        flags: dict[str, Any] = {"allow_purged": allow_purged, "stage": session.stage(), "source": source}
        return verb(session.repo(), (output,), **flags, progress=session.progress)

    return run(work, text="add")


@click.command(cls=Verb, example="dvlite rm --cached data/images", codes=(10, 11, 12))
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=PathText())
@click.option("--cached", is_flag=True, help="Keep the data in the workspace.")
@NO_STAGE
@NO_WAIT
def rm(paths: tuple[str, ...], *, cached: bool) -> int:
    """Stop tracking paths and remove their data from the workspace."""
    from dvlite.commands.rm import rm as verb

    return run(lambda s: verb(s.repo(), paths, cached=cached, stage=s.stage(), progress=s.progress), text="rm")


@click.command(cls=Verb, example="dvlite mv data/images data/birds", codes=(10, 11))
@click.argument("source", metavar="SOURCE", type=PathText())
@click.argument("target", metavar="TARGET", type=PathText())
@NO_STAGE
@NO_WAIT
def mv(source: str, target: str) -> int:
    """Move or rename a tracked path."""
    from dvlite.commands.mv import mv as verb

    return run(lambda s: verb(s.repo(), source, target, stage=s.stage(), progress=s.progress), text="mv")


@click.command(cls=Verb, example="dvlite status --remote --exit-code", codes=(3, 10, 13), says=FINDS)
@PATHS
@on_remote("Also check what this remote has; without NAME, the default one.")
@EXIT_CODE
def status(paths: tuple[str, ...], *, remote: str | None, exit_code: bool) -> int:
    """Show what is not added, committed, cached or pushed."""
    from dvlite.commands.status import status as verb

    asks = remote is not None
    return run(
        lambda s: verb(s.repo(), paths, remote=remote or None, check_remote=asks, progress=s.progress),
        text="status",
        has_findings=lambda result: exit_code and not result.clean,
    )


@click.command(
    cls=ComparingVerb,
    pages=True,
    example="dvlite diff main..HEAD --stat -- data/images\ndvlite diff --rows data/birds.csv --key id v1.0",
    codes=(10, 12, 13),
    says=FINDS,
)
@click.argument("words", nargs=-1, metavar="[A | A B | A..B | A...B] [-- PATH...]", type=PathText())
@click.option("--stat", is_flag=True, help="Print one line for each tracked path.")
@click.option(
    "--md", "markdown", is_flag=True, help="Print Markdown for a comment on a pull request, with metrics and plots."
)
@click.option("--charts", metavar="DIR", type=PathText(), help="With --md, draw plots that differ into this folder.")
@click.option(
    "--rows", metavar="PATH", type=PathText(), help="Compare the rows and cells of a table: CSV, Parquet, ..."
)
@click.option("--key", metavar="COLUMN", multiple=True, help="With --rows, match rows by this column, or by several.")
@click.option("--columns", metavar="COLUMN", multiple=True, help="With --rows, compare only this column, or several.")
@click.option("--limit", metavar="N", type=click.IntRange(0), help="With --rows, list N rows (20); 0: all.")
@EXIT_CODE
@click.option("--driver", is_flag=True, hidden=True, help="Run as git's external diff program.")
def diff(
    words: tuple[str, ...],
    *,
    stat: bool,
    markdown: bool,
    charts: str | None,
    rows: str | None,
    exit_code: bool,
    driver: bool,
    **flags: Any,
) -> int:
    """Show which files differ between revisions, or from the workspace."""
    from dvlite.commands.diff import diff as verb
    from dvlite.commands.diff import diff_with_rows
    from dvlite.commands.diff import driver as verb_of_git

    if rows is not None:
        if charts is not None or after_dashes():
            raise UsageError("--rows takes one PATH, and draws no charts", hint="dvlite diff --rows PATH [A | A B]")
        form = "diff_rows_markdown" if markdown else "diff_rows"
        return _diff_rows(words, rows, form, stat=stat and not markdown, exit_code=exit_code, flags=flags)
    if any(flags.values()) or flags["limit"] is not None:
        raise UsageError("--key, --columns and --limit are for --rows", hint="dvlite diff --rows PATH [A | A B]")
    if driver:
        click.get_current_context().ensure_object(dict)["no_pager"] = True  # git's, if any
        sides = (*words, *(after_dashes() or ()))
        return run(lambda s: verb_of_git(s.repo(), sides, progress=s.progress), text="diff")

    def work(session: Session) -> DiffResult:
        revisions, paths = revisions_and_paths(words)
        if len(revisions) > 2:
            raise UsageError(f"at most two revisions can be compared, not {len(revisions)}", hint="dvlite diff --help")
        repo = session.repo()
        result = verb(repo, revisions, paths, progress=session.progress)
        if markdown:
            result = diff_with_rows(repo, result, session.progress)
        if not markdown or not revisions or paths:
            return result
        from dvlite.plots.review import review

        beside = review(repo, result.old, result.new, charts, session.progress)
        return replace(result, review=beside, warnings=(*result.warnings, *beside.warnings))

    if charts is not None and not markdown:
        raise UsageError("--charts is for the comment of --md", hint="dvlite plots diff --html FILE   draws a page")

    def has_findings(result: DiffResult) -> bool:
        return exit_code and bool(result.paths)

    if markdown:
        return run(work, text="diff_markdown", has_findings=has_findings)
    return run(work, text="diff", has_findings=has_findings, form="stat" if stat else "text")


def _diff_rows(
    words: tuple[str, ...], path: str, text: str, *, stat: bool, exit_code: bool, flags: dict[str, Any]
) -> int:
    """Compares the rows of one table, or of the tables in a folder."""
    from dvlite.commands.diff import diff as verb
    from dvlite.commands.diff_rows import diff_rows
    from dvlite.tables.changed import RowOptions

    limit = flags["limit"]
    options = RowOptions(flags["key"], flags["columns"], 20 if limit is None else limit)

    def work(session: Session) -> Any:
        repo = session.repo()
        found = verb(repo, words, (path,), progress=session.progress)
        files = [change for item in found.paths for change in item.files]
        return diff_rows(repo, path, (found.old, found.new), files, options, progress=session.progress)

    def has_findings(result: Any) -> bool:
        return exit_code and bool(result.paths)

    return run(work, text=text, has_findings=has_findings, form="stat" if stat else "text")


@click.command(cls=Verb, example="dvlite checkout data/images/val\ndvlite checkout --relink", codes=(3, 10, 11, 12, 13))
@PATHS
@REVISION
@FORCE
@click.option("--allow-missing", is_flag=True, help="Leave out files that are not in the cache, and write the rest.")
@click.option("--relink", is_flag=True, help="Also link large files as cache.link says now.")
@NO_WAIT
def checkout(paths: tuple[str, ...], **flags: Any) -> int:
    """Update the workspace to match the pointers."""
    from dvlite.commands.checkout import checkout as verb

    return run(lambda s: verb(s.repo(), paths, **flags, progress=s.progress), text="checkout")


@click.command(
    cls=Verb,
    pages=True,
    example="dvlite ls -l HEAD~1:data/images\ndvlite ls -l git@example.com:acme/birds models",
    codes=(10, 12, 13),
)
@click.argument("words", nargs=-1, metavar="[REPO] [REV:][PATH]", type=PathText())
@REVISION
@click.option("-l", "long", is_flag=True, help="Show sizes, ids and link targets.")
@click.option("-R", "recursive", is_flag=True, help="List everything below.")
@click.option(
    "-r", "--remote", metavar="URL", help="List the snapshots on a remote, or what is in one; needs no clone."
)
def ls(words: tuple[str, ...], *, remote: str | None, **flags: Any) -> int:
    """List what is tracked; of another repository, files of git too."""
    from dvlite.commands.ls import ls as verb
    from dvlite.commands.ls import ls_remote, ls_repository

    if len(words) > (2 if remote is None else 1):
        raise UsageError(f"expected [REPO] [REV:][PATH], got {len(words)} words", hint="dvlite ls --help")
    first = words[0] if words else None
    if remote is not None:
        return run(lambda s: ls_remote(remote, first, environ=s.environ, progress=s.progress), text="ls")

    def work(session: Session) -> Any:
        if first is None or (len(words) == 1 and not _is_other(session, first)):
            return verb(session.repo(), first, **flags, progress=session.progress)
        return ls_repository(first, *words[1:], **flags, environ=session.environ, progress=session.progress)

    return run(work, text="ls")


@click.command(cls=Verb, example="dvlite du\ndvlite du data/images/val", codes=(10,))
@PATHS
def du(paths: tuple[str, ...]) -> int:
    """Show what takes space: each tracked path, its versions, and what the cache has of them."""
    from dvlite.commands.du import du as verb

    return run(lambda s: verb(s.repo(), paths, progress=s.progress), text="du")


def _is_other(session: Session, text: str) -> bool:
    """Returns whether a word is the address of another repository than the one around the current folder."""
    from dvlite.share.any_repository import is_address

    if not is_address(text):
        return False
    with contextlib.suppress(NotARepository):
        root, session.opened = session.repo().root, None
        return os.path.realpath(text) != str(root)
    return True


VERBS = {"Work": (add, status, diff, checkout, mv, rm), "Inspect": (ls, du)}
