"""The words of `checkout`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.errors import DvliteError, ObjectMissing, PartlyDone
from dvlite.files import size_text
from dvlite.text.style import Show, count, duration_text
from dvlite.workspace.restore import CheckoutResult

FEW = 3  # files that are named one by one in a hint
LISTED = 10  # more tracked paths than this are summed up


def text(result: CheckoutResult, show: Show) -> Iterator[str]:
    """Yields what people read."""
    if show.quiet:
        return
    changed = [path for path in result.paths if path.written or path.removed]
    took = duration_text(result.elapsed_seconds)
    if len(changed) > LISTED and not show.verbose:
        written, removed = sum(path.written for path in changed), sum(path.removed for path in changed)
        what = _what(written, removed, sum(path.written_bytes for path in changed))
        yield f"Checked out {count(len(changed), 'path')}: {what}. {took}"
    else:
        for position, path in enumerate(changed):
            last = f" {took}" if position == len(changed) - 1 else ""
            yield f"Checked out {show.path(path.path)}: {_what(path.written, path.removed, path.written_bytes)}.{last}"
    if not changed and problem(result, show) is None:
        yield f"Nothing to check out: {count(len(result.paths), 'tracked path')} as it should be."
    extra = [path for path in result.paths if path.extra]
    if extra:
        names = show.paths([path.path for path in extra])
        yield f"{count(sum(path.extra for path in extra), 'file')} of yours left alone in {names} (dvlite status)"
    for path in result.paths:
        if path.saved:
            yield f"{count(len(path.saved), 'file')} overwritten in {show.path(path.path)}; the bytes before are in the cache"


def _what(written: int, removed: int, size_bytes: int) -> str:
    parts = []
    if written:
        parts.append(f"{count(written, 'file')} written, {size_text(size_bytes)}")
    if removed:
        parts.append(f"{count(removed, 'file')} removed")
    return ", ".join(parts)


def problem(result: CheckoutResult, show: Show) -> DvliteError | None:
    """Returns what was not checked out."""
    missing = [name for path in result.paths for name in path.missing]
    if missing:
        return ObjectMissing(f"not in the cache: {show.paths(missing)}", hint="dvlite pull")
    kept = [name for path in result.paths for name in path.conflicts]
    if kept:
        whole = [path.path for path in result.paths if path.conflicts]
        where = " ".join(show.path(path) for path in (kept if len(kept) <= FEW else whole))
        return PartlyDone(
            f"{count(len(kept), 'file')} changed here and not overwritten: {show.paths(kept)}",
            hint=f"to keep the changes: dvlite add {where}\nto give them up: dvlite checkout --force {where}",
        )
    if result.unusable:
        more = f"; and {count(len(result.unusable) - 1)} more" if len(result.unusable) > 1 else ""
        return PartlyDone(result.unusable[0] + more, hint="all else is checked out; see dvlite status")
    return None
