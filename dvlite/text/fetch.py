"""The words of `fetch`, and what `push` and `pull` say in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.share.fetch_plan import FetchResult
from dvlite.show import Show, count, duration_text, printable, size_text
from dvlite.text.style import amount_text
from dvlite.workspace.fetch import MovedPath, named
from dvlite.workspace.purged import PurgedFile


def text(result: FetchResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    remote = printable(result.remote)
    if result.dry_run:
        yield from planned(result.paths, "fetch", remote, show)
    elif not show.quiet:
        fetched = in_state(result.paths, "fetched")
        took = duration_text(result.elapsed_seconds)
        if fetched:
            what = f"{count(result.files, 'file')}, {size_text(result.downloaded_bytes)} downloaded"
            yield f"Fetched {named(fetched, show)} from {remote}: {what}{records_text(result)}. {took}"
            yield from show.next_step("dvlite checkout")
        elif result.failure(show) is None:
            there = len(result.paths) - len(in_state(result.paths, "lost"))
            yield f"Nothing to fetch: {count(there, 'tracked path')} in the cache{records_text(result)}. {took}"


def planned(paths: Sequence[MovedPath], verb: str, remote: str, show: Show) -> Iterator[str]:
    """Yields what a dry run of `verb` would do."""
    waiting = in_state(paths, "planned")
    for path in waiting:
        at = f" at {path.revision[:8]}" if path.revision else ""
        yield f"would {verb} {show.path(path.path)}{at}: {amount_text(path.files, path.size_bytes)}"
    if not waiting:
        yield f"Nothing to {verb}: {remote} and the cache agree on {count(len(paths), 'tracked path')}."


def in_state(paths: Sequence[MovedPath], state: str) -> list[MovedPath]:
    """Returns the paths in this state."""
    return [path for path in paths if path.state == state]


def records_text(result: FetchResult) -> str:
    """Returns how many run records came along, if any did."""
    return f", {count(result.records, 'record')} of runs" if result.records else ""


def without_purged(files: Sequence[PurgedFile], show: Show) -> str:
    """Returns the line that names purged files, which are neither moved nor missed."""
    return f"Without {show.paths([file.path for file in files])}: purged (dvlite purge --list)."
