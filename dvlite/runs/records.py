"""The run records of a clone: loose files while they are few, batches when there are many (docs/reference/formats/run-batch.md).

Layout: `new/<64 hex>` one record each, named by its digest; `batches/<64 hex>`; `own` the names of what this clone recorded itself;
`listed/` which batches a remote had; `damaged/` damaged files, set aside; `lock`. Records are write-once: a record leaves one place only when it is durable in another. Batches that no remote has
are merged when they are many; the others stay, so that a listing shows what a clone lacks. Knows no remote and no query: see `sync` and
`index`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from dvlite import files
from dvlite.errors import Busy, DvliteError, FormatError, ObjectCorrupt
from dvlite.formats import record
from dvlite.formats.record import Record
from dvlite.oid import RUN, Digest, Oid, digest_bytes, digest_run, format_oid, parse_oid
from dvlite.progress import NullProgress, Progress
from dvlite.repo.repository import Repo
from dvlite.show import quote
from dvlite.store import batch
from dvlite.store.batch import Line

MOST_LOOSE = 256
MOST_SMALL = 64  # local batches below SMALL_BYTES before they are merged
SMALL_BYTES = 1 << 20  # stored
_OWN = "own"
_MOST_OWN = 64 << 20  # bytes: a million records
_HEX64 = re.compile(r"[0-9a-f]{64}")


class Records:
    """The folder `<git-common-dir>/dvlite/runs/`, which need not exist. Damaged files are reported to `progress`."""

    def __init__(self, folder: Path, progress: Progress | None = None) -> None:
        self.folder = folder
        self.progress = progress or NullProgress()
        self._loose, self._batches, self._listed = folder / "new", folder / "batches", folder / "listed"
        self._unsynced: list[Path] = []

    # --- writing ---

    def put(self, content: Record, *, durable: bool = True) -> Oid:
        """Stores a record and returns its name; idempotent. Not `durable`: only after the next `sync`."""
        data = record.dump(content)
        oid = record.name(data)
        self._create(self._loose)
        path = self._loose / hex_of(oid)
        files.write_atomic(path, data, mode=0o444, sync=durable)
        # In one call, and before a batch can take the record: only what stands here counts as this clone's own.
        with (self.folder / _OWN).open("ab", buffering=0) as own:
            own.write(f"{path.name}\n".encode())
        if not durable:
            self._unsynced.append(path)
        if len(self.loose()) > MOST_LOOSE:
            with contextlib.suppress(DvliteError, OSError):  # the record is stored already
                self.fold()
        return oid

    def add(self, records: Sequence[bytes]) -> None:
        """Stores the bytes of many records as batches. Durable; they do not count as this clone's own."""
        self._create(self._loose)
        for new in batch.encode(records, nonces()):
            self.adopt(new.name, new.data)
        self.merge_small()

    def sync(self) -> None:
        """Makes all records durable that were put since the last `sync`."""
        if not self._unsynced:
            return
        for path in self._unsynced:
            with contextlib.suppress(FileNotFoundError):  # folded into a batch, which is durable
                files.sync_path(path)
        self._unsynced.clear()
        files.sync_path(self._loose)

    def own(self) -> set[str]:
        """Returns the names (64 hex) of the records that this clone wrote itself: those of others come from remotes and may say anything."""
        return set((self._read(self.folder / _OWN, _MOST_OWN) or b"").decode("ascii", "replace").split())

    def fold(self) -> None:
        """Moves the loose records into a batch, durable before the first of them is deleted. Does nothing if another process does it."""
        with contextlib.suppress(Busy), self._locked():
            loose = {name: data for name in sorted(self.loose()) if (data := self.read_loose(name)) is not None}
            for new in batch.encode(loose.values(), nonces()):
                self.adopt(new.name, new.data)
            _unlink(self._loose, loose)
            self._merge_small()

    def adopt(self, name: str, data: bytes) -> None:
        """Stores a batch whose name has been checked. Durable; idempotent."""
        self._create(self._batches)
        files.write_atomic(self._batches / name, data, mode=0o444)

    def drop_loose(self, names: Collection[str]) -> None:
        """Deletes loose records that a batch in the folder has too."""
        with contextlib.suppress(Busy), self._locked():
            _unlink(self._loose, names)

    def drop_batches(self, names: Collection[str]) -> None:
        """Deletes batches whose records other batches in the folder have too."""
        with contextlib.suppress(Busy), self._locked():
            _unlink(self._batches, names)

    def merge_small(self) -> None:
        """Merges batches that no remote has into one, if they are small and many. Does nothing if another process does it."""
        if len(self._small()) > MOST_SMALL:
            with contextlib.suppress(Busy), self._locked():
                self._merge_small()

    def note_listed(self, remote: str, names: Collection[str]) -> None:
        """Stores which batches a remote has; `remote` consists of letters, digits and `-`."""
        data = "".join(f"{name}\n" for name in sorted(names)).encode()
        if self.folder.is_dir() and (self._read(self._listed / remote, batch.MAX_BYTES) or b"") != data:
            self._listed.mkdir(exist_ok=True)
            files.write_atomic(self._listed / remote, data, sync=False)

    def listed(self, *, but: str = "") -> set[str]:
        """Returns the batches that remotes had when they were last listed; without the remote `but`."""
        try:
            remotes = os.listdir(self._listed)
        except FileNotFoundError:
            return set()
        return {name for remote in remotes if remote != but for name in self.listed_by(remote)}

    def listed_by(self, remote: str) -> set[str]:
        """Returns the batches that a remote had when it was last listed."""
        return set((self._read(self._listed / remote, batch.MAX_BYTES) or b"").decode("ascii", "replace").split())

    # --- reading ---

    def loose(self) -> set[str]:
        """Returns the names (64 hex) of the loose records."""
        return _names(self._loose)

    def batches(self) -> set[str]:
        """Returns the names (64 hex) of the batches."""
        return _names(self._batches)

    def read(self, oid: Oid) -> Record | None:
        """Returns a record, or None if it is missing; it needs no index of runs."""
        data = self.read_bytes(oid)
        return None if data is None else self.parsed(data)

    def read_bytes(self, oid: Oid) -> bytes | None:
        """Does as `read`, and returns the bytes."""
        return next((data for _, data in self.find({bytes_of(oid)})), None)

    def find(
        self, wanted: AbstractSet[Digest], *, within: Collection[str] | None = None
    ) -> Iterator[tuple[Digest, bytes]]:
        """Yields those of the records that are here (or `within` these batches), verified, each once; needs no index of runs."""
        left, read = set(wanted), set[str]()
        for name in () if within is not None else self.loose().intersection(digest.hex() for digest in wanted):
            if (data := self.read_loose(name)) is not None:
                left.discard(digest := digest_run(data))
                yield digest, data
        while left and (new := self.batches() - read):  # those merged meanwhile too
            for name in sorted(new if within is None else new.intersection(within)):
                for line in self._found(name, frozenset(left)):
                    left.discard(line.digest)
                    yield line.digest, line.data
            read |= new

    def _found(self, name: str, wanted: AbstractSet[Digest]) -> Iterator[Line]:
        data = self.read_batch(name) or b""
        with contextlib.suppress(ObjectCorrupt):  # of a later dvlite, or gone
            yield from batch.find(lambda start, end: data[start:end], len(data), wanted, name[:8])

    def only_in(self, names: AbstractSet[str]) -> int:
        """Returns how many records these batches have that nothing else here has, as their tables say."""
        others = self._prefixes(self.batches() - names).union(bytes.fromhex(name)[:8] for name in self.loose())
        return len(self._prefixes(names) - others)

    def redundant(self, names: AbstractSet[str], within: Collection[str]) -> set[str]:
        """Returns those of the batches `names` all of whose records the batches `within` have."""
        digests = {name: {line.digest for line in self.lines(name)} for name in names}
        known = {digest for digest, _ in self.find(set().union(*digests.values()), within=within)}
        return {name for name, wanted in digests.items() if wanted and wanted <= known}

    def _prefixes(self, names: Iterable[str]) -> set[bytes]:
        found: set[bytes] = set()
        for name in names:
            data = self.read_batch(name)
            with contextlib.suppress(ObjectCorrupt):
                found.update(*(frame.prefixes for frame in batch.table(data or b"", len(data or b""), name[:8])))
        return found

    def parsed(self, data: bytes) -> Record | None:
        """Parses a record; returns None, with a warning, for one of an unknown format."""
        try:
            return record.parse(data, f"run record {digest_run(data).hex()[:8]}")
        except FormatError as error:
            self.progress.warn(f"{error.message}; skipped" + (f" ({error.hint})" if error.hint else ""))
            return None

    def __iter__(self) -> Iterator[tuple[Oid, bytes]]:
        """Yields name and bytes of every record once, unordered; damaged ones are skipped with a warning."""
        seen: set[bytes] = set()
        for name in sorted(self.loose()):  # loose ones first: those folded meanwhile are read from a batch
            data = self.read_loose(name)
            if data is not None:
                seen.add(bytes.fromhex(name))
                yield format_oid(RUN, bytes.fromhex(name)), data
        for line in self._each_line():
            if line.digest not in seen:
                seen.add(line.digest)
                yield format_oid(RUN, line.digest), line.data

    def read_loose(self, name: str) -> bytes | None:
        """Returns the bytes of a loose record, verified; None if it is missing or damaged: then it is set aside."""
        data = self._read(self._loose / name, record.MAX_BYTES)
        if data is None or digest_run(data).hex() == name:
            return data
        self._set_aside(self._loose / name, "its bytes do not match its name")
        return None

    def lines(self, name: str) -> Iterator[Line]:
        """Yields the lines of a batch, verified; a damaged batch is set aside with a warning, so that the next pull fetches it again."""
        data = self.read_batch(name)
        if data is None:
            return
        try:
            yield from batch.decode(data, f"run batch {name[:8]}")
        except ObjectCorrupt as error:
            self._set_aside(self._batches / name, error.message)
        except FormatError as error:
            self.progress.warn(f"{error.message}; skipped")

    def read_batch(self, name: str) -> bytes | None:
        """Returns the bytes of a batch, verified; None if it is missing or damaged: then it is set aside."""
        data = self._read(self._batches / name, batch.MAX_BYTES)
        if data is not None and batch.name_of(data) != name:
            self._set_aside(self._batches / name, "its bytes do not match its name")
            return None
        return data

    def batch_bytes(self, name: str) -> int:
        """Returns the size of a batch, -1 if it is missing."""
        try:
            return (self._batches / name).stat().st_size
        except OSError:
            return -1

    def read_line(self, name: str, frame: tuple[int, int], start: int, length: int) -> bytes | None:
        """Returns one line of a batch at the place that `lines` yielded (`frame`: offset and length); None if it cannot be read."""
        try:
            with open(os.open(self._batches / name, files.READ), "rb") as file:
                data = files.read_at(file.fileno(), frame[1], frame[0])
            return batch.read_line(data, start, length, f"run batch {name[:8]}")
        except (OSError, ObjectCorrupt):
            return None

    def union(self, names: Iterable[str], covered: list[str]) -> Iterator[bytes]:
        """Yields every record of some batches once, unknown formats too; appends the batches that were read whole to `covered`."""
        seen: set[Digest] = set()
        for name in names:
            data = self.read_batch(name)
            try:
                lines = [] if data is None else list(batch.decode(data, f"run batch {name[:8]}"))
            except (ObjectCorrupt, FormatError):  # `lines` reports it
                continue
            for line in lines:
                if line.digest not in seen:
                    seen.add(line.digest)
                    yield line.data
            if lines:
                covered.append(name)

    # --- the folder ---

    def _each_line(self) -> Iterator[Line]:
        """Yields the records of all batches, batches merged meanwhile included."""
        read: set[str] = set()
        while new := self.batches() - read:
            for name in sorted(new):
                yield from self.lines(name)
            read |= new

    def _small(self) -> list[str]:
        """Returns the small batches that no remote is known to have."""
        return [name for name in sorted(self.batches() - self.listed()) if 0 <= self.batch_bytes(name) < SMALL_BYTES]

    def _merge_small(self) -> None:
        """Merges the small batches; the new one is durable before the first of the others is deleted."""
        small = self._small()
        if len(small) > MOST_SMALL:
            covered: list[str] = []
            for new in list(batch.encode(self.union(small, covered), nonces())):
                self.adopt(new.name, new.data)
            _unlink(self._batches, covered)

    def _create(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            files.sync_path(self.folder)
            files.sync_path(self.folder.parent)

    def _read(self, path: Path, most: int) -> bytes | None:
        try:
            with open(os.open(path, files.READ), "rb") as file:
                return file.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.progress.warn(f"{files.os_error(error, 'read', path).message}; skipped")
            return None

    def salvage(self, name: str) -> None:
        """Sets aside a damaged file, by its name in the folder; the good records of a batch are kept in another one first."""
        path = self.folder / name
        if path.parent == self._batches and (data := self._read(path, batch.MAX_BYTES)) is not None:
            with contextlib.suppress(FormatError):
                for new in batch.encode(batch.salvage(data, name), nonces()):
                    self.adopt(new.name, new.data)
        own = sorted(name for name in self.own() if _HEX64.fullmatch(name)) if name == _OWN else []
        self._set_aside(path, "found by dvlite fsck")
        if own:
            files.write_atomic(path, "".join(f"{each}\n" for each in own).encode())

    def keep_damaged(self, name: str, data: bytes) -> None:
        """Stores the bytes of a damaged batch of a remote among what was set aside. Durable; idempotent."""
        self._create(self.folder / "damaged")
        files.write_atomic(self.folder / "damaged" / name, data, mode=0o444)

    def _set_aside(self, path: Path, reason: str) -> None:
        kept = self.folder / "damaged" / path.name
        with contextlib.suppress(OSError):
            kept.parent.mkdir(exist_ok=True)
            os.replace(path, kept)
        self.progress.warn(
            f"run records {quote(str(path))} are damaged ({reason}); set aside, dvlite pull fetches a remote's copy"
        )

    def _locked(self) -> contextlib.AbstractContextManager[int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        return files.lock(self.folder / "lock", wait=False)


def _names(folder: Path) -> set[str]:
    try:
        return {name for name in os.listdir(folder) if _HEX64.fullmatch(name)}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise files.os_error(error, "read", folder) from error


def _unlink(folder: Path, names: Collection[str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(folder / name)


def hex_of(oid: Oid) -> str:
    """Returns the name of a record's loose file."""
    kind, digest = parse_oid(oid)
    if kind != RUN:
        raise DvliteError(f"{quote(oid)} is not the id of a run record")
    return digest.hex()


def bytes_of(oid: Oid) -> Digest:
    """Returns the digest of a record. Raises DvliteError for the id of anything else."""
    return Digest(bytes.fromhex(hex_of(oid)))


def nonces() -> Iterator[bytes]:
    """Yields 16 random bytes for each new batch."""
    while True:
        yield os.urandom(16)


def open_records(repo: Repo, progress: Progress) -> Records:
    """Returns the records of this clone, shared by its worktrees; creates no folder."""
    return Records(repo.common_dir / "dvlite" / "runs", progress)


def open_source_records(repo: Repo, address: str, progress: Progress) -> Records:
    """Returns the records that came with imports from a repository: apart from this project's own, for they are about other paths."""
    name = digest_bytes(address.encode("utf-8", "surrogateescape")).hex()[:32]
    return Records(repo.common_dir / "dvlite" / "sources" / name, progress)
