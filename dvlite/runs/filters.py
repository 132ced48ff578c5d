"""Which runs are looked for: filters as people give them, and the SQL that finds the runs. Pure: runs no query.

Numbers of records sort by time (see `rows`), so the newest runs that match are found from the end, without sorting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dvlite.errors import UsageError
from dvlite.files import quote
from dvlite.runs.schema import PARAM, number_at, stored_text, stored_value
from dvlite.runs.upstream_params import runs_behind

FEW = 5000  # matches of one condition that are looked up rather than met on the way through the newest runs
_CONDITION = re.compile(r"([^=<>!]+)(>=|<=|!=|==|=|>|<)(.*)", re.DOTALL)
_RUNS_WITH = "SELECT kv.run FROM kv WHERE kv.name IN"
_RUNS_AND_NAMES_WITH = _RUNS_WITH.replace("kv.run", "kv.run, kv.name", 1)
COLUMNS = {
    "run": "record.digest",
    "when": "run.start",
    "commit": "run.code",
    "of": "run.origin",
    **{name: f"run.{name}" for name in ("start", "status", "stage", "file", "seconds", "exit_code", "user", "host")},
}  # what runs can be sorted by, beside values
_HIGHEST = 9e999  # above every number; all texts sort after it


@dataclass(frozen=True, slots=True)
class Condition:
    """What a value has to be. `space` is `param`, `metric` or `env`; `operator` one of = != < <= > >=.

    A run has also the parameters of the runs before it (see `inherited`).
    """

    space: str
    key: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What runs have to be, all of it. Tags with `!` must be absent; `commit` is the start of one; times are unix milliseconds.

    `stage` is a name, or `folder:name` for that of one pipeline file; `:name` for that of the one at the root.
    """

    stage: str | None = None
    statuses: Sequence[str] = ()
    tags: Sequence[str] = ()
    conditions: Sequence[Condition] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    commit: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What runs are sorted by: a column of theirs (`run`), or the whole key of a `param`, `metric` or `env`."""

    space: str
    key: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class SqlPart:
    """A piece of SQL with its arguments."""

    sql: str
    arguments: tuple[Any, ...] = ()


def condition(space: str, text: str) -> Condition:
    """Reads `lr=0.01`, `acc>0.9`; raises UsageError for anything else."""
    match = _CONDITION.fullmatch(text)
    if match is None or not match[1].strip():
        raise UsageError(
            f"{quote(text)} compares nothing", hint=f"for example --{space} lr=0.01   or   --{space} 'acc>=0.9'"
        )
    operator = "=" if match[2] == "==" else match[2]
    found = Condition(space, match[1].strip(), operator, match[3].strip())
    if operator not in {"=", "!="} and _number(found.value) is None:
        raise UsageError(f"{quote(text)} compares with something that is no number", hint="use = or != for texts")
    return found


def stage_parts(stage: str) -> list[SqlPart]:
    """Returns what the runs of a stage have in common."""
    folder, colon, name = stage.rpartition(":")
    parts = [SqlPart("run.stage = ?", (stored_text(name),))]
    if colon:
        parts.append(SqlPart("run.file = ?", (stored_text(f"{folder}/dvlite.yaml".removeprefix("/")),)))
    return parts


def parts(
    filters: Filters, keys: Callable[[str, str], list[int]], count: Callable[[SqlPart, int], int]
) -> list[SqlPart]:
    """Returns what has to be true of a row of `run`; `keys` are the numbers of a key as people write it, `count` counts rows up to a bound."""
    found = [] if filters.stage is None else stage_parts(filters.stage)
    if filters.statuses:
        found.append(SqlPart(f"run.status IN ({marks(filters.statuses)})", tuple(filters.statuses)))
    if filters.since_ms is not None:
        found.append(SqlPart("run.id >= ?", (number_at(filters.since_ms),)))
    if filters.until_ms is not None:
        found.append(SqlPart("run.id < ?", (number_at(filters.until_ms),)))
    if filters.commit is not None:
        found.append(_commit(filters.commit))
    found += [_tag(tag) for tag in filters.tags]
    for wanted in filters.conditions:
        matching = _matching(wanted, keys(wanted.space, wanted.key))
        if count(matching, FEW + 1) <= FEW:
            own = SqlPart(f"run.id IN ({matching.sql})", matching.arguments)
        else:
            own = SqlPart(f"EXISTS ({matching.sql} AND kv.run = run.id)", matching.arguments)
        found.append(_or_behind(own, matching) if wanted.space == PARAM else own)
    return found


def sorted_parts(wanted: Sequence[SqlPart], order: Order) -> list[SqlPart]:
    """Returns the ends of two queries: the runs that have something to sort by, in order, then the newest first those that have not."""
    way = "DESC" if order.descending else "ASC"
    if order.space == "run":
        value = COLUMNS[order.key]
        there, absent = SqlPart(f"{value} IS NOT NULL AND {value} != ''"), SqlPart(f"ifnull({value}, '') = ''")
        first, join = joined([there, *wanted]), SqlPart("")
    else:
        value = "kv.v"
        name = "kv.name = (SELECT id FROM name WHERE ns = ? AND k = ?) AND kv.v != 'null'"
        join = SqlPart(f"JOIN kv ON kv.run = run.id AND {name}", (order.space, stored_text(order.key)))
        absent = SqlPart(f"NOT EXISTS (SELECT 1 FROM kv WHERE kv.run = run.id AND {name})", join.arguments)  # noqa: S608  # no words of anybody
        first = joined(wanted)
    rest = joined([absent, *wanted])
    return [
        SqlPart(f"{join.sql} {first[0]} ORDER BY {value} {way}, run.id DESC", (*join.arguments, *first[1])),
        SqlPart(f"{rest[0]} ORDER BY run.id DESC", rest[1]),
    ]


def joined(wanted: Sequence[SqlPart]) -> tuple[str, tuple[Any, ...]]:
    """Returns the WHERE of a query and its arguments."""
    if not wanted:
        return "", ()
    return "WHERE " + " AND ".join(part.sql for part in wanted), tuple(v for part in wanted for v in part.arguments)


def marks(values: Sequence[Any]) -> str:
    """Returns the places of so many arguments in a query."""
    return ",".join("?" * len(values))


def prefix_bounds(digits: str) -> tuple[bytes, bytes]:
    """Returns the least and the greatest 32 bytes whose hex digits start so."""
    return bytes.fromhex(digits.ljust(64, "0")), bytes.fromhex(digits.ljust(64, "f"))


def _or_behind(own: SqlPart, matching: SqlPart) -> SqlPart:
    """Returns what is true of runs that have it themselves (looked at first: the newest do most often), or that come after those."""
    behind = runs_behind(matching.sql.replace(_RUNS_WITH, _RUNS_AND_NAMES_WITH, 1))
    return SqlPart(f"({own.sql} OR run.id IN ({behind}))", (*own.arguments, *matching.arguments))


def _matching(wanted: Condition, keys: list[int]) -> SqlPart:
    names = ",".join(map(str, keys)) or "NULL"
    if wanted.operator in {"=", "!="}:
        same = _same(wanted.value)
        negation = "NOT " if wanted.operator == "!=" else ""
        return SqlPart(f"{_RUNS_WITH} ({names}) AND kv.v {negation}IN ({marks(same)})", same)
    bound = _number(wanted.value)
    low = "kv.v <= ?" if wanted.operator.startswith(">") else "kv.v >= ?"
    other = _HIGHEST if wanted.operator.startswith(">") else -_HIGHEST
    return SqlPart(f"{_RUNS_WITH} ({names}) AND kv.v {wanted.operator} ? AND {low}", (bound, other))


def _same(text: str) -> tuple[Any, ...]:
    """Returns what a value may be that people write so: the number, the word `true`, or the text."""
    value = _number(text)
    words = [text] if text in {"true", "false", "null"} else []
    return (*([] if value is None else [value]), *words, stored_value(text))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if value != value else value  # noqa: PLR0124  # nothing compares with NaN


def _tag(tag: str) -> SqlPart:
    name = tag.removeprefix("!")
    sql = (
        "SELECT record.id FROM note JOIN record ON record.digest = note.run WHERE note.op = 'tag' AND note.value = ? AND NOT EXISTS"
        " (SELECT 1 FROM note later WHERE later.run = note.run AND later.op = 'untag' AND later.value = note.value"
        " AND (later.time, later.id) > (note.time, note.id))"
    )
    return SqlPart(f"run.id {'NOT ' if tag.startswith('!') else ''}IN ({sql})", (stored_text(name),))


def _commit(digits: str) -> SqlPart:
    low, high = digits, digits + "g"  # past every hex digit
    sql = (
        "SELECT id FROM run WHERE code >= ? AND code < ? UNION SELECT record.id FROM note JOIN record ON record.digest = note.run"
        " WHERE note.op = 'commit' AND note.value >= ? AND note.value < ?"
    )
    return SqlPart(f"run.id IN ({sql})", (low, high, low, high))
