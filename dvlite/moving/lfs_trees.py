"""Trees of git's history in which dvlite tracks what Git LFS kept: pointers, ignored names, attributes, and dvlite's settings at the top.

Each tree is rewritten once, in however many commits it stands.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from dvlite.errors import FormatError
from dvlite.formats import git_objects, lfs_attributes, pointer
from dvlite.formats.git_objects import EXECUTABLE, FOLDER, ORDINARY, TreeItem
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git.rewrite import GitObjects
from dvlite.paths import MAX_DEPTH, MAX_NAME_BYTES, is_reserved
from dvlite.repo import attributes, config_files, ignore
from dvlite.repo.tracked_paths import why_untrackable
from dvlite.show import quote
from dvlite.store.checked import StoredBytes

_FILES = (ORDINARY, EXECUTABLE)
_SUFFIX = SUFFIX.encode()
_IGNORE, _ATTRIBUTES, _OWN = b".gitignore", attributes.FILE_NAME.encode(), config_files.FOLDER.encode()

Items = dict[bytes, TreeItem]  # of a folder, by name


class LfsTrees:
    """Trees with pointers of dvlite in place of those of Git LFS.

    `contents`: what dvlite's cache has, by the blob of git that points at it; `settings`: the folder `.dvlite`, for commits without one.
    `left`: what stays with Git LFS because of its name, and the reason.
    """

    def __init__(
        self, objects: GitObjects, contents: Mapping[bytes, StoredBytes], settings: bytes, *, keeps_patterns: bool
    ) -> None:
        self.left: dict[str, str] = {}
        self._objects, self._contents, self._settings = objects, contents, settings
        self._keeps_patterns = keeps_patterns
        self._done: dict[bytes, tuple[bytes, bool]] = {}  # whether something in it is tracked
        self._at_top: dict[bytes, bytes] = {}
        self._names: dict[bytes, tuple[str | None, bytes]] = {}
        self._pointers: dict[tuple[bytes, bytes], bytes] = {}

    def rewritten(self, tree: bytes) -> bytes:
        """Returns the tree of a commit as it is to be: the same one if Git LFS has nothing in it."""
        if tree not in self._at_top:
            self._at_top[tree], _ = self._rewritten(tree, "")
        return self._at_top[tree]

    def _folder(self, tree: bytes, path: str) -> tuple[bytes, bool]:
        if tree not in self._done:
            self._done[tree] = self._rewritten(tree, path)
        return self._done[tree]

    def _rewritten(self, tree: bytes, path: str) -> tuple[bytes, bool]:
        """Returns a folder as it is to be, and whether something in it is tracked. `path`: where it stands, with a slash at the end; '' is the top."""
        if path.count("/") > MAX_DEPTH:
            raise FormatError(f"cannot rewrite {quote(path[:200])}: it is more than {MAX_DEPTH} folders deep")
        items = {
            item[1]: item for item in git_objects.parse_tree(self._objects.read(tree)[1], self._objects.name_bytes)
        }
        new, lines, is_tracked = dict(items), list[bytes](), False
        for mode, name, blob in items.values():
            if mode == FOLDER and not is_reserved(name) and name + _SUFFIX not in items:
                below, is_below = self._folder(blob, f"{path}{os.fsdecode(name)}/")
                new[name] = mode, name, below
                is_tracked |= is_below
            elif mode in _FILES and blob in self._contents:
                reason, line = self._why_not(name, items)
                if reason is not None:
                    self.left[path + os.fsdecode(name)] = reason
                    continue
                del new[name]
                new[name + _SUFFIX] = ORDINARY, name + _SUFFIX, self._pointer(blob, mode)
                lines.append(line)
        if lines:
            self._ignore(new, lines)
        is_tracked |= bool(lines)
        is_own = is_tracked and not path
        if is_own:
            new.setdefault(_OWN, (FOLDER, _OWN, self._settings))
        self._clean(new, is_own=is_own)
        return tree if new == items else self._objects.add("tree", git_objects.dump_tree(new.values())), is_tracked

    def _why_not(self, name: bytes, items: Items) -> tuple[str | None, bytes]:
        """Returns why a file stays with Git LFS, or None, and the line that makes git ignore it."""
        if name not in self._names:
            text = os.fsdecode(name)
            reason = why_untrackable(text)
            if reason is None and len(name + _SUFFIX) > MAX_NAME_BYTES:
                reason = "its name is too long for that of a pointer"
            self._names[name] = reason and f"it cannot be tracked: {reason}", ignore.pattern(text)
        reason, line = self._names[name]
        if name + _SUFFIX in items:
            reason = f"{quote(os.fsdecode(name + _SUFFIX))} exists"
        elif _IGNORE in items and items[_IGNORE][0] not in _FILES:
            reason = f"the {_IGNORE.decode()} beside it is not an ordinary file"
        return reason, line

    def _pointer(self, blob: bytes, mode: bytes) -> bytes:
        if (blob, mode) not in self._pointers:
            content = self._contents[blob]
            new = Pointer("file", content.digest, content.size_bytes, executable=mode == EXECUTABLE)
            self._pointers[blob, mode] = self._objects.add("blob", pointer.dump(new))
        return self._pointers[blob, mode]

    def _ignore(self, items: Items, lines: list[bytes]) -> None:
        """Makes git ignore files, by lines at the end of the folder's file."""
        mode, data = ORDINARY, b""
        if _IGNORE in items:
            mode, _, blob = items[_IGNORE]
            data = self._objects.read_file(blob, ignore.MOST_BYTES)
        present = set(data.split(b"\n"))
        missing = [line for line in lines if line not in present]
        items[_IGNORE] = mode, _IGNORE, self._objects.add("blob", ignore.with_lines(data, missing))

    def _clean(self, items: Items, *, is_own: bool) -> None:
        """Takes the patterns of Git LFS out of a folder's attributes; with `is_own`, adds dvlite's lines."""
        mode, _, blob = items.get(_ATTRIBUTES, (ORDINARY, _ATTRIBUTES, b""))
        if mode not in _FILES or not (blob or is_own):
            return
        data = self._objects.read_file(blob, ignore.MOST_BYTES) if blob else b""
        new = data if self._keeps_patterns else lfs_attributes.without(data, lfs_attributes.patterns(data))
        new = attributes.with_lines(new) if is_own else new
        if new.strip():
            items[_ATTRIBUTES] = mode, _ATTRIBUTES, blob if new == data else self._objects.add("blob", new)
        elif new != data:
            del items[_ATTRIBUTES]
