"""Files of one version of a table as something that SQL reads, whatever their format: one relation with the columns of all.

A folder is one table: its files are read together, and `name=value` folders in their names are columns. The bytes lie under paths of
their own (`TableFile.path`, plain letters); the names in the repository say what format they have.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from dvlite.errors import FormatError
from dvlite.show import printable
from dvlite.tables import arrow, csv, sqlite
from dvlite.tables.csv import MOST_COLUMNS
from dvlite.tables.engine import Connection, identifier, literal, reading

Format = Literal["CSV", "Parquet", "JSON lines", "Arrow", "SQLite"]
FORMATS: dict[str, Format] = {
    ".csv": "CSV",
    ".tsv": "CSV",
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".arrow": "Arrow",
    ".feather": "Arrow",
    ".sqlite": "SQLite",
    ".sqlite3": "SQLite",
    ".db": "SQLite",
}


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file of a table: where its bytes are, and what it is called in the table's folder (a table that is a file: by its own name)."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its type as the engine calls it, and how SQL reads it from the relation."""

    name: str
    type: str
    sql: str


@dataclass(frozen=True, slots=True)
class Relation:
    """`sql` stands after FROM. `key`: the columns that the file itself says identify a row."""

    sql: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


EMPTY = Relation("(SELECT 1 WHERE false)", ())


def format_of(name: str) -> Format | None:
    """Returns the format of a table by the name of its file, None for what is no table."""
    return FORMATS.get(posixpath.splitext(name)[1].lower())


def open_relation(engine: Connection, files: Sequence[TableFile], which: str, *, table: str = "") -> Relation:
    """Returns the rows of files that are one version of a table. `which` is that version in errors, `table` the one meant of a database.

    Reads heads and schemas only, but for JSON lines (the keys of all lines) and SQLite (copied into the engine). Raises FormatError.
    """
    groups: dict[tuple[tuple[str, str], ...], list[TableFile]] = {}
    for file in files:
        groups.setdefault(tuple(_partition(file.name)), []).append(file)
    parts = [part for values, group in groups.items() for part in _parts(engine, group, dict(values), which, table)]
    if not parts:
        return EMPTY
    widest = max(parts, key=lambda part: len(part.columns))
    if len(widest.columns) > MOST_COLUMNS:
        raise FormatError(f"{which}: it has {len(widest.columns):,} columns, more than {MOST_COLUMNS:,}")
    return parts[0] if len(parts) == 1 else _union(parts)


def _partition(name: str) -> Iterator[tuple[str, str]]:
    """Yields names and values of the folders `name=value` in a path."""
    for part in name.split("/")[:-1]:
        column, equals, value = part.partition("=")
        if column and equals:
            yield column, unquote(value)


def _parts(
    engine: Connection, files: Sequence[TableFile], values: dict[str, str], which: str, table: str
) -> Iterator[Relation]:
    """Yields relations that together are files of one partition."""
    for kind in dict.fromkeys(map(_format, files)):
        those = [file for file in files if _format(file) == kind]
        if kind == "CSV":
            found = list(_of_csv(those, which))
        elif kind == "Parquet":
            found = [_described(engine, parquet_sql([file.path for file in those]), which)]
        elif kind == "JSON lines":
            found = [_of_json_lines(engine, those, which)]
        elif kind == "Arrow":
            name = arrow.register(engine, [file.path for file in those], which)
            found = [_described(engine, name, which)]
        else:
            found = [_of_sqlite(engine, file.path, table, which) for file in those]
        for relation in found:
            there = {column.name for column in relation.columns}
            more = [Column(name, "VARCHAR", literal(text)) for name, text in values.items() if name not in there]
            yield Relation(relation.sql, (*relation.columns, *more), relation.key)


def _format(file: TableFile) -> Format:
    found = format_of(file.name)
    if found is None:
        raise FormatError(f"'{printable(file.name)}' is not a table", hint=f"tables end in {', '.join(FORMATS)}")
    return found


def listed(paths: Sequence[Path]) -> str:
    """Returns paths as a list of SQL."""
    return f"[{', '.join(literal(str(path)) for path in paths)}]"


def parquet_sql(paths: Sequence[Path], more: str = "") -> str:
    """Returns how SQL reads Parquet files."""
    return f"read_parquet({listed(paths)}, union_by_name = true, hive_partitioning = false{more})"


def _described(engine: Connection, sql: str, which: str) -> Relation:
    with reading(f"cannot read {which}"):
        rows = engine.execute(f"DESCRIBE SELECT * FROM {sql}").fetchall()
    return Relation(sql, tuple(Column(name, kind, identifier(name)) for name, kind, *_ in rows))


def _of_csv(files: Sequence[TableFile], which: str) -> Iterator[Relation]:
    groups: dict[tuple[str, tuple[str, ...]], list[TableFile]] = {}
    dialects = {}
    for file in files:
        try:
            found = csv.dialect(file.path, file.name)
            csv.require_lines(file.path)
        except FormatError as error:
            raise FormatError(f"cannot read {which}: {error.message}") from None
        dialects[found.delimiter, found.columns] = found
        groups.setdefault((found.delimiter, found.columns), []).append(file)
    for key, group in groups.items():
        columns = tuple(Column(name, "VARCHAR", f"c{i}") for i, name in enumerate(key[1]))
        yield Relation(csv.reader_sql(listed([file.path for file in group]), dialects[key]), columns)


def _of_json_lines(engine: Connection, files: Sequence[TableFile], which: str) -> Relation:
    """A column for each key of an object in a line; cells are JSON, so that a text and a number differ."""
    paths, lines = listed([file.path for file in files]), "format = 'newline_delimited'"
    keys = "CASE WHEN json_type(json) = 'OBJECT' THEN json_keys(json) ELSE [NULL] END"
    sql = f"SELECT DISTINCT unnest({keys}) FROM read_json_objects({paths}, {lines}) LIMIT {MOST_COLUMNS + 1}"
    with reading(f"cannot read {which}"):
        found = [name for (name,) in engine.execute(sql).fetchall()]
    if None in found:
        raise FormatError(f"cannot read {which}: a line of it is not an object")
    names = sorted(found)
    if not names:
        return EMPTY
    columns = ", ".join(f"{literal(name)}: 'JSON'" for name in names)
    sql = f"read_json({paths}, {lines}, columns = {{{columns}}})"
    return Relation(sql, tuple(Column(name, "JSON", identifier(name)) for name in names))


def _of_sqlite(engine: Connection, path: Path, table: str, which: str) -> Relation:
    if table not in sqlite.tables(path, which):
        return EMPTY
    sql, declared, key = sqlite.load(engine, path, table, which)
    return Relation(sql, tuple(Column(name, kind, f"c{i}") for i, (name, kind) in enumerate(declared.items())), key)


def _union(parts: Sequence[Relation]) -> Relation:
    """Returns the rows of all, columns by their names; where a part has none, its cells are empty."""
    types: dict[str, str] = {}
    for part in parts:
        for column in part.columns:
            types.setdefault(column.name, column.type)
    selects = []
    for part in parts:
        cells = {column.name: column.sql for column in part.columns}
        chosen = ", ".join(f"{cells.get(name, 'NULL')} AS v{i}" for i, name in enumerate(types))
        selects.append(f"SELECT {chosen} FROM {part.sql}")
    columns = tuple(Column(name, kind, f"v{i}") for i, (name, kind) in enumerate(types.items()))
    return Relation(f"({' UNION ALL '.join(selects)})", columns)
