"""The file in which W&B keeps all of a run, `run-ID.wandb`: a log of LevelDB's kind, of records in protocol buffers. Read only.

Source: wandb/core/pkg/leveldb/record.go, wandb/proto/wandb_internal.proto. Blocks of 32 KiB; a record is one piece or several, each with
its CRC-32 (zlib's, of the kind of piece and the bytes), length and kind. Only what a run record takes of it is decoded.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from dvlite.errors import FormatError
from dvlite.formats import protobuf

_MAGIC = b":W&B\xe1\xbe\x00"
_BLOCK_BYTES = 1 << 15
_PIECE = struct.Struct("<IHB")  # CRC, length, kind
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_LONGEST = 64 << 20  # a record that is longer is left out
_HISTORY, _SUMMARY, _CONFIG, _ARTIFACT, _RUN, _EXIT, _MACHINE = 2, 3, 5, 8, 17, 18, 26  # fields of a record


@dataclass(frozen=True, slots=True)
class WandbArtifactFile:
    """A file of an artifact; `digest` is base64 of its MD5, or an ETag of what `ref` names."""

    path: str
    size_bytes: int
    digest: str
    ref: str


@dataclass(slots=True)
class WandbRun:
    """What a log has of its run so far; `config` and `summary` by path of keys. `exit_code` None: it did not end, or not in order."""

    id: str = ""
    entity: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    notes: str = ""
    tags: tuple[str, ...] = ()
    sweep: str = ""
    host: str = ""
    start: float = 0.0
    git_url: str = ""
    git_commit: str = ""
    exit_code: int | None = None
    runtime: int | None = None
    machine: dict[str, Any] = field(default_factory=dict)  # by the keys of W&B's own `wandb-metadata.json`
    config: dict[tuple[str, ...], Any] = field(default_factory=dict)
    summary: dict[tuple[str, ...], Any] = field(default_factory=dict)
    artifacts: list[WandbArtifactFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


Row = Mapping[tuple[str, ...], Any]  # one step of the history: values by path of keys


def read(file: BinaryIO, run: WandbRun) -> Iterator[tuple[int | None, Row]]:
    """Yields the history, step by step, and fills in the run meanwhile; it is complete at the end.

    A last record that is cut off is left out: the run goes on, or was killed. What is damaged is a problem of the run, and reading goes on
    at the next block. Raises FormatError for a file of another kind.
    """
    for data in _records(file, run.problems):
        try:
            for number, place in protobuf.fields(data, 0, len(data)):
                if isinstance(place, slice):
                    if number == _HISTORY:
                        yield _history(data, place)
                    elif number in _READERS:
                        _READERS[number](data, place, run)
        except (IndexError, struct.error, ValueError, RecursionError):
            _note(run.problems, "a record in it cannot be read")


def _records(file: BinaryIO, problems: list[str]) -> Iterator[bytes]:
    """Yields the bytes of each record whose pieces are whole."""
    parts: list[bytes] = []
    size_bytes, begun, start = 0, False, len(_MAGIC)
    block = file.read(_BLOCK_BYTES)
    if block[: len(_MAGIC)] != _MAGIC:
        raise FormatError("it is no run file of W&B")
    while block:
        at = start
        start = 0
        while at + _PIECE.size <= len(block):
            crc, length, kind = _PIECE.unpack_from(block, at)
            piece = block[at + _PIECE.size : at + _PIECE.size + length]
            if kind == 0 and length == 0:  # the rest of the block was never written
                break
            if len(piece) < length and len(block) < _BLOCK_BYTES:  # the end of a file that is still written
                return
            if (
                len(piece) < length
                or not _WHOLE <= kind <= _LAST
                or zlib.crc32(piece, zlib.crc32(bytes((kind,)))) != crc
            ):
                _note(problems, "a part of it is damaged")
                parts, begun = [], False
                break
            at += _PIECE.size + length
            if kind in (_WHOLE, _FIRST):
                parts, size_bytes, begun = [], 0, True
            size_bytes += length
            if begun and size_bytes <= _LONGEST:
                parts.append(piece)
            if kind in (_WHOLE, _LAST):
                if size_bytes > _LONGEST:
                    _note(problems, f"a record in it has more than {_LONGEST} bytes")
                elif begun:
                    yield b"".join(parts)
                parts, begun = [], False
        block = file.read(_BLOCK_BYTES)


def _note(problems: list[str], problem: str) -> None:
    if problem not in problems:
        problems.append(problem)


# --- records


def _history(data: bytes, place: slice) -> tuple[int | None, Row]:
    step, row = None, {}
    for number, value in protobuf.fields(data, place.start, place.stop):
        if number == 1 and isinstance(value, slice):
            keys, content = _item(data, value)
            row[keys] = content
        elif number == 2 and isinstance(value, slice):
            step = next(
                (n for f, n in protobuf.fields(data, value.start, value.stop) if f == 1 and isinstance(n, int)), 0
            )
    return step, row


def _item(data: bytes, place: slice) -> tuple[tuple[str, ...], Any]:
    """Returns the path of keys and the value of an item of the history, the summary or the configuration."""
    keys: list[str] = []
    value = b""
    for number, part in protobuf.fields(data, place.start, place.stop):
        if isinstance(part, slice):
            if number in (1, 2):
                keys.append(data[part].decode("utf-8", "replace"))
            elif number == 16:
                value = data[part]
    try:
        return tuple(keys), json.loads(value.decode())
    except ValueError:
        return tuple(keys), None


def _changes(data: bytes, place: slice, values: dict[tuple[str, ...], Any]) -> None:
    """Applies the items that a summary or a configuration sets, and those that it removes."""
    for number, part in protobuf.fields(data, place.start, place.stop):
        if isinstance(part, slice):
            keys, value = _item(data, part)
            if number == 1:
                values[keys] = value
            elif number == 2:
                values.pop(keys, None)


def _text(data: bytes, place: slice) -> str:
    return data[place].decode("utf-8", "replace")


_NAMES = {1: "id", 2: "entity", 3: "project", 6: "group", 7: "job_type", 8: "name", 9: "notes", 12: "sweep", 13: "host"}


def _run(data: bytes, place: slice, run: WandbRun) -> None:
    tags: list[str] = []
    for number, part in protobuf.fields(data, place.start, place.stop):
        if not isinstance(part, slice):
            continue
        if number in _NAMES:
            setattr(run, _NAMES[number], _text(data, part))
        elif number == 4:
            _changes(data, part, run.config)
        elif number == 5:
            _changes(data, part, run.summary)
        elif number == 10:
            tags.append(_text(data, part))
        elif number == 17:
            parts = {f: n for f, n in protobuf.fields(data, part.start, part.stop) if isinstance(n, int)}
            run.start = parts.get(1, 0) + parts.get(2, 0) / 1e9
        elif number == 21:
            run.git_url, run.git_commit = _git(data, part)
    run.tags = tuple(tags)


def _git(data: bytes, place: slice) -> tuple[str, str]:
    git = {f: _text(data, n) for f, n in protobuf.fields(data, place.start, place.stop) if isinstance(n, slice)}
    return git.get(1, ""), git.get(2, "")


_MACHINE_KEYS = {1: "os", 2: "python", 6: "program", 7: "codePath", 10: "email", 12: "host", 13: "username", 18: "gpu"}


def _machine(data: bytes, place: slice, run: WandbRun) -> None:
    for number, part in protobuf.fields(data, place.start, place.stop):
        if isinstance(part, slice) and number in _MACHINE_KEYS:
            run.machine[_MACHINE_KEYS[number]] = _text(data, part)
        elif isinstance(part, slice) and number == 5:
            run.machine.setdefault("args", []).append(_text(data, part))
        elif isinstance(part, slice) and number == 9:
            run.git_url, run.git_commit = _git(data, part)


def _exit(data: bytes, place: slice, run: WandbRun) -> None:
    numbers = {f: n for f, n in protobuf.fields(data, place.start, place.stop) if isinstance(n, int)}
    code = numbers.get(1, 0)
    run.exit_code, run.runtime = code - (1 << 64) if code >> 63 else code, numbers.get(2)


def _artifact(data: bytes, place: slice, run: WandbRun) -> None:
    parts = {f: n for f, n in protobuf.fields(data, place.start, place.stop) if isinstance(n, slice)}
    manifest = parts.get(12)
    name = _text(data, parts[5]) if 5 in parts else ""
    for number, entry in protobuf.fields(data, manifest.start, manifest.stop) if manifest else ():
        if number == 4 and isinstance(entry, slice):
            texts: dict[int, str] = {}
            size_bytes = 0
            for inner, value in protobuf.fields(data, entry.start, entry.stop):
                if isinstance(value, slice):
                    texts[inner] = _text(data, value)
                elif inner == 4 and isinstance(value, int):
                    size_bytes = value
            path = "/".join(part for part in (name, texts.get(1, "")) if part)
            run.artifacts.append(WandbArtifactFile(path, size_bytes, texts.get(2, ""), texts.get(3, "")))


_READERS: Mapping[int, Callable[[bytes, slice, WandbRun], None]] = {
    _SUMMARY: lambda data, place, run: _changes(data, place, run.summary),
    _CONFIG: lambda data, place, run: _changes(data, place, run.config),
    _ARTIFACT: _artifact,
    _RUN: _run,
    _EXIT: _exit,
    _MACHINE: _machine,
}
