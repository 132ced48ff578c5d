"""What is asked of the run records, answered by an SQLite file that is derived from them. The only owner of sqlite3.

`index.sqlite` in the records' folder may be deleted, damaged or of another version: it is made anew. It is brought up to date when it
is opened, at a cost proportional to what is new. Tables and rows are in `rows`, filters in `search`. Knows no terminal and no remote.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from dvlite import files
from dvlite.formats.record import Run
from dvlite.oid import FILE, MANIFEST, RUN, Oid, digest_run, format_oid, parse_oid
from dvlite.runs import filters as search
from dvlite.runs import index_update, schema
from dvlite.runs.filters import Filters, Order, SqlPart, prefix_bounds
from dvlite.runs.records import Records
from dvlite.runs.schema import INPUT, OUTPUT, NoteRow, RunRow, digest_of, loaded_text, loaded_value

NAME = "index.sqlite"
_BUSY_SECONDS = 10.0  # for another process to end its transaction
_MOST_MARKS = 500  # arguments of one query
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{4,64}")
_FROM_RUNS = "FROM run JOIN record ON record.id = run.id"


class RunIndex:
    """Answers about runs. A context manager; may be used from several threads."""

    def __init__(self, records: Records, connection: sqlite3.Connection) -> None:
        self._records = records
        self._connection = connection
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    # --- runs ---

    def ok_runs(self, key: str) -> list[Oid]:
        """Returns the runs of status ok that have this stage key, newest first."""
        sql = f"SELECT record.digest {_FROM_RUNS} WHERE run.key = ? AND run.status = 'ok' ORDER BY run.id DESC"
        return self._oids(sql, bytes.fromhex(key))

    def run(self, oid: Oid) -> Run | None:
        """Returns a run's record, verified, or None if there is none such here."""
        data = self.read_bytes(oid)
        found = None if data is None else self._records.parsed(data)
        return found if isinstance(found, Run) else None

    def read_bytes(self, oid: Oid) -> bytes | None:
        """Returns the bytes of a record, verified, or None if there is none such here."""
        digest = digest_of(oid)
        data = self._records.read_loose(digest.hex())
        if data is not None:
            return data
        sql = (
            "SELECT source.name, frame, frame_bytes, start, length FROM place JOIN source ON source.id = place.source"
            " JOIN record ON record.id = place.record WHERE record.digest = ?"
        )
        places = self._rows(sql, digest)
        for name, frame, frame_bytes, start, length in places:
            data = self._records.read_line(name, (frame, frame_bytes), start, length) if name else None
            if data is not None and digest_run(data) == digest:
                return data
        return self._records.read_bytes(oid) if places else None  # it moved since the index was opened, or is damaged

    def row(self, oid: Oid) -> RunRow | None:
        """Returns what the index has of a run."""
        return next(iter(self._run_rows("WHERE record.digest = ?", digest_of(oid))), None)

    def named(self, text: str) -> list[Oid]:
        """Returns the runs that people may mean, newest first: `train-7f3a9c`, `run:<hex>`, 4 or more hex digits, or a UUID."""
        if _UUID.fullmatch(text):
            return self._oids(f"SELECT record.digest {_FROM_RUNS} WHERE run.uuid = ? ORDER BY run.id DESC", text)
        stage, dash, digits = text.removeprefix("run:").rpartition("-")
        if _HEX.fullmatch(digits) is None or (dash and not stage):
            return []
        wanted = search.stage_parts(stage) if dash else []
        wanted.append(SqlPart("record.digest BETWEEN ? AND ?", prefix_bounds(digits)))
        where, arguments = search.joined(wanted)
        return self._oids(f"SELECT record.digest {_FROM_RUNS} {where} ORDER BY run.id DESC", *arguments)

    def find(self, filters: Filters) -> list[RunRow]:
        """Returns the runs that match, newest first."""
        where, arguments = search.joined(search.parts(filters, self._keys, self._count))
        limit = "" if filters.limit is None else f" LIMIT {int(filters.limit)}"
        return self._run_rows(f"{where} ORDER BY run.id DESC{limit}", *arguments)

    def find_sorted(self, filters: Filters, order: Order) -> list[RunRow]:
        """Returns the runs that match as they follow one another by a value; those that have none come last."""
        wanted = search.parts(filters, self._keys, self._count)
        found: list[RunRow] = []
        for part in search.sorted_parts(wanted, order):
            left = -1 if filters.limit is None else filters.limit - len(found)
            found += self._run_rows(f"{part.sql} LIMIT ?", *part.arguments, left)
        return found

    def values(self, runs: Sequence[Oid], space: str) -> dict[Oid, dict[str, Any]]:
        """Returns the parameters (`param`), metrics or surroundings (`env`) of runs, by key; those of many are read in one pass."""
        found: dict[Oid, dict[str, Any]] = {oid: {} for oid in runs}
        sql = "SELECT record.digest, name.k, kv.v FROM name CROSS JOIN kv ON kv.name = name.id CROSS JOIN record ON record.id = kv.run"
        for marks, part in self._numbers(runs):
            for digest, key, value in self._rows(f"{sql} WHERE name.ns = ? AND kv.run IN ({marks})", space, *part):
                found[_run_oid(digest)][loaded_text(key)] = loaded_value(value)
        return found

    def keys(self, space: str) -> list[str]:
        """Returns every key that any run has in `param`, `metric` or `env`."""
        return [loaded_text(k) for (k,) in self._rows("SELECT k FROM name WHERE ns = ? ORDER BY id", space)]

    def stages(self) -> list[str]:
        """Returns the names of all stages that ran."""
        return [loaded_text(stage) for (stage,) in self._rows("SELECT DISTINCT stage FROM run ORDER BY stage")]

    def files_of(self, stage: str) -> list[str]:
        """Returns the pipeline files whose stage of this name ran, sorted."""
        found = self._rows("SELECT DISTINCT file FROM run WHERE stage = ?", schema.stored_text(stage))
        return sorted(loaded_text(file) for (file,) in found)

    def tagged(self, tag: str) -> list[Oid]:
        """Returns the runs that have a tag now, newest first."""
        return [row.oid for row in self.find(Filters(tags=(tag,)))]

    def inputs(self, runs: Sequence[Oid], kind: int = INPUT) -> dict[Oid, dict[str, Oid]]:
        """Returns the path and content of each input of runs; with HOLDER, of the directories that inputs lay in."""
        found: dict[Oid, dict[str, Oid]] = {oid: {} for oid in runs}
        sql = (
            "SELECT record.digest, path.path, obj.digest, obj.directory FROM io JOIN record ON record.id = io.run"
            " JOIN path ON path.id = io.path JOIN obj ON obj.id = io.obj WHERE io.output = ? AND io.run IN"
        )
        for marks, part in self._numbers(runs):
            for digest, path, content, directory in self._rows(f"{sql} ({marks})", kind, *part):
                found[_run_oid(digest)][loaded_text(path)] = _oid(content, directory)
        return found

    def is_known(self, oid: Oid) -> bool:
        """Says whether a record (a run or a note) is here."""
        return bool(self._rows("SELECT 1 FROM record WHERE digest = ?", digest_of(oid)))

    def count(self) -> int:
        """Returns how many records (runs and notes) are here."""
        return int(self._rows("SELECT count(*) FROM record")[0][0])

    def count_runs(self) -> int:
        """Returns how many runs are here."""
        return int(self._rows("SELECT count(*) FROM run")[0][0])

    def not_in(self, batches: Iterable[str], project: str) -> list[Oid]:
        """Returns the records of a project that none of these batches has, oldest first."""
        with self._lock:
            return list(map(_run_oid, index_update.not_in(self._connection, batches, project)))

    def only_in(self, batches: Iterable[str]) -> int:
        """Returns how many records are in these batches and nowhere else."""
        with self._lock:
            return index_update.only_in(self._connection, batches)

    def redundant(self, batches: Iterable[str]) -> list[str]:
        """Returns the other batches all of whose records these have."""
        with self._lock:
            return index_update.redundant(self._connection, batches)

    # --- what was said of them ---

    def commits(self, run: Oid) -> list[str]:
        """Returns the commits whose lockfiles name a run, as noted, oldest note first."""
        return list(dict.fromkeys(note.text for note in self._notes(run, "commit")))

    def tags(self, run: Oid) -> list[str]:
        """Returns the tags that a run has now, in the order in which it got them."""
        sql = "SELECT value, op FROM note WHERE run = ? AND op IN ('tag', 'untag') ORDER BY time, id"
        found: dict[str, None] = {}
        for tag, operation in self._rows(sql, digest_of(run)):
            if operation == "untag":
                found.pop(loaded_text(tag), None)
            else:
                found.setdefault(loaded_text(tag))
        return list(found)

    def notes(self, run: Oid) -> list[NoteRow]:
        """Returns the texts that were noted of a run, oldest first."""
        return self._notes(run, "note")

    # --- content ---

    def makers(self, oid: Oid) -> list[tuple[Oid, str]]:
        """Returns the runs (ok, cached, tainted) that left this content, and under which path; newest first."""
        return self._ends(oid, OUTPUT, " AND run.status IN ('ok', 'cached', 'tainted')")

    def users(self, oid: Oid) -> list[tuple[Oid, str]]:
        """Returns the runs that began with this content, and under which path; newest first."""
        return self._ends(oid, INPUT, "")

    def objects(self, digits: str) -> list[Oid]:
        """Returns the content that runs read or wrote whose hex digits start so."""
        sql = "SELECT digest, directory FROM obj WHERE digest BETWEEN ? AND ? ORDER BY digest"
        return [_oid(*row) for row in self._rows(sql, *prefix_bounds(digits))]

    def by_sha256(self, digits: str) -> list[Oid]:
        """Returns the content that runs wrote whose SHA-256 starts so."""
        sql = "SELECT DISTINCT obj.digest, obj.directory FROM sha JOIN obj ON obj.id = sha.obj WHERE sha.sha BETWEEN ? AND ?"
        return [_oid(*row) for row in self._rows(sql, *prefix_bounds(digits))]

    # --- how it is asked ---

    def select(self, sql: str, *arguments: Any) -> list[Any]:
        """Returns the rows of a query of whoever knows the tables: `lookups`."""
        return self._rows(sql, *arguments)

    def _ends(self, oid: Oid, output: int, where: str) -> list[tuple[Oid, str]]:
        kind, digest = parse_oid(oid)
        sql = (
            "SELECT record.digest, path.path FROM obj JOIN io ON io.obj = obj.id AND io.output = ? JOIN run ON run.id = io.run"
            " JOIN record ON record.id = run.id JOIN path ON path.id = io.path WHERE obj.digest = ? AND obj.directory = ?"
        )
        found = self._rows(f"{sql}{where} ORDER BY run.id DESC, path.path", output, digest, int(kind == MANIFEST))
        return [(_run_oid(run), loaded_text(path)) for run, path in found]

    def _notes(self, run: Oid, operation: str) -> list[NoteRow]:
        sql = "SELECT value, time, user FROM note WHERE run = ? AND op = ? ORDER BY time, id"
        found = self._rows(sql, digest_of(run), operation)
        return [NoteRow(loaded_text(text), at, loaded_text(user)) for text, at, user in found]

    def _run_rows(self, where: str, *arguments: Any) -> list[RunRow]:
        found = self._rows(f"SELECT {schema.RUN_COLUMNS} {_FROM_RUNS} {where}", *arguments)
        return [schema.loaded_run(row) for row in found]

    def _keys(self, space: str, key: str) -> list[int]:
        """Returns the numbers of the keys that people mean: all of it, what follows the file, or the last words of it."""
        names = [(number, loaded_text(k)) for number, k in self._rows("SELECT id, k FROM name WHERE ns = ?", space)]
        for end in ("", ":", "."):
            found = [number for number, k in names if (k.endswith(end + key) if end else k == key)]
            if found:
                return found
        return []

    def _count(self, part: SqlPart, most: int) -> int:
        return len(self._rows(f"{part.sql} LIMIT ?", *part.arguments, most))

    def _numbers(self, runs: Sequence[Oid]) -> Iterator[tuple[str, list[int]]]:
        """Yields the numbers of runs, so many at a time that a query takes them, and the marks for them."""
        for start in range(0, len(runs), _MOST_MARKS):
            digests = [digest_of(oid) for oid in runs[start : start + _MOST_MARKS]]
            found = self._rows(f"SELECT id FROM record WHERE digest IN ({search.marks(digests)})", *digests)  # noqa: S608
            yield search.marks(found), [number for (number,) in found]

    def _oids(self, sql: str, *arguments: Any) -> list[Oid]:
        return [_run_oid(digest) for (digest,) in self._rows(sql, *arguments)]

    def _rows(self, sql: str, *arguments: Any) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(sql, arguments).fetchall()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
        with self._lock:
            self._connection.close()
            self._connection = _renewed(self._records)
            return self._connection.execute(sql, arguments).fetchall()


def open_index(records: Records) -> RunIndex:
    """Opens the index of these records, up to date but for what another process is adding right now.

    Where nothing can be written, one is made in memory.
    """
    if not records.folder.is_dir():
        return RunIndex(records, _in_memory(records))
    connection = None
    try:
        with contextlib.suppress(sqlite3.DatabaseError):
            connection = _connected(records.folder / NAME)
        if connection is not None and index_update.is_current(connection, records):
            return RunIndex(records, connection)
        with index_update.updating(records.folder, wait=connection is None) as alone:
            if not alone and connection is not None:
                return RunIndex(records, connection)
            if connection is not None:
                connection.close()
            return RunIndex(records, _updated(records))
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        return RunIndex(records, _renewed(records) if _is_damage(error) else _in_memory(records))
    except OSError:
        return RunIndex(records, _in_memory(records))


def _connected(path: Path) -> sqlite3.Connection | None:
    """Opens an index of our version; None if there is none."""
    if not path.is_file():
        return None
    mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION:
            return connection
    except sqlite3.DatabaseError:
        connection.close()
        raise
    connection.close()
    return None


def _updated(records: Records) -> sqlite3.Connection:
    """Brings the file up to date, or makes it; whoever calls holds the lock."""
    connection = None
    with contextlib.suppress(sqlite3.DatabaseError):
        connection = _connected(records.folder / NAME)
    if connection is None:
        return _rebuilt(records)
    connection.execute("BEGIN IMMEDIATE")
    index_update.update(connection, records)
    connection.execute("COMMIT")
    return connection


def _rebuilt(records: Records) -> sqlite3.Connection:
    """Makes the index anew under another name; only when it is whole does it take its place."""
    path, made = records.folder / NAME, records.folder / f"{NAME}-new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(made)
    connection = sqlite3.connect(made, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        _fill(connection, records)
    finally:
        connection.close()
    files.sync_path(made)
    for old in (path, Path(f"{path}-journal")):  # the journal of the old one must never be applied to the new one
        with contextlib.suppress(FileNotFoundError):
            os.unlink(old)
    os.replace(made, path)
    found = _connected(path)
    if found is None:
        raise OSError(f"cannot open {path}")
    return found


def _renewed(records: Records) -> sqlite3.Connection:
    """Replaces a damaged index; makes one in memory where that cannot be."""
    try:
        with index_update.updating(records.folder, wait=True):
            return _rebuilt(records)
    except (OSError, sqlite3.DatabaseError):
        return _in_memory(records)


def _in_memory(records: Records) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _fill(connection, records)
    return connection


def _fill(connection: sqlite3.Connection, records: Records) -> None:
    connection.execute("BEGIN")
    for statement in schema.TABLES.split(";\n"):
        connection.execute(statement)
    index_update.update(connection, records)
    for statement in schema.INDEXES.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    connection.execute("COMMIT")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DAMAGE


def _run_oid(digest: bytes) -> Oid:
    return format_oid(RUN, digest)


def _oid(digest: bytes, directory: int) -> Oid:
    return format_oid(MANIFEST if directory else FILE, digest)
