"""Parameters of the runs before a run: those that made what it began with, the nearest first. Asked of the index, a level at a time.

Of several runs that left the same bytes under a path, the one counts that was the newest when the run began: so a search finds what a
listing shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from dvlite.oid import RUN, Oid, format_oid
from dvlite.runs.schema import PARAM, digest_of, loaded_text, loaded_value

_MOST_LEVELS = 100  # of runs before one another: a stage that reads what it left has one for each time that it ran
_AT_ONCE = 5000  # numbers in one query
_DIGESTS_AT_ONCE = 500  # arguments of one query

# Runs that left the content of a row of io, by their number; `other` is one of them.
_MADE = (
    "FROM io other JOIN run maker ON maker.id = other.run AND maker.status IN ('ok', 'cached', 'tainted')"
    " WHERE other.obj = {row}.obj AND other.output = 1 AND other.path = {row}.path"
)
_MAKER = (
    "SELECT DISTINCT used.run, ifnull("  # noqa: S608  # no words of anybody
    f"(SELECT other.run {_MADE.format(row='used')} AND other.run < used.run ORDER BY other.run DESC LIMIT 1),"
    f" (SELECT other.run {_MADE.format(row='used')} AND other.run > used.run ORDER BY other.run LIMIT 1)"  # clocks differ
    ") FROM io used WHERE used.output IN (0, 2) AND used.run IN"
)


class ParamRows(Protocol):
    """What is needed of the index."""

    def select(self, sql: str, *arguments: Any) -> list[Any]:
        """Returns the rows of a query."""


def params_before(index: ParamRows, runs: Sequence[Oid]) -> dict[Oid, dict[str, Any]]:
    """Returns, for each run, the parameters of the runs before it that it has not itself; the nearest run has its way."""
    numbers = _numbers(index, runs)
    makers = _makers(index, numbers.values())
    values = _params(index, [*makers])
    found: dict[Oid, dict[str, Any]] = {oid: {} for oid in runs}
    for oid, start in numbers.items():
        own, seen, level = values.get(start, {}), {start}, [start]
        for _ in range(_MOST_LEVELS):
            behind = {maker for run in level for maker in makers.get(run, ())} - seen
            level = sorted(behind, reverse=True)
            seen |= behind
            for run in level:
                for key, value in values.get(run, {}).items():
                    if key not in own:
                        found[oid].setdefault(key, value)
            if not level:
                break
    return found


def _numbers(index: ParamRows, runs: Sequence[Oid]) -> dict[Oid, int]:
    found: dict[Oid, int] = {}
    for at in range(0, len(runs), _DIGESTS_AT_ONCE):
        digests = [digest_of(oid) for oid in runs[at : at + _DIGESTS_AT_ONCE]]
        sql = f"SELECT digest, id FROM record WHERE digest IN ({','.join('?' * len(digests))})"  # noqa: S608  # marks only
        found |= {format_oid(RUN, digest): number for digest, number in index.select(sql, *digests)}
    return found


def _makers(index: ParamRows, runs: Iterable[int]) -> dict[int, list[int]]:
    """Returns which runs made what these, and the runs before them, began with."""
    found: dict[int, list[int]] = {}
    level = list(runs)
    for _ in range(_MOST_LEVELS):
        found |= {run: [] for run in level}
        for run, maker in _by_number(index, _MAKER, level):
            if maker is not None:
                found[run].append(maker)
        level = list({maker for run in level for maker in found[run]}.difference(found))
        if not level:
            break
    return found


def _params(index: ParamRows, runs: Sequence[int]) -> dict[int, dict[str, Any]]:
    sql = "SELECT kv.run, name.k, kv.v FROM name CROSS JOIN kv ON kv.name = name.id WHERE name.ns = ? AND kv.run IN"
    found: dict[int, dict[str, Any]] = {}
    for run, key, value in _by_number(index, sql, runs, PARAM):
        found.setdefault(run, {})[loaded_text(key)] = loaded_value(value)
    return found


def _by_number(index: ParamRows, sql: str, numbers: Sequence[int], *arguments: Any) -> Iterable[Any]:
    for at in range(0, len(numbers), _AT_ONCE):
        yield from index.select(f"{sql} ({','.join(map(str, numbers[at : at + _AT_ONCE]))})", *arguments)


def runs_behind(matching: str) -> str:
    """Returns the SQL for the runs that a query gives with the number of a key, and those after them up to the next that has that key."""
    later = _MADE.format(row="made")
    return (
        f"WITH RECURSIVE behind(run, name) AS ({matching} UNION"  # noqa: S608  # words of people are arguments
        " SELECT used.run, behind.name FROM behind JOIN io made ON made.run = behind.run AND made.output = 1"
        " JOIN io used ON used.obj = made.obj AND used.output IN (0, 2) AND used.path = made.path AND used.run != made.run"
        f" AND used.run < ifnull((SELECT other.run {later} AND other.run > made.run ORDER BY other.run LIMIT 1), {1 << 62})"
        f" AND used.run > CASE WHEN EXISTS (SELECT 1 {later} AND other.run < made.run) THEN made.run ELSE -1 END"
        " WHERE (SELECT status FROM run WHERE id = made.run) IN ('ok', 'cached', 'tainted')"
        " AND NOT EXISTS (SELECT 1 FROM kv WHERE kv.name = behind.name AND kv.run = used.run)"
        ") SELECT run FROM behind"
    )
