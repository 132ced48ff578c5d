"""What is verified: the work tree, or a commit, of which nothing in the work tree is looked at. Files, their names and their content.

Data is not read: of the work tree what git has or would take, of a commit its blobs. Git runs no filter and no hook for it. Knows nothing
of what the files mean.
"""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, Self

from dvlite import ignore, layers
from dvlite.errors import FormatError, UsageError
from dvlite.files import quote
from dvlite.formats import manifest
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EXECUTABLE, FILE, SYMLINK, Entry
from dvlite.git import BlobReader, Git
from dvlite.git_output import REGULAR, split
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, Digest, digest_bytes, format_oid
from dvlite.pipeline.contents import Contents, is_own
from dvlite.progress import Progress
from dvlite.repo import Repo, Tracked
from dvlite.store.cache import Cache
from dvlite.workspace.tracked import Workspace

BLOB_LIMIT_BYTES = 1 << 30
_LINK, _SUBMODULE = "120000", "160000"
_MOST_LINKS = 40
UPDATE = "git submodule update --init"
_IN_WORK_TREE = "in a work tree that has it, it can be: dvlite verify, without --rev and --range"
_LFS = b"version https://git-lfs.github.com/spec/v1\n"


class GitFile(NamedTuple):
    """A file as git has it; `blob` is '' for one that it does not have yet."""

    mode: str
    blob: str


Look = Callable[[str], Locked | None]


class Side(Protocol):
    """One version of all files."""

    @property
    def commit(self) -> str | None:
        """The commit, None for the work tree."""

    @property
    def names(self) -> Sequence[str]:
        """The files that git has or would take, sorted."""

    @property
    def submodules(self) -> Mapping[str, Sequence[str] | None]:
        """The submodules, and the files of each; None where they are not known."""

    def in_git(self, path: str) -> Sequence[str]:
        """Returns what git has of a path: the file itself, or the files in the folder."""

    def real(self, path: str) -> str | None:
        """Returns the path that links lead to, None for one outside of the repository."""

    def is_ignored(self, path: str) -> bool:
        """Says whether something is there that git was told to leave out."""

    def blob(self, path: str) -> str | None:
        """Returns what tells two versions of a file apart without reading it, or None if nothing does."""

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """Returns a file, at most one byte more than the limit; None for nothing. Raises FormatError for a link."""

    def looks(self, data: Sequence[Tracked]) -> Look:
        """Returns what tells the content of a file or folder that is not data; `data`: what is, and counts for itself."""


class WorkTree:
    """The files on disk. What git was told to leave out of this work tree (sparse checkout) is taken from its index."""

    commit = None

    def __init__(self, repo: Repo, blobs: Blobs, cache: Cache, progress: Progress) -> None:
        self._repo, self._blobs = repo, blobs
        self._work = Workspace(repo, cache, progress)
        self._absent: dict[str, GitFile] = {}
        self._new: set[str] = set()
        self.submodules: dict[str, Sequence[str] | None] = {}
        found = set()
        for row in split(repo.git.run("ls-files", "-z", "-t", "-s", "--cached", "--others", "--exclude-standard")):
            if row.startswith("? "):
                found.add(row[2:])
                self._new.add(row[2:])
                continue
            head, _, path = row.partition("\t")
            tag, mode, blob, _ = head.split(" ")
            if mode == _SUBMODULE:  # whether it was fetched or not, its files are not of this repository
                self.submodules[path] = None
                continue
            found.add(path)
            if tag == "S":
                self._absent[path] = GitFile(mode, blob)
        self.names: Sequence[str] = sorted(found)
        self._real: dict[str, bool] = {}
        self._open_submodules()

    def in_git(self, path: str) -> Sequence[str]:
        return [name for name in at(self.names, path) if name not in self._new]

    def real(self, path: str) -> str | None:
        root = self._repo.root
        found = os.path.relpath(os.path.realpath(root / path), root)
        return None if found.startswith("..") else found

    def is_ignored(self, path: str) -> bool:
        return not at(self.names, path) and os.path.lexists(self._repo.root / path)

    def blob(self, path: str) -> str | None:
        return None

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        if path in self._absent and not os.path.lexists(self._repo.root / path):
            return self._blobs.read(self._absent[path].blob, limit_bytes)
        if not at(self.names, path) or not self._is_real(path):
            return None  # git ignores it; or its index has it and the work tree has a link above: to git, it is deleted
        return layers.read_regular(self._repo.root / path, path, limit_bytes + 1)

    def looks(self, data: Sequence[Tracked]) -> Look:
        contents = Contents(self._work, data, fetches=False, in_git=self._below)
        absent = Tree(self._absent, self._blobs, lambda: None).looks(data) if self._absent else None

        def look(path: str) -> Locked | None:
            submodule = _submodule(path, self.submodules)
            if submodule is not None:
                if self.submodules[submodule] is None:
                    raise _not_here(path, submodule, "which is not here", UPDATE)
                return contents.here(path)
            found = contents.here(path) if self._counts(path) else None
            return found if found is not None or absent is None else absent(path)

        return look

    def _counts(self, path: str) -> bool:
        """Says whether everybody gets a file or folder with a clone: what git ignores, nobody does."""
        if at(self.names, path) and not os.path.islink(self._repo.root / path):
            return True
        real = self.real(path)
        return real is not None and bool(at(self.names, real))

    def _open_submodules(self) -> None:
        for path in self.submodules:
            if os.path.lexists(self._repo.root / path / ".git"):
                inner = self._repo.git.run(
                    "ls-files", "-z", "--cached", "--recurse-submodules", "--", f":(literal){path}"
                )
                self.submodules[path] = split(inner)

    def _below(self, folder: str) -> Iterator[bytes]:
        return map(os.fsencode, below(self.names, folder))

    def _is_real(self, path: str) -> bool:
        folder = os.path.dirname(self._repo.root / path)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder) == folder
        return self._real[folder]


class Tree:
    """The files of a commit. `rules` returns the `.dvliteignore` of the same commit."""

    def __init__(
        self,
        files: Mapping[str, GitFile],
        blobs: Blobs,
        rules: Callable[[], bytes | None] | None = None,
        commit: str | None = None,
    ) -> None:
        self.commit = commit
        self.files = files
        self._blobs = blobs
        self._rules = rules or (lambda: self.read(ignore.FILE_NAME, BLOB_LIMIT_BYTES))
        self._names: Sequence[str] | None = None

    @property
    def names(self) -> Sequence[str]:
        if self._names is None:
            self._names = sorted(self.files)
        return self._names

    @property
    def submodules(self) -> Mapping[str, Sequence[str] | None]:
        return {path: None for path, found in self.files.items() if found.mode == _SUBMODULE}

    def in_git(self, path: str) -> Sequence[str]:
        return [name for name in at(self.names, path) if self.files[name].mode != _SUBMODULE]

    def real(self, path: str) -> str | None:
        for _ in range(_MOST_LINKS):
            link = next((place for place in (path, *above(path)) if self._is_link(place)), None)
            if link is None:
                return path
            target = os.fsdecode(self._blobs.read(self.files[link].blob, 1 << 16))
            path = posixpath.normpath(posixpath.join(posixpath.dirname(link), target) + path[len(link) :])
            if posixpath.isabs(path) or path.startswith(".."):
                return None
        return None

    def is_ignored(self, path: str) -> bool:
        return False

    def blob(self, path: str) -> str | None:
        found = self.files.get(path)
        return None if found is None else found.blob

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        found = self.files.get(path)
        if found is None or found.mode == _SUBMODULE:
            return None
        if found.mode not in REGULAR:
            raise FormatError(f"refused {quote(path)}: it is a symbolic link", hint="replace it by a file")
        return self._blobs.read(found.blob, limit_bytes)

    def looks(self, data: Sequence[Tracked]) -> Look:
        known = {item.path for item in data}
        rules = ignore.parse(self._rules() or b"")

        submodules = self.submodules

        def look(path: str) -> Locked | None:
            real = self.real(path)
            if real is None:
                return None
            submodule = _submodule(real, submodules)
            if submodule is not None:
                raise _not_here(path, submodule, "whose files are not in this commit", _IN_WORK_TREE)
            found = self.files.get(real)
            if found is not None:
                return self._file(path, found)
            folder = self._folder(real, known, rules)
            return None if folder is None else replace(folder, path=path)

        return look

    def _is_link(self, path: str) -> bool:
        found = self.files.get(path)
        return found is not None and found.mode == _LINK

    def _file(self, path: str, found: GitFile) -> Locked:
        digest, size_bytes = self._blobs.digest(found.blob)
        return Locked(path, format_oid(FILE_OID, digest), size_bytes, executable=found.mode == "100755")

    def _folder(self, path: str, data: set[str], rules: ignore.Ignore) -> Locked | None:
        names = below(self.names, path)
        if not names:
            return None
        whole = _inside(path, data)  # of an output that git keeps, everything counts
        chosen: list[Entry] = []
        for name in names:
            found, inner = self.files[name], os.fsencode(name[len(path) + 1 :])
            counts = whole or not (is_own(inner) or _inside(name, data))
            if found.mode == _SUBMODULE or not counts or left_out(name, path, rules):
                continue
            digest, size_bytes = self._blobs.digest(found.blob)
            flags = SYMLINK if found.mode == _LINK else FILE | EXECUTABLE if found.mode == "100755" else FILE
            chosen.append(Entry(inner, flags, size_bytes, digest))
        made = manifest.build(manifest.from_entries(sorted(chosen, key=lambda entry: entry.path)))
        return Locked(path, format_oid(MANIFEST, made.root), made.size_bytes, made.files)


class Blobs:
    """Content of git's objects, read from one running git when it is first asked; a context manager. Remembers what they hash to."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._reader: BlobReader | None = None
        self._digests: dict[str, tuple[Digest, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, blob: str, limit_bytes: int) -> bytes:
        """Returns a blob; raises FormatError if it has more bytes than the limit."""
        if self._reader is None:
            self._reader = self._git.blob_reader()
        try:
            return self._reader.read(blob, limit_bytes)
        except BaseException:  # what it was about to say is still on its way
            self._close()
            raise

    def digest(self, blob: str) -> tuple[Digest, int]:
        """Returns the BLAKE3 of a blob and its size in bytes. Raises UsageError for what only stands for content elsewhere."""
        if blob not in self._digests:
            data = self.read(blob, BLOB_LIMIT_BYTES)
            if data.startswith(_LFS):
                raise UsageError("it is kept by Git LFS: the commit has a pointer only", hint=_IN_WORK_TREE)
            self._digests[blob] = digest_bytes(data), len(data)
        return self._digests[blob]

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.__exit__(None, None, None)
            self._reader = None


def files_at(git: Git, commit: str) -> dict[str, GitFile]:
    """Returns the files of a commit."""
    found = {}
    for row in split(git.run("ls-tree", "-r", "-z", "--full-tree", commit)):
        head, _, path = row.partition("\t")
        mode, _, blob = head.split(" ")
        found[path] = GitFile(mode, blob)
    return found


def at(names: Sequence[str], path: str) -> Sequence[str]:
    """Returns a file if it is one of sorted names, else those that lie in the folder."""
    place = bisect_left(names, path)
    return names[place : place + 1] if names[place : place + 1] == [path] else below(names, path)


def below(names: Sequence[str], folder: str) -> Sequence[str]:
    """Returns those of sorted names that lie in a folder or deeper."""
    if not folder:
        return names
    return names[bisect_left(names, f"{folder}/") : bisect_left(names, f"{folder}0")]  # '0' follows '/'


def above(path: str) -> Iterator[str]:
    """Yields the folders that a path lies in, innermost first."""
    while path := posixpath.dirname(path):
        yield path


def left_out(name: str, folder: str, rules: ignore.Ignore) -> bool:
    """Says whether `.dvliteignore` leaves a file out of a folder, or one of the folders between."""
    parts = [name, *(outer for outer in above(name) if len(outer) > len(folder))]
    return any(rules.match(part, is_dir=part is not name) for part in parts)


def _submodule(path: str, submodules: Collection[str]) -> str | None:
    """Returns the submodule that a path is or lies in."""
    return next((place for place in (path, *above(path)) if place in submodules), None) if submodules else None


def _not_here(path: str, submodule: str, why: str, hint: str) -> UsageError:
    return UsageError(f"{quote(path)} belongs to the submodule {quote(submodule)}, {why}", hint=hint)


def _inside(path: str, data: Iterable[str]) -> bool:
    return path in data or any(folder in data for folder in above(path))
