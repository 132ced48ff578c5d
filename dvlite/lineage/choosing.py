"""What people mean by the words they choose runs with: a run's name, `last`, a date. Knows no command line."""

from __future__ import annotations

import datetime as dt
import re

from dvlite.errors import DvliteError, UsageError
from dvlite.files import quote
from dvlite.lineage.index import Index
from dvlite.lineage.search import Filters
from dvlite.oid import Oid

_HEX = 6  # digits of a run's name
_MOST_NAMED = 5
_AGO = re.compile(r"([0-9]{1,6})\s*(m|min|h|d|w)")
_MILLISECONDS = {"m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def name_of(stage: str, run: str) -> str:
    """Returns what people call a run: `train-7f3a9c`."""
    return f"{stage}-{run.rpartition(':')[2][:_HEX]}"


def chosen(index: Index, text: str) -> Oid:
    """Returns the run that is meant: by name, digits, id, `last` or `last:STAGE`. Raises UsageError for none, or for several."""
    last, colon, stage = text.partition(":")
    if last == "last" and (not colon or stage):
        rows = index.find(Filters(stage=stage or None, limit=1))
        if not rows:
            raise UsageError(f"there is no run{f' of {quote(stage)}' if stage else ''} yet", hint="dvlite repro")
        return rows[0].oid
    found = index.named(text)
    if not found:
        raise UsageError(
            f"{quote(text)} is no run that is known here",
            hint="a run is written train-7f3a9c, 7f3a9c or last (dvlite runs lists them; dvlite pull fetches those of others)",
        )
    if len(found) > 1:
        rest = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        names = ", ".join(_distinct(index, oid) for oid in found[:_MOST_NAMED])
        raise UsageError(f"{quote(text)} may be any of {len(found)} runs", hint=f"give more digits: {names}{rest}")
    return found[0]


def moment_ms(text: str, now_ms: int, *, end: bool = False) -> int:
    """Returns the time that is meant, in unix milliseconds: `2026-11-22` (its start, or with `end` its end; local time), `2026-11-22 14:02`, or `3d` ago."""
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now_ms - int(ago[1]) * _MILLISECONDS[ago[2]]
    try:
        found = dt.datetime.fromisoformat(text.strip())
        if end and _DAY.fullmatch(text.strip()):
            found += dt.timedelta(days=1)
        return int(found.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{quote(text)} is no date", hint="for example 2026-11-22, '2026-11-22 14:02', 2h or 3d"
        ) from None


def _distinct(index: Index, oid: Oid) -> str:
    row = index.row(oid)
    if row is None:
        raise DvliteError(f"the run {oid} is gone")
    return f"{row.stage}-{oid[4:16]} ({row.status}, {row.start[:16].replace('T', ' ')})"
