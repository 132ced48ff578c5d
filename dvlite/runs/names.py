"""What people mean by the words they choose runs with: a run's name, a tag, `last`, a stage, a date. Knows no command line."""

from __future__ import annotations

import datetime as dt
import difflib
import posixpath
import re
from collections.abc import Iterable

from dvlite.errors import DvliteError, UsageError
from dvlite.files import quote
from dvlite.oid import Oid
from dvlite.runs.filters import Filters
from dvlite.runs.index import RunIndex
from dvlite.show import some

_FILE = "dvlite.yaml"
_HEX = 6  # digits of a run's name
_MOST_NAMED = 5
_AGO = re.compile(r"([0-9]{1,6})\s*(m|min|h|d|w)")
_MILLISECONDS = {"m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def name_of(stage: str, run: str) -> str:
    """Returns what people call a run: `train-7f3a9c`."""
    return f"{stage}-{run.rpartition(':')[2][:_HEX]}"


def address_of(file: str, stage: str) -> str:
    """Returns what people call a stage: `train`, or `ml:train` for that of a pipeline file in a folder."""
    folder = posixpath.dirname(file)
    return f"{folder}:{stage}" if folder else stage


def stage_meant(index: RunIndex, word: str) -> str:
    """Returns the stage that is meant, as filters take it: the one at the root, or the only one of that name.

    Raises UsageError if no run is of it, or if stages of several pipeline files ran.
    """
    folder, colon, name = word.rpartition(":")
    files = index.files_of(name)
    if colon and f"{folder}/{_FILE}".removeprefix("/") in files:
        return word
    if colon or not files:
        stages = [address_of(file, name) for file in files] or index.stages()
        raise UsageError(f"there is no run of {quote(word)}", hint=meant_hint(word, stages, "stages that ran"))
    if len(files) > 1 and _FILE not in files:
        addresses = ", ".join(address_of(file, name) for file in files)
        raise UsageError(f"{quote(word)} is a stage of several pipeline files", hint=f"one of: {addresses}")
    return word if len(files) == 1 else f":{word}"


def meant_hint(word: str, known: Iterable[str], what: str) -> str:
    """Returns a hint for a word that is none of those that are known."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"{what}: {some(names, _MOST_NAMED)}" if names else f"there are no {what} yet"


def chosen(index: RunIndex, text: str) -> Oid:
    """Returns the run that is meant: by name, digits, id, tag, `last` or `last:STAGE`. Raises UsageError for none, or for several."""
    last, colon, stage = text.partition(":")
    if last == "last" and (not colon or stage):
        rows = index.find(Filters(stage=stage_meant(index, stage) if stage else None, limit=1))
        if not rows:
            raise UsageError("there is no run yet", hint="dvlite repro")
        return rows[0].oid
    named = index.named(text)
    found = named or index.tagged(text)
    if not found:
        raise UsageError(
            f"{quote(text)} is no run that is known here",
            hint="a run is written train-7f3a9c, 7f3a9c, last or by its tag (dvlite runs lists them; dvlite pull fetches those of others)",
        )
    if len(found) > 1:
        names = some([_distinct(index, oid) for oid in found], _MOST_NAMED)
        raise UsageError(
            f"{quote(text)} may be any of {len(found)} runs",
            hint=f"{'give more digits' if named else 'one of'}: {names}",
        )
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


def _distinct(index: RunIndex, oid: Oid) -> str:
    row = index.row(oid)
    if row is None:
        raise DvliteError(f"the run {oid} is gone")
    return f"{row.stage}-{oid[4:16]} ({row.status}, {row.start[:16].replace('T', ' ')})"
