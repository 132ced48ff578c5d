"""`dvlite cache prune --pushed`: frees what a remote provably has. Proof is a fresh listing of the remote, never a remembered one."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from dvlite import files
from dvlite.formats.snapshot import VersionId
from dvlite.oid import parse_oid
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import WAITING, Repo, open_cache
from dvlite.repo.revisions import Scope
from dvlite.store import cache_prune as prune_plan
from dvlite.store import reachable
from dvlite.store.catalog import Catalog
from dvlite.workspace.backups import saved_pointers


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
        versions = _versions(repo, progress)
        cache.segments()  # repairs a damaged index, which takes the lock that is held below
        if not dry_run:
            stack.enter_context(repo.lock(progress))
            stack.enter_context(files.lock(cache.folder / "lock", waiting=partial(progress.warn, WAITING)))
            cache.refresh()
        progress.start(f"comparing the cache with {opened.store.label}")
        held = prune_plan.contents(cache)
        proof = reachable.prove(Catalog(opened, progress).look(), cache, versions, also=held.digests())
        shared = repo.config.cache_dir is not None  # other projects may rely on it, and have another remote
        plan = prune_plan.plan(cache, held, lambda digest: proof.covers(digest, strangers=not shared))
        if not dry_run:
            prune_plan.remove(cache, plan)
        progress.finish()
    return CachePruneResult(
        remote=name,
        objects=len(plan.large) + len(plan.packs),
        freed_bytes=plan.freed_bytes,
        kept_objects=plan.kept_objects,
        kept_bytes=plan.kept_bytes,
        free_bytes=shutil.disk_usage(cache.folder).free,
        dry_run=dry_run,
    )


def _versions(repo: Repo, progress: Progress) -> list[VersionId]:
    """Returns every version that this clone refers to: pointers on disk, in any commit, and saved ones."""
    pointers = [item.pointer for item in repo.work_tree.tracked()]
    scope = Scope(all_commits=True)
    pointers += [item.pointer for item in committed_versions.reachable(repo.git, scope, progress=progress)]
    pointers += saved_pointers(repo)
    return list(dict.fromkeys(parse_oid(pointer.oid) for pointer in pointers))
