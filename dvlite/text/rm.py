"""The words of `rm`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.rm import RmResult
from dvlite.show import Show


def text(result: RmResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    if not result.paths:
        yield "Nothing to remove."
        return
    how = "No longer tracked, data left in place" if result.kept else "Removed"
    yield f"{how}: {show.paths(result.paths)}"
    if not result.readers:
        yield from show.next_commit(result.staged, result.unstaged)
        return
    yield from show.staged(result.staged, result.unstaged)
    yield f"read by {show.some(result.readers)}: see that dvlite.yaml no longer names it"
    yield from show.next_step("dvlite repro")
