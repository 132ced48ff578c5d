"""Finds what a changed chunk has in common with an earlier version of its file: stretches of chunks that the remote has already.

A scattered edit changes one chunk of 32 KiB for a few bytes. The earlier version is in the cache, and its recipe says where its bytes lie, so
the new one can name these: a stretch points to a chunk that is stored whole, never to another stretch, so there are no chains
(docs/explanation/design.md has the numbers).
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dvlite.errors import LaterVersion, ObjectCorrupt, ObjectMissing
from dvlite.files import read_at
from dvlite.oid import Digest, digest_file
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack_upload import PackSlot
from dvlite.store.recipes import LargeFile

_AROUND_BYTES = 64 * 1024  # of the earlier version, before and after where a chunk should be
_NEAR_BYTES = 4096  # before and after where something should be
_NEEDLE_BYTES, _FIRST_STEP, _LONGEST_STEP = 48, 8, 2048
_ANYWHERE = 4  # needles of a chunk that are looked for in all of these bytes
_LEAST_BYTES = 512  # of a stretch: shorter ones use up how many there may be, and save little
_BYTES_PER_PIECE = 512  # of a chunk, at least: a part of a recipe, or half of one, must not be short
_PIECES_AT_FIRST, _BYTES_PER_PIECE_OF_FILE = 4096, 2560
_LEAST_COMMON = 0.3  # of a chunk; below it, it is sent as it is
_MOST_READ = 1.25  # bytes of chunks that are read for each byte of stretches of them, beyond the first ...
_READ_AT_FIRST = 1024 * 1024  # ... so many
_MOST_TERMS = 262_144  # of an earlier version: 80 MB; what comes after them is not compared with
_LONGEST_PAUSE = 31  # chunks
_PACKS = 64  # of which the lengths of chunks are in memory
_MOST_SOURCES = 100_000  # chunks that are known to be read already: 15 MB
_UNFIT = "the recipe of an earlier version does not fit its packs"


class Piece(NamedTuple):
    """A piece of a new chunk: a stretch of a chunk on the remote, or without a slot, bytes that are new."""

    slot: PackSlot | None
    number: int
    skip_bytes: int
    length_bytes: int
    is_whole: bool = False


class Earlier:
    """An earlier version of a file, in the cache and on the remote. Not for threads."""

    def __init__(self, catalog: Catalog, file: LargeFile, descriptor: int) -> None:
        self._catalog, self._file, self._descriptor = catalog, file, descriptor
        self._slots = {name: PackSlot(name) for name in file.packs}
        self._terms = list(itertools.islice(catalog.recipes.terms(file), _MOST_TERMS))
        self._starts = array("Q", itertools.accumulate((term.length_bytes for term in self._terms), initial=0))
        # pack -> runs of whole chunks: first, end, offset in the file
        self._runs: dict[Digest, list[tuple[int, int, int]]] = {}
        for term, start in zip(self._terms, self._starts, strict=False):
            if term.skip_bytes is None:
                self._runs.setdefault(term.pack, []).append((term.first, term.first + term.count, start))
        for runs in self._runs.values():
            runs.sort()
        self._ends: dict[Digest, array[int]] = {}  # pack -> where each chunk begins, were they one file; and the end
        self._passed: tuple[Digest, int, int] | None = None
        self._shift = 0  # from an offset in the new version to that in this one
        self._pieces = self._stretched = self._read = 0
        self._sources: set[tuple[Digest, int]] = set()
        self._failed = 0  # chunks with too little in common; halved by one that has enough
        self._pause = 0  # chunks to pass over: after one with nothing in common, the next seldom has more
        self._is_whole: bool | None = None  # whether its bytes are right; None: not looked at

    def passed(self, slot: PackSlot, number: int, offset: int) -> None:
        """Takes note of a chunk of the new version at `offset`: if this version has it, what follows it there may follow here."""
        if slot.pack is not None:
            self._passed = slot.pack, number, offset

    def _follow(self) -> None:
        if self._passed is not None:
            name, number, offset = self._passed
            runs = self._runs.get(name, [])
            i = bisect_right(runs, number, key=lambda run: run[0]) - 1
            if i >= 0 and number < runs[i][1]:
                ends = self._ends_of(name, number)
                self._shift = runs[i][2] + ends[number] - ends[runs[i][0]] - offset
            self._passed = None

    def pieces(self, chunk: bytes, offset: int) -> list[Piece]:
        """Returns the pieces of a new chunk at an offset in the new version; empty if it has too little in common, or too many pieces."""
        if self._pause:
            self._pause -= 1
            return []
        with contextlib.suppress(ObjectCorrupt, ObjectAbsent):
            self._follow()
            most = _PIECES_AT_FIRST + offset // _BYTES_PER_PIECE_OF_FILE - self._pieces
            most = min(len(chunk) // _BYTES_PER_PIECE, most)
            common = self._common_around(chunk, offset, most)
            pieces = list(self._located(chunk, common)) if common else []
            if pieces and len(pieces) <= most and self._is_right() and self._may_read(pieces):
                return pieces
        return []

    def _common_around(self, chunk: bytes, offset: int, most: int) -> list[tuple[int, int, int]]:
        """Returns what a chunk has in common with what lies around its place here: (offset in the chunk, offset here, length)."""
        size = self._starts[-1]
        expected = max(0, min(offset + self._shift, size))
        start = max(0, expected - _AROUND_BYTES)
        end = min(size, expected + len(chunk) + _AROUND_BYTES)
        common = _common(chunk, read_at(self._descriptor, end - start, start), expected - start, most)
        if sum(length for _, _, length in common) < _LEAST_COMMON * len(chunk):
            self._failed += 1
            self._pause = min((self._failed - 1) ** 2, _LONGEST_PAUSE)
            return []
        self._failed //= 2
        self._shift = start + common[-1][1] - offset - common[-1][0]
        return [(at, start + there, length) for at, there, length in common]

    def _is_right(self) -> bool:
        """Returns whether its bytes are those of its name, which is looked at once: the remote has these, so a chunk is read back from them."""
        if self._is_whole is None:
            digest = self._file.recipe.digest
            self._is_whole = digest_file(self._descriptor, self._file.recipe.size_bytes) == digest
        if not self._is_whole:
            self._pause = sys.maxsize
        return self._is_whole

    def _may_read(self, pieces: Sequence[Piece]) -> bool:
        """Returns, and takes note, whether the file is read back about as fast with these pieces as without."""
        if len(self._sources) > _MOST_SOURCES:
            self._sources.clear()
        fresh = {(piece.slot.pack, piece.number) for piece in pieces if piece.slot and piece.slot.pack} - self._sources
        read = self._read
        for name, number in fresh:
            ends = self._ends_of(name, number)
            read += ends[number + 1] - ends[number]
        stretched = self._stretched + sum(piece.length_bytes for piece in pieces)
        if read > _READ_AT_FIRST + _MOST_READ * stretched:
            return False
        self._read, self._stretched, self._pieces = read, stretched, self._pieces + len(pieces)
        self._sources |= fresh
        return True

    def _located(self, chunk: bytes, common: Iterable[tuple[int, int, int]]) -> Iterator[Piece]:
        """Yields the pieces of a chunk: what it has in common, where that lies on the remote, and what is new."""
        end = 0
        for at, there, length in common:
            if at > end:
                yield Piece(None, 0, end, at - end)
            yield from self._places(there, length)
            end = at + length
        if end < len(chunk):
            yield Piece(None, 0, end, len(chunk) - end)

    def _places(self, offset: int, length: int) -> Iterator[Piece]:
        """Yields where bytes of this version lie on the remote. Raises ObjectCorrupt if its recipe does not fit its packs."""
        i = bisect_right(self._starts, offset) - 1
        while length:
            term, start, end = self._terms[i], self._starts[i], self._starts[i + 1]
            slot = self._slots[term.pack]
            ends = self._ends_of(term.pack, term.first + term.count - 1)
            chunks_length = ends[term.first + term.count] - ends[term.first]
            if term.skip_bytes is not None:
                if term.skip_bytes + term.length_bytes > chunks_length:
                    raise ObjectCorrupt(_UNFIT)
                taken = min(length, end - offset)
                yield Piece(slot, term.first, term.skip_bytes + offset - start, taken)
            else:
                if chunks_length * term.repeat != term.length_bytes:
                    raise ObjectCorrupt(_UNFIT)
                position = ends[term.first] + (offset - start) % chunks_length
                number = bisect_right(ends, position) - 1
                taken = min(length, ends[number + 1] - position)
                whole = taken == ends[number + 1] - ends[number]
                yield Piece(slot, number, position - ends[number], taken, whole)
            offset += taken
            length -= taken
            i += offset >= end

    def _ends_of(self, name: Digest, last: int) -> array[int]:
        """Returns where the chunks of a pack begin, were they one file, and the end. Raises ObjectCorrupt unless it has number `last`."""
        ends = self._ends.get(name)
        if ends is None:
            if len(self._ends) >= _PACKS:
                self._ends.clear()
            ends = self._ends[name] = array("Q", (0,))
            total = 0
            for record in self._catalog.footers([name])[name]:
                total += record.raw_length
                ends.append(total)
        if last + 1 >= len(ends):
            raise ObjectCorrupt(_UNFIT)
        return ends


@contextlib.contextmanager
def opened(catalog: Catalog, cache: Cache, bases: Sequence[Digest]) -> Iterator[Earlier | None]:
    """Opens the first of some earlier versions that the cache and the remote have; None if there is none."""
    with contextlib.ExitStack() as stack:
        yield _first(catalog, cache, bases, stack)


def _first(catalog: Catalog, cache: Cache, bases: Sequence[Digest], stack: contextlib.ExitStack) -> Earlier | None:
    for digest, file in catalog.recipes.find(base for base in bases if cache.has_large(base)).items():
        with contextlib.suppress(ObjectMissing, ObjectCorrupt, ObjectAbsent, LaterVersion):
            if catalog.condemned.isdisjoint(file.relies):
                return Earlier(catalog, file, stack.enter_context(cache.open_large(digest)))
    return None


def _common(new: bytes, old: bytes, there: int, most: int) -> list[tuple[int, int, int]]:
    """Returns stretches that two texts have in common, in the order of the new one: (offset there, offset in the old one, length).

    The new text should begin at `there`. Where they differ, some bytes of the new one are looked for around where they should be, ever
    further on, and a few times in all of the old one; what is found is made as long as it can be. Ends early with more than `most`.
    """
    common: list[tuple[int, int, int]] = []
    end = at = 0
    step, anywhere = _FIRST_STEP, _ANYWHERE
    while at + _NEEDLE_BYTES <= len(new) and len(common) <= most:
        needle = new[at : at + _NEEDLE_BYTES]
        expected = max(0, there + at - end)
        place = expected
        if not old.startswith(needle, expected):
            place = old.find(needle, max(0, expected - _NEAR_BYTES), expected + _NEAR_BYTES)
            if place < 0 and anywhere and at - end >= _NEAR_BYTES // 16:
                anywhere -= 1
                place = old.find(needle)
        if place >= 0:
            before = _same_start(new[end:at][::-1], old[max(0, place - (at - end)) : place][::-1])
            length = before + _same_start(new[at:], old[place : place + len(new) - at])
            if length >= _LEAST_BYTES:
                common.append((at - before, place - before, length))
                end, there = at - before + length, place - before + length
                at, step = end, _FIRST_STEP  # the byte there differs
        at += step
        step = min(2 * step, _LONGEST_STEP)
    return common


def _same_start(one: bytes, other: bytes) -> int:
    """Returns how many bytes two texts begin with in common."""
    most = min(len(one), len(other))
    low, high, step = 0, min(32, most), 32
    while low < most and one[low:high] == other[low:high]:
        step *= 2
        low, high = high, min(high + step, most)
    while high - low > 1:  # the first byte that differs is one of these
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low
