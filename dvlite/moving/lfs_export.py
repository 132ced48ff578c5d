"""Turns tracked paths of dvlite into files that Git LFS keeps: objects into its folder first, then git's index, then dvlite's files go."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from dvlite import files
from dvlite.errors import ObjectCorrupt, ObjectMissing, UsageError
from dvlite.formats import lfs_attributes, lfs_transfer
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, KIND_MASK, SYMLINK, Entries
from dvlite.formats.pointer import SUFFIX
from dvlite.moving.lfs_folder import copy_out, local_folder, object_in
from dvlite.moving.lfs_index import IndexRow, put_into_index
from dvlite.oid import Digest, digest_path
from dvlite.progress import Progress
from dvlite.repo import attributes
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked, why_untrackable
from dvlite.show import count, quote, some
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE
from dvlite.workspace.export import refuse_leaving_links
from dvlite.workspace.workspace import Workspace, entries_of


@dataclass(frozen=True, slots=True)
class GivenAway:
    """A path that Git LFS keeps now: a file, or all files of a directory."""

    path: str
    size_bytes: int
    files: int = 1


@dataclass(slots=True)
class LfsExported:
    """What becomes of a work tree. `left`: what stays with dvlite, with the reason; `written`: files that are staged beside the pointers."""

    paths: list[GivenAway] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def hand_over(repo: Repo, *, dry_run: bool, progress: Progress) -> LfsExported:
    """Gives every tracked path to Git LFS, if all of its files can be; outputs of stages stay. The caller holds the lock of the work tree.

    The data on disk is not touched, nor is the cache. Raises UsageError, ObjectMissing and ObjectCorrupt with no file of git changed.
    """
    exported = LfsExported()
    cache = open_cache(repo)
    versions = _versions(repo, cache, exported)
    exported.paths = [GivenAway(item.path, item.pointer.size_bytes, item.pointer.files) for item in versions]
    if dry_run:
        return exported
    paths = [item.path for item in versions]
    repo.forget_ignored(paths, write=False)
    total_bytes = sum(row.size_bytes for row in exported.paths)
    progress.start("exporting", total_bytes=total_bytes, total_files=sum(row.files for row in exported.paths))
    objects = _LfsFolder(local_folder(repo), cache, progress)
    rows = [row for item, entries in versions.items() for row in _rows(item.path, entries, objects)]
    progress.finish()
    lines = [lfs_attributes.line(item.path, is_folder=item.pointer.kind == "directory") for item in versions]
    attributes.write_lines(repo.root, lines)
    repo.forget_ignored(paths)
    exported.written = [attributes.FILE_NAME, *repo.unstaged_ignore_files(paths)]
    repo.stage(exported.written, enabled=True)
    put_into_index(repo.git, rows, [path + SUFFIX for path in paths])
    for path in paths:  # last: it is by its pointer that another run finds a path, after one that was stopped
        os.unlink(repo.root / (path + SUFFIX))
    work = Workspace(repo, cache, progress)
    for path in paths:
        work.forget(path)
    return exported


def _versions(repo: Repo, cache: Cache, exported: LfsExported) -> dict[Tracked, Entries]:
    """Returns the files of each tracked path that can be exported; notes why the others cannot."""
    tracked = repo.work_tree.tracked()
    if {"symlink", "hardlink"} & set(repo.config.links):
        raise UsageError(
            "files here may be links into dvlite's cache, which Git LFS would take for something else",
            hint="dvlite config cache.link copy && dvlite checkout --relink",
        )
    committed = {item.path: item.pointer for item in repo.at("HEAD").tracked()}
    unsaved = [item.path for item in tracked if not item.lockfile and committed.get(item.path) != item.pointer]
    if unsaved:
        raise UsageError(
            f"{some([quote(path + SUFFIX) for path in unsaved])}: not as in the last commit",
            hint="commit first, so that git can undo the export: git commit",
        )
    versions: dict[Tracked, Entries] = {}
    for item in tracked:
        if item.lockfile:
            exported.left[item.path] = f"it is an output of the stage {item.stage}"
            continue
        entries = entries_of(item.pointer, cache)
        absent = [os.fsdecode(entries.paths[i]) for i in cache.missing(entries)]
        if absent:
            raise ObjectMissing(
                f"cannot export {quote(item.path)}: {count(len(absent), 'file')} of it not in the cache; no file was changed",
                hint="dvlite fetch",
            )
        names = (f"{item.path}/{os.fsdecode(path)}" if path else item.path for path in entries.paths)
        own = next((name for name in names if why_untrackable(name)), None)
        if own is not None:
            exported.left[item.path] = f"git or dvlite would read {quote(own)}, by its name"
            continue
        refuse_leaving_links(entries, cache)
        if EMPTY_DIR in entries.flags:
            exported.notes.append(f"{quote(item.path)} has empty folders, which git does not keep")
        if item.pointer.source is not None or item.pointer.meta:
            exported.notes.append(f"{quote(item.path)}: its source or meta stay in earlier commits alone")
        versions[item] = entries
    if not tracked:
        raise UsageError("dvlite tracks nothing here", hint="dvlite ls")
    return versions


class _LfsFolder:
    """Puts files of the cache into the folder of Git LFS, each once."""

    def __init__(self, folder: Path, cache: Cache, progress: Progress) -> None:
        self._folder, self.cache, self._progress = folder, cache, progress
        self._known: dict[Digest, str] = {}

    def put(self, digest: Digest, size_bytes: int) -> str:
        """Returns what Git LFS calls a file, once it has it. Raises ObjectCorrupt for damage in the cache."""
        if digest not in self._known:
            self._known[digest] = self._put(digest, size_bytes)
        self._progress.advance(size_bytes=size_bytes, files=1)
        return self._known[digest]

    def _put(self, digest: Digest, size_bytes: int) -> str:
        temporary = self._folder / "tmp" / files.temporary_name()
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as left:
                left.callback(temporary.unlink, missing_ok=True)
                files.require_space(temporary.parent, size_bytes, "what is exported")
                sha256 = copy_out(self.cache, digest, size_bytes, temporary)
                if not self.cache.has_packed(digest, (KIND_FILE,)) and digest_path(temporary)[0] != digest:
                    raise ObjectCorrupt("a file in the cache is damaged; nothing was exported", hint="dvlite fsck")
                target = object_in(self._folder, sha256)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary, target)
        except OSError as error:
            raise files.os_error(error, "write", temporary) from error
        return sha256


def _rows(path: str, entries: Entries, objects: _LfsFolder) -> list[IndexRow]:
    """Returns what git's index has to have: mode, path and content of each file."""
    rows = []
    for i, inner in enumerate(entries.paths):
        flags, size_bytes, digest = entries.flags[i], entries.sizes[i], entries.digest(i)
        name = f"{path}/{os.fsdecode(inner)}" if inner else path
        kind = flags & KIND_MASK
        if kind == SYMLINK:
            rows.append(IndexRow("120000", name, objects.cache.read_file(digest, size_bytes)))
        elif kind != EMPTY_DIR:
            content = lfs_transfer.pointer(objects.put(digest, size_bytes), size_bytes) if size_bytes else b""
            rows.append(IndexRow("100755" if flags & EXECUTABLE else "100644", name, content))
    return rows
