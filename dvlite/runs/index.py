"""The index of the run records: an SQLite file derived from them. The owner of its connection.

`index.sqlite` in the records' folder is rebuilt if it is missing, damaged or of another version. Opening it updates it, at a cost
proportional to the new records. Tables and rows are in `schema`, filters in `filters`. Knows no terminal and no remote.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from dvlite import files
from dvlite.formats.record import CheckRecord, Run
from dvlite.formats.strict_yaml import Scalar
from dvlite.oid import RUN, Oid, digest_run, format_oid
from dvlite.runs import filters as search
from dvlite.runs import index_update, schema
from dvlite.runs.filters import Filters, SortOrder, SqlPart, keys_meant, prefix_bounds
from dvlite.runs.records import Records
from dvlite.runs.schema import CheckRow, NoteRow, RunRow, digest_of, loaded_text, loaded_value, object_id

NAME = "index.sqlite"
_BUSY_SECONDS = 10.0  # for another process to end its transaction
_NUMBERS_AT_ONCE = 5000  # in one query
_DIGESTS_AT_ONCE = 500  # arguments of one query
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{4,64}")
_CONTENT = (  # what the index says of records, in an order that does not depend on how it was made
    (
        "SELECT record.digest, uuid, key, stage, file, status, start, seconds, exit_code, code, dirty, origin, user, host, sweep, base"
        " FROM run JOIN record ON record.id = run.id ORDER BY record.digest"
    ),
    (
        "SELECT record.digest, name.ns, name.k, kv.v FROM kv JOIN name ON name.id = kv.name JOIN record ON record.id = kv.run"
        " ORDER BY 1, 2, 3"
    ),
    (
        "SELECT record.digest, io.output, path.path, obj.digest, io.size, io.files FROM io JOIN path ON path.id = io.path"
        " JOIN obj ON obj.id = io.obj JOIN record ON record.id = io.run ORDER BY 1, 2, 3"
    ),
    "SELECT record.digest, note.run, op, value, time, user FROM note JOIN record ON record.id = note.id ORDER BY 1",
    (
        "SELECT record.digest, checked.digest, key, name, passed, expires, checked.start, checked.user FROM checked"
        " JOIN record ON record.id = checked.id ORDER BY 1, 2"
    ),
)
_FROM_RUNS = "FROM run JOIN record ON record.id = run.id"


class RunIndex:
    """Queries on runs. A context manager; may be used from several threads."""

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
        """Returns the runs, ok or asserted, that have this stage key, newest first."""
        sql = f"SELECT record.digest {_FROM_RUNS} WHERE run.key = ? AND run.status IN ('ok', 'asserted') ORDER BY run.id DESC"
        return self._oids(sql, bytes.fromhex(key))

    def map_runs(self, base: str) -> list[Oid]:
        """Returns the runs of map stages that have this base (`MapRun.base`), newest first, whatever their status."""
        return self._oids(
            f"SELECT record.digest {_FROM_RUNS} WHERE run.base = ? ORDER BY run.id DESC", bytes.fromhex(base)
        )

    def run(self, oid: Oid) -> Run | None:
        """Returns a run's record, verified, or None if it is missing."""
        data = self.read_bytes(oid)
        record = None if data is None else self._records.parsed(data)
        return record if isinstance(record, Run) else None

    def environment_of(self, run: Run) -> Mapping[str, Scalar]:
        """Returns what a run ran in; where nothing ran, what the run had whose outputs were reused."""
        original = self.run(run.of) if run.status == "cached" and run.of is not None else None
        return run.environment if original is None else original.environment

    def read_bytes(self, oid: Oid) -> bytes | None:
        """Returns the bytes of a record, verified, or None if it is missing."""
        digest = digest_of(oid)
        data = self._records.read_loose(digest.hex())
        if data is not None:
            return data
        sql = (
            "SELECT source.name, frame, frame_bytes, start, length FROM place JOIN source ON source.id = place.source"
            " JOIN record ON record.id = place.record WHERE record.digest = ?"
        )
        places = self.select(sql, digest)
        for name, frame, frame_bytes, start, length in places:
            data = self._records.read_line(name, (frame, frame_bytes), start, length) if name else None
            if data is not None and digest_run(data) == digest:
                return data
        return self._records.read_bytes(oid) if places else None  # it moved since the index was opened, or is damaged

    def row(self, oid: Oid) -> RunRow | None:
        """Returns a run's row, or None if it is missing."""
        return next(iter(self._run_rows("WHERE record.digest = ?", digest_of(oid))), None)

    def named(self, text: str) -> list[Oid]:
        """Returns the runs that a name may stand for, newest first: `train-7f3a9c`, `run:<hex>`, 4 or more hex digits, or a UUID."""
        if _UUID.fullmatch(text):
            return self._oids(f"SELECT record.digest {_FROM_RUNS} WHERE run.uuid = ? ORDER BY run.id DESC", text)
        stage, dash, digits = text.removeprefix("run:").rpartition("-")
        if _HEX.fullmatch(digits) is None or (dash and not stage):
            return []
        wanted = search.stage_parts(stage) if dash else []
        wanted.append(SqlPart("record.digest BETWEEN ? AND ?", prefix_bounds(digits)))
        where, arguments = search.joined(wanted)
        return self._oids(f"SELECT record.digest {_FROM_RUNS} {where} ORDER BY run.id DESC", *arguments)

    def imported(self, program: str, source_id: str) -> list[Oid]:
        """Returns the records of a run of another program, the newest first; more than one if it went on between imports."""
        sql = (
            f"SELECT record.digest {_FROM_RUNS} JOIN kv ON kv.run = run.id WHERE kv.v = ?"  # noqa: S608  # constants only
            " AND kv.name = (SELECT id FROM name WHERE ns = ? AND k = ?) ORDER BY run.id DESC"
        )
        known_as = schema.stored_value(schema.imported_from(program, source_id))
        return self._oids(sql, known_as, schema.ENV, schema.IMPORTED)

    def find(self, filters: Filters) -> list[RunRow]:
        """Returns the runs that match, newest first."""
        where, arguments = search.joined(self._parts(filters))
        limit = "" if filters.limit is None else f" LIMIT {int(filters.limit)}"
        return self._run_rows(f"{where} ORDER BY run.id DESC{limit}", *arguments)

    def find_sorted(self, filters: Filters, order: SortOrder) -> list[RunRow]:
        """Returns the runs that match, sorted by a value; those without it come last."""
        by = self._keys(order.space, order.key)
        held = [each for each in filters.conditions if by and self._keys(each.space, each.key) == by]
        rest = replace(filters, conditions=[each for each in filters.conditions if each not in held])
        own = [search.held_in(each, by) for each in held]
        numbers = self._numbers(search.with_value(self._parts(rest), order, own), filters.limit)
        if filters.limit is None or len(numbers) < filters.limit:
            left = None if filters.limit is None else filters.limit - len(numbers)
            numbers += self._numbers(search.without_value(self._parts(filters), order), left)
        sql = f"SELECT run.id, {schema.RUN_COLUMNS} {_FROM_RUNS} WHERE run.id IN"
        rows = {number: schema.loaded_run(row) for number, *row in self.select_in(sql, numbers)}
        return [rows[number] for number in numbers if number in rows]

    def values(self, runs: Sequence[Oid], space: str) -> dict[Oid, dict[str, Any]]:
        """Returns the parameters (`param`), metrics or environment (`env`) of runs, by key."""
        numbers = self.numbers(runs)
        values = self.values_by_number([*numbers.values()], space)
        return {oid: values.get(numbers[oid], {}) if oid in numbers else {} for oid in runs}

    def values_by_number(self, numbers: Sequence[int], space: str) -> dict[int, dict[str, Any]]:
        """Does as `values`, for the numbers of runs; a run without values is left out."""
        values: dict[int, dict[str, Any]] = {}
        sql = "SELECT kv.run, name.k, kv.v FROM name CROSS JOIN kv ON kv.name = name.id WHERE name.ns = ? AND kv.run IN"
        for run, key, value in self.select_in(sql, numbers, space):
            values.setdefault(run, {})[loaded_text(key)] = loaded_value(value)
        return values

    def keys(self, space: str) -> list[str]:
        """Returns every key that any run has in `param`, `metric` or `env`."""
        return [loaded_text(k) for (k,) in self.select("SELECT k FROM name WHERE ns = ? ORDER BY id", space)]

    def stages(self) -> list[str]:
        """Returns the names of all stages that ran."""
        return [loaded_text(stage) for (stage,) in self.select("SELECT DISTINCT stage FROM run ORDER BY stage")]

    def files_of(self, stage: str) -> list[str]:
        """Returns the pipeline files whose stage of this name (as `named_stage` takes it) ran, sorted."""
        wanted = search.named_stage(stage)
        rows = self.select(f"SELECT DISTINCT file FROM run WHERE {wanted.sql}", *wanted.arguments)  # noqa: S608  # constants only
        return sorted(loaded_text(file) for (file,) in rows)

    def tagged(self, tag: str) -> list[Oid]:
        """Returns the runs that have a tag, newest first."""
        return [row.oid for row in self.find(Filters(tags=(tag,)))]

    def is_known(self, oid: Oid) -> bool:
        """Returns whether the index has a record (a run or a note)."""
        return bool(self.select("SELECT 1 FROM record WHERE digest = ?", digest_of(oid)))

    def count(self) -> int:
        """Returns the number of records (runs and notes)."""
        return int(self.select("SELECT count(*) FROM record")[0][0])

    def count_runs(self) -> int:
        """Returns the number of runs."""
        return int(self.select("SELECT count(*) FROM run")[0][0])

    def not_in(self, batches: Iterable[str], project: str) -> list[Oid]:
        """Returns the records of a project that none of these batches has, oldest first."""
        with self._lock:
            return list(map(_run_oid, index_update.not_in(self._connection, batches, project)))

    # --- notes ---

    def commits(self, runs: Sequence[Oid]) -> dict[Oid, list[str]]:
        """Returns the commits whose lockfiles name each run, as noted, oldest note first; runs without one are left out."""
        commits: dict[Oid, dict[str, None]] = {}
        sql = "SELECT run, value FROM note WHERE op = 'commit' AND run IN ({}) ORDER BY time, id"
        for run, commit in self.select_digests(sql, runs):
            commits.setdefault(_run_oid(run), {})[loaded_text(commit)] = None
        return {run: list(names) for run, names in commits.items()}

    def tags(self, run: Oid) -> list[str]:
        """Returns the tags that a run has, in the order in which it got them."""
        return self.tags_of([run]).get(run, [])

    def tags_of(self, runs: Sequence[Oid]) -> dict[Oid, list[str]]:
        """Does as `tags` for many runs; those without a tag are left out."""
        sql = "SELECT run, value, op FROM note WHERE op IN ('tag', 'untag') AND run IN ({}) ORDER BY time, id"
        tags: dict[bytes, dict[str, None]] = {}
        for run, tag, operation in self.select_digests(sql, runs):
            if operation == "untag":
                tags.get(run, {}).pop(loaded_text(tag), None)
            else:
                tags.setdefault(run, {}).setdefault(loaded_text(tag))
        return {_run_oid(run): list(names) for run, names in tags.items() if names}

    def latest_note_time(self, run: Oid) -> str:
        """Returns the time of the note that applies last, by the clock of its author; empty without one."""
        sql = "SELECT ifnull(max(time), '') FROM note WHERE run = ? AND op IN ('tag', 'untag', 'hide', 'unhide')"
        return str(self.select(sql, digest_of(run))[0][0])

    def notes(self, run: Oid) -> list[NoteRow]:
        """Returns the texts added to a run by `runs note`, oldest first."""
        return self.notes_of([run]).get(run, [])

    def notes_of(self, runs: Sequence[Oid]) -> dict[Oid, list[NoteRow]]:
        """Does as `notes` for many runs; those without a note are left out."""
        sql = "SELECT run, value, time, user FROM note WHERE op = 'note' AND run IN ({}) ORDER BY time, id"
        notes: dict[Oid, list[NoteRow]] = {}
        for run, text, time, user in self.select_digests(sql, runs):
            notes.setdefault(_run_oid(run), []).append(NoteRow(loaded_text(text), time, loaded_text(user)))
        return notes

    # --- checks ---

    def checks(self, keys: Iterable[str]) -> dict[str, CheckRow]:
        """Returns the newest result for each of these keys (64 hex), without those that have none."""
        rows = self._check_rows("key", [bytes.fromhex(key) for key in dict.fromkeys(keys)])
        return {digest.hex(): row for digest, row in rows}

    def checks_of(self, contents: Iterable[Oid]) -> dict[Oid, list[CheckRow]]:
        """Returns the newest result of each check (by its name) of these contents; those without one are left out."""
        by_digest = {digest_of(oid): oid for oid in contents}
        newest: dict[Oid, dict[str, CheckRow]] = {}
        for digest, row in self._check_rows("digest", list(by_digest)):
            newest.setdefault(by_digest[digest], {})[row.name] = row
        return {oid: [rows[name] for name in sorted(rows)] for oid, rows in newest.items()}

    def check_record(self, oid: Oid) -> CheckRecord | None:
        """Returns the result of a check, verified, or None if it is missing."""
        data = self.read_bytes(oid)
        record = None if data is None else self._records.parsed(data)
        return record if isinstance(record, CheckRecord) else None

    def _check_rows(self, column: str, wanted: Sequence[bytes]) -> Iterator[tuple[bytes, CheckRow]]:
        """Yields results with one of these values in a column, oldest first."""
        for at in range(0, len(wanted), _DIGESTS_AT_ONCE):
            part = wanted[at : at + _DIGESTS_AT_ONCE]
            sql = (
                f"SELECT checked.{column}, record.digest, name, passed, expires, start, user FROM checked"  # noqa: S608  # constants only
                f" JOIN record ON record.id = checked.id WHERE checked.{column} IN ({search.marks(part)}) ORDER BY checked.id"
            )
            for value, digest, name, passed, expires, start, user in self.select(sql, *part):
                yield value, CheckRow(_run_oid(digest), name, bool(passed), expires, start, loaded_text(user))

    # --- content ---

    def objects(self, digits: str) -> list[Oid]:
        """Returns the content that runs read or wrote whose hex digits start with `digits`."""
        sql = "SELECT digest, directory FROM obj WHERE digest BETWEEN ? AND ? ORDER BY digest"
        return [object_id(*row) for row in self.select(sql, *prefix_bounds(digits))]

    def by_sha256(self, digits: str) -> list[Oid]:
        """Returns the content that runs wrote whose SHA-256 starts with `digits`."""
        sql = "SELECT DISTINCT obj.digest, obj.directory FROM sha JOIN obj ON obj.id = sha.obj WHERE sha.sha BETWEEN ? AND ?"
        return [object_id(*row) for row in self.select(sql, *prefix_bounds(digits))]

    # --- SQL, for modules that know the tables ---

    def select(self, sql: str, *arguments: Any) -> list[Any]:
        """Returns the rows of a query."""
        try:
            with self._lock:
                return self._connection.execute(sql, arguments).fetchall()
        except sqlite3.DatabaseError as error:
            is_damaged = _is_damage(error)
        with self._lock:
            self._connection.close()
            self._connection = _renewed(self._records) if is_damaged else _in_memory(self._records)
            return self._connection.execute(sql, arguments).fetchall()

    def select_in(self, sql: str, numbers: Sequence[int], *arguments: Any) -> list[Any]:
        """Returns the rows of a query that ends with `IN`; row numbers are the index's own, so they stand in the SQL as they are."""
        rows: list[Any] = []
        for at in range(0, len(numbers), _NUMBERS_AT_ONCE):
            part = ",".join(map(str, numbers[at : at + _NUMBERS_AT_ONCE]))
            rows += self.select(f"{sql} ({part})", *arguments)
        return rows

    def select_digests(self, sql: str, oids: Sequence[Oid]) -> list[Any]:
        """Returns the rows of a query that has `{}` where the digests of these ids belong."""
        rows: list[Any] = []
        for at in range(0, len(oids), _DIGESTS_AT_ONCE):
            digests = [digest_of(oid) for oid in oids[at : at + _DIGESTS_AT_ONCE]]
            rows += self.select(sql.format(search.marks(digests)), *digests)
        return rows

    def numbers(self, records: Sequence[Oid]) -> dict[Oid, int]:
        """Returns the numbers that records have in this index; unknown ones are left out."""
        rows = self.select_digests("SELECT digest, id FROM record WHERE digest IN ({})", records)
        return {_run_oid(digest): number for digest, number in rows}

    def _run_rows(self, where: str, *arguments: Any) -> list[RunRow]:
        rows = self.select(f"SELECT {schema.RUN_COLUMNS} {_FROM_RUNS} {where}", *arguments)
        return [schema.loaded_run(row) for row in rows]

    def _parts(self, filters: Filters) -> list[SqlPart]:
        return search.parts(filters, self._keys, self._count)

    def _numbers(self, part: SqlPart, limit: int | None) -> list[int]:
        rows = self.select(f"{part.sql} LIMIT ?", *part.arguments, -1 if limit is None else limit)
        return [number for (number,) in rows]

    def _keys(self, space: str, key: str) -> list[int]:
        """Returns the numbers of the keys that a word may stand for."""
        rows = self.select("SELECT id, k FROM name WHERE ns = ?", space)
        numbers = {loaded_text(name): number for number, name in rows}
        return [numbers[name] for name in keys_meant(key, numbers)]

    def _count(self, part: SqlPart, most: int) -> int:
        return int(self.select(f"SELECT count(*) FROM ({part.sql} LIMIT ?)", *part.arguments, most)[0][0])  # noqa: S608

    def _oids(self, sql: str, *arguments: Any) -> list[Oid]:
        return [_run_oid(digest) for (digest,) in self.select(sql, *arguments)]


def is_derived(records: Records) -> bool:
    """Returns whether the index on disk says what one made of the records now says; one that is not there is right."""
    path = records.folder / NAME
    if not path.exists():
        return True
    try:
        connection = _connected(path)
        if connection is None:  # of another version: the next command builds it
            return True
        with contextlib.closing(connection), contextlib.closing(_in_memory(records)) as fresh:
            if not index_update.is_current(connection, records):  # the next command updates it
                return bool(connection.execute("PRAGMA quick_check").fetchone()[0] == "ok")
            return all(_same_rows(connection, fresh, sql) for sql in _CONTENT)
    except (sqlite3.DatabaseError, OSError):
        return False


def _same_rows(one: sqlite3.Connection, other: sqlite3.Connection, sql: str) -> bool:
    return all(a == b for a, b in itertools.zip_longest(one.execute(sql), other.execute(sql)))


def forget(records: Records) -> None:
    """Takes the index out of the way, so that the next command builds it again."""
    for path in (records.folder / NAME, records.folder / f"{NAME}-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, records.folder / f"{path.name}-damaged")


def open_index(records: Records) -> RunIndex:
    """Opens the index of these records, up to date except for records that another process is adding right now.

    If the folder cannot be written, the index is built in memory.
    """
    if not records.folder.is_dir():
        return RunIndex(records, _in_memory(records))
    connection = None
    try:
        with contextlib.suppress(sqlite3.DatabaseError):
            connection = _connected(records.folder / NAME)
        if connection is not None and index_update.is_current(connection, records):
            return RunIndex(records, connection)
        with index_update.updating(records, wait=connection is None) as alone:
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
    """Opens the index; None if it is missing or of another version."""
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
    """Updates the file, or builds it; the caller holds the lock."""
    connection = None
    with contextlib.suppress(sqlite3.DatabaseError):
        connection = _connected(records.folder / NAME)
    if connection is None:
        return _rebuilt(records)
    connection.execute("BEGIN IMMEDIATE")
    index_update.refresh(connection, records)
    connection.execute("COMMIT")
    return connection


def _rebuilt(records: Records) -> sqlite3.Connection:
    """Builds the index under another name and renames it when it is complete."""
    path, new = records.folder / NAME, records.folder / f"{NAME}-new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        _fill(connection, records)
    finally:
        connection.close()
    files.sync_path(new)
    for old in (path, Path(f"{path}-journal")):  # the journal of the old one must never be applied to the new one
        with contextlib.suppress(FileNotFoundError):
            os.unlink(old)
    os.replace(new, path)
    reopened = _connected(path)
    if reopened is None:
        raise OSError(f"cannot open {path}")
    return reopened


def _renewed(records: Records) -> sqlite3.Connection:
    """Replaces a damaged index; builds one in memory if the file cannot be written."""
    try:
        with index_update.updating(records, wait=True):
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
    index_update.refresh(connection, records)
    for statement in schema.INDEXES.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    connection.execute("COMMIT")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DAMAGE


def _run_oid(digest: bytes) -> Oid:
    return format_oid(RUN, digest)
