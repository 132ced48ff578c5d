"""What verify has to fetch: run records, listings, a small file of values. Connects when it is first asked, and says what it fetched.

Offline, without a remote that the user trusts, or when it cannot be reached, it says why: what needs it cannot be checked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from dvlite.errors import DvliteError, ObjectMissing
from dvlite.formats.manifest import Entries
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import Run
from dvlite.oid import RUN, Oid, format_oid
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo
from dvlite.runs import sync
from dvlite.runs.records import Records, bytes_of, open_records
from dvlite.store import fetch
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.remote import Remote
from dvlite.workspace.fetch import FetchRequest, fetch_versions
from dvlite.workspace.workspace import entries_of

_OFFLINE = "--offline was given"


HOW_TO_FETCH = "run records and lists of files come from the remote: dvlite pull, or verify without --offline"


class NotFetched(DvliteError):
    """Something is not here, and could not be fetched."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or HOW_TO_FETCH)


class ContentSource:
    """A remote, and what is here already; a context manager. `name` None: the default remote."""

    def __init__(self, repo: Repo, cache: Cache, name: str | None, progress: Progress, *, offline: bool) -> None:
        self.repo, self.cache, self.progress = repo, cache, progress
        self.records: Records = open_records(repo, progress)
        self.name = name or repo.config.default_remote
        self._offline = offline
        self._stack = contextlib.ExitStack()
        self._remote: Remote | None = None
        self._catalog: Catalog | None = None
        self._fetches = [self._fetch_some, self._fetch_all]  # ways to get run records that were not tried yet
        self.no_records: DvliteError | None = (
            None  # why records that are not here were not fetched, if they were wanted
        )
        self._failed: DvliteError | None = None
        self._entries: dict[Pointer, Entries] = {}
        self.fetched: dict[str, None] = {}  # in words, in order

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def fetched_bytes(self) -> int:
        return 0 if self._remote is None else self._remote.traffic.bytes_read

    def connected(self) -> Remote:
        """Returns the remote. Raises UsageError without one, Untrusted, and NotFetched offline."""
        if self._offline:
            raise NotFetched(_OFFLINE)
        if self._remote is None:
            self.name, opened = open_remote(self.repo, self.cache, self.name, None)
            self._remote = self._stack.enter_context(opened)
        return self._remote

    def catalog(self) -> Catalog:
        """Returns a fresh look at the remote, one for all that is asked."""
        remote = self.connected()
        if self._catalog is None:
            self.progress.start(f"looking at {remote.shown}")
            self._catalog = Catalog(remote, self.progress, to_read=True).look()
            self.progress.finish()
            self.fetched["lists of files"] = None
        return self._catalog

    # --- run records

    def runs(self, wanted: Iterable[Oid]) -> dict[Oid, Run | None]:
        """Returns the records of runs, None for those that are nowhere; fetches those that are not here, and if that is not enough, all.

        If the remote could not be asked, or is empty, `no_records` says it.
        """
        oids = list(dict.fromkeys(wanted))
        runs = self._here(oids)
        while None in runs.values() and self._fetches:
            try:
                self._receive(self._fetches.pop(0), [oid for oid, run in runs.items() if run is None])
                runs |= self._here(oid for oid, run in runs.items() if run is None)
                if None in runs.values() and not self._fetches and self.catalog().is_empty:
                    raise self.catalog().empty_error()
            except DvliteError as error:
                self.progress.finish()
                self.no_records = error
                self._fetches.clear()
        return runs

    def _here(self, oids: Iterable[Oid]) -> dict[Oid, Run | None]:
        runs: dict[Oid, Run | None] = dict.fromkeys(oids)
        for digest, data in self.records.find(set(map(bytes_of, runs))):
            run = self.records.parsed(data)
            runs[format_oid(RUN, digest)] = run if isinstance(run, Run) else None
        return runs

    def _receive(self, fetch: Callable[[Remote, list[Oid]], int], absent: list[Oid]) -> None:
        remote = self.connected()
        before = remote.traffic.bytes_read
        self.progress.start(f"fetching run records from {remote.shown}")
        count = fetch(remote, absent)
        self.progress.finish()
        if remote.traffic.bytes_read != before:
            self.fetched[f"{count:,} run record{'s' * (count != 1)}"] = None

    def fetch_records(self) -> DvliteError | None:
        """Fetches all records that are not here, unless that was done; returns what prevented it."""
        if self._fetches:
            self._fetches.clear()
            try:
                self._receive(self._fetch_all, [])
            except DvliteError as error:
                self.progress.finish()
                self.no_records = error
        return self.no_records

    def _fetch_some(self, remote: Remote, absent: list[Oid]) -> int:
        project = self.repo.config.project
        return 0 if project is None else sync.receive_some(remote, self.records, project, absent)

    def _fetch_all(self, remote: Remote, _absent: list[Oid]) -> int:
        return sync.receive(remote, self.records, self.repo.config.project)

    # --- listings and small files

    def listing(self, path: str, pointer: Pointer) -> Entries:
        """Returns what a directory holds; raises NotFetched if its listing is not here and cannot be fetched."""
        if pointer not in self._entries:
            with contextlib.suppress(ObjectMissing):
                self._entries[pointer] = entries_of(pointer, self.cache)
                return self._entries[pointer]
            self._fetch([pointer])
            try:
                self._entries[pointer] = entries_of(pointer, self.cache)
            except ObjectMissing as error:
                why, hint = ("", None) if self._failed is None else (f": {self._failed.message}", self._failed.hint)
                raise NotFetched(f"the list of files of {path} is not here{why}", hint=hint) from error
        return self._entries[pointer]

    def prefetch(self, listings: Iterable[Pointer]) -> None:
        """Brings listings that are going to be read, all at once; what cannot be fetched is an error when it is asked for."""
        absent = [pointer for pointer in dict.fromkeys(listings) if not self.cache.has_node(pointer.digest)]
        if absent:
            self._fetch(absent)

    def _fetch(self, listings: list[Pointer]) -> None:
        if self._failed is not None:
            return
        try:
            catalog = self.catalog()
            self.cache.create()
            self.progress.start(f"fetching lists of files from {catalog.remote.shown}")
            gone = fetch.fetch_nodes(catalog, self.cache, [pointer.digest for pointer in listings])
            if gone and catalog.is_empty:
                raise catalog.empty_error()
            self.progress.finish()
        except DvliteError as error:
            self.progress.finish()
            self._failed = error
            return
        if len(gone) < len(listings):
            self.fetched["lists of files of folders"] = None

    def small_file(self, path: str, pointer: Pointer) -> bytes:
        """Returns the content of a file that is data, for the values in it; raises NotFetched if it is not here and cannot be fetched."""
        with contextlib.suppress(ObjectMissing):
            return self.cache.read_file(pointer.digest, pointer.size_bytes)
        try:
            fetch_versions(self.catalog(), self.cache, [FetchRequest(path, pointer)], self.progress)
            self.fetched[path] = None
            return self.cache.read_file(pointer.digest, pointer.size_bytes)
        except DvliteError as error:
            raise NotFetched(f"the content of {path} is not here: {error.message}", hint=error.hint) from error

    def entries(self, path: str, pointer: Pointer) -> Entries:
        """Returns the entries of a version, not remembered: it may be large; a file is one entry without a path."""
        if pointer.kind == "directory":
            self.prefetch([pointer])
        try:
            return entries_of(pointer, self.cache)
        except ObjectMissing as error:
            raise NotFetched(f"the list of files of {path} is not here") from error
