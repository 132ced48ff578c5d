"""The words of `install`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.install import InstallResult
from dvlite.show import Show, printable


def text(result: InstallResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    chained = ", ".join(result.chained)
    if result.action == "uninstalled":
        yield f"Removed hooks: {', '.join(result.hooks) or 'none were there'}. Merge driver: off."
        if chained:
            yield f"as before: {chained}"
        yield "git now merges pointers by lines; what it cannot: dvlite resolve"
        return
    yield f"Hooks: {', '.join(result.hooks)}. Merge driver: {'on' if result.merge_driver else 'off'}."
    if chained:
        yield f"your own hooks run first: {chained}"
    if show.verbose:
        yield f"in {printable(result.folder)}"
