"""Three-way merges of pointers, down to the files of the directories that they name (docs/how-to/merge.md).

Pure: nodes of listings are read through a function and new ones are returned; data is not read. Parts that did not change since the
common ancestor are not compared; the merged listing is that of `ours` with the changes of `theirs`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, Entry, ReadNode
from dvlite.formats.manifest_parts import LazyListing
from dvlite.formats.pointer import Pointer
from dvlite.formats.table_formats import table_of
from dvlite.oid import Digest
from dvlite.paths import MAX_NAME_BYTES, check_paths

# How a conflict is settled: not at all, one side is taken, both are kept, or (between ancestors, as git does) neither.
Choice = Literal["", "ours", "theirs", "union", "base"]
Reason = Literal[
    "other data",  # of the whole path: git mistook a pointer for a renamed one
    "changed on both sides",
    "added on both sides",
    "removed by ours",
    "removed by theirs",
    "file and folder",
    "two histories",  # of a table: both sides wrote versions of a table, and two logs cannot be mixed
    "meta",
    "source",
]


# Merges the content of a file that both sides changed, given its path in the directory and three versions of it. Returns the merged one, and
# whether that needed the choice; None where this cannot be merged.
MergeContent = Callable[[bytes, Entry, Entry, Entry], tuple[Entry, bool] | None]


@dataclass(frozen=True, slots=True)
class Settling:
    """How what both sides changed is settled: `content` merges two versions of a file where it can, `choice` the rest."""

    choice: Choice = ""
    content: MergeContent | None = None

    def merged(
        self, path: bytes, base: Entry | None, ours: Entry | None, theirs: Entry | None
    ) -> tuple[Entry, bool] | None:
        """Returns a file that both sides changed, merged, and whether the choice was needed; None for a conflict."""
        entry = _merge_entry(base, ours, theirs)
        if entry is not None:
            return entry, False
        if self.content is None or base is None or ours is None or theirs is None:
            return None
        if not base.kind == ours.kind == theirs.kind == FILE:
            return None
        return self.content(path, base, ours, theirs)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A change of both sides. `path` is inside the tracked directory; empty for a tracked file, the whole directory, `meta` or `source`.

    Of a table in the directory, `path` is its folder: one side is taken whole.
    """

    path: bytes
    reason: Reason


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged pointer, and the nodes to store before it is written; the pointer is None if conflicts are left."""

    pointer: Pointer | None
    conflicts: tuple[Conflict, ...] = ()
    nodes: tuple[tuple[Digest, bytes], ...] = ()
    taken: int = 0  # entries taken from theirs


def merge(
    base: Pointer | None,
    ours: Pointer,
    theirs: Pointer,
    read: ReadNode,
    *,
    choice: Choice = "",
    content: MergeContent | None = None,
) -> Merged:
    """Returns ours with what changed from base to theirs; `content` and then `choice` settle what changed in both.

    Without a base, everything was added on both sides. `union` cannot settle two versions of one file. Raises ObjectMissing for a listing
    that cannot be read, and FormatError for one that is refused.
    """
    merged = _merge_versions(base, ours, theirs, read, Settling(choice, content))
    before = base.meta if base is not None else ""
    if theirs.meta in (ours.meta, before):
        meta: str | None = ours.meta
    elif ours.meta == before:
        meta = theirs.meta
    else:
        meta = _choose_meta(before, ours.meta, theirs.meta, choice)
        merged = replace(merged, conflicts=(*merged.conflicts, Conflict(b"", "meta")))
    origin = base.source if base is not None else None
    if theirs.source in (ours.source, origin):
        side: Pointer | None = ours
    elif ours.source == origin:
        side = theirs
    else:
        side = {"ours": ours, "union": ours, "theirs": theirs, "base": base}.get(choice)
        merged = replace(merged, conflicts=(*merged.conflicts, Conflict(b"", "source")))
    if merged.pointer is None or meta is None or (side is None and choice != "base"):
        return Merged(None, merged.conflicts)
    return replace(merged, pointer=replace(merged.pointer, meta=meta, source=side.source if side else None))


def _choose_meta(base: str, ours: str, theirs: str, choice: Choice) -> str | None:
    """Returns the user's part, or None. With `union`, theirs follows as comments: two YAML texts cannot be merged safely."""
    if choice == "union" and ours and theirs:
        quoted = "".join(f"# {line}\n" for line in theirs.rstrip("\n").split("\n"))
        return f"{ours.rstrip()}\n# theirs:\n{quoted}"
    if choice == "union":
        return ours or theirs
    return {"ours": ours, "theirs": theirs, "base": base}.get(choice)


def _merge_versions(base: Pointer | None, ours: Pointer, theirs: Pointer, read: ReadNode, settling: Settling) -> Merged:
    if ours.same_version(theirs) or (base is not None and base.same_version(theirs)):
        return Merged(ours)
    if base is not None and base.same_version(ours):
        return Merged(theirs, taken=1)
    if ours.kind == theirs.kind == "directory":
        return _DirectoryMerge(base, ours, theirs, read, settling).result()
    reason: Reason = "added on both sides" if base is None else "changed on both sides"
    if ours.kind == theirs.kind and (base is None or base.kind == ours.kind):
        found = settling.merged(b"", None if base is None else _entry_of(base), _entry_of(ours), _entry_of(theirs))
        if found is not None:
            entry, chose = found
            executable = bool(entry.flags & EXECUTABLE)
            pointer = Pointer("file", entry.digest, entry.size_bytes, executable=executable)
            return Merged(pointer, (Conflict(b"", reason),) if chose else (), taken=1)
    chosen = {"ours": ours, "theirs": theirs, "base": base}.get(settling.choice)
    if ours.kind != theirs.kind:
        reason = "file and folder"
    return Merged(chosen, (Conflict(b"", reason),), taken=int(chosen is theirs))


def _entry_of(pointer: Pointer) -> Entry:
    return Entry(b"", FILE | (EXECUTABLE if pointer.executable else 0), pointer.size_bytes, pointer.digest)


def _merge_entry(base: Entry | None, ours: Entry | None, theirs: Entry | None) -> Entry | None:
    """Returns a file whose content changed on one side and whose x bit on the other; None for a conflict."""
    if base is None or ours is None or theirs is None or not base.kind == ours.kind == theirs.kind == FILE:
        return None
    content = {entry.digest: entry for entry in (ours, theirs) if entry.digest != base.digest}
    flags = {entry.flags for entry in (ours, theirs) if entry.flags != base.flags} or {base.flags}
    if len(content) > 1:
        return None
    source = next(iter(content.values()), base)
    return Entry(ours.path, flags.pop(), source.size_bytes, source.digest)


class _DirectoryMerge:
    """A merge of two listings: `edits` are the changes to that of ours, None to remove an entry."""

    def __init__(
        self, base: Pointer | None, ours: Pointer, theirs: Pointer, read: ReadNode, settling: Settling
    ) -> None:
        self._read, self._choice, self._settling = read, settling.choice, settling
        self._edits: dict[bytes, Entry | None] = {}
        self._beside: list[Entry] = []  # entries of theirs to be kept under another name
        self._renamed: dict[bytes, bytes] = {}
        self._conflicts: dict[bytes, Reason] = {}
        self._mine = LazyListing(ours.digest, read)
        self._ours = ours
        self._take_changes(base.digest if base is not None and base.kind == "directory" else None, ours, theirs)
        for folder in self._tables:
            self._settle_table(folder, {"theirs": theirs, "base": base}.get(self._choice))
        self._part_files_from_folders()
        for entry in self._beside:
            self._keep_beside(entry)

    def result(self) -> Merged:
        conflicts = tuple(Conflict(path, why) for path, why in sorted(self._conflicts.items()))
        if conflicts and (not self._choice or (self._choice == "union" and self._tables)):
            return Merged(None, conflicts)
        check_paths([path for path, entry in self._edits.items() if entry is not None])
        tree = manifest.edit(self._ours.digest, self._edits, self._read)
        pointer = Pointer("directory", tree.root, tree.size_bytes, tree.files)
        return Merged(pointer, conflicts, tree.nodes, taken=len(self._edits))

    def _take_changes(self, base: Digest | None, ours: Pointer, theirs: Pointer) -> None:
        pairs = {_path(*pair): pair for pair in manifest.compare(base, theirs.digest, self._read)}
        mine: dict[bytes, Entry | None] = {}
        written: list[Entry] = []  # versions of tables
        for old, new in manifest.compare(base, ours.digest, self._read):
            path = _path(old, new)
            if path in pairs:
                mine[path] = new
            if new is not None and table_of(path) is not None:
                written.append(new)
        their_tables = (new for path, (_, new) in pairs.items() if new is not None and table_of(path) is not None)
        self._tables = _parted(written, their_tables)
        apart = tuple(_start(folder) for folder in self._tables)
        for path, (before, their) in pairs.items():
            if apart and path.startswith(apart):
                continue
            if path not in mine:
                self._edits[path] = their
            elif mine[path] != their:
                self._settle(path, before, mine[path], their)

    def _settle(self, path: bytes, base: Entry | None, ours: Entry | None, theirs: Entry | None) -> None:
        """Merges an entry that both sides changed differently."""
        found = self._settling.merged(path, base, ours, theirs)
        if found is not None:
            self._edits[path], chose = found
            if chose and self._choice:
                self._conflicts[path] = "changed on both sides"
            return
        self._conflicts[path] = _reason(base, ours, theirs)
        if self._choice == "theirs" or (self._choice == "union" and ours is None):
            self._edits[path] = theirs
        elif self._choice == "base":
            self._edits[path] = base
        elif self._choice == "union" and theirs is not None:
            self._beside.append(theirs)

    def _settle_table(self, folder: bytes, chosen: Pointer | None) -> None:
        """Takes a table as it is in ours, or from the version that was chosen, whatever both sides changed in it."""
        self._conflicts[folder] = "two histories"
        if self._choice in ("theirs", "base"):
            root = chosen.digest if chosen is not None and chosen.kind == "directory" else None
            pairs = manifest.compare(self._ours.digest, root, self._read)
            self._edits |= {path: new for old, new in pairs if (path := _path(old, new)).startswith(_start(folder))}

    # -- a file on one side, a folder of that name on the other

    def _part_files_from_folders(self) -> None:
        clear: set[bytes] = set()
        for path, entry in list(self._edits.items()):
            if entry is None or self._edits.get(path) is None:
                continue
            for folder in _folders(path):
                if folder not in clear and not self._make_room(folder, path):
                    break
                clear.add(folder)
            else:
                self._replace_folder(path, entry)

    def _make_room(self, folder: bytes, path: bytes) -> bool:
        """Makes `folder` a folder, for theirs' entry `path` in it; returns whether that is possible."""
        entry = self._entry(folder)
        if entry is None:
            return True
        if entry.kind != EMPTY_DIR:
            self._conflicts.setdefault(folder, "file and folder")
        if entry.kind == EMPTY_DIR or self._choice == "theirs":
            self._edits[folder] = None
            return True
        moved = self._edits.pop(path)
        if self._choice == "union" and moved is not None:
            new = self._other_name(folder) + path[len(folder) :]
            self._edits[new] = replace(moved, path=new)
        return False

    def _replace_folder(self, path: bytes, entry: Entry) -> None:
        """Puts theirs' entry in place of a folder of ours, if there is one."""
        below = list(self._below(path))
        if not below:
            return
        if entry.kind != EMPTY_DIR:
            self._conflicts.setdefault(path, "file and folder")
            if self._choice == "theirs":
                self._edits |= dict.fromkeys(below)
                return
            if self._choice == "union":
                self._beside.append(entry)
        del self._edits[path]  # a folder with something in it is no empty directory

    def _keep_beside(self, entry: Entry) -> None:
        new = self._other_name(entry.path)
        self._edits[new] = replace(entry, path=new)

    def _other_name(self, path: bytes) -> bytes:
        """Returns `a.theirs.jpg` for `a.jpg`, the same each time: with a number if something has that name."""
        number = 1
        while path not in self._renamed:
            name = named_theirs(path, number)
            if self._entry(name) is None and next(self._below(name), None) is None:
                self._renamed[path] = name
            number += 1
        return self._renamed[path]

    # -- what ours has, with the edits so far

    def _entry(self, path: bytes) -> Entry | None:
        return self._edits[path] if path in self._edits else self._mine.find(path)

    def _below(self, folder: bytes) -> Iterator[bytes]:
        """Yields the paths that ours keeps below a folder."""
        for path in self._mine.below(folder):
            if path not in self._edits or self._edits[path] is not None:
                yield path


def _start(folder: bytes) -> bytes:
    return folder + b"/" if folder else b""


def _parted(ours: Iterable[Entry], theirs: Iterable[Entry]) -> tuple[bytes, ...]:
    """Returns the folders of tables to which both sides added versions, where neither has all that the other has."""
    versions: list[dict[bytes, set[tuple[bytes, Digest]]]] = []
    for side in (ours, theirs):
        versions.append({})
        for entry in side:
            versions[-1].setdefault(table_of(entry.path) or b"", set()).add((entry.path, entry.digest))
    mine, others = versions
    return tuple(
        folder
        for folder in sorted(mine.keys() & others.keys())
        if not (mine[folder] <= others[folder] or others[folder] <= mine[folder])
    )


def _reason(base: Entry | None, ours: Entry | None, theirs: Entry | None) -> Reason:
    if ours is None:
        return "removed by ours"
    if theirs is None:
        return "removed by theirs"
    return "added on both sides" if base is None else "changed on both sides"


def _path(old: Entry | None, new: Entry | None) -> bytes:
    known = old or new
    return known.path if known is not None else b""


def _folders(path: bytes) -> Iterator[bytes]:
    """Yields the folders above a path, outermost first."""
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def named_theirs(path: bytes, number: int) -> bytes:
    """Returns the name under which theirs is kept beside ours; the suffix stays, so that programs recognise the format."""
    folder, slash, name = path.rpartition(b"/")
    stem, ending = os.path.splitext(name)
    if len(ending) > MAX_NAME_BYTES // 2:
        stem, ending = name, b""
    mark = b".theirs" + (b"%d" % number if number > 1 else b"") + ending
    return folder + slash + stem[: MAX_NAME_BYTES - len(mark)] + mark
