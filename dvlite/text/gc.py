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
        age = max(result.uncommitted_seconds or 0, result.grace_seconds)
        is_limited = result.uncommitted_seconds is not None and age
        yield "Nothing to remove from the cache" + (f" that is older than {duration_word(age)}." if is_limited else ".")
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
        options = "" if result.grace_seconds == GRACE_SECONDS else grace_option(result.grace_seconds)
        if result.uncommitted_seconds is not None:
            options += " --uncommitted"
            options += (
                f" --older-than {duration_word(result.uncommitted_seconds)}" if result.uncommitted_seconds else ""
            )
        yield from show.next_step(f"dvlite gc{options} --yes")


def grace_option(seconds: float) -> str:
    """Returns the option for a grace."""
    return f" --grace {duration_word(seconds)}"


def duration_word(seconds: float) -> str:
    """Returns a duration as options take it, in the largest unit that it is a whole number of."""
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    unit = next((unit for unit, size in units.items() if seconds >= size and not seconds % size), "s")
    return f"{int(seconds) // units[unit]}{unit}"


def part_rows(parts: tuple[GcPart, ...]) -> Iterator[str]:
    """Yields a row for each part: bytes, objects, reason."""
    if not parts:
        return
    yield from table(
        ((f"{size_text(part.size_bytes):>10}", f"{part.objects:>7,}", printable(part.reason)) for part in parts),
    )
