"""Brings versions of tracked paths, or parts of them, from a remote into the cache; what `fetch`, `pull` and `get` do first."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

from dvlite.errors import Dropped, DvliteError, ObjectCorrupt, ObjectMissing, PartlyDone, Untrusted, UsageError
from dvlite.formats import manifest
from dvlite.formats.manifest import Entries
from dvlite.formats.pointer import Pointer
from dvlite.oid import Digest
from dvlite.paths import ancestors
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import Show, count, quote, some
from dvlite.store import fetch
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.fetch import Need
from dvlite.workspace import purged, sparse
from dvlite.workspace.purged import PurgedFile
from dvlite.workspace.workspace import chosen_of, entries_of, lacking

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedPath:
    """One version of a tracked path on its way to or from a remote."""

    path: str
    oid: str
    files: int = 0
    size_bytes: int = 0
    state: Literal["pushed", "fetched", "copied", "present", "planned", "missing", "dropped", "lost", "failed"] = (
        "present"
    )
    revision: str | None = None  # the commit that names it, when revisions were asked for
    problem: str | None = None
    purged: tuple[PurgedFile, ...] = ()  # files of it that were removed for good, here and on remotes


def named(paths: Sequence[MovedPath], show: Show) -> str:
    """Returns the first few different paths."""
    return show.paths(list(dict.fromkeys(path.path for path in paths)))


def not_moved(paths: Sequence[MovedPath], where: str, verb: str, hint: str, show: Show) -> DvliteError | None:
    """Returns what `verb` could not move: `where` says from where the missing are absent, `hint` how to get them."""
    for state in ("missing", "failed", "dropped"):
        those = [path for path in paths if path.state == state]
        if not those:
            continue
        reason = next((f": {path.problem}" for path in those if path.problem), "")
        if state == "missing":
            return ObjectMissing(f"{named(those, show)}: {where}{reason}", hint=hint)
        if state == "dropped":
            return Dropped(named(those, show), those[0].problem or "")
        amount = f"{len(those)} of {count(len(paths), 'tracked path')}"
        again = f"run dvlite {verb} again: it continues"
        return PartlyDone(f"cannot {verb} {amount}, {named(those, show)}{reason}", hint=again)
    gone = [file for path in paths for file in path.purged]
    return purged.failure_of(gone, show) if gone else None


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """A version of a tracked path, patterns that choose a part of it (none: all), and earlier versions that may be cached.

    `selects` chooses among the files of that part.
    What the listing `beside` has too is not looked for: it is on disk.
    """

    path: str
    pointer: Pointer
    patterns: tuple[str, ...] = ()
    bases: tuple[Pointer, ...] = ()
    commit: str = ""
    selects: sparse.Selects | None = None
    beside: Digest | None = None


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """What was fetched, in counts, and the files that could not be, by tracked path: the remote lacks them, or has them damaged."""

    paths: tuple[MovedPath, ...]
    files: int
    size_bytes: int
    missing: Mapping[str, Sequence[str]]
    damage: DvliteError | None = None  # the first that was met; None: all that is missing is not there


def fetch_versions(
    catalog: Catalog,
    cache: Cache,
    parts: Sequence[FetchRequest],
    progress: Progress,
    *,
    dry_run: bool = False,
    limit_bytes: int | None = None,
) -> FetchOutcome:
    """Fetches manifests, then the files in them that the cache lacks. A dry run fetches manifests and counts files.

    What is missing or damaged stops no other path; but if anything is, or more bytes are to come than `limit_bytes`, a call with that is a dry run.
    """
    missing: dict[str, list[str]] = {}
    problems: list[DvliteError] = []
    for part in parts:
        if part.pointer.kind == "directory":
            for problem in fetch.fetch_nodes(catalog, cache, [part.pointer.digest]).values():
                missing.setdefault(part.path, []).append(part.path)
                problems.append(problem)
    _require_matches(cache, [part for part in parts if part.patterns and part.path not in missing])
    needs = _Needs(cache, [None if part.path in missing else part for part in parts])
    todo = fetch.plan(catalog, needs)
    left, damage, files, size_bytes = todo.absent, todo.damage, todo.files, todo.size_bytes
    if limit_bytes is not None and (missing or left or size_bytes > limit_bytes):
        dry_run = True
    if files and not dry_run:
        left, damage = fetch.run(catalog, cache, needs, progress, first=todo)
    counts = needs.counts
    damage = next((problem for problem in problems if not isinstance(problem, ObjectMissing)), damage)
    tracked = {part.path for part in parts}
    for need in left:
        owner = next(path for path in (need.path, *ancestors(need.path)) if path in tracked)
        missing.setdefault(owner, []).append(need.path)
    paths = tuple(
        replace(_moved(part, counts[number], missing, dry_run=dry_run), purged=_purged(cache, part))
        if cache.purged and part.path not in missing
        else _moved(part, counts[number], missing, dry_run=dry_run)
        for number, part in enumerate(parts)
    )
    size_bytes -= sum(need.size_bytes for need in left)
    return FetchOutcome(paths, files - len(left), size_bytes, missing, damage)


class _Needs:
    """The files of some versions that the cache lacks, whenever they are asked for; of the first time, how many of each and their bytes."""

    def __init__(self, cache: Cache, parts: Sequence[FetchRequest | None]) -> None:
        self._cache, self._parts = cache, parts
        self.counts: dict[int, tuple[int, int]] = {}

    def __iter__(self) -> Iterator[Need]:
        for number, part in enumerate(self._parts):
            files = size_bytes = 0
            for need in _needs(self._cache, part) if part is not None else ():
                files, size_bytes = files + 1, size_bytes + need.size_bytes
                yield need
            self.counts.setdefault(number, (files, size_bytes))


def _require_matches(cache: Cache, parts: Sequence[FetchRequest]) -> None:
    """Raises UsageError for a pattern that matches nothing in any of the versions; a glob may reach into several paths."""
    keys = [
        (part, pattern, ("" if sparse.is_glob(pattern) else part.path, pattern))
        for part in parts
        for pattern in part.patterns
    ]
    matched: set[tuple[str, str]] = set()
    for part, pattern, key in keys:
        if key not in matched and chosen_of(part.pointer, cache, [pattern]).paths:
            matched.add(key)
    for part, pattern, key in keys:
        if key not in matched:
            sparse.require_matches(part.path, [pattern], [])


def _needs(cache: Cache, part: FetchRequest) -> Iterator[Need]:
    """Yields the files of a part that the cache lacks."""
    for leaf, i in needed(cache, part):
        inner, size = leaf.paths[i], leaf.sizes[i]
        bases = _bases(cache, part, inner) if size > cache.pack_below_bytes else ()
        path = f"{part.path}/{os.fsdecode(inner)}" if inner else part.path
        yield Need(leaf.digest(i), size, path, bases)


def needed(cache: Cache, part: FetchRequest) -> Iterator[tuple[Entries, int]]:
    """Yields the files of a part that the cache lacks, each as a leaf of the listing and its place in it."""
    selects = part.selects
    for leaf, i in lacking(part.pointer, cache, part.patterns, part.beside):
        if selects is None or selects(leaf.paths[i]):
            yield leaf, i


def _purged(cache: Cache, part: FetchRequest) -> tuple[PurgedFile, ...]:
    chooses = sparse.selector(part.patterns) if part.patterns else None
    return tuple(purged.purged_in(cache, part.path, entries_of(part.pointer, cache), chooses).values())


def _bases(cache: Cache, part: FetchRequest, inner: bytes) -> tuple[Digest, ...]:
    """Returns earlier contents of one large file that are in the cache: their chunks need no download."""
    cached = []
    for base in part.bases:
        digest = file_in(cache, base, inner)
        if digest is not None and cache.large_path(digest).exists():
            cached.append(digest)
    return tuple(dict.fromkeys(cached))[:1]


def file_in(cache: Cache, version: Pointer, inner: bytes) -> Digest | None:
    """Returns the digest of a file in a version, if the version's listing is in the cache."""
    if version.kind == "file":
        return version.digest if not inner else None
    try:
        entry = manifest.find(version.digest, inner, cache.read_node)
    except ObjectMissing:
        return None
    return None if entry is None or entry.kind != manifest.FILE else entry.digest


def _moved(
    part: FetchRequest, count: tuple[int, int], missing: Mapping[str, Sequence[str]], *, dry_run: bool
) -> MovedPath:
    files, size_bytes = count
    if part.path in missing:
        problem = f"{some(missing[part.path], 1)} not on the remote"
        return MovedPath(
            path=part.path, oid=part.pointer.oid, state="missing", revision=part.commit or None, problem=problem
        )
    return MovedPath(
        path=part.path,
        oid=part.pointer.oid,
        files=files,
        size_bytes=size_bytes,
        state="present" if not files else "planned" if dry_run else "fetched",
        revision=part.commit or None,
    )


def with_listings(
    repo: Repo,
    cache: Cache,
    path: str,
    needed: Iterable[Pointer | None],
    work: Callable[[], T],
    progress: Progress,
    *,
    remote: str | None = None,
) -> T:
    """Returns what `work` returns; if a listing is missing, fetches those of the versions in `needed` and runs it again.

    Costs nothing if the cache has what is read; else it asks `remote`, or the default one. Raises ObjectMissing naming `path` if there is
    no trusted remote or none that has them.
    """
    try:
        return work()
    except ObjectMissing as error:
        roots = [version.digest for version in needed if version is not None and version.kind == "directory"]
        _fetch_listings(repo, cache, path, roots, error, progress, remote)
    return work()


def listing_of(
    repo: Repo, cache: Cache, progress: Progress, remote: str | None = None
) -> Callable[[Tracked], Sequence[bytes] | None]:
    """Returns a function that lists a tracked directory, from a remote if the cache lacks its listing; None if it is not there either."""

    def listing(item: Tracked) -> Sequence[bytes] | None:
        read = partial(entries_of, item.pointer, cache)
        with contextlib.suppress(ObjectMissing, ObjectCorrupt):
            return with_listings(repo, cache, item.path, [item.pointer], read, progress, remote=remote).paths
        return None

    return listing


def _fetch_listings(
    repo: Repo,
    cache: Cache,
    path: str,
    roots: Sequence[Digest],
    missing: ObjectMissing,
    progress: Progress,
    remote: str | None,
) -> None:
    shown = repo.display(path)
    try:
        _, opened = open_remote(repo, cache, remote, None)
    except (Untrusted, UsageError) as error:
        message = f"cannot list {quote(shown)}: {missing.message}, and {error.message}"
        raise ObjectMissing(message, hint=error.hint) from None
    with opened:
        progress.start(f"fetching the list of files of {shown}")
        problems = fetch.fetch_nodes(Catalog(opened, progress, to_read=True).look(), cache, roots)
        progress.finish()
    for problem in problems.values():
        kind = ObjectCorrupt if isinstance(problem, ObjectCorrupt) else ObjectMissing
        raise kind(f"cannot list {quote(shown)}: {problem.message}", hint=problem.hint)
