"""Batches of run records: many records in one write-once object (docs/reference/formats/run-batch.md).

A batch is zstd frames of canonical JSON lines, the first line a header with a nonce; its name is the BLAKE3 of its bytes. Any zstd
program prints it. Frames are small, so that one record is read without the others. Owns zstandard, with `pack`. Knows no folder, no
remote and nothing of what a record says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import zstandard

from dvlite.errors import ObjectCorrupt
from dvlite.formats import record, strict_json
from dvlite.oid import digest_bytes

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


class Line(NamedTuple):
    """One record in a batch, newline included, and where it lies: its frame in the batch, and itself in the frame as it was."""

    data: bytes
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
    frames: list[bytes] = []
    lines: list[bytes] = []
    in_frame = in_batch = 0
    for line in records:
        if in_batch and in_batch + len(line) > TARGET_RAW_BYTES:
            yield _finish([*frames, compressor.compress(b"".join(lines))])
            frames, lines, in_frame, in_batch = [], [], 0, 0
        if not in_batch:
            lines, in_frame, in_batch = [_header(next(nonces))], 0, 1
        lines.append(line)
        in_frame += len(line)
        in_batch += len(line)
        if in_frame >= _FRAME_BYTES:
            frames.append(compressor.compress(b"".join(lines)))
            lines, in_frame = [], 0
    if in_batch:
        yield _finish(frames + ([compressor.compress(b"".join(lines))] if lines else []))


def name_of(data: bytes) -> str:
    """Returns the name of a batch, from its bytes."""
    return digest_bytes(data).hex()


def decode(data: bytes, where: str) -> Iterator[Line]:
    """Yields the lines of a batch, header left out; nothing is said of whether they are records.

    Holds one frame at a time, and never more than a frame may have, whatever the bytes claim. Raises ObjectCorrupt, or FormatError
    for a newer version.
    """
    decompressor = _decompressor()
    offset = total = count = 0
    for end in _frame_ends(data, where):
        raw = _inflated(decompressor, data[offset:end], where)
        total += len(raw)
        count += raw.count(b"\n")
        if total > MAX_RAW_BYTES or count > _MAX_LINES:
            raise _corrupt(where, "it holds more than a batch may")
        lines = _lines(raw, offset, end - offset, where)
        if not offset:
            _require_header(next(lines).data, where)
        yield from lines
        offset = end
    if not offset:
        raise _corrupt(where, "it is empty")


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
    starts = [0, *_frame_ends(data, where)][:-1]
    return sum(zstandard.get_frame_parameters(data[start : start + 18]).content_size for start in starts)


def read_line(frame: bytes, start: int, length: int, where: str) -> bytes:
    """Returns one line from its frame; the caller checks that it is the one that was wanted."""
    return _inflated(_decompressor(), frame, where)[start : start + length]


def _header(nonce: bytes) -> bytes:
    return strict_json.dump({"dvlite_runs": VERSION, "nonce": nonce.hex()})


def _finish(frames: Sequence[bytes]) -> Batch:
    data = b"".join(frames)
    return Batch(name_of(data), data)


def _require_header(line: bytes, where: str) -> None:
    body = strict_json.parse(line, where, limit_bytes=4096)
    strict_json.require_version(body.get("dvlite_runs"), VERSION, f"cannot read {where}")


def _lines(raw: bytes, frame: int, frame_bytes: int, where: str) -> Iterator[Line]:
    if not raw.endswith(b"\n"):
        raise _corrupt(where, "a line in it is cut short")
    start = 0
    for data in raw.split(b"\n")[:-1]:
        yield Line(data + b"\n", frame, frame_bytes, start)
        start += len(data) + 1


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


def _corrupt(where: str, reason: str) -> ObjectCorrupt:
    return ObjectCorrupt(f"{where} is damaged: {reason}", hint="to fetch a good copy: dvlite pull")
