"""One large file on its way from a remote: a file of its final size in the cache's `partial/`, filled in any order.

A window of consecutive terms is known at a time, however large the file. It survives an interruption: what it holds is checked chunk by
chunk when the download is taken up again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import ObjectCorrupt
from dvlite.files import os_error, read_at, write_at
from dvlite.formats.recipe import Term
from dvlite.oid import Buffer, Digest, digest_bytes, digest_file, format_oid
from dvlite.progress import Progress
from dvlite.store import pack
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import Record
from dvlite.store.recipes import WINDOW_CHUNKS

_RUN_CHUNKS = 256  # written in one call; the kernel takes at most 1,024


@dataclass(frozen=True, slots=True)
class ChunkLocation:
    """Where a chunk belongs: chunk `number` (counted from the term's first) of term `term`, at `offset`, with what it must be."""

    term: int
    number: int
    offset: int
    record: Record


class PartialFile:
    """Assembles one file, window by window. `write` may be called from many threads, for different packs."""

    def __init__(self, digest: Digest, size_bytes: int, writer: Writer) -> None:
        self._digest, self._size, self._writer = digest, size_bytes, writer
        self.start_bytes = self.end_bytes = 0  # of the window in the file
        self._path, self._file, self.resumed = self._open()
        self._writing = threading.Lock()  # writers of one file wait for each other in the kernel too, but busily
        self.begin(())

    def begin(self, terms: Sequence[Term]) -> None:
        """Takes up the window of terms after the last one, which is forgotten."""
        self._terms = terms
        self._by_pack: dict[Digest, list[int]] = {}
        self._have: dict[int, bytearray] = {}  # term -> a byte per chunk; absent: nothing of it is there
        self._places: dict[Digest, list[ChunkLocation]] = {}
        self._done: set[int] = set()  # terms that are there as a whole
        self._offsets: list[int] = []
        self.start_bytes = self.end_bytes
        for position, term in enumerate(terms):
            self._by_pack.setdefault(term.pack, []).append(position)
            self._offsets.append(self.end_bytes)
            self.end_bytes += term.length_bytes
        self.packs = list(self._by_pack)

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
        """Closes the file; what it holds stays for the next try."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    # --- what is there already ---

    def expand(self, footers: Mapping[Digest, list[Record]]) -> None:
        """Notes where each chunk of these packs belongs; nothing if one term stands for too many."""
        if sum(term.count * term.repeat for term in self._terms) > WINDOW_CHUNKS:
            return
        for name, records in footers.items():
            for position in self._by_pack[name]:
                for number, record, offset in self._chunks(position, self._terms[position], records):
                    place = ChunkLocation(position, number, offset, record)
                    self._places.setdefault(record.digest, []).append(place)

    def places(self, digest: Digest) -> Sequence[ChunkLocation]:
        """Returns where a chunk belongs, of the packs that were expanded."""
        return self._places.get(digest, ())

    def keep_what_is_right(self, progress: Progress) -> None:
        """Keeps the chunks that an earlier try left where they belong."""
        for places in self._places.values():
            for place in places:
                chunk = read_at(self._file, place.record.raw_length, place.offset)
                if digest_bytes(chunk) == place.record.digest:
                    self._mark(place.term, place.number)
                    progress.advance(size_bytes=len(chunk))

    def fill(self, place: ChunkLocation, chunk: bytes, progress: Progress) -> None:
        """Writes a chunk that was found elsewhere."""
        have = self._have.get(place.term)
        if have is not None and have[place.number]:
            return
        self._pwrite(chunk, place.offset)
        self._mark(place.term, place.number)
        progress.advance(size_bytes=len(chunk))

    # --- what is to be downloaded ---

    def packs_needed(self) -> list[Digest]:
        """Returns the packs that hold a chunk which is not there yet."""
        return [name for name, terms in self._by_pack.items() if any(term not in self._done for term in terms)]

    def is_complete(self) -> bool:
        """Returns whether every chunk of the window is there."""
        return all(0 not in self._have.get(position, b"\0") for position in range(len(self._terms)))

    def needed_bytes(self, name: Digest) -> int:
        """Returns the raw size of what is needed from a pack."""
        total = 0
        for position in self._by_pack[name]:
            term = self._terms[position]
            if position not in self._done:
                have = self._have.get(position)
                share = 1.0 if have is None else have.count(0) / len(have)
                total += int(term.length_bytes // term.repeat * share)
        return total

    def numbers(self, name: Digest, records: list[Record]) -> Iterator[int]:
        """Yields the numbers, in the pack, of chunks that are not there yet."""
        for position in self._by_pack[name]:
            term = self._terms[position]
            self._check(term, records)
            yield from (term.first + k for k in range(term.count) if not self._has_all(position, term, k))

    def write(self, name: Digest, records: list[Record], data: bytes, start: int, progress: Progress) -> None:
        """Writes the chunks that a range of a pack, from `start`, holds; each is verified first. Neighbours are written in one call."""
        view = memoryview(data)
        for position in self._by_pack[name]:
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
        run = records[term.first : term.first + term.count]
        if len(run) != term.count or sum(record.raw_length for record in run) * term.repeat != term.length_bytes:
            raise ObjectCorrupt(
                f"the recipe of {format_oid('blake3', self._digest)} is damaged: it does not fit pack {term.pack.hex()}",
                hint="push the file again from a clone that has it",
            )

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
