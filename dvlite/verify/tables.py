"""Compares tables (CSV; TSV by its name): columns by their name in the first row, rows by their order or by a key."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from dvlite.verify.comparison import (
    Comparison,
    Findings,
    Tolerance,
    Unreadable,
    relative,
    size_of_difference,
)

_KEYED_LIMIT_BYTES = 256 << 20
_MOST_COLUMNS = 5
_MOST_LETTERS = 40

Row = Mapping[str, str]


def compare_tables(
    old: Path, new: Path, name: str, tolerance: Tolerance, ignore: Sequence[str] = (), key: str = ""
) -> Comparison:
    """Compares cell by cell, numbers within the tolerance. The order of the columns does not count, nor with a key that of the rows.

    Reads both side by side, in little memory; with a key, all of the recorded one. Raises Unreadable.
    """
    delimiter = "\t" if name.lower().endswith(".tsv") else ","
    with _opened(old) as one, _opened(new) as other:
        before, after = _Table(one, delimiter, "recorded"), _Table(other, delimiter, "new")
        gone = [column for column in before.columns if column not in after.columns and column not in ignore]
        came = [column for column in after.columns if column not in before.columns and column not in ignore]
        findings = Findings()
        for words, columns in (("gone", gone), ("new", came)):
            if columns:
                findings.add(f"{_some(columns)} {'is' if len(columns) == 1 else 'are'} {words}")
        shared = [column for column in before.columns if column in after.columns and column not in ignore]
        if key and (key not in before.columns or key not in after.columns):
            raise Unreadable(f"there is no column {key!r} to tell rows by")
        if key and old.stat().st_size > _KEYED_LIMIT_BYTES:
            raise Unreadable("it is too large to compare its rows by a key")
        pairs = _by_key(before, after, key) if key else _by_order(before, after)
        rows = _compare_rows(pairs, shared, tolerance, findings)
    if rows[0] != rows[1]:
        findings.add(f"{rows[0]:,} -> {rows[1]:,} rows")
    return findings.comparison(what="cells")


class _Table:
    """A table as it is read."""

    def __init__(self, file: IO[str], delimiter: str, which: str) -> None:
        self._which = which
        self._reader = csv.reader(file, delimiter=delimiter)
        self.columns = self._next() or []
        if len(set(self.columns)) != len(self.columns):
            raise Unreadable(f"the {which} version has two columns of one name")

    def __iter__(self) -> Iterator[Row]:
        while (cells := self._next()) is not None:
            if cells:
                extra = {f"column {i + 1}": cell for i, cell in enumerate(cells) if i >= len(self.columns)}
                yield {**dict(zip(self.columns, cells, strict=False)), **extra}

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise Unreadable(f"the {self._which} version is no table: {error}") from None


def _opened(path: Path) -> IO[str]:
    return path.open(encoding="utf-8-sig", newline="")


Pairs = Iterator[tuple[str, Row | None, Row | None]]


def _by_order(before: _Table, after: _Table) -> Pairs:
    for number, (one, other) in enumerate(itertools.zip_longest(before, after), 1):
        yield f"row {number}", one, other


def _by_key(before: _Table, after: _Table, key: str) -> Pairs:
    known: dict[str, Row] = {}
    for row in before:
        if known.setdefault(row.get(key, ""), row) is not row:
            raise Unreadable(f"two rows have the same {key!r}, {row.get(key, '')[:40]!r}")
    for row in after:
        yield f"{key}={row.get(key, '')}", known.pop(row.get(key, ""), None), row
    for name, row in known.items():
        yield f"{key}={name}", row, None


def _compare_rows(pairs: Pairs, columns: Sequence[str], tolerance: Tolerance, findings: Findings) -> tuple[int, int]:
    """Enters what differs; returns how many rows there were, recorded and new."""
    counts = [0, 0]
    only = [0, 0]
    for name, one, other in pairs:
        counts[0] += one is not None
        counts[1] += other is not None
        if one is None or other is None:
            only[0 if other is None else 1] += 1
            if sum(only) <= 2:
                findings.add(f"{name} is {'gone' if other is None else 'new'}")
            continue
        for column in columns if one.keys() == other.keys() else {**dict.fromkeys(columns), **_extra(one, other)}:
            _compare_cell(f"{name} {column}", one.get(column, ""), other.get(column, ""), tolerance, findings.add)
    return counts[0], counts[1]


def _extra(one: Row, other: Row) -> Row:
    """Cells beyond the last column."""
    return {name: "" for name in (*one, *other) if name.startswith("column ") and (name in one) != (name in other)}


def _compare_cell(place: str, old: str, new: str, tolerance: Tolerance, add: Callable[[str, float], None]) -> None:
    if old == new:
        return
    try:
        numbers = float(old), float(new)
    except ValueError:
        add(f"{place}: {_text(old)} -> {_text(new)}", 0.0)
        return
    if not tolerance.allows(*numbers):
        add(f"{place}: {_text(old)} -> {_text(new)}{size_of_difference(*numbers)}", relative(*numbers))


def _text(cell: str) -> str:
    return repr(cell[:_MOST_LETTERS]) if not cell or not cell[0].isalnum() else cell[:_MOST_LETTERS]


def _some(columns: Sequence[str]) -> str:
    noun = "the column" if len(columns) == 1 else "the columns"
    more = f" and {len(columns) - _MOST_COLUMNS} more" if len(columns) > _MOST_COLUMNS else ""
    return f"{noun} {', '.join(column[:_MOST_LETTERS] for column in columns[:_MOST_COLUMNS])}{more}"
