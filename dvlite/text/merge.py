"""The words of `merge-driver`: they stand between git's own."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.errors import DvliteError
from dvlite.files import quote
from dvlite.results.merging import MergeDriverResult
from dvlite.text.conflicts import summary, word
from dvlite.text.show import Show


def text(_result: MergeDriverResult, _show: Show) -> Iterator[str]:
    """Yields nothing: git says what it merged."""
    return iter(())


def problem(result: MergeDriverResult, show: Show) -> DvliteError | None:
    """Returns what git could not be given."""
    if result.merged:
        return None
    name = quote(show.path(result.path))
    again = f"dvlite resolve {word(show.path(result.path))}"
    if result.problem is not None:
        hint = f"{result.hint}\nthen: {again}" if result.hint else again
        return DvliteError(f"cannot merge {name}: {result.problem}", hint=hint)
    is_lockfile = any(each.stage is not None for each in result.conflicts)
    choices = "--ours|--theirs" if is_lockfile else "--ours|--theirs|--union"
    return DvliteError(
        f"cannot merge {name}: {summary(result.path, result.conflicts, show)}", hint=f"{again} {choices}"
    )
