"""Index objects: sorted rows that say in which pack an object lies (docs/reference/formats/index.md).

One row per file, manifest node, recipe and part of one, never per chunk, and a table of the packs; derivable from packs. The same bytes serve on a remote and in the cache.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise, repeat
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from dvlite import files
from dvlite.errors import LaterVersion, ObjectCorrupt
from dvlite.oid import DIGEST_BYTES, Buffer, Digest, digest_bytes
from dvlite.store.pack import (
    CHUNKS,
    CODECS,
    FILES,
    KIND_CHUNK,
    KIND_FILE,
    KINDS,
    MAX_RECORD_BYTES,
    META,
    RECORD_BYTES,
    ROW_BYTES,
    TARGET_BYTES,
    Pack,
    Record,
    unpack,
)

MAGIC = b"DVLI"
VERSION = 1
MAX_BYTES = 512 * 1024 * 1024
MERGE_ABOVE = 16  # index objects ...
MERGE_BELOW_BYTES = 4 * 1024 * 1024  # ... smaller than this are merged into one
_HEADER = struct.Struct("<4sB3sII16s")  # magic, version, 0, packs, rows, nonce
_PACK = struct.Struct("<32sIB3s")  # name, length, class, 0
_ROW = struct.Struct("<32sBBHIIII")  # oid, kind, codec, 0, pack number, offset, raw length, stored length
_OID_OF_ROW = struct.Struct("32s20x")
_PACK_NUMBER_AT = 36  # in a row
_ROW_WORDS, _TABLE_WORDS, _NUMBER_WORD = (
    13,
    12,
    _PACK_NUMBER_AT // 4,
)  # words of 4 bytes in a row, and in one of a pack's table
_FROM_TABLE = (4, 5, 6, 7, 8, 9, 10, 11, 0, None, 1, 2, 3)  # the word of the table that each of a row is
_MAPPED_FROM = 1 << 20  # bytes of an index object that are not kept in memory
MANY_ROWS = 250_000  # of an index object of one writer: bounds the memory of an add or a push of millions of files
GAP_BYTES = 64 * 1024  # two ranges of a pack closer than this are requested as one
_TOGETHER = 4096  # rows joined at a time: Python takes 80 bytes for each
_ANY = range(256)  # kinds, those of a later dvlite too
_TABLE_FROM = 2000  # look-ups after which a table of where each prefix begins pays for itself: 5 ms


class Sought(Protocol):
    """An object that is looked for, of a known size."""

    @property
    def digest(self) -> Digest: ...
    @property
    def size_bytes(self) -> int: ...


Wanted = TypeVar("Wanted", bound=Sought)


class RecordLocation(NamedTuple):
    """An object's record and the pack it lies in."""

    pack: Digest
    record: Record


class PackEntry(NamedTuple):
    """What an index says of a pack; a length of 0 is not known."""

    pack_class: int
    size_bytes: int


class Index:
    """One index object, read from bytes or a memory map; look-ups are by binary search."""

    __slots__ = ("_data", "_first", "_lookups", "_names", "_starts", "packs", "rows", "size_bytes")

    def __init__(self, data: Buffer, where: str) -> None:
        if len(data) < _HEADER.size or len(data) > MAX_BYTES:
            raise _corrupt(where, "its length is impossible")
        magic, version, reserved, packs, rows, _ = _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise _corrupt(where, "it is not an index")
        if version != VERSION or any(reserved):
            raise LaterVersion(f"index {where}")
        self._first = _HEADER.size + packs * _PACK.size
        if len(data) != self._first + rows * _ROW.size:
            raise _corrupt(where, "its lengths do not add up")
        self._data = data
        self.rows: int = rows
        self.packs: dict[Digest, PackEntry] = {}
        for name, length, pack_class, reserved in _PACK.iter_unpack(data[_HEADER.size : self._first]):
            if any(reserved):
                raise LaterVersion(f"index {where}")
            self.packs[Digest(name)] = PackEntry(pack_class, length)
        if len(self.packs) != packs:
            raise _corrupt(where, "it names a pack twice")
        self._names = tuple(self.packs)
        self.size_bytes = len(data)
        self._starts: array[int] | None = (
            None  # where in the data the rows of each value of an oid's first two bytes begin
        )
        self._lookups = 0

    def find(self, digest: bytes, kinds: Sequence[int]) -> list[RecordLocation]:
        """Returns where an object of one of these kinds lies; usually one place, several after racing pushes."""
        rows = map(self.row, self.places(digest))
        return [row for row in rows if row is not None and row.record.kind in kinds]

    def has(self, digest: bytes, kinds: Sequence[int]) -> bool:
        """Returns whether there is a row of an oid of one of these kinds, without building it."""
        for at in self.places(digest):  # noqa: SIM110  # runs once per file: no generator
            if self._data[at + DIGEST_BYTES] in kinds:
                return True
        return False

    def absent(self, wanted: Sequence[tuple[int, Digest]], kinds: Sequence[int]) -> list[tuple[int, Digest]]:
        """Returns those numbered oids that `has` denies: a third of the time of a call for each, where they are many."""
        self._lookups += len(wanted)
        starts = self._starts or self._make_table()
        if starts is None:
            return [
                one for one in wanted if not any(self._data[at + DIGEST_BYTES] in kinds for at in self.places(one[1]))
            ]
        data, width, left = self._data, _ROW.size, []
        for one in wanted:
            digest = one[1]
            prefix = digest[0] << 8 | digest[1]
            rows = bytes(data[starts[prefix] : starts[prefix + 1]])
            at = rows.find(digest)
            is_row = at >= 0 and at % width == 0 and rows[at + DIGEST_BYTES] in kinds
            if not is_row and (at < 0 or not self.has(digest, kinds)):
                left.append(one)
        return left

    def choose(
        self, wanted: Sequence[Wanted], kind: int, packs: Mapping[Digest, int], chosen: ChosenRows
    ) -> list[Wanted]:
        """Adds to `chosen` rows of these digests, sizes and kind that lie in packs, given with their lengths; returns what has none."""
        data, limits = self._data, [packs.get(name, 0) for name in self._names]
        left = []
        for one in wanted:
            for at in self.places(one.digest):
                _, row_kind, codec, reserved, pack, offset, raw, stored = _ROW.unpack_from(data, at)
                is_known = row_kind == kind and codec in CODECS and not reserved and pack < len(limits)
                if is_known and raw == one.size_bytes and offset + stored <= limits[pack]:
                    chosen.add_row(self, at, self._names[pack], raw, stored)
                    break
            else:
                left.append(one)
        return left

    def by_pack(self) -> dict[Digest, array[int]]:
        """Returns the places of the rows of each pack, for `row`: 4 bytes a row. A row that points outside of every pack has none."""
        places: dict[Digest, array[int]] = {name: array("I") for name in self._names}
        for at in range(self._first, self.size_bytes, _ROW.size):
            number = int.from_bytes(self._data[at + _PACK_NUMBER_AT : at + _PACK_NUMBER_AT + 4], "little")
            if number < len(self._names):
                places[self._names[number]].append(at)
        return places

    def __iter__(self) -> Iterator[RecordLocation]:
        for at in range(self._first, self.size_bytes, _ROW.size):
            location = self.row(at)
            if location is not None:
                yield location

    def row(self, at: int) -> RecordLocation | None:
        """Returns the row at a place, None for one that points outside of every pack: it costs itself only. Raises LaterVersion."""
        digest, kind, codec, reserved, pack, offset, raw, stored = _ROW.unpack_from(self._data, at)
        if kind not in KINDS or codec not in CODECS or reserved:
            raise LaterVersion(f"object {digest.hex()}")
        if pack >= len(self._names) or raw > MAX_RECORD_BYTES or stored > MAX_RECORD_BYTES:
            return None
        return RecordLocation(self._names[pack], Record(kind, codec, offset, raw, stored, digest))

    def places(self, digest: bytes) -> list[int]:
        """Returns the places, for `row`, of the rows of an oid, by a table of prefixes or by binary search."""
        self._lookups += 1
        data, width = self._data, _ROW.size
        starts = self._starts or self._make_table()
        if starts is not None:
            prefix = digest[0] << 8 | digest[1]
            low, end = starts[prefix], starts[prefix + 1]
            rows = bytes(data[low:end])
            at = rows.find(digest)
            while at % width and at >= 0:
                at = rows.find(digest, at + 1)
            if at < 0:
                return []
            low += at
        else:
            low, end = self._start_of(digest), self.size_bytes
        places = []
        while low < end and data[low : low + DIGEST_BYTES] == digest:
            places.append(low)
            low += width
        return places

    def oids(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """Yields the oids of all rows, from one that begins with `start` to the last before `end` (empty: to the last)."""
        last = self._start_of(end) if end else self.size_bytes
        return (oid for (oid,) in _OID_OF_ROW.iter_unpack(self._data[self._start_of(start) : last]))

    def _start_of(self, digest: bytes) -> int:
        """Returns the place of the first row whose oid is not before a digest."""
        data, width = self._data, _ROW.size
        first, high = 0, self.rows
        while first < high:
            middle = (first + high) // 2
            at = self._first + middle * width
            if bytes(data[at : at + DIGEST_BYTES]) < digest:
                first = middle + 1
            else:
                high = middle
        return int(self._first + first * width)

    def _make_table(self) -> array[int] | None:
        """Returns where the rows of each prefix of two bytes begin, after enough look-ups: 256 KiB, where a hash table takes 170 bytes a row."""
        if self._lookups > _TABLE_FROM:
            view, width = memoryview(self._data), _ROW.size
            prefixes, both = array("H"), bytearray(2 * self.rows)
            both[0::2], both[1::2] = view[self._first + 1 :: width], view[self._first :: width]
            prefixes.frombytes(both)
            if sys.byteorder == "big":
                prefixes.byteswap()
            rows = accumulate(map(Counter(prefixes).get, range(1 << 16), repeat(0)), initial=0)
            self._starts = array("I", [self._first + width * row for row in rows])
        return self._starts


class PackRows:
    """Rows of one pack, in any order, kept as the places where index objects have them: 9 bytes a row, where a location takes 350."""

    __slots__ = ("_more", "_places", "_segments", "pack", "raw_bytes", "stored_bytes")

    def __init__(self, name: Digest, segments: list[Index]) -> None:
        self.pack, self._segments = name, segments
        self._places = array("Q")  # the number of the segment, and the place in it
        self._more: dict[RecordLocation, None] = {}
        self.raw_bytes = self.stored_bytes = 0  # of the records; stored with all that a pack has of them

    def __len__(self) -> int:
        return len(self._places) + len(self._more)

    def __iter__(self) -> Iterator[RecordLocation]:
        for place in self._places:
            location = self._segments[place >> 32].row(place & 0xFFFFFFFF)
            if location is not None:
                yield location
        yield from self._more

    def add(self, number: int, at: int, raw_length: int, stored_length: int) -> None:
        self._places.append(number << 32 | at)
        self._count(raw_length, stored_length)

    def add_location(self, place: RecordLocation) -> None:
        if place not in self._more:
            self._more[place] = None
            self._count(place.record.raw_length, place.record.stored_length)

    def _count(self, raw_length: int, stored_length: int) -> None:
        self.raw_bytes += raw_length
        self.stored_bytes += RECORD_BYTES + stored_length + ROW_BYTES


class ChosenRows:
    """Rows chosen from index objects, each once, by the packs that they name."""

    __slots__ = ("_numbers", "_packs", "_seen", "_segments")

    def __init__(self) -> None:
        self._segments: list[Index] = []
        self._numbers: dict[Index, int] = {}
        self._seen: list[bytearray] = []  # of each segment, a byte for each row
        self._packs: dict[Digest, PackRows] = {}

    def __len__(self) -> int:
        return sum(map(len, self._packs.values()))

    @property
    def raw_bytes(self) -> int:
        return sum(rows.raw_bytes for rows in self._packs.values())

    def add(self, place: RecordLocation) -> None:
        """Adds a row that was looked up by itself, once."""
        self._of(place.pack).add_location(place)

    def add_row(self, segment: Index, at: int, name: Digest, raw_length: int, stored_length: int) -> None:
        """Adds the row at a place of an index object, once, with what it says."""
        number = self._numbers.setdefault(segment, len(self._segments))
        if number == len(self._segments):
            self._segments.append(segment)
            self._seen.append(bytearray(segment.size_bytes // _ROW.size + 1))
        seen, row = self._seen[number], at // _ROW.size
        if seen[row]:
            return
        seen[row] = 1
        self._of(name).add(number, at, raw_length, stored_length)

    def _of(self, name: Digest) -> PackRows:
        if name not in self._packs:
            self._packs[name] = PackRows(name, self._segments)
        return self._packs[name]

    def by_pack(self) -> Collection[PackRows]:
        """Returns the rows of each pack."""
        return self._packs.values()


class Rows:
    """The rows of an index object in the making, as bytes: a seventh of what tuples take, and moved by columns of the packs' own tables."""

    __slots__ = ("_words", "packs")

    def __init__(self) -> None:
        self.packs: dict[Digest, PackEntry] = {}  # without rows too: that an index names one shows how far its push got
        self._words = array("I")  # 13 a row; packs have the numbers in which they came

    def __len__(self) -> int:
        return len(self._words) // _ROW_WORDS

    def add(self, name: Digest, entry: PackEntry, table: Buffer) -> None:
        """Adds a pack, once, with the rows of its table; those of chunks are left out, which recipes find by number."""
        number = len(self.packs)
        self.packs[name] = entry
        if entry.pack_class == CHUNKS:
            return
        source = array("I")
        source.frombytes(table)
        count = len(source) // _TABLE_WORDS
        rows = array("I", bytes(4 * _ROW_WORDS * count))
        for target, word in enumerate(_FROM_TABLE):
            if word is not None:
                rows[target::_ROW_WORDS] = source[word::_TABLE_WORDS]
        rows[_NUMBER_WORD::_ROW_WORDS] = array("I", [number]) * count
        self._words += rows

    def encode(self, nonce: bytes) -> bytes:
        """Returns the index object, sorted; `nonce` is 16 random bytes, so no name is used twice. The rows must not be used after it."""
        names, words, width = sorted(self.packs), self._words, _ROW.size
        number = {name: i for i, name in enumerate(names)}
        place = array("I", (number[name] for name in self.packs))
        if sys.byteorder == "big":
            place.byteswap()
        words[_NUMBER_WORD::_ROW_WORDS] = array("I", map(place.__getitem__, words[_NUMBER_WORD::_ROW_WORDS]))
        view = memoryview(words).cast("B")
        rows = [bytes(view[at : at + width]) for at in range(0, len(view), width)]
        return _encode(rows, [(name, self.packs[name]) for name in names], nonce)


def encode(
    locations: Collection[RecordLocation], nonce: bytes, packs_of: Mapping[Digest, PackEntry] | None = None
) -> bytes:
    """Returns an index object of these rows, sorted by their bytes, each once; `nonce` is 16 random bytes, so no name is used twice.

    `packs_of` may hold packs without rows. The length of one that it lacks is not known to readers.
    """
    entries = {pack: PackEntry(class_of(record.kind), 0) for pack, record in locations} | dict(packs_of or {})
    packs = sorted(entries)
    number = {pack: i for i, pack in enumerate(packs)}
    pack_row = _ROW.pack
    rows = {
        pack_row(r.digest, r.kind, r.codec, 0, number[pack], r.offset, r.raw_length, r.stored_length)
        for pack, r in locations
    }
    return _encode(list(rows), [(pack, entries[pack]) for pack in packs], nonce)


def _encode(rows: list[bytes], packs: Sequence[tuple[Digest, PackEntry]], nonce: bytes) -> bytes:
    rows.sort()
    parts = [b"".join(rows[at : at + _TOGETHER]) for at in range(0, len(rows), _TOGETHER)]
    table = [_PACK.pack(name, entry.size_bytes, entry.pack_class, b"") for name, entry in packs]
    head = _HEADER.pack(MAGIC, VERSION, b"", len(packs), len(rows), nonce)
    return b"".join((head, *table, *parts))


def absent(
    segments: Iterable[Index], wanted: list[tuple[int, Digest]], kinds: Sequence[int] = _ANY
) -> list[tuple[int, Digest]]:
    """Returns those numbered oids that no index object has a row of, of one of these kinds."""
    for segment in likely_first(segments, wanted[0][1]) if wanted else ():
        wanted = segment.absent(wanted, kinds) if wanted else wanted
    return wanted


def likely_first(segments: Iterable[Index], digest: Digest) -> list[Index]:
    """Returns index objects, those first that have a row of an oid: its neighbours in a listing were mostly stored with it."""
    return sorted(segments, key=lambda segment: not segment.places(digest))


def repeated(segments: Collection[Index]) -> set[bytes]:
    """Returns the oids that have several rows; looks at a few thousand rows at a time."""
    parts = min(256, 1 + sum(segment.rows for segment in segments) // _TOGETHER)
    edges = [bytes([part * 256 // parts]) for part in range(parts)] + [b""]
    found: set[bytes] = set()
    for start, end in pairwise(edges):
        oids = Counter(oid for segment in segments for oid in segment.oids(start, end))
        found.update(oid for oid, count in oids.items() if count > 1)
    return found


def rows_of(pack: Pack) -> list[RecordLocation]:
    """Returns the rows that index a pack: none for chunks, which recipes find by number."""
    if pack.pack_class == CHUNKS:
        return []
    return [RecordLocation(pack.name, record) for record in pack.records]


def class_of(kind: int) -> int:
    """Returns the class of the packs that hold records of a kind."""
    return {KIND_FILE: FILES, KIND_CHUNK: CHUNKS}.get(kind, META)


def known_rows(segment: Index) -> list[RecordLocation] | None:
    """Returns all rows of an index object; None if a later dvlite wrote some: such an object is never merged."""
    try:
        return list(segment)
    except LaterVersion:
        return None


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


def is_sound(place: RecordLocation, data: bytes) -> bool:
    """Returns whether a record lies in a whole pack as a row says."""
    try:
        unpack_at(place, data, 0)
    except ObjectCorrupt:
        return False
    return True


def mapped(path: Path, data: bytes) -> Buffer:
    """Returns bytes as a map of a file that holds them, where that can be read: they need not stay in memory; small ones as they are."""
    with contextlib.suppress(OSError, ValueError):
        if len(data) >= _MAPPED_FROM:
            with open(os.open(path, files.READ | files.NO_FOLLOW), "rb") as file:
                view = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
            if view == data:
                return view
    return data


def verify_name(data: Buffer, name: str) -> None:
    """Raises ObjectCorrupt unless an index object's bytes hash to its name."""
    if digest_bytes(data).hex() != name:
        raise _corrupt(name, "its bytes are not the ones that its name promises")


def _corrupt(where: str, reason: str) -> ObjectCorrupt:
    return ObjectCorrupt(f"index {where} is damaged: {reason}", hint="push again from a clone that has the data")
