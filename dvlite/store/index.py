"""Index objects: sorted rows that say in which pack an object lies (docs/reference/formats/index.md).

One row per file, manifest node, recipe and pack of chunks, never per chunk; derivable from packs. The same bytes serve on a remote and in the cache.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from dvlite.errors import FormatError, ObjectCorrupt
from dvlite.oid import DIGEST_BYTES, Buffer, Digest, digest_bytes
from dvlite.store.pack import CHUNKS, KIND_END, MAX_RECORD_BYTES, RAW, TARGET_BYTES, Pack, Record, unpack

MAGIC = b"DVLI"
VERSION = 1
MAX_BYTES = 512 * 1024 * 1024
MERGE_ABOVE = 16  # index objects ...
MERGE_BELOW_BYTES = 4 * 1024 * 1024  # ... smaller than this are merged into one
_HEADER = struct.Struct("<4sB3xII16s")  # magic, version, packs, rows, nonce
_ROW = struct.Struct("<32sBBHIIII")  # oid, kind, codec, 0, pack number, offset, raw length, stored length
_LARGE_ROWS = 1 << 17
GAP_BYTES = 64 * 1024  # two ranges of a pack closer than this are requested as one
_FAN_OUT_FROM = 1000  # look-ups after which a table of prefixes (50 ms) pays for itself


class RecordLocation(NamedTuple):
    """An object's record and the pack it lies in."""

    pack: Digest
    record: Record


class Index:
    """One index object, read from bytes or a memory map; look-ups are by binary search."""

    __slots__ = ("_data", "_fan_out", "_first", "_lookups", "packs", "rows", "size_bytes")

    def __init__(self, data: Buffer, where: str) -> None:
        if len(data) < _HEADER.size or len(data) > MAX_BYTES:
            raise _corrupt(where, "its length is impossible")
        magic, version, packs, rows, _ = _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise _corrupt(where, "it is not an index")
        if version != VERSION:
            raise FormatError(f"index {where} has version {version}, which is not known", hint="upgrade dvlite")
        self._first = _HEADER.size + packs * DIGEST_BYTES
        if len(data) != self._first + rows * _ROW.size:
            raise _corrupt(where, "its lengths do not add up")
        self._data = data
        self.rows: int = rows
        self.packs = tuple(
            Digest(bytes(data[at : at + DIGEST_BYTES])) for at in range(_HEADER.size, self._first, DIGEST_BYTES)
        )
        self.size_bytes = len(data)
        self._fan_out: array[int] | None = None
        self._lookups = 0

    def find(self, digest: bytes, kinds: Sequence[int]) -> Iterator[RecordLocation]:
        """Yields where an object of one of these kinds lies; usually one place, several after racing pushes."""
        i = self._position(digest)
        while i < self.rows:
            at = self._first + i * _ROW.size
            if self._data[at : at + DIGEST_BYTES] != digest:
                return
            location = self._row(i)
            if location is not None and location.record.kind in kinds:
                yield location
            i += 1

    def has(self, digest: bytes, kinds: Sequence[int]) -> bool:
        """Returns whether `find` would yield something, without building it."""
        i = self._position(digest)
        data, width = self._data, _ROW.size
        while i < self.rows:
            at = self._first + i * width
            if data[at : at + DIGEST_BYTES] != digest:
                return False
            if data[at + DIGEST_BYTES] in kinds:
                return True
            i += 1
        return False

    def __iter__(self) -> Iterator[RecordLocation]:
        for i in range(self.rows):
            location = self._row(i)
            if location is not None:
                yield location

    def _row(self, i: int) -> RecordLocation | None:
        """Returns a row, None for one that points outside of every pack: it costs itself only."""
        digest, kind, codec, _, pack, offset, raw, stored = _ROW.unpack_from(self._data, self._first + i * _ROW.size)
        if pack >= len(self.packs) or raw > MAX_RECORD_BYTES or stored > MAX_RECORD_BYTES:
            return None
        return RecordLocation(self.packs[pack], Record(kind, codec, offset, raw, stored, digest))

    def _position(self, digest: bytes) -> int:
        """Returns the first row whose oid is not below `digest`; binary search between two entries of the fan-out."""
        self._lookups += 1
        if self._fan_out is None and self._lookups > _FAN_OUT_FROM:
            self._fan_out = self._count_prefixes()
        data, first, width = self._data, self._first, _ROW.size
        low, high = 0, self.rows
        if self._fan_out is not None:
            prefix = digest[0] if len(self._fan_out) == 257 else digest[0] << 8 | digest[1]
            low, high = self._fan_out[prefix], self._fan_out[prefix + 1]
        while low < high:
            middle = (low + high) // 2
            at = first + middle * width
            if bytes(data[at : at + DIGEST_BYTES]) < digest:
                low = middle + 1
            else:
                high = middle
        return low

    def _count_prefixes(self) -> array[int]:
        """Returns, for each value of an oid's first byte (first two in a large index), the first row that has it or a larger one.

        At most 256 KiB, where a hash table would take 170 bytes a row.
        """
        view, width = memoryview(self._data), _ROW.size
        high = view[self._first :: width]
        if self.rows < _LARGE_ROWS:
            column = high.tobytes()
            return array("I", [*(bisect_left(column, value) for value in range(1 << 8)), self.rows])
        prefixes, both = array("H"), bytearray(2 * self.rows)
        both[0::2], both[1::2] = view[self._first + 1 :: width], high
        prefixes.frombytes(both)
        if sys.byteorder == "big":
            prefixes.byteswap()
        return array("I", [*(bisect_left(prefixes, value) for value in range(1 << 16)), self.rows])


def encode(locations: Collection[RecordLocation], nonce: bytes, *, also: Iterable[Digest] = ()) -> bytes:
    """Returns an index object of these rows, sorted by their bytes, each once; `nonce` is 16 random bytes, so no name is used twice.

    `also` are packs without rows: that an index names a pack says that its push got that far.
    """
    packs = sorted({place.pack for place in locations}.union(also))
    number = {pack: i for i, pack in enumerate(packs)}
    pack_row = _ROW.pack
    rows = sorted(
        {
            pack_row(r.digest, r.kind, r.codec, 0, number[pack], r.offset, r.raw_length, r.stored_length)
            for pack, r in locations
        }
    )
    return b"".join([_HEADER.pack(MAGIC, VERSION, len(packs), len(rows), nonce), *packs, *rows])


def rows_of(pack: Pack) -> list[RecordLocation]:
    """Returns the rows that index a pack: of chunks, which recipes find by number, only where the pack ends."""
    if pack.pack_class == CHUNKS:
        return [end_of(pack.name, len(pack.data))]
    return [RecordLocation(pack.name, record) for record in pack.records]


def end_of(pack: Digest, size_bytes: int) -> RecordLocation:
    """Returns the row that says how long a pack of chunks is."""
    return RecordLocation(pack, Record(KIND_END, RAW, size_bytes, 0, 0, pack))


def ranges(
    places: Sequence[RecordLocation], *, limit_bytes: int = TARGET_BYTES
) -> list[tuple[int, int, list[RecordLocation]]]:
    """Groups records of one pack into `(start, end, records)` ranges to request, joining those that lie close together."""
    grouped: list[tuple[int, int, list[RecordLocation]]] = []
    for place in sorted(places, key=lambda place: place.record.offset):
        start, end = place.record.offset, place.record.offset + place.record.stored_length
        if grouped and start - grouped[-1][1] <= GAP_BYTES and end - grouped[-1][0] <= limit_bytes:
            first, last, group = grouped[-1]
            group.append(place)
            grouped[-1] = (first, max(last, end), group)
        else:
            grouped.append((start, end, [place]))
    return grouped


def unpack_at(place: RecordLocation, data: bytes, start: int) -> tuple[memoryview, bytes]:
    """Returns a record's stored bytes and its verified content, from a range of its pack that begins at `start`."""
    offset = place.record.offset - start
    stored = memoryview(data)[offset : offset + place.record.stored_length]
    return stored, unpack(place.record, stored)


def verify_name(data: Buffer, name: str) -> None:
    """Raises ObjectCorrupt unless an index object's bytes hash to its name."""
    if digest_bytes(data).hex() != name:
        raise _corrupt(name, "its bytes are not the ones that its name promises")


def _corrupt(where: str, reason: str) -> ObjectCorrupt:
    return ObjectCorrupt(f"index {where} is damaged: {reason}", hint="push again from a clone that has the data")
