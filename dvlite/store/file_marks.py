"""A number for each of many files of a cache: of files in packs, four bytes each, by their place there, given to many at once.

A file that is in no pack, or does not follow others as in a pack, takes 150 bytes.
"""

from __future__ import annotations

from array import array

from dvlite.oid import DIGEST_BYTES, Digest
from dvlite.store import index
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE
from dvlite.store.pack_order import rows_of


class FileMarks:
    """Marks of files, of which the smallest counts. While marks are asked for, no pack may go that has marked files."""

    def __init__(self, cache: Cache) -> None:
        self._cache, self._order = cache, cache.order
        self._packed: dict[Digest, array[int]] = {}  # by pack, for each row the mark and one; 0: none
        self._others: dict[Digest, int] = {}
        self._repeated = index.repeated(cache.segments().values())  # these may have several marks
        # the pack of the file that was asked about last, its digests, and which comes next
        self._follows: tuple[Digest, bytes, int] = (Digest(b""), b"", 0)

    def add(self, digests: bytes, mark: int) -> None:
        """Marks files, whose digests follow each other."""
        at, count = 0, len(digests) // DIGEST_BYTES
        while at < count:
            run = self._order.run(digests, at) if self._order.pays else None
            if run is None or run.pack is None or run.row < 0:
                digest = Digest(digests[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES])
                self._others[digest] = min(mark, self._others.get(digest, mark))
                at += 1
                continue
            if run.pack not in self._packed:
                self._packed[run.pack] = array("I", bytes(4 * (len(self._order.column(run.pack)) // DIGEST_BYTES)))
            marks, rows = self._packed[run.pack], slice(run.row, run.row + run.files)
            marks[rows] = array("I", [min(known, mark + 1) if known else mark + 1 for known in marks[rows]])
            at += run.files

    def get(self, digest: Digest) -> int | None:
        """Returns the mark of a file; asked in the order of packs, without a look-up. Raises ObjectMissing, ObjectCorrupt for a pack that is gone."""
        name, column, row = self._follows
        if (
            digest not in self._others
            and digest not in self._repeated
            and column.startswith(digest, row * DIGEST_BYTES)
        ):
            self._follows = name, column, row + 1
            mark = self._packed[name][row]
            return mark - 1 if mark else None
        marks = {self._others[digest] + 1} if digest in self._others else set[int]()
        for place in self._cache.locations(digest, (KIND_FILE,)) if self._packed else ():
            if place.pack in self._packed:
                column = self._order.column(place.pack)
                for row in rows_of(column, digest):
                    self._follows = place.pack, column, row + 1
                    marks.add(self._packed[place.pack][row])
        marks.discard(0)
        return min(marks) - 1 if marks else None
