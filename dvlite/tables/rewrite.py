"""Writes a table as another one is written, with some rows set, removed or added: the result of a merge, in the format and order of ours.

Reads the table `edits` of the engine (`tables/merge.py`). Rows without an edit keep their bytes in CSV and JSON lines, and their types,
compression and row groups in Parquet; what is added follows at the end, in the order of the key.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dvlite.errors import FormatError
from dvlite.show import one_line
from dvlite.tables import csv as csv_dialect
from dvlite.tables.arrow import packages
from dvlite.tables.csv import CsvDialect
from dvlite.tables.engine import Connection, one_row
from dvlite.tables.relation import Column, Relation, TableFile, format_of, parquet_sql

_ROWS_AT_ONCE = 10_000
_UNPACKED_ROWS = 65_536  # of Parquet, at once
_ROW_GROUP_BYTES = 1 << 30
_QUOTES = "a quote in it is not as CSV has quotes"  # so that lines are no rows
Edit = tuple[Any, ...]  # (position in ours, action, cells of the key, cells)


@dataclass(frozen=True, slots=True)
class Edited:
    """The columns of the result, those that ours lacks last, and those that identify a row."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]


def can_write(name: str | None) -> bool:
    """Returns whether a format can be written."""
    return name in ("CSV", "JSON lines", "Parquet")


def write(engine: Connection, ours: TableFile, relation: Relation, edited: Edited, target: Path) -> None:
    """Writes ours with the edits as a new file. Raises FormatError where that is not possible."""
    keys = range(len(edited.key))
    is_parquet = format_of(ours.name) == "Parquet"
    position = "file_row_number" if is_parquet else "row_number() OVER () - 1"
    source = parquet_sql([ours.path], ", file_row_number = true") if is_parquet else relation.sql
    cells = {column.name: column.sql for column in relation.columns}
    chosen = ", ".join(f"{cells[name]} AS k{i}" for i, name in enumerate(edited.key))
    same = " AND ".join(f"e.k{i} IS NOT DISTINCT FROM o.k{i}" for i in keys)
    engine.execute(
        f"CREATE TEMP TABLE placed AS SELECT o.place, e.* FROM edits e LEFT JOIN (SELECT {position} AS place, {chosen} FROM {source}) o"
        f" ON {same} AND e.action <> 'add' ORDER BY o.place NULLS LAST, {', '.join(f'e.k{i}' for i in keys)}"
    )
    if one_row(engine, "SELECT count(*) FROM placed WHERE place IS NULL AND action <> 'add'") != (0,):
        raise FormatError("its rows are not where the engine has them")
    if is_parquet:
        pyarrow, _ = packages()
        try:
            _write_parquet(engine, ours.path, edited, target)
        except pyarrow.ArrowException as error:
            raise FormatError(f"pyarrow cannot write it: {one_line(str(error).splitlines()[0])[:200]}") from None
        return
    with ours.path.open("rb") as source_file, target.open("xb") as file:
        if format_of(ours.name) == "CSV":
            _write_csv(engine, ours, source_file, relation, edited, file)
        else:
            _write_json_lines(engine, source_file, edited, file)


def _edits(engine: Connection, edited: Edited, where: str) -> Iterator[Edit]:
    """Yields edits in the order of ours, cells as text."""
    cells = [*(f"k{i}" for i in range(len(edited.key))), *(f"v{i}" for i in range(len(edited.columns)))]
    texts = ", ".join(f"CAST({cell} AS VARCHAR)" for cell in cells)
    found = engine.execute(f"SELECT place, action, {texts} FROM placed WHERE {where}")  # in the order of its rows
    while rows := found.fetchmany(_ROWS_AT_ONCE):
        yield from rows


def _require_all(edit: Edit | None) -> None:
    """Raises FormatError if an edit is left when all rows of ours were written."""
    if edit is not None:
        raise FormatError(_QUOTES)


# --- CSV ---


def _write_csv(
    engine: Connection, ours: TableFile, source: BinaryIO, relation: Relation, edited: Edited, file: BinaryIO
) -> None:
    dialect = csv_dialect.dialect(ours.path, ours.name)
    if dialect.end == "\r":
        raise FormatError("its lines end in a carriage return alone")
    end, keys = dialect.end.encode(), len(edited.key)
    more = [column.name for column in edited.columns[len(relation.columns) :]]
    places = [[column.name for column in relation.columns].index(name) for name in edited.key]
    tail = "".join(dialect.delimiter + _field("", dialect) for _ in more).encode()
    head = source.read(dialect.size_bytes)
    if more:
        names = "".join(dialect.delimiter + _field(name, dialect) for name in more).encode()
        head = head.rstrip(b"\r\n") + names + end
    file.write(head if head.endswith(b"\n") else head + end)
    edits = _edits(engine, edited, "place IS NOT NULL")
    edit = next(edits, None)
    for number, record in enumerate(_records(source)):
        if edit is None or edit[0] != number:
            file.write(record.rstrip(b"\r\n") + tail + end if more or not record.endswith(b"\n") else record)
            continue
        cells = next(csv.reader([record.decode()], delimiter=dialect.delimiter))
        if [cells[place] or None for place in places] != [*edit[2 : 2 + keys]]:
            raise FormatError(_QUOTES)
        if edit[1] == "set":
            file.write(_line(edit[2 + keys :], dialect))
        edit = next(edits, None)
    _require_all(edit)
    file.writelines(_line(row[2 + keys :], dialect) for row in _edits(engine, edited, "place IS NULL"))


def _records(file: Iterable[bytes]) -> Iterator[bytes]:
    """Yields rows as they are written: lines, joined where a line break is inside of quotes; empty lines are no rows."""
    begun = b""
    for line in file:
        record = begun + line
        is_open = bool(begun) != bool(line.count(b'"') % 2)
        begun = record if is_open else b""
        if not is_open and record.strip(b"\r\n"):
            yield record
    if begun:
        yield begun


def _line(cells: Sequence[str | None], dialect: CsvDialect) -> bytes:
    return (dialect.delimiter.join(_field(cell or "", dialect) for cell in cells) + dialect.end).encode()


def _field(cell: str, dialect: CsvDialect) -> str:
    """Returns a cell as the file writes cells: it is no one else's table, so formulas stay what they are."""
    special = {dialect.delimiter, '"', "\n", "\r"}
    if dialect.is_quoted or not special.isdisjoint(cell) or cell != cell.strip():
        return '"' + cell.replace('"', '""') + '"'
    return cell if cell or len(dialect.columns) > 1 else '""'


# --- JSON lines ---


def _write_json_lines(engine: Connection, source: BinaryIO, edited: Edited, file: BinaryIO) -> None:
    names, keys = [column.name for column in edited.columns], len(edited.key)
    edits = _edits(engine, edited, "place IS NOT NULL")
    edit = next(edits, None)
    separators = (", ", ": ")
    for number, line in enumerate(line for line in source if line.strip()):
        if not number and b'": ' not in line:
            separators = (",", ":")
        if edit is None or edit[0] != number:
            file.write(line if line.endswith(b"\n") else line + b"\n")
            continue
        ours = _require_row(line, dict(zip(edited.key, edit[2 : 2 + keys], strict=True)))
        if edit[1] == "set":
            cells = dict(zip(names, edit[2 + keys :], strict=True))
            texts = {name: cells[name] or "null" for name in ours if cells[name] is not None or ours[name] is None}
            texts |= {name: text for name, text in cells.items() if text is not None}
            file.write(_object(texts, separators))
        edit = next(edits, None)
    _require_all(edit)
    for row in _edits(engine, edited, "place IS NULL"):
        cells = dict(zip(names, row[2 + keys :], strict=True))
        file.write(_object({name: text for name, text in cells.items() if text is not None}, separators))


def _require_row(line: bytes, key: dict[str, str | None]) -> dict[str, Any]:
    """Returns the row of a line. Raises FormatError unless it has this key: the engine reads more than JSON, and might count other lines."""
    try:
        row = json.loads(line)
        if all(row.get(name) == (None if cell is None else json.loads(cell)) for name, cell in key.items()):
            return dict(row)
    except (ValueError, RecursionError):
        raise FormatError("a line of it is not plain JSON, though the engine reads it") from None
    raise FormatError("its lines are not the rows that the engine reads")


def _object(cells: dict[str, str], separators: tuple[str, str]) -> bytes:
    between, colon = separators
    pairs = (f"{json.dumps(name, ensure_ascii=False)}{colon}{text}" for name, text in cells.items())
    return f"{{{between.join(pairs)}}}\n".encode()


# --- Parquet ---


def _write_parquet(engine: Connection, ours: Path, edited: Edited, target: Path) -> None:
    pyarrow, _ = packages()
    from pyarrow import parquet

    with parquet.ParquetFile(ours) as source:
        schema = source.schema_arrow
        metadata = source.metadata
        kept = [*schema.names]
        cells = ", ".join(f"v{i}" for i in range(len(edited.columns)))
        names = [column.name for column in edited.columns]

        def found(where: str) -> Any:
            return engine.sql(f"SELECT {cells} FROM placed WHERE {where}").to_arrow_table().rename_columns(names)

        for field in found("false").schema:
            if field.name not in kept:
                schema = schema.append(field)

        def rows(where: str) -> Any:
            return found(where).select(schema.names).cast(schema)

        first_group = metadata.row_group(0) if metadata.num_row_groups else None
        chunks = [first_group.column(i) for i in range(metadata.num_columns)] if first_group is not None else []
        compression = {
            chunk.path_in_schema: chunk.compression.lower().replace("uncompressed", "none") for chunk in chunks
        }
        dictionaries = [chunk.path_in_schema for chunk in chunks if chunk.dictionary_page_offset is not None]
        with parquet.ParquetWriter(
            target,
            schema,
            compression=compression or "snappy",
            use_dictionary=dictionaries if chunks else True,
            version={"1.0": "1.0", "2.4": "2.4"}.get(metadata.format_version, "2.6"),
        ) as writer:
            first = 0
            for number in range(metadata.num_row_groups):
                group = _row_group(source, number, pyarrow)
                for name in schema.names[len(kept) :]:
                    group = group.append_column(schema.field(name), pyarrow.nulls(len(group), schema.field(name).type))
                group = _edited_group(engine, group, first, rows, pyarrow)
                first += metadata.row_group(number).num_rows
                writer.write_table(group, row_group_size=max(len(group), 1))
            added = rows("place IS NULL")
            if len(added):
                writer.write_table(added)


def _row_group(source: Any, number: int, pyarrow: Any) -> Any:
    """Returns a row group. Raises FormatError for one that has more than it may when it is unpacked: a few bytes can stand for any number of rows."""
    batches, size = [], 0
    for batch in source.iter_batches(_UNPACKED_ROWS, row_groups=[number]):
        size += batch.nbytes
        if size > _ROW_GROUP_BYTES:
            raise FormatError(f"a row group of it has more than {_ROW_GROUP_BYTES >> 30} GiB")
        batches.append(batch)
    return pyarrow.Table.from_batches(batches, source.schema_arrow)


def _edited_group(engine: Connection, group: Any, first: int, rows: Any, pyarrow: Any) -> Any:
    """Returns a row group with its edits; `first` is the position of its first row."""
    where = f"place BETWEEN {first} AND {first + len(group) - 1}"
    edits = engine.execute(f"SELECT place, action FROM placed WHERE {where}").fetchall()
    if not edits:
        return group
    order = list(range(len(group)))
    set_rows = rows(f"{where} AND action = 'set'")
    removed = set()
    place = len(group)
    for at, action in edits:
        if action == "set":
            order[at - first] = place
            place += 1
        else:
            removed.add(at - first)
    kept = [place for i, place in enumerate(order) if i not in removed]
    return pyarrow.concat_tables([group, set_rows]).take(pyarrow.array(kept, pyarrow.int64()))
