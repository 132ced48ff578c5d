"""`dvlite status`: what differs between workspace, git, cache and (if asked) a remote. Changes nothing but the stat index."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, KIND_MASK, SYMLINK, Entries
from dvlite.formats.pointer import SUFFIX
from dvlite.git_output import is_pipeline_file, is_pointer
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import format_oid
from dvlite.progress import Progress
from dvlite.repo import Repo, Tracked
from dvlite.results.looks import (
    AbsentPath,
    ChangedPath,
    Counts,
    FileChange,
    StaleStage,
    StatusResult,
    UncommittedPointer,
)
from dvlite.stores import open_cache
from dvlite.workspace.identify import HashOnly, Snapshot
from dvlite.workspace.scan import Scan
from dvlite.workspace.select import select, usable
from dvlite.workspace.sparse import Selects
from dvlite.workspace.tracked import NO_VERSION, Workspace

_EXAMPLES = 5
_KINDS = {FILE: "file", SYMLINK: "symlink", EMPTY_DIR: "empty-dir"}


def status(
    repo: Repo, paths: Sequence[str], *, remote: str | None = None, check_remote: bool = False, progress: Progress
) -> StatusResult:
    """Compares every tracked path given (all without any) with its pointer, and the pointers with git's last commit.

    Files are read only if their times say that they may have changed. With `check_remote` one fresh look at the remote is taken.
    """
    work = Workspace(repo, open_cache(repo), progress)
    warnings: list[str] = []
    tracked = usable(repo, paths, warnings.append)
    chosen = [item for item, _ in select(repo, tracked, paths, inside=False)]
    looks = [_Look(work, item) for item in chosen]
    for look in looks:
        look.run()
    looks = [look for look in looks if not look.stays_elsewhere]
    not_pushed, name = None, None
    if check_remote:
        from dvlite.workspace.unpushed import look_at_remote  # 30 ms of modules that a plain status does not need

        name, not_pushed = look_at_remote(repo, work.cache, chosen, remote)
    differing = [look.changed for look in looks if look.changed is not None]
    changed = tuple(path for path in differing if path.stage is None)
    outputs_changed = tuple(path for path in differing if path.stage is not None)
    missing = tuple(look.missing for look in looks if look.missing is not None)
    not_in_cache = tuple(look.not_in_cache for look in looks if look.not_in_cache is not None)
    uncommitted = tuple(_uncommitted(repo, _files_of(chosen) if paths else None))
    stale: tuple[StaleStage, ...] = ()
    if not paths and repo.pipeline_files(as_seen=True):
        from dvlite.pipeline.outlook import stages_out_of_date  # only where there is a pipeline

        stale, problems = stages_out_of_date(repo, work, tracked)
        warnings += [problem for problem in problems if problem not in warnings]
    return StatusResult(
        clean=not (
            changed or outputs_changed or missing or not_in_cache or uncommitted or not_pushed or stale or warnings
        ),
        tracked=len(tracked),
        changed=changed,
        outputs_changed=outputs_changed,
        stale=stale,
        uncommitted=uncommitted,
        missing=missing,
        not_in_cache=not_in_cache,
        not_pushed=not_pushed,
        remote=name,
        warnings=tuple(warnings),
    )


class _Look:
    """One look at one tracked path."""

    def __init__(self, work: Workspace, item: Tracked) -> None:
        self._work, self._path, self._pointer, self._stage = work, item.path, item.pointer, item.stage or None
        self.changed: ChangedPath | None = None
        self.missing: AbsentPath | None = None
        self.not_in_cache: AbsentPath | None = None
        self._pushed = item.push

    @property
    def stays_elsewhere(self) -> bool:
        """Says whether it is an output that its pipeline keeps in the clone that made it, and that is not this one."""
        return not self._pushed and self.missing is not None and self.not_in_cache is not None

    def run(self) -> None:
        work, wanted = self._work, self._pointer
        found = work.scan(self._path)
        if found is not None and self._vouched(found):
            self._check_root_in_cache()
            return
        entries = self._entries()
        if found is not None and self._is_untouched_earlier(found):
            self.missing = self._absent()
            return
        if found is None:
            if entries is None or len(entries) or wanted.kind == "directory":
                self.missing = self._absent()
            return
        if entries is not None:
            self._compare(entries, work.identify(self._path, found, HashOnly()))
        else:
            self._without_listing(found)

    def _vouched(self, found: Scan) -> bool:
        """Says whether the stat index proves that the path is what its pointer says."""
        if self._work.vouched(self._path, found) != self._pointer.digest:
            return False
        if self._pointer.kind == "file":
            return found.paths == [b""] and bool(found.flags[0] & EXECUTABLE) == self._pointer.executable
        return found.paths != [b""]

    def _is_untouched_earlier(self, found: Scan) -> bool:
        """Says whether what is here is another version, as it was checked out: the pointer moved on, the user did nothing."""
        known = self._work.vouched(self._path, found)
        return known is not None and known != self._pointer.digest

    def _check_root_in_cache(self) -> None:
        """Looks for the listing, or the file, alone: a cheap sign that the cache was emptied."""
        cache, wanted = self._work.cache, self._pointer
        there = (
            cache.has_node(wanted.digest)
            if wanted.kind == "directory"
            else cache.has_file(wanted.digest, wanted.size_bytes)
        )
        if not there:
            self.not_in_cache = self._absent()

    def _absent(self) -> AbsentPath:
        wanted = self._pointer
        return AbsentPath(
            path=self._path,
            kind="directory" if wanted.kind == "directory" else "file",
            files=wanted.files,
            size_bytes=wanted.size_bytes,
            stage=self._stage,
        )

    def _entries(self) -> Entries | None:
        """Returns what the pointer stands for; None, and a note, if its listing is not in the cache."""
        try:
            entries = self._work.wanted(self._pointer)
        except (ObjectMissing, ObjectCorrupt):
            self.not_in_cache = self._absent()
            return None
        cache = self._work.cache
        if self._pointer.kind == "file":
            if not cache.has_file(self._pointer.digest, self._pointer.size_bytes):
                self.not_in_cache = self._absent()
            return entries
        selects = self._work.selector(self._path)
        gone = [
            i
            for i, flags in enumerate(entries.flags)
            if flags != EMPTY_DIR
            and (selects is None or selects(entries.paths[i]))
            and not cache.has_file(entries.digest(i), entries.sizes[i])
        ]
        if gone:
            self.not_in_cache = AbsentPath(
                path=self._path,
                kind="directory",
                files=len(gone),
                size_bytes=sum(entries.sizes[i] for i in gone),
                whole=len(gone) == len(entries),
                example=self._shown(entries.paths[gone[0]]),
                stage=self._stage,
            )
        return entries

    def _without_listing(self, found: Scan) -> None:
        """Says no more than the totals: the listing to compare with is not here."""
        size = sum(found.sizes)
        counts = Counts(modified=1, delta_bytes=size - self._pointer.size_bytes)
        self.changed = ChangedPath(path=self._path, kind="directory", counts=counts, stage=self._stage)

    def _compare(self, entries: Entries, have: Snapshot) -> None:
        changes = list(_changes(entries, have, self._work.selector(self._path)))
        if not changes:
            self._remember(have, exact=True)
            return
        self._remember(have, exact=False)
        added = sum(old is None for old, _ in changes)
        removed = sum(new is None for _, new in changes)
        delta = sum(have.scan.sizes[new] for _, new in changes if new is not None)
        delta -= sum(entries.sizes[old] for old, _ in changes if old is not None)
        self.changed = ChangedPath(
            path=self._path,
            kind="file" if self._pointer.kind == "file" else "directory",
            counts=Counts(added=added, removed=removed, modified=len(changes) - added - removed, delta_bytes=delta),
            examples=tuple(self._example(entries, have, old, new) for old, new in changes[:_EXAMPLES]),
            stage=self._stage,
        )

    def _example(self, entries: Entries, have: Snapshot, old: int | None, new: int | None) -> FileChange:
        inner = entries.paths[old] if old is not None else have.scan.paths[new or 0]
        flags = have.scan.flags[new] if new is not None else entries.flags[old or 0]
        return FileChange(
            change="added" if old is None else "removed" if new is None else "modified",
            path=self._shown(inner),
            kind=_KINDS[flags & KIND_MASK],
            old_size_bytes=None if old is None else entries.sizes[old],
            size_bytes=None if new is None else have.scan.sizes[new],
            old_oid=None if old is None else format_oid(FILE_OID, entries.digest(old)),
            oid=None if new is None else format_oid(FILE_OID, have.digest(new)),
        )

    def _shown(self, inner: bytes) -> str:
        return f"{self._path}/{os.fsdecode(inner)}" if inner else self._path

    def _remember(self, have: Snapshot, *, exact: bool) -> None:
        """Spares the next look the reading; readers never wait, so only if nobody else is writing, and not on read-only disks."""
        if not have.read_files and not exact:
            return
        work = self._work
        with contextlib.suppress(DvliteError, OSError), work.repo.lock(wait=False):
            root = self._pointer.digest if exact else NO_VERSION
            work.remember(self._path, root, have.scan, have.digests, have.racy)


def _changes(entries: Entries, have: Snapshot, selects: Selects | None) -> Iterator[tuple[int | None, int | None]]:
    """Yields `(position in the pointer's version, position on disk)` of what differs."""
    i = j = 0
    paths, found = entries.paths, have.scan.paths
    while i < len(paths) or j < len(found):
        if j >= len(found) or (i < len(paths) and paths[i] < found[j]):
            if selects is None or selects(paths[i]):  # what was never checked out here is not missing
                yield i, None
            i += 1
        elif i >= len(paths) or found[j] < paths[i]:
            yield None, j
            j += 1
        else:
            if entries.flags[i] != have.scan.flags[j] or entries.digest(i) != have.digest(j):
                yield i, j
            i, j = i + 1, j + 1


def _files_of(chosen: Sequence[Tracked]) -> set[str]:
    """Returns the files that name tracked paths, and the pipeline files of those that are outputs."""
    lockfiles = {item.lockfile for item in chosen if item.lockfile}
    pipelines = {file.removesuffix("lock") + "yaml" for file in lockfiles}
    return lockfiles | pipelines | {item.path + SUFFIX for item in chosen if not item.lockfile}


def _uncommitted(repo: Repo, only: set[str] | None) -> Iterator[UncommittedPointer]:
    for found in repo.git.status():
        ours = is_pointer(found.path) or is_pipeline_file(found.path)
        if not ours or (only is not None and found.path not in only):
            continue
        if found.staged == "?":
            yield UncommittedPointer(path=found.path, state="untracked")
        elif "D" in (found.staged, found.unstaged):
            yield UncommittedPointer(path=found.path, state="deleted")
        elif found.unstaged not in (".", " "):
            yield UncommittedPointer(path=found.path, state="modified")
        else:
            yield UncommittedPointer(path=found.path, state="staged")
