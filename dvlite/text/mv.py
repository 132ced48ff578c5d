"""The words of `mv`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.mv import MvResult
from dvlite.show import Show


def text(result: MvResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    yield f"Moved {show.path(result.source)} -> {show.path(result.target)}"
    if not result.readers:
        yield from show.next_commit(result.staged, result.unstaged)
        return
    yield from show.staged(result.staged, result.unstaged)
    yield f"read by {show.some(result.readers)}: see that dvlite.yaml names the new path"
    yield from show.next_step("dvlite repro")
