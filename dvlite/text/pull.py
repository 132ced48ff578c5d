"""The words of `pull`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.share.fetch_plan import PullResult
from dvlite.show import Show, count, duration_text, size_text
from dvlite.text import fetch
from dvlite.text.style import untracked_text
from dvlite.workspace.fetch import named


def text(result: PullResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if result.fetch.dry_run or result.checkout is None:
        yield from fetch.text(result.fetch, show)
        return
    if show.quiet:
        return
    changed = [path for path in result.checkout.paths if (path.written or path.removed) and not path.untracked]
    dropped = [path for path in result.checkout.paths if path.untracked]
    if dropped:
        yield untracked_text(dropped, show)
    took = duration_text(result.elapsed_seconds)
    if changed or fetch.in_state(result.fetch.paths, "fetched"):
        names = show.paths([path.path for path in changed]) or named(result.fetch.paths, show)
        written, removed = sum(path.written for path in changed), sum(path.removed for path in changed)
        gone = f", {count(removed)} removed" if removed else ""
        size = size_text(result.fetch.downloaded_bytes)
        yield f"Pulled {names}: {count(written, 'file')} written{gone}, {size} downloaded{fetch.records_text(result.fetch)}. {took}"
    elif result.failure(show) is None:
        there = len(result.fetch.paths) - len(fetch.in_state(result.fetch.paths, "lost"))
        what = f": {count(there, 'tracked path')} here already" if there else ""
        yield f"Nothing to pull{what}{fetch.records_text(result.fetch)}. {took}"
