"""Bringing the index up to date with the folder of records: what is new is read, what is gone is forgotten; and which batches have what.

Works on a connection that `index` opened, inside its transaction; which sources (batches, loose files) are in the index is kept in
the index itself. Knows no file of the database.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dvlite import files
from dvlite.errors import Busy, FormatError
from dvlite.formats import record
from dvlite.formats.record import Note, Run
from dvlite.oid import digest_run
from dvlite.runs import schema
from dvlite.runs.records import Records
from dvlite.runs.schema import LOOSE
from dvlite.store.batch import Line

_MOST_LOOKS = 3
_PATIENCE_SECONDS = 2.0  # for another process to bring the index up to date; what is there is used after it
_MOST_NUMBER = (1 << 63) - 1  # that SQLite holds
_MOST_KEPT = 200_000  # numbers remembered while rows are made: 20 MB


class Connection(Protocol):
    """What is needed of a database."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any: ...


@contextlib.contextmanager
def updating(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Holds the right to write the index; without `wait`, yields False if another process keeps it for long."""
    path = folder / "index.lock"
    until = time.monotonic() + _PATIENCE_SECONDS
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(files.lock(path, wait=wait))
            except Busy:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                yield False
            else:
                yield True
            return


def is_current(connection: Connection, records: Records) -> bool:
    """Says whether the index has exactly what lies in the folder."""
    loose, batches = (
        records.loose(),
        records.batches(),
    )  # in this order: what is folded in between is seen twice, not missed
    return loose == _indexed_loose(connection) and batches == set(_sources(connection))


def update(connection: Connection, records: Records) -> None:
    """Reads what is new and forgets what is gone."""
    for _ in range(_MOST_LOOKS):
        if _update(connection, records):
            return


def _update(connection: Connection, records: Records) -> bool:
    """Returns False if records went while they were read: they are in a batch that was not there yet."""
    loose, batches = records.loose(), records.batches()
    known_loose, known = _indexed_loose(connection), _sources(connection)
    new_batches = sorted(batches - known.keys())
    if new_batches:
        records.progress.start("reading run records")
    writer = _Writer(connection, records)
    for name in new_batches:
        writer.add_source(name, records.lines(name))
    moved = bool(new_batches) and not records.batches().issuperset(new_batches)
    for name in sorted(loose - known_loose):
        data = records.read_loose(name)
        if data is None:
            moved = True
            continue
        try:
            writer.add(LOOSE, Line(data, 0, 0, 0))
        except FormatError as error:
            records.progress.warn(f"{error.message}; passed over")
    writer.flush()
    if new_batches:
        records.progress.finish()
    gone = [known[name] for name in known.keys() - batches]
    if gone or known_loose - loose:
        _forget(connection, gone, known_loose - loose)
    return not moved


def not_in(connection: Connection, batches: Iterable[str], project: str) -> list[bytes]:
    """Returns the records of a project that none of these batches has, oldest first."""
    _list(connection, batches)
    sql = (
        "SELECT digest FROM record WHERE project = ? AND NOT EXISTS"
        " (SELECT 1 FROM place WHERE place.record = record.id AND +source IN listed) ORDER BY id"  # +: not a probe for each batch
    )
    return [digest for (digest,) in connection.execute(sql, (project,))]


def only_in(connection: Connection, batches: Iterable[str]) -> int:
    """Returns how many records are in these batches and nowhere else."""
    _list(connection, batches)
    sql = (
        "SELECT count(*) FROM record WHERE NOT EXISTS"
        " (SELECT 1 FROM place WHERE place.record = record.id AND source NOT IN listed)"
    )
    return int(connection.execute(sql).fetchone()[0])


def redundant(connection: Connection, batches: Iterable[str]) -> list[str]:
    """Returns the other batches all of whose records these have."""
    _list(connection, batches)
    sql = (
        "SELECT name FROM source WHERE name != '' AND NOT unread AND id NOT IN listed AND NOT EXISTS"
        " (SELECT 1 FROM place WHERE place.source = source.id AND NOT EXISTS"
        " (SELECT 1 FROM place other WHERE other.record = place.record AND +other.source IN listed))"
    )
    return [name for (name,) in connection.execute(sql)]


def _list(connection: Connection, batches: Iterable[str]) -> None:
    """Makes a table of the numbers of batches, for one query."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS listed(id INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM listed")
    connection.executemany("INSERT INTO listed SELECT id FROM source WHERE name = ?", [(name,) for name in batches])


def _indexed_loose(connection: Connection) -> set[str]:
    sql = "SELECT record.digest FROM place JOIN record ON record.id = place.record WHERE place.source = ?"
    return {digest.hex() for (digest,) in connection.execute(sql, (LOOSE,))}


def _sources(connection: Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT name, id FROM source WHERE id != ?", (LOOSE,)))


def _forget(connection: Connection, sources: Iterable[int], loose: Iterable[str]) -> None:
    """Takes out places, and then the records that have no place left."""
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
    for table, column in (("run", "id"), ("note", "id"), ("io", "run"), ("kv", "run"), ("record", "id")):
        if orphans:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS orphan(id INTEGER PRIMARY KEY)")
            connection.executemany("INSERT OR IGNORE INTO orphan VALUES(?)", orphans)
            connection.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT id FROM orphan)")  # noqa: S608  # names of ours
    if orphans:
        connection.execute("DROP TABLE orphan")


@dataclass(slots=True)
class _Writer:
    """Turns records into rows; keeps the numbers of what recurs, and the rows of one source until they are written together."""

    connection: Connection
    records: Records
    _numbers: dict[tuple[str, Any], int] = field(default_factory=dict)
    _pending: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def add_source(self, name: str, lines: Iterable[Line]) -> None:
        """Reads one batch. One that could not be read at all is no source: it is tried again the next time."""
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
                f"{len(problems)} of {count} records in run batch {name[:8]} are passed over; the first: {problems[0]}"
            )
        if not count:
            self.connection.execute("DELETE FROM source WHERE id = ?", (source,))

    def add(self, source: int, line: Line) -> None:
        """Reads one record; raises FormatError for one that this dvlite does not know."""
        digest = digest_run(line.data)
        known = self.connection.execute("SELECT id FROM record WHERE digest = ?", (digest,)).fetchone()
        number = known[0] if known else self._new_record(digest, line.data)
        row = (number, source, line.frame, line.frame_bytes, line.start, len(line.data))
        self._later("INSERT OR IGNORE INTO place VALUES(?,?,?,?,?,?)", row)

    def flush(self) -> None:
        """Writes the rows that are waiting."""
        for sql, waiting in self._pending.items():
            self.connection.executemany(sql, waiting)
        self._pending.clear()

    def _new_record(self, digest: bytes, data: bytes) -> int:
        found = record.parse(data, f"run record {digest.hex()[:8]}")
        number = self._free(schema.number(found.id), digest)
        self.connection.execute("INSERT INTO record VALUES(?,?,?)", (number, digest, found.project))
        if isinstance(found, Run):
            self._add_run(number, found)
        else:
            self._add_note(number, found)
        return number

    def _free(self, first: int, digest: bytes) -> int:
        """Returns a number that no record has: the first, or one soon after it; few looks, however many ids begin alike."""
        number, spread = first, 1
        while self.connection.execute("SELECT 1 FROM record WHERE id = ?", (number,)).fetchone():
            spread = min(2 * spread, _MOST_NUMBER)
            number = (first + 1 + int.from_bytes(digest[:8], "big") % spread) & _MOST_NUMBER
        return number

    def _add_run(self, number: int, found: Run) -> None:
        self._later("INSERT INTO run VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)", (number, *schema.run_row(found)))
        for item in schema.contents(found):
            content = self._number("obj", (item.digest, item.directory), "digest, directory")
            path = self._number("path", (item.path,), "path")
            row = (number, item.output, path, content, item.size_bytes, item.files)
            self._later("INSERT OR IGNORE INTO io VALUES(?,?,?,?,?,?)", row)
            if item.sha256 is not None:
                self._later("INSERT OR IGNORE INTO sha VALUES(?,?)", (item.sha256, content))
        for space, key, value in schema.values(found):
            name = self._number("name", (space, key), "ns, k")
            self._later("INSERT OR IGNORE INTO kv VALUES(?,?,?)", (name, number, value))

    def _add_note(self, number: int, found: Note) -> None:
        self._later("INSERT INTO note VALUES(?,?,?,?,?,?,?,?,?,?)", (number, *schema.note_row(found)))

    def _later(self, sql: str, row: tuple[Any, ...]) -> None:
        self._pending.setdefault(sql, []).append(row)

    def _number(self, table: str, values: tuple[Any, ...], columns: str) -> int:
        """Returns the number of something that recurs, giving it one the first time."""
        key = (table, values)
        number = self._numbers.get(key)
        if number is None:
            marks = ",".join("?" * len(values))
            same = " AND ".join(f"{column} = ?" for column in columns.split(", "))
            found = self.connection.execute(f"SELECT id FROM {table} WHERE {same}", values).fetchone()  # noqa: S608
            number = (
                found[0]
                if found
                else self.connection.execute(
                    f"INSERT INTO {table}({columns}) VALUES({marks})",  # names of ours, as above
                    values,
                ).lastrowid
            )
            if len(self._numbers) >= _MOST_KEPT:
                self._numbers.clear()
            self._numbers[key] = number
        return number
