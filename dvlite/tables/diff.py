"""How the rows of two versions of a table differ: columns, rows and cells, found by the table engine.

Rows are matched by a key: the declared one, that of the file itself, or a column that is unique in both versions; without any, rows are
compared as wholes, as often as they occur. Counts are exact; of the rows, the first are returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dvlite.errors import FormatError, UsageError
from dvlite.show import closest, count, quote
from dvlite.tables.engine import Connection, one_row, reading
from dvlite.tables.relation import Column, Relation

KeySource = Literal["given", "declared", "of the file", "detected", "none"]
_TRIED = 12  # columns, for one that identifies a row
_NUMBERS: tuple[str, ...] = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
)
_NUMBERS += ("UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
_NO_KEYS = ("FLOAT", "DOUBLE", "BOOLEAN", "STRUCT", "MAP", "UNION", "BLOB")  # of types that do not identify rows
_TEXT = ("VARCHAR", "JSON")


@dataclass(frozen=True, slots=True)
class Matching:
    """How rows are matched and compared. Numbers may differ by `atol + rtol * |old|`."""

    key: tuple[str, ...] = ()
    key_from: KeySource = "none"
    ignore: tuple[str, ...] = ()
    rtol: float = 0.0
    atol: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """A column that one version lacks, or whose type differs."""

    column: str
    old_type: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellChange:
    """A cell that differs, as text; None for an empty one."""

    column: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """A row that differs: `cells` of one that was changed, `values` of one that was added or removed (`times`, without a key)."""

    change: Literal["added", "removed", "modified"]
    key: Mapping[str, str | None] = field(default_factory=dict)
    cells: tuple[CellChange, ...] = ()
    values: Mapping[str, str | None] = field(default_factory=dict)
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDiff:
    """How two versions of a table differ."""

    table: str = ""  # of a database
    key: tuple[str, ...] = ()
    key_from: KeySource = "none"
    note: str | None = None  # why the declared key was not used
    columns: tuple[ColumnChange, ...] = ()
    added: int = 0
    removed: int = 0
    modified: int = 0
    cells: Mapping[str, int] = field(default_factory=dict)  # how many cells of each column differ, in modified rows
    rows: tuple[RowChange, ...] = ()

    @property
    def is_equal(self) -> bool:
        return not (self.columns or self.added or self.removed or self.modified)


@dataclass(frozen=True, slots=True)
class _Shared:
    """A column of both versions; `old` and `new` are how SQL reads it, as values that can be compared."""

    name: str
    old: str
    new: str
    is_number: bool
    is_text: bool


def compare(
    engine: Connection, old: Relation, new: Relation, how: Matching, *, only: Sequence[str] = (), limit: int
) -> TableDiff:
    """Compares two versions, or those columns of them that `only` names; returns the first `limit` rows that differ (0: all).

    `old` and `new` may lack rows that both have. Raises UsageError for a column that neither has, FormatError for what cannot be read.
    """
    _require_known(old, new, (*how.key, *only))
    shared = [
        _shared(column, other)
        for column in old.columns
        if (other := new.column(column.name)) is not None and column.name not in how.ignore
    ]
    changes = tuple(_columns(old, new, how.ignore, only))
    key = tuple(column for name in how.key for column in shared if column.name == name)
    compared = tuple(column for column in shared if column not in key and (not only or column.name in only))
    with reading("cannot compare these versions"):
        if key:
            cells = _Apart(key, compared, _lone(old, new, how, only), _lone(new, old, how, only))
            found = _by_key(engine, old, new, cells, how, limit)
        else:
            found = _whole(engine, old, new, compared, limit)
    return TableDiff(key=tuple(column.name for column in key), key_from=how.key_from, columns=changes, **found)


def _lone(side: Relation, other: Relation, how: Matching, only: Sequence[str]) -> tuple[Column, ...]:
    """Returns the columns that only this side has."""
    return tuple(
        column
        for column in side.columns
        if other.column(column.name) is None and column.name not in how.ignore and (not only or column.name in only)
    )


def _require_known(old: Relation, new: Relation, names: Sequence[str]) -> None:
    known = [column.name for column in (*old.columns, *new.columns)]
    for name in names:
        if name not in known:
            close = closest(name, known)
            raise UsageError(
                f"there is no column {quote(name)}", hint=f"did you mean {quote(close)}?" if close else None
            )


def _columns(old: Relation, new: Relation, ignore: Sequence[str], only: Sequence[str]) -> list[ColumnChange]:
    found = []
    for name in dict.fromkeys(column.name for column in (*old.columns, *new.columns)):
        before, after = old.column(name), new.column(name)
        kinds = [None if column is None else column.type for column in (before, after)]
        if kinds[0] != kinds[1] and name not in ignore and (not only or name in only):
            found.append(ColumnChange(column=name, old_type=kinds[0], type=kinds[1]))
    return found


def _shared(old: Column, new: Column) -> _Shared:
    numbers = [column.type.startswith(_NUMBERS) for column in (old, new)]
    is_text = old.type in _TEXT or new.type in _TEXT
    if old.type == new.type or all(numbers):
        return _Shared(old.name, old.sql, new.sql, numbers[0], is_text)
    return _Shared(
        old.name, f"CAST({old.sql} AS VARCHAR)", f"CAST({new.sql} AS VARCHAR)", is_number=False, is_text=True
    )


# --- the key ---


Sides = tuple[Relation, Relation]  # the old version, and the new one


def key_of(engine: Connection, whole: Sides, apart: Sides, how: Matching) -> tuple[Matching, str | None]:
    """Returns how rows are matched, and why not by the key that was declared, if that is so.

    A declared key counts if no two rows of a version have the same; else the key of the file; else the first column that is unique in both.
    `apart` are the versions without rows that both have, which are looked at first. Raises FormatError for a given key that is not unique.
    """
    declared, source = (how.key, how.key_from) if how.key else (_own_key(*whole), "of the file")
    note = None
    if declared:
        note = _why_no_key(engine, whole, declared)
        if note is None:
            return _keyed(how, declared, source), None
        if source == "given":
            raise FormatError(note)
    for name in _candidates(*whole, how.ignore):
        if _why_no_key(engine, apart, (name,)) is None and _why_no_key(engine, whole, (name,)) is None:
            return _keyed(how, (name,), "detected"), note
    return _keyed(how, (), "none"), note


def _keyed(how: Matching, key: tuple[str, ...], source: KeySource) -> Matching:
    return Matching(key, source, how.ignore, how.rtol, how.atol)


def _own_key(old: Relation, new: Relation) -> tuple[str, ...]:
    return old.key if old.key == new.key or not new.columns else new.key if not old.columns else ()


def _candidates(old: Relation, new: Relation, ignore: Sequence[str]) -> list[str]:
    """Returns columns that may identify rows, those first that are called so."""
    names = [
        column.name
        for column in old.columns
        if (other := new.column(column.name)) is not None
        and other.type == column.type
        and not column.type.startswith(_NO_KEYS)
        and not column.type.endswith("]")
        and column.name not in ignore
    ]
    return sorted(names, key=lambda name: not _is_called_key(name))[:_TRIED]


def _is_called_key(name: str) -> bool:
    return name.lower() in ("id", "key", "uuid", "guid", "index", "") or name.lower().endswith(("_id", "id", "_key"))


def _why_no_key(engine: Connection, sides: Sides, key: Sequence[str]) -> str | None:
    """Returns why these columns do not identify the rows of both versions, or None."""
    words = ("the old version", "the new version")
    reasons = (why_no_key(engine, side, word, key) for word, side in zip(words, sides, strict=True))
    return next(filter(None, reasons), None)


def why_no_key(engine: Connection, side: Relation, which: str, key: Sequence[str]) -> str | None:
    """Returns why these columns do not identify the rows of a version, or None. Reads those columns."""
    named = " and ".join(map(quote, key))
    columns = [side.column(name) for name in key]
    if None in columns:
        return f"{which} has no column {named}"
    cells = ", ".join(column.sql for column in columns if column is not None)
    with reading(f"cannot read {which}"):
        rows, apart = one_row(
            engine,
            f"SELECT coalesce(sum(n), 0)::BIGINT, count(*) FROM (SELECT count(*) AS n FROM {side.sql} GROUP BY {cells})",
        )
    return f"{which} has {count(rows - apart, 'row')} with the {named} of another" if rows != apart else None


# --- rows ---


def _differs(column: _Shared, how: Matching, old: str, new: str) -> str:
    """Returns the condition under which two cells differ."""
    plain = f"{old} IS DISTINCT FROM {new}"
    if not (how.rtol or how.atol) or not (column.is_number or column.is_text):
        return plain
    before, after = (f"TRY_CAST({cell} AS DOUBLE)" for cell in (old, new))
    near = f"abs({after} - {before}) <= {how.atol!r} + {how.rtol!r} * abs({before})"
    return f"({plain} AND NOT coalesce({near}, false))"


@dataclass(frozen=True, slots=True)
class _Apart:
    """The columns of a comparison: those of the key, those compared, and those that only the old or the new version has."""

    key: tuple[_Shared, ...]
    compared: tuple[_Shared, ...]
    gone: tuple[Column, ...]
    come: tuple[Column, ...]


def _by_key(
    engine: Connection, old: Relation, new: Relation, cells: _Apart, how: Matching, limit: int
) -> dict[str, Any]:
    """Returns counts and rows, by a table `changes` in the engine: a row with all cells of both versions for each that differs."""
    keys, values = range(len(cells.key)), range(len(cells.compared))
    lone = [f"o.g{i}" for i in range(len(cells.gone))] + [f"n.a{i}" for i in range(len(cells.come))]
    differs = [_differs(column, how, f"o.v{i}", f"n.v{i}") for i, column in enumerate(cells.compared)]
    kind = "CASE WHEN o.p IS NULL THEN 'added' WHEN n.p IS NULL THEN 'removed' ELSE 'modified' END AS kind"
    chosen = [kind, *(f"coalesce(o.k{i}, n.k{i}) AS k{i}" for i in keys)]
    chosen += [f"o.v{i} AS o{i}, n.v{i} AS n{i}" for i in values]
    left = _select(old, [column.old for column in cells.key], [column.old for column in cells.compared], g=cells.gone)
    right = _select(new, [column.new for column in cells.key], [column.new for column in cells.compared], a=cells.come)
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE changes AS SELECT {', '.join([*chosen, *lone])}"
        f" FROM ({left}) o FULL JOIN ({right}) n ON {' AND '.join(f'o.k{i} IS NOT DISTINCT FROM n.k{i}' for i in keys)}"
        f" WHERE {' OR '.join(['o.p IS NULL', 'n.p IS NULL', *differs])}"
    )
    counts = dict(engine.execute("SELECT kind, count(*) FROM changes GROUP BY kind").fetchall())
    flags = [_differs(column, how, f"o{i}", f"n{i}") for i, column in enumerate(cells.compared)]
    numbers: Sequence[int] = ()
    if counts.get("modified") and flags:
        sums = ", ".join(f"count_if({flag})" for flag in flags)
        numbers = one_row(engine, f"SELECT {sums} FROM changes WHERE kind = 'modified'")
    return {
        **{name: counts.get(name, 0) for name in ("added", "removed", "modified")},
        "cells": {column.name: number for column, number in zip(cells.compared, numbers, strict=False) if number},
        "rows": tuple(_keyed_rows(engine, cells, flags, limit)),
    }


def _select(side: Relation, keys: Sequence[str], values: Sequence[str], **lone: Sequence[Column]) -> str:
    chosen = ["1 AS p", *(f"{sql} AS k{i}" for i, sql in enumerate(keys))]
    chosen += [f"{sql} AS v{i}" for i, sql in enumerate(values)]
    chosen += [f"{column.sql} AS {letter}{i}" for letter, some in lone.items() for i, column in enumerate(some)]
    return f"SELECT {', '.join(chosen)} FROM {side.sql}"


def _keyed_rows(engine: Connection, cells: _Apart, flags: Sequence[str], limit: int) -> Iterator[RowChange]:
    keys, values = range(len(cells.key)), range(len(cells.compared))
    chosen = ["kind", *(_text(f"k{i}") for i in keys)]
    chosen += [part for i in values for part in (_text(f"o{i}"), _text(f"n{i}"), flags[i])]
    chosen += [_text(f"g{i}") for i in range(len(cells.gone))] + [_text(f"a{i}") for i in range(len(cells.come))]
    order = _order([f"k{i}" for i in keys], [column.is_text for column in cells.key])
    for row in _first(engine, f"SELECT {', '.join(chosen)} FROM changes ORDER BY {order}", limit):
        kind, rest = row[0], row[1 + len(keys) :]
        key = dict(zip((column.name for column in cells.key), row[1:], strict=False))
        pairs = [(column.name, *rest[3 * i : 3 * i + 3]) for i, column in enumerate(cells.compared)]
        if kind == "modified":
            found = tuple(CellChange(column=name, old=old, new=new) for name, old, new, differs in pairs if differs)
            yield RowChange(change=kind, key=key, cells=found)
            continue
        lone = rest[3 * len(pairs) :]
        own, there = (cells.gone, lone) if kind == "removed" else (cells.come, lone[len(cells.gone) :])
        side = {name: old if kind == "removed" else new for name, old, new, _ in pairs}
        side |= {column.name: value for column, value in zip(own, there, strict=False)}
        yield RowChange(change=kind, key=key, values=side)


def _whole(engine: Connection, old: Relation, new: Relation, shared: Sequence[_Shared], limit: int) -> dict[str, Any]:
    """Returns counts and rows, each row as a whole and as often as it occurs."""
    if not shared:  # nothing in common
        numbers = [one_row(engine, f"SELECT count(*) FROM {side.sql}")[0] for side in (new, old)]
        return {"added": numbers[0], "removed": numbers[1]}
    sides = ((1, new, [column.new for column in shared]), (-1, old, [column.old for column in shared]))
    names = [f"v{i}" for i in range(len(shared))]
    both = " UNION ALL ".join(
        f"SELECT {sign} AS s, {', '.join(f'{sql} AS {name}' for sql, name in zip(cells, names, strict=True))} FROM {side.sql}"
        for sign, side, cells in sides
    )
    columns = ", ".join(names)
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE changes AS SELECT sum(s)::BIGINT AS s, {columns} FROM ({both}) GROUP BY {columns} HAVING sum(s) <> 0"
    )
    added, removed = one_row(
        engine,
        "SELECT coalesce(sum(s) FILTER (s > 0), 0)::BIGINT, coalesce(-sum(s) FILTER (s < 0), 0)::BIGINT FROM changes",
    )
    order = _order(names, [column.is_text for column in shared])
    texts = ", ".join(map(_text, names))
    rows = _first(engine, f"SELECT s, {texts} FROM changes ORDER BY {order}, s", limit)
    return {
        "added": added,
        "removed": removed,
        "rows": tuple(
            RowChange(
                change="added" if row[0] > 0 else "removed",
                values=dict(zip((column.name for column in shared), row[1:], strict=True)),
                times=abs(row[0]),
            )
            for row in rows
        ),
    }


def _text(cell: str) -> str:
    return f"CAST({cell} AS VARCHAR)"


def _order(cells: Sequence[str], are_text: Sequence[bool]) -> str:
    """Returns an order in which numbers that are text stand as numbers do."""
    parts = [
        f"TRY_CAST({cell} AS DOUBLE) NULLS LAST, {cell}" if is_text else cell
        for cell, is_text in zip(cells, are_text, strict=True)
    ]
    return ", ".join(parts)


def _first(engine: Connection, sql: str, limit: int) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = engine.execute(f"{sql} LIMIT {limit}" if limit else sql).fetchall()
    return rows
