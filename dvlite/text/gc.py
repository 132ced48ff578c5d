"""The words of `gc`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.gc import GRACE_SECONDS, GcResult
from dvlite.share.needs import GcPart
from dvlite.show import Show, count, printable, size_text
from dvlite.text.style import table


def text(result: GcResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet and result.applied:
        return
    if not result.gone:
        yield "Nothing to remove from the cache."
    else:
        verb = "Removed" if result.applied else "Would remove"
        yield f"{verb} {count(result.objects, 'object')} from the cache, which frees {size_text(result.freed_bytes)}:"
        yield from part_rows(result.gone)
    if result.kept:
        yield "Kept:"
        yield from part_rows(result.kept)
    if result.quarantined:
        amount = f"{count(result.quarantined, 'damaged object')}, {size_text(result.quarantined_bytes)}"
        yield f"In quarantine: {amount}; they stay until you remove them."
    if result.gone and not result.applied:
        grace = "" if result.grace_seconds == GRACE_SECONDS else grace_option(result.grace_seconds)
        yield from show.next_step(f"dvlite gc{grace} --yes")


def grace_option(seconds: float) -> str:
    """Returns the option for a grace, in the largest unit that it is a whole number of."""
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    unit = next((unit for unit, size in units.items() if seconds >= size and not seconds % size), "s")
    return f" --grace {int(seconds) // units[unit]}{unit}"


def part_rows(parts: tuple[GcPart, ...]) -> Iterator[str]:
    """Yields a row for each part: bytes, objects, reason."""
    if not parts:
        return
    yield from table(
        ((f"{size_text(part.size_bytes):>10}", f"{part.objects:>7,}", printable(part.reason)) for part in parts),
    )
