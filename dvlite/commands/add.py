"""`dvlite add`: takes files and folders into the cache and writes their pointers; the user's files stay as they are."""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dvlite import files
from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.files import quote, word
from dvlite.formats import manifest, pointer
from dvlite.formats.manifest import SYMLINK, Entries
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.oid import Digest
from dvlite.paths import ancestors, check_paths
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_cache
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_MANIFEST
from dvlite.workspace import sparse
from dvlite.workspace.add_checks import is_output, portable_warnings, refuse_broken, refuse_untrackable, tracked_above
from dvlite.workspace.changes import Counts, Kind
from dvlite.workspace.hashing import Snapshot, identify
from dvlite.workspace.ingest import CachingReader
from dvlite.workspace.outdated import bringing, find_outdated, refusal
from dvlite.workspace.path_args import warning_of
from dvlite.workspace.scan import Scan, selected_scan
from dvlite.workspace.workspace import Workspace, entries_of, set_aside_damaged_nodes

_MANY_FILES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedPath:
    """One tracked path after `add`; `size_bytes` and `files` are of the whole, `counts` what differs from before."""

    path: str
    kind: Kind
    oid: str
    size_bytes: int
    files: int = 1
    created: bool = False  # it was not tracked before
    unchanged: bool = False
    counts: Counts = field(default_factory=Counts)
    duplicates: int = 0
    left_out: dict[str, int] = field(default_factory=dict)  # name (`.DS_Store`, or the pattern) -> how many
    stored_bytes: int = 0  # what the cache grew by for this path


@dataclass(frozen=True, slots=True, kw_only=True)
class AddResult:
    """What `add` cached and which files it wrote."""

    schema: ClassVar[str] = "dvlite.add/1"
    paths: tuple[AddedPath, ...] = ()
    skipped: tuple[str, ...] = ()  # pointers among the arguments
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()  # written, for the user to `git add` (`--no-stage`)
    cache_grew_bytes: int = 0
    cache_free_bytes: int = 0
    shares_blocks: bool = False  # cached files share blocks with the workspace (reflink)
    has_remote: bool = True
    suggest_folder: str | None = None  # more than 1,000 single files were given from this folder
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Target:
    """One path to be tracked; `inside` are the parts of a tracked directory that were named (none: all of it)."""

    path: str
    known: Pointer | None
    inside: list[str] = field(default_factory=list)


def add(
    repo: Repo,
    paths: Sequence[str],
    *,
    update: bool = False,
    force: bool = False,
    stage: bool = True,
    progress: Progress,
) -> AddResult:
    """Tracks the paths given, or with `update` every tracked path that changed.

    What lacks changes that its pointer has is refused (with `update`, left as it is if nobody touched it), unless `force`. Nothing is
    written if any path cannot be added. Pointers that are right and not staged are staged. Content that is in the cache already is not
    stored again. Raises UsageError for what cannot be tracked, FileChanged for a file that is being written, NoSpace before anything is
    stored.
    """
    started = time.monotonic()
    with repo.lock(progress):
        broken: list[DvliteError] = []
        tracked = {item.path: item for item in repo.work_tree.tracked(broken)}
        targets, skipped = _targets(repo, tracked, paths, update=update)
        fresh = [target.path for target in targets if target.known is None]
        refuse_broken(broken, fresh)
        refuse_untrackable(repo, fresh, tracked)
        repo.ensure_ignored([target.path for target in targets], write=False)
        cache = open_cache(repo)
        work = Workspace(repo, cache, progress)
        adder = _Adder(work, progress, force=force)
        adder.warnings += [warning_of(error) for error in broken]
        with Writer(cache) as writer:
            added = [
                path_result
                for target in targets
                if (path_result := adder.one(target, writer, update=update)) is not None
            ]
            writer.commit()
        # First, and of all: a run that died after a pointer, or a hand that took lines out, lets git take data until the next add.
        kept = [target.path for target in targets if target.known is not None or target.path in adder.new]
        written = repo.ensure_ignored(kept)
        written += adder.write_pointers()
        right = [target.path + SUFFIX for target in targets if target.path + SUFFIX not in written]
        written += repo.git.unstaged([name for name in right if os.path.lexists(repo.root / name)])
        staged = repo.stage(written, enabled=stage)
        return AddResult(
            paths=tuple(added),
            skipped=tuple(skipped),
            staged=staged,
            unstaged=() if staged else tuple(written),
            cache_grew_bytes=writer.stored_bytes,
            cache_free_bytes=shutil.disk_usage(cache.folder).free,
            shares_blocks=adder.shares_blocks,
            has_remote=bool(repo.config.remote_names()),
            suggest_folder=_suggestion(targets),
            elapsed_seconds=time.monotonic() - started,
            warnings=tuple(adder.warnings),
        )


def _targets(
    repo: Repo, tracked: dict[str, Tracked], arguments: Sequence[str], *, update: bool
) -> tuple[list[_Target], list[str]]:
    """Returns what is to be added, each path once, and the pointers that were among the arguments."""
    targets: dict[str, _Target] = {}
    skipped: list[str] = []
    if update:
        targets = {path: _Target(path, item.pointer) for path, item in tracked.items() if not item.lockfile}
    for argument in arguments:
        for name in _expand(repo, argument):
            path = repo.relative(name)
            if path.endswith(SUFFIX) and os.path.isfile(repo.root / path):
                skipped.append(path)
                continue
            outer = tracked_above(path, tracked)
            if outer is None:
                targets[path] = _Target(path, None)
            elif tracked[outer].lockfile:
                raise is_output(repo, path, tracked[outer])
            elif outer == path:
                targets[path] = _Target(path, tracked[path].pointer)
            elif outer not in targets:
                targets[outer] = _Target(outer, tracked[outer].pointer, [path[len(outer) + 1 :]])
            elif targets[outer].inside:
                targets[outer].inside.append(path[len(outer) + 1 :])
    return list(targets.values()), skipped


def _expand(repo: Repo, argument: str) -> list[str]:
    """Returns the paths of an argument; a pattern that the shell left alone is expanded here."""
    if os.path.lexists(repo.cwd / argument) or not sparse.is_glob(argument):
        return [argument]
    names = sorted(glob.glob(argument, root_dir=repo.cwd, recursive=True, include_hidden=False))
    if not names:
        raise UsageError(f"nothing matches {quote(argument)}", hint="look at the names with ls")
    return names


def _suggestion(targets: Sequence[_Target]) -> str | None:
    """Returns the folder to track instead of very many single files."""
    fresh = [target for target in targets if target.known is None]
    if len(fresh) <= _MANY_FILES:
        return None
    folder = os.path.commonpath([target.path for target in fresh])
    return folder or None


class _Adder:
    """Adds paths one after the other; pointers are written once everything is in the cache."""

    def __init__(self, work: Workspace, progress: Progress, *, force: bool) -> None:
        self._work, self._progress, self._force = work, progress, force
        self._pointers: list[tuple[str, Pointer, Pointer | None]] = []
        self._remember: list[tuple[str, Pointer, Snapshot, bool]] = []
        self._nodes: dict[Digest, bytes] = {}  # of the listings made now, which the cache shows only after the commit
        self.shares_blocks = False
        self.warnings: list[str] = []

    def one(self, target: _Target, writer: Writer, *, update: bool) -> AddedPath | None:
        """Takes one path into the cache; returns None for a tracked path that is not here (`-u`: nothing to update)."""
        work, path, known = self._work, target.path, target.known
        found = work.scan(path)
        work.clear_leftovers(path, found)
        if found is None:
            if update or known is None:
                return None
            raise UsageError(
                f"cannot find {quote(work.repo.display(path))}",
                hint=f"dvlite rm {work.repo.display(path)}   or restore it: dvlite checkout",
            )
        if known is not None and not self._force and self._is_left(target, known, found, update=update):
            return None
        if known is not None and not target.inside and self._is_as_before(path, known, found):
            kind = known.kind
            return None if update else _unchanged(path, known, kind)
        if target.inside:  # nothing else is read, so that no bytes are stored which no version names
            found = selected_scan(found, sparse.selector(target.inside))
        if found.paths == [b""] and found.flags[0] == SYMLINK:
            raise UsageError(
                f"cannot track {quote(work.repo.display(path))}: it is a symbolic link",
                hint="track the file or folder that it points to",
            )
        reader = CachingReader(work.cache, writer, (work.repo.root / path).parent, work.repo.display(path))
        before = writer.stored_bytes
        rows = work.stat_rows(path)
        snapshot = identify(found, rows, work.progress, reader, must_have=work.cache.has_file)
        self.shares_blocks |= reader.shares_blocks
        made = self._pointer(target, snapshot, writer)
        self._pointers.append((path, made, known))
        self._remember.append((path, made, snapshot, not target.inside))
        self._warn(path, known, snapshot)
        if known is not None and made.same_version(known):
            return None if update else _unchanged(path, known, known.kind)
        added = self._added(target, made, snapshot, reader, writer.stored_bytes - before)
        self._nodes.clear()
        return added

    def _is_left(self, target: _Target, known: Pointer, found: Scan, *, update: bool) -> bool:
        """Says, with a warning, whether `-u` leaves another version than the pointer's as it is; raises where adding it would undo a change."""
        work, path = self._work, target.path
        is_untouched = update and work.vouched(path, found) not in (None, known.digest)
        behind = None if is_untouched else find_outdated(work, path, known, found, target.inside)
        if behind is not None and (behind.is_edited or not update):
            raise refusal(work.repo, path, behind)
        if not is_untouched and behind is None:
            return False
        shown = work.repo.display(path)
        bring = bringing(work, path, "checkout") if behind is None else behind.bring
        self.warnings.append(
            f"{quote(shown)} is an earlier version, untouched; it is left as it is"
            f" (to have the one of its pointer: {bring}; if no commit has this one, to take it: dvlite add --force {word(shown)})"
        )
        return True

    def _is_as_before(self, path: str, known: Pointer, found: Scan) -> bool:
        """Says whether the stat index proves the path unchanged and the cache has all of it."""
        work = self._work
        if work.vouched(path, found) != known.digest:
            return False
        if known.kind == "file":
            executable = found.flags[0] == manifest.FILE | manifest.EXECUTABLE
            return executable == known.executable and work.cache.has_file(known.digest, known.size_bytes)
        try:
            entries = entries_of(known, work.cache)
        except ObjectMissing:
            return False
        except ObjectCorrupt:
            set_aside_damaged_nodes(work.cache, known.digest)  # the listing that is made now is stored anew
            return False
        return work.cache.has_all(entries)

    def _pointer(self, target: _Target, snapshot: Snapshot, writer: Writer) -> Pointer:
        known = target.known
        meta = known.meta if known is not None else ""
        if snapshot.scan.paths == [b""]:
            executable = bool(snapshot.scan.flags[0] & manifest.EXECUTABLE)
            return Pointer("file", snapshot.digest(0), snapshot.scan.sizes[0], executable=executable, meta=meta)
        entries = self._entries(target, snapshot)
        try:
            check_paths(entries.paths)
        except DvliteError as error:
            raise UsageError(
                f"cannot track {quote(self._work.repo.display(target.path))}: {error.message}",
                hint="rename it, move it away, or name it in .dvliteignore",
            ) from None
        tree = manifest.build(entries)
        for digest, data in tree.nodes:
            if writer.put(KIND_MANIFEST, digest, data):
                self._nodes[digest] = data
        return Pointer("directory", tree.root, tree.size_bytes, tree.files, meta=meta)

    def _entries(self, target: _Target, snapshot: Snapshot) -> Entries:
        """Returns the new listing: what is on disk, and of a directory that is here in part what is not here."""
        chooses = sparse.selector(target.inside) if target.inside else self._work.selector(target.path)
        if chooses is None or target.known is None or target.known.kind != "directory":
            return snapshot.entries()
        here = snapshot.entries()
        base = entries_of(target.known, self._work.cache)
        present = set(here.paths)  # sparse: whatever is on disk counts, what is absent and was never here stays
        rows = [base[i] for i, path in enumerate(base.paths) if not chooses(path) and path not in present]
        rows += [here[i] for i in range(len(here))]
        folders = {above for path in present for above in ancestors(path)}
        rows = [row for row in rows if row.path in present or not _is_replaced(row.path, present, folders)]
        return manifest.from_entries(sorted(rows, key=lambda row: row.path))

    def _warn(self, path: str, known: Pointer | None, snapshot: Snapshot) -> None:
        if known is None or snapshot.read_files:
            prefix = b"" if snapshot.scan.paths == [b""] else os.fsencode(path) + b"/"
            names = [os.fsencode(path)] if not prefix else snapshot.scan.paths
            self.warnings.extend(portable_warnings(names))

    def _added(
        self, target: _Target, made: Pointer, snapshot: Snapshot, reader: CachingReader, stored_bytes: int
    ) -> AddedPath:
        known = target.known
        return AddedPath(
            path=target.path,
            kind="directory" if made.kind == "directory" else "file",
            oid=made.oid,
            size_bytes=made.size_bytes,
            files=made.files,
            created=known is None,
            counts=self._counts(known, made),
            duplicates=reader.duplicates if known is None else 0,
            left_out=dict(snapshot.scan.left_out),
            stored_bytes=stored_bytes,
        )

    def _counts(self, known: Pointer | None, made: Pointer) -> Counts:
        if known is None:
            return Counts(added=made.files, delta_bytes=made.size_bytes)
        delta = made.size_bytes - known.size_bytes
        if known.kind != made.kind or made.kind == "file":
            return Counts(modified=1, delta_bytes=delta)
        added = removed = modified = 0
        try:
            for old, new in manifest.compare(known.digest, made.digest, self._read_node):
                added += old is None
                removed += new is None
                modified += old is not None and new is not None
        except (ObjectMissing, ObjectCorrupt):
            return Counts(modified=1, delta_bytes=delta)
        return Counts(added=added, removed=removed, modified=modified, delta_bytes=delta)

    def _read_node(self, digest: Digest) -> bytes:
        return self._nodes.get(digest) or self._work.cache.read_node(digest)

    @property
    def new(self) -> set[str]:
        """The paths that were not tracked before."""
        return {path for path, _, known in self._pointers if known is None}

    def write_pointers(self) -> list[str]:
        """Writes pointers and stat indexes; returns the files that git should have. Unchanged ones are not touched."""
        work, repo = self._work, self._work.repo
        written: list[str] = []
        for path, made, known in self._pointers:
            if known is None or not made.same_version(known) or made.size_bytes != known.size_bytes:
                files.write_atomic(repo.root / (path + SUFFIX), pointer.dump(made))
                written.append(path + SUFFIX)
        before = {path: None if known is None else known.oid for path, _, known in self._pointers}
        for path, made, snapshot, whole in self._remember:
            here = work.versions_here(path)
            work.note_version(
                path, made.oid, whole=whole, part=bool(here) and here[0] != before[path], before=before[path]
            )
            if whole:
                work.remember(path, made.digest, snapshot.scan, snapshot.digests, snapshot.racy)
        return written


def _is_replaced(path: bytes, present: set[bytes], folders: set[bytes]) -> bool:
    """Says whether what is on disk now has a folder where this file was, or a file where its folder was."""
    return path in folders or any(above in present for above in ancestors(path))


def _unchanged(path: str, known: Pointer, kind: str) -> AddedPath:
    return AddedPath(
        path=path,
        kind="directory" if kind == "directory" else "file",
        oid=known.oid,
        size_bytes=known.size_bytes,
        files=known.files,
        unchanged=True,
    )
