"""`dvlite cache prune --pushed`: frees what a remote provably has. Proof is a fresh look at the remote, never what is remembered of it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from dvlite import files
from dvlite.errors import FormatError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest, pointer, root
from dvlite.formats.manifest import EMPTY_DIR, Branch
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.oid import FILE, MANIFEST, Digest
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.open_stores import open_cache, open_remote
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Scope
from dvlite.store import cache_prune as prune_plan
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, KIND_RECIPE
from dvlite.store.remote import Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePruneResult:
    """What left the cache because a remote provably has it."""

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
    """Removes from the cache the files that the remote has in packs it can be relied on for; listings and run records stay.

    A version is proven if all its objects are there and this project keeps it (a root). What belongs to a version that is not proven
    stays, unless a proven one holds it too. Waits until no other dvlite command writes to the cache, and keeps them waiting.
    """
    cache = open_cache(repo)
    name, opened = open_remote(repo, cache, remote, None)
    with opened, contextlib.ExitStack() as stack:
        if not cache.folder.is_dir():
            return CachePruneResult(remote=name, dry_run=dry_run)
        versions = _versions(repo, progress)
        cache.segments()  # a damaged index is mended now: that takes the lock which is about to be held
        if not dry_run:
            waiting = partial(progress.warn, "waiting for another dvlite command here")
            stack.enter_context(repo.lock(waiting=waiting))
            stack.enter_context(files.lock(cache.folder / "lock", waiting=waiting))
            cache.refresh()
        progress.start(f"comparing the cache with {opened.store.label}")
        proof = _prove(Catalog(opened).look(), cache, versions, repo.config.project or "")
        shared = repo.config.cache_dir is not None  # other projects may rely on it, and have another remote
        made = prune_plan.plan(cache, lambda digest: proof.covers(digest, strangers=not shared))
        if not dry_run:
            prune_plan.remove(cache, made)
        progress.finish()
    return CachePruneResult(
        remote=name,
        objects=len(made.large) + len(made.packs),
        freed_bytes=made.freed_bytes,
        kept_objects=made.kept_objects,
        kept_bytes=made.kept_bytes,
        free_bytes=shutil.disk_usage(cache.folder).free,
        dry_run=dry_run,
    )


def _versions(repo: Repo, progress: Progress) -> list[Pointer]:
    """Returns every version that something here refers to: pointers on disk, in any commit, and those that dvlite saved."""
    found = [item.pointer for item in repo.work_tree.tracked()]
    found += [
        item.pointer for item in committed_versions.reachable(repo.git, Scope(all_commits=True), progress=progress)
    ]
    for folder in (repo.common_dir, *(repo.common_dir / "worktrees").glob("*")):
        for file in (folder / "dvlite" / "saved").glob(f"*{SUFFIX}"):
            with contextlib.suppress(FormatError):
                found.append(pointer.parse(file.read_bytes(), file.name))
    return list({(known.kind, known.digest): known for known in found}.values())


@dataclass(slots=True)
class _Proof:
    """What a look at the remote proved: files of proven versions, files of others, and all files that are there at all."""

    proven: set[Digest] = field(default_factory=set)
    unproven: set[Digest] = field(default_factory=set)
    there: set[Digest] = field(default_factory=set)

    def covers(self, digest: Digest, *, strangers: bool) -> bool:
        """Says whether a file may go; `strangers` are files of no version that is known here."""
        return digest in self.proven or (strangers and digest in self.there and digest not in self.unproven)


def _prove(catalog: Catalog, cache: Cache, versions: Iterable[Pointer], project: str) -> _Proof:
    files_of = {known.oid: _files(cache, known) for known in versions}
    large, packs = prune_plan.contents(cache)
    here = {*large, *(record.digest for records in packs.values() for record in records)}
    proof = _Proof(there=_there(catalog, here.union(*(found or () for found in files_of.values()))))
    kept = _roots(catalog.remote, versions, project)
    for known in versions:
        found = files_of[known.oid]
        if found is None:  # its listing is not here: nothing can be said of it
            continue
        whole = known.oid in kept and found <= proof.there and _has_listing(catalog, cache, known)
        (proof.proven if whole else proof.unproven).update(found)
    return proof


def _files(cache: Cache, known: Pointer) -> set[Digest] | None:
    """Returns the files of a version, or None if its listing cannot be read here."""
    if known.kind == "file":
        return {known.digest}
    found: set[Digest] = set()
    try:
        for leaf in manifest.leaves(known.digest, cache.read_node):
            found.update(leaf.digest(i) for i, flags in enumerate(leaf.flags) if flags != EMPTY_DIR)
    except (ObjectMissing, ObjectCorrupt, FormatError):
        return None
    return found


def _there(catalog: Catalog, wanted: Iterable[Digest]) -> set[Digest]:
    """Returns those files that lie whole in packs that stand there, by a listing of now."""
    found: set[Digest] = set()
    with_recipe: list[Digest] = []
    for digest in wanted:
        if _located(catalog, digest, KIND_FILE):
            found.add(digest)
        elif _located(catalog, digest, KIND_RECIPE):
            with_recipe.append(digest)
    recipes = catalog.recipes(with_recipe)
    sound = catalog.sound_packs(name for made in recipes.values() for name in made.packs)
    return found | {digest for digest, made in recipes.items() if sound.issuperset(made.packs)}


def _located(catalog: Catalog, digest: Digest, kind: int) -> bool:
    return any(
        place.record.offset + place.record.stored_length <= catalog.packs[place.pack]
        for place in catalog.locations(digest, (kind,))
    )


def _has_listing(catalog: Catalog, cache: Cache, known: Pointer) -> bool:
    return known.kind == "file" or all(
        _located(catalog, digest, KIND_MANIFEST) for digest in _nodes(cache, known.digest)
    )


def _nodes(cache: Cache, top: Digest) -> Iterator[Digest]:
    queue = [top]
    while queue:
        digest = queue.pop()
        yield digest
        node = manifest.decode(cache.read_node(digest), digest)
        if isinstance(node, Branch):
            queue.extend(node.digests)


def _roots(remote: Remote, versions: Iterable[Pointer], project: str) -> set[str]:
    """Returns the oids of versions that this project keeps on the remote; one listing, and one request for each that others made."""
    wanted = {(MANIFEST if known.kind == "directory" else FILE, known.digest): known.oid for known in versions}
    names: dict[str, list[str]] = {}
    for entry in remote.store.list(root.FOLDER).entries:
        parsed = root.parse_name(entry.name)
        if parsed is not None and (parsed.kind, parsed.digest) in wanted:
            names.setdefault(wanted[parsed.kind, parsed.digest], []).append(entry.name)

    def is_kept(oid: str) -> bool:
        mine = (remote.kept("roots", oid.replace(":", "-")) or b"").decode()
        return mine in names[oid] or any(_is_ours(remote, name, project) for name in names[oid])

    oids = list(names)
    return {oid for oid, kept in zip(oids, remote.each(is_kept, oids), strict=True) if kept}


def _is_ours(remote: Remote, name: str, project: str) -> bool:
    try:
        return root.parse(remote.get(name), name).project == project
    except FormatError:
        return False
