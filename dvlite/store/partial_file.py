"""One large file on its way from a remote: a file of its final size in the cache's `partial/`, filled in any order.

A window of consecutive terms is known at a time, however large the file. It survives an interruption: what it holds is checked chunk by
chunk when the download is taken up again. Nothing says what a stretch of a chunk must be, so those that were written are checked with the
whole file; if that is wrong, they are fetched again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import DvliteError, ObjectCorrupt
from dvlite.files import os_error, read_at, write_at
from dvlite.formats import recipe
from dvlite.formats.recipe import Term
from dvlite.oid import Buffer, Digest, digest_bytes, digest_file, format_oid
from dvlite.progress import Progress
from dvlite.store import pack
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import Record
from dvlite.store.recipes import WINDOW_CHUNKS, fits, unfit

_RUN_CHUNKS = 256  # written in one call; the kernel takes at most 1,024
_LONG_BYTES = 512
_KEPT_BYTES = 32 * 1024 * 1024  # of stretches in memory, until those between them are there


@dataclass(frozen=True, slots=True)
class ChunkLocation:
    """Where a chunk belongs: chunk `number` (counted from the term's first) of term `term`, at `offset`, with what it must be.

    Of a stretch, so many bytes of it are passed over, and `length_bytes` of it belong there.
    """

    term: int
    number: int
    offset: int
    record: Record
    skip_bytes: int
    length_bytes: int

    @property
    def is_whole(self) -> bool:
        return self.length_bytes == self.record.raw_length


class PartialFile:
    """Assembles one file, window by window. `write` may be called from many threads, for different packs."""

    def __init__(self, digest: Digest, size_bytes: int, writer: Writer) -> None:
        self._digest, self._size, self._writer = digest, size_bytes, writer
        self.start_bytes = self.end_bytes = 0  # of the window in the file
        self._path, self._file, self.resumed = self._open()
        self._unchecked = array("Q")  # offset and length of each stretch that an earlier try wrote
        self._writing = threading.RLock()  # writers of one file wait for each other in the kernel too, but busily
        self.begin(())

    def begin(self, terms: Sequence[Term]) -> None:
        """Takes up the window of terms after the last one, which is forgotten."""
        self._terms = terms
        self._whole: dict[Digest, list[int]] = {}  # pack -> terms of whole chunks
        self._stretches: dict[Digest, dict[int, list[int]]] = {}  # pack -> chunk -> terms that are stretches of it
        self._have: dict[int, bytearray] = {}  # term -> a byte per chunk; absent: nothing of it is there
        self._places: dict[Digest, list[ChunkLocation]] = {}
        self._done: set[int] = set()  # terms that are there as a whole
        self._kept: dict[int, Buffer] = {}  # stretches that are not written yet
        self._kept_bytes = 0
        self._offsets: list[int] = []
        self.start_bytes = self.end_bytes
        for position, term in enumerate(terms):
            if term.skip_bytes is None:
                self._whole.setdefault(term.pack, []).append(position)
            else:
                self._stretches.setdefault(term.pack, {}).setdefault(term.first, []).append(position)
            self._offsets.append(self.end_bytes)
            self.end_bytes += term.length_bytes
        self.packs = list({**self._whole, **self._stretches})

    @property
    def has_stretches(self) -> bool:
        """Returns whether a term is a stretch of a chunk."""
        return bool(self._stretches)

    @property
    def is_last(self) -> bool:
        """Returns whether the window ends where the file does."""
        return self.end_bytes == self._size

    def _open(self) -> tuple[Path, int, bool]:
        """Opens the partial file, or a file of its own if another process is filling that one."""
        import fcntl  # Unix only

        shared = self._writer.cache.partial_path(self._digest)
        for path in (shared, self._writer.temporary()):
            existed = path.exists()
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except PermissionError:
                if path != shared:
                    raise
                continue  # another member of the group began it
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    existed = existed and os.fstat(descriptor).st_size == self._size
                    os.ftruncate(descriptor, self._size)
                    return path, descriptor, existed
            except (BlockingIOError, FileNotFoundError):
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise AssertionError("a new temporary file is never locked")

    def close(self) -> None:
        """Closes the file; what it holds, and what was still in memory, stays for the next try."""
        if self._file >= 0:
            with contextlib.suppress(DvliteError), self._writing:
                self._write_kept()
            os.close(self._file)
            self._file = -1

    # --- what is there already ---

    def expand(self, footers: Mapping[Digest, list[Record]]) -> None:
        """Notes where each chunk of these packs belongs; nothing if one term stands for too many."""
        if sum(term.count * term.repeat for term in self._terms) > WINDOW_CHUNKS:
            return
        for name, records in footers.items():
            for position in self._positions(name):
                term = self._terms[position]
                for number, record, offset in self._chunks(position, term, records):
                    length = record.raw_length if term.skip_bytes is None else term.length_bytes
                    place = ChunkLocation(position, number, offset, record, term.skip_bytes or 0, length)
                    self._places.setdefault(record.digest, []).append(place)

    def places(self, digest: Digest) -> Sequence[ChunkLocation]:
        """Returns where a chunk belongs, of the packs that were expanded."""
        return self._places.get(digest, ())

    def all_places(self) -> Iterator[tuple[Digest, int, ChunkLocation]]:
        """Yields where all chunks belong, of the packs that were expanded, each with its pack and its number there."""
        for places in self._places.values():
            for place in places:
                term = self._terms[place.term]
                yield term.pack, term.first + place.number % term.count, place

    def keep_what_is_right(self, progress: Progress) -> None:
        """Keeps the chunks that an earlier try left where they belong, and the stretches that it wrote: to the end, which is zero before."""
        for places in self._places.values():
            for place in places:
                chunk = read_at(self._file, place.length_bytes, place.offset)
                if place.is_whole and digest_bytes(chunk) == place.record.digest:
                    self._mark(place.term, place.number)
                elif not place.is_whole and chunk and chunk[-1]:
                    self._done.add(place.term)
                    self._unchecked.extend((place.offset, len(chunk)))
                else:
                    continue
                progress.advance(size_bytes=len(chunk))

    def fill(self, place: ChunkLocation, chunk: bytes, progress: Progress) -> None:
        """Writes a chunk, or what belongs there of it, that was found elsewhere."""
        self.put(place, chunk[place.skip_bytes : place.skip_bytes + place.length_bytes], progress)

    def put(self, place: ChunkLocation, chunk: bytes, progress: Progress) -> None:
        """Writes exactly what belongs there."""
        have = self._have.get(place.term)
        if place.term in self._done or (have is not None and have[place.number]):
            return
        if self._terms[place.term].skip_bytes is not None:
            self._keep({place.term: chunk})
        else:
            self._pwrite(chunk, place.offset)
            self._mark(place.term, place.number)
        progress.advance(size_bytes=len(chunk))

    # --- what is to be downloaded ---

    def packs_needed(self) -> list[Digest]:
        """Returns the packs that hold a chunk which is not there yet."""
        return [name for name in self.packs if any(term not in self._done for term in self._positions(name))]

    def end_window(self) -> bool:
        """Writes what is in memory yet; returns whether every chunk of the window is there."""
        self._write_kept()
        terms = range(len(self._terms))
        return all(position in self._done or 0 not in self._have.get(position, b"\0") for position in terms)

    def needed_bytes(self, name: Digest) -> int:
        """Returns the raw size of what is needed from a pack."""
        done = self._done
        stretches = itertools.chain.from_iterable(self._stretches.get(name, {}).values())
        total = sum(self._terms[position].length_bytes for position in stretches if position not in done)
        for position in self._whole.get(name, ()):
            term = self._terms[position]
            if position not in done:
                have = self._have.get(position)
                share = 1.0 if have is None else have.count(0) / len(have)
                total += int(term.length_bytes // term.repeat * share)
        return total

    def numbers(self, name: Digest, records: list[Record]) -> Iterator[int]:
        """Yields the numbers, in the pack, of chunks that are not there yet."""
        for position in self._whole.get(name, ()):
            term = self._terms[position]
            self._check(term, records)
            yield from (term.first + k for k in range(term.count) if not self._has_all(position, term, k))
        for number, positions in self._stretches.get(name, {}).items():
            self._check(self._terms[positions[0]], records)
            if not self._done.issuperset(positions):
                yield number

    def write(self, name: Digest, records: list[Record], data: bytes, start: int, progress: Progress) -> None:
        """Writes the chunks that a range of a pack, from `start`, holds; each is verified first. Neighbours are written in one call.

        A chunk is unpacked once for all its stretches.
        """
        view = memoryview(data)
        for position in self._whole.get(name, ()):
            term = self._terms[position]
            offset = self._offsets[position]
            period = term.length_bytes // term.repeat
            self._check(term, records)
            run: list[Buffer] = []
            run_offset = run_length = 0
            for k in range(term.count):
                record = records[term.first + k]
                begin = record.offset - start
                inside = begin >= 0 and begin + record.stored_length <= len(view)
                if inside and not self._has_all(position, term, k):
                    if len(run) >= _RUN_CHUNKS or (run and run_offset + run_length != offset):
                        self._write_run(run, run_offset, run_length, period, term.repeat)
                        run, run_length = [], 0
                    if not run:
                        run_offset = offset
                    run.append(pack.unpack_view(record, view[begin : begin + record.stored_length]))
                    run_length += record.raw_length
                    for turn in range(term.repeat):
                        self._mark(position, k + turn * term.count)
                    progress.advance(size_bytes=record.raw_length * term.repeat)
                offset += record.raw_length
            if run:
                self._write_run(run, run_offset, run_length, period, term.repeat)
        for number, positions in self._stretches.get(name, {}).items():
            self._check(self._terms[positions[0]], records)
            begin = records[number].offset - start
            if (
                begin >= 0
                and begin + records[number].stored_length <= len(view)
                and not self._done.issuperset(positions)
            ):
                chunk = pack.unpack_view(records[number], view[begin : begin + records[number].stored_length])
                progress.advance(size_bytes=self._take_stretches(positions, chunk))

    def _take_stretches(self, positions: Sequence[int], chunk: Buffer) -> int:
        """Keeps what terms take of a chunk until it is written; returns how many bytes these are."""
        stretches: dict[int, Buffer] = {}
        for position in positions:
            if position not in self._done:
                term = self._terms[position]
                # copied: a view would keep the chunk in memory, and maybe all of its pack
                stretch = stretches[position] = bytes(recipe.stretch_of(term, chunk))
                if len(stretch) != term.length_bytes:
                    raise unfit(self._digest, term.pack)
        return self._keep(stretches)

    def _keep(self, stretches: Mapping[int, Buffer]) -> int:
        """Keeps stretches, so that those that follow each other in the file are written in one call; returns how many bytes these are."""
        size_bytes = sum(map(len, stretches.values()))
        with self._writing:
            self._kept.update(stretches)
            self._kept_bytes += size_bytes
            self._done.update(stretches)
            if self._kept_bytes > _KEPT_BYTES:
                self._write_kept(least_bytes=_LONG_BYTES)
                if self._kept_bytes > _KEPT_BYTES // 2:
                    self._write_kept()
        return size_bytes

    def _write_kept(self, *, least_bytes: int = 0) -> None:
        """Writes the stretches that are kept, but for those that are short together with all that they meet: what lies beside them may come yet."""
        kept, self._kept, self._kept_bytes = self._kept, {}, 0
        positions = sorted(kept)
        first = 0
        while first < len(positions):
            begin = end = self._offsets[positions[first]]
            last = first
            for position in positions[first : first + _RUN_CHUNKS]:
                if self._offsets[position] != end:
                    break
                end += len(kept[position])
                last += 1
            run = {position: kept[position] for position in positions[first:last]}
            if end - begin >= least_bytes:
                self._write_run(list(run.values()), begin, end - begin, 0, 1)
            else:
                self._kept |= run
                self._kept_bytes += end - begin
            first = last

    def _write_run(self, run: list[Buffer], offset: int, length: int, period: int, repeat: int) -> None:
        if not self.resumed and all(not chunk[0] and not bytes(chunk).strip(b"\0") for chunk in run):  # leave a hole
            return
        try:
            for turn in range(repeat):
                with self._writing:
                    written = os.pwritev(self._file, run, offset + turn * period)
                    if written != length:  # a short write: the rest piece by piece
                        write_at(self._file, b"".join(run)[written:], offset + turn * period + written)
        except OSError as error:
            raise os_error(error, "write", self._path) from error

    def finish(self) -> None:
        """Checks the whole file and gives it its place in the cache."""
        synced = self._writer.sync_soon(self._file)  # the disk works while we hash
        right = digest_file(self._file, self._size) == self._digest
        synced.result()
        if not right:
            if self._unchecked:  # the next try has to bring these, and nothing else
                for offset, length in zip(self._unchecked[::2], self._unchecked[1::2], strict=True):
                    write_at(self._file, bytes(length), offset)
            else:
                os.unlink(self._path)
            raise ObjectCorrupt(
                f"object {format_oid('blake3', self._digest)} is damaged: its chunks do not make the file that its name promises",
                hint="push it again from a clone that has it",
            )
        self._writer.adopt_file(self._path, self._digest, self._size, sync=False)
        self._writer.cache.just_verified.add(self._digest)

    # --- bookkeeping ---

    def _chunks(self, position: int, term: Term, records: list[Record]) -> Iterator[tuple[int, Record, int]]:
        """Yields `(number, record, file offset)` of each chunk of a term, repetitions included."""
        self._check(term, records)
        offset = self._offsets[position]
        run = records[term.first : term.first + term.count]
        for turn in range(term.repeat):
            for k, record in enumerate(run):
                yield turn * term.count + k, record, offset
                offset += record.raw_length

    def _check(self, term: Term, records: list[Record]) -> None:
        if not fits(term, records):
            raise unfit(self._digest, term.pack)

    def _positions(self, name: Digest) -> Iterable[int]:
        """Returns all terms of a pack."""
        return itertools.chain(self._whole.get(name, ()), *self._stretches.get(name, {}).values())

    def _pwrite(self, chunk: bytes, offset: int) -> None:
        if not self.resumed and not chunk.strip(b"\0"):  # leave a hole
            return
        try:
            write_at(self._file, chunk, offset)
        except OSError as error:
            raise os_error(error, "write", self._path) from error

    def _has_all(self, position: int, term: Term, k: int) -> bool:
        """Returns whether chunk k of a term is there in every repetition."""
        have = self._have.get(position)
        return have is not None and all(have[k :: term.count])

    def _mark(self, position: int, number: int) -> None:
        have = self._have.get(position)
        if have is None:
            term = self._terms[position]
            have = self._have[position] = bytearray(term.count * term.repeat)
        have[number] = 1
        if number == len(have) - 1 and 0 not in have:
            self._done.add(position)
