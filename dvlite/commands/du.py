"""`dvlite du`: what takes space, by tracked path: the version on disk, all versions that git names, and what of them is in the cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.files import bytes_on_disk
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.formats.pointer import Pointer
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import Scope
from dvlite.results import Result
from dvlite.store.cache import Cache
from dvlite.workspace import sparse
from dvlite.workspace.path_args import Parts, cached_listing, select, usable
from dvlite.workspace.workspace import entries_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DuPath:
    """What a path takes. Content that its versions share counts once; that of several paths, at each."""

    path: str
    is_tracked: bool = True  # by a pointer or lockfile on disk; else only by commits
    size_bytes: int | None = None  # of the version on disk; None: none, or the list of its files is not here
    versions: int = 0
    all_bytes: int = 0  # of all versions together
    cached_bytes: int = 0  # of that, on the disk of the cache
    unlisted: int = 0  # versions not counted, for their lists of files are not here


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DuResult(Result):
    """What takes space, the largest first; totals count content once."""

    schema: ClassVar[str] = "dvlite.du/1"
    paths: tuple[DuPath, ...] = ()
    all_bytes: int = 0
    cached_bytes: int = 0
    cache_bytes: int = 0  # of all that is in the cache
    is_part: bool = False  # targets were given


def du(repo: Repo, targets: Sequence[str], *, progress: Progress) -> DuResult:
    """Adds up the versions of the tracked paths that targets mean; without any, of all paths that git ever named. Asks no remote.

    A target may be inside a tracked directory. Of a large file that the cache shares with the workspace (a reflink), all counts.
    """
    cache = open_cache(repo)
    tracked = usable(repo, targets, progress.warn)
    chosen = select(repo, tracked, targets, inside=True, listing=cached_listing(cache))
    progress.start("adding up versions")
    now = {item.path: item for item in tracked}
    versions = {path: {item.pointer.oid: item} for path, item in now.items()}
    for item in committed_versions.reachable(repo.git, Scope(all_commits=True), progress=progress):
        versions.setdefault(item.path, {}).setdefault(item.pointer.oid, item)
    parts_of = dict.fromkeys(versions, Parts()) if not targets else {item.path: parts for item, parts in chosen}
    rows, everything = [], dict[Digest, int]()
    for path, parts in parts_of.items():
        contents, unlisted = _contents(cache, [item.pointer for item in versions[path].values()], parts)
        size_bytes = None if path not in now else now[path].pointer.size_bytes
        rows.append(
            DuPath(
                path=path,
                is_tracked=path in now,
                size_bytes=_part_bytes(cache, now[path].pointer, parts) if parts and path in now else size_bytes,
                versions=len(versions[path]),
                all_bytes=sum(contents.values()),
                cached_bytes=_stored(cache, contents),
                unlisted=unlisted,
            )
        )
        everything |= contents
    progress.finish()
    return DuResult(
        paths=tuple(sorted(rows, key=lambda row: (-row.cached_bytes, -row.all_bytes, row.path))),
        all_bytes=sum(everything.values()),
        cached_bytes=_stored(cache, everything),
        cache_bytes=bytes_on_disk(cache.folder),
        is_part=bool(targets),
    )


def _contents(cache: Cache, versions: Sequence[Pointer], parts: Parts) -> tuple[dict[Digest, int], int]:
    """Returns the files of versions with their sizes, and how many have their lists of files elsewhere.

    Of each list only what the one before it has not is looked at.
    """
    chooses = sparse.selector(parts) if parts else None
    contents, unlisted = dict[Digest, int](), 0
    before: Digest | None = None
    for pointer in versions:
        if pointer.kind != "directory":
            contents[pointer.digest] = pointer.size_bytes
            continue
        try:
            new = [entry for _, entry in manifest.compare(before, pointer.digest, cache.read_node) if entry is not None]
        except (ObjectMissing, ObjectCorrupt):
            unlisted += 1
            continue
        before = pointer.digest
        for entry in new:
            if entry.flags != EMPTY_DIR and (chooses is None or chooses(entry.path)):
                contents[entry.digest] = entry.size_bytes
    return contents, unlisted


def _part_bytes(cache: Cache, pointer: Pointer, parts: Parts) -> int | None:
    """Returns the size of some files of a version, None if its list of files is not here."""
    try:
        entries, chooses = entries_of(pointer, cache), sparse.selector(parts)
    except (ObjectMissing, ObjectCorrupt):
        return None
    return sum(
        entries.sizes[i] for i, flags in enumerate(entries.flags) if flags != EMPTY_DIR and chooses(entries.paths[i])
    )


def _stored(cache: Cache, contents: Iterable[Digest]) -> int:
    return sum(map(cache.stored_bytes, contents))
