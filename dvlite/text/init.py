"""The words of `init`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.init import InitResult
from dvlite.show import Show, printable

_SWITCHES = {"diff": "git diff shows what changed in data", "merge": "git merges pointers by file, lockfiles by stage"}


def text(result: InitResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    verb = "Already initialised" if result.existed and not result.created else "Initialised"
    hooks = ", ".join(result.hooks) or "none (dvlite install)"
    yield f"{verb} {printable(result.root)}  Hooks: {hooks}. Merge driver: on."
    if result.existed and result.switched_on:
        yield f"switched on in this clone: {', '.join(_SWITCHES[one] for one in result.switched_on)}"
    yield from show.staged(result.staged, () if result.staged else result.created)
    yield from show.next_step("dvlite pull" if result.missing else "dvlite add PATH")
