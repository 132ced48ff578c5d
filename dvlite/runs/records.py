"""The run records of a clone: loose files while they are few, batches when there are many (docs/reference/formats/run-batch.md).

Layout: `new/<64 hex>` one record each, named by its digest; `batches/<64 hex>`; `listed/` which batches a remote had; `damaged/` what was
set aside; `lock`. Records are write-once: whatever is not damaged is never changed, and a record leaves one place only when it is durable
in another. Batches that no remote has under their names are merged when they are many; those that one has stay, so that what is here is
known by a listing. Knows no remote and no query: `exchange` and `index` do.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from dvlite import files
from dvlite.errors import Busy, DvliteError, FormatError, ObjectCorrupt
from dvlite.formats import record
from dvlite.formats.record import Note, Run
from dvlite.oid import RUN, Digest, Oid, digest_run, format_oid, parse_oid
from dvlite.progress import NullProgress, Progress
from dvlite.repo.repository import Repo
from dvlite.store import batch
from dvlite.store.batch import Line

MOST_LOOSE = 256
MOST_SMALL = 64  # batches made here that may be below SMALL_BYTES
SMALL_BYTES = 1 << 20  # stored
_HEX64 = re.compile(r"[0-9a-f]{64}")


class Records:
    """What is in `<git-common-dir>/dvlite/runs/`; the folder need not exist. `progress` hears of what is damaged."""

    def __init__(self, folder: Path, progress: Progress | None = None) -> None:
        self.folder = folder
        self.progress = progress or NullProgress()
        self._loose, self._batches, self._listed = folder / "new", folder / "batches", folder / "listed"
        self._unsynced: list[Path] = []

    # --- writing ---

    def put(self, found: Run | Note, *, durable: bool = True) -> Oid:
        """Stores a record and returns its name; idempotent. Not `durable`: only the next `sync` makes it so."""
        data = record.dump(found)
        oid = record.name(data)
        self._make(self._loose)
        path = self._loose / hex_of(oid)
        files.write_atomic(path, data, mode=0o444, sync=durable)
        if not durable:
            self._unsynced.append(path)
        if len(self.loose()) > MOST_LOOSE:
            with contextlib.suppress(DvliteError, OSError):  # the record is safe where it is
                self.fold()
        return oid

    def sync(self) -> None:
        """Makes all records durable that were put since the last call."""
        if not self._unsynced:
            return
        for path in self._unsynced:
            with contextlib.suppress(FileNotFoundError):  # folded into a batch, which is durable
                files.sync_path(path)
        self._unsynced.clear()
        files.sync_path(self._loose)

    def fold(self) -> None:
        """Moves the loose records into a batch; the batch is durable before the first of them goes. Left to another process at it."""
        with contextlib.suppress(Busy), self._locked(wait=False):
            found = {name: data for name in sorted(self.loose()) if (data := self.read_loose(name)) is not None}
            for made in batch.encode(found.values(), nonces()):
                self.adopt(made.name, made.data)
            self._unlink_loose(found)
            self._merge_small()

    def adopt(self, name: str, data: bytes) -> None:
        """Keeps a batch, made here or fetched; its name has been checked. Durable; idempotent."""
        self._make(self._batches)
        files.write_atomic(self._batches / name, data, mode=0o444)

    def drop_loose(self, names: Collection[str]) -> None:
        """Removes loose records that a batch in the folder has; what was adopted is durable."""
        with contextlib.suppress(Busy), self._locked(wait=False):
            self._unlink_loose(names)

    def drop_batches(self, names: Collection[str]) -> None:
        """Removes batches whose records other batches in the folder have."""
        with contextlib.suppress(Busy), self._locked(wait=False):
            self._unlink_batches(names)

    def merge_small(self) -> None:
        """Merges batches that no remote has into one, if they are small and many. Left to another process at it."""
        if len(self._small()) > MOST_SMALL:
            with contextlib.suppress(Busy), self._locked(wait=False):
                self._merge_small()

    def note_listed(self, remote: str, names: Collection[str]) -> None:
        """Remembers which batches a remote has; `remote` is a word of letters, digits and `-`."""
        data = "".join(f"{name}\n" for name in sorted(names)).encode()
        if self.folder.is_dir() and (self._read(self._listed / remote, batch.MAX_BYTES) or b"") != data:
            self._listed.mkdir(exist_ok=True)
            files.write_atomic(self._listed / remote, data, sync=False)

    def listed(self, *, but: str = "") -> set[str]:
        """Returns the batches that remotes had when they were last listed, one of them (`but`) left out."""
        try:
            remotes = os.listdir(self._listed)
        except FileNotFoundError:
            return set()
        texts = (self._read(self._listed / remote, batch.MAX_BYTES) for remote in remotes if remote != but)
        return {name for text in texts for name in (text or b"").decode("ascii", "replace").split()}

    # --- reading ---

    def loose(self) -> set[str]:
        """Returns the names (64 hex) of the loose records."""
        return _names(self._loose)

    def batches(self) -> set[str]:
        """Returns the names (64 hex) of the batches."""
        return _names(self._batches)

    def read(self, oid: Oid) -> Run | Note | None:
        """Returns a record, or None if it is not here. Reads every batch if it is in none of the loose files: `Index.run` knows where."""
        data = self.read_bytes(oid)
        return None if data is None else self.parsed(data)

    def read_bytes(self, oid: Oid) -> bytes | None:
        """Does as `read`, and returns the bytes."""
        name = hex_of(oid)
        data = self.read_loose(name)
        if data is not None:
            return data
        return next((line for line in self._each_line() if digest_run(line).hex() == name), None)

    def parsed(self, data: bytes) -> Run | Note | None:
        """Returns what the bytes of a record say; None, with a warning, for those that this dvlite does not know."""
        try:
            return record.parse(data, f"run record {digest_run(data).hex()[:8]}")
        except FormatError as error:
            self.progress.warn(f"{error.message}; passed over" + (f" ({error.hint})" if error.hint else ""))
            return None

    def __iter__(self) -> Iterator[tuple[Oid, bytes]]:
        """Yields every record once, by name and bytes, in no order; damaged ones are warned of and left out."""
        seen: set[bytes] = set()
        for name in sorted(self.loose()):  # first the loose: what is folded meanwhile is found in a batch
            data = self.read_loose(name)
            if data is not None:
                seen.add(bytes.fromhex(name))
                yield format_oid(RUN, bytes.fromhex(name)), data
        for line in self._each_line():
            digest = digest_run(line)
            if digest not in seen:
                seen.add(digest)
                yield format_oid(RUN, digest), line

    def read_loose(self, name: str) -> bytes | None:
        """Returns the bytes of a loose record, verified; None if there is none such, or it is damaged: then it is set aside."""
        data = self._read(self._loose / name, record.MAX_BYTES)
        if data is None or digest_run(data).hex() == name:
            return data
        self._set_aside(self._loose / name, "it is not what its name promises")
        return None

    def lines(self, name: str) -> Iterator[Line]:
        """Yields the lines of a batch, verified; a damaged one is warned of and set aside, so that the next pull fetches it again."""
        data = self.read_batch(name)
        if data is None:
            return
        try:
            yield from batch.decode(data, f"run batch {name[:8]}")
        except ObjectCorrupt as error:
            self._set_aside(self._batches / name, error.message)
        except FormatError as error:
            self.progress.warn(f"{error.message}; passed over")

    def read_batch(self, name: str) -> bytes | None:
        """Returns the bytes of a batch, if they are what its name promises."""
        data = self._read(self._batches / name, batch.MAX_BYTES)
        if data is not None and batch.name_of(data) != name:
            self._set_aside(self._batches / name, "it is not what its name promises")
            return None
        return data

    def batch_bytes(self, name: str) -> int:
        """Returns how long a batch is, -1 if it is not here."""
        try:
            return (self._batches / name).stat().st_size
        except OSError:
            return -1

    def read_line(self, name: str, frame: tuple[int, int], start: int, length: int) -> bytes | None:
        """Returns one line of a batch from where `lines` said it lies (offset and length of its frame); None if it cannot be read."""
        try:
            with open(self._batches / name, "rb") as file:
                data = os.pread(file.fileno(), frame[1], frame[0])
            return batch.read_line(data, start, length, f"run batch {name[:8]}")
        except (OSError, ObjectCorrupt):
            return None

    def union(self, names: Iterable[str], covered: list[str]) -> Iterator[bytes]:
        """Yields every record of some batches once, those included that this dvlite does not know; `covered` gets the batches read whole."""
        seen: set[Digest] = set()
        for name in names:
            data = self.read_batch(name)
            try:
                lines = [] if data is None else list(batch.decode(data, f"run batch {name[:8]}"))
            except (ObjectCorrupt, FormatError):  # whoever asks for its lines is told
                continue
            for line in lines:
                digest = digest_run(line.data)
                if digest not in seen:
                    seen.add(digest)
                    yield line.data
            if lines:
                covered.append(name)

    # --- the folder ---

    def _each_line(self) -> Iterator[bytes]:
        """Yields the records of all batches; of those that are merged meanwhile, those of the new one."""
        read: set[str] = set()
        while new := self.batches() - read:
            for name in sorted(new):
                yield from (line.data for line in self.lines(name))
            read |= new

    def _small(self) -> list[str]:
        """Returns the small batches that no remote is known to have."""
        found = []
        for name in self.batches() - self.listed():
            with contextlib.suppress(FileNotFoundError):
                if (self._batches / name).stat().st_size < SMALL_BYTES:
                    found.append(name)
        return sorted(found)

    def _merge_small(self) -> None:
        """The one that is made is durable before the first of the others goes."""
        small = self._small()
        if len(small) > MOST_SMALL:
            covered: list[str] = []
            for made in list(batch.encode(self.union(small, covered), nonces())):
                self.adopt(made.name, made.data)
            self._unlink_batches(covered)

    def _unlink_batches(self, names: Collection[str]) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(self._batches / name)

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            files.sync_path(self.folder)
            files.sync_path(self.folder.parent)

    def _read(self, path: Path, most: int) -> bytes | None:
        try:
            with path.open("rb") as file:
                return file.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.progress.warn(f"{files.os_error(error, 'read', path).message}; passed over")
            return None

    def _set_aside(self, path: Path, reason: str) -> None:
        kept = self.folder / "damaged" / path.name
        with contextlib.suppress(OSError):
            kept.parent.mkdir(exist_ok=True)
            os.replace(path, kept)
        self.progress.warn(
            f"run records {files.quote(str(path))} are damaged ({reason}); set aside, dvlite pull fetches what a remote has"
        )

    def _unlink_loose(self, names: Collection[str]) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(self._loose / name)

    def _locked(self, *, wait: bool) -> contextlib.AbstractContextManager[int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        return files.lock(self.folder / "lock", wait=wait)


def _names(folder: Path) -> set[str]:
    try:
        return {name for name in os.listdir(folder) if _HEX64.fullmatch(name)}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise files.os_error(error, "read", folder) from error


def hex_of(oid: Oid) -> str:
    """Returns the name of a record's loose file."""
    kind, digest = parse_oid(oid)
    if kind != RUN:
        raise DvliteError(f"{files.quote(oid)} is not the id of a run record")
    return digest.hex()


def nonces() -> Iterator[bytes]:
    """Yields 16 random bytes for each batch that is made."""
    while True:
        yield os.urandom(16)


def open_records(repo: Repo, progress: Progress) -> Records:
    """Returns the records of this clone, shared by its worktrees; makes no folder."""
    return Records(repo.common_dir / "dvlite" / "runs", progress)
