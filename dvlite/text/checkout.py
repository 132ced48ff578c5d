"""The words of `checkout`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.errors import DvliteError, ObjectMissing, PartlyDone
from dvlite.files import size_text
from dvlite.results import CheckoutResult
from dvlite.text.show import Show, count, duration_text


def text(result: CheckoutResult, show: Show) -> Iterator[str]:
    """Yields what people read."""
    if show.quiet:
        return
    changed = [path for path in result.paths if path.written or path.removed]
    for path in changed:
        parts = []
        if path.written:
            parts.append(f"{count(path.written, 'file')} written, {size_text(path.written_bytes)}")
        if path.removed:
            parts.append(f"{count(path.removed, 'file')} removed")
        yield f"Checked out {show.path(path.path)}: {', '.join(parts)}"
    if not changed and problem(result, show) is None:
        yield f"Nothing to check out: {count(len(result.paths), 'tracked path')} as it should be."
    elif changed:
        yield f"{duration_text(result.elapsed_seconds)}"
    for path in result.paths:
        if path.saved:
            yield f"{count(len(path.saved), 'file')} overwritten in {show.path(path.path)}; the bytes before are in the cache"


def problem(result: CheckoutResult, show: Show) -> DvliteError | None:
    """Returns what was not checked out."""
    missing = [name for path in result.paths for name in path.missing]
    if missing:
        return ObjectMissing(f"not in the cache: {show.paths(missing)}", hint="dvlite pull")
    kept = [name for path in result.paths for name in path.conflicts]
    if kept:
        where = " ".join(show.path(path.path) for path in result.paths if path.conflicts)
        return PartlyDone(
            f"{count(len(kept), 'file')} changed here and not overwritten: {show.paths(kept)}",
            hint=f"to keep the changes: dvlite add {where}\nto give them up: dvlite checkout --force {where}",
        )
    return None
