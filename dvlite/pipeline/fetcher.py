"""Brings what a `repro --pull` needs from the default remote: run records, outputs of earlier runs, dependencies that are not here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from dvlite.formats.lockfile import Locked
from dvlite.oid import Oid
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo
from dvlite.runs import sync
from dvlite.runs.logs import MOST_BYTES, lacking, size_on
from dvlite.runs.records import Records
from dvlite.store import fetch
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.fetch import Need
from dvlite.store.remote import Remote
from dvlite.workspace.fetch import FetchRequest, fetch_versions


class Fetcher:
    """A remote (the default one without a name) while stages run; a context manager. Connects when it is first asked for something."""

    def __init__(self, repo: Repo, cache: Cache, progress: Progress, *, remote: str | None = None) -> None:
        self._repo, self._cache, self._progress = repo, cache, progress
        self._name = remote
        self._stack = contextlib.ExitStack()
        self._remote: Remote | None = None
        self._catalog: Catalog | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def records(self, records: Records) -> None:
        """Brings the run records of this project."""
        sync.receive(self._opened(), records, self._repo.config.project)

    def bring(self, versions: Iterable[Locked]) -> bool:
        """Brings versions into the cache; returns False if the remote lacks something of them."""
        parts = [FetchRequest(version.path, version.pointer()) for version in versions]
        if not parts:
            return True
        if self._catalog is None:
            self._catalog = Catalog(self._opened(), self._progress, to_read=True).look()
        got = fetch_versions(self._catalog, self._cache, parts, self._progress)
        self._progress.finish()
        return not got.missing

    def bring_new(self, versions: Sequence[Locked], logs: Iterable[Oid]) -> bool:
        """Brings what was uploaded a moment ago, and logs of which only the ids are known; returns False if the remote lacks something of the versions."""
        self._catalog = Catalog(self._opened(), self._progress, to_read=True).look()
        sizes = {digest: size_on(self._catalog, digest) for digest in lacking(self._cache, logs)}
        needs = [Need(digest, size, "") for digest, size in sizes.items() if size is not None and size <= MOST_BYTES]
        if needs:
            fetch.run(self._catalog, self._cache, needs, self._progress)
            self._progress.finish()
        return self.bring(versions)

    @property
    def remote(self) -> Remote:
        """The remote, open."""
        return self._opened()

    def _opened(self) -> Remote:
        if self._remote is None:
            _, opened = open_remote(self._repo, self._cache, self._name, None)
            self._remote = self._stack.enter_context(opened)
        return self._remote
