"""What pointers and lockfiles name: the version that belongs at a path, inside a directory too, and what patterns stand for in listings.

Looks at no file: of the work tree `content` adds what is on disk, of any revision `revision_content` adds what git has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from dvlite.formats import manifest
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EXECUTABLE, Entries
from dvlite.formats.pointer import Pointer
from dvlite.oid import FILE, MANIFEST, format_oid
from dvlite.paths import ancestors
from dvlite.pipeline.globs import expression, may_go_into


class KnownData:
    """Versions of data by path; `listing` returns the entries of a directory. `pointers` change as stages run: see `know`."""

    def __init__(self, pointers: dict[str, Pointer], listing: Callable[[str, Pointer], Entries]) -> None:
        self.pointers, self._listing = pointers, listing
        self._above = {folder for path in pointers for folder in ancestors(path)}  # and those of what was forgotten

    def know(self, path: str, pointer: Pointer) -> None:
        """Enters the version of data."""
        self.pointers[path] = pointer
        self._above.update(ancestors(path))

    def inside(self, path: str) -> list[str]:
        """Returns the data that lies inside a path, sorted."""
        if path and path not in self._above:  # nearly all that stages depend on
            return []
        start = f"{path}/" if path else ""
        return sorted(name for name in self.pointers if name.startswith(start))

    def holder(self, path: str) -> str | None:
        """Returns the data that a path lies inside, or None."""
        return next((folder for folder in ancestors(path) if folder in self.pointers), None)

    def is_data(self, path: str) -> bool:
        """Returns whether a path is data or lies inside some."""
        return path in self.pointers or self.holder(path) is not None

    def at(self, path: str) -> Locked | None:
        """Returns the version of data, or of what lies inside a directory; None if there is none. Raises what `listing` raises."""
        if path in self.pointers:
            return as_output(path, self.pointers[path])
        outer = self.holder(path)
        if outer is None or self.pointers[outer].kind != "directory":
            return None
        return part_of(self._listing(outer, self.pointers[outer]), path, os.fsencode(path[len(outer) + 1 :]))

    def inner_listing(self, path: str) -> Entries | None:
        """Returns the entries of a folder inside a tracked directory, relative to it; None for any other path. Raises what `listing` raises."""
        outer = self.holder(path)
        if outer is None or self.pointers[outer].kind != "directory":
            return None
        part = self._listing(outer, self.pointers[outer]).subtree(os.fsencode(path[len(outer) + 1 :]))
        return manifest.from_entries(part) if part else None

    def matches(self, path: str, pattern: str) -> Iterator[str]:
        """Yields what a pattern stands for of the data at a path: itself, and what its listing has; with `**` files only."""
        matches, deep = expression(pattern).fullmatch, "**" in pattern
        is_folder = self.pointers[path].kind == "directory"
        if matches(path) and not (deep and is_folder):
            yield path
        if is_folder and may_go_into(pattern, path):
            inner = [f"{path}/{os.fsdecode(name)}" for name in self._listing(path, self.pointers[path]).paths]
            yield from filter(matches, inner)
            folders = {os.path.dirname(name) for name in inner} if not deep else set()
            while folders:
                yield from filter(matches, folders)
                folders = {os.path.dirname(folder) for folder in folders if len(os.path.dirname(folder)) > len(path)}


def part_of(entries: Entries, path: str, inner: bytes) -> Locked | None:
    """Returns the file or folder `inner` of a listing as what stands at `path`, or None if the listing has no such thing."""
    entry = entries.find(inner)
    if entry is not None:
        executable = bool(entry.flags & EXECUTABLE)
        return Locked(path, format_oid(FILE, entry.digest), entry.size_bytes, executable=executable)
    part = entries.subtree(inner)
    if not part:
        return None
    tree = manifest.build(manifest.from_entries(part))
    return Locked(path, format_oid(MANIFEST, tree.root), tree.size_bytes, tree.files)


def as_output(path: str, pointer: Pointer) -> Locked:
    """Returns a version as a lockfile has it."""
    return Locked(path, pointer.oid, pointer.size_bytes, pointer.files, executable=pointer.executable)
