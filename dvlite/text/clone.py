"""The words of `clone`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dvlite.commands.clone import CloneResult
from dvlite.show import Show, duration_text, printable, word
from dvlite.text import pull


def text(result: CloneResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    hooks = ", hooks installed" if result.hooks else ""
    yield f"Cloned into {printable(result.directory)}{hooks}  {duration_text(result.elapsed_seconds)}"
    if result.pull is not None:
        yield from pull.text(result.pull, replace(show, folder=None))
    elif result.has_dvlite:
        yield from show.next_step(f"cd {word(result.directory)}; dvlite pull [PATH]")
    else:
        yield "It does not use dvlite: there was nothing to pull."
