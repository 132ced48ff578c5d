"""What belongs at a path of a revision, data or not: as pointers, lockfiles and listings of directories say it, else as git has the file.

The same questions that `content` answers from the disk, answered without any data. Reads git's objects, or the files that git would take.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from dvlite.errors import UsageError
from dvlite.formats import manifest
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EXECUTABLE, FILE, SYMLINK, Entries, Entry
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, Digest, digest_bytes, format_oid
from dvlite.paths import ancestors
from dvlite.pipeline import map_inputs
from dvlite.pipeline.content import LEFT_OUT, Contents, is_own, link_to_folder
from dvlite.pipeline.globs import expression, fixed_part, may_go_into
from dvlite.pipeline.known_data import KnownData
from dvlite.pipeline.stages import StageOver
from dvlite.repo.revisions import LINK, SUBMODULE, Revision, at, below
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import quote
from dvlite.workspace import sparse
from dvlite.workspace.hashing import link_that_leaves, symlink_problem
from dvlite.workspace.workspace import Workspace, behind_link

BLOB_LIMIT_BYTES = 1 << 30
UPDATE = "git submodule update --init"
_IN_WORK_TREE = "in a work tree that has it, it can be: dvlite verify, without --rev and --range"
_STANDS_FOR = {  # how blobs begin that are not the content
    b"version https://git-lfs.github.com/spec/v1\n": "it is kept by Git LFS: the commit has a pointer only",
    b"\0GITCRYPT\0": "git-crypt keeps it encrypted",
}
_OWN = (".dvlite", "/dvlite.lock")

Look = Callable[[str], Locked | None]
Digests = dict[str, tuple[Digest, int]]  # of git's objects: BLAKE3 and size in bytes


class RevisionContent:
    """Knows all data of one revision: `data` are pointers and outputs, `in_git` the outputs among them that git keeps.

    `look` returns what a file or folder is that is not data.
    """

    def __init__(
        self,
        revision: Revision,
        data: Sequence[Tracked],
        in_git: Iterable[str],
        listing: Callable[[str, Pointer], Entries],
        look: Look,
    ) -> None:
        self._at, self.look, self._listing = revision, look, listing
        self.known = KnownData({item.path: item.pointer for item in data}, listing)
        self._data = self.known.pointers
        self._items = {item.path: item for item in data}
        self._sorted = sorted(self._data)
        self._in_git = frozenset(in_git)
        self._directories = {
            path: known for path, known in self._data.items() if known.kind == "directory" and path not in self._in_git
        }
        self._expected: dict[str, Locked | None] = {}
        self._matched: dict[str, list[str]] = {}

    def expected(self, path: str) -> Locked | None:
        """Returns what belongs at a path, None if that is not known. Raises DvliteError for a listing that cannot be read."""
        if path not in self._expected:
            is_known = path in self._data or self.is_data(path)
            self._expected[path] = self.known.at(path) if is_known else self.look(path) or self._linked(path)
        return self._expected[path]

    def over(self, over: StageOver) -> Locked | None:
        """Returns the listing of what a map stage goes over, None if that is nothing."""
        return map_inputs.row_of(self, over)

    def leaves(self, path: str, version: Locked) -> Iterable[Entries]:
        """Returns the listing of a directory that is data. Raises DvliteError for one that cannot be read."""
        return (self._listing(path, version.pointer()),)

    def _linked(self, path: str) -> Locked | None:
        """Returns the data that a link leads to."""
        real = self._at.real(path)
        linked = None if real is None or real == path or not self.is_data(real) else self.expected(real)
        if linked is not None and linked.oid.startswith(MANIFEST):
            raise _linked_folder(self._at, path)
        return None if linked is None else replace(linked, path=path)

    def is_on_disk(self, path: str) -> bool:
        """Returns whether something is on disk at a path."""
        return bool(self._at.mode(path))

    def is_ignored(self, path: str) -> bool:
        """Returns whether something is on disk that git ignores."""
        return self._at.is_ignored(path)

    def to_add(self, path: str, *, by_git: bool) -> str:
        """Returns what git or dvlite has to add so that clones have a path that is ignored."""
        return self._at.to_add(path, by_git=by_git)

    def filter_of(self, path: str) -> str | None:
        """Returns the filter of git that changes a file on commit."""
        return self._at.filter_of(path)

    def named_by(self, path: str) -> str:
        """Returns the pointer file of data, or the stage that made it, for a path inside it too; '' for what is no data."""
        item = self._items.get(path if path in self._items else self.known.holder(path) or "")
        return "" if item is None else item.stage or item.path + SUFFIX

    def is_data(self, path: str) -> bool:
        """Returns whether content is known from pointers and lockfiles alone: git does not have it."""
        place = path if path in self._data else self.known.holder(path)
        return place is not None and place not in self._in_git

    def directories(self, path: str) -> list[Pointer]:
        """Returns the directories whose listings it takes to say what a path or pattern is."""
        if path in self._data:
            return []
        if sparse.is_glob(path):
            return [known for folder, known in self._directories.items() if may_go_into(path, folder)]
        holder = self.known.holder(path)
        return [self._directories[holder]] if holder in self._directories else []

    def parts(self, path: str) -> list[str]:
        """Returns what a dependency on a path is recorded as: the path and, if it is a folder of git's, all data inside."""
        if self.known.is_data(path):
            return [path]
        return [path, *below(self._sorted, path)]

    def matches(self, pattern: str) -> list[str]:
        """Returns the paths that a pattern stands for, sorted. Raises UsageError if it could be one in a submodule that is not here."""
        is_name = not sparse.is_glob(pattern) or pattern in self._data
        if is_name or at(self._at.names, pattern) or below(self._sorted, pattern):
            return [pattern]
        if pattern not in self._matched:
            self._matched[pattern] = sorted(
                path
                for path in self._named(pattern)
                if not path.endswith(_OWN) and LEFT_OUT.isdisjoint(path.split("/"))
            )
        return self._matched[pattern]

    def _named(self, pattern: str) -> set[str]:
        """Returns what a pattern stands for, dvlite's own files too."""
        matches, deep, fixed = expression(pattern).fullmatch, "**" in pattern, fixed_part(pattern)
        names, data = below(self._at.names, fixed), below(self._sorted, fixed)
        named = {name for name in (*names, *self._in_submodules(pattern)) if matches(name)}
        if deep:
            named = {name for name in named if not self._at.is_linked_folder(name)}
        else:
            named.update(filter(matches, {folder for name in (*names, *data) for folder in ancestors(name)}))
        for path in self._sorted:
            if path not in self._in_git:
                named.update(self.known.matches(path, pattern))
            elif matches(path) and not (deep and self._data[path].kind == "directory"):
                named.add(path)
        return named

    def _in_submodules(self, pattern: str) -> Iterator[str]:
        for folder, names in self._at.submodules.items():
            if may_go_into(pattern, folder):
                if names is None:
                    what = f"it may stand for files of the submodule {quote(folder)}, which are not here"
                    raise UsageError(what, hint=UPDATE)
                yield from names


class GitContent:
    """What files and folders of a revision are that are not data. `data` lies among them, and counts for itself.

    Of the work tree, whose Workspace is `work`, what is on disk is looked at; what a sparse checkout leaves out, and all of a commit, is
    hashed from git's objects, once: `digests` remembers them.
    """

    def __init__(self, revision: Revision, data: Sequence[Tracked], work: Workspace | None, digests: Digests) -> None:
        self._at, self._digests, self._rules = revision, digests, revision.ignore_rules
        self._data = {item.path for item in data}
        self._is_sparse = work is not None and any(file.blob for file in revision.files.by_name.values())
        self._disk = None if work is None else Contents(work, data, fetches=False, in_git=self._names_in)

    def look(self, path: str) -> Locked | None:
        """Returns a file or folder, None where there is none. Raises UsageError for what no entry can say: a link to a folder, a submodule."""
        real = self._at.real(path)
        submodule = _submodule(path if self._disk is not None else real or "", self._at.submodules)
        if submodule is not None:
            if self._disk is None:
                raise _of_submodule(path, submodule, "whose files are not in this commit", _IN_WORK_TREE)
            if self._at.submodules[submodule] is None:
                raise _of_submodule(path, submodule, "which is not here", UPDATE)
            return self._disk.here(path)
        if self._disk is not None and not self._is_sparse:
            return self._disk.here(path) if self._at.is_cloned(path) else None
        if real is None or not any(self._at.mode(name) for name in at(self._at.names, real)):
            return None
        if real in self._at.files.by_name:
            digest, size_bytes = self._content(real)
            executable = self._at.mode(real) == "100755"
            return Locked(path, format_oid(FILE_OID, digest), size_bytes, executable=executable)
        if path != real and below(self._at.names, real):
            raise _linked_folder(self._at, path)
        return self._folder(path)

    def _folder(self, path: str) -> Locked | None:
        names = below(self._at.names, path)
        if not names:
            return None
        whole = _is_inside(path, self._data)  # of an output that git keeps, everything counts
        chosen: list[Entry] = []
        for name in names:
            mode, inner = self._at.mode(name), os.fsencode(name[len(path) + 1 :] if path else name)
            counts = whole or not (is_own(inner) or _is_inside(name, self._data))
            if mode in ("", SUBMODULE) or not counts or self._rules.leaves_out(name, path):
                continue
            if mode == LINK:
                problem = symlink_problem(inner, self._at.read_link(name))
                real = None if problem is None else self._at.real(name)
                is_file = real is not None and self._at.mode(real) not in ("", LINK, SUBMODULE)
                if real is not None and is_file:  # it counts as the file that it leads to
                    name, mode = real, self._at.mode(real)  # noqa: PLW2901
                elif problem is not None:
                    raise link_that_leaves(name, problem)
            digest, size_bytes = self._content(name)
            flags = SYMLINK if mode == LINK else FILE | EXECUTABLE if mode == "100755" else FILE
            chosen.append(Entry(inner, flags, size_bytes, digest))
        tree = manifest.build(manifest.from_entries(sorted(chosen, key=lambda entry: entry.path)))
        return Locked(path, format_oid(MANIFEST, tree.root), tree.size_bytes, tree.files)

    def _content(self, name: str) -> tuple[Digest, int]:
        """Returns the BLAKE3 of a file and its size in bytes. Raises UsageError for what only stands for content elsewhere."""
        blob = self._at.blob(name)
        if blob in self._digests:
            return self._digests[blob]
        is_link = self._at.mode(name) == LINK
        data = self._at.read_link(name) if is_link else self._at.read(name, BLOB_LIMIT_BYTES) or b""
        for begin, why in _STANDS_FOR.items() if blob is not None else ():
            if data.startswith(begin):
                raise UsageError(why, hint=_IN_WORK_TREE)
        content = digest_bytes(data), len(data)
        if blob is not None:
            self._digests[blob] = content
        return content

    def _names_in(self, folder: str) -> Iterator[bytes]:
        return map(os.fsencode, below(self._at.names, folder))


def _linked_folder(revision: Revision, path: str) -> UsageError:
    """Returns the error for a folder that links lead to: repro refuses it, so no entry can say what it is."""
    is_above = revision.place_of(path) == revision.real(path)
    return behind_link(quote(path)) if is_above else link_to_folder(path)


def _submodule(path: str, submodules: Collection[str]) -> str | None:
    """Returns the submodule that a path is or lies in."""
    return next((place for place in (path, *ancestors(path)) if place in submodules), None) if submodules else None


def _of_submodule(path: str, submodule: str, why: str, hint: str) -> UsageError:
    return UsageError(f"{quote(path)} belongs to the submodule {quote(submodule)}, {why}", hint=hint)


def _is_inside(path: str, data: Collection[str]) -> bool:
    return path in data or any(folder in data for folder in ancestors(path))
