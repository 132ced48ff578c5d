"""The tables of the index, and how records become rows. Pure: knows no database and no folder.

A record's number is derived from the time in its UUIDv7, so that numbers sort by time and the newest runs are the last rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii  # as `dumps` writes a text, without the way there
from typing import Any, NamedTuple

from dvlite.formats.record import CheckRecord, Note, Run
from dvlite.oid import FILE, MANIFEST, RUN, Oid, format_oid

VERSION = 7  # of the tables: an index of another version is rebuilt
INPUT, OUTPUT, HOLDER = 0, 1, 2  # a holder is a directory that contained an input when the run started
LOOSE = 0  # the source of loose files
PARAM, METRIC, ENV = "param", "metric", "env"
IMPORTED = "imported"  # of the environment: what `imported_from` returns
HAS_OUTPUTS = ("ok", "cached", "asserted", "tainted")
"""Statuses of runs whose outputs are theirs: what is left of one that failed counts for nothing."""
WITH_OUTPUTS = str(HAS_OUTPUTS)  # as SQL has it
# Runs that wrote the content of the row of io that is filled in; `other` is one of them.
MAKERS = (
    f"FROM io other JOIN run maker ON maker.id = other.run AND maker.status IN {WITH_OUTPUTS}"
    " WHERE other.obj = {row}.obj AND other.output = 1 AND other.path = {row}.path"
)
# The run that wrote the content of the row `used`: the newest before the run that used it, else the first after it, for clocks differ.
MAKER_OF_USED = (
    f"ifnull((SELECT other.run {MAKERS.format(row='used')} AND other.run < used.run ORDER BY other.run DESC LIMIT 1),"
    f" (SELECT other.run {MAKERS.format(row='used')} AND other.run > used.run ORDER BY other.run LIMIT 1))"
)
_BITS = 15  # below the milliseconds in a record's number

TABLES = """
CREATE TABLE source(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, unread INT NOT NULL);
CREATE TABLE record(id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, project TEXT NOT NULL);
CREATE TABLE place(record INT, source INT, frame INT, frame_bytes INT, start INT, length INT, PRIMARY KEY(record, source)) WITHOUT ROWID;
CREATE TABLE run(id INTEGER PRIMARY KEY, uuid TEXT, key BLOB, stage TEXT, file TEXT, status TEXT, start TEXT, seconds REAL, exit_code INT,
  code TEXT, dirty INT, origin BLOB, user TEXT, host TEXT, sweep TEXT, base BLOB);
CREATE TABLE obj(id INTEGER PRIMARY KEY, digest BLOB NOT NULL, directory INT NOT NULL, UNIQUE(digest, directory));
CREATE TABLE path(id INTEGER PRIMARY KEY, path NOT NULL UNIQUE);
CREATE TABLE io(run INT, output INT, path INT, obj INT, size INT, files INT, PRIMARY KEY(run, output, path)) WITHOUT ROWID;
CREATE TABLE sha(sha BLOB, obj INT, PRIMARY KEY(sha, obj)) WITHOUT ROWID;
CREATE TABLE name(id INTEGER PRIMARY KEY, ns TEXT NOT NULL, k NOT NULL, UNIQUE(ns, k));
CREATE TABLE kv(name INT, run INT, v, PRIMARY KEY(name, run)) WITHOUT ROWID;
CREATE TABLE note(id INTEGER PRIMARY KEY, run BLOB, op TEXT, value, time TEXT, user TEXT, content TEXT, subject, author, written TEXT);
CREATE TABLE checked(id INT, digest BLOB, key BLOB NOT NULL, name TEXT, passed INT, expires TEXT, start TEXT, user,
  PRIMARY KEY(id, digest)) WITHOUT ROWID;
INSERT INTO source VALUES(0, '', 0);
"""
INDEXES = """
CREATE INDEX place_source ON place(source);
CREATE INDEX run_uuid ON run(uuid);
CREATE INDEX run_key ON run(key, status, id);
CREATE INDEX run_base ON run(base, id) WHERE base IS NOT NULL;
CREATE INDEX run_stage ON run(stage, id);
CREATE INDEX run_stage_status ON run(stage, status, id);
CREATE INDEX run_status ON run(status, id);
CREATE INDEX run_code ON run(code, id);
CREATE INDEX run_sweep ON run(sweep, id) WHERE sweep != '';
CREATE INDEX obj_directory ON obj(id) WHERE directory;
CREATE INDEX io_obj ON io(obj, output, run, path);
CREATE INDEX kv_v ON kv(name, v, run);
CREATE INDEX note_run ON note(run, op, value);
CREATE INDEX note_value ON note(op, value, run);
CREATE INDEX note_content ON note(content) WHERE content IS NOT NULL;
CREATE INDEX checked_key ON checked(key, id);
CREATE INDEX checked_digest ON checked(digest, id);
"""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in the index; `code` is the commit checked out, `origin` the run whose outputs a cached run reused."""

    oid: Oid
    id: str
    stage: str
    file: str
    status: str
    start: str
    seconds: float
    exit_code: int | None
    code: str | None
    dirty: bool
    origin: Oid | None
    user: str
    host: str
    sweep: str = ""


@dataclass(frozen=True, slots=True)
class NoteRow:
    """A note about a run: its text, time and author."""

    text: str
    time: str
    user: str


class Content(NamedTuple):
    """A row of `io` before path and object are numbered. A holder's size is unknown."""

    output: int
    path: str | bytes
    digest: bytes
    directory: int
    sha256: bytes | None
    size_bytes: int
    files: int


def number(uuid: str) -> int:
    """Returns the first number for a record with this id; if it is taken, a later one is used."""
    whole = int(uuid.replace("-", ""), 16)
    return (whole >> 80) << _BITS | (whole >> 64 & 0xFFF) << 3 | whole >> 59 & 7


def number_at(milliseconds: int) -> int:
    """Returns the least number of records from this unix time on."""
    return max(0, min(milliseconds, (1 << 48) - 1)) << _BITS


def run_row(run: Run) -> tuple[Any, ...]:
    """Returns the columns of `run` after its number."""
    return (
        run.id,
        bytes.fromhex(run.key),
        stored_text(run.stage),
        stored_text(run.file),
        run.status,
        run.start,
        float(run.seconds),
        run.exit_code,
        run.code.commit,
        int(bool(run.code.dirty or run.code.diff)),
        None if run.of is None else digest_of(run.of),
        stored_text(run.user),
        stored_text(run.host),
        run.sweep,
        None if run.mapped is None else bytes.fromhex(run.mapped.base),
    )


RUN_COLUMNS = (
    "record.digest, run.uuid, run.stage, run.file, run.status, run.start, run.seconds, run.exit_code, run.code, run.dirty,"
    " run.origin, run.user, run.host, run.sweep"
)


def loaded_run(row: Sequence[Any]) -> RunRow:
    """Returns a row of RUN_COLUMNS as a run."""
    digest, uuid, stage, file, status, start, seconds, exit_code, code, dirty, origin, user, host, sweep = row
    return RunRow(
        oid=format_oid(RUN, digest),
        id=uuid,
        stage=loaded_text(stage),
        file=loaded_text(file),
        status=status,
        start=start,
        seconds=seconds,
        exit_code=exit_code,
        code=code,
        dirty=bool(dirty),
        origin=None if origin is None else format_oid(RUN, origin),
        user=loaded_text(user),
        host=loaded_text(host),
        sweep=sweep,
    )


def note_row(note: Note) -> tuple[Any, ...]:
    """Returns the columns of `note` after its number."""
    return (
        digest_of(note.run),
        note.op,
        stored_text(note.value),
        note.time,
        stored_text(note.user),
        note.content,
        stored_text(note.subject),
        stored_text(note.author),
        note.written,
    )


@dataclass(frozen=True, slots=True)
class CheckRow:
    """The result of a check in the index: its name when it ran, until when a pass counts (empty: for ever), and from when and whom it is."""

    oid: Oid
    name: str
    passed: bool
    expires: str
    start: str
    user: str


def check_rows(result: CheckRecord) -> Iterator[tuple[Any, ...]]:
    """Yields the columns of `checked` after the number, for each content that was checked."""
    passed, user = int(result.status == "passed"), stored_text(result.user)
    for digest in {digest_of(item.oid) for item in result.data} or {b""}:
        yield digest, bytes.fromhex(result.key), result.check, passed, result.expires, result.start, user


def contents(run: Run) -> Iterator[Content]:
    """Yields the inputs and outputs of a run, and the directories that held its inputs."""
    for item in run.inputs:
        yield _content(INPUT, item.path, item.oid, None, item.size_bytes, item.files)
        if item.inside is not None and item.inside_oid is not None:
            yield _content(HOLDER, item.inside, item.inside_oid, None, 0, 0)
    for out in run.outputs:
        yield _content(OUTPUT, out.path, out.oid, out.sha256, out.size_bytes, out.files)


def _content(output: int, path: str, oid: Oid, sha256: str | None, size_bytes: int, files: int) -> Content:
    digits = None if sha256 is None else bytes.fromhex(sha256)
    return Content(output, stored_text(path), digest_of(oid), oid.startswith(MANIFEST), digits, size_bytes, files)


def values(run: Run) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Returns parameters, metrics and environment, each with its namespace."""
    source = {} if run.imported is None else {IMPORTED: imported_from(run.file, run.imported.id)}
    return (PARAM, run.params), (METRIC, run.metrics), (ENV, {**run.surroundings, **run.facts.env, **source})


def imported_from(program: str, source_id: str) -> str:
    """Returns the text by which an imported run is known again."""
    return f"{program} {source_id}"


def digest_of(oid: Oid) -> bytes:
    """Returns the 32 bytes of an oid that has been checked."""
    return bytes.fromhex(oid[-64:])


def object_id(digest: bytes, directory: int) -> Oid:
    """Returns the oid of a row of `obj`."""
    return format_oid(MANIFEST if directory else FILE, digest)


def stored_text(text: str) -> str | bytes:
    """Returns a text as the database stores it: as bytes if it is not valid UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def loaded_text(stored: str | bytes) -> str:
    """Reverts `stored_text`."""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogateescape")


def stored_value(value: Any) -> int | float | str:
    """Returns a number as it is, anything else as JSON: numbers compare as numbers, and a text never equals one."""
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    number: float = value
    return number if kind is float or (kind is int and abs(value) < 1 << 63) else json.dumps(value, sort_keys=True)


def loaded_value(stored: float | str) -> Any:
    """Reverts `stored_value`."""
    return json.loads(stored) if isinstance(stored, str) else stored
