"""What the index keeps of the records: its tables, and how a record becomes rows. Pure: knows no database and no folder.

A record's number is made of the time in its UUIDv7, so that numbers sort as records were made and the newest runs are the last rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dvlite.formats.record import Note, Run
from dvlite.oid import MANIFEST, RUN, Oid, format_oid

VERSION = 2  # of the tables: an index of another version is made anew
INPUT, OUTPUT, HOLDER = 0, 1, 2  # a holder is a directory that had an input inside when the run began
LOOSE = 0  # the source that stands for the loose files
PARAM, METRIC, ENV = "param", "metric", "env"
_BITS = 15  # below the milliseconds in a record's number

TABLES = """
CREATE TABLE source(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, unread INT NOT NULL);
CREATE TABLE record(id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, project TEXT NOT NULL);
CREATE TABLE place(record INT, source INT, frame INT, frame_bytes INT, start INT, length INT, PRIMARY KEY(record, source)) WITHOUT ROWID;
CREATE TABLE run(id INTEGER PRIMARY KEY, uuid TEXT, key BLOB, stage TEXT, file TEXT, status TEXT, start TEXT, seconds REAL, exit_code INT,
  code TEXT, dirty INT, origin BLOB, user TEXT, host TEXT);
CREATE TABLE obj(id INTEGER PRIMARY KEY, digest BLOB NOT NULL, directory INT NOT NULL, UNIQUE(digest, directory));
CREATE TABLE path(id INTEGER PRIMARY KEY, path NOT NULL UNIQUE);
CREATE TABLE io(run INT, output INT, path INT, obj INT, size INT, files INT, PRIMARY KEY(run, output, path)) WITHOUT ROWID;
CREATE TABLE sha(sha BLOB, obj INT, PRIMARY KEY(sha, obj)) WITHOUT ROWID;
CREATE TABLE name(id INTEGER PRIMARY KEY, ns TEXT NOT NULL, k NOT NULL, UNIQUE(ns, k));
CREATE TABLE kv(name INT, run INT, v, PRIMARY KEY(name, run)) WITHOUT ROWID;
CREATE TABLE note(id INTEGER PRIMARY KEY, run BLOB, op TEXT, value, time TEXT, user TEXT, content TEXT, subject, author, written TEXT);
INSERT INTO source VALUES(0, '', 0);
"""
INDEXES = """
CREATE INDEX place_source ON place(source);
CREATE INDEX run_uuid ON run(uuid);
CREATE INDEX run_key ON run(key, status, id);
CREATE INDEX run_stage ON run(stage, id);
CREATE INDEX run_stage_status ON run(stage, status, id);
CREATE INDEX run_status ON run(status, id);
CREATE INDEX run_code ON run(code, id);
CREATE INDEX obj_directory ON obj(id) WHERE directory;
CREATE INDEX io_obj ON io(obj, output, run, path);
CREATE INDEX kv_v ON kv(name, v, run);
CREATE INDEX note_run ON note(run, op, value);
CREATE INDEX note_value ON note(op, value, run);
CREATE INDEX note_content ON note(content) WHERE content IS NOT NULL;
"""


@dataclass(frozen=True, slots=True)
class RunRow:
    """What the index has of a run; `code` is the commit checked out, `origin` the run that a cached one took its outputs from."""

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


@dataclass(frozen=True, slots=True)
class NoteRow:
    """A note about a run: its text, when and by whom."""

    text: str
    time: str
    user: str


class Content(NamedTuple):
    """An object that a run read or wrote: as rows have it, before they are numbered. A holder's size is not known."""

    output: int
    path: str | bytes
    digest: bytes
    directory: int
    sha256: bytes | None
    size_bytes: int
    files: int


def number(uuid: str) -> int:
    """Returns the first number that a record of this id may have; the next ones follow it, should another record have it."""
    whole = int(uuid.replace("-", ""), 16)
    return (whole >> 80) << _BITS | (whole >> 64 & 0xFFF) << 3 | whole >> 59 & 7


def number_at(milliseconds: int) -> int:
    """Returns the least number of records made from this time on (unix time)."""
    return max(0, min(milliseconds, (1 << 48) - 1)) << _BITS


def run_row(found: Run) -> tuple[Any, ...]:
    """Returns the columns of `run`, but for its number."""
    return (
        found.id,
        bytes.fromhex(found.key),
        stored_text(found.stage),
        stored_text(found.file),
        found.status,
        found.start,
        float(found.seconds),
        found.exit_code,
        found.code.commit,
        int(bool(found.code.dirty or found.code.diff)),
        None if found.of is None else digest_of(found.of),
        stored_text(found.user),
        stored_text(found.host),
    )


RUN_COLUMNS = (
    "record.digest, run.uuid, run.stage, run.file, run.status, run.start, run.seconds, run.exit_code, run.code, run.dirty,"
    " run.origin, run.user, run.host"
)


def loaded_run(row: Sequence[Any]) -> RunRow:
    """Returns what RUN_COLUMNS say of a run."""
    digest, uuid, stage, file, status, start, seconds, exit_code, code, dirty, origin, user, host = row
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
    )


def note_row(found: Note) -> tuple[Any, ...]:
    """Returns the columns of `note`, but for its number."""
    said = (digest_of(found.run), found.op, stored_text(found.value), found.time, stored_text(found.user))
    return *said, found.content, stored_text(found.subject), stored_text(found.author), found.written


def contents(found: Run) -> Iterator[Content]:
    """Yields what a run read and wrote, and the directories that held what it read."""
    for item in found.inputs:
        yield _content(INPUT, item.path, item.oid, None, item.size_bytes, item.files)
        if item.inside is not None and item.inside_oid is not None:
            yield _content(HOLDER, item.inside, item.inside_oid, None, 0, 0)
    for made in found.outputs:
        yield _content(OUTPUT, made.path, made.oid, made.sha256, made.size_bytes, made.files)


def _content(output: int, path: str, oid: Oid, sha256: str | None, size_bytes: int, files: int) -> Content:
    digits = None if sha256 is None else bytes.fromhex(sha256)
    return Content(output, stored_text(path), digest_of(oid), oid.startswith(MANIFEST), digits, size_bytes, files)


def values(found: Run) -> Iterator[tuple[str, str | bytes, Any]]:
    """Yields namespace, key and value of everything that runs are chosen and compared by."""
    spaces: tuple[tuple[str, Mapping[str, Any]], ...] = (
        (PARAM, found.facts.params),
        (METRIC, found.metrics),
        (ENV, {**found.surroundings, **found.facts.env}),
    )
    for space, mapping in spaces:
        for key, value in mapping.items():
            yield space, stored_text(key), stored_value(value)


def digest_of(oid: Oid) -> bytes:
    """Returns the 32 bytes of an oid that has been checked."""
    return bytes.fromhex(oid[-64:])


def stored_text(text: str) -> str | bytes:
    """Returns a text as the database takes it: bytes where it holds some that are not UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def loaded_text(stored: str | bytes) -> str:
    """Returns the text again."""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogateescape")


def stored_value(value: Any) -> int | float | str:
    """Returns a number as it is, anything else as JSON: so numbers compare as numbers, and no text is one."""
    if type(value) is int and abs(value) < 1 << 63:
        return value
    return value if type(value) is float else json.dumps(value, sort_keys=True)


def loaded_value(stored: float | str) -> Any:
    """Returns the value again."""
    return json.loads(stored) if isinstance(stored, str) else stored
