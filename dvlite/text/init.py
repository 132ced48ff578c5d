"""The words of `init`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.files import printable
from dvlite.results.setup import InitResult
from dvlite.text.show import Show


def text(result: InitResult, show: Show) -> Iterator[str]:
    """Yields what people read."""
    if show.quiet:
        return
    verb = "Already initialised" if result.existed and not result.created else "Initialised"
    facts = f"  Hooks: {', '.join(result.hooks)}. Merge driver: on." if result.hooks else ""
    yield f"{verb} {printable(result.root)}{facts}"
    yield from show.staged(result.staged, () if result.staged else result.created)
    yield from show.next_step("dvlite add PATH")
