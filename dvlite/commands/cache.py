"""`dvlite cache prune --pushed`: frees what a remote provably has. Proof is a fresh listing of the remote, never a remembered one."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import WAITING, Repo, open_cache
from dvlite.share.needs import named_versions, projects_sharing
from dvlite.store import cache_sweep, reachable
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_FILE

_OTHERS = "not proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePruneResult:
    """What was removed from the cache because a remote provably has it."""

    schema: ClassVar[str] = "dvlite.cache-prune/1"
    remote: str
    objects: int = 0
    freed_bytes: int = 0
    kept_objects: int = 0  # not on the remote
    kept_bytes: int = 0
    free_bytes: int = 0  # on the disk of the cache, now
    dry_run: bool = False
    warnings: tuple[str, ...] = ()


def cache_prune(
    repo: Repo, *, remote: str | None = None, dry_run: bool = False, progress: Progress
) -> CachePruneResult:
    """Removes from the cache the files that the remote has in packs that are not condemned; listings and run records stay.

    A version is proven if all its objects are on the remote and this clone pushed it (a root). Files of a version that is not proven
    stay, unless a proven one has them too. Takes the lock of the cache, so other dvlite commands that write to it wait.
    """
    cache = open_cache(repo)
    name, opened = open_remote(repo, cache, remote, None)
    with opened, contextlib.ExitStack() as stack:
        if not cache.folder.is_dir():
            return CachePruneResult(remote=name, dry_run=dry_run)
        versions = list(named_versions(repo, progress))
        kept_for_others: set[Digest] = set()
        for other in projects_sharing(repo, cache):
            theirs = named_versions(other, progress)
            if _has_same_store(repo, other, name):  # proven for one, proven for the other
                versions += theirs
            else:
                kept_for_others |= reachable.files_of(theirs, cache)
        cache.segments()  # repairs a damaged index, which takes the lock that is held below
        if not dry_run:
            stack.enter_context(repo.lock(progress))
            stack.enter_context(files.lock(cache.folder / "lock", waiting=partial(progress.warn, WAITING)))
            cache.refresh()
        progress.start(f"comparing the cache with {opened.store.label}")
        digests = set(cache_sweep.file_digests(cache))
        proof = reachable.prove(Catalog(opened, progress).look(), cache, versions, also=digests)
        shared = repo.config.cache_dir is not None  # other projects may rely on it, and have another remote

        def judge(kind: int, digest: Digest) -> cache_sweep.Verdict:
            is_safe = digest not in kept_for_others and proof.covers(digest, strangers=not shared)
            return (False, name) if kind == KIND_FILE and is_safe else (True, _OTHERS if kind == KIND_FILE else "")

        sweep = cache_sweep.plan(cache, judge, cache_sweep.Limits())
        if not dry_run:
            cache_sweep.apply(cache, sweep, judge)
        progress.finish()
    kept = sweep.kept.get(_OTHERS, cache_sweep.Amount())
    return CachePruneResult(
        remote=name,
        objects=sum(amount.objects for amount in sweep.gone.values()),
        freed_bytes=sweep.freed_bytes,
        kept_objects=kept.objects,
        kept_bytes=kept.size_bytes,
        free_bytes=shutil.disk_usage(cache.folder).free,
        dry_run=dry_run,
    )


def _has_same_store(repo: Repo, other: Repo, name: str) -> bool:
    """Returns whether another clone is of the same project and has the same place under the same name."""
    if repo.config.project is None or other.config.project != repo.config.project:
        return False
    try:
        return other.remote(name).key == repo.remote(name).key
    except DvliteError:
        return False
