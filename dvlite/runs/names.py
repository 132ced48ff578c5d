"""Names of runs and stages for people, and what they type to choose runs: a name, a tag, `last`, a stage, a date. Knows no command line."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from dvlite.errors import DvliteError, UsageError
from dvlite.oid import Oid
from dvlite.repo.stage_names import Relative, address, stages_named
from dvlite.runs.filters import Filters
from dvlite.runs.index import RunIndex
from dvlite.runs.schema import RunRow
from dvlite.show import closest, quote, some, word

_HEX = 6  # digits of a run's name
_MOST_LISTED = 5
_AGO = re.compile(r"([0-9]{1,6})\s*(m|min|h|d|w)")
_MILLISECONDS = {"m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def name_of(stage: str, run: str) -> str:
    """Returns the name of a run: `train-7f3a9c`."""
    return f"{stage}-{run.rpartition(':')[2][:_HEX]}"


def names_of(rows: Sequence[RunRow]) -> list[str]:
    """Returns the names of listed runs, with the folder of the pipeline file where several of these have the stage."""
    stages = Counter(stage for stage, _ in {(row.stage, row.file) for row in rows})
    return [name_of(address(row.file, row.stage) if stages[row.stage] > 1 else row.stage, row.oid) for row in rows]


def find_stage(index: RunIndex, word: str, relative: Relative) -> str:
    """Returns a stage, called as `repro` takes it, as filters take it. Raises UsageError for one without a run."""
    name = word.rpartition(":")[2]
    has_instances = "@" not in name and bool(index.files_of(f"{name}@*"))
    known = [address(file, name) for file in index.files_of(f"{name}@" if has_instances else name)]
    found = stages_named(word, known, relative)
    if not found:
        hint = suggestion(word, known or index.stages(), "stages that ran")
        raise UsageError(f"there is no run of {quote(word)}", hint=hint)
    return f"{'' if ':' in found[0] else ':'}{found[0]}{'@' * has_instances}"


def suggestion(word: str, known: Iterable[str], what: str) -> str:
    """Returns a hint for an unknown word: the closest known one, else some of them."""
    names = list(known)
    close = closest(word, names)
    if close:
        return f"did you mean {close}?"
    return f"{what}: {some(names, _MOST_LISTED)}" if names else f"there are no {what} yet"


def is_run(index: RunIndex, text: str) -> bool:
    """Returns whether a word is about runs: `find_run` returns one, or raises because there are several or none of that stage."""
    first, colon, stage = text.partition(":")
    if first == "last":
        return not colon or bool(stage)
    return bool(index.named(text) or index.tagged(text) or (stage and index.tagged(first)))


def find_run(index: RunIndex, text: str, relative: Relative) -> Oid:
    """Returns a run by name, digits, id, tag or `last`; `TAG:STAGE` and `last:STAGE` are those of one stage.

    Raises UsageError for none, or for several.
    """
    first, colon, stage = text.partition(":")
    if first == "last" and (not colon or stage):
        rows = index.find(Filters(stage=find_stage(index, stage, relative) if stage else None, hidden=False, limit=1))
        if not rows:
            raise UsageError("there is no run yet", hint="dvlite repro")
        return rows[0].oid
    named = index.named(text)
    oids = named or index.tagged(text)
    if not oids and stage and index.tagged(first):
        filters = Filters(tags=(first,), stage=find_stage(index, stage, relative))
        oids = [row.oid for row in index.find(filters)]
    if not oids:
        raise UsageError(
            f"{quote(text)} is not a known run",
            hint="a run is written train-7f3a9c, 7f3a9c, last or by its tag; to list runs: dvlite runs; to fetch those of others: dvlite pull",
        )
    if len(oids) > 1:
        raise UsageError(f"{quote(text)} may be any of {len(oids)} runs", hint=_choice(index, text, oids, named))
    return oids[0]


def _choice(index: RunIndex, text: str, oids: Sequence[Oid], named: Sequence[Oid]) -> str:
    """Returns the words that name one of several runs."""
    if not named:
        rows = [row for oid in oids if (row := index.row(oid)) is not None]
        stages = sorted({address(row.file, row.stage) for row in rows})
        if len(stages) == len(oids):
            return f"one of: {some([word(f'{text}:{stage}') for stage in stages], _MOST_LISTED)}"
    names = some([_distinct(index, oid) for oid in oids], _MOST_LISTED)
    return f"{'give more digits' if named else 'one of'}: {names}"


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
