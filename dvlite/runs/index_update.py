"""Updates the index from the folder of records: adds new records, deletes missing ones; and queries which batches have which records.

Works on a connection that `index` opened, inside its transaction; the index stores which sources (batches, loose files) it has read.
Knows no file of the database.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from dvlite import files
from dvlite.errors import Busy, FormatError
from dvlite.formats import record
from dvlite.formats.record import Run
from dvlite.oid import digest_run
from dvlite.runs import schema
from dvlite.runs.records import Records
from dvlite.runs.schema import LOOSE
from dvlite.store.batch import Line

_MOST_LOOKS = 3
_PATIENCE_SECONDS = 2.0  # for another process to update the index; after it, the index is used as it is
_MOST_NUMBER = (1 << 63) - 1  # that SQLite holds
_MOST_KEPT = 200_000  # numbers remembered while rows are made: 20 MB


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
        writer.add_source(name, records.lines(name))
    moved = bool(new_batches) and not records.batches().issuperset(new_batches)
    for name in sorted(loose - indexed_loose):
        data = records.read_loose(name)
        if data is None:
            moved = True
            continue
        try:
            writer.add(LOOSE, Line(data, digest_run(data), 0, 0, 0))
        except FormatError as error:
            records.progress.warn(f"{error.message}; skipped")
    writer.flush()
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
        for table, column in (("run", "id"), ("note", "id"), ("io", "run"), ("kv", "run"), ("record", "id")):
            connection.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT id FROM orphan)")  # noqa: S608  # constants only
        connection.execute("DROP TABLE orphan")


@dataclass(slots=True)
class _Writer:
    """Turns records into rows; caches the numbers of recurring values, and writes the rows of one source together."""

    connection: Connection
    records: Records
    _numbers: dict[tuple[str, Any], int] = field(default_factory=dict)
    _pending: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def add_source(self, name: str, lines: Iterable[Line]) -> None:
        """Reads one batch. One without a readable line is not added as a source: it is tried again next time."""
        insert = "INSERT INTO source(name, unread) VALUES(?, 0)"
        source = self.connection.execute(insert, (name,)).lastrowid
        count, problems = 0, []
        for line in lines:
            try:
                self.add(source, line)
            except FormatError as error:
                problems.append(error.message)
            count += 1
            if count % 1000 == 0:
                self.records.progress.advance(files=1000)
        self.flush()
        if problems:
            self.connection.execute("UPDATE source SET unread = ? WHERE id = ?", (len(problems), source))
            self.records.progress.warn(
                f"{len(problems)} of {count} records in run batch {name[:8]} were skipped; the first: {problems[0]}"
            )
        if not count:
            self.connection.execute("DELETE FROM source WHERE id = ?", (source,))

    def add(self, source: int, line: Line) -> None:
        """Reads one record; raises FormatError for one of an unknown format."""
        row = self.connection.execute("SELECT id FROM record WHERE digest = ?", (line.digest,)).fetchone()
        number = row[0] if row else self._new_record(line.digest, line.data)
        place = (number, source, line.frame, line.frame_bytes, line.start, len(line.data))
        self._later("INSERT OR IGNORE INTO place VALUES(?,?,?,?,?,?)", place)

    def flush(self) -> None:
        """Writes the pending rows."""
        for sql, rows in self._pending.items():
            self.connection.executemany(sql, rows)
        self._pending.clear()

    def _new_record(self, digest: bytes, data: bytes) -> int:
        parsed = record.parse(data, f"run record {digest.hex()[:8]}")
        number = self._free(schema.number(parsed.id), digest)
        self.connection.execute("INSERT INTO record VALUES(?,?,?)", (number, digest, parsed.project))
        if isinstance(parsed, Run):
            self._add_run(number, parsed)
        else:
            self._later("INSERT INTO note VALUES(?,?,?,?,?,?,?,?,?,?)", (number, *schema.note_row(parsed)))
        return number

    def _free(self, first: int, digest: bytes) -> int:
        """Returns an unused number: the first, or one soon after it; takes few queries, however many ids start alike."""
        number, spread = first, 1
        while self.connection.execute("SELECT 1 FROM record WHERE id = ?", (number,)).fetchone():
            spread = min(2 * spread, _MOST_NUMBER)
            number = (first + 1 + int.from_bytes(digest[:8], "big") % spread) & _MOST_NUMBER
        return number

    def _add_run(self, number: int, run: Run) -> None:
        self._later("INSERT INTO run VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", (number, *schema.run_row(run)))
        for item in schema.contents(run):
            content = self._number("obj", (item.digest, item.directory), "digest, directory")
            path = self._number("path", (item.path,), "path")
            row = (number, item.output, path, content, item.size_bytes, item.files)
            self._later("INSERT OR IGNORE INTO io VALUES(?,?,?,?,?,?)", row)
            if item.sha256 is not None:
                self._later("INSERT OR IGNORE INTO sha VALUES(?,?)", (item.sha256, content))
        for space, key, value in schema.values(run):
            name = self._number("name", (space, key), "ns, k")
            self._later("INSERT OR IGNORE INTO kv VALUES(?,?,?)", (name, number, value))

    def _later(self, sql: str, row: tuple[Any, ...]) -> None:
        self._pending.setdefault(sql, []).append(row)

    def _number(self, table: str, values: tuple[Any, ...], columns: str) -> int:
        """Returns the number of a recurring value, inserting it the first time."""
        key = (table, values)
        number = self._numbers.get(key)
        if number is None:
            marks = ",".join("?" * len(values))
            same = " AND ".join(f"{column} = ?" for column in columns.split(", "))
            row = self.connection.execute(f"SELECT id FROM {table} WHERE {same}", values).fetchone()  # noqa: S608
            if row:
                number = row[0]
            else:
                insert = f"INSERT INTO {table}({columns}) VALUES({marks})"  # constants only
                number = self.connection.execute(insert, values).lastrowid
            if len(self._numbers) >= _MOST_KEPT:
                self._numbers.clear()
            self._numbers[key] = number
        return number
