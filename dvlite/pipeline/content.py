"""What a path of the workspace holds now: dependencies and outputs of stages, hashed, each once.

Where data is not here, what its pointer or lockfile says takes its place, so that a clone without data knows what is out of date.
Reads files and writes the stat index; stores nothing.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from dvlite.errors import FileChanged, UsageError
from dvlite.files import open_without_waiting, os_error, read_at
from dvlite.formats import manifest
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, SYMLINK, Entries, Entry
from dvlite.formats.manifest import FILE as FILE_ENTRY
from dvlite.formats.pointer import Pointer
from dvlite.oid import FILE, MANIFEST, Digest, Oid, digest_bytes, digest_file, format_oid, signature
from dvlite.paths import PathMap, path_pieces
from dvlite.pipeline import map_inputs
from dvlite.pipeline.globs import names_on_disk
from dvlite.pipeline.known_data import KnownData, as_output
from dvlite.pipeline.over_rows import OverRows
from dvlite.pipeline.stages import StageOver
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import quote, word
from dvlite.workspace import sparse
from dvlite.workspace.fetch import with_listings
from dvlite.workspace.hashing import identify, inner_target, symlink_problem
from dvlite.workspace.scan import Scan, selected_scan
from dvlite.workspace.workspace import NO_VERSION, Workspace, entries_of

_SMALL_BYTES = 1 << 20
_TRIES = 3
_OF_THE_KERNEL = ("/proc/", "/sys/")  # what looks like a file there may wait, or have no end


class Contents:
    """Looks at paths of one workspace; remembers what it saw until `forget`."""

    def __init__(
        self,
        work: Workspace,
        tracked: Iterable[Tracked],
        *,
        fetches: bool = True,
        in_git: Callable[[str], Iterable[bytes]] | None = None,
    ) -> None:
        self._work = work
        items = {item.path: item for item in tracked}
        self.known = KnownData({path: item.pointer for path, item in items.items()}, self._listing)
        self._fetches = fetches  # listings that the cache lacks, from the default remote
        self._seen: PathMap[Locked | None] = PathMap()
        self._added = frozenset(path for path, item in items.items() if not item.lockfile)
        self._nodes: dict[Digest, bytes] = {}  # of listings of changed data, which the cache does not have
        self._assumed: dict[str, Locked] = {}
        self._in_git = in_git or self._names_in_git  # the files below a folder that git has or would take
        self._visible: PathMap[frozenset[bytes]] = PathMap()

    def know_outputs(self, folder: str, outs: Iterable[Locked]) -> None:
        """Learns from a lockfile in `folder` of outputs that git keeps: they count as data too, whatever git ignores in them."""
        for out in outs:
            path = posixpath.normpath(posixpath.join(folder, out.path))
            if path not in self.known.pointers:
                self.known.know(path, out.pointer())

    def drop_outputs(self, paths: Iterable[str]) -> None:
        """Forgets outputs that their stage did not make again."""
        for path in paths:
            self.known.pointers.pop(path, None)
            self.forget([path])

    def note_output(self, path: str, version: Locked) -> None:
        """Records what an output is, as the stage that made it left it."""
        self._assumed.pop(path, None)
        self.known.know(path, version.pointer())
        self.forget([path])

    def assume(self, path: str, version: Locked) -> None:
        """Lets `expected` return this until it is known better: what is here is going to be replaced by it."""
        self._assumed[path] = version

    def is_assumed(self, path: str) -> bool:
        """Returns whether what is here, at a path or around it, is going to be replaced."""
        return path in self._assumed or self.known.holder(path) in self._assumed

    def forget(self, paths: Iterable[str]) -> None:
        """Looks again at these paths, and at what is inside or around them, when asked next."""
        for path in set(paths):
            self._seen.drop(path)
            self._visible.drop(path)

    def has(self, path: str) -> bool:
        """Returns whether something is on disk."""
        return os.path.lexists(self._work.repo.root / path)

    def here(self, path: str) -> Locked | None:
        """Returns what is on disk, or None for nothing."""
        if path not in self._seen:
            seen = self._look(path)
            if seen is not None and not (self._work.repo.git.trusts_modes or seen.oid.startswith(MANIFEST)):
                seen = replace(seen, executable=os.fsencode(path) in self._work.executables)
            self._seen[path] = seen
        return self._seen[path]

    def expected(self, path: str) -> Locked | None:
        """Returns what is on disk or, where nothing is, what a pointer or lockfile says belongs there; None if that is not known."""
        if path in self._assumed:
            return self._assumed[path]
        if self.is_assumed(path):  # it is restored with what holds it
            return self._named(path)
        here = self.here(path)
        return here if here is not None else self._named(path)

    def tracked(self, path: str) -> Locked | None:
        """Returns what a pointer or lockfile says of exactly this path, whatever is on disk."""
        known = self.known.pointers.get(path)
        return None if known is None else as_output(path, known)

    def read_node(self, digest: Digest) -> bytes:
        """Returns a node of a listing, from the cache or as it was made of what is here. Raises ObjectMissing."""
        return self._nodes[digest] if digest in self._nodes else self._work.cache.read_node(digest)

    def matches(self, pattern: str) -> list[str]:
        """Returns the paths that a pattern stands for, here or known, sorted: files and folders, with `**` files only."""
        if not sparse.is_glob(pattern) or self.has(pattern):
            return [pattern]
        named = names_on_disk(self._work.repo.root, pattern)
        names = {
            path
            for path in named
            if LEFT_OUT.isdisjoint(path.split("/")) and self.known.holder(path) not in self._assumed
        }
        for path in self.known.pointers:
            if path in self._assumed or not self.has(path):
                names.update(self.known.matches(path, pattern))
        return sorted(path for path in names if not path.endswith((".dvlite", "/dvlite.lock")))

    @cached_property
    def _rows(self) -> OverRows:
        return OverRows(self._work.repo.state_dir)

    def over(self, over: StageOver) -> Locked | None:
        """Returns the listing of what a map stage goes over, None if that is nothing."""
        return map_inputs.row_of_known(self, over, self._rows, self.read_node, self._nodes.__setitem__)

    def compared(self, old: Oid, new: Oid) -> Iterable[tuple[Entry | None, Entry | None]]:
        """Returns what differs between two listings, of folders or of patterns of map stages. Raises ObjectMissing, ObjectCorrupt."""
        return map_inputs.compared(old, new, self._rows, self.read_node)

    def leaves(self, path: str, version: Locked) -> Iterable[Entries]:
        """Returns the listing of a directory that is data, in parts, as it is here or belongs here."""
        pointer = version.pointer()
        if pointer.digest not in self._nodes and self._fetches:
            work = self._work
            has = work.cache.has_node

            def look() -> None:
                map_inputs.require_nodes(pointer.digest, has, work.cache.read_node)

            with_listings(work.repo, work.cache, path, [pointer], look, work.progress)
        return manifest.leaves(pointer.digest, self.read_node)

    def mark(self, path: str) -> tuple[int, ...] | int | None:
        """Returns what changes when a file, or any file in a folder, is written or replaced, even if its bytes are the same afterwards."""
        try:
            status = os.stat(self._work.repo.root / path)
        except OSError:
            return None
        if not stat.S_ISDIR(status.st_mode):
            return status.st_ino, status.st_size, status.st_mtime_ns
        scan = self._work.scan(path)
        if scan is None or scan.paths == [b""]:
            return None
        counted = self._counted(path, scan)
        columns = [memoryview(column) for column in (counted.sizes, counted.mtimes, counted.inodes)]
        return signature([*path_pieces(counted.paths), *columns])

    def parts(self, path: str) -> list[str]:
        """Returns what a dependency on a path is recorded as: the path and, if it is a folder of git's, all data inside."""
        return [path] if self.known.is_data(path) else [path, *self.known.inside(path)]

    # -- on disk

    def _look(self, path: str) -> Locked | None:
        location = self._work.repo.root / path
        try:
            status = os.lstat(location)
            if stat.S_ISLNK(status.st_mode) and path not in self.known.pointers:
                return self._linked(path, location)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise os_error(error, "read", path) from error
        if stat.S_ISREG(status.st_mode) and status.st_size <= _SMALL_BYTES:
            return _read(path, location)
        scan = self._work.scan(path)
        if scan is None:
            return None
        if scan.paths != [b""]:
            scan, followed = self.dependency_scan(path, scan)
            if followed:
                return self._with_followed(path, scan, followed)
        return self._identified(path, scan)

    def dependency_scan(self, path: str, scan: Scan) -> tuple[Scan, dict[bytes, Locked]]:
        """Returns what counts of a folder that stages depend on, and what links in it stand for that lead out of it."""
        counted = self._counted(path, scan)
        return counted, {} if self.known.is_data(path) else self._followed(path, counted)

    def _followed(self, path: str, scan: Scan) -> dict[bytes, Locked]:
        """Returns the files of the repository that links in a folder of git's lead to, out of it: a dependency is read, not stored."""
        root, found = os.fsencode(scan.root), dict[bytes, Locked]()
        for name, flags in zip(scan.paths, scan.flags, strict=True):
            if flags == SYMLINK and symlink_problem(name, inner_target(root, name, os.readlink(root + b"/" + name))):
                place = scan.root / os.fsdecode(name)
                if place.is_file() and place.resolve().is_relative_to(self._work.repo.root):  # else no clone has it
                    found[name] = _read(f"{path}/{os.fsdecode(name)}".lstrip("/"), place)
        return found

    def _with_followed(self, path: str, scan: Scan, followed: Mapping[bytes, Locked]) -> Locked:
        work = self._work
        have = identify(selected_scan(scan, lambda name: name not in followed), work.stat_rows(path), work.progress)
        work.remember(path, NO_VERSION, have.scan, have.digests, have.racy)
        entries = have.entries()
        found = [entries[i] for i in range(len(entries))]
        for name, linked in followed.items():
            flags = FILE_ENTRY | EXECUTABLE if linked.executable else FILE_ENTRY
            found.append(Entry(name, flags, linked.size_bytes, linked.pointer().digest))
        tree = manifest.build(manifest.from_entries(sorted(found, key=lambda entry: entry.path)))
        return Locked(path, format_oid(MANIFEST, tree.root), tree.size_bytes, tree.files)

    def _linked(self, path: str, location: Path) -> Locked | None:
        """A link to a file stands for the file; one to a folder would need a place of its own."""
        if not location.exists():
            return None
        if location.is_dir():
            raise link_to_folder(path)
        if not location.is_file() or os.path.realpath(location).startswith(_OF_THE_KERNEL):
            raise UsageError(f"cannot depend on {quote(path)}: it is not a regular file", hint="name a file or folder")
        return _read(path, location)

    def _identified(self, path: str, scan: Scan) -> Locked:
        work = self._work
        vouched = work.vouched(path, scan)
        if scan.paths == [b""]:
            if scan.flags[0] == SYMLINK:
                raise UsageError(f"cannot use {quote(path)}: it is a symbolic link", hint="replace it by the file")
            executable = bool(scan.flags[0] & EXECUTABLE)
            if vouched is not None:
                return Locked(path, format_oid(FILE, vouched), scan.sizes[0], executable=executable)
            have = identify(scan, work.stat_rows(path), work.progress)
            work.remember(path, have.digest(0), have.scan, have.digests, have.racy)
            return Locked(path, format_oid(FILE, have.digest(0)), have.scan.sizes[0], executable=executable)
        known = self.known.pointers.get(path)
        if vouched is not None and known is not None and vouched == known.digest:
            return Locked(path, known.oid, known.size_bytes, known.files)
        if path in work.sparse or (known is not None and path in self._added and self._is_part(path, known, scan)):
            raise UsageError(
                f"only a part of {quote(path)} is here, and it was changed",
                hint=f"dvlite pull {word(path)}   brings all of it",
            )
        if vouched is not None:
            return Locked(path, format_oid(MANIFEST, vouched), _size(scan), _files(scan))
        have = identify(scan, work.stat_rows(path), work.progress)
        tree = manifest.build(have.entries())
        if known is not None:
            self._nodes |= tree.nodes
        if have.read_files or known is None:
            work.remember(path, tree.root if known is None else NO_VERSION, have.scan, have.digests, have.racy)
        return Locked(path, format_oid(MANIFEST, tree.root), tree.size_bytes, tree.files)

    def _is_part(self, path: str, known: Pointer, scan: Scan) -> bool:
        """Returns whether entries of a directory were never here: what is on disk is no version of it."""
        if known.kind != "directory" or not self._work.is_new_here(path):
            return False
        removable, present = self._work.removable(path), frozenset(scan.paths)
        entries = self._listing(path, known)
        return any(name not in present and not (removable and removable(name)) for name in entries.paths)

    def _counted(self, path: str, scan: Scan) -> Scan:
        """Leaves out what git ignores, in a folder that is git's, and tracked data, which counts for itself (`parts`)."""
        if self.known.is_data(path):
            return scan
        if path not in self._visible:
            prefix = len(os.fsencode(path)) + 1 if path else 0
            self._visible[path] = frozenset(name[prefix:] for name in self._in_git(path) if name)
        visible = self._visible[path]
        data = frozenset(os.fsencode(name)[len(path) + 1 if path else 0 :] for name in self.known.inside(path))
        folders = tuple(name + b"/" for name in data)
        in_git = [name in visible for name in scan.paths]
        every = not any(in_git)  # git ignores the folder itself: the stage is given it all the same

        def counts(name: bytes) -> bool:
            return (every or name in visible) and name not in data and not name.startswith(folders)

        return selected_scan(scan, lambda name: counts(name) and not is_own(name))

    def _names_in_git(self, path: str) -> Iterable[bytes]:
        """Returns what git has, or would take, of a folder."""
        wanted = f":(literal){path}" if path else "."
        return map(os.fsencode, self._work.repo.git.list_files(wanted, untracked=True))

    # -- as pointers and lockfiles have it

    def _named(self, path: str) -> Locked | None:
        outer = None if path in self.known.pointers else self.known.holder(path)
        is_here = outer is not None and self.has(outer) and outer not in self._assumed
        return None if is_here else self.known.at(path)

    def _listing(self, path: str, pointer: Pointer) -> Entries:
        work = self._work
        if not self._fetches:
            return entries_of(pointer, work.cache)
        return with_listings(
            work.repo, work.cache, path, [pointer], lambda: entries_of(pointer, work.cache), work.progress
        )


LEFT_OUT = frozenset((".DS_Store", "Thumbs.db", "desktop.ini", "__pycache__", ".ipynb_checkpoints"))


def is_own(name: bytes) -> bool:
    """Pointers and lockfiles say what data is; counted too, they would make everything change twice."""
    return name.endswith((b".dvlite", b"/dvlite.lock")) or name == b"dvlite.lock"


def _read(path: str, location: Path) -> Locked:
    """Hashes a file, a large one in pieces; raises FileChanged for one that is being written."""
    for _ in range(_TRIES):
        try:
            with open(location, "rb", buffering=0, opener=open_without_waiting) as file:
                before = os.fstat(file.fileno())
                digest = _digest(file.fileno(), before.st_size) if stat.S_ISREG(before.st_mode) else None
                after = os.fstat(file.fileno())
        except OSError as error:
            raise os_error(error, "read", path) from error
        if digest is not None and _times(before) == _times(after):
            executable = bool(before.st_mode & stat.S_IXUSR)
            return Locked(path, format_oid(FILE, digest), before.st_size, executable=executable)
    raise FileChanged(
        f"cannot read {quote(path)}: it changed while it was read",
        hint="run the command again when nothing writes to it",
    )


def _digest(descriptor: int, size_bytes: int) -> Digest | None:
    """Returns the digest of an open file, or None for a small one that is not as long as it should be."""
    if size_bytes > _SMALL_BYTES:
        return digest_file(descriptor, size_bytes)
    data = read_at(descriptor, size_bytes + 1)
    return digest_bytes(data) if len(data) == size_bytes else None


def _times(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _size(scan: Scan) -> int:
    return sum(size for size, flags in zip(scan.sizes, scan.flags, strict=True) if flags != EMPTY_DIR)


def _files(scan: Scan) -> int:
    return sum(flags != EMPTY_DIR for flags in scan.flags)


def link_to_folder(path: str) -> UsageError:
    """Returns the error for a dependency that is a link to a folder."""
    return UsageError(
        f"cannot depend on {quote(path)}: it is a symbolic link to a folder",
        hint="name the folder itself, or single files behind the link (LINK/FILE)",
    )


def same_data(one: Locked | None, other: Locked | None) -> bool:
    """Returns whether both are the same content, mode included, wherever they are."""
    if one is None or other is None:
        return one is other
    return (one.oid, one.executable) == (other.oid, other.executable)
