"""Packs: write-once containers of records (docs/reference/formats/pack.md).

A pack is a header with 16 random bytes, self-describing records, a footer table and the footer's length; its name is the BLAKE3 of all of
it, so no name is ever used twice. The footer can be rebuilt by reading the records. What is whole and not known was written by a later
dvlite. Owns zstandard. Knows no files and no stores.
"""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import zstandard

from dvlite.errors import LaterVersion, ObjectCorrupt
from dvlite.oid import (
    DIGEST_BYTES,
    FILE,
    MANIFEST,
    RUN,
    SNAPSHOT,
    Buffer,
    Digest,
    digest_bytes,
    digest_manifest,
    digest_run,
    digest_snapshot,
)

META, FILES, CHUNKS = 1, 2, 3  # classes: what a pack may hold
KIND_FILE, KIND_CHUNK, KIND_MANIFEST, KIND_RECIPE, KIND_LOG, KIND_RUN, KIND_SNAPSHOT, KIND_PART = range(1, 9)
RAW, ZSTD = 0, 1  # codecs
KINDS, CODECS = frozenset(range(KIND_FILE, KIND_PART + 1)), frozenset((RAW, ZSTD))  # others are of a later dvlite
TARGET_BYTES = 32 * 1024 * 1024
MAX_RECORD_BYTES = 16 * 1024 * 1024  # raw length of one record
MAX_PACK_BYTES = 80 * 1024 * 1024
NONCE_BYTES = 16
# Trying costs 0.45 s of CPU for each GiB of noise; what follows a run of it loses 7 records at most.
_NOISE_RECORDS, _TRIED_OF_NOISE = 16, 8
_NOISE_GAIN = 32  # what saves less than this fraction is noise

_MAGIC, _RECORD_MAGIC, _END_MAGIC = b"DVLPACK1", b"DVr1", b"DVLPEND1"
_HEADER = struct.Struct("<8sB7s16s")  # magic, class, zero, nonce
_RECORD = struct.Struct("<4sBBHII32s")  # magic, kind, codec, 0, raw length, stored length, oid
_ROW = struct.Struct("<BBHIII32s")  # kind, codec, 0, offset, raw length, stored length, oid
_TRAILER = struct.Struct("<16sII8s")  # checksum of the table, rows, length of table + trailer, magic
HEADER_BYTES, RECORD_BYTES, ROW_BYTES, TRAILER_BYTES = _HEADER.size, _RECORD.size, _ROW.size, _TRAILER.size
_ROW_WORDS, _DIGEST_WORDS = ROW_BYTES // 4, DIGEST_BYTES // 4  # words of 4 bytes in a row, whose last ones are the oid

_CLASSES = frozenset((META, FILES, CHUNKS))
_ZERO = bytes(7)
_OID_KIND = {KIND_MANIFEST: MANIFEST, KIND_RUN: RUN, KIND_SNAPSHOT: SNAPSHOT}
_DIGESTS = {KIND_MANIFEST: digest_manifest, KIND_RUN: digest_run, KIND_SNAPSHOT: digest_snapshot}
_codecs = threading.local()


class Record(NamedTuple):
    """Where one object lies in a pack; `offset` is that of its stored bytes. Lengths in bytes."""

    kind: int
    codec: int
    offset: int
    raw_length: int
    stored_length: int
    digest: Digest


class Pack(NamedTuple):
    """A finished pack: its name, its bytes, and the rows of its footer, a sixth of what records would take."""

    name: Digest
    pack_class: int
    data: bytes | bytearray
    table: Buffer

    @property
    def records(self) -> list[Record]:
        """The records in order, made when they are asked for."""
        rows = _ROW.iter_unpack(self.table)
        return [
            Record(kind, codec, offset, raw, stored, digest) for kind, codec, _, offset, raw, stored, digest in rows
        ]


class PackWriter:
    """Builds one pack in memory; `nonce` is 16 fresh random bytes. Keeps bytes only: a list of parts and records takes four times what small files have."""

    __slots__ = ("_data", "_noise", "_table", "pack_class", "size_bytes")

    def __init__(self, pack_class: int, nonce: bytes) -> None:
        self.pack_class = pack_class
        self._data = bytearray(_HEADER.pack(_MAGIC, pack_class, _ZERO, nonce))
        self._table = bytearray()
        self.size_bytes = HEADER_BYTES + TRAILER_BYTES  # of the whole pack, were it finished now
        self._noise = 0  # records in a row, up to the last one, that gained next to nothing

    def __len__(self) -> int:
        return len(self._table) // ROW_BYTES

    def add(self, kind: int, digest: Digest, raw: bytes) -> None:
        """Adds an object, compressed if that makes it smaller; in a run of noise (pictures, archives) only one in 8 is tried."""
        if self._noise >= _NOISE_RECORDS and self._noise % _TRIED_OF_NOISE:
            codec, stored = RAW, raw
        else:
            codec, stored = compress(raw)
        is_noise = len(raw) - len(stored) <= len(raw) // _NOISE_GAIN
        self._noise = self._noise + 1 if is_noise else 0
        self._append(kind, codec, len(raw), digest, stored)

    def add_stored(self, record: Record, stored: Buffer) -> None:
        """Adds a record as another pack stored it, without compressing it again."""
        self._append(record.kind, record.codec, record.raw_length, record.digest, stored)

    def _append(self, kind: int, codec: int, raw_length: int, digest: Digest, stored: Buffer) -> None:
        if raw_length > MAX_RECORD_BYTES:
            raise ValueError(f"a record of {raw_length} bytes does not belong in a pack")
        data, stored_length = self._data, len(stored)
        data += _RECORD.pack(_RECORD_MAGIC, kind, codec, 0, raw_length, stored_length, digest)
        self._table += _ROW.pack(kind, codec, 0, len(data), raw_length, stored_length, digest)
        data += stored
        self.size_bytes += RECORD_BYTES + stored_length + ROW_BYTES

    def finish(self) -> Pack:
        """Returns the pack; the writer must not be used after it."""
        data = self._data
        data += encode_footer(self._table)
        return Pack(digest_bytes(data), self.pack_class, data, self._table)


def table_of(records: Iterable[Record]) -> bytes:
    """Returns the rows that a footer has for these records."""
    pack = _ROW.pack
    return b"".join([pack(r.kind, r.codec, 0, r.offset, r.raw_length, r.stored_length, r.digest) for r in records])


def encode_footer(table: Buffer) -> bytes:
    """Returns the footer: the table of records, its checksum, its length."""
    rows, length = len(table) // ROW_BYTES, len(table) + TRAILER_BYTES
    return b"".join((table, _TRAILER.pack(digest_bytes(table)[:16], rows, length, _END_MAGIC)))


def footer_length(tail: Buffer, name: Digest) -> int:
    """Returns the length of the footer, from the last bytes of a pack (at least TRAILER_BYTES of them)."""
    if len(tail) < TRAILER_BYTES:
        raise _corrupt(name, "it is cut short")
    _, rows, length, magic = _TRAILER.unpack_from(tail, len(tail) - TRAILER_BYTES)
    if magic != _END_MAGIC or length != rows * ROW_BYTES + TRAILER_BYTES:
        raise _corrupt(name, "its end is not that of a pack")
    return int(length)


def count_rows(data: Buffer, name: Digest) -> int:
    """Returns how many objects a whole pack has, by its end. Raises ObjectCorrupt."""
    return (footer_length(data[-TRAILER_BYTES:], name) - TRAILER_BYTES) // ROW_BYTES


def digests_of(data: Buffer, name: Digest) -> bytes:
    """Returns the digests of the objects of a whole pack, one after the other, by its table, which is not checked. Raises ObjectCorrupt."""
    view, rows = memoryview(data), count_rows(data, name)
    words, digests = array("I"), array("I", bytes(DIGEST_BYTES * rows))
    words.frombytes(view[len(view) - TRAILER_BYTES - rows * ROW_BYTES : len(view) - TRAILER_BYTES])
    for word in range(_DIGEST_WORDS):
        digests[word::_DIGEST_WORDS] = words[_ROW_WORDS - _DIGEST_WORDS + word :: _ROW_WORDS]
    return digests.tobytes()


def decode_footer(footer: Buffer, name: Digest, pack_size: int) -> list[Record]:
    """Reads a footer of exactly its length; raises ObjectCorrupt unless the records fill a pack of this size.

    Raises LaterVersion for a kind, a codec or a reserved field that is not known: the checksum proves that it was written so.
    """
    return list(_each_row(footer, name, pack_size))


def _each_row(footer: Buffer, name: Digest, pack_size: int) -> Iterator[Record]:
    """Yields the records of a footer, as `decode_footer` returns them; the last thing that may raise is the end."""
    if footer_length(footer, name) != len(footer):
        raise _corrupt(name, "its footer has the wrong length")
    table = footer[: len(footer) - TRAILER_BYTES]
    checksum = _TRAILER.unpack_from(footer, len(footer) - TRAILER_BYTES)[0]
    if digest_bytes(table)[:16] != checksum:
        raise _corrupt(name, "its footer's checksum is wrong")
    free, limit = HEADER_BYTES, pack_size - len(footer)
    for kind, codec, reserved, offset, raw_length, stored_length, digest in _ROW.iter_unpack(table):
        if kind not in KINDS or codec not in CODECS or reserved:
            raise LaterVersion(f"pack {name.hex()}")
        if (
            offset < free + RECORD_BYTES
            or offset + stored_length > limit
            or not _plausible(codec, raw_length, stored_length)
        ):
            raise _corrupt(name, "its footer points outside of it")
        free = offset + stored_length
        yield Record(kind, codec, offset, raw_length, stored_length, digest)
    if free != limit:
        raise _corrupt(name, "its footer does not begin where its records end")


def scan(data: Buffer, name: Digest) -> list[Record]:
    """Rebuilds the table by reading the records themselves; where they stop making sense, searches for the next one.

    After such a gap chunks are left out: recipes count them from the start.
    """
    whole = bytes(data)
    records = []
    position, free = HEADER_BYTES, 0  # `free`: where a search goes on
    counts = True
    while 0 <= position <= len(whole) - RECORD_BYTES:
        record = record_at(whole, position)
        if record is not None:
            if counts or record.kind != KIND_CHUNK:
                records.append(record)
            position = free = record.offset + record.stored_length
        else:
            counts = False
            position = whole.find(_RECORD_MAGIC, free)
            free = position + 1
    return records


def record_at(data: Buffer, position: int) -> Record | None:
    """Returns the record that begins at a place in a pack, None if none of this version can begin there."""
    start = position + RECORD_BYTES
    if start > len(data):
        return None
    magic, kind, codec, reserved, raw_length, stored_length, digest = _RECORD.unpack_from(data, position)
    is_known = magic == _RECORD_MAGIC and kind in KINDS and codec in CODECS and not reserved
    if not is_known or start + stored_length > len(data) or not _plausible(codec, raw_length, stored_length):
        return None
    return Record(kind, codec, start, raw_length, stored_length, digest)


def class_of(data: Buffer, name: Digest) -> int:
    """Returns the class of a pack, from its header. Raises ObjectCorrupt for a header that this version does not write."""
    if len(data) < HEADER_BYTES:
        raise _corrupt(name, "it is cut short")
    magic, pack_class, reserved, _ = _HEADER.unpack_from(data)
    if magic != _MAGIC or pack_class not in _CLASSES or reserved != _ZERO:
        raise _corrupt(name, "its header is not that of a pack")
    return int(pack_class)


def open_whole(data: Buffer, name: Digest) -> list[Record]:
    """Returns the records of a whole pack in memory; a damaged footer is rebuilt by reading the records.

    Raises ObjectCorrupt if none is left, and LaterVersion for a pack that is whole by its name and not one of this version.
    """
    view = memoryview(data)
    try:
        length = footer_length(view[-TRAILER_BYTES:], name)
        records = decode_footer(view[len(view) - length :], name, len(view))
        class_of(view, name)
        return records
    except ObjectCorrupt:
        if bytes(view[: len(_MAGIC) - 1]) == _MAGIC[:-1] and digest_bytes(view) == name:
            raise LaterVersion(f"pack {name.hex()}") from None
        records = scan(view, name)
        if not records:
            raise
        return records


def verify_whole(data: bytes, name: Digest, *, limit_bytes: int = MAX_PACK_BYTES) -> Pack | None:
    """Returns a downloaded pack, whose bytes are those that its name promises, after checking every record in it against its oid.

    None if it holds more than the limit, unpacked. One record is in memory at a time.
    """
    view = memoryview(data)
    for record in _written_rows(view, name):
        limit_bytes -= record.raw_length
        if limit_bytes < 0:
            return None
        unpack_view(record, view[record.offset : record.offset + record.stored_length])
    footer = view[len(view) - footer_length(view[-TRAILER_BYTES:], name) :]
    return Pack(name, class_of(view, name), data, footer[: len(footer) - TRAILER_BYTES])


def _written_rows(view: memoryview, name: Digest) -> Iterator[Record]:
    """Yields the records of a pack that is as it was written, so that what makes no sense is of a later dvlite."""
    try:
        class_of(view, name)
        length = footer_length(view[-TRAILER_BYTES:], name)
        yield from _each_row(view[len(view) - length :], name, len(view))
    except ObjectCorrupt:
        raise LaterVersion(f"pack {name.hex()}") from None


def _plausible(codec: int, raw_length: int, stored_length: int) -> bool:
    if raw_length > MAX_RECORD_BYTES:
        return False
    return stored_length == raw_length if codec == RAW else 0 < stored_length < raw_length


def compress(raw: bytes) -> tuple[int, bytes]:
    """Returns the codec and the stored form, whichever is smaller; what was compressed has been read back (restic#4523)."""
    compressor, decompressor = _thread_codecs()
    stored = compressor.compress(raw)
    if len(stored) >= len(raw) or decompressor.decompress(stored, max_output_size=len(raw)) != raw:
        return RAW, raw
    return ZSTD, stored


def unpack(record: Record, stored: Buffer) -> bytes:
    """Returns an object's bytes from its stored form; raises ObjectCorrupt unless they are what the record's oid names.

    A recipe is not named by its own bytes: formats.recipe checks it.
    """
    return bytes(unpack_view(record, stored))


def unpack_view(record: Record, stored: Buffer) -> Buffer:
    """Does as `unpack`, but returns `stored` itself where nothing is compressed: no copy."""
    raw = _decode(record, stored)
    if record.kind != KIND_RECIPE and _digest(record.kind, raw) != record.digest:
        raise corrupt_object(record, "its bytes are not the ones that its name promises")
    return raw


def _decode(record: Record, stored: Buffer) -> Buffer:
    if len(stored) != record.stored_length:
        raise corrupt_object(record, "it is cut short")
    if record.codec == RAW:
        return stored
    if record.codec != ZSTD:
        raise LaterVersion(f"object {_OID_KIND.get(record.kind, FILE)}:{record.digest.hex()}")
    try:
        frame = zstandard.get_frame_parameters(stored)
        # checked before any allocation: a frame may declare an exabyte
        if frame.content_size != record.raw_length or frame.dict_id or record.raw_length > MAX_RECORD_BYTES:
            raise corrupt_object(record, "its compressed form declares another length")
        return _thread_codecs()[1].decompress(stored, max_output_size=record.raw_length, allow_extra_data=False)
    except zstandard.ZstdError:
        raise corrupt_object(record, "it cannot be decompressed") from None


def _digest(kind: int, raw: Buffer) -> Digest:
    return _DIGESTS.get(kind, digest_bytes)(raw)


def _thread_codecs() -> tuple[zstandard.ZstdCompressor, zstandard.ZstdDecompressor]:
    """zstandard's objects must not be used by two threads at once."""
    pair = getattr(_codecs, "pair", None)
    if pair is None:
        pair = _codecs.pair = (zstandard.ZstdCompressor(level=1, write_content_size=True), zstandard.ZstdDecompressor())
    return pair


def corrupt_object(record: Record, reason: str) -> ObjectCorrupt:
    """Returns the error for an object whose stored bytes are wrong."""
    name = f"{_OID_KIND.get(record.kind, FILE)}:{record.digest.hex()}"
    return ObjectCorrupt(
        f"object {name} is damaged: {reason}",
        hint="to fetch a good copy: dvlite pull; if no remote has one: dvlite fsck --repair",
    )


def _corrupt(name: Digest, reason: str) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"pack {name.hex()} is damaged: {reason}",
        hint="to fetch a good copy: dvlite pull; if no remote has one: dvlite fsck --repair",
    )
