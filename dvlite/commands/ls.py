"""`dvlite ls`: what is tracked, and what is inside tracked directories. Needs listings, no data."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, MAX_LEVEL, SYMLINK, Branch, Entries, Entry
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.formats.root import Root
from dvlite.formats.snapshot import Version
from dvlite.git.program import without_credentials
from dvlite.lineage.context import open_place
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, Digest, format_oid
from dvlite.paths import is_inside
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import TableResult
from dvlite.runs.outputs import at_start, at_word
from dvlite.share.any_repository import FLAGS, Opened, git_files, open_any, refuse_relative_folder
from dvlite.share.dvc_reader import DvcReader
from dvlite.show import quote, word
from dvlite.store import snapshots
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.workspace import sparse
from dvlite.workspace.fetch import listing_of, with_listings
from dvlite.workspace.path_args import pass_over, select, usable
from dvlite.workspace.workspace import entries_of

_KINDS: dict[int, Literal["file", "symlink", "empty-dir"]] = {FILE: "file", SYMLINK: "symlink", EMPTY_DIR: "empty-dir"}
_SYMLINK_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LsEntry:
    """One name: a tracked path, or something inside one."""

    path: str
    kind: Literal["file", "directory", "symlink", "empty-dir"]
    size_bytes: int | None = None
    files: int | None = None
    executable: bool = False
    oid: str | None = None
    target: str | None = None  # of a symlink
    in_cache: bool | None = None
    stage: str | None = None  # whose output it is, or is inside of
    kept_by: Literal["dvlite", "git", "dvc", "both"] = "dvlite"  # both: a folder with files of several


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LsResult(TableResult):
    """What is tracked at a revision (None: the pointers on disk). `source`: the other repository that was asked for."""

    schema: ClassVar[str] = "dvlite.ls/1"
    ROWS = ("entries", LsEntry)
    source: str | None = None
    revision: str | None = None
    target: str = ""
    long: bool = False
    entries: tuple[LsEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotEntry:
    """What one push made complete, by the newest claim on it."""

    snapshot: str
    project: str
    commit: str  # whose tree names exactly this; else empty
    user: str
    time: str  # by the clock of the clone that pushed
    count: int  # versions of tracked paths


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SnapshotsResult(TableResult):
    """The snapshots on a remote, the newest first."""

    schema: ClassVar[str] = "dvlite.snapshots/1"
    ROWS = ("snapshots", SnapshotEntry)
    remote: str
    snapshots: tuple[SnapshotEntry, ...] = ()


def ls(
    repo: Repo,
    target: str | None = None,
    *,
    revision: str | None = None,
    long: bool = False,
    recursive: bool = False,
    progress: Progress,
) -> LsResult:
    """Lists the tracked paths that `[REV:]TARGET` means (those in the current folder without one), or what is inside a tracked directory.

    The path is relative to the current folder at a revision too. One level of a tracked directory, everything below with `recursive`.
    `long` adds symlink targets and what is cached. Raises UsageError for a path that is not tracked, ObjectMissing for a listing that
    is neither in the cache nor on the default remote.
    """
    found = at_start(repo, target, progress) if target and revision is None else None
    at, argument = found or (None if revision is None else at_word(repo, revision, progress), target or "")
    if found is not None and target is not None:
        revision = target[: len(target) - len(argument) - 1]
    path = repo.relative(argument or ".")
    tracked = usable(repo, [argument or "."], progress.warn) if at is None else at.tracked
    cache = open_cache(repo)
    try:
        chosen = select(repo, tracked, [argument or "."], inside=True, listing=listing_of(repo, cache, progress))
    except DvliteError:
        if argument:
            raise
        chosen = []
    entries: list[LsEntry] = []
    for item, parts in chosen:
        lister = _Lister(cache, item, long=long)
        if not parts and (item.pointer.kind == "file" or not (recursive or path.removesuffix(SUFFIX) == item.path)):
            entries.append(lister.whole())
            continue
        work = (
            partial(lister.matching, parts)
            if any(map(sparse.is_glob, parts))
            else partial(lister.inside, os.fsencode("".join(parts)), recursive=recursive)
        )
        rows = with_listings(repo, cache, item.path, [item.pointer], work, progress)
        if not rows and parts:
            raise UsageError(
                f"nothing in {quote(repo.display(item.path))} is named {quote(parts[0])}",
                hint=f"see what is there: dvlite ls -R {word(repo.display(item.path))}",
            )
        entries.extend(rows)
    return LsResult(revision=revision, target=path, long=long, entries=tuple(entries))


def ls_repository(
    source: str,
    target: str | None = None,
    *,
    revision: str | None = None,
    long: bool = False,
    recursive: bool = False,
    environ: Mapping[str, str],
    progress: Progress,
) -> LsResult:
    """Lists what `get` can copy out of a repository, given by URL or folder: one level of a folder, files of git too.

    Paths are relative to its root. Raises UsageError for a path that is not there, NotARepository for one that does not use dvlite.
    """
    with open_any(source, target or ".", revision, environ, progress, reads=False) as found:
        pass_over(found.broken, [found.path], found.tracked, progress.warn)
        above = f"{found.path}/" if found.path else ""
        rows: list[LsEntry] = []
        for item in found.tracked:
            is_inside = item.path == found.path or found.path.startswith(item.path + "/")
            lister = _Lister(found.cache, item, long=long)
            if item.pointer.kind == "file" and item.path == found.path:
                rows.append(lister.whole())
            elif is_inside or (recursive and item.pointer.kind == "directory" and item.path.startswith(above)):
                inner = os.fsencode(found.path[len(item.path) + 1 :]) if is_inside else b""
                rows += _listed_there(found, item, partial(lister.inside, inner, recursive=recursive), progress)
            elif item.path.startswith(above):
                rows.append(lister.whole())
        rows += _kept_by_dvc(found, recursive=recursive)
        rows += _kept_by_git(found)
        if not rows and found.path:
            raise UsageError(f"there is no {quote(found.path)} there", hint=f"what is there: dvlite ls {found.place}")
        shown = rows if recursive else _one_level(rows, above)
        commit = found.commit or None
    entries = tuple(sorted(shown, key=lambda row: os.fsencode(row.path)))
    return LsResult(source=without_credentials(source), revision=commit, target=found.path, long=long, entries=entries)


def _listed_there(found: Opened, item: Tracked, work: Callable[[], list[LsEntry]], progress: Progress) -> list[LsEntry]:
    assert found.repo is not None
    try:
        return work()
    except ObjectMissing:
        if found.far:
            refuse_relative_folder(found.repo.config, found.repo.root)
    return with_listings(found.repo, found.cache, item.path, [item.pointer], work, progress)


def _kept_by_dvc(found: Opened, *, recursive: bool) -> Iterator[LsEntry]:
    """Yields what DVC tracks at the path; reads the lists of directories that are asked for, and no data."""
    repo, theirs = found.repo, found.theirs
    if repo is None or theirs is None:
        return
    with contextlib.closing(DvcReader(theirs, repo.config, repo.environ, found.cache)) as reader:
        for path, out in theirs.at(found.path).items():
            if out.is_directory and (recursive or is_inside(found.path, path)):
                for inner in reader.listing(path):
                    if is_inside(name := f"{path}/{inner}", found.path):
                        yield LsEntry(path=name, kind="file", kept_by="dvc")
            elif is_inside(path, found.path):
                yield LsEntry(
                    path=path,
                    kind="directory" if out.is_directory else "file",
                    size_bytes=out.size_bytes or None,
                    files=out.files,
                    executable=out.executable,
                    kept_by="dvc",
                )


def _kept_by_git(found: Opened) -> list[LsEntry]:
    """Returns the files that git keeps; the size of one that a brief clone did not bring is not known."""
    repo, listed = found.repo, git_files(found)
    if repo is None:
        return []
    sizes = repo.git.blob_sizes(entry.blob for entry in listed if entry.blob)
    rows = []
    for entry in listed:
        flags, size = FLAGS.get(entry.mode, FILE), sizes.get(entry.blob)
        if not entry.mode:
            try:
                now = os.lstat(repo.root / entry.path)
            except FileNotFoundError:
                continue
            flags = SYMLINK if stat.S_ISLNK(now.st_mode) else FILE | EXECUTABLE * bool(now.st_mode & stat.S_IXUSR)
            size = now.st_size
        kind = _KINDS[flags & ~EXECUTABLE]
        executable = bool(flags & EXECUTABLE)
        rows.append(LsEntry(path=entry.path, kind=kind, size_bytes=size, executable=executable, kept_by="git"))
    return rows


def _one_level(rows: Sequence[LsEntry], above: str) -> list[LsEntry]:
    """Returns the entries right in a folder: all that is deeper as the folders that it is in."""
    shown: list[LsEntry] = []
    deeper: dict[str, list[LsEntry]] = {}
    for row in rows:
        name, slash, _ = row.path[len(above) :].partition("/")
        if slash and row.path.startswith(above):
            deeper.setdefault(above + name, []).append(row)
        else:
            shown.append(row)
    for path, inside in deeper.items():
        keepers = {row.kept_by for row in inside}
        sizes = [row.size_bytes for row in inside if row.size_bytes is not None]
        shown.append(
            LsEntry(
                path=path,
                kind="directory",
                size_bytes=sum(sizes) if len(sizes) == len(inside) else None,
                files=sum(1 if row.files is None else row.files for row in inside),
                kept_by="both" if len(keepers) > 1 else keepers.pop(),
            )
        )
    return shown


def ls_remote(
    url: str, target: str | None = None, *, environ: Mapping[str, str], progress: Progress
) -> LsResult | SnapshotsResult:
    """Lists the snapshots on a remote, the newest first, or with `target` (the first digits of one) what is in it; needs no git.

    Raises UsageError for digits that no snapshot or several begin with, and RemoteError for a place that holds nothing.
    """
    with open_place(url, environ) as remote:
        progress.start(f"looking at {remote.shown}")
        catalog = Catalog(remote, progress, to_read=True).look()
        if catalog.is_empty:
            raise catalog.empty_error()
        if target is not None:
            digest = snapshots.chosen(remote, target)
            versions = list(snapshots.versions(catalog, digest))
            progress.finish()
            return LsResult(revision=digest.hex(), long=True, entries=tuple(map(_of_version, versions)))
        roots = snapshots.listed(remote)
        bodies = snapshots.bodies(remote, [entry.name for entry, _ in roots])
        progress.finish()
    rows: dict[Digest, SnapshotEntry] = {}
    for (_, name), body in zip(roots, bodies, strict=True):
        known = body or Root()
        rows.setdefault(
            name.snapshot,
            SnapshotEntry(
                snapshot=name.snapshot.hex(),
                project=known.project,
                commit=known.commit,
                user=known.user,
                time=known.time,
                count=known.count,
            ),
        )
    return SnapshotsResult(remote=url, snapshots=tuple(rows.values()))


def _of_version(version: Version) -> LsEntry:
    return LsEntry(
        path=version.path,
        kind="directory" if version.kind == MANIFEST else "file",
        size_bytes=version.size_bytes,
        executable=version.executable,
        oid=format_oid(version.kind, version.digest),
    )


class _Lister:
    """Lists one version of one tracked path."""

    def __init__(self, cache: Cache, item: Tracked, *, long: bool) -> None:
        self._cache, self._path, self._pointer, self._stage = cache, item.path, item.pointer, item.stage or None
        self._long = long

    def whole(self) -> LsEntry:
        """Returns the tracked path itself, from its pointer alone."""
        pointer: Pointer = self._pointer
        folder = pointer.kind == "directory"
        return LsEntry(
            path=self._path,
            kind="directory" if folder else "file",
            size_bytes=pointer.size_bytes,
            files=pointer.files,
            executable=pointer.executable,
            oid=pointer.oid,
            in_cache=None if folder or not self._long else self._cache.has_file(pointer.digest, pointer.size_bytes),
            stage=self._stage,
        )

    def inside(self, prefix: bytes, *, recursive: bool) -> list[LsEntry]:
        """Returns the file of exactly this path, or what is in the folder of this path; '' is the tracked directory."""
        return [] if self._pointer.kind == "file" else list(self._inside(prefix, recursive=recursive))

    def matching(self, patterns: Sequence[str]) -> list[LsEntry]:
        """Returns the files that patterns choose."""
        entries, chooses = entries_of(self._pointer, self._cache), sparse.selector(patterns)
        return [self._entry(entries[i]) for i, path in enumerate(entries.paths) if chooses(path)]

    def _inside(self, prefix: bytes, *, recursive: bool) -> Iterator[LsEntry]:
        start = prefix + b"/" if prefix else b""
        folder: tuple[bytes, int, int] | None = None  # the subfolder being summed up: name, files, size
        for leaf in _leaves(self._pointer.digest, MAX_LEVEL + 1, prefix, self._cache):
            for i, path in enumerate(leaf.paths):
                if path != prefix and not path.startswith(start):
                    continue
                name, slash, _ = path[len(start) :].partition(b"/")
                if folder is not None and (not slash or name != folder[0]):
                    yield self._folder(start, folder)
                    folder = None
                if recursive or path == prefix or not slash:
                    yield self._entry(leaf[i])
                else:
                    _, files, size = folder or (name, 0, 0)
                    folder = (name, files + (leaf.flags[i] != EMPTY_DIR), size + leaf.sizes[i])
        if folder is not None:
            yield self._folder(start, folder)

    def _folder(self, start: bytes, totals: tuple[bytes, int, int]) -> LsEntry:
        name, files, size = totals
        path = posixpath.join(self._path, os.fsdecode(start + name))
        return LsEntry(path=path, kind="directory", size_bytes=size, files=files, stage=self._stage)

    def _entry(self, entry: Entry) -> LsEntry:
        empty = entry.kind == EMPTY_DIR
        return LsEntry(
            path=posixpath.join(self._path, os.fsdecode(entry.path)),
            kind=_KINDS[entry.kind],
            size_bytes=None if empty else entry.size_bytes,
            executable=bool(entry.flags & EXECUTABLE),
            oid=None if empty else format_oid(FILE_OID, entry.digest),
            target=self._target(entry) if self._long and entry.kind == SYMLINK else None,
            in_cache=self._cache.has_file(entry.digest, entry.size_bytes) if self._long and not empty else None,
            stage=self._stage,
        )

    def _target(self, entry: Entry) -> str | None:
        if entry.size_bytes > _SYMLINK_LIMIT_BYTES:
            return None
        try:
            return os.fsdecode(self._cache.read_file(entry.digest, entry.size_bytes))
        except ObjectMissing:
            return None


def _leaves(root: Digest, below: int, prefix: bytes, cache: Cache) -> Iterator[Entries]:
    """Yields the leaves that can hold `prefix` or something below it, in path order; reads no other. Levels fall from `below`."""
    node = manifest.decode(cache.read_node(root), root)
    if not isinstance(node, Branch):
        yield node
        return
    if node.level >= below:
        raise ObjectCorrupt(
            f"the list of files {root.hex()} is damaged: its level is wrong", hint="push it from a healthy clone"
        )
    for digest, last in zip(node.digests, node.last_paths, strict=True):
        if last >= prefix:
            yield from _leaves(digest, node.level, prefix, cache)
        if prefix and last >= prefix + b"0":  # the byte after '/': nothing below the prefix follows
            return
