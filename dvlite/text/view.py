"""The words of `view` and `runs --html`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.view import ViewResult
from dvlite.show import Show, count, printable, size_text


def text(result: ViewResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    of = f" of {count(result.known)}" if result.runs < result.known else ""
    runs = f"{count(result.runs)}{of} runs" if of else count(result.runs, "run")
    yield f"Wrote {printable(result.file)} ({runs}, {size_text(result.size_bytes)})"
    if result.opened is False:
        yield "No browser opens here: copy the file to where there is one."
    if result.absent:
        yield f"Left out, for this clone does not have them: {count(result.absent, 'log, diff or curve', 'logs, diffs and curves')}"
        yield from () if result.fetched else show.next_step("dvlite view --fetch")
