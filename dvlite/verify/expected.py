"""What belongs at a path, data or not: as pointers, lockfiles and listings of directories say it, else as git has the file.

The same questions that `pipeline.contents` answers from the disk, answered without any data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from dvlite.errors import UsageError
from dvlite.files import quote
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import Entries
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.oid import MANIFEST
from dvlite.pipeline.content import LEFT_OUT, as_output, part_of
from dvlite.pipeline.globs import expression, fixed_part, may_go_into
from dvlite.repo.tracked_paths import Tracked
from dvlite.verify.file_names import above, at, below
from dvlite.verify.trees import UPDATE, RepositoryView, linked_folder
from dvlite.workspace import sparse

_OWN = (".dvlite", "/dvlite.lock")


class Holdings:
    """Knows all data of one side: `data` are pointers and outputs, `kept` the outputs among them that git keeps."""

    def __init__(
        self,
        side: RepositoryView,
        data: Sequence[Tracked],
        kept: Iterable[str],
        listing: Callable[[str, Pointer], Entries],
    ) -> None:
        self._side, self._look, self._names, self._listing = side, side.looks(data), side.names, listing
        self._data: Mapping[str, Pointer] = {item.path: item.pointer for item in data}
        self._items = {item.path: item for item in data}
        self._sorted = sorted(self._data)
        self._kept = frozenset(kept)
        self._directories = {
            path: known for path, known in self._data.items() if known.kind == "directory" and path not in self._kept
        }
        self._found: dict[str, Locked | None] = {}
        self._matched: dict[str, list[str]] = {}

    def expected(self, path: str) -> Locked | None:
        """Returns what belongs at a path, None if nobody knows. Raises NotFetched for a listing that is not here."""
        known = self._data.get(path)
        if known is not None:
            return as_output(path, known)
        if path not in self._found:
            self._found[path] = self._find(path)
        return self._found[path]

    def _find(self, path: str) -> Locked | None:
        holder = self.holder(path)
        if holder is None or holder in self._kept:
            return self._look(path) or self._linked(path)
        if self._data[holder].kind != "directory":
            return None
        entries = self._listing(holder, self._data[holder])
        return part_of(entries, path, os.fsencode(path[len(holder) + 1 :]))

    def _linked(self, path: str) -> Locked | None:
        """Returns the data that a link leads to."""
        real = self._side.real(path)
        found = None if real is None or real == path or not self.is_data(real) else self.expected(real)
        if found is not None and found.oid.startswith(MANIFEST):
            raise linked_folder(self._side, path)
        return None if found is None else replace(found, path=path)

    def is_ignored(self, path: str) -> bool:
        """Says whether something is there that git was told to leave out."""
        return self._side.is_ignored(path)

    def in_git(self, path: str) -> Locked | None:
        """Returns what git has at a path, or the disk, whatever pointers say."""
        return self._look(path)

    def pointer(self, path: str) -> Pointer | None:
        return self._data.get(path)

    def named_by(self, path: str) -> str:
        """Returns the pointer file of data, or the stage that made it; '' for what is no data."""
        item = self._items.get(path)
        return "" if item is None else item.stage or path + SUFFIX

    def is_data(self, path: str) -> bool:
        """Says whether content is known from pointers and lockfiles alone: git does not have it."""
        place = path if path in self._data else self.holder(path)
        return place is not None and place not in self._kept

    def directories(self, path: str) -> list[Pointer]:
        """Returns the directories whose listings it takes to tell what a path or pattern is."""
        if path in self._data:
            return []
        if sparse.is_glob(path):
            return [known for each, known in self._directories.items() if may_go_into(path, each)]
        holder = self.holder(path)
        return [self._directories[holder]] if holder in self._directories else []

    def holder(self, path: str) -> str | None:
        """Returns the data that a path lies inside."""
        return next((folder for folder in above(path) if folder in self._data), None)

    def parts(self, path: str) -> list[str]:
        """Returns what a dependency on a path is recorded as: the path and, if it is a folder of git's, all data inside."""
        if path in self._data or self.holder(path) is not None:
            return [path]
        return [path, *below(self._sorted, path)]

    def matches(self, pattern: str) -> list[str]:
        """Returns the paths that a pattern stands for, sorted. Raises UsageError if it could be one in a submodule that is not here."""
        if not sparse.is_glob(pattern) or pattern in self._data or self._is_file(pattern):
            return [pattern]
        if pattern not in self._matched:
            found = self._named(pattern)
            self._matched[pattern] = sorted(
                path for path in found if not path.endswith(_OWN) and LEFT_OUT.isdisjoint(path.split("/"))
            )
        return self._matched[pattern]

    def _named(self, pattern: str) -> set[str]:
        """Returns what a pattern stands for, dvlite's own files too."""
        matches, deep, fixed = expression(pattern).fullmatch, "**" in pattern, fixed_part(pattern)
        names, data = below(self._names, fixed), below(self._sorted, fixed)
        found = {name for name in (*names, *self._in_submodules(pattern)) if matches(name)}
        if deep:
            found = {name for name in found if not self._side.is_linked_folder(name)}
        else:
            folders = {folder for name in (*names, *data) for folder in above(name)}
            found.update(filter(matches, folders))
        found.update(path for path in data if matches(path) and not (deep and self._is_folder(path)))
        for path, known in self._directories.items():
            if may_go_into(pattern, path):
                inner = [f"{path}/{os.fsdecode(name)}" for name in self._listing(path, known).paths]
                found.update(name for name in inner if matches(name))
                folders = {folder for name in inner for folder in above(name)} if not deep else set()
                found.update(folder for folder in folders if matches(folder))
        return found

    def _in_submodules(self, pattern: str) -> Iterator[str]:
        for folder, names in self._side.submodules.items():
            if may_go_into(pattern, folder):
                if names is None:
                    what = f"it may stand for files of the submodule {quote(folder)}, which are not here"
                    raise UsageError(what, hint=UPDATE)
                yield from names

    def _is_file(self, path: str) -> bool:
        return bool(at(self._names, path) or below(self._sorted, path))

    def _is_folder(self, path: str) -> bool:
        return self._data[path].kind == "directory"
