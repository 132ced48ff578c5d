"""Turns a work tree of dvlite into one of DVC: data into DVC's cache, then the files that name it, then dvlite's own files go.

What cannot be carried is named with its reason, and stays. Stopped anywhere, git undoes it: dvlite's files were committed.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from dvlite import files
from dvlite.errors import FormatError, ObjectMissing, UsageError
from dvlite.formats import dvc_files, strict_yaml
from dvlite.formats.dvc_files import DvcOut
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, SYMLINK, Entries
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.moving import dvc_locks
from dvlite.moving.dvc_cache import DvcCache
from dvlite.pipeline.stages import Loaded, load
from dvlite.progress import Progress
from dvlite.repo import ignore
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import count, quote, some
from dvlite.store.cache import Cache
from dvlite.workspace.workspace import Workspace, entries_of

_CONFIG, _IGNORED = ".dvc/config", ".dvc/.gitignore"
_LOCAL = [b"/config.local", b"/tmp", b"/cache"]  # what DVC keeps from git
_OWN = (f"*{SUFFIX}", "dvlite.yaml", "*/dvlite.yaml", "dvlite.lock", "*/dvlite.lock", ignore.FILE_NAME)


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A path that DVC tracks now, by the file `file`; no `md5` if nothing was done."""

    path: str
    file: str
    size_bytes: int
    files: int = 1
    md5: str = ""


@dataclass(slots=True)
class Given:
    """What becomes of a work tree. `left`: what could not be carried, with the reason; `notes`: what of something else was lost. `removed` are files of dvlite, `written` those of DVC."""

    paths: list[HandedOver] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


def require_committed(repo: Repo) -> None:
    """Raises UsageError if dvlite's files are not as in the last commit."""
    changed = [name for name, _ in repo.git.changes(*_OWN)]
    if changed:
        raise UsageError(
            f"{some([quote(name) for name in changed])}: not as in the last commit",
            hint="commit first, so that git can undo the export: git add -A && git commit",
        )


def give(repo: Repo, cache: Cache, *, dry_run: bool, progress: Progress) -> Given:
    """Writes DVC's cache and files in a work tree, from a cache that may be another repository's; with `dry_run`, does neither.

    The caller holds the lock of the work tree. Raises ObjectMissing or ObjectCorrupt, with no file of git changed, for data that is not in the cache.
    """
    given = Given()
    loaded = load(repo.work_tree)
    if loaded.broken:
        raise loaded.broken[0]
    tracked = repo.work_tree.tracked()
    if not tracked and not loaded.stages:
        raise UsageError("dvlite tracks nothing here", hint="dvlite add PATH")
    _refuse_in_the_way(repo, tracked, loaded)
    chosen = _chosen(tracked, loaded, cache, given)
    given.stages = [stage.address for stage in loaded.stages]
    if dry_run:
        given.paths = [
            HandedOver(item.path, _file_of(item), item.pointer.size_bytes, item.pointer.files) for item, _ in chosen
        ]
        return given
    total_bytes, total_files = (sum(values) for values in zip(*_totals(chosen), strict=True)) if chosen else (0, 0)
    theirs = DvcCache(repo.root, cache, progress)
    theirs.require_space(total_bytes)
    progress.start("exporting", total_bytes=total_bytes, total_files=total_files)
    for item, entries in chosen:
        out = theirs.put(item.path, entries)
        given.paths.append(HandedOver(item.path, _file_of(item), out.size_bytes, out.files, out.md5))
    progress.finish()
    pipelines = dvc_locks.plan(Workspace(repo, cache, progress), loaded, tracked, theirs.versions)
    _write_pointers(repo, [item for item, _ in chosen if not item.lockfile], theirs, given)
    _write_ignores(repo, given)
    given.removed += [name for one in pipelines for name in (one.source, one.source_lock) if repo.work_tree.read(name)]
    for name in given.removed:
        os.unlink(repo.root / name)
    for one in pipelines:
        given.notes += one.notes
        for name, data in dvc_locks.files_of(repo, one, theirs.versions).items():
            files.write_atomic(repo.root / name, data)
            given.written.append(name)
    return given


def _totals(chosen: Sequence[tuple[Tracked, Entries]]) -> list[tuple[int, int]]:
    return [(sum(entries.sizes), len(entries)) for _, entries in chosen]


def _file_of(item: Tracked) -> str:
    """Returns the file of DVC that names a path."""
    folder = posixpath.dirname(item.lockfile)
    return posixpath.join(folder, dvc_files.LOCK_NAME) if item.lockfile else item.path + dvc_files.SUFFIX


def _refuse_in_the_way(repo: Repo, tracked: Sequence[Tracked], loaded: Loaded) -> None:
    """Raises UsageError for files of DVC that are there already, and for a cache that DVC keeps elsewhere; DvliteError for a file of patterns that cannot be changed."""
    folders = {posixpath.dirname(stage.file) for stage in (*loaded.stages, *loaded.loose)}
    names = (dvc_files.PIPELINE_NAME, dvc_files.LOCK_NAME)
    wanted = [item.path + dvc_files.SUFFIX for item in tracked if not item.lockfile]
    wanted += [posixpath.join(folder, name) for folder in sorted(folders) for name in names]
    there = [name for name in wanted if files.is_there(repo.root / name)]
    if there:
        raise UsageError(f"{some([quote(name) for name in there])}: there already", hint="move it away, and commit")
    repo.ensure_ignored([item.path for item in tracked if not item.lockfile], write=False)
    for name in (dvc_files.IGNORE_NAME, _IGNORED):
        ignore.add_lines(repo.root / name, _LOCAL, write=False)
    for name in (_CONFIG, f"{_CONFIG}.local"):
        data = repo.work_tree.read(name, 1 << 20)
        if data is not None and dvc_files.parse_config(data, name).cache:
            raise UsageError(f"{name} names a cache elsewhere", hint="remove the line 'dir' of its section [cache]")


def _chosen(tracked: Sequence[Tracked], loaded: Loaded, cache: Cache, given: Given) -> list[tuple[Tracked, Entries]]:
    """Returns what DVC can track, with what it consists of; notes why the rest cannot. Raises ObjectMissing for what the cache lacks."""
    addresses = {stage.address for stage in loaded.stages}
    found = []
    for item in tracked:
        if item.lockfile and item.stage not in addresses:
            given.notes.append(f"{item.path} is left out: its stage {item.stage} is in no pipeline file any more")
            continue
        try:
            entries = entries_of(item.pointer, cache)
            lost = next(cache.missing(entries), None)
        except ObjectMissing:
            lost = 0
        if lost is not None:
            raise ObjectMissing(f"cannot export {quote(item.path)}: the cache lacks data of it", hint="dvlite fetch")
        reason = _why_not(entries)
        if reason and item.lockfile:
            given.notes.append(f"{item.path} is left out, and {item.stage} has to run: {reason}")
        elif reason:
            given.left[item.path + SUFFIX] = reason
        if reason:
            continue
        inside = sum(bool(flags & EXECUTABLE) for flags in entries.flags) if item.pointer.kind == "directory" else 0
        if inside:
            given.notes.append(f"{item.path}: DVC keeps no executable bits in directories, {count(inside, 'file')}")
        if EMPTY_DIR in entries.flags:
            given.notes.append(f"{item.path}: DVC keeps no empty folders")
        found.append((item, entries))
    return found


def _why_not(entries: Entries) -> str:
    if SYMLINK in entries.flags:
        return "DVC has no symbolic links in directories"
    try:
        for path in entries.paths:
            path.decode()
    except UnicodeDecodeError:
        return "DVC takes only names in UTF-8"
    return ""


def _write_pointers(repo: Repo, items: Sequence[Tracked], theirs: DvcCache, given: Given) -> None:
    given.written += repo.ensure_ignored([item.path for item in items])
    contents: dict[Path, bytes] = {}
    for item in items:
        name = item.path + dvc_files.SUFFIX
        out = replace(theirs.versions[item.path], path=posixpath.basename(item.path))
        contents[repo.root / name] = dvc_files.dump_file(_with_meta(out, item, given))
        given.written.append(name)
        given.removed.append(item.path + SUFFIX)
        if item.pointer.source is not None:
            given.notes.append(f"{name}: where it was imported from is not carried: the data is DVC's own")
    with ThreadPoolExecutor() as pool:
        files.write_together(contents, lambda descriptor: pool.submit(os.fsync, descriptor))


def _with_meta(out: DvcOut, item: Tracked, given: Given) -> DvcOut:
    try:
        return replace(out, meta=_meta(item.pointer))
    except FormatError as error:
        given.notes.append(f"{item.path}: its 'meta' is left out: {error.message}")
        return out


def _meta(pointer: Pointer) -> dict[str, strict_yaml.Tree]:
    if not pointer.meta:
        return {}
    value = strict_yaml.load(pointer.meta.encode("utf-8", "surrogateescape"), "meta", foreign=True).value["meta"]
    return dict(value) if isinstance(value, dict) else {"meta": value}


def _write_ignores(repo: Repo, given: Given) -> None:
    """Makes DVC leave out what dvlite leaves out, and git what DVC keeps to itself."""
    own = repo.work_tree.read(ignore.FILE_NAME)
    lines = [*sorted(ignore.BUILT_IN - {b".git"}), *(own or b"").split(b"\n")]
    patterns = [line for line in lines if line.strip() and not line.startswith(b"#")]
    if ignore.add_lines(repo.root / dvc_files.IGNORE_NAME, patterns):
        given.written.append(dvc_files.IGNORE_NAME)
    if own is not None and not given.left:
        given.removed.append(ignore.FILE_NAME)
    if ignore.add_lines(repo.root / _IGNORED, _LOCAL):
        given.written.append(_IGNORED)
    if not files.is_there(repo.root / _CONFIG):
        files.write_atomic(repo.root / _CONFIG, b"")
        given.written.append(_CONFIG)
