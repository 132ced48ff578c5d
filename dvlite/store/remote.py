"""An open remote: its store, a pool of connections, the traffic, and the notes that the clone has of it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from dvlite import files
from dvlite.errors import DvliteError, ObjectCorrupt
from dvlite.oid import DIGEST_BYTES, Digest, digest_bytes
from dvlite.store import index
from dvlite.store.cache import Cache
from dvlite.store.object_store import Listing, ObjectStore
from dvlite.store.origins import Origin
from dvlite.store.retry import RetryBudget, RetryingStore
from dvlite.store.url import FOLDER, S3, Location, check_options

T = TypeVar("T")

MEND = "in a clone that has the data: dvlite fsck --remote --deep --repair"


@dataclass(slots=True)
class Traffic:
    """What a command moved; counted in one place."""

    objects_written: int = 0
    bytes_written: int = 0
    objects_read: int = 0
    bytes_read: int = 0


class Remote:
    """A store with a pool of connections and a folder of notes about it. A context manager.


    The notes are those of one clone: what a push believes must not come from a cache that others write.
    """

    def __init__(
        self, store: ObjectStore, cache: Cache, key: str, *, jobs: int, notes: Path | None = None, clone: str = ""
    ) -> None:
        self.store = store
        self.shown = store.label  # in progress: its name, where it has one
        self.clone = clone  # the id of the clone that opened it; empty outside a repository
        self.cache = cache
        self.jobs = jobs
        self.folder = (notes or cache.folder / "remote") / key
        self.traffic = Traffic()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(jobs)
        self._ahead: dict[str, Future[Listing]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is not None:
            self.store.close()  # ends the wait of retries
        self._pool.shutdown(cancel_futures=True)
        self.store.close()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return self._pool.submit(work)

    def list_ahead(self, prefix: str) -> None:
        """Starts a listing that a command is going to need, beside others; the next `listing` of this prefix returns it."""
        self._ahead[prefix] = self._pool.submit(self.store.list, prefix)

    def listing(self, prefix: str) -> Listing:
        """Lists names, or returns what was started ahead, once: not if this client wrote anything since."""
        ahead = self._ahead.pop(prefix, None)
        return self.store.list(prefix) if ahead is None else ahead.result()

    def run_all(self, work: Callable[[str], T], names: Sequence[str]) -> list[T]:
        """Runs requests at the same time; raises the first error after all ended."""
        futures = [self._pool.submit(work, name) for name in names]
        wait(futures)  # else the client would be closed under those that still run
        return [future.result() for future in futures]

    def damaged(self, error: DvliteError) -> DvliteError:
        """Returns the error for damage that was met there: which remote, and how to mend it; what is no damage stays as it is."""
        if not isinstance(error, ObjectCorrupt):
            return error
        return ObjectCorrupt(f"{error.message} (on {self.store.label})", hint=MEND)

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        data = self.store.get(name, start=start, end=end)
        with self._lock:
            self.traffic.objects_read += 1
            self.traffic.bytes_read += len(data)
        return data

    def put(self, name: str, data: bytes | bytearray) -> None:
        self._ahead.clear()
        self.store.put(name, data)
        with self._lock:
            self.traffic.objects_written += 1
            self.traffic.bytes_written += len(data)

    def delete(self, names: Sequence[str]) -> None:
        self._ahead.clear()
        self.store.delete(names)

    def remember(self, kind: str, name: str, data: bytes) -> None:
        """Saves a note; losing it costs one request, so one that cannot be written is left out."""
        folder = self.folder / kind
        with contextlib.suppress(DvliteError, OSError):
            folder.mkdir(parents=True, exist_ok=True)
            files.write_atomic(folder / name, data, mode=0o444, sync=False)

    def remember_checked(self, kind: str, name: str, data: bytes) -> None:
        """Saves a note that is not named by its content, after a checksum that ties it to its name, this remote and this clone."""
        self.remember(kind, name, note_checksum(self.clone, f"{self.folder.name}/{kind}/{name}", data) + data)

    def recall_checked(self, kind: str, name: str) -> bytes | None:
        """Returns what `remember_checked` saved under this name; None for a note that is damaged, or was moved or copied here."""
        data = self.recall(kind, name) or b""
        body = data[DIGEST_BYTES:]
        place = f"{self.folder.name}/{kind}/{name}"
        return body if data[:DIGEST_BYTES] == note_checksum(self.clone, place, body) else None

    def recall(self, kind: str, name: str) -> bytes | None:
        """Returns a note, unverified."""
        return files.read_own(self.folder / kind / name, index.MAX_BYTES)

    def remembered(self, kind: str) -> set[str]:
        try:
            return {name for name in os.listdir(self.folder / kind) if not name.startswith(files.TEMP_PREFIX)}
        except OSError:
            return set()

    def forget(self, kind: str, names: set[str]) -> None:
        """Removes remembered objects."""
        for name in self.remembered(kind) & names:
            with contextlib.suppress(OSError):
                os.unlink(self.folder / kind / name)


def note_checksum(clone: str, place: str, data: bytes) -> Digest:
    """Returns what ties the note at a place, `<key>/<kind>/<name>`, to a clone."""
    return digest_bytes(f"{clone}/{place}\n".encode() + data)


def open_store(location: Location, options: Mapping[str, str], *, budget: RetryBudget, connections: int) -> ObjectStore:
    """Returns the store at a location, for up to `connections` calls at a time; makes no request yet.

    Backends load on demand: fsspec takes 0.2 s. The caller has checked that the user trusts the place (`url.host_of`). Raises UsageError for options that do not belong.
    """
    check_options(location.scheme, options)
    if location.scheme == FOLDER:
        from dvlite.store.folder import FolderStore

        assert location.folder is not None
        return FolderStore(location.folder)
    if location.scheme == S3:
        from dvlite.store.s3 import S3Store

        return RetryingStore(S3Store(location, options, connections=connections), budget)
    from dvlite.store.fsspec_store import FsspecStore

    return RetryingStore(FsspecStore(location, options), budget)


def open_origin(url: str, location: Location | None, options: Mapping[str, str], connections: int) -> Origin:
    """Returns the origin at an http(s) URL, or at the location of any other URL; makes no request.

    As `open_store`: backends load on demand, and the caller has checked that the user trusts the place.
    """
    if location is None:
        from dvlite.store.web import WebOrigin

        return WebOrigin(url, connections)
    check_options(location.scheme, options)
    if location.scheme == S3:
        from dvlite.store.s3 import S3Origin

        return S3Origin(location, options, is_folder=url.endswith("/"), connections=connections)
    from dvlite.store.fsspec_store import FsspecOrigin

    return FsspecOrigin(location, options)
