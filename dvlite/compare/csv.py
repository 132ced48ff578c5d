"""Compares tables (CSV, or TSV by the file name): columns by the names in the first row, rows by their order or a key."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from dvlite.compare.outcome import Comparison, Findings, Tolerance, Unreadable, relative, size_of_difference
from dvlite.show import some

_KEYED_LIMIT_BYTES = 256 << 20
_MOST_COLUMNS = 5
_MOST_LETTERS = 40

Row = Sequence[str]
_NUMBER = re.compile(r" *[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *")
_WHOLE = re.compile(r" *[+-]?[0-9]+ *")
_NO_NUMBER = re.compile(r" *[+-]?(?:nan|inf|infinity) *", re.IGNORECASE)


def compare_tables(
    old: Path, new: Path, name: str, tolerance: Tolerance, ignore: Sequence[str] = (), key: str = ""
) -> Comparison:
    """Compares cell by cell, numbers within the tolerance. The order of the columns does not count; with a key, neither does that of the rows.

    Reads both side by side, in little memory; with a key, the recorded one as a whole. Raises Unreadable, also if all columns are ignored.
    """
    delimiter = "\t" if name.lower().endswith(".tsv") else ","
    with _opened(old) as one, _opened(new) as other:
        before, after = _Table(one, delimiter, "recorded"), _Table(other, delimiter, "new")
        findings = Findings()
        ignored = frozenset(ignore)
        for words, table, beside in (("gone", before, after), ("new", after, before)):
            columns = [column for column in table.columns if column not in beside.columns and column not in ignored]
            if columns:
                findings.add(f"{_columns_text(columns)} {'is' if len(columns) == 1 else 'are'} {words}")
        shared = [column for column in before.columns if column in after.columns and column not in ignored]
        if not shared and not findings.count:
            raise Unreadable("all columns are ignored: nothing is left to compare")
        if key and (key not in before.columns or key not in after.columns):
            raise Unreadable(f"there is no column {key!r} to match rows by")
        if key and old.stat().st_size > _KEYED_LIMIT_BYTES:
            raise Unreadable("it is too large to compare its rows by a key")
        pairs = _by_key(before, after, key) if key else _by_order(before, after)
        cells = _Cells(before, after, shared, tolerance, findings)
        rows = _compare_rows(pairs, cells, findings)
    if rows[0] != rows[1]:
        findings.add(f"{rows[0]:,} -> {rows[1]:,} rows")
    return findings.comparison(what="cells")


class _Table:
    """A table, read row by row; empty lines do not count. `columns`: the position of each, by name."""

    def __init__(self, file: IO[str], delimiter: str, which: str) -> None:
        self._which = which
        self._rows = filter(None, csv.reader(file, delimiter=delimiter, strict=True))
        names = self._next()
        if names is None:
            raise Unreadable(f"the {which} version is not a table: it is empty")
        self.columns = {name: place for place, name in enumerate(names)}
        if len(self.columns) != len(names):
            raise Unreadable(f"the {which} version has two columns with the same name")

    def __iter__(self) -> Iterator[Row]:
        while (cells := self._next()) is not None:
            yield cells

    def _next(self) -> Row | None:
        try:
            return next(self._rows, None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise Unreadable(f"the {self._which} version is not a table: {error}") from None


def _opened(path: Path) -> IO[str]:
    return path.open(encoding="utf-8-sig", newline="")


Pairs = Iterator[tuple[str, Row | None, Row | None]]


def _by_order(before: _Table, after: _Table) -> Pairs:
    for number, (one, other) in enumerate(itertools.zip_longest(before, after), 1):
        yield f"row {number}", one, other


def _by_key(before: _Table, after: _Table, key: str) -> Pairs:
    recorded: dict[str, Row] = {}
    for row in before:
        value = _cell(row, before.columns[key]) or ""
        if recorded.setdefault(value, row) is not row:
            raise Unreadable(f"two rows have the same {key!r}, {value[:_MOST_LETTERS]!r}")
    for row in after:
        value = _cell(row, after.columns[key]) or ""
        yield f"{key}={value}", recorded.pop(value, None), row
    for value, row in recorded.items():
        yield f"{key}={value}", row, None


def _compare_rows(pairs: Pairs, cells: _Cells, findings: Findings) -> tuple[int, int]:
    """Adds the differences to the findings; returns the numbers of rows, recorded and new."""
    counts = [0, 0]
    only = 0
    for name, one, other in pairs:
        counts[0] += one is not None
        counts[1] += other is not None
        if one is not None and other is not None:
            cells.compare(name, one, other)
            continue
        only += 1
        if only <= 2:
            findings.add(f"{name} is {'gone' if other is None else 'new'}")
    return counts[0], counts[1]


class _Cells:
    """Compares two rows: the columns that both tables have, and the cells beyond the last column, which have no name."""

    def __init__(
        self, before: _Table, after: _Table, shared: Sequence[str], tolerance: Tolerance, findings: Findings
    ) -> None:
        self._places = [(column, before.columns[column], after.columns[column]) for column in shared]
        self._widths = len(before.columns), len(after.columns)
        self._aligned = list(before.columns) == list(after.columns)
        self._tolerance, self._add = tolerance, findings.add

    def compare(self, row: str, one: Row, other: Row) -> None:
        if self._aligned and one == other:
            return
        for column, left, right in self._places:
            self._compare(row, column, _cell(one, left), _cell(other, right))
        left, right = self._widths
        for at in range(max(len(one) - left, len(other) - right)):
            self._compare(row, f"cell {left + at + 1}", _cell(one, left + at), _cell(other, right + at))

    def _compare(self, row: str, column: str, old: str | None, new: str | None) -> None:
        if old == new:
            return
        words = f"{row} {column}: {_text(old)} -> {_text(new)}"
        before, after = _number(old), _number(new)
        if before is None or after is None:
            self._add(words, 0.0)
        elif not self._tolerance.allows(before, after):
            self._add(f"{words}{size_of_difference(before, after)}", relative(before, after))


def _cell(row: Row, place: int) -> str | None:
    return row[place] if place < len(row) else None


def _number(cell: str | None) -> float | None:
    """Returns the number in a cell, an integer in full. None for text, including `007` and numbers beyond a float."""
    if cell is None:
        return None
    if _NO_NUMBER.fullmatch(cell):
        return float(cell)
    if not _NUMBER.fullmatch(cell):
        return None
    try:
        value = int(cell) if _WHOLE.fullmatch(cell) else float(cell)
    except ValueError:  # more digits than Python converts
        return None
    return None if value in (math.inf, -math.inf) else value


def _text(cell: str | None) -> str:
    if cell is None:
        return "nothing"
    return repr(cell[:_MOST_LETTERS]) if not cell or not cell[0].isalnum() else cell[:_MOST_LETTERS]


def _columns_text(columns: Sequence[str]) -> str:
    noun = "the column" if len(columns) == 1 else "the columns"
    return f"{noun} {some([column[:_MOST_LETTERS] for column in columns], _MOST_COLUMNS)}"
