"""Batches of run records: many records in one write-once object (docs/reference/formats/run-batch.md).

A batch is zstd frames of canonical JSON lines, the first line a header with a nonce; its name is the BLAKE3 of its bytes. Any zstd
program prints it. Frames are small, and a table at the end says which records are in which of them, so that a few are read without the
others. Owns zstandard, with `pack`. Knows no folder, no remote and nothing of what a record says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import zstandard

from dvlite.errors import ObjectCorrupt
from dvlite.formats import record, strict_json
from dvlite.oid import Digest, digest_bytes, digest_run

FOLDER = "runs/"
VERSION = 1
MAX_BYTES = 64 << 20  # stored
MAX_RAW_BYTES = 64 << 20
TARGET_RAW_BYTES = 32 << 20  # a writer begins another batch here
_FRAME_BYTES = 256 << 10  # raw: one record is read in 0.1 ms; 4 MiB frames save 2 % and take 1 ms
_MAX_FRAMES = 1024
_MAX_FAILURES = 64
_MAX_LINES = 1 << 19
_MAX_FRAME_BYTES = _FRAME_BYTES + record.MAX_BYTES
_MAX_WINDOW_BYTES = 8 << 20
_LEVEL = 1  # 20,000 records with ids of their own: 6.3 MB of 39.3 MB; level 9 saves 2 % and is 4x slower


_TABLE = b"\x50\x2a\x4d\x18"  # a frame that zstd programs skip (RFC 8878, 3.1.2)
_PREFIX_BYTES = 8  # of a digest, in the table: 100,000 records take 0.8 MB of it
_END_BYTES = 64 << 10  # of a batch, that are read for its table: all of a small one


class Line(NamedTuple):
    """One record in a batch, newline included, and where it lies: its frame in the batch, and itself in the frame as it was."""

    data: bytes
    digest: Digest
    frame: int
    frame_bytes: int
    start: int


class Batch(NamedTuple):
    """A finished batch: 64 hex digits, and the bytes that they name."""

    name: str
    data: bytes


def encode(records: Iterable[bytes], nonces: Iterator[bytes]) -> Iterator[Batch]:
    """Yields the batches that hold these records, in order: mostly one. `nonces` yields 16 fresh random bytes for each."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True, write_checksum=True)
    frames: list[tuple[bytes, list[Digest]]] = []
    head, lines = b"", list[bytes]()
    in_frame = in_batch = 0

    def close() -> None:
        nonlocal head, lines, in_frame
        if lines:
            frames.append((compressor.compress(head + b"".join(lines)), list(map(digest_run, lines))))
        head, lines, in_frame = b"", [], 0

    for line in records:
        if in_batch and in_batch + len(line) > TARGET_RAW_BYTES:
            close()
            yield _finish(frames)
            frames, in_batch = [], 0
        if not in_batch:
            head, in_batch = _header(next(nonces)), 1
        lines.append(line)
        in_frame += len(line)
        in_batch += len(line)
        if in_frame >= _FRAME_BYTES:
            close()
    close()
    if frames:
        yield _finish(frames)


def name_of(data: bytes) -> str:
    """Returns the name of a batch, from its bytes."""
    return digest_bytes(data).hex()


def decode(data: bytes, where: str) -> Iterator[Line]:
    """Yields the lines of a batch, header left out; nothing is said of whether they are records.

    Holds one frame at a time, and never more than a frame may have, whatever the bytes claim. Raises ObjectCorrupt, also for a table
    that says anything else than the frames, or FormatError for a newer version.
    """
    decompressor, total = _decompressor(), 0
    first = next(_frame_ends(data, where), 0)
    _require_header(_inflated(decompressor, data[:first], where).partition(b"\n")[0] + b"\n", where)
    for frame in table(data, len(data), where):
        raw = _inflated(decompressor, data[frame.start : frame.end], where)
        total += len(raw)
        if total > MAX_RAW_BYTES:
            raise _corrupt(where, "it holds more than a batch may")
        if raw.count(b"\n") != len(frame.prefixes) + (not frame.start):
            raise _corrupt(where, _WRONG_TABLE)
        lines = list(_lines(raw, frame.start, frame.end - frame.start, where))[0 if frame.start else 1 :]
        if [line.digest[:_PREFIX_BYTES] for line in lines] != list(frame.prefixes):
            raise _corrupt(where, _WRONG_TABLE)
        yield from lines


def find(read: Callable[[int, int], bytes], size_bytes: int, wanted: AbstractSet[Digest], where: str) -> Iterator[Line]:
    """Yields those of the records wanted that the table of a batch has, each verified. `read` returns its bytes from one place to another.

    Reads the end, and then what lies from the first to the last frame with one of them: two requests, three for a very long table.
    Raises ObjectCorrupt.
    """
    start = max(0, size_bytes - max(_END_BYTES, size_bytes // 24))
    end = read(start, size_bytes)
    if (more := _table_bytes(end, where) - len(end)) > 0:
        end = read(max(0, start - more), start) + end
        start = size_bytes - len(end)
    prefixes = {digest[:_PREFIX_BYTES] for digest in wanted}
    frames = [frame for frame in table(end, size_bytes, where) if not prefixes.isdisjoint(frame.prefixes)]
    if not frames:
        return
    if frames[0].start < start:
        start, end = frames[0].start, read(frames[0].start, frames[-1].end)
    for frame in frames:
        raw = _inflated(_decompressor(), end[frame.start - start : frame.end - start], where)
        for line in _lines(raw, frame.start, frame.end - frame.start, where):
            if line.digest in wanted:
                yield line


class Frame(NamedTuple):
    """Where a frame lies in a batch, and the first bytes of the digests of its records, in order."""

    start: int
    end: int
    prefixes: tuple[bytes, ...]


def table(end: bytes, size_bytes: int, where: str) -> list[Frame]:
    """Returns the frames of a batch that is as long as given, from its end or all of it. Raises ObjectCorrupt."""
    length = _table_bytes(end, where)
    if length > len(end):
        raise _corrupt(where, "it is cut short")
    body = end[len(end) - length + 8 :]
    count, records = struct.unpack("<II", body[-8:])
    sizes = list(struct.iter_unpack("<II", body[-8 - 8 * count : -8]))
    prefixes = [prefix for (prefix,) in struct.iter_unpack(f"{_PREFIX_BYTES}s", body[: _PREFIX_BYTES * records])]
    frames: list[Frame] = []
    start = first = 0
    for size, lines in sizes:
        frames.append(Frame(start, start + size, tuple(prefixes[first : first + lines])))
        start, first = start + size, first + lines
    if start != size_bytes - length or first != records:
        raise _corrupt(where, _WRONG_TABLE)
    return frames


def _table_bytes(end: bytes, where: str) -> int:
    """Returns how long a table is, from its own end."""
    if len(end) < _LEAST_TABLE_BYTES:
        raise _corrupt(where, "it is cut short")
    frames, records = int.from_bytes(end[-8:-4], "little"), int.from_bytes(end[-4:], "little")
    length = 16 + 8 * frames + _PREFIX_BYTES * records
    if not 0 < frames <= _MAX_FRAMES or not records <= _MAX_LINES:
        raise _corrupt(where, _WRONG_TABLE)
    if length <= len(end) and end[-length : 8 - length] != _TABLE + struct.pack("<I", length - 8):
        raise _corrupt(where, _WRONG_TABLE)
    return length


def salvage(data: bytes, where: str) -> list[bytes]:
    """Returns the records in the frames of a damaged batch whose checksum is right; raises FormatError for a newer version.

    Gives up after a number of places that look like a frame and are none, and at what a batch may hold.
    """
    view, decompressor = memoryview(data), _decompressor()
    good: list[bytes] = []
    at = failures = total = 0
    while (at := data.find(zstandard.FRAME_HEADER, at)) >= 0 and failures < _MAX_FAILURES and total < MAX_RAW_BYTES:
        try:
            frame = bytes(view[at : at + next(_frame_ends(view[at : at + 2 * _MAX_FRAME_BYTES], where))])
            if not zstandard.get_frame_parameters(frame).has_checksum:
                raise _corrupt(where, "a part of it has no checksum")
            raw = _inflated(decompressor, frame, where)
        except ObjectCorrupt:
            failures += 1
            at += 1
            continue
        at += len(frame)
        total += len(raw)
        for line in _lines(raw, 0, 0, where):
            if line.data.startswith(b'{"dvlite_runs":'):
                _require_header(line.data, where)
            else:
                good.append(line.data)
    return good


def raw_size(data: bytes, where: str) -> int:
    """Returns how long the lines of a batch are together, as its frames declare; nothing is decompressed."""
    starts = [frame.start for frame in table(data, len(data), where)]
    return sum(zstandard.get_frame_parameters(data[start : start + 18]).content_size for start in starts)


def read_line(frame: bytes, start: int, length: int, where: str) -> bytes:
    """Returns one line from its frame; the caller checks that it is the one that was wanted."""
    return _inflated(_decompressor(), frame, where)[start : start + length]


def _header(nonce: bytes) -> bytes:
    return strict_json.dump({"dvlite_runs": VERSION, "nonce": nonce.hex()})


def _finish(frames: Sequence[tuple[bytes, Sequence[Digest]]]) -> Batch:
    """Adds the table: the first bytes of each digest; then how long each frame is and how many records it has; then how many of both there are."""
    parts = [digest[:_PREFIX_BYTES] for _, digests in frames for digest in digests]
    count = len(parts)
    parts += [struct.pack("<II", len(frame), len(digests)) for frame, digests in frames]
    body = b"".join(parts) + struct.pack("<II", len(frames), count)
    data = b"".join(frame for frame, _ in frames) + _TABLE + struct.pack("<I", len(body)) + body
    return Batch(name_of(data), data)


def _require_header(line: bytes, where: str) -> None:
    body = strict_json.parse(line, where, limit_bytes=4096)
    strict_json.require_version(body.get("dvlite_runs"), VERSION, f"cannot read {where}")


def _lines(raw: bytes, frame: int, frame_bytes: int, where: str) -> Iterator[Line]:
    if not raw.endswith(b"\n"):
        raise _corrupt(where, "a line in it is cut short")
    start = 0
    for part in raw.split(b"\n")[:-1]:
        data = part + b"\n"
        yield Line(data, digest_run(data), frame, frame_bytes, start)
        start += len(data)


def _decompressor() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)


def _inflated(decompressor: zstandard.ZstdDecompressor, frame: bytes, where: str) -> bytes:
    """Decompresses exactly one frame, whose declared length was looked at before any memory was taken for it."""
    try:
        declared = zstandard.get_frame_parameters(frame)
        if declared.dict_id or not 0 < declared.content_size <= _MAX_FRAME_BYTES:
            raise _corrupt(where, "it holds more than a batch may")
        return decompressor.decompress(frame, max_output_size=declared.content_size, allow_extra_data=False)
    except zstandard.ZstdError:
        raise _corrupt(where, "it cannot be decompressed") from None


def _frame_ends(data: bytes | memoryview, where: str) -> Iterator[int]:
    """Yields where each frame ends, from the headers of its blocks (RFC 8878, 3.1.1): zstandard does not report it."""
    offset = frames = 0
    while offset < len(data):
        frames += 1
        if frames > _MAX_FRAMES:
            raise _corrupt(where, "it has too many parts")
        try:
            head = data[offset : offset + 18]
            checksum = 4 if zstandard.get_frame_parameters(head).has_checksum else 0
            offset += zstandard.frame_header_size(head)
        except zstandard.ZstdError:
            raise _corrupt(where, "it is not a batch of run records") from None
        last = False
        while not last:
            block = int.from_bytes(data[offset : offset + 3], "little")
            last, kind = bool(block & 1), block >> 1 & 3
            offset += 3 + (1 if kind == 1 else block >> 3)  # a block of kind 1 is one byte, repeated
            if kind == 3 or offset > len(data):
                raise _corrupt(where, "it is cut short")
        offset += checksum
        yield offset


_WRONG_TABLE = "its table is wrong"
_LEAST_TABLE_BYTES = 8 + 8 + 8  # of one frame without a record


def _corrupt(where: str, reason: str) -> ObjectCorrupt:
    return ObjectCorrupt(f"{where} is damaged: {reason}", hint="to fetch a good copy: dvlite pull")
