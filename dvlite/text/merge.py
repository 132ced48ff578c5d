"""The words of `merge-driver`: they stand between git's own."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.merge_driver import MergeDriverResult
from dvlite.errors import DvliteError
from dvlite.files import quote, word
from dvlite.merge.files import can_union
from dvlite.text.conflicts import choices_of, summary
from dvlite.text.style import Show


def text(result: MergeDriverResult, _show: Show) -> Iterator[str]:
    """Yields an end for git's line `Rebasing (1/2)`, where more is to be told."""
    if result.rebasing and not result.merged:
        yield ""


def problem(result: MergeDriverResult, show: Show) -> DvliteError | None:
    """Returns what git could not be given."""
    if result.merged:
        return None
    name = quote(show.path(result.path))
    again = f"dvlite resolve {word(show.path(result.path))}"
    if result.problem is not None:
        hint = "\n".join(filter(None, (result.hint, None if again in (result.hint or "") else f"then: {again}")))
        return DvliteError(f"cannot merge {name}: {result.problem}", hint=hint)
    choices = choices_of(result.conflicts, can_union=can_union(result.path, result.conflicts))
    message = f"cannot merge {name}: {summary(result.path, result.conflicts, show)}"
    return DvliteError(message, hint=f"{again} {'|'.join(choices)}")
