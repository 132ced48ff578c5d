"""How conflicts are told, for the merge driver and `resolve`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from dvlite.files import printable
from dvlite.merge.files import MergeConflict
from dvlite.text.style import NAMED, Show, count

_SHOWN = 20  # rows of a list
_REASONS = {
    "file and folder": "a file on one side, a folder on the other",
    "meta": "'meta' changed on both sides",
    "other data": "its pointer looks like a renamed one to git, and the data is another",
}


def summary(path: str, conflicts: Sequence[MergeConflict], show: Show) -> str:
    """Returns all conflicts of a path in a sentence: `changed on both sides: a.jpg, b.jpg, 2 more; removed by ours: c.jpg`."""
    parts = []
    for reason, group in groupby(sorted(conflicts, key=_reason), key=_reason):
        listed = _some([name for each in group if (name := named(path, each))], show)
        parts.append(_REASONS.get(reason, reason) + (f": {listed}" if listed else ""))
    return "; ".join(parts)


def names(path: str, conflicts: Sequence[MergeConflict], show: Show) -> str:
    """Returns the first files or stages in conflict, and how many more there are."""
    found = [name for each in conflicts if (name := named(path, each) or _REASONS.get(each.reason, "it"))]
    return _some(found, show)


def _some(found: Sequence[str], show: Show) -> str:
    shown = found if show.verbose else found[:NAMED]
    more = [f"{count(len(found) - len(shown))} more"] if len(found) > len(shown) else []
    return ", ".join([*shown, *more])


def choices_of(conflicts: Sequence[MergeConflict], *, can_union: bool) -> list[str]:
    """Returns the options of `resolve` that settle these conflicts: not a side that cannot be read, and both only where both can be kept."""
    reasons = {each.reason for each in conflicts}
    gone = {side for side in ("ours", "theirs") if reasons & {f"{side} cannot be read", "both sides cannot be read"}}
    return [f"--{side}" for side in ("ours", "theirs") if side not in gone] + ["--union"] * can_union


def rows(path: str, conflicts: Sequence[MergeConflict], show: Show) -> Iterator[str]:
    """Yields a line for each conflict, the first ones unless the stream wants all."""
    shown = conflicts if show.verbose else conflicts[:_SHOWN]
    found = [named(path, each) for each in shown]
    width = max(map(len, found), default=0)
    for name, each in zip(found, shown, strict=True):
        yield (
            f"  {name.ljust(width)}  {_REASONS.get(each.reason, each.reason)}"
            if width
            else f"  {_REASONS.get(each.reason, each.reason)}"
        )
    if len(conflicts) > len(shown):
        yield f"  {count(len(conflicts) - len(shown))} more; all of them with -v"


def named(path: str, conflict: MergeConflict) -> str:
    """Returns a file of a tracked directory as it is called inside of it, a stage as `stage train`, nothing for the path itself."""
    if conflict.stage is not None:
        return f"stage {conflict.stage}"
    inside = (conflict.path or "").removeprefix(path).removeprefix("/")
    return printable(inside)


def _reason(conflict: MergeConflict) -> str:
    return conflict.reason
