"""The words of `cache prune`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.cache import CachePruneResult
from dvlite.show import Show, count, printable, size_text


def text(result: CachePruneResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet and not result.dry_run:
        return
    names = ", ".join(map(printable, result.remotes))
    holders = f"{printable(result.remote)} has"
    if result.copies > 1:
        holders = f"at least {result.copies} remotes have ({names}; gc.copies)"
    verb = "Would free" if result.dry_run else "Freed"
    yield f"{verb} {size_text(result.freed_bytes)}: {count(result.objects, 'object')} that {holders}."
    if result.kept_objects:
        yield f"Kept {size_text(result.kept_bytes)} that {f'fewer than {result.copies} remotes have' if result.copies > 1 else 'it does not have'}."
        yield from show.next_step("dvlite push --all-commits")
    elif result.dry_run and result.objects:
        yield from show.next_step("dvlite cache prune --pushed")
