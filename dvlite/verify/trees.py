"""What is verified: the work tree, or a commit, of which nothing in the work tree is looked at. Files, their names and their content.

Data is not read: of the work tree what git has or would take, of a commit its blobs. Git runs no filter and no hook for it. Knows nothing
of what the files mean.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, Self

from dvlite.errors import UsageError
from dvlite.files import quote, refused
from dvlite.formats import manifest
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EXECUTABLE, FILE, SYMLINK, Entry
from dvlite.git.output import REGULAR, split
from dvlite.git.program import BlobReader, Git
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, Digest, digest_bytes, format_oid
from dvlite.pipeline.content import Contents, is_own, link_to_folder
from dvlite.progress import Progress
from dvlite.repo import config_files, ignore
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.store.cache import Cache
from dvlite.verify.file_names import LINK, SUBMODULE, Files, GitFile, above, at, below, resolved
from dvlite.workspace.hashing import link_that_leaves, symlink_problem
from dvlite.workspace.workspace import Workspace, behind_link

BLOB_LIMIT_BYTES = 1 << 30
UPDATE = "git submodule update --init"
_IN_WORK_TREE = "in a work tree that has it, it can be: dvlite verify, without --rev and --range"
_LFS = b"version https://git-lfs.github.com/spec/v1\n"


Look = Callable[[str], Locked | None]


class RepositoryView(Protocol):
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

    def is_linked_folder(self, path: str) -> bool:
        """Says whether a path is a link to a folder."""

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
            if mode == SUBMODULE:  # whether it was fetched or not, its files are not of this repository
                self.submodules[path] = None
                continue
            found.add(path)
            if tag == "S":
                self._absent[path] = GitFile(mode, blob)
        self.names: Sequence[str] = sorted(found)
        self._real: dict[str, bool] = {}
        self._targets: dict[str, str | None] = {}
        self._whole = _Whole(self, repo, self._absent, blobs) if self._absent else None
        self._open_submodules()

    def in_git(self, path: str) -> Sequence[str]:
        return [name for name in at(self.names, path) if name not in self._new]

    def real(self, path: str) -> str | None:
        if self._whole is not None:
            return self._whole.real(path)
        return resolved(path, self._target)

    def is_linked_folder(self, path: str) -> bool:
        if self._whole is not None:
            return self._whole.is_linked_folder(path)
        return os.path.islink(self._repo.root / path) and os.path.isdir(self._repo.root / path)

    def is_ignored(self, path: str) -> bool:
        return os.path.lexists(self._repo.root / path) and not self._counts(path) and not at(self.names, path)

    def blob(self, path: str) -> str | None:
        return None

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        if path in self._absent and not os.path.lexists(self._repo.root / path):
            return _read(self._blobs, path, self._absent[path], limit_bytes)
        if not at(self.names, path) or not self._is_real(path):
            return None  # git ignores it; or its index has it and the work tree has a link above: to git, it is deleted
        return config_files.read_regular(self._repo.root / path, path, limit_bytes + 1)

    def looks(self, data: Sequence[Tracked]) -> Look:
        contents = Contents(self._work, data, fetches=False, in_git=self._below)
        whole = None if self._whole is None else self._whole.looks(data)

        def look(path: str) -> Locked | None:
            submodule = _submodule(path, self.submodules)
            if submodule is not None:
                if self.submodules[submodule] is None:
                    raise _not_here(path, submodule, "which is not here", UPDATE)
                return contents.here(path)
            if whole is not None:
                return whole(path)
            return contents.here(path) if self._counts(path) else None

        return look

    def _target(self, path: str) -> str | None:
        """Returns where a link leads, None for what is no link; one that git ignores leads nowhere: nobody else has it."""
        place = self._repo.root / path
        if path not in self._targets:
            target = os.readlink(place) if place.is_symlink() else None
            if target is not None and not at(self.names, path):
                target = "/"
            elif target is not None and os.path.isabs(target):
                target = os.path.relpath(target, place.parent)
            self._targets[path] = target
        return self._targets[path]

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


class CommitTree:
    """The files of a commit."""

    def __init__(self, files: Files, blobs: Blobs, commit: str | None = None) -> None:
        self.commit = commit
        self._files, self._blobs = files, blobs
        self._targets: dict[str, str] = {}

    @property
    def names(self) -> Sequence[str]:
        return self._files.names

    @property
    def submodules(self) -> Mapping[str, Sequence[str] | None]:
        return self._files.submodules

    def in_git(self, path: str) -> Sequence[str]:
        return [name for name in at(self.names, path) if name not in self._files.submodules]

    def real(self, path: str) -> str | None:
        return resolved(path, self._target) if self._files.links else path

    def is_linked_folder(self, path: str) -> bool:
        real = self.real(path) if path in self._files.links else None
        return real is not None and bool(below(self.names, real))

    def is_ignored(self, path: str) -> bool:
        return False

    def blob(self, path: str) -> str | None:
        found = self._files.by_name.get(path)
        return None if found is None else found.blob

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        found = self._files.by_name.get(path)
        return None if found is None else _read(self._blobs, path, found, limit_bytes)

    def looks(self, data: Sequence[Tracked]) -> Look:
        known = {item.path for item in data}
        rules = ignore.parse(self.read(ignore.FILE_NAME, BLOB_LIMIT_BYTES) or b"")

        def look(path: str) -> Locked | None:
            real = self.real(path)
            if real is None:
                return None
            submodule = _submodule(real, self._files.submodules)
            if submodule is not None:
                raise _not_here(path, submodule, "whose files are not in this commit", _IN_WORK_TREE)
            if real in self._files.by_name:
                return self._file(path, real)
            if path != real and below(self.names, real):
                raise linked_folder(self, path)
            return self._folder(path, known, rules)

        return look

    def _target(self, path: str) -> str | None:
        """Returns where a link leads, None for what is no link."""
        if path not in self._files.links:
            return None
        if path not in self._targets:
            self._targets[path] = os.fsdecode(self._link(path))
        return self._targets[path]

    def _link(self, name: str) -> bytes:
        return self._blobs.read(self._files.by_name[name].blob, 1 << 16)

    def _file(self, path: str, name: str) -> Locked:
        digest, size_bytes = self._content(name)
        executable = self._files.by_name[name].mode == "100755"
        return Locked(path, format_oid(FILE_OID, digest), size_bytes, executable=executable)

    def _content(self, name: str) -> tuple[Digest, int]:
        return self._blobs.digest(self._files.by_name[name].blob)

    def _folder(self, path: str, data: set[str], rules: ignore.Ignore) -> Locked | None:
        names = below(self.names, path)
        if not names:
            return None
        whole = _inside(path, data)  # of an output that git keeps, everything counts
        chosen: list[Entry] = []
        for name in names:
            mode, inner = self._files.by_name[name].mode, os.fsencode(name[len(path) + 1 :] if path else name)
            counts = whole or not (is_own(inner) or _inside(name, data))
            if mode == SUBMODULE or not counts or left_out(name, path, rules):
                continue
            if mode == LINK:
                problem = symlink_problem(inner, self._link(name))
                if problem is not None:
                    raise link_that_leaves(name, problem)
            digest, size_bytes = self._content(name)
            flags = SYMLINK if mode == LINK else FILE | EXECUTABLE if mode == "100755" else FILE
            chosen.append(Entry(inner, flags, size_bytes, digest))
        made = manifest.build(manifest.from_entries(sorted(chosen, key=lambda entry: entry.path)))
        return Locked(path, format_oid(MANIFEST, made.root), made.size_bytes, made.files)


class _Whole(CommitTree):
    """A work tree of which git left files out, with these: what is on disk from there, the rest from the index."""

    def __init__(self, work_tree: WorkTree, repo: Repo, absent: Mapping[str, GitFile], blobs: Blobs) -> None:
        self._root = repo.root
        here = ((name, self._on_disk(name) or absent.get(name)) for name in work_tree.names)
        super().__init__(Files({name: file for name, file in here if file is not None}), blobs)

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        if self.blob(path) == "":
            return config_files.read_regular(self._root / path, path, limit_bytes + 1)
        return super().read(path, limit_bytes)

    def _on_disk(self, name: str) -> GitFile | None:
        try:
            mode = os.lstat(self._root / name).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        kind = LINK if stat.S_ISLNK(mode) else "100755" if mode & stat.S_IXUSR else "100644"
        return GitFile(kind, "")

    def _link(self, name: str) -> bytes:
        return os.fsencode(os.readlink(self._root / name)) if self.blob(name) == "" else super()._link(name)

    def _content(self, name: str) -> tuple[Digest, int]:
        if self.blob(name):
            return super()._content(name)
        data = self._link(name) if name in self._files.links else (self._root / name).read_bytes()
        return digest_bytes(data), len(data)


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


def place_of(side: RepositoryView, path: str) -> str | None:
    """Returns where a path is, links to folders above it followed; a link in its own place is not."""
    folder, name = posixpath.split(path)
    real = side.real(folder) if folder else ""
    return None if real is None else posixpath.normpath(posixpath.join(real, name))


def linked_folder(side: RepositoryView, path: str) -> UsageError:
    """Returns the error for a folder that links lead to: repro refuses it, so no entry can say what it is."""
    return behind_link(quote(path)) if place_of(side, path) == side.real(path) else link_to_folder(path)


def left_out(name: str, folder: str, rules: ignore.Ignore) -> bool:
    """Says whether `.dvliteignore` leaves a file out of a folder, or one of the folders between."""
    parts = [name, *(outer for outer in above(name) if len(outer) > len(folder))]
    return any(rules.match(part, is_dir=part is not name) for part in parts)


def _read(blobs: Blobs, path: str, found: GitFile, limit_bytes: int) -> bytes | None:
    """Returns a file that git has, None for a submodule. Raises FormatError for a link."""
    if found.mode == SUBMODULE:
        return None
    if found.mode not in REGULAR:
        raise refused(path, "it is a symbolic link", hint="replace it by a file")
    return blobs.read(found.blob, limit_bytes)


def _submodule(path: str, submodules: Collection[str]) -> str | None:
    """Returns the submodule that a path is or lies in."""
    return next((place for place in (path, *above(path)) if place in submodules), None) if submodules else None


def _not_here(path: str, submodule: str, why: str, hint: str) -> UsageError:
    return UsageError(f"{quote(path)} belongs to the submodule {quote(submodule)}, {why}", hint=hint)


def _inside(path: str, data: Iterable[str]) -> bool:
    return path in data or any(folder in data for folder in above(path))
