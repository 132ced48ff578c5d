"""Index objects: sorted rows that say in which pack an object lies (docs/reference/formats/index.md).

One row per file, manifest node and recipe, never per chunk; derivable from packs. The same bytes serve on a remote and in the cache.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dvlite.errors import FormatError, ObjectCorrupt
from dvlite.oid import DIGEST_BYTES, Buffer, Digest, digest_bytes
from dvlite.store.pack import KIND_CHUNK, MAX_RECORD_BYTES, Pack, Record

MAGIC = b"DVLI"
VERSION = 1
MAX_BYTES = 512 * 1024 * 1024
MERGE_ABOVE = 16  # index objects ...
MERGE_BELOW_BYTES = 4 * 1024 * 1024  # ... smaller than this are merged into one
_HEADER = struct.Struct("<4sB3xII16s")  # magic, version, packs, rows, nonce
_ROW = struct.Struct("<32sBBHIIII")  # oid, kind, codec, 0, pack number, offset, raw length, stored length
_DICT_FROM = 64  # after this many look-ups a hash table pays for itself


class Location(NamedTuple):
    """An object's record and the pack it lies in."""

    pack: Digest
    record: Record


class Index:
    """One index object, read from bytes or a memory map; look-ups are by binary search, then by hash table when many."""

    __slots__ = ("_data", "_first", "_lookups", "_table", "packs", "rows", "size_bytes")

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
        self._table: dict[bytes, int] | None = None
        self._lookups = 0

    def find(self, digest: bytes, kinds: Sequence[int]) -> Iterator[Location]:
        """Yields where an object of one of these kinds lies; usually one place, several after racing pushes."""
        i = self._position(digest)
        while i < self.rows:
            location = self._row(i)
            if location.record.digest != digest:
                return
            if location.record.kind in kinds:
                yield location
            i += 1

    def __iter__(self) -> Iterator[Location]:
        for i in range(self.rows):
            yield self._row(i)

    def _row(self, i: int) -> Location:
        digest, kind, codec, _, pack, offset, raw, stored = _ROW.unpack_from(self._data, self._first + i * _ROW.size)
        if pack >= len(self.packs) or raw > MAX_RECORD_BYTES or stored > MAX_RECORD_BYTES:
            raise _corrupt("row", "it points outside of every pack")
        return Location(self.packs[pack], Record(kind, codec, offset, raw, stored, digest))

    def _position(self, digest: bytes) -> int:
        self._lookups += 1
        if self._table is None:
            if self._lookups < _DICT_FROM or self._lookups < self.rows >> 6:
                return self._search(digest)
            self._table = self._hash_table()
        return self._table.get(digest, self.rows)

    def _search(self, digest: bytes) -> int:
        data, first, width = self._data, self._first, _ROW.size
        low, high = 0, self.rows
        while low < high:
            middle = (low + high) // 2
            at = first + middle * width
            if bytes(data[at : at + DIGEST_BYTES]) < digest:
                low = middle + 1
            else:
                high = middle
        return low

    def _hash_table(self) -> dict[bytes, int]:
        data, width = self._data, _ROW.size
        table: dict[bytes, int] = {}
        for i in range(self.rows - 1, -1, -1):  # downwards: the first of equal rows stays
            at = self._first + i * width
            table[bytes(data[at : at + DIGEST_BYTES])] = i
        return table


def encode(locations: Iterable[Location], nonce: bytes) -> bytes:
    """Returns an index object of these rows, sorted, each once; `nonce` is 16 random bytes, so no name is used twice."""
    rows = sorted({(place.record.digest, place.record.kind, place.pack): place for place in locations}.items())
    packs = sorted({place.pack for _, place in rows})
    number = {pack: i for i, pack in enumerate(packs)}
    parts = [_HEADER.pack(MAGIC, VERSION, len(packs), len(rows), nonce), *packs]
    for _, (pack, record) in rows:
        place = (number[pack], record.offset, record.raw_length, record.stored_length)
        parts.append(_ROW.pack(record.digest, record.kind, record.codec, 0, *place))
    return b"".join(parts)


def rows_of(pack: Pack) -> list[Location]:
    """Returns the rows that index a pack: none for chunks, which recipes find by number."""
    return [Location(pack.name, record) for record in pack.records if record.kind != KIND_CHUNK]


def verify_name(data: Buffer, name: str) -> None:
    """Raises ObjectCorrupt unless an index object's bytes hash to its name."""
    if digest_bytes(data).hex() != name:
        raise _corrupt(name, "its bytes are not the ones that its name promises")


def _corrupt(where: str, reason: str) -> ObjectCorrupt:
    return ObjectCorrupt(f"index {where} is damaged: {reason}", hint="push again from a clone that has the data")
