"""One look at one tracked path: how what is on disk differs from its pointer, and what the cache lacks of it. Changes nothing but the stat index."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, FILE, KIND_MASK, SYMLINK, Entries
from dvlite.formats.pointer import Pointer, from_oid
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import Digest, format_oid
from dvlite.repo.tracked_paths import Tracked
from dvlite.workspace import sparse, unpushed
from dvlite.workspace.changes import Counts, FileChange, Kind, changes, counts_of
from dvlite.workspace.hashing import Reader, Snapshot, identify
from dvlite.workspace.overwrite_safety import is_exactly
from dvlite.workspace.purged import PurgedFile, purged_in, without
from dvlite.workspace.scan import Scan
from dvlite.workspace.sparse import Selects
from dvlite.workspace.workspace import NO_VERSION, Workspace

_EXAMPLES = 5
_KINDS = {FILE: "file", SYMLINK: "symlink", EMPTY_DIR: "empty-dir"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPath:
    """A tracked path whose data in the workspace is not what its pointer says."""

    path: str
    kind: Kind
    counts: Counts
    examples: tuple[FileChange, ...] = ()  # a few
    stage: str | None = None  # of an output


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentPath:
    """A tracked path with data that is not where it should be.

    `earlier`: another version is in its place, untouched, and how the right one differs from it; all zero if that is unknown.
    """

    path: str
    kind: Kind
    files: int = 0
    size_bytes: int = 0
    whole: bool = True  # False: part of it is there
    example: str | None = None
    stage: str | None = None  # of an output
    earlier: Counts | None = None


class PathStatus:
    """One look at one tracked path, or the `part` of it that a function chooses; `run` takes it.

    `is_earlier`: another version is here, as it was checked out. `is_counted` is False where something changed, and the listing that would
    say what is not in the cache.
    """

    def __init__(
        self, work: Workspace, item: Tracked, reader: Reader | None = None, *, part: Selects | None = None
    ) -> None:
        self._work, self._item, self._part = work, item, part
        self._path, self._pointer, self._stage = item.path, item.pointer, item.stage or None
        self._reader = reader
        self.changed: ChangedPath | None = None
        self.missing: AbsentPath | None = None
        self.not_in_cache: AbsentPath | None = None
        self.purged: tuple[PurgedFile, ...] = ()
        self.is_earlier = False
        self.is_counted = True
        self._pushed = item.push

    @property
    def stays_elsewhere(self) -> bool:
        """Returns whether it is an output that its pipeline keeps in the clone that made it, and that is not this one."""
        return not self._pushed and self.missing is not None and self.not_in_cache is not None

    def run(self) -> None:
        work, wanted = self._work, self._pointer
        if work.is_left_out(self._path):
            return
        if work.cache.purged:
            with contextlib.suppress(ObjectMissing, ObjectCorrupt):  # noted below
                self.purged = tuple(self._purged_in(work.wanted(wanted)).values())
        scan = work.scan(self._path)
        if scan is not None and work.is_vouched(self._path, scan, wanted):
            self._check_root_in_cache()
            if self._path in work.sparse and (known := self._entries()) is not None:  # perhaps without what was nowhere
                self._note_never_here(known, scan.paths)
            return
        entries = self._entries()
        vouched = None if scan is None else work.vouched(self._path, scan)
        if vouched is not None:  # of another version, as it was checked out: the pointer moved on, the user did nothing
            kind = "file" if scan is not None and scan.paths == [b""] else "directory"
            self._note_earlier(Pointer(kind, vouched, 0))
            return
        if scan is None:
            if self.purged and entries is not None and len(self.purged) == len(entries):
                return  # there is nothing that could be here
            if entries is None or len(entries) or wanted.kind == "directory":
                chosen = (
                    [i for i, path in enumerate(entries.paths) if self._part(path)] if entries and self._part else ()
                )
                self.missing = self._absent(entries, chosen)
            return
        earlier = self._earlier_version()
        if entries is None and earlier is None and sum(scan.sizes) != wanted.size_bytes:
            self._without_listing(scan)
            return
        have = identify(scan, work.stat_rows(self._path), work.progress, self._reader)
        if earlier is not None and is_exactly(work, earlier, have.entries()):
            self._remember(have, earlier.digest)
            self._note_earlier(earlier)
        elif entries is None and is_exactly(work, wanted, have.entries()):
            self._remember(have, wanted.digest)
        elif entries is None:
            self._without_listing(scan)
        else:
            self._compare(entries, have)

    def _purged_in(self, entries: Entries) -> dict[int, PurgedFile]:
        return purged_in(self._work.cache, self._path, entries, self._selects())

    def _selects(self) -> Selects | None:
        """Returns which entries are looked at: those that belong here, of the part that was asked for."""
        patterns, part = self._work.wanted_part(self._path), self._part
        belongs = sparse.selector(patterns) if patterns else None
        if belongs is None or part is None:
            return belongs or part
        return lambda path: belongs(path) and part(path)

    def _note_earlier(self, present: Pointer) -> None:
        self.is_earlier = True
        earlier = self._to_come(present)
        if earlier is not None:
            self.missing = replace(self._absent(), earlier=earlier)

    def _to_come(self, present: Pointer) -> Counts | None:
        """Returns how the version of the pointer differs from another one, as far as their listings are in the cache; None: not in this part."""
        if present.kind != "directory" or self._pointer.kind != "directory":
            return Counts(modified=1)
        try:
            pairs = list(manifest.compare(present.digest, self._pointer.digest, self._work.cache.read_node))
        except (ObjectMissing, ObjectCorrupt):
            return Counts()
        if self._part is not None:
            pairs = [pair for pair in pairs if self._part(next(filter(None, pair)).path)]
        return counts_of(changes(self._path, pairs)) if pairs else None

    def _earlier_version(self) -> Pointer | None:
        """Returns the version that was checked out here last, if it is another one: its files may be too young for their times to prove it."""
        other = self._work.other_version(self._item)
        return None if other is None else from_oid(other)

    def _check_root_in_cache(self) -> None:
        """Looks for the listing, or the file, alone: a cheap sign that the cache was emptied."""
        cache, wanted = self._work.cache, self._pointer
        if wanted.kind == "directory":
            there = cache.has_node(wanted.digest)
        else:
            there = bool(self.purged) or cache.has_file(wanted.digest, wanted.size_bytes) or self._was_pushed()
        if not there:
            self.not_in_cache = self._absent()

    def _was_pushed(self) -> bool:
        """Returns whether the version need not be in the cache while it is on disk: as far as this clone knows, a remote has it."""
        repo = self._work.repo
        return self._pushed and bool(repo.config.remote_names) and not unpushed.among(repo, [self._pointer.oid])

    def _absent(self, entries: Entries | None = None, gone: Sequence[int] = ()) -> AbsentPath:
        """Returns all of the path, or some of its entries, as what is not where it should be."""
        wanted = self._pointer
        some = AbsentPath(
            path=self._path,
            kind="directory" if wanted.kind == "directory" else "file",
            files=wanted.files,
            size_bytes=wanted.size_bytes,
            stage=self._stage,
        )
        if entries is None or not gone:
            return some
        size, first = sum(entries.sizes[i] for i in gone), self._shown(entries.paths[gone[0]])
        return replace(some, files=len(gone), size_bytes=size, whole=len(gone) == len(entries), example=first)

    def _entries(self) -> Entries | None:
        """Returns what the pointer stands for; None, and a note, if its listing is not in the cache."""
        try:
            entries = self._work.wanted(self._pointer)
        except (ObjectMissing, ObjectCorrupt):
            self.not_in_cache = self._absent()
            return None
        cache = self._work.cache
        if self._pointer.kind == "file":
            if not self.purged and not cache.has_file(self._pointer.digest, self._pointer.size_bytes):
                self.not_in_cache = self._absent()
            return entries
        gone = list(cache.missing(entries, self._selects()))
        if gone:
            self.not_in_cache = self._absent(entries, gone)
        return entries

    def _without_listing(self, scan: Scan) -> None:
        """Says no more than the totals: the listing to compare with is not here."""
        self.is_counted = False
        size = sum(scan.sizes)
        counts = Counts(modified=1, delta_bytes=size - self._pointer.size_bytes)
        if self._work.is_new_here(self._path):  # what is missing was never here, and that is all that differs perhaps
            counts = Counts()
        self.changed = ChangedPath(path=self._path, kind="directory", counts=counts, stage=self._stage)

    def _compare(self, entries: Entries, have: Snapshot) -> None:
        if self.purged:  # what is not there cannot come back; what is there is compared
            present = frozenset(have.scan.paths)
            entries = without(entries, [i for i in self._purged_in(entries) if entries.paths[i] not in present])
        differing = list(_changes(entries, have, self._work.removable(self._path)))
        never_here = self._never_here(entries, have.scan.paths)
        if not (never_here and self._work.is_new_here(self._path)):  # else the rows must go on saying what was here
            self._remember(have, NO_VERSION if differing else self._pointer.digest)
        if self._part is not None:
            paths = (entries.paths[old] if old is not None else have.scan.paths[new or 0] for old, new in differing)
            differing = [pair for pair, path in zip(differing, paths, strict=True) if self._part(path)]
        self._note_never_here(entries, have.scan.paths)
        if not differing:
            if self.missing is None and self._was_pushed():
                self.not_in_cache = None  # as where the times vouch for it: `cache prune` took what is safe
            return
        self.changed = ChangedPath(
            path=self._path,
            kind="file" if self._pointer.kind == "file" else "directory",
            counts=_counts(self._path, entries, have, differing),
            examples=tuple(self._example(entries, have, old, new) for old, new in differing[:_EXAMPLES]),
            stage=self._stage,
        )

    def _note_never_here(self, entries: Entries, on_disk: Sequence[bytes]) -> None:
        gone = [i for i in self._never_here(entries, on_disk) if self._part is None or self._part(entries.paths[i])]
        if gone:
            self.missing = self._absent(entries, gone)

    def _never_here(self, entries: Entries, on_disk: Sequence[bytes]) -> list[int]:
        """Returns the entries that no version which was here could have lost: they were nowhere, or nothing of the directory was checked out."""
        work, present = self._work, frozenset(on_disk)
        if self._pointer.kind != "directory":
            return []
        if work.is_new_here(self._path):
            present |= work.were_here(self._path)
            return [i for i, path in enumerate(entries.paths) if path not in present]
        lost = {os.fsencode(name[len(sparse.LOST) :]) for name in work.part(self._path) if name.startswith(sparse.LOST)}
        return [i for i, path in enumerate(entries.paths) if path in lost and path not in present]

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

    def _remember(self, have: Snapshot, root: Digest) -> None:
        """Saves what was read, so that the next look need not; only if no other command is writing and the disk is not read-only."""
        if not have.read_files and root == NO_VERSION:
            return
        work = self._work
        with contextlib.suppress(DvliteError, OSError), work.repo.lock(work.progress, wait=False):
            work.remember(self._path, root, have.scan, have.digests, have.racy)


def _changes(entries: Entries, have: Snapshot, selects: Selects | None) -> Iterator[tuple[int | None, int | None]]:
    """Yields `(position in the pointer's version, position on disk)` of what differs."""
    i = j = 0
    paths, on_disk = entries.paths, have.scan.paths
    while i < len(paths) or j < len(on_disk):
        if j >= len(on_disk) or (i < len(paths) and paths[i] < on_disk[j]):
            if selects is None or selects(paths[i]):  # what was never checked out here is not missing
                yield i, None
            i += 1
        elif i >= len(paths) or on_disk[j] < paths[i]:
            yield None, j
            j += 1
        else:
            if entries.flags[i] != have.scan.flags[j] or entries.digest(i) != have.digest(j):
                yield i, j
            i, j = i + 1, j + 1


def _counts(path: str, entries: Entries, have: Snapshot, differing: Sequence[tuple[int | None, int | None]]) -> Counts:
    """Counts differences, those that are renames as that."""
    added = sum(old is None for old, _ in differing)
    removed = sum(new is None for _, new in differing)
    if added and removed:
        now = have.entries()
        pairs = [(None if old is None else entries[old], None if new is None else now[new]) for old, new in differing]
        return counts_of(changes(path, pairs))
    delta = sum(have.scan.sizes[new] for _, new in differing if new is not None)
    delta -= sum(entries.sizes[old] for old, _ in differing if old is not None)
    return Counts(added=added, removed=removed, modified=len(differing) - added - removed, delta_bytes=delta)
