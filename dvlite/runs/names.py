"""Names of runs and stages for people, and what they type to choose runs: a name, a tag, `last`, a stage, a date. Knows no command line."""

from __future__ import annotations

import datetime as dt
import posixpath
import re
from collections.abc import Iterable

from dvlite.errors import DvliteError, UsageError
from dvlite.oid import Oid
from dvlite.runs.filters import Filters
from dvlite.runs.index import RunIndex
from dvlite.show import closest, quote, some

_FILE = "dvlite.yaml"
_HEX = 6  # digits of a run's name
_MOST_LISTED = 5
_AGO = re.compile(r"([0-9]{1,6})\s*(m|min|h|d|w)")
_MILLISECONDS = {"m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def name_of(stage: str, run: str) -> str:
    """Returns the name of a run: `train-7f3a9c`."""
    return f"{stage}-{run.rpartition(':')[2][:_HEX]}"


def address_of(file: str, stage: str) -> str:
    """Returns the address of a stage: `train`, or `ml:train` for one of a pipeline file in a folder."""
    folder = posixpath.dirname(file)
    return f"{folder}:{stage}" if folder else stage


def find_stage(index: RunIndex, word: str) -> str:
    """Returns a stage as filters take it: with a bare name, the one at the root, or the only one of that name.

    Raises UsageError if it has no run, or if stages of that name in several pipeline files have.
    """
    folder, colon, name = word.rpartition(":")
    files = index.files_of(name)
    if colon and f"{folder}/{_FILE}".removeprefix("/") in files:
        return word
    if colon or not files:
        stages = [address_of(file, name) for file in files] or index.stages()
        raise UsageError(f"there is no run of {quote(word)}", hint=suggestion(word, stages, "stages that ran"))
    if len(files) > 1 and _FILE not in files:
        addresses = ", ".join(address_of(file, name) for file in files)
        raise UsageError(f"{quote(word)} is a stage of several pipeline files", hint=f"one of: {addresses}")
    return word if len(files) == 1 else f":{word}"


def suggestion(word: str, known: Iterable[str], what: str) -> str:
    """Returns a hint for an unknown word: the closest known one, else some of them."""
    names = list(known)
    close = closest(word, names)
    if close:
        return f"did you mean {close}?"
    return f"{what}: {some(names, _MOST_LISTED)}" if names else f"there are no {what} yet"


def find_run(index: RunIndex, text: str) -> Oid:
    """Returns a run by name, digits, id, tag, `last` or `last:STAGE`. Raises UsageError for none, or for several."""
    last, colon, stage = text.partition(":")
    if last == "last" and (not colon or stage):
        rows = index.find(Filters(stage=find_stage(index, stage) if stage else None, limit=1))
        if not rows:
            raise UsageError("there is no run yet", hint="dvlite repro")
        return rows[0].oid
    named = index.named(text)
    oids = named or index.tagged(text)
    if not oids:
        raise UsageError(
            f"{quote(text)} is not a known run",
            hint="a run is written train-7f3a9c, 7f3a9c, last or by its tag; to list runs: dvlite runs; to fetch those of others: dvlite pull",
        )
    if len(oids) > 1:
        names = some([_distinct(index, oid) for oid in oids], _MOST_LISTED)
        raise UsageError(
            f"{quote(text)} may be any of {len(oids)} runs",
            hint=f"{'give more digits' if named else 'one of'}: {names}",
        )
    return oids[0]


def parse_time_ms(text: str, now_ms: int, *, end: bool = False) -> int:
    """Returns unix milliseconds of `2026-11-22` (its start, or with `end` its end; local time), `2026-11-22 14:02`, or `3d` ago."""
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now_ms - int(ago[1]) * _MILLISECONDS[ago[2]]
    try:
        moment = dt.datetime.fromisoformat(text.strip())
        if end and _DAY.fullmatch(text.strip()):
            moment += dt.timedelta(days=1)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{quote(text)} is not a date", hint="for example 2026-11-22, '2026-11-22 14:02', 2h or 3d"
        ) from None


def _distinct(index: RunIndex, oid: Oid) -> str:
    row = index.row(oid)
    if row is None:
        raise DvliteError(f"the run {oid} does not exist any more")
    return f"{row.stage}-{oid[4:16]} ({row.status}, {row.start[:16].replace('T', ' ')})"
