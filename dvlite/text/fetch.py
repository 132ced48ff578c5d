"""The words of `fetch`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.errors import DvliteError
from dvlite.files import printable, size_text
from dvlite.share.fetch_plan import FetchResult
from dvlite.text import moved
from dvlite.text.style import Show, count, duration_text


def text(result: FetchResult, show: Show) -> Iterator[str]:
    """Yields what people read."""
    remote = printable(result.remote)
    if result.dry_run:
        yield from moved.planned(result.paths, "fetch", remote, show)
    elif not show.quiet:
        done = moved.in_state(result.paths, "fetched")
        took = duration_text(result.elapsed_seconds)
        if done:
            what = f"{count(result.files, 'file')}, {size_text(result.downloaded_bytes)} downloaded"
            yield f"Fetched {moved.named(done, show)} from {remote}: {what}{records_text(result)}. {took}"
            yield from show.next_step("dvlite checkout")
        elif problem(result, show) is None:
            yield f"Nothing to fetch: {count(len(result.paths), 'tracked path')} in the cache{records_text(result)}. {took}"


def problem(result: FetchResult, show: Show) -> DvliteError | None:
    """Returns what was not fetched."""
    where = f"neither on {printable(result.remote)} nor in the cache"
    return moved.undone(result.paths, where, "fetch", "ask who added it to run: dvlite push", show)


def records_text(result: FetchResult) -> str:
    """Returns how many run records came along, if any did."""
    return f", {count(result.records, 'run record')}" if result.records else ""
