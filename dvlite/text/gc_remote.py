"""The words of `gc --remote`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.gc_remote import GcClonesResult, GcRemoteResult
from dvlite.show import Show, count, printable, size_text, word
from dvlite.text.gc import grace_option, part_rows
from dvlite.text.style import table

_DAY = 86400


def text(result: GcRemoteResult | GcClonesResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, GcClonesResult):
        yield from _clones(result)
        return
    if show.quiet and result.applied:
        return
    where = f"{printable(result.remote)} ({printable(result.url)})"
    freed, later = size_text(result.freed_bytes), size_text(result.later_bytes)
    if not result.gone and not result.claims:
        yield f"Nothing to remove from {where}."
    elif not result.gone:
        yield f"Nothing to remove from {where} yet."
    elif result.applied:
        yield f"Removed {freed} from {where}."
        if result.later_bytes:
            yield f"{later} more goes with the first gc in a day or later; until then a transfer that runs may read it."
    else:
        whole = size_text(max(0, result.freed_bytes + result.later_bytes - result.copied_bytes))
        part = f", {freed} of it at once, the rest with the first gc in a day or later" if result.later_bytes else ""
        yield f"Would free {whole} on {where}{part}:"
    yield from part_rows(result.gone)
    if result.claims:
        fell = "ended" if result.applied else "would end"
        yield f"{count(result.claims, 'claim')} on what is no longer needed {fell}."
    if result.kept:
        yield "Kept:"
        yield from part_rows(result.kept)
    if result.missing:
        are = "objects that are needed are" if result.missing > 1 else "object that is needed is"
        yield show.style("yellow", f"{result.missing:,} {are} not there: dvlite push from a clone that has the data.")
    if result.incomplete:
        are = "versions that git names here are" if result.incomplete > 1 else "version that git names here is"
        again = f"dvlite push -r {word(result.remote)} --all-commits"
        yield show.style("yellow", f"{result.incomplete:,} {are} not whole there; what is there stays: {again}")
    if not result.applied and (result.gone or result.claims):
        grace = "" if result.grace_seconds is None else grace_option(result.grace_seconds)
        gone = "".join(f" --forget-clone {printable(clone)}" for clone in result.forgotten)
        gone += "".join(f" --forget-version {printable(version)}" for version in result.given_up)
        yield from show.next_step(f"dvlite gc --remote {word(result.remote)}{grace}{gone} --yes")


def _clones(result: GcClonesResult) -> Iterator[str]:
    if not result.clones:
        yield f"No clone claims anything on {printable(result.remote)}."
        return
    rows = [("CLONE", "USER", "CLAIMS", "LAST SEEN", "")]
    for each in result.clones:
        days = max(0, int(each.seconds // _DAY))  # the store may have dates in the future
        seen = "today" if not days else f"{count(days, 'day')} ago"
        note = "this clone" if each.is_own else "asleep: gc asks git about its versions" if each.is_asleep else ""
        rows.append((each.clone[:12], printable(each.user) or "-", f"{each.roots:,}", seen, note))
    yield from table(rows)
