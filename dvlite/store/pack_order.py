"""Finds many files of a cache at once: listings name most files in the order in which packs have them, so runs of the two are compared.

The answer is that of the index objects, at a tenth of the cost of asking them about each file; where little follows in order, they are asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from dvlite.errors import LaterVersion, ObjectCorrupt, ObjectMissing
from dvlite.oid import DIGEST_BYTES, Buffer, Digest, each_digest
from dvlite.store import index, pack
from dvlite.store.index import Index
from dvlite.store.pack import CHUNKS, KIND_FILE

_FILE_KINDS = (KIND_FILE,)
_FEW = 128  # files that are looked up one by one
_LONG = 32  # files of a run that pays for the look-up of its first
_CREDIT = 16  # short runs more than long ones, before runs are no longer looked for
_NO_PACK = Digest(b"")
_KEPT = 16  # packs whose digests are in memory: 1 MiB each, of files of 1 KB


class FileRun(NamedTuple):
    """So many files, one after the other: in a pack, from this row of its table on. One alone: in none (None), or in an unknown row (-1)."""

    pack: Digest | None
    row: int
    files: int


class PackOrder:
    """The files of packs in their order. `segments` are the index objects now, `read` returns a pack and raises ObjectMissing, ObjectCorrupt."""

    def __init__(self, segments: Callable[[], Mapping[str, Index]], read: Callable[[Digest], Buffer]) -> None:
        self._segments, self._read = segments, read
        self._columns: OrderedDict[Digest, bytes] = OrderedDict()  # pack -> its digests, one after the other
        self._complete: dict[Index, bool] = {}
        self._follows: tuple[Digest, bytes, int] = (_NO_PACK, b"", 0)  # what the last run ended before
        self._credit = _CREDIT

    @property
    def pays(self) -> bool:
        """Returns whether files follow each other as in packs, as far as they were asked about."""
        return self._credit > 0

    def absent(self, digests: bytes, first: int = 0) -> list[tuple[int, Digest]]:
        """Returns those of many files that are in no pack, each with its number, of which the first has `first`."""
        segments, alone = self._segments(), list[tuple[int, Digest]]()
        at, step, count = 0, 1, len(digests) // DIGEST_BYTES
        while at < count and segments and count >= _FEW and self.pays:
            run = self.run(digests, at)
            if run.row < 0:  # what follows a file that is nowhere mostly is not there either
                alone += enumerate(each_digest(digests[at * DIGEST_BYTES : (at + step) * DIGEST_BYTES]), first + at)
            at, step = (at + run.files, 1) if run.row >= 0 else (at + step, 2 * step)
        alone += enumerate(each_digest(digests[at * DIGEST_BYTES :]), first + at)
        return index.absent(segments.values(), alone, _FILE_KINDS)

    def run(self, digests: bytes, at: int) -> FileRun:
        """Returns how many of these files, from number `at` on, lie in a pack in their order."""
        name, column, row = self._follows
        digest = _digest(digests, at)
        if not column.startswith(digest, row * DIGEST_BYTES):
            place = self._look_up(digest)
            if place is None:
                return FileRun(None, -1, 1)
            name, column, row = place
        count = _same(column, row, digests, at)
        self._credit = min(self._credit + 1, _CREDIT) if count >= _LONG else max(self._credit - 1, 0)
        if not count:
            return FileRun(name, -1, 1)
        self._follows = name, column, row + count
        return FileRun(name, row, count)

    def _look_up(self, digest: Digest) -> tuple[Digest, bytes, int] | None:
        """Returns the pack that has a file, the digests of its files, and which of them it is; no digests where that cannot be said."""
        for segment in self._segments().values():
            for at in segment.places(digest):
                try:
                    place = segment.row(at)
                except LaterVersion:
                    place = None
                if place is None:
                    return _NO_PACK, b"", 0
                if place.record.kind == KIND_FILE:
                    try:
                        column = self.column(place.pack) if self._is_complete(segment) else b""
                    except (ObjectCorrupt, ObjectMissing):
                        column = b""
                    return place.pack, column, next(rows_of(column, digest), 0)
        return None

    def column(self, name: Digest) -> bytes:
        """Returns the digests of the objects of a pack, in their order. Raises ObjectMissing, ObjectCorrupt."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = pack.digests_of(self._read(name), name)
            if len(self._columns) > _KEPT:
                self._columns.popitem(last=False)
        return column

    def _is_complete(self, segment: Index) -> bool:
        """Returns whether an index object has all rows of its packs: those of damaged objects are taken out."""
        is_complete = self._complete.get(segment)
        if is_complete is None:
            names = [name for name, entry in segment.packs.items() if entry.pack_class != CHUNKS]
            try:
                is_complete = segment.rows == sum(pack.count_rows(self._read(name), name) for name in names)
            except (ObjectCorrupt, ObjectMissing):
                is_complete = False
            self._complete[segment] = is_complete
        return is_complete


def rows_of(column: bytes, digest: Digest) -> Iterator[int]:
    """Yields where a digest is among others: mostly once."""
    start = column.find(digest)
    while start >= 0:
        if not start % DIGEST_BYTES:
            yield start // DIGEST_BYTES
        start = column.find(digest, start + 1)


def _digest(digests: bytes, at: int) -> Digest:
    return Digest(digests[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES])


def _same(column: bytes, row: int, digests: bytes, at: int) -> int:
    """Returns how many digests two columns have in common, from a row of the one and of the other on."""
    most = min(len(column) // DIGEST_BYTES - row, len(digests) // DIGEST_BYTES - at)
    start, here, same = row * DIGEST_BYTES, at * DIGEST_BYTES, 0
    if column.startswith(digests[here : here + max(most, 0) * DIGEST_BYTES], start):
        return max(most, 0)
    while most - same > 1:  # the first that differs is one of these
        middle = (same + most) // 2
        piece = digests[here + same * DIGEST_BYTES : here + middle * DIGEST_BYTES]
        same, most = (middle, most) if column.startswith(piece, start + same * DIGEST_BYTES) else (same, middle)
    return same
