"""The words of `clone`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dvlite.commands.clone import CloneResult
from dvlite.errors import DvliteError
from dvlite.files import printable
from dvlite.text import pull
from dvlite.text.style import Show, duration_text


def text(result: CloneResult, show: Show) -> Iterator[str]:
    """Yields what people read."""
    if show.quiet:
        return
    hooks = ", hooks installed" if result.hooks else ""
    yield f"Cloned into {printable(result.directory)}{hooks}  {duration_text(result.elapsed_seconds)}"
    if result.pull is not None:
        yield from pull.text(result.pull, replace(show, here=None))
    elif result.has_dvlite:
        yield from show.next_step(f"cd {printable(result.directory)}; dvlite pull [PATH]")
    else:
        yield "It does not use dvlite: there was nothing to pull."


def problem(result: CloneResult, show: Show) -> DvliteError | None:
    """Returns what the pull left undone."""
    return None if result.pull is None else pull.problem(result.pull, replace(show, here=None))
