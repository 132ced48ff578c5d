"""Takes tracked paths into the cache and makes their pointers name what is on disk: what `add`, and `repro` for its dependencies, do to a path.

What was never here stays in a version: of a directory that is here in part, and of one of which nothing was checked out.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dvlite import files
from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.formats import manifest, pointer
from dvlite.formats.manifest import SYMLINK, Entries, Entry
from dvlite.formats.manifest_parts import differences
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.oid import Digest
from dvlite.paths import ancestors, check_paths
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.show import count, one_line, quote, word
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_MANIFEST
from dvlite.workspace import sparse, unpushed
from dvlite.workspace.add_checks import AddTarget, portable_warnings
from dvlite.workspace.changes import Counts, Kind, changed, changes, counts_of
from dvlite.workspace.hashing import Snapshot, identify
from dvlite.workspace.ingest import STAND_INS, CachingReader
from dvlite.workspace.outdated import bringing, find_outdated, refusal
from dvlite.workspace.purged import purged_in
from dvlite.workspace.scan import Scan, selected_scan
from dvlite.workspace.workspace import NO_VERSION, Workspace, lacking, set_aside_damaged_nodes

if TYPE_CHECKING:
    from dvlite.workspace.add_tables import TableFound  # slow to load: only data with tables pays it

_MOST_PATTERNS = 1000  # for files added outside of the part that is here: each is tried for every path


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
    tables: tuple[TableFound, ...] = ()  # Delta, Iceberg and Lance tables in it
    stored_bytes: int = 0  # what the cache grew by for this path


class Adder:
    """Adds paths one after the other; pointers are written once everything is in the cache."""

    def __init__(self, work: Workspace, progress: Progress, *, force: bool, allow_purged: bool = False) -> None:
        self._work, self._progress, self._force, self._allow_purged = work, progress, force, allow_purged
        # path: new, old, content, whole; no content where nothing on disk was read
        self._versions: dict[str, tuple[Pointer, Pointer | None, Snapshot | None, bool]] = {}
        self._partial: set[str] = set()  # directories of which only what was added is here
        self._nodes: dict[Digest, bytes] = {}  # of the new manifests, which the cache shows only after the commit
        self.shares_blocks = False
        self.warnings: list[str] = []

    def one(self, target: AddTarget, writer: Writer, *, update: bool) -> AddedPath | None:
        """Stores one path in the cache; returns None for a tracked path that is not on disk (`-u`: nothing to update)."""
        work, path, old = self._work, target.path, target.old
        scan = work.scan(path)
        work.clear_leftovers(path, scan)
        if scan is None:
            if update or old is None:
                return None
            raise UsageError(
                f"cannot find {quote(work.repo.display(path))}",
                hint=f"dvlite rm {word(work.repo.display(path))}   or restore it: dvlite checkout",
            )
        vouched = None if old is None else work.vouched(path, scan)
        if old is not None and not self._force and self._is_outdated(target, old, scan, vouched, update=update):
            return None
        if old is not None and not target.inside and vouched == old.digest and self._is_unchanged(old, scan):
            return None if update else _unchanged(path, old)
        if (
            target.inside and not scan.tables
        ):  # nothing else is read: its bytes would be stored without a version that names them
            scan = selected_scan(scan, sparse.selector(target.inside))
        if scan.paths == [b""] and scan.flags[0] == SYMLINK:
            raise UsageError(
                f"cannot track {quote(work.repo.display(path))}: it is a symbolic link",
                hint="track the file or folder that it points to",
            )
        reader = CachingReader(work.cache, writer, (work.repo.root / path).parent, work.repo.display(path))
        before = writer.stored_bytes
        if scan.tables:
            snapshot = self._of_one_moment(target, scan, reader)
        else:
            rows = work.stat_rows(path)
            snapshot = identify(scan, rows, work.progress, reader, lacking=work.cache.lacking)
        added = self._take(target, snapshot, reader, writer)
        return None if update and added.unchanged else replace(added, stored_bytes=writer.stored_bytes - before)

    def from_elsewhere(self, target: AddTarget, source: Path | BinaryIO, writer: Writer) -> AddedPath:
        """Stores what is to become a path, from a file or folder elsewhere or from a stream; the work tree is not touched.

        Raises UsageError for an empty stream: mostly, the command before it failed.
        """
        work, path = self._work, target.path
        shown, before = work.repo.display(path), writer.stored_bytes
        if isinstance(source, Path):
            scan = work.scan(path, source)
            if scan is None:
                raise UsageError(f"cannot find {quote(str(source))}", hint="check the name of what is to be added")
            reader = CachingReader(work.cache, writer, source.parent, str(source))
            if scan.tables:
                snapshot = self._of_one_moment(target, scan, reader, source)
            else:
                snapshot = identify(scan, None, work.progress, reader)
        else:
            work.progress.start(f"adding {shown}")
            digest, size_bytes = writer.put_stream(source, lambda size: work.progress.advance(size_bytes=size))
            work.progress.finish()
            if not size_bytes:
                raise UsageError(
                    "standard input is empty, so nothing was added", hint="did the command before the pipe fail?"
                )
            reader = CachingReader(work.cache, writer, work.repo.root, shown)
            scan = Scan([b""], bytearray([manifest.FILE]), array("q", [size_bytes]), root=work.location(path))
            snapshot = Snapshot(scan, bytearray(digest), bytearray(1), 1)
        added = self._take(target, snapshot, reader, writer)
        self._versions[path] = self.version(path), target.old, None, True
        return replace(added, stored_bytes=writer.stored_bytes - before)

    def from_version(self, target: AddTarget, new: Pointer, entries: Entries) -> AddedPath:
        """Takes note of a version that is in the cache and is to become a path; the work tree is not touched."""
        path, old = target.path, target.old
        if self._work.cache.purged:
            self._refuse_purged(path, entries)
        self._check(target, [name for name in entries.paths if name])
        self._versions[path] = new, old, None, True
        if new.same_version(old):
            return _unchanged(path, new)
        if old is None:
            self.warnings.extend(portable_warnings([os.fsencode(path)] if new.kind == "file" else entries.paths))
        return self._added(target, new)

    def _of_one_moment(
        self, target: AddTarget, scan: Scan, reader: CachingReader, source: Path | None = None
    ) -> Snapshot:
        """Reads data with Delta tables in it, which are at one version each then, whoever writes to them."""
        from dvlite.workspace.add_tables import TablesReader

        tables = TablesReader(self._work, target, reader, source, force=self._force)
        snapshot = tables.read(scan)
        self.warnings += tables.warnings
        return snapshot

    def _with_tables(self, added: AddedPath, scan: Scan) -> AddedPath:
        """Returns what was added with the tables in it, and warns of what a copy of one cannot do."""
        from dvlite.workspace.add_tables import iceberg_warnings, tables_in

        tables = tables_in(scan)
        if added.created:
            self.warnings += iceberg_warnings(self._work.repo.display(added.path), tables)
        return replace(added, tables=tables)

    def _take(self, target: AddTarget, snapshot: Snapshot, reader: CachingReader, writer: Writer) -> AddedPath:
        """Takes note of a version whose files are stored, and stores its listing."""
        work, path, old = self._work, target.path, target.old
        self.shares_blocks |= reader.shares_blocks
        for start, number in reader.stand_ins.items():
            shown, (tool, command) = work.repo.display(path), STAND_INS[start]
            self.warnings.append(
                f"{quote(shown)} has {count(number, f'{tool} pointer')} in place of data: {command} there, then dvlite add {word(shown)}"
            )
        if work.cache.purged:
            writer.name_files()
            self._refuse_purged(path, snapshot.entries())
        new = self._pointer(target, snapshot, writer)
        self._versions[path] = new, old, snapshot, not target.inside
        if new == old:
            return _unchanged(path, old)
        duplicates = reader.duplicates if old is None else 0
        added = replace(self._added(target, new), duplicates=duplicates, left_out=dict(snapshot.scan.left_out))
        if snapshot.scan.marks:
            added = self._with_tables(added, snapshot.scan)
        self._nodes.clear()
        if old is None or added.counts.added or added.counts.renamed:
            is_file = snapshot.scan.paths == [b""]
            self.warnings.extend(portable_warnings([os.fsencode(path)] if is_file else snapshot.scan.paths))
        return added

    def _refuse_purged(self, path: str, entries: Entries) -> None:
        """Raises UsageError for bytes that were purged, unless they are allowed: then the version names them, and no store has them."""
        cache = self._work.cache
        gone = purged_in(cache, path, entries)
        for i in gone:
            # of small ones, gc drops what was stored just now
            cache.large_path(entries.digest(i)).unlink(missing_ok=True)
        if not gone or self._allow_purged:
            return
        first = next(iter(gone.values()))
        shown = self._work.repo.display(first.path)
        more = f" (and {count(len(gone) - 1, 'more file')})" if len(gone) > 1 else ""
        raise UsageError(
            f"cannot add {quote(shown)}: its content was purged by {first.user} on {first.time[:10]}: {one_line(first.reason)}{more}",
            hint=f"rm {word(shown)}; to have it named in a version all the same, without its content: dvlite add --allow-purged {word(shown)}",
        )

    def _is_outdated(
        self, target: AddTarget, old: Pointer, scan: Scan, vouched: Digest | None, *, update: bool
    ) -> bool:
        """Returns whether `-u` skips the path because it is older than its pointer, and warns; raises if adding it would undo a change."""
        work, path = self._work, target.path
        is_untouched = update and vouched not in (None, old.digest)
        outdated = None if is_untouched else find_outdated(work, path, old, scan, target.inside)
        if outdated is not None and (outdated.is_edited or not update):
            raise refusal(work.repo, path, outdated)
        if not is_untouched and outdated is None:
            return False
        shown = work.repo.display(path)
        bring = bringing(work, path, "checkout") if outdated is None else outdated.bring
        self.warnings.append(
            f"{quote(shown)} is an earlier version, untouched; it is left as it is"
            f" (to get the version in the pointer: {bring}; to add this version: dvlite add --force {word(shown)})"
        )
        return True

    def _is_unchanged(self, old: Pointer, scan: Scan) -> bool:
        """Returns whether a scan of the content that a pointer names is all that it says, and the cache has all of it."""
        work = self._work
        if old.kind == "file":
            executable = scan.flags[0] == manifest.FILE | manifest.EXECUTABLE
            is_same = (executable, scan.sizes[0]) == (old.executable, old.size_bytes)
            return is_same and work.cache.has_file(old.digest, old.size_bytes)
        try:
            if manifest.totals(old.digest, work.cache.read_node) != (old.size_bytes, old.files):
                return False  # the pointer was edited
            return next(lacking(old, work.cache, ()), None) is None
        except ObjectMissing:
            return False
        except ObjectCorrupt:
            set_aside_damaged_nodes(work.cache, old.digest)  # so that the new manifest is stored
            return False

    def _pointer(self, target: AddTarget, snapshot: Snapshot, writer: Writer) -> Pointer:
        old = target.old
        if snapshot.scan.paths == [b""]:
            if old is not None and old.kind == "directory" and not self._force and self._work.is_new_here(target.path):
                shown = self._work.repo.display(target.path)
                raise UsageError(
                    f"cannot add {quote(shown)}: it is a file here, and its pointer names a directory that was never here",
                    hint=f"to have the directory: move the file away, then dvlite pull {word(shown)}\n"
                    f"to take the file in its place: dvlite add --force {word(shown)}",
                )
            executable = bool(snapshot.scan.flags[0] & manifest.EXECUTABLE)
            new = Pointer("file", snapshot.digest(0), snapshot.scan.sizes[0], executable=executable)
        else:
            tree = self._tree(target, snapshot, writer)
            for digest, data in tree.nodes:
                if writer.put(KIND_MANIFEST, digest, data):
                    self._nodes[digest] = data
            new = Pointer("directory", tree.root, tree.size_bytes, tree.files)
        return new if old is None else replace(new, meta=old.meta, source=old.source)

    def _tree(self, target: AddTarget, snapshot: Snapshot, writer: Writer) -> manifest.Tree:
        """Returns the new listing: what is on disk and, of a partly checked out directory, the entries that are not. Costs what changed."""
        work, old, on_disk = self._work, target.old, snapshot.entries()
        if old is None or old.kind != "directory":
            return self._built(target, on_disk, partial(writer.put, KIND_MANIFEST))
        chooses = work.removable(target.path)
        if target.inside:
            chooses = _both(chooses, sparse.selector(target.inside))
        edit = partial(self._edited, target, old.digest, on_disk, chooses)
        if chooses is not None:
            from dvlite.workspace.fetch import with_listings  # the remote side: slow to load

            return with_listings(work.repo, work.cache, target.path, [old], edit, work.progress)
        try:
            tree = edit()
        except (ObjectMissing, ObjectCorrupt):
            return self._built(target, on_disk)
        new = dict(tree.nodes)
        kept = manifest.node_names(tree.root, lambda digest: new.get(digest) or work.cache.read_node(digest))
        is_whole = all(writer.relies_on(KIND_MANIFEST, digest) for digest in kept.difference(new))
        return tree if is_whole else self._built(target, on_disk)

    def _built(self, target: AddTarget, on_disk: Entries, keep: manifest.KeepNode | None = None) -> manifest.Tree:
        self._check(target, on_disk.paths)
        return manifest.build(on_disk, keep=keep)

    def _edited(
        self, target: AddTarget, old: Digest, on_disk: Entries, chooses: sparse.Selects | None
    ) -> manifest.Tree:
        """Returns the old listing with what differs on disk; what `chooses` leaves out is kept unless something stands in its place."""
        work, paths, stays = self._work, on_disk.paths, False
        reach = None if chooses is None else sparse.reach(target.inside) if target.inside else work.reach(target.path)
        edits: dict[bytes, Entry | None] = {}

        def may_hold(after: bytes, last: bytes) -> bool:
            return reach is None or reach(after, last) or _may_be_replaced(after, last, paths)

        for start, stop, leaf in differences(old, on_disk, work.cache.read_node, may_hold):
            for i, j in changed(leaf, on_disk, start, stop):
                if j is not None:
                    edits[paths[j]] = on_disk[j]
                elif i is not None and (
                    chooses is None or chooses(leaf.paths[i]) or _is_replaced(leaf.paths[i], paths)
                ):
                    edits[leaf.paths[i]] = None
                else:
                    stays = True
        self._check(target, [path for path, entry in edits.items() if entry is not None])
        if stays and work.is_new_here(target.path):
            self._partial.add(target.path)
        return manifest.edit(old, edits, work.cache.read_node)

    def _widen(self, path: str, on_disk: Sequence[bytes]) -> None:
        """Has files that were added outside of the part that is here belong to it: another version without them removes them."""
        patterns = self._work.sparse[path]
        chosen = sparse.selector(patterns) if patterns else None
        more = [] if chosen is None else [inner for inner in on_disk if not chosen(inner)]
        if len(more) <= _MOST_PATTERNS:
            literals = [sparse.literal(os.fsdecode(inner)) for inner in more]
            self._work.set_sparse(path, sparse.added(patterns, literals))

    def _check(self, target: AddTarget, paths: Sequence[bytes]) -> None:
        try:
            check_paths(paths)
        except DvliteError as error:
            raise UsageError(
                f"cannot track {quote(self._work.repo.display(target.path))}: {error.message}",
                hint="rename it, move it away, or name it in .dvliteignore",
            ) from None

    def _added(self, target: AddTarget, new: Pointer) -> AddedPath:
        old = target.old
        return AddedPath(
            path=target.path,
            kind="directory" if new.kind == "directory" else "file",
            oid=new.oid,
            size_bytes=new.size_bytes,
            files=new.files,
            created=old is None,
            counts=self._counts(old, new),
        )

    def _counts(self, old: Pointer | None, new: Pointer) -> Counts:
        if old is None:
            return Counts(added=new.files, delta_bytes=new.size_bytes)
        delta = new.size_bytes - old.size_bytes
        if old.kind != new.kind or new.kind == "file":
            return Counts(modified=1, delta_bytes=delta)
        try:
            pairs = list(manifest.compare(old.digest, new.digest, self._read_node))
        except (ObjectMissing, ObjectCorrupt):
            return Counts(modified=1, delta_bytes=delta)
        return replace(counts_of(changes("", pairs)), delta_bytes=delta)

    def _read_node(self, digest: Digest) -> bytes:
        return self._nodes.get(digest) or self._work.cache.read_node(digest)

    def version(self, path: str) -> Pointer:
        """Returns what a path was taken in as."""
        return self._versions[path][0]

    @property
    def new(self) -> set[str]:
        """The paths that were not tracked before."""
        return {path for path, (_, old, *_) in self._versions.items() if old is None}

    def write_pointers(self, writer: Writer) -> list[str]:
        """Writes pointers and stat indexes; returns the files to stage. Unchanged pointers are not touched."""
        work = self._work
        changed = {path: new for path, (new, old, _, _) in self._versions.items() if new != old}
        written = write_pointers(work.repo, changed, writer)
        for path, (new, old, snapshot, whole) in self._versions.items():
            if snapshot is None:  # on disk is what was there
                continue
            if path in self._partial:  # the rows say what is here: no version is, and no note names one
                if whole:
                    work.remember(path, NO_VERSION, snapshot.scan, snapshot.digests, snapshot.racy)
                continue
            if path in work.sparse:  # what was lost, and is on disk now, is no longer missed
                present = {sparse.LOST + os.fsdecode(inner) for inner in snapshot.scan.paths}
                work.set_sparse(path, [pattern for pattern in work.sparse[path] if pattern not in present])
                self._widen(path, snapshot.scan.paths)
            before = None if old is None else old.oid
            versions = work.versions_here(path)
            work.note_version(path, new.oid, whole=whole, part=bool(versions) and versions[0] != before, before=before)
            if whole:
                work.remember(path, new.digest, snapshot.scan, snapshot.digests, snapshot.racy)
        return written


def write_pointers(repo: Repo, versions: Mapping[str, Pointer], writer: Writer) -> list[str]:
    """Writes the pointers of paths to versions that were made here; returns the files. Many are synced at a time, by the writer of their data."""
    for version in versions.values():  # first: a version that is not noted counts as pushed
        unpushed.note(repo, version.oid)
    contents = {repo.root / (path + SUFFIX): pointer.dump(version) for path, version in versions.items()}
    files.write_together(contents, writer.sync_soon)
    return [path + SUFFIX for path in versions]


def _is_replaced(path: bytes, present: Sequence[bytes]) -> bool:
    """Returns whether what is on disk now, in order, has a folder where this file was, or a file where its folder was."""
    return _is_folder(path, present) or any(_is_entry(above, present) for above in ancestors(path))


def _both(one: sparse.Selects | None, other: sparse.Selects) -> sparse.Selects:
    return other if one is None else lambda path: one(path) and other(path)


def _may_be_replaced(after: bytes, last: bytes, present: Sequence[bytes]) -> bool:
    """Returns whether a path after one and up to another could be replaced, if nothing on disk lies between these two.

    A file on disk whose folder begins there comes before, and `after` begins with its name; of a folder in the place of a file, all comes
    later, and `last` begins with the name of the file.
    """
    files = (after[:length] for length in range(1, len(after) + 1))
    folders = (last[:length] for length in range(1, len(last) + 1))
    return any(_is_entry(file, present) for file in files) or any(
        folder > after and _is_folder(folder, present) for folder in folders
    )


def _is_entry(path: bytes, present: Sequence[bytes]) -> bool:
    i = bisect_left(present, path)
    return present[i : i + 1] == [path]


def _is_folder(path: bytes, present: Sequence[bytes]) -> bool:
    i = bisect_left(present, path + b"/")
    return i < len(present) and present[i].startswith(path + b"/")


def _unchanged(path: str, pointer: Pointer) -> AddedPath:
    return AddedPath(
        path=path,
        kind="directory" if pointer.kind == "directory" else "file",
        oid=pointer.oid,
        size_bytes=pointer.size_bytes,
        files=pointer.files,
        unchanged=True,
    )
