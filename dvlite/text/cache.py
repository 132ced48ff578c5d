"""The words of `cache prune`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.cache import CachePruneResult
from dvlite.show import Show, count, printable, size_text
from dvlite.text.gc import part_rows


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
        lack = (
            f"fewer than {result.copies} remotes have"
            if result.copies > 1
            else f"{printable(result.remote)} does not provably have"
        )
        parts = [part for part in result.kept if part.objects]
        yield f"Kept {size_text(result.kept_bytes)} that {lack}{', ' + printable(parts[0].reason) + '.' if len(parts) == 1 else ':'}"
        if len(parts) > 1:
            yield from part_rows(tuple(parts))
    if result.fixes:
        yield from show.next_step("; ".join(result.fixes))
