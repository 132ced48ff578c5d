"""The words of `diff --rows`: for each table its counts, its columns and its first rows; with `--stat` the counts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dvlite.commands.diff_rows import DiffRowsResult
from dvlite.show import Show, count, printable, printable_text
from dvlite.tables.changed import RowsOfTable
from dvlite.tables.diff import ColumnChange, RowChange, TableDiff
from dvlite.text.diff import SIGNS
from dvlite.text.style import table

_LONGEST = 40  # letters of a cell
_MOST_CELLS = 6  # of a row, or columns of a table
_NO_VALUE = "(empty)"
_FROM = {"given": "", "declared": "", "of the file": ", of the file", "detected": ", detected", "none": ""}


def text(result: DiffRowsResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if not any(path.tables or path.problem for path in result.paths) and not show.quiet:
        sides = f"{printable(result.old)} and {printable(result.new)}"
        yield f"No row of {show.path(result.path)} differs between {sides}."
    for path in result.paths:
        yield from lines(path, show)
    if result.others and not show.quiet:
        yield f"{count(result.others, 'other file')} that {'differs is' if result.others == 1 else 'differ are'} no table: dvlite diff"


def lines(path: RowsOfTable, show: Show) -> Iterator[str]:
    """Yields the lines of one path."""
    for diff in path.tables:
        yield "  ".join((show.bold(_name(path.path, diff, show)), _counts(diff), _matched(diff, show)))
        if diff.note is not None:
            yield f"  key not used: {diff.note}"
        for column in diff.columns:
            yield f"  {_column(column, show)}"
        for row in diff.rows:
            yield f"  {_row(row, show)}"
        differing = diff.added + diff.removed + diff.modified
        shown = sum(row.times for row in diff.rows)
        if shown < differing:
            yield f"  {count(differing - shown, 'more row')}; all with --limit 0"


def stat(result: DiffRowsResult, show: Show) -> Iterator[str]:
    """Yields one line for each table, with the columns that have most of the cells that differ."""
    yield from table(
        (_name(path.path, diff, show), _counts(diff), _cells(diff.cells, show))
        for path in result.paths
        for diff in path.tables
    )


def _name(path: str, diff: TableDiff, show: Show) -> str:
    return f"{show.path(path)} {printable(diff.table)}" if diff.table else show.path(path)


def _counts(diff: TableDiff) -> str:
    parts = [
        f"{SIGNS[name][0]}{number:,}"
        for name, number in (("added", diff.added), ("removed", diff.removed), ("modified", diff.modified))
        if number
    ]
    return f"{' '.join(parts)} rows" if parts else "columns only"


def _matched(diff: TableDiff, show: Show) -> str:
    if not diff.key:
        return "(no key: whole rows)"
    return f"(by {' and '.join(map(printable, diff.key))}{_FROM[diff.key_from]})"


def _cells(cells: Mapping[str, int], show: Show) -> str:
    most = sorted(cells.items(), key=lambda item: -item[1])
    shown = most if show.verbose else most[:_MOST_CELLS]
    more = f", {count(len(most) - len(shown), 'more column')}" if len(most) > len(shown) else ""
    return ", ".join(f"{printable(name)} {number:,}" for name, number in shown) + more


def _column(change: ColumnChange, show: Show) -> str:
    name = printable(change.column)
    if change.old_type is None:
        return show.style("green", f"+ column {name}") + f"  {printable(change.type or '')}"
    if change.type is None:
        return show.style("red", f"- column {name}") + f"  {printable(change.old_type)}"
    return show.style("yellow", f"~ column {name}") + f"  {printable(change.old_type)} -> {printable(change.type)}"


def _row(row: RowChange, show: Show) -> str:
    sign, color = SIGNS[row.change]
    key = ", ".join(f"{printable(name)}={_value(value)}" for name, value in row.key.items())
    if row.change == "modified":
        cells = [f"{printable(cell.column)}: {_value(cell.old)} -> {_value(cell.new)}" for cell in row.cells]
    else:
        cells = [f"{printable(name)}={_value(value)}" for name, value in row.values.items()]
    shown = cells if show.verbose else cells[:_MOST_CELLS]
    more = [f"{count(len(cells) - len(shown), 'more column')}"] if len(cells) > len(shown) else []
    times = [f"{row.times:,} times"] if row.times > 1 else []
    return "  ".join(filter(None, (show.style(color, f"{sign} {key}".rstrip()), ", ".join([*shown, *more, *times]))))


def _value(value: str | None) -> str:
    if value is None:
        return _NO_VALUE
    text = printable_text(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
