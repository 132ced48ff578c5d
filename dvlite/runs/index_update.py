"""Updates the index from the folder of records: adds new records, deletes missing ones; and queries which batches have which records.

Works on a connection that `index` opened, inside its transaction; the index stores which sources (batches, loose files) it has read.
Knows no file of the database.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from dvlite import files
from dvlite.errors import Busy, FormatError
from dvlite.formats import record
from dvlite.formats.record import CheckRecord, Note, Record, Run
from dvlite.oid import digest_run
from dvlite.runs import schema
from dvlite.runs.records import Records
from dvlite.runs.schema import LOOSE
from dvlite.store.batch import Line

_MOST_LOOKS = 3
_PATIENCE_SECONDS = 2.0  # for another process to update the index; after it, the index is used as it is
_MOST_NUMBER = (1 << 63) - 1  # that SQLite holds
_MOST_KEPT = 200_000  # numbers of a table remembered while rows are made: 20 MB
_LINES_AT_ONCE = 1000  # turned into rows
_BYTES_AT_ONCE = 4 << 20
_VALUES_AT_ONCE = 500  # arguments of one query


class Connection(Protocol):
    """A database connection, without its module."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any: ...


@contextlib.contextmanager
def updating(records: Records, *, wait: bool) -> Iterator[bool]:
    """Holds the lock for writing the index; without `wait`, yields False if another process holds it for 2 seconds."""
    path = records.folder / "index.lock"
    until = time.monotonic() + _PATIENCE_SECONDS
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(files.lock(path, wait=wait, waiting=records.progress.warn))
            except Busy:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                yield False
            else:
                yield True
            return


def is_current(connection: Connection, records: Records) -> bool:
    """Returns whether the index has exactly the records of the folder."""
    loose = records.loose()  # before the batches: records folded in between are seen twice, not missed
    batches = records.batches()
    return loose == _indexed_loose(connection) and batches == set(_sources(connection))


def refresh(connection: Connection, records: Records) -> None:
    """Adds new records and deletes missing ones."""
    for _ in range(_MOST_LOOKS):
        if _update(connection, records):
            return


def _update(connection: Connection, records: Records) -> bool:
    """Returns False if records moved while they were read: they are in a batch created since."""
    loose, batches = records.loose(), records.batches()
    indexed_loose, indexed = _indexed_loose(connection), _sources(connection)
    new_batches = sorted(batches - indexed.keys())
    if new_batches:
        records.progress.start("reading run records")
    writer = _Writer(connection, records)
    for name in new_batches:
        writer.add_batch(name)
    moved = bool(new_batches) and not records.batches().issuperset(new_batches)
    new_loose = sorted(loose - indexed_loose)
    lines = (Line(data, digest_run(data), 0, 0, 0) for data in map(records.read_loose, new_loose) if data is not None)
    count = 0
    for part in _together(lines):
        count += len(part)
        for problem in writer.add(LOOSE, part):
            records.progress.warn(f"{problem}; skipped")
    moved |= count < len(new_loose)
    if new_batches:
        records.progress.finish()
    missing = [indexed[name] for name in indexed.keys() - batches]
    if missing or indexed_loose - loose:
        _delete(connection, missing, indexed_loose - loose)
    return not moved


def not_in(connection: Connection, batches: Iterable[str], project: str) -> list[bytes]:
    """Returns the records of a project that none of these batches has, oldest first."""
    _list(connection, batches)
    sql = (
        "SELECT digest FROM record WHERE project = ?"
        " AND id IN (SELECT record FROM place WHERE source IN (SELECT id FROM source WHERE id NOT IN listed)) AND NOT EXISTS"
        " (SELECT 1 FROM place WHERE place.record = record.id AND +source IN listed) ORDER BY id"  # +: not a probe for each batch
    )
    return [digest for (digest,) in connection.execute(sql, (project,))]


def _list(connection: Connection, batches: Iterable[str]) -> None:
    """Fills a temporary table with the numbers of batches, for one query."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS listed(id INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM listed")
    connection.executemany("INSERT INTO listed SELECT id FROM source WHERE name = ?", [(name,) for name in batches])


def _indexed_loose(connection: Connection) -> set[str]:
    sql = "SELECT record.digest FROM place JOIN record ON record.id = place.record WHERE place.source = ?"
    return {digest.hex() for (digest,) in connection.execute(sql, (LOOSE,))}


def _sources(connection: Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT name, id FROM source WHERE id != ?", (LOOSE,)))


def _delete(connection: Connection, sources: Iterable[int], loose: Iterable[str]) -> None:
    """Deletes the places of records, and then the records that have no place left."""
    for source in sources:
        connection.execute("DELETE FROM place WHERE source = ?", (source,))
        connection.execute("DELETE FROM source WHERE id = ?", (source,))
    connection.executemany(
        "DELETE FROM place WHERE source = ? AND record = (SELECT id FROM record WHERE digest = ?)",
        ((LOOSE, bytes.fromhex(name)) for name in loose),
    )
    orphans = connection.execute(
        "SELECT id FROM record WHERE NOT EXISTS (SELECT 1 FROM place WHERE place.record = record.id)"
    ).fetchall()
    if orphans:
        connection.execute("CREATE TEMP TABLE orphan(id INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO orphan VALUES(?)", orphans)
        own = (("run", "id"), ("note", "id"), ("checked", "id"), ("io", "run"), ("kv", "run"), ("record", "id"))
        for table, column in own:
            connection.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT id FROM orphan)")  # noqa: S608  # constants only
        connection.execute("DROP TABLE orphan")


class _Recurring(NamedTuple):
    """A table of recurring values, whose numbers the other tables hold."""

    name: str
    columns: str
    column: str  # that has an index and of which few rows have the same


_OBJECTS = _Recurring("obj", "digest, directory", "digest")
_PATHS = _Recurring("path", "path", "path")
_NAMES = _Recurring("name", "ns, k", "k")


@dataclass(slots=True)
class _Writer:
    """Turns records into rows, many at a time; keeps the numbers of recurring values."""

    connection: Connection
    records: Records
    _numbers: dict[_Recurring, dict[tuple[Any, ...], int]] = field(default_factory=dict)

    def add_batch(self, name: str) -> None:
        """Reads one batch. One without a readable line is not added as a source: it is tried again next time."""
        insert = "INSERT INTO source(name, unread) VALUES(?, 0)"
        source = self.connection.execute(insert, (name,)).lastrowid
        count, problems = 0, []
        for lines in _together(self.records.lines(name)):
            problems += self.add(source, lines)
            count += len(lines)
            self.records.progress.advance(files=len(lines))
        if problems:
            self.connection.execute("UPDATE source SET unread = ? WHERE id = ?", (len(problems), source))
            self.records.progress.warn(
                f"{len(problems)} of {count} records in run batch {name[:8]} were skipped; the first: {problems[0]}"
            )
        if not count:
            self.connection.execute("DELETE FROM source WHERE id = ?", (source,))

    def add(self, source: int, lines: Sequence[Line]) -> list[str]:
        """Adds records of one source; returns why some could not be read."""
        known = "SELECT digest, id FROM record WHERE digest IN"
        numbers = dict(self._select(known, [line.digest for line in lines]))
        new: dict[bytes, Record] = {}
        problems = []
        for line in lines:
            if line.digest not in numbers and line.digest not in new:
                try:
                    new[line.digest] = record.parse(line.data, f"run record {line.digest.hex()[:8]}")
                except FormatError as error:
                    problems.append(error.message)
        numbers |= self._add_records(new)
        places = [
            (numbers[line.digest], source, line.frame, line.frame_bytes, line.start, len(line.data))
            for line in lines
            if line.digest in numbers
        ]
        self._insert("place", places)
        return problems

    def _add_records(self, new: Mapping[bytes, Record]) -> dict[bytes, int]:
        """Returns the numbers of new records."""
        firsts = {digest: schema.number(parsed.id) for digest, parsed in new.items()}
        taken = {number for (number,) in self._select("SELECT id FROM record WHERE id IN", firsts.values())}
        numbers: dict[bytes, int] = {}
        for digest, first in firsts.items():
            numbers[digest] = number = first if first not in taken else self._free(first, digest, taken)
            taken.add(number)
        rows = ((numbers[digest], digest, parsed.project) for digest, parsed in new.items())
        self._insert("record", rows)
        self._add_runs({numbers[digest]: parsed for digest, parsed in new.items() if isinstance(parsed, Run)})
        notes = [(numbers[digest], *schema.note_row(each)) for digest, each in new.items() if isinstance(each, Note)]
        self._insert("note", notes)
        results = ((numbers[digest], each) for digest, each in new.items() if isinstance(each, CheckRecord))
        self._insert("checked", ((number, *row) for number, each in results for row in schema.check_rows(each)))
        return numbers

    def _free(self, first: int, digest: bytes, taken: Container[int]) -> int:
        """Returns an unused number soon after the first; takes few queries, however many ids start alike."""
        number, spread = first, 1
        while number in taken or self.connection.execute("SELECT 1 FROM record WHERE id = ?", (number,)).fetchone():
            spread = min(2 * spread, _MOST_NUMBER)
            number = (first + 1 + int.from_bytes(digest[:8], "big") % spread) & _MOST_NUMBER
        return number

    def _add_runs(self, runs: Mapping[int, Run]) -> None:
        rows = ((number, *schema.run_row(run)) for number, run in runs.items())
        self._insert("run", rows)
        contents = [(number, item) for number, run in runs.items() for item in schema.contents(run)]
        objects = self._numbered(_OBJECTS, {(item.digest, item.directory) for _, item in contents})
        paths = self._numbered(_PATHS, {(item.path,) for _, item in contents})
        io = (
            (number, item.output, paths[item.path,], objects[item.digest, item.directory], item.size_bytes, item.files)
            for number, item in contents
        )
        self._insert("io", io)
        sha = ((item.sha256, objects[item.digest, item.directory]) for _, item in contents if item.sha256 is not None)
        self._insert("sha", sha)
        spaces: dict[str, dict[str, list[tuple[int, Any]]]] = {}
        for number, run in sorted(runs.items()):
            for space, values in schema.values(run):
                columns = spaces.setdefault(space, {})
                for key, value in values.items():
                    column = columns.get(key)
                    if column is None:
                        column = columns[key] = []
                    column.append((number, schema.stored_value(value)))
        held = {
            (space, schema.stored_text(key)): column for space, each in spaces.items() for key, column in each.items()
        }
        names = self._numbered(_NAMES, held)
        kv = ((names[name], number, value) for name, column in held.items() for number, value in column)
        self._insert("kv", kv)  # in the order of the table, as far as it goes

    def _numbered(self, table: _Recurring, wanted: Collection[tuple[Any, ...]]) -> Mapping[tuple[Any, ...], int]:
        """Returns the numbers of recurring values, and of others; those that are new are inserted."""
        known = self._numbers.setdefault(table, {})
        if len(known) >= _MOST_KEPT:
            known.clear()
        absent = [values for values in wanted if values not in known]
        sql = f"SELECT id, {table.columns} FROM {table.name} WHERE {table.column} IN"  # noqa: S608  # constants only
        at = table.columns.split(", ").index(table.column)
        rows = self._select(sql, [values[at] for values in absent])
        known.update((tuple(values), number) for number, *values in rows)
        new = [values for values in absent if values not in known]
        (last,) = self.connection.execute(f"SELECT ifnull(max(id), 0) FROM {table.name}").fetchone()  # noqa: S608
        known.update(zip(new, itertools.count(last + 1)))
        self._insert(f"{table.name}(id, {table.columns})", ((known[values], *values) for values in new))
        return known

    def _insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Writes rows, those that are there already left out; many with one statement take half the time of `executemany`."""
        left = iter(rows)
        first = next(left, ())
        left = itertools.chain([first] if first else [], left)
        while part := list(itertools.islice(left, _VALUES_AT_ONCE // len(first or "-"))):
            marks = ",".join([f"({','.join('?' * len(first))})"] * len(part))
            values = list(itertools.chain.from_iterable(part))
            self.connection.execute(f"INSERT OR IGNORE INTO {table} VALUES {marks}", values)  # noqa: S608  # constants only

    def _select(self, sql: str, values: Collection[Any]) -> Iterator[Any]:
        """Yields the rows of a query that ends with `IN`."""
        left = iter(values)
        while part := list(itertools.islice(left, _VALUES_AT_ONCE)):
            yield from self.connection.execute(f"{sql} ({','.join('?' * len(part))})", part)


def _together(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Yields lines a thousand at a time, or fewer long ones: memory."""
    part: list[Line] = []
    size_bytes = 0
    for line in lines:
        part.append(line)
        size_bytes += len(line.data)
        if len(part) >= _LINES_AT_ONCE or size_bytes >= _BYTES_AT_ONCE:
            yield part
            part, size_bytes = [], 0
    if part:
        yield part
