"""`diff --rows` as Markdown for a comment on a pull request: a row for each table, then the cells that changed, as many as fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.diff_rows import DiffRowsResult
from dvlite.show import Show, count
from dvlite.tables.changed import RowsOfTable
from dvlite.tables.diff import RowChange, TableDiff
from dvlite.text.diff import SIGNS
from dvlite.text.markdown import COMMENT, MarkdownDocument, Markup, code, plain

MARKER = "<!-- dvlite diff --rows -->"
_TABLES_SHARE, _ROWS_SHARE = 0.4, 0.95
_LONGEST = 80  # letters of a cell


def text(result: DiffRowsResult, show: Show, *, limit_bytes: int = COMMENT) -> Iterator[str]:
    """Yields a document for a comment on a pull request."""
    document = MarkdownDocument(limit_bytes)
    sides = f"{code(result.old[:40])} to {code(result.new[:40])}"
    diffs = named(result.paths)
    document.add(MARKER)
    document.add(
        f"### Rows: {count(len(diffs), 'table')} changed, {sides}" if diffs else f"### Rows: no change, {sides}"
    )
    add_rows(document, diffs, (_TABLES_SHARE, _ROWS_SHARE))
    for path in result.paths:
        if path.problem is not None:
            document.add(f"{code(path.path)}: {plain(path.problem)}", "")
    yield from document.text().splitlines()


def add_rows(document: MarkdownDocument, diffs: Sequence[tuple[str, TableDiff]], shares: tuple[float, float]) -> None:
    """Adds a row for each table, as many as fit into the first share, then the cells that changed, up to the second."""
    if diffs:
        document.table(
            ("table", "key", "added", "removed", "modified", "columns"),
            ((code(name), *map(plain, _counted(diff))) for name, diff in diffs),
            share=shares[0],
            noun="table",
        )
    for name, diff in diffs:
        if diff.rows and document.fits(code(name), share=shares[1]):
            document.add("", code(name))
            rows = (row for change in diff.rows for row in _rows(change))
            document.table(("", "row", "column", "old", "new"), rows, share=shares[1], noun="cell")
            more = diff.added + diff.removed + diff.modified - sum(row.times for row in diff.rows)
            if more:
                document.add("", f"{count(more, 'more row')}.")


def named(paths: Sequence[RowsOfTable]) -> list[tuple[str, TableDiff]]:
    """Returns the tables, each with its name."""
    return [(_name(path.path, diff), diff) for path in paths for diff in path.tables]


def _name(path: str, diff: TableDiff) -> str:
    return f"{path} {diff.table}" if diff.table else path


def _counted(diff: TableDiff) -> Iterator[str]:
    yield ", ".join(diff.key)
    for number in (diff.added, diff.removed, diff.modified):
        yield f"{number:,}" if number else ""
    signs = [
        f"{'+' if change.old_type is None else '-' if change.type is None else '~'}{change.column}"
        for change in diff.columns
    ]
    yield ", ".join([*signs, *(f"{name} {number:,}" for name, number in diff.cells.items())])


def _rows(change: RowChange) -> Iterator[tuple[Markup, ...]]:
    """Yields a row for each cell of a modified row, one for a row that was added or removed."""
    sign, key = plain(SIGNS[change.change][0]), plain(", ".join(value or "" for value in change.key.values()))
    for cell in change.cells:
        yield sign, key, plain(cell.column), _value(cell.old), _value(cell.new)
    if change.change != "modified":
        whole = _value(", ".join(f"{name}={value or ''}" for name, value in change.values.items()))
        sides = (plain(""), whole) if change.change == "added" else (whole, plain(""))
        yield (sign, key, plain(""), *sides)


def _value(value: str | None) -> Markup:
    if not value:
        return plain("")
    return code(value if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]}...")
