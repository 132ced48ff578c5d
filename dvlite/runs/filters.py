"""Filters of runs and the SQL for them. Pure: runs no query.

Numbers of records sort by time (see `schema`), so the newest runs that match are found from the end, without sorting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dvlite.errors import UsageError
from dvlite.repo.stage_names import GLOB
from dvlite.runs.schema import MAKER_OF_USED, MAKERS, PARAM, WITH_OUTPUTS, number_at, stored_text, stored_value
from dvlite.show import quote

FEW = 10_000  # matches of one condition that are listed; with more, runs are checked one by one, in order
FEW_UPSTREAM = 1000  # the same where the runs downstream of them are listed too
MOST_AHEAD = 1000  # runs upstream that are looked at for one run, the nearest first: a stage that reads its own output adds one each time it runs
_CONDITION = re.compile(r"([^=<>!]+)(>=|<=|!=|==|=|>|<)(.*)", re.DOTALL)
COLUMNS = {
    "run": "record.digest",
    "when": "run.start",
    "commit": "run.code",
    "of": "run.origin",
    **{
        name: f"run.{name}"
        for name in ("start", "status", "stage", "file", "seconds", "exit_code", "user", "host", "sweep")
    },
}  # what runs can be sorted by, beside values
_WITH_DIGEST = "JOIN record ON record.id = run.id"
_HIGHEST = 9e999  # above every number; all texts sort after it


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a value. `space` is `param`, `metric` or `env`; `operator` one of = != < <= > >=.

    A run also has the parameters of the runs upstream (see `upstream`).
    """

    space: str
    key: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions that a run meets all of. Tags with `!` must be absent; `commit` is a prefix; times are unix milliseconds.

    `stage` is a name, or `folder:name` for that of one pipeline file; `:name` for that of the one at the root.
    """

    stage: str | None = None
    statuses: Sequence[str] = ()
    tags: Sequence[str] = ()
    conditions: Sequence[Condition] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    commit: str | None = None
    sweep: str | None = None
    hidden: bool | None = None  # None: both those that `runs rm` hid and the others
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class SortOrder:
    """The sort key of runs: a column (space `run`), or the whole key of a `param`, `metric` or `env`."""

    space: str
    key: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class SqlPart:
    """A piece of SQL with its arguments."""

    sql: str
    arguments: tuple[Any, ...] = ()


def parse_condition(space: str, text: str) -> Condition:
    """Parses `lr=0.01`, `acc>0.9`; raises UsageError for anything else."""
    match = _CONDITION.fullmatch(text)
    if match is None or not match[1].strip():
        raise UsageError(
            f"{quote(text)} compares nothing", hint=f"for example --{space} lr=0.01   or   --{space} 'acc>=0.9'"
        )
    operator = "=" if match[2] == "==" else match[2]
    condition = Condition(space, match[1].strip(), operator, match[3].strip())
    if operator not in {"=", "!="} and _number(condition.value) is None:
        raise UsageError(f"{quote(text)} compares with something that is not a number", hint="use = or != for texts")
    return condition


def keys_meant(word: str, keys: Iterable[str]) -> list[str]:
    """Returns the keys that a word may stand for: the whole key, else those that end in it after a `:`, else after a `.`."""
    keys = list(keys)
    for end in ("", ":", "."):
        matching = [key for key in keys if (key.endswith(end + word) if end else key == word)]
        if matching:
            return matching
    return []


def named_stage(name: str) -> SqlPart:
    """Returns the condition on the runs of a stage: `train`, a glob, or `train@` for it and its instances."""
    if not GLOB.isdisjoint(name):
        return SqlPart("run.stage GLOB ?", (stored_text(name),))
    if not name.endswith("@"):
        return SqlPart("run.stage = ?", (stored_text(name),))
    plain = name.removesuffix("@")
    return SqlPart("(run.stage = ? OR run.stage >= ? AND run.stage < ?)", (plain, name, f"{plain}A"))  # A follows @


def stage_parts(stage: str) -> list[SqlPart]:
    """Returns the conditions on the runs of a stage."""
    folder, colon, name = stage.rpartition(":")
    parts = [named_stage(name)]
    if colon:
        files = (f"{folder}/dvlite.yaml".removeprefix("/"), folder)  # or the program of imported runs
        parts.append(SqlPart("run.file IN (?, ?)", tuple(map(stored_text, files))))
    return parts


def parts(
    filters: Filters, keys: Callable[[str, str], list[int]], count: Callable[[SqlPart, int], int]
) -> list[SqlPart]:
    """Returns the conditions on a row of `run`; `keys` returns the numbers of the keys that a word may stand for, `count` counts rows up to a bound."""
    conditions = [] if filters.stage is None else stage_parts(filters.stage)
    if filters.statuses:
        conditions.append(SqlPart(f"run.status IN ({marks(filters.statuses)})", tuple(filters.statuses)))
    if filters.since_ms is not None:
        conditions.append(SqlPart("run.id >= ?", (number_at(filters.since_ms),)))
    if filters.until_ms is not None:
        conditions.append(SqlPart("run.id < ?", (number_at(filters.until_ms),)))
    if filters.commit is not None:
        conditions.append(_commit(filters.commit))
    if filters.sweep is not None:
        like = "=" if GLOB.isdisjoint(filters.sweep) else "GLOB"
        conditions.append(SqlPart(f"run.sweep {like} ? AND run.sweep != ''", (filters.sweep,)))
    if filters.hidden is not None:
        conditions.append(_noted(("hide", "unhide"), "", negated=not filters.hidden))
    conditions += [_noted(("tag", "untag"), tag.removeprefix("!"), negated=tag.startswith("!")) for tag in filters.tags]
    for condition in sorted(filters.conditions, key=lambda condition: condition.space == PARAM):  # what costs most last
        named = keys(condition.space, condition.key)
        held = held_in(condition, named)
        matching = SqlPart(f"SELECT kv.run FROM kv WHERE {held.sql}", held.arguments)  # noqa: S608  # users' words are arguments
        inherits = condition.space == PARAM
        few = FEW_UPSTREAM if inherits else FEW
        if filters.limit is None or count(matching, few + 1) <= few:
            listed = _runs_behind(held.sql) if inherits else matching.sql
            conditions.append(SqlPart(f"run.id IN ({listed})", held.arguments))
        else:  # of the runs themselves first: the newest match most often
            own = SqlPart(f"EXISTS ({matching.sql} AND kv.run = run.id)", held.arguments)
            ahead = f"({own.sql} OR EXISTS ({_runs_ahead(held.sql, named)}))"
            conditions.append(SqlPart(ahead, (*held.arguments, *held.arguments)) if inherits else own)
    return conditions


def with_value(wanted: Sequence[SqlPart], order: SortOrder, held: Sequence[SqlPart]) -> SqlPart:
    """Returns the query for the numbers of the runs that have the value, sorted by it; `held` are conditions on its row in `kv`."""
    way = "DESC" if order.descending else "ASC"
    if order.space != "run":
        parts = [_named(order), *held, *wanted]
        join, by = "JOIN kv ON kv.run = run.id", f"kv.v {way}, kv.run"  # as its index has them
    else:
        value = COLUMNS[order.key]
        parts = [SqlPart(f"{value} IS NOT NULL AND {value} != ''"), *wanted]
        join, by = _WITH_DIGEST if order.key == "run" else "", f"{value} {way}, run.id"
    where, arguments = joined(parts)
    return SqlPart(f"SELECT run.id FROM run {join} {where} ORDER BY {by} DESC", arguments)  # noqa: S608


def without_value(wanted: Sequence[SqlPart], order: SortOrder) -> SqlPart:
    """Returns the query for the numbers of the runs that do not have it, newest first."""
    join = _WITH_DIGEST if order.key == "run" else ""
    if order.space == "run":
        absent = SqlPart(f"ifnull({COLUMNS[order.key]}, '') = ''")
    else:
        named = _named(order)
        absent = SqlPart(f"NOT EXISTS (SELECT 1 FROM kv WHERE kv.run = run.id AND {named.sql})", named.arguments)  # noqa: S608  # constants only
    where, arguments = joined([*wanted, absent])
    return SqlPart(f"SELECT run.id FROM run {join} {where} ORDER BY run.id DESC", arguments)  # noqa: S608


def _named(order: SortOrder) -> SqlPart:
    sql = "kv.name = (SELECT id FROM name WHERE ns = ? AND k = ?) AND kv.v != 'null'"
    return SqlPart(sql, (order.space, stored_text(order.key)))


def joined(wanted: Sequence[SqlPart]) -> tuple[str, tuple[Any, ...]]:
    """Returns the WHERE of a query and its arguments."""
    if not wanted:
        return "", ()
    return "WHERE " + " AND ".join(part.sql for part in wanted), tuple(v for part in wanted for v in part.arguments)


def marks(values: Sequence[Any]) -> str:
    """Returns placeholders for arguments of a query."""
    return ",".join("?" * len(values))


def prefix_bounds(digits: str) -> tuple[bytes, bytes]:
    """Returns the least and the greatest 32 bytes whose hex digits start with `digits`."""
    return bytes.fromhex(digits.ljust(64, "0")), bytes.fromhex(digits.ljust(64, "f"))


def _runs_behind(held: str) -> str:
    """Returns the SQL for runs that hold a value, and the runs downstream up to the next one that has that key."""
    later = MAKERS.format(row="made")
    return (
        f"WITH RECURSIVE behind(run, name) AS (SELECT kv.run, kv.name FROM kv WHERE {held} UNION"  # noqa: S608
        " SELECT used.run, behind.name FROM behind JOIN io made ON made.run = behind.run AND made.output = 1"
        " JOIN io used ON used.obj = made.obj AND used.output IN (0, 2) AND used.path = made.path AND used.run != made.run"
        f" AND used.run < ifnull((SELECT other.run {later} AND other.run > made.run ORDER BY other.run LIMIT 1), {1 << 62})"
        f" AND used.run > CASE WHEN EXISTS (SELECT 1 {later} AND other.run < made.run) THEN made.run ELSE -1 END"
        f" WHERE (SELECT status FROM run WHERE id = made.run) IN {WITH_OUTPUTS}"
        " AND NOT EXISTS (SELECT 1 FROM kv WHERE kv.name = behind.name AND kv.run = used.run)"
        ") SELECT run FROM behind"
    )


def _runs_ahead(held: str, keys: Sequence[int]) -> str:
    """Returns the SQL for what one run inherits: values of the runs upstream, up to the next one that has that key, that are as wanted."""
    names = ",".join(map(str, keys))
    return (
        f"WITH RECURSIVE ahead(run, name) AS (SELECT run.id, id FROM name WHERE id IN ({names}) UNION"  # noqa: S608
        f" SELECT {MAKER_OF_USED}, ahead.name FROM ahead JOIN io used ON used.run = ahead.run AND used.output IN (0, 2)"
        " WHERE NOT EXISTS (SELECT 1 FROM kv WHERE kv.name = ahead.name AND kv.run = ahead.run)"
        f" LIMIT {MOST_AHEAD}) SELECT 1 FROM ahead JOIN kv ON kv.run = ahead.run AND kv.name = ahead.name WHERE {held}"
    )


def held_in(wanted: Condition, keys: list[int]) -> SqlPart:
    """Returns the condition on a row of `kv` that it holds the value."""
    names = f"kv.name IN ({','.join(map(str, keys)) or 'NULL'})"
    if wanted.operator in {"=", "!="}:
        same = _same(wanted.value)
        negation = "NOT " if wanted.operator == "!=" else ""
        return SqlPart(f"{names} AND kv.v {negation}IN ({marks(same)})", same)
    bound = _number(wanted.value)
    low = "kv.v <= ?" if wanted.operator.startswith(">") else "kv.v >= ?"
    other = _HIGHEST if wanted.operator.startswith(">") else -_HIGHEST
    return SqlPart(f"{names} AND kv.v {wanted.operator} ? AND {low}", (bound, other))


def _same(text: str) -> tuple[Any, ...]:
    """Returns the stored values that a text may mean: a number, the word `true`, or the text."""
    value = _number(text)
    words = [text] if text in {"true", "false", "null"} else []
    return (*([] if value is None else [value]), *words, stored_value(text))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if value != value else value  # noqa: PLR0124  # nothing compares with NaN


def _noted(operations: tuple[str, str], value: str, *, negated: bool) -> SqlPart:
    """Returns the condition that a note of the first operation applies, and none of the second takes it back later; or that none does."""
    sql = (
        "SELECT record.id FROM note JOIN record ON record.digest = note.run WHERE note.op = ? AND note.value = ? AND NOT EXISTS"
        " (SELECT 1 FROM note later WHERE later.run = note.run AND later.op = ? AND later.value = note.value"
        " AND (later.time, later.id) > (note.time, note.id))"
    )
    done, undone = operations
    return SqlPart(f"run.id {'NOT ' if negated else ''}IN ({sql})", (done, stored_text(value), undone))


def _commit(digits: str) -> SqlPart:
    low, high = digits, digits + "g"  # past every hex digit
    sql = (
        "SELECT id FROM run WHERE code >= ? AND code < ? UNION SELECT record.id FROM note JOIN record ON record.digest = note.run"
        " WHERE note.op = 'commit' AND note.value >= ? AND note.value < ?"
    )
    return SqlPart(f"run.id IN ({sql})", (low, high, low, high))
