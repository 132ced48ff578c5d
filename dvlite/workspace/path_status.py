"""One look at one tracked path: how what is on disk differs from its pointer, and what the cache lacks of it. Changes nothing but the stat index."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, FILE, SYMLINK, Entries, Entry
from dvlite.formats.manifest_parts import differences
from dvlite.formats.pointer import Pointer, from_oid
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import Digest, format_oid
from dvlite.repo.tracked_paths import Tracked
from dvlite.workspace import sparse, unpushed
from dvlite.workspace.changes import Counts, FileChange, Kind, Pair, changed, changes, counts_of
from dvlite.workspace.hashing import Reader, Snapshot, identify
from dvlite.workspace.overwrite_safety import is_exactly
from dvlite.workspace.purged import PurgedFile, purged_in
from dvlite.workspace.scan import Scan
from dvlite.workspace.sparse import Selects
from dvlite.workspace.workspace import NO_VERSION, Workspace, is_version

if TYPE_CHECKING:
    from dvlite.workspace.delta_changes import DeltaChange

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
    tables: tuple[
        DeltaChange, ...
    ] = ()  # Delta tables in it to which commits were added, or from which they were removed


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
        vouched = None if scan is None else work.vouched(self._path, scan)
        if scan is not None and is_version(scan, vouched, wanted):
            self._check_root_in_cache()
            if self._path in work.sparse:
                self._note_lost(scan)
            return
        if vouched is not None:  # of another version, as it was checked out: the pointer moved on, the user did nothing
            kind = "file" if scan is not None and scan.paths == [b""] else "directory"
            self._note_earlier(Pointer(kind, vouched, 0))
            return
        if scan is None:
            self._note_nothing_here()
            return
        earlier = self._earlier_version()
        is_certain = earlier is not None or sum(scan.sizes) == wanted.size_bytes  # that reading may be worth its while
        if not is_certain and wanted.kind == "directory" and not work.cache.has_node(wanted.digest):
            self.not_in_cache = self._absent()
            self._without_listing(scan)
            return
        have = identify(scan, work.stat_rows(self._path), work.progress, self._reader)
        if earlier is not None and is_exactly(work, earlier, have.entries()):
            self._remember(have, earlier.digest)
            self._note_earlier(earlier)
            return
        try:
            parts = list(self._parts(have.entries()))
        except (ObjectMissing, ObjectCorrupt):
            self.not_in_cache = self._absent()
            if is_exactly(work, wanted, have.entries()):
                self._remember(have, wanted.digest)
            else:
                self._without_listing(scan)
        else:
            self._compare(parts, have)
            if self.not_in_cache is None and wanted.kind == "directory":
                self._check_root_in_cache()

    def _purged_in(self, entries: Entries) -> dict[int, PurgedFile]:
        return purged_in(self._work.cache, self._path, entries, self._selects())

    def _selects(self) -> Selects | None:
        """Returns which entries are looked at: those that belong here, of the part that was asked for."""
        patterns, part = self._work.wanted_part(self._path), self._part
        belongs = sparse.selector(patterns) if patterns else None
        if belongs is None or part is None:
            return belongs or part
        return lambda path: belongs(path) and part(path)

    def _parts(self, have: Entries) -> Iterator[tuple[int, int, Entries]]:
        """Yields where, from one entry to another, what is on disk is not what the pointer names, and what that is there."""
        work, wanted = self._work, self._pointer
        if wanted.kind == "file":
            yield 0, len(have), work.wanted(wanted)
        else:
            yield from differences(wanted.digest, have, work.cache.read_node, work.reach(self._path))

    def _note_nothing_here(self) -> None:
        entries = self._entries()
        if self.purged and entries is not None and len(self.purged) == len(entries):
            return  # there is nothing that could be here
        if entries is None or len(entries) or self._pointer.kind == "directory":
            part = self._part
            chosen = (i for i, path in enumerate(entries.paths) if part(path)) if entries and part else ()
            self.missing = self._some(entries[i] for i in chosen if entries) or self._absent()

    def _note_earlier(self, present: Pointer) -> None:
        self.is_earlier = True
        earlier = self._to_come(present)
        if earlier is not None:
            self.missing = replace(self._absent(), earlier=earlier)

    def _to_come(self, present: Pointer) -> Counts | None:
        """Returns how the version of the pointer differs from another one, as far as their listings are in the cache; None: not in this part."""
        if present.kind != "directory" or self._pointer.kind != "directory":
            self._entries()
            return Counts(modified=1)
        try:
            pairs = list(manifest.compare(present.digest, self._pointer.digest, self._work.cache.read_node))
        except (ObjectMissing, ObjectCorrupt):
            self._entries()
            return Counts()
        self._note_lacking(manifest.from_entries(new for _, new in pairs if new is not None))
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

    def _absent(self) -> AbsentPath:
        """Returns all of the path as what is not where it should be."""
        wanted = self._pointer
        return AbsentPath(
            path=self._path,
            kind="directory" if wanted.kind == "directory" else "file",
            files=wanted.files,
            size_bytes=wanted.size_bytes,
            stage=self._stage,
        )

    def _some(self, gone: Iterable[Entry]) -> AbsentPath | None:
        """Returns entries of the path as what is not where it should be, None if there are none."""
        first, number, files, size_bytes = None, 0, 0, 0
        for entry in gone:
            first = first or entry.path
            number, files, size_bytes = number + 1, files + (entry.kind != EMPTY_DIR), size_bytes + entry.size_bytes
        if first is None:
            return None
        whole = files == self._pointer.files
        return replace(self._absent(), files=number, size_bytes=size_bytes, whole=whole, example=self._shown(first))

    def _entries(self) -> Entries | None:
        """Returns what the pointer stands for; None, and a note, if its listing is not in the cache."""
        try:
            entries = self._work.wanted(self._pointer)
        except (ObjectMissing, ObjectCorrupt):
            self.not_in_cache = self._absent()
            return None
        self._note_lacking(entries)
        return entries

    def _note_lacking(self, *wanted: Entries) -> None:
        """Notes what the cache lacks of entries of the version."""
        cache = self._work.cache
        if self._pointer.kind == "file":
            if not self.purged and not cache.has_file(self._pointer.digest, self._pointer.size_bytes):
                self.not_in_cache = self._absent()
            return
        selects = self._selects()
        self.not_in_cache = self._some(entries[i] for entries in wanted for i in cache.missing(entries, selects))

    def _without_listing(self, scan: Scan) -> None:
        """Says no more than the totals: the listing to compare with is not here."""
        self.is_counted = False
        size = sum(scan.sizes)
        counts = Counts(modified=1, delta_bytes=size - self._pointer.size_bytes)
        if self._work.is_new_here(self._path):  # what is missing was never here, and that is all that differs perhaps
            counts = Counts()
        self.changed = ChangedPath(path=self._path, kind="directory", counts=counts, stage=self._stage)

    def _compare(self, parts: Sequence[tuple[int, int, Entries]], have: Snapshot) -> None:
        work, now, purged = self._work, have.entries(), self._work.cache.purged
        self._note_lacking(*(leaf for _, _, leaf in parts))
        is_new, chooses, lost = work.is_new_here(self._path), work.removable(self._path), self._lost()
        differing: list[Pair] = []
        never_here: list[Entry] = []  # what no version that was here could have lost
        for start, stop, leaf in parts:
            for i, j in changed(leaf, now, start, stop):
                if i is not None and j is None:
                    if purged and leaf.digest(i) in purged:
                        continue  # it cannot come back
                    path = leaf.paths[i]
                    is_chosen = chooses is None or chooses(path)
                    if path in lost or (is_new and not is_chosen):
                        never_here.append(leaf[i])
                    if not is_chosen:
                        continue  # what was never checked out here is not missing
                differing.append((None if i is None else leaf[i], None if j is None else now[j]))
        if not (never_here and is_new):  # else the rows must go on saying what was here
            self._remember(have, NO_VERSION if differing else self._pointer.digest)
        if self._part is not None:
            differing = [pair for pair in differing if self._part(next(filter(None, pair)).path)]
        self._note_never_here(never_here)
        if not differing:
            if self.missing is None and self._was_pushed():
                self.not_in_cache = None  # as where the times vouch for it: `cache prune` took what is safe
            return
        self.changed = ChangedPath(
            path=self._path,
            kind="file" if self._pointer.kind == "file" else "directory",
            counts=_counts(self._path, differing),
            examples=tuple(self._example(old, new) for old, new in differing[:_EXAMPLES]),
            stage=self._stage,
            tables=self._tables(differing, now) if have.scan.tables else (),
        )

    def _tables(self, differing: Sequence[Pair], now: Entries) -> tuple[DeltaChange, ...]:
        from dvlite.workspace.delta_changes import disk_side, table_changes, version_side

        work = self._work
        old = version_side(self._pointer, work.cache.read_node, work.cache)
        return table_changes(self._path, differing, old, disk_side(work, self._path, now))

    def _lost(self) -> set[bytes]:
        """Returns the paths of files that were nowhere when they were wanted here."""
        patterns = self._work.part(self._path) if self._pointer.kind == "directory" else ()
        return {os.fsencode(name[len(sparse.LOST) :]) for name in patterns if name.startswith(sparse.LOST)}

    def _note_lost(self, scan: Scan) -> None:
        """Notes the files that were nowhere, of a path that is else as it should be."""
        absent = sorted(self._lost().difference(scan.paths))
        root, read = self._pointer.digest, self._work.cache.read_node
        try:
            known = [entry for path in absent if (entry := manifest.find(root, path, read)) is not None]
        except (ObjectMissing, ObjectCorrupt):
            self.not_in_cache = self._absent()
            return
        self._note_lacking(manifest.from_entries(known))
        self._note_never_here(known)

    def _note_never_here(self, gone: Iterable[Entry]) -> None:
        some = self._some(entry for entry in gone if self._part is None or self._part(entry.path))
        self.missing = some or self.missing

    def _example(self, old: Entry | None, new: Entry | None) -> FileChange:
        now = new or old
        assert now is not None
        return FileChange(
            change="added" if old is None else "removed" if new is None else "modified",
            path=self._shown(now.path),
            kind=_KINDS[now.kind],
            old_size_bytes=None if old is None else old.size_bytes,
            size_bytes=None if new is None else new.size_bytes,
            old_oid=None if old is None else format_oid(FILE_OID, old.digest),
            oid=None if new is None else format_oid(FILE_OID, new.digest),
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


def _counts(path: str, differing: Sequence[Pair]) -> Counts:
    """Counts differences, those that are renames as that."""
    added = sum(old is None for old, _ in differing)
    removed = sum(new is None for _, new in differing)
    if added and removed:
        return counts_of(changes(path, differing))
    delta = sum(new.size_bytes for _, new in differing if new is not None)
    delta -= sum(old.size_bytes for old, _ in differing if old is not None)
    return Counts(added=added, removed=removed, modified=len(differing) - added - removed, delta_bytes=delta)
