"""A query of a user: which tables it names, how the engine sees each of them, and its rows.

A table is a view that is called as the query calls it, so the text of the query is never changed. Only one SELECT runs.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvlite.errors import UsageError
from dvlite.show import printable_text, quote
from dvlite.tables import arrow, sqlite
from dvlite.tables.engine import Connection, identifier, literal, one_row, reading
from dvlite.tables.relation import Format, format_of

FAILED = "the query failed"
OUTPUTS = {".csv": "FORMAT csv, HEADER", ".jsonl": "FORMAT json", ".parquet": "FORMAT parquet"}  # of files to write
_BATCH = 1000  # rows
# Types that the engine gives also to cells which are more than that, and what holds for a cell that is not.
_EXACT = {
    "BIGINT": "{0} IS NULL OR TRY_CAST({0} AS BIGINT) = TRY_CAST({0} AS DOUBLE)",
    "DATE": "{0} IS NULL OR {0} LIKE '____-__-__'",
}


@dataclass(frozen=True, slots=True)
class TableSource:
    """The files of a table as the engine opens them (paths on disk, or URLs of its file system), and what format they have."""

    name: str  # as the query has it
    format: Format
    places: tuple[str, ...]
    table: str = ""  # of a database


def table_names(engine: Connection, sql: str) -> list[str]:
    """Returns what a query reads from, without the names that it defines itself. Raises UsageError for what is not one SELECT."""
    try:
        found = json.loads(one_row(engine, f"SELECT json_serialize_sql({literal(sql)})")[0])
    except RecursionError:
        raise UsageError("cannot run this SQL: it is nested too deep", hint="write it with fewer parentheses") from None
    if found["error"]:
        reason = printable_text(str(found["error_message"]))
        if "Only SELECT" in reason:
            raise UsageError(
                "cannot run this SQL: it is no SELECT", hint="dvlite sql reads only; files are written by -o"
            )
        raise UsageError(f"cannot run this SQL: {reason}", hint="names of files are in quotes: FROM 'data/t.csv'")
    if len(found["statements"]) != 1:
        raise UsageError("cannot run this SQL: it is not one statement", hint="give one SELECT")
    names: dict[str, None] = {}
    own: set[str] = set()
    for node in _nodes(found["statements"]):
        if node.get("type") == "BASE_TABLE" and not node.get("schema_name"):
            names[str(node["table_name"])] = None
        own.update(str(entry["key"]).lower() for entry in (node.get("cte_map") or {}).get("map", ()))
    return [name for name in names if name.lower() not in own]


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yields the mappings in a value, without recursion: a query may be nested as deep as its writer likes."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value
            pending.extend(reversed(value.values()))
        elif isinstance(value, list):
            pending.extend(reversed(value))


def format_of_all(name: str, files: Sequence[str]) -> Format:
    """Returns the format of files that are one table. Raises UsageError if they have none, or several."""
    found = {kind for file in files if (kind := format_of(file)) is not None}
    if len(found) == 1:
        return found.pop()
    if found:
        hint = "choose with a pattern: 'folder/*.csv'"
        raise UsageError(f"{quote(name)} holds tables of several formats: {', '.join(sorted(found))}", hint=hint)
    raise UsageError(f"{quote(name)} is not a table", hint="CSV, Parquet, JSON lines, Arrow and SQLite can be read")


def create_view(engine: Connection, source: TableSource, *, is_sampled: bool) -> None:
    """Has the engine know a table by its name in the query. Raises FormatError for files that are not what their names say.

    `is_sampled`: the types of a CSV are those of its first rows, and a query that meets a cell of another type raises Misread.
    """
    shown = quote(source.name)
    if source.format == "SQLite":
        sql = _sqlite_sql(engine, source, shown)
    elif source.format == "Arrow":
        sql = f"SELECT * FROM {arrow.register(engine, [Path(place) for place in source.places], shown)}"
    else:
        paths = f"[{', '.join(map(literal, source.places))}], union_by_name = true"
        if source.format == "CSV" and is_sampled:
            with reading(f"cannot read {shown}"):
                sql = _sampled_sql(engine, paths)
        elif source.format == "Parquet":
            sql = f"SELECT * FROM read_parquet({paths})"
        else:  # of JSON, the engine would leave out keys that its sample has not
            reader = "read_csv({})" if source.format == "CSV" else "read_json({}, format = 'newline_delimited')"
            sql = f"SELECT * FROM {reader.format(f'{paths}, sample_size = -1')}"
    with reading(f"cannot read {shown}"):
        engine.execute(f"CREATE OR REPLACE TEMP VIEW {identifier(source.name)} AS {sql}")


def _sampled_sql(engine: Connection, paths: str) -> str:
    """Returns how SQL reads CSV with types from a sample, which takes a tenth of the time that all rows take.

    The engine would round what is no integer, and cut times off dates, without a word; here such a cell raises its error.
    """
    described = engine.execute(f"DESCRIBE SELECT * FROM read_csv({paths}, hive_partitioning = false)").fetchall()
    exact = {str(name): str(kind) for name, kind, *_ in described if kind in _EXACT}
    if not exact:
        return f"SELECT * FROM read_csv({paths})"
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in exact)
    cells = ", ".join(
        f"CASE WHEN {_EXACT[kind].format(identifier(name))} THEN CAST({identifier(name)} AS {kind})"
        f" ELSE CAST({identifier(name)} || ' is of another type' AS {kind}) END AS {identifier(name)}"
        for name, kind in exact.items()
    )
    return f"SELECT * REPLACE ({cells}) FROM read_csv({paths}, types = {{{types}}})"


def _sqlite_sql(engine: Connection, source: TableSource, shown: str) -> str:
    if len(source.places) > 1:
        raise UsageError(f"{shown} is several databases", hint="name one of them")
    path = Path(source.places[0])
    known = sqlite.tables(path, shown)
    if source.table not in known and (source.table or len(known) != 1):
        hint = f"name one as 'FILE#TABLE': {', '.join(map(printable_text, known[:10]))}" if known else None
        raise UsageError(f"{shown}: which table of the database is meant?", hint=hint)
    loaded, declared, _ = sqlite.load(engine, path, source.table or known[0], shown)
    columns = ", ".join(
        f"{_cast(f'c{number}', kind)} AS {identifier(column)}" for number, (column, kind) in enumerate(declared.items())
    )
    return f"SELECT {columns} FROM {loaded}"


def _cast(column: str, declared: str) -> str:
    """Returns a cell in the type that SQLite would prefer for its column; a cell that is none of it stays empty."""
    for part, kind in (("INT", "BIGINT"), ("REAL", "DOUBLE"), ("FLOA", "DOUBLE"), ("DOUB", "DOUBLE")):
        if part in declared:
            return f"TRY_CAST({column} AS {kind})"
    return column


@dataclass(frozen=True, slots=True)
class QueryRows:
    """The result of a query: columns as name and type, and rows of plain values, `more` where a limit cut them."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False


def run(engine: Connection, sql: str, limit: int | None) -> QueryRows:
    """Runs a query. Raises FormatError with what the engine says."""
    with reading(FAILED):
        cursor = engine.execute(sql)
        columns = tuple((str(name), str(kind)) for name, kind, *_ in cursor.description)
        rows: list[tuple[Any, ...]] = []
        while batch := cursor.fetchmany(_BATCH if limit is None else min(_BATCH, limit + 1 - len(rows))):
            rows += (tuple(map(_plain, row)) for row in batch)
            if limit is not None and len(rows) > limit:
                break
    more = limit is not None and len(rows) > limit
    return QueryRows(columns, tuple(rows[:limit]), more)


def write(engine: Connection, sql: str, path: Path, options: str) -> int:
    """Writes the rows of a query to a file that the engine may write. Returns how many there are."""
    with reading(FAILED):
        engine.sql(sql).create_view("rows to write")
        return int(one_row(engine, f'COPY (FROM "rows to write") TO {literal(str(path))} ({options})')[0])


def _plain(value: Any) -> Any:
    """Returns a cell as JSON has it: times in ISO 8601, bytes in hexadecimal, what no number can say exactly as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


def require_output(name: str) -> str:
    """Returns how the engine writes a file of this name. Raises UsageError."""
    options = OUTPUTS.get(Path(name).suffix.lower())
    if options is None:
        raise UsageError(f"cannot write {quote(name)}", hint=f"a name that ends in {', '.join(OUTPUTS)}")
    return options
