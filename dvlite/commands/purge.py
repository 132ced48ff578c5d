"""`dvlite purge`: removes the content of files from every version, here and on remotes, and leaves a tombstone that says who, when and why."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dvlite import __version__, files
from dvlite.errors import DvliteError, ObjectMissing, PartlyDone, RemoteError, UsageError, reason_of
from dvlite.formats import manifest, snapshot, tombstone
from dvlite.formats.manifest import EMPTY_DIR, Branch
from dvlite.formats.snapshot import Version, version_of
from dvlite.formats.tombstone import Tombstone
from dvlite.moving.lfs_folder import local_folder, object_in
from dvlite.moving.lfs_objects import LfsObjects
from dvlite.oid import EMPTY_FILE, MANIFEST, Digest, format_oid
from dvlite.oid import FILE as FILE_OID
from dvlite.paths import is_inside
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.share.collect_remote import Collection, CollectOptions, collect_remote
from dvlite.share.needs import every_version, refuse_shallow
from dvlite.show import Show, count, quote, word
from dvlite.store import cache_sweep, fetch
from dvlite.store.cache import Cache
from dvlite.store.cache_sweep import PURGED, Amount, Limits, Verdict
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_FILE
from dvlite.workspace.path_args import guess, usable

CACHE = "cache"  # what the store of this clone is called


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeOptions:
    """What to purge of the paths (what the work tree's pointers name; what a revision names; all that commits ever named), and how."""

    reason: str
    revision: str | None = None
    all_versions: bool = False
    apply: bool = False
    remote: str | None = None
    grace_seconds: float | None = None
    jobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgedContent:
    """One content, under one of the paths that have it; `versions` of that tracked path name it."""

    path: str
    oid: str
    size_bytes: int
    versions: int
    asked: bool  # False: the path was not named, and has the same bytes
    in_workspace: bool  # a file stands there: it is left alone


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgedStore:
    """What one store has of it. `pieces` are those of large files; `shared_pieces` are part of other files too, and stay."""

    store: str  # "cache", or the name of a remote
    url: str = ""
    size_bytes: int = 0  # stored, of the purged content
    freed_bytes: int = 0  # deleted now, with what lay beside it and nothing needs
    later_bytes: int = 0  # deleted by the first collection after the grace
    pieces: int = 0
    shared_pieces: int = 0
    problem: str | None = None  # why nothing could be done there


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PurgeResult(Result):
    """What was purged, or would be, where, and what stays."""

    schema: ClassVar[str] = "dvlite.purge/1"
    reason: str
    applied: bool = False  # False: a plan
    command: str = ""  # does it, and completes it where it was cut short
    contents: tuple[PurgedContent, ...] = ()
    stores: tuple[PurgedStore, ...] = ()
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns where the content could not be removed."""
        failed = [store for store in self.stores if store.problem is not None]
        if not failed or not self.applied:
            return None
        names = show.paths([store.store for store in failed])
        if failed[0].store == CACHE:
            return PartlyDone(
                f"the content may still stand in the cache: {failed[0].problem}",
                hint=f"dvlite fsck --deep --repair, then: {self.command}",
            )
        return PartlyDone(
            f"the content still stands on {names}: {failed[0].problem}",
            hint=f"{self.command}, or later: dvlite gc --remote {word(failed[0].store)} --yes",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """One purge of the past."""

    path: str
    files: int
    user: str
    time: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PurgeListResult(Result):
    """What was purged, the newest first."""

    schema: ClassVar[str] = "dvlite.purge-list/1"
    purges: tuple[Purge, ...] = ()
    warnings: tuple[str, ...] = ()


def purge_list(repo: Repo, *, progress: Progress) -> PurgeListResult:
    """Returns the tombstones that are known here; those of a remote arrive with each fetch, pull and push."""
    del progress
    cache = open_cache(repo)
    known = [tombstone.parse(data, name) for name, data in cache.tombstones.items()]
    return PurgeListResult(
        purges=tuple(
            Purge(path=each.path, files=len(each.files), user=each.user, time=each.time, reason=each.reason)
            for each in sorted(known, key=lambda each: (each.time, each.path), reverse=True)
        )
    )


def purge(repo: Repo, paths: Sequence[str], options: PurgeOptions, *, progress: Progress) -> PurgeResult:
    """Removes content from every version, wherever it is named; without `apply`, only plans it.

    Tombstones come first, here and on each remote, then the content goes: whatever is cut short, the same command completes. A remote that
    cannot be reached is named, and all else is done. Raises UsageError for paths that name nothing; DvliteError, with nothing done, in
    a shallow clone, or where a listing that may name the content is nowhere.
    """
    refuse_shallow(repo.git)
    cache = open_cache(repo)
    asked = [repo.relative(path) for path in paths]
    names = [options.remote] if options.remote is not None else list(repo.config.remote_names)
    progress.start("reading the history")
    of_lfs = _of_lfs(repo, cache, asked, names, progress)
    versions = [*every_version(repo, progress), *of_lfs]
    others = [path for path in asked if all(version.path != path for version in of_lfs)]
    named = [*of_lfs, *(_named(repo, others, options, versions) if others else ())]
    _bring_listings(repo, cache, [*versions, *named], names, progress)
    mentions = _Mentions(cache, versions)
    chosen = _chosen(cache, asked, named, paths)
    mentions.find(chosen, asked)
    stones = _tombstones(repo, cache, chosen, paths, options.reason)
    if options.apply:
        cache.create()
        for data in stones:
            cache.bury(data)
    else:
        for data in stones:
            cache.bury(data, keep=False)
    stores = [_on_remote(repo, name, options, stones, progress) for name in names]
    here = _in_cache(repo, cache, apply=options.apply, progress=progress)
    progress.finish()
    return PurgeResult(
        reason=options.reason,
        applied=options.apply,
        command=_command(paths, options),
        contents=tuple(mentions.rows(repo)),
        stores=(here, *stores),
        warnings=tuple(_warnings(repo, cache, of_lfs)),
    )


def _command(paths: Sequence[str], options: PurgeOptions) -> str:
    words = ["dvlite purge", *map(word, paths)]
    words += ["--rev", word(options.revision)] if options.revision is not None else []
    words += ["--all-versions"] if options.all_versions else []
    words += ["-r", word(options.remote)] if options.remote is not None else []
    words += [f"--grace {options.grace_seconds:.0f}s"] if options.grace_seconds is not None else []
    return " ".join((*words, "--reason", word(options.reason), "--yes"))


# --- what is meant ---


def _named(repo: Repo, asked: Sequence[str], options: PurgeOptions, versions: Sequence[Version]) -> list[Version]:
    """Returns the versions that the paths stand for."""
    if options.all_versions:
        chosen = list(versions)
    else:
        given = [str(repo.root / path) for path in asked]
        at = options.revision
        items = usable(repo, given, _pass_over) if at is None else repo.at(at).tracked()
        chosen = [version_of(item.path, item.pointer) for item in items]
    related = [
        version
        for version in chosen
        if any(is_inside(version.path, path) or is_inside(path, version.path) for path in asked)
    ]
    if not related:
        raise UsageError(
            f"{quote(asked[0])} is not tracked by dvlite there",
            hint=f"{guess(asked[0], (version.path for version in chosen))}name what a commit had: --rev R, or --all-versions",
        )
    return related


def _of_lfs(repo: Repo, cache: Cache, asked: Sequence[str], names: Sequence[str], progress: Progress) -> list[Version]:
    """Returns the objects of Git LFS that the paths name as `lfs/SHA256` and that are on one of these remotes. Raises RemoteError for the last that cannot be asked."""
    wanted = {path for path in asked if snapshot.lfs_sha256(Version(path, FILE_OID, EMPTY_FILE, 0)) is not None}
    there: dict[Version, None] = {}
    problem: RemoteError | None = None
    for name in names if wanted else ():
        try:
            _, remote = open_remote(repo, cache, name, None)
            with remote:
                objects = LfsObjects(repo, cache, remote, name, progress)
                objects.look()
                claimed = (snapshot.lfs_version(sha256, *content) for sha256, content in objects.claimed())
                there |= {version: None for version in claimed if version.path in wanted}
        except RemoteError as error:
            problem = error
    if problem is not None and len({version.path for version in there}) < len(wanted):
        raise problem
    return list(there)


def _pass_over(_: str) -> None:
    """Passes over pointers that have nothing to do with the paths: what names the content is looked for in all of history."""


def _chosen(cache: Cache, asked: Sequence[str], versions: Sequence[Version], paths: Sequence[str]) -> dict[Digest, int]:
    """Returns the contents of the paths in some versions, with their sizes. Raises UsageError for a path that has none."""
    chosen: dict[Digest, int] = {}
    found: set[str] = set()
    for version in versions:
        for path in asked:
            files_there = list(_files_at(cache, version, path))
            chosen.update(files_there)
            found.update([path] if files_there else ())
    for path, given in zip(asked, paths, strict=True):
        if path not in found:
            raise UsageError(f"{quote(given)} names no file there", hint="see what there is: dvlite ls -R")
    if all(size == 0 for size in chosen.values()):
        raise UsageError(
            f"{quote(paths[0])} is empty: there is nothing to purge", hint="see what there is: dvlite ls -l"
        )
    return {digest: size for digest, size in chosen.items() if size}


def _files_at(cache: Cache, version: Version, path: str) -> Iterator[tuple[Digest, int]]:
    """Yields digest and size of the files of a version that are at a path or below it."""
    if version.kind != MANIFEST:
        if is_inside(version.path, path):
            yield version.digest, version.size_bytes
        return
    inner = b"" if is_inside(version.path, path) else os.fsencode(path[len(version.path) + 1 :])
    if not inner and not is_inside(version.path, path):
        return
    for leaf in manifest.leaves(version.digest, cache.read_node):
        entry = leaf.find(inner) if inner else None
        entries = (
            [entry] if entry is not None else leaf.subtree(inner) if inner else map(leaf.__getitem__, range(len(leaf)))
        )
        yield from ((each.digest, each.size_bytes) for each in entries if each.flags != EMPTY_DIR)


def _bring_listings(
    repo: Repo, cache: Cache, versions: Sequence[Version], names: Sequence[str], progress: Progress
) -> None:
    """Brings the listings that the cache lacks from the remotes. Raises ObjectMissing for one that is nowhere: it may name the content."""
    roots = dict.fromkeys(version.digest for version in versions if version.kind == MANIFEST)
    absent = [digest for digest in roots if not _has_listing(cache, digest)]
    problem: DvliteError | None = None
    for name in names if absent else ():
        try:
            _, remote = open_remote(repo, cache, name, None)
            with remote:
                fetch.fetch_nodes(Catalog(remote, progress, to_read=True).look(), cache, absent)
        except DvliteError as error:
            problem = error
        absent = [digest for digest in absent if not _has_listing(cache, digest)]
    if absent:
        lost = next(version for version in versions if version.digest == absent[0])
        why = f": {problem.message}" if problem is not None else ""
        raise ObjectMissing(
            f"cannot find out what has the content: the list of files of a version of {quote(lost.path)} is nowhere{why}",
            hint="dvlite fetch --all-commits; what no remote has must come from the clone that added it",
        )


def _has_listing(cache: Cache, digest: Digest) -> bool:
    pending = [digest]
    while pending:
        try:
            node = manifest.decode(cache.read_node(pending[-1]), pending.pop())
        except ObjectMissing:
            return False
        if isinstance(node, Branch):
            pending += node.digests
    return True


@dataclass(slots=True)
class _Mentions:
    """Where contents are named, in all versions."""

    cache: Cache
    versions: Sequence[Version]
    _rows: dict[tuple[str, Digest], list[int]] = field(default_factory=dict)  # -> size, versions
    _asked: Sequence[str] = ()

    def find(self, chosen: dict[Digest, int], asked: Sequence[str]) -> None:
        """Looks through all versions; a part of a listing that many share is read once."""
        self._asked = asked
        known: dict[Digest, tuple[tuple[str, Digest], ...]] = {}

        def within(node_digest: Digest) -> tuple[tuple[str, Digest], ...]:
            if node_digest not in known:
                node = manifest.decode(self.cache.read_node(node_digest), node_digest)
                if isinstance(node, Branch):
                    known[node_digest] = tuple(each for child in node.digests for each in within(child))
                else:
                    known[node_digest] = tuple(
                        (os.fsdecode(node.paths[i]), digest)
                        for i, flags in enumerate(node.flags)
                        if (digest := node.digest(i)) in chosen and flags != EMPTY_DIR
                    )
            return known[node_digest]

        for version in self.versions:
            if version.kind == MANIFEST:
                names = [(f"{version.path}/{inner}", digest) for inner, digest in within(version.digest)]
            else:
                names = [(version.path, version.digest)] if version.digest in chosen else []
            for name, digest in names:
                self._rows.setdefault((name, digest), [chosen[digest], 0])[1] += 1

    def rows(self, repo: Repo) -> Iterator[PurgedContent]:
        for (name, digest), (size_bytes, versions) in sorted(self._rows.items()):
            yield PurgedContent(
                path=name,
                oid=format_oid(FILE_OID, digest),
                size_bytes=size_bytes,
                versions=versions,
                asked=any(is_inside(name, path) for path in self._asked),
                in_workspace=os.path.lexists(repo.root / name),
            )


def _tombstones(
    repo: Repo, cache: Cache, chosen: dict[Digest, int], paths: Sequence[str], reason: str
) -> tuple[bytes, ...]:
    """Returns tombstones for what has none yet."""
    new = tuple(sorted(chosen.keys() - cache.purged.keys()))
    stone = Tombstone(
        files=new,
        path=", ".join(map(repo.relative, paths)),
        user=repo.git.config_get("user.email") or "",
        time=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        reason=reason,
        project=repo.config.project or "",
        dvlite=__version__,
    )
    return tuple(map(tombstone.dump, stone.parts()))


# --- where it goes ---


def _on_remote(
    repo: Repo, name: str, options: PurgeOptions, stones: tuple[bytes, ...], progress: Progress
) -> PurgedStore:
    wanted = CollectOptions(
        name, options.jobs, options.apply, options.grace_seconds, only_purged=True, tombstones=stones
    )
    try:
        collection = collect_remote(repo, wanted, progress=progress)
    except DvliteError as error:
        return PurgedStore(store=name, problem=reason_of(error))
    return _of_collection(collection, options)


def _of_collection(collection: Collection, options: PurgeOptions) -> PurgedStore:
    todo, done = collection.plan, collection.done
    given_up = sum((*todo.garbage.values(), *todo.repacked.values()))
    freed = done.deleted_bytes if done is not None else given_up if options.grace_seconds == 0 else 0
    return PurgedStore(
        store=collection.remote,
        url=collection.url,
        size_bytes=todo.held.size_bytes,
        freed_bytes=freed,
        later_bytes=max(0, given_up - freed),
        pieces=todo.held.chunks,
        shared_pieces=todo.held.shared,
    )


def _in_cache(repo: Repo, cache: Cache, *, apply: bool, progress: Progress) -> PurgedStore:
    """Removes what is purged from the cache, damaged copies and leftovers of killed commands too."""
    if not cache.folder.is_dir():
        return PurgedStore(store=CACHE)
    cache.segments()  # repairs a damaged index, which takes the lock that is held below

    def judge(kind: int, digest: Digest) -> Verdict:
        return (False, PURGED) if kind == KIND_FILE and digest in cache.purged else (True, "")

    with contextlib.ExitStack() as stack:
        if apply:
            stack.enter_context(repo.lock(progress))
            stack.enter_context(files.lock(cache.folder / "lock", wait=repo.waits, waiting=progress.warn))
            cache.refresh()
        progress.start("looking at the cache")
        sweep = cache_sweep.plan(cache, judge, Limits(tidies=apply))
        gone = sweep.gone.get(PURGED, Amount())
        damaged = cache_sweep.apply(cache, sweep, judge) if apply else 0
        if apply:
            _clear_quarantine(cache)
    problem = None
    if sweep.unreadable:
        problem = f"cannot read {count(sweep.unreadable, 'pack')}"
    elif damaged:
        problem = f"{count(damaged, 'other object')} in its packs cannot be copied: damaged"
    return PurgedStore(
        store=CACHE,
        url=str(cache.folder),
        size_bytes=gone.size_bytes,
        freed_bytes=0 if damaged else gone.size_bytes,
        problem=problem,
    )


def _clear_quarantine(cache: Cache) -> None:
    """Removes damaged copies of what is purged; a folder that cannot be listed is an error, as they may be in it."""
    purged = {digest.hex() for digest in cache.purged}
    folder = cache.folder / "quarantine"
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.startswith("files-") and name[6:70] in purged:
                (folder / name).unlink(missing_ok=True)


def _warnings(repo: Repo, cache: Cache, of_lfs: Sequence[Version]) -> Iterator[str]:
    copies = (object_in(local_folder(repo), version.path.rpartition("/")[2]) for version in of_lfs)
    for copy in filter(files.is_there, copies):
        yield f"git-lfs has a copy of its own in this clone; to remove it: rm {word(str(copy))}"
    quarantine = cache.folder / "quarantine"
    if any(quarantine.glob("packs-*")):
        yield f"damaged packs in quarantine may hold the content; to remove them: rm {word(str(quarantine))}/packs-*"
