"""The words of `merge-driver`, among git's own: an error says the rest."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.merge_driver import MergeDriverResult
from dvlite.show import Show


def text(result: MergeDriverResult, _show: Show) -> Iterator[str]:
    """Yields an end for git's line `Rebasing (1/2)`, where an error follows."""
    if result.rebasing and not result.merged:
        yield ""
