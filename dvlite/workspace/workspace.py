"""The workspace of one repository: looks at tracked paths and remembers what was seen.

Joins scan, stat index and sparse patterns; knows where each tracked path is on disk and nothing of remotes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.formats import manifest
from dvlite.formats.manifest import EXECUTABLE, FILE, Branch, Entries, NodePlace
from dvlite.formats.pointer import Pointer
from dvlite.oid import Digest, Oid, digest_bytes
from dvlite.paths import ancestors
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import quote
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_MANIFEST
from dvlite.workspace import dirfd, sparse, statindex
from dvlite.workspace.checkout_plan import selected
from dvlite.workspace.scan import IgnoreRule, Scan, scan
from dvlite.workspace.statindex import StatIndex, StatRows

_NOTE = ".path"  # beside the stat index: the versions that were here, a line each, then the path
_VERSIONS = 4
NO_VERSION = Digest(bytes(32))  # in a stat index: what is on disk is no version that is known


class Workspace:
    """Looks at the tracked paths of a repository."""

    def __init__(self, repo: Repo, cache: Cache, progress: Progress) -> None:
        self.repo = repo
        self.cache = cache
        self.progress = progress
        self.sparse = sparse.load(repo.state_dir) if (repo.state_dir / sparse.FILE).exists() else {}
        left_out = repo.config.settings.get("pull.exclude")
        self._left_out = left_out.value if left_out is not None and isinstance(left_out.value, tuple) else ()
        self._ignore = repo.work_tree.ignore_rules
        self._cleared: set[Path] = set()  # folders, of leftovers: once, for many paths have the same

    def location(self, path: str) -> Path:
        return self.repo.root / path

    def is_behind_link(self, path: str) -> bool:
        """Returns whether a folder above a path is a symbolic link: what is there is not the repository's."""
        return any((self.repo.root / folder).is_symlink() for folder in ancestors(path))

    def require_real_folder(self, path: str) -> None:
        """Raises UsageError for a path behind a symbolic link; writes check again, through descriptors."""
        if self.is_behind_link(path):
            raise behind_link(quote(self.repo.display(path)))

    def scan(self, path: str, source: Path | None = None) -> Scan | None:
        """Returns what is on disk at a tracked path, or at a `source` that is to become it; None for nothing."""
        self.require_real_folder(path)
        prefix = os.fsencode(path) + b"/"
        rules = self._ignore
        matches: IgnoreRule = None
        if rules.matches is not None:
            matches = lambda inner, folder: rules.match(prefix + inner, is_dir=folder)  # noqa: E731
        place, shown = self.repo.root / path, self.repo.display(path)
        if source is not None:
            place, shown = source, str(source)
        seen = scan(place, shown, matches, rules.names, self.progress)
        if seen is not None and source is None and not self.repo.git.trusts_modes:
            seen.set_executables(lambda inner: (prefix + inner).rstrip(b"/") in self.executables)
        # Tables of a version that was looked at, with nothing touched since, have named files only.
        if seen is not None and seen.tables and (source is not None or self.vouched(path, seen) is None):
            from dvlite.workspace.delta_scan import named_only

            seen = named_only(seen, self.stat_rows(path) if source is None else None)
        return seen

    @cached_property
    def executables(self) -> frozenset[bytes]:
        """The files that are executable by git's index, pointers and lockfiles: what counts where git goes by no bit on disk."""
        names = {os.fsencode(entry.path) for entry in self.repo.git.list_index() if entry.mode == "100755"}
        for item in self.repo.work_tree.tracked(broken=[]):
            with contextlib.suppress(ObjectMissing, ObjectCorrupt):
                entries, path = entries_of(item.pointer, self.cache), os.fsencode(item.path)
                inner = (name for name, flags in zip(entries.paths, entries.flags, strict=True) if flags & EXECUTABLE)
                names.update((path + b"/" + name).rstrip(b"/") for name in inner)
        return frozenset(names)

    def clear_leftovers(self, path: str, scan: Scan | None) -> None:
        """Removes temporary files that killed runs left in or beside a tracked path; the caller holds the workspace lock."""
        place = self.repo.root / path
        above = place.parent
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(above)) if above not in self._cleared else ():
                if entry.name.startswith(files.TEMP_PREFIX) and files.is_temporary_name(os.fsencode(entry.name)):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)
        self._cleared.add(above)
        if scan is not None and scan.leftovers:
            with dirfd.Folders(place) as opened:
                for inner in scan.leftovers:
                    folder, name = opened.split(inner)
                    with contextlib.suppress(OSError):
                        os.unlink(name, dir_fd=folder)

    def vouched(self, path: str, scan: Scan) -> Digest | None:
        """Returns the version that a scan provably is, by the stat index alone."""
        index = statindex.open_index(self._index_path(path))
        if index is None or index.root == NO_VERSION or not index.vouches_for(scan):
            return None
        return index.root

    def is_vouched(self, path: str, scan: Scan, wanted: Pointer) -> bool:
        """Returns whether the stat index proves that a scan is what a pointer says."""
        return is_version(scan, self.vouched(path, scan), wanted)

    def stat_index(self, path: str) -> StatIndex | None:
        """Returns the head of a path's stat index."""
        return statindex.open_index(self._index_path(path))

    def stat_rows(self, path: str) -> StatRows | None:
        """Returns the rows of a path's stat index: what was known of its files at the last look."""
        index = statindex.open_index(self._index_path(path))
        return None if index is None else index.load()

    def remember(
        self, path: str, root: Digest, scan: Scan, digests: bytes | bytearray, racy: bytes | bytearray
    ) -> None:
        """Writes the stat index of a tracked path; `root` is the version that all rows amount to, or NO_VERSION."""
        with contextlib.suppress(DvliteError):  # a full or read-only disk: the next look is slower, not wrong
            statindex.write(self._index_path(path), root, scan, digests, racy)

    def note_version(
        self, path: str, version: Oid, *, whole: bool, part: bool = False, before: Oid | None = None
    ) -> None:
        """Records which version is on disk; if not `whole`, earlier ones may be there too.

        With `part` only a part of it is: the version of the rest stays first. `before` is the version that this one was derived from.
        """
        made_of = [before] if whole and before is not None else []
        earlier = [old for old in (made_of if whole else self.versions_here(path)) if old != version]
        first = 1 if part else 0
        versions = [*earlier[:first], version, *earlier[first:]]
        text = b"".join(os.fsencode(f"{oid}\n") for oid in versions[:_VERSIONS]) + os.fsencode(path)
        name = self._index_path(path).with_suffix(_NOTE)
        if files.read_own(name) == text:
            return
        with contextlib.suppress(DvliteError, OSError):
            name.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomic(name, text, sync=False)

    def versions_here(self, path: str) -> list[str]:
        """Returns the oids of versions that may be on disk in this worktree, at least in part, newest first."""
        data = files.read_own(self._index_path(path).with_suffix(_NOTE)) or b""
        return [
            os.fsdecode(line) for line in data.split(b"\n")[:_VERSIONS] if line.startswith((b"blake3:", b"manifest:"))
        ]

    def other_version(self, item: Tracked) -> str | None:
        """Returns the oid of the version checked out last, if the pointer names another one: git moved on, the data did not."""
        versions = self.versions_here(item.path)
        return versions[0] if versions and versions[0] != item.pointer.oid else None

    def forget(self, path: str) -> None:
        """Drops the stat index and the sparse patterns of a path that is not tracked any more."""
        for file in (self._index_path(path), self._index_path(path).with_suffix(_NOTE)):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        self.set_sparse(path, ())

    def forget_rows(self, path: str) -> None:
        """Drops what was known of the files of a path, so that they are read at the next look."""
        self._index_path(path).unlink(missing_ok=True)

    def known_paths(self) -> Iterator[str]:
        """Yields every path that was tracked in this worktree when it was last looked at."""
        folder = self.repo.state_dir / "index"
        if folder.is_dir():
            for file in sorted(folder.glob(f"*{_NOTE}")):
                lines = (files.read_own(file) or b"").split(b"\n")
                while lines and lines[0].startswith((b"blake3:", b"manifest:")):
                    del lines[0]
                path = os.fsdecode(b"\n".join(lines))
                if path and self._index_path(path).name == file.stem:
                    yield path

    def set_sparse(self, path: str, patterns: Iterable[str]) -> None:
        """Records which part of a directory is here; no pattern means all of it."""
        chosen = tuple(patterns)
        if self.sparse.get(path, ()) == chosen:
            return
        self.sparse[path] = chosen
        sparse.store(self.repo.state_dir, self.sparse)

    def part(self, path: str) -> tuple[str, ...]:
        """Returns the patterns of what belongs here: those that were chosen, of what is new here those that `pull.exclude` leaves; none: all."""
        if path in self.sparse or not self._left_out:
            return tuple(self.sparse.get(path, ()))
        is_new = self.is_new_here(path) and not files.is_there(self.location(path))
        return sparse.exclusions(path, self._left_out) if is_new else ()

    def wanted_part(self, path: str) -> tuple[str, ...]:
        """Returns the patterns of what belongs here, files among it that were nowhere to be fetched from."""
        return tuple(pattern for pattern in self.part(path) if not pattern.startswith(sparse.LOST))

    def selector(self, path: str) -> sparse.Selects | None:
        """Returns which entries of a directory are to be on disk, or None for all."""
        patterns = self.part(path)
        return sparse.selector(patterns) if patterns else None

    def reach(self, path: str) -> manifest.MayHold | None:
        """Returns a test for ranges of a directory's listing: may something in them belong here, or have been lost? None: anywhere."""
        return None if self.is_new_here(path) else sparse.reach(self.part(path))

    def is_left_out(self, path: str) -> bool:
        """Returns whether a tracked path was left out as a whole, and is not on disk."""
        return self.part(path) == sparse.NOTHING and not files.is_there(self.location(path))

    def is_new_here(self, path: str) -> bool:
        """Returns whether no version of a tracked path was ever checked out or added in this worktree."""
        return not self.versions_here(path)

    def removable(self, path: str) -> sparse.Selects | None:
        """Returns which entries of a directory count as removed if they are not on disk, None for all: what was never here does not."""
        return self.were_here(path).__contains__ if self.is_new_here(path) else self.selector(path)

    def were_here(self, path: str) -> frozenset[bytes]:
        """Returns the entries of a directory that were on disk at the last look."""
        rows = self.stat_rows(path)
        return frozenset(() if rows is None else rows.scan.paths)

    def wanted(self, pointer: Pointer) -> Entries:
        """Returns the entries that a pointer stands for; a file is one entry without a path. Raises ObjectMissing."""
        return entries_of(pointer, self.cache)

    def _index_path(self, path: str) -> Path:
        return self.repo.state_dir / "index" / digest_bytes(os.fsencode(path)).hex()[:32]


def is_version(scan: Scan, vouched: Digest | None, wanted: Pointer) -> bool:
    """Returns whether a scan that is vouched for is what a pointer says."""
    if vouched != wanted.digest:
        return False
    if wanted.kind == "file":
        return scan.paths == [b""] and bool(scan.flags[0] & EXECUTABLE) == wanted.executable
    return scan.paths != [b""]


def entries_of(pointer: Pointer, cache: Cache) -> Entries:
    """Returns the entries that a pointer stands for; a file is one entry without a path. Raises ObjectMissing, ObjectCorrupt."""
    if pointer.kind == "directory":
        return manifest.load(pointer.digest, cache.read_node)
    flags = FILE | EXECUTABLE if pointer.executable else FILE
    return manifest.from_entries([manifest.Entry(b"", flags, pointer.size_bytes, pointer.digest)])


def chosen_of(pointer: Pointer, cache: Cache, patterns: Sequence[str]) -> Entries:
    """Returns the entries of a version that patterns choose (none: all), reading no more of its listing than may hold them."""
    if pointer.kind != "directory" or not patterns:
        return entries_of(pointer, cache)
    reach, chooses = sparse.reach(patterns), sparse.selector(patterns)
    leaves = manifest.leaves(pointer.digest, cache.read_node, may_hold=reach)
    return manifest.joined(selected(leaf, chooses) for leaf in leaves)


def lacking(
    pointer: Pointer, cache: Cache, patterns: Sequence[str], beside: Digest | None = None
) -> Iterator[tuple[Entries, int]]:
    """Yields the entries of a version, of those that patterns choose (none: all), whose bytes are not in the cache, each as a leaf and its place in it.

    Leaves of which all is there are not expanded, and those that the listing `beside` has too not read.
    """
    chooses, reach = sparse.selector(patterns) if patterns else None, sparse.reach(patterns)
    known: AbstractSet[Digest] = frozenset()
    if beside is not None:
        with contextlib.suppress(ObjectMissing, ObjectCorrupt):
            known = manifest.node_names(beside, cache.read_node)

    def passes(place: NodePlace) -> bool:
        is_outside = reach is not None and place.end is not None and not reach(place.after, place.end)
        return is_outside or place.digest in known

    lacks: list[int] | None = None  # of the leaf that was looked at last

    def is_settled(digests: bytes, sizes: Sequence[int]) -> bool:
        nonlocal lacks
        lacks = list(cache.lacking(digests, sizes))
        return not lacks

    leaves: Iterable[Entries | None] = (
        [entries_of(pointer, cache)]
        if pointer.kind != "directory"
        else (leaf for _, leaf in manifest.walk(pointer.digest, cache.read_node, passes, is_settled=is_settled))
    )
    for leaf in leaves:
        if leaf is not None:
            yield from ((leaf, i) for i in cache.missing(leaf, chooses, lacks))
        lacks = None


def behind_link(shown: str) -> UsageError:
    """Returns the error for a path, already quoted, below a symbolic link."""
    return UsageError(
        f"cannot use {shown}: a folder above it is a symbolic link",
        hint="replace the link by a folder, or remove the pointer",
    )


def set_aside_damaged_nodes(cache: Cache, root: Digest) -> int:
    """Makes the cache forget the damaged nodes of a listing, so that good ones can be stored; returns how many there were."""
    queue, seen, damaged = [root], {root}, 0
    while queue:
        digest = queue.pop()
        try:
            node = manifest.decode(cache.read_node(digest), digest)
        except ObjectCorrupt:
            cache.discard(digest, (KIND_MANIFEST,))
            damaged += 1
        except ObjectMissing:
            continue
        else:
            children = node.digests if isinstance(node, Branch) else ()
            queue.extend(child for child in children if child not in seen)
            seen.update(children)
    return damaged
