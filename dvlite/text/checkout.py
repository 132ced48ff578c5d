"""The words of `checkout`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.show import Show, count, duration_text
from dvlite.text.style import changes_text, untracked_text
from dvlite.workspace.restore import CheckoutResult

LISTED = 10  # more tracked paths than this are summed up


def text(result: CheckoutResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    changed = [path for path in result.paths if (path.written or path.removed) and not path.untracked]
    took = duration_text(result.elapsed_seconds)
    if len(changed) > LISTED and not show.verbose:
        yield f"Checked out {count(len(changed), 'path')}: {changes_text(changed)}. {took}"
    else:
        for position, path in enumerate(changed):
            last = f" {took}" if position == len(changed) - 1 else ""
            yield f"Checked out {show.path(path.path)}: {changes_text([path])}.{last}"
    gone = [path for path in result.paths if path.untracked]
    if gone:
        yield untracked_text(gone, show)
    there = [path for path in result.paths if not path.untracked]
    if not changed and result.failure(show) is None and not any(path.missing for path in result.paths):
        yield f"Nothing to check out: {count(len(there), 'tracked path')} unchanged."
    extra = [path for path in result.paths if path.extra]
    if extra:
        names = show.paths([path.path for path in extra])
        yield f"{count(sum(path.extra for path in extra), 'file')} of yours left alone in {names} (dvlite status)"
    lost = [name for path in result.paths for name in path.missing] if result.may_lack else []
    if lost:
        yield f"Without {show.paths(lost)}: not in the cache (dvlite status)"
    for path in result.paths:
        if path.saved:
            yield f"{count(len(path.saved), 'file')} overwritten in {show.path(path.path)}; the bytes before are in the cache"
