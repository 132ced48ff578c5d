"""Chooses what `fetch` and `pull` bring: which versions, which parts of them, and what may be reused."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dvlite.errors import DvliteError, ObjectMissing
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Scope
from dvlite.show import Show, printable, quote, some
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.workspace import sparse
from dvlite.workspace.fetch import FetchOutcome, FetchRequest, MovedPath, not_moved
from dvlite.workspace.path_args import select, travelling, usable
from dvlite.workspace.restore import CheckoutResult

_EARLIER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """What was added to the cache."""

    schema: ClassVar[str] = "dvlite.fetch/1"
    remote: str
    paths: tuple[MovedPath, ...] = ()
    files: int = 0  # downloaded
    objects: int = 0  # requests answered with data
    downloaded_bytes: int = 0
    size_bytes: int = 0  # of the files that were missing
    records: int = 0  # run records, tags and notes that are new here
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not fetched."""
        where = f"neither on {printable(self.remote)} nor in the cache"
        return not_moved(self.paths, where, "fetch", "ask who added it to run: dvlite push", show)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullResult:
    """A fetch and the checkout after it (None in a dry run, or where only revisions were fetched)."""

    schema: ClassVar[str] = "dvlite.pull/1"
    fetch: FetchResult
    checkout: CheckoutResult | None = None
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not fetched or not checked out."""
        not_fetched = self.fetch.failure(show)
        return not_fetched if not_fetched or self.checkout is None else self.checkout.failure(show)


def parts_of(repo: Repo, cache: Cache, paths: Sequence[str], scope: Scope, progress: Progress) -> list[FetchRequest]:
    """Returns the versions that the arguments stand for, each with earlier versions whose content may be in the cache.

    An output that its pipeline keeps in one clone is left out; raises UsageError if nothing else was given.
    """
    if scope.is_workspace:
        versions = usable(repo, paths, progress.warn, whole=True)
    else:
        versions = committed_versions.reachable(repo.git, scope, progress=progress)
    chosen = travelling(select(repo, versions, paths, inside=True), paths)
    if (
        not paths and scope.is_workspace and (repo.state_dir / sparse.FILE).exists()
    ):  # of a partly checked out directory, the same part
        patterns_by_path = sparse.load(repo.state_dir)
        chosen = [(item, patterns_by_path.get(item.path, ())) for item, _ in chosen]
    named_by = {item.path: item.lockfile for item, _ in chosen}
    histories = (
        committed_versions.histories(repo.git, named_by, _EARLIER, lockfiles=named_by) if cache.folder.exists() else {}
    )
    parts = []
    for item, patterns in chosen:
        bases = tuple(old for old in histories.get(item.path, ()) if old.digest != item.pointer.digest)
        parts.append(FetchRequest(item.path, item.pointer, patterns, bases, item.commit))
    return parts


def fetch_result(
    remote: str, catalog: Catalog, fetched: FetchOutcome, started: float, *, records: int, dry_run: bool
) -> FetchResult:
    """Returns the result of a fetch that began at `started`. Raises ObjectMissing if a fresh look did not find everything."""
    if fetched.missing:
        raise missing_error(fetched.missing, catalog)
    return FetchResult(
        remote=remote,
        paths=fetched.paths,
        files=fetched.files,
        objects=catalog.remote.traffic.objects_read,
        downloaded_bytes=catalog.remote.traffic.bytes_read,
        size_bytes=fetched.size_bytes,
        records=records,
        dry_run=dry_run,
        elapsed_seconds=time.monotonic() - started,
    )


def missing_error(missing: Mapping[str, Sequence[str]], catalog: Catalog) -> ObjectMissing:
    """Returns the error that names what a remote lacks, by a fresh look."""
    wanted = f"cannot fetch {some([quote(path) for path in missing])}"
    if catalog.is_empty:
        error = catalog.empty_error()
        return ObjectMissing(f"{wanted}: {error.message}", hint=error.hint)
    names = [name for lacking in missing.values() for name in lacking]
    listed = f"{some([quote(name) for name in names], 1)} {'are' if len(names) > 1 else 'is'}"
    return ObjectMissing(
        f"{wanted}: {listed} not on {catalog.remote.store.label}",
        hint="push it from a clone that has it, or fetch from another remote: dvlite pull -r NAME; to have a part: dvlite pull PATH",
    )
