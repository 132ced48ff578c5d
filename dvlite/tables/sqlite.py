"""Tables of SQLite files, copied into the table engine as text. Files may be anyone's: opened to read only, views and triggers never run."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from dvlite.errors import FormatError
from dvlite.show import printable_text
from dvlite.tables.arrow import packages
from dvlite.tables.csv import MOST_COLUMNS
from dvlite.tables.engine import Connection, identifier, reading

_HEADER = b"SQLite format 3\0"
_TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
)
_COLUMNS = "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid"
# The shortest text of a number that means it; bytes as SQL writes them.
_CELL = (
    "CASE typeof({0}) WHEN 'blob' THEN 'x''' || hex({0}) || '''' WHEN 'real' THEN"
    " CASE WHEN CAST(printf('%!.15g', {0}) AS REAL) = {0} THEN printf('%!.15g', {0}) ELSE printf('%!.17g', {0}) END"
    " ELSE CAST({0} AS TEXT) END"
)
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 20_000, 32 << 20
_LONGEST_BYTES = 64 << 20  # of a cell
_MOST_TIMES = 100  # as large as its file: rows without end come from pages that a damaged file names again and again
_NUMBERS = count()


def tables(path: Path, which: str) -> list[str]:
    """Returns the tables of a file, but for SQLite's own and virtual ones. Raises FormatError."""
    with _opened(path, which) as database:
        return [str(name) for (name,) in database.execute(_TABLES)]


def load(engine: Connection, path: Path, table: str, which: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """Copies a table into the engine, its cells as text in columns `c0`, `c1`, ...

    Returns what SQL calls it, its columns with their declared types, and its primary key. Raises FormatError.
    """
    pyarrow, _ = packages()
    name = f"sqlite_{next(_NUMBERS)}"
    with _opened(path, which) as database:
        rows = database.execute(_COLUMNS, (table,)).fetchall()
        if len(rows) > MOST_COLUMNS:
            raise FormatError(f"cannot read {which}: a table of it has more than {MOST_COLUMNS:,} columns")
        declared = {str(column): str(kind).upper() for column, kind, _ in rows}
        key = tuple(str(column) for column, _, place in sorted(rows, key=lambda row: row[2]) if place)
        cells = ", ".join(_CELL.format(identifier(column)) for column in declared)
        schema = pyarrow.schema([(f"c{i}", pyarrow.string()) for i in range(len(declared))])
        columns = ", ".join(f"c{i} VARCHAR" for i in range(len(declared)))
        with reading(f"cannot read {which}"):
            engine.execute(f"CREATE TABLE {name} ({columns})")
            selected = database.execute(f"SELECT {cells} FROM {identifier(table)}")
            for batch in _batches(selected, _MOST_TIMES * max(path.stat().st_size, 1 << 20), which):
                arrays = [pyarrow.array(values, pyarrow.string()) for values in zip(*batch, strict=True)]
                engine.register("batch", pyarrow.table(arrays, schema=schema))
                engine.execute(f"INSERT INTO {name} SELECT * FROM batch")
                engine.unregister("batch")
    return name, declared, key


def _batches(
    rows: Iterable[tuple[str | None, ...]], most_bytes: int, which: str
) -> Iterator[list[tuple[str | None, ...]]]:
    """Yields rows, as many at a time as fit into memory. Raises FormatError for more bytes than a sound file has."""
    batch: list[tuple[str | None, ...]] = []
    size = total = 0
    for row in rows:
        batch.append(row)
        size += sum(len(cell) if cell else 1 for cell in row)
        if len(batch) == _ROWS_AT_ONCE or size > _BYTES_AT_ONCE:
            total += size
            if total > most_bytes:
                raise FormatError(f"cannot read {which}: a table of it is far larger than its file, which is damaged")
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextlib.contextmanager
def _opened(path: Path, which: str) -> Iterator[sqlite3.Connection]:
    with path.open("rb") as file:
        if file.read(len(_HEADER)) != _HEADER:
            raise FormatError(f"cannot read {which}: it is no database of SQLite")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            database.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
            database.execute("PRAGMA trusted_schema = OFF")
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_BYTES)
            yield database
    except sqlite3.Error as error:
        raise FormatError(f"cannot read {which}: {printable_text(str(error))}") from None
