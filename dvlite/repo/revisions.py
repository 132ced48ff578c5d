"""The repository at a revision: its work tree, or a commit independent of the work tree. Its files, and the paths that they track.

Files by name, sorted, their content within a limit, and where links lead. What pointers and lockfiles mean is decided in `tracked_paths`.
Git runs no filter and no hook for it. Holds no store and no data.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from dvlite.errors import DvliteError, FormatError
from dvlite.files import read_regular, refused
from dvlite.formats import lockfile, pointer, strict_yaml
from dvlite.formats.lockfile import Lockfile
from dvlite.formats.pointer import SUFFIX
from dvlite.git.blobs import BlobReader
from dvlite.git.conversions import active_filters
from dvlite.git.copied_commits import copy_of
from dvlite.git.output import REGULAR, TooLarge, is_lockfile, is_pipeline_file, is_pointer
from dvlite.git.program import Git
from dvlite.repo import ignore, tracked_paths
from dvlite.repo.stage_names import address
from dvlite.repo.tracked_paths import Tracked, Unusable

LINK, SUBMODULE = "120000", "160000"  # modes
WORK_TREE = "workspace"  # what a user calls it
_MOST_LINKS = 40


@dataclass(frozen=True, slots=True)
class Scope:
    """Which revisions a command is about: one, all of a kind, or (as made by default) the pointers on disk."""

    revision: str | None = None
    all_branches: bool = False
    all_tags: bool = False
    all_commits: bool = False

    @property
    def is_workspace(self) -> bool:
        return self == Scope()


WORKSPACE = Scope()


class GitFile(NamedTuple):
    """A file as git has it. `blob` is '' for one that is read from disk, `mode` then '' if git does not have it yet."""

    mode: str
    blob: str


class Files:
    """The files of a revision by name; `change` turns them into those of the next commit."""

    def __init__(self, files: Mapping[str, GitFile]) -> None:
        self.by_name = dict(files)
        self.names = sorted(files)
        self.links = {path for path, file in files.items() if file.mode == LINK}
        # With the files of each, None where they are not known.
        self.submodules: dict[str, Sequence[str] | None] = {
            path: None for path, file in files.items() if file.mode == SUBMODULE
        }

    def change(self, path: str, file: GitFile | None) -> None:
        """Takes in a file that was written, or (None) removed."""
        was = self.by_name.pop(path, None)
        self.links.discard(path)
        self.submodules.pop(path, None)
        if file is None:
            if was is not None:
                del self.names[bisect_left(self.names, path)]
            return
        self.by_name[path] = file
        if was is None:
            insort(self.names, path)
        if file.mode == LINK:
            self.links.add(path)
        elif file.mode == SUBMODULE:
            self.submodules[path] = None


def files_at(git: Git, commit: str) -> Files:
    """Returns the files of a commit."""
    return Files({entry.path: GitFile(entry.mode, entry.blob) for entry in git.list_tree(commit)})


def files_to_commit(git: Git) -> Files:
    """Returns the files of the work tree that git has or would take, as a clone would have them.

    Those that a sparse checkout leaves out, and those that a filter of git changes, are as the index has them.
    """
    files: dict[str, GitFile] = {}
    submodules: dict[str, Sequence[str] | None] = {}
    blobs: dict[str, str] = {}
    for path, mode, blob, is_skipped in git.list_index(untracked=True):
        if mode == SUBMODULE:  # fetched or not, its files are not of this repository
            is_open = os.path.lexists(git.root / path / ".git")
            submodules[path] = git.list_files(f":(literal){path}", in_submodules=True) if is_open else None
        else:
            blobs[path] = blob
            is_left_out = is_skipped and not os.path.lexists(git.root / path)
            files[path] = GitFile(mode, blob if is_left_out else "")
    filtered = active_filters(git, [path for path, file in files.items() if file.mode in REGULAR and not file.blob])
    if filtered:
        edited = set(git.differing()[1])
        files |= {path: GitFile(files[path].mode, blobs[path]) for path in filtered if path not in edited}
    tree = Files(files)
    tree.submodules = submodules
    return tree


class Revision:
    """The repository at one revision; `commit` None: the work tree.

    With `files` only those are seen, of the work tree too: what a clone would have (`files_to_commit`). `name` is what the user called it,
    `shown` what a file of it is called in messages.
    """

    def __init__(
        self,
        git: Git,
        name: str,
        shown: Callable[[str], str],
        *,
        commit: str | None = None,
        files: Files | None = None,
        blobs: BlobReader | None = None,
    ) -> None:
        self.name, self.commit, self.shown = name, commit, shown
        self._git, self._root, self._blobs = git, git.root, blobs
        self._files = files
        self._seen: list[str] | None = None  # pointers, lockfiles and pipeline files
        self._tracked: list[Tracked] | None = None  # of a commit: it never changes
        self._targets: dict[str, str | None] = {}
        self._real_folders: dict[str, bool] = {}

    # -- files

    @cached_property
    def files(self) -> Files:
        """The files that git has, or would take of the work tree."""
        if self._files is not None:
            return self._files
        return files_to_commit(self._git) if self.commit is None else files_at(self._git, self.commit)

    @property
    def names(self) -> Sequence[str]:
        """The names of all files, sorted."""
        return self.files.names

    @property
    def submodules(self) -> Mapping[str, Sequence[str] | None]:
        """The submodules, and the files of each; None where they are not known."""
        return self.files.submodules

    @cached_property
    def ignore_rules(self) -> ignore.Ignore:
        """What `.dvliteignore` says. Raises FormatError."""
        return ignore.parse(self.read(ignore.FILE_NAME, ignore.LIMIT_BYTES) or b"")

    @cached_property
    def _left_out(self) -> list[str]:
        """What a sparse checkout leaves out of the work tree, sorted; some may have been written since."""
        return sorted(self._git.all_left_out()) if self.commit is None else []

    @property
    def is_on_disk(self) -> bool:
        """Returns whether this is the work tree, whatever git has of it."""
        return self.commit is None and self._files is None

    def read(self, path: str, limit_bytes: int | None = None) -> bytes | None:
        """Returns a file, None where there is none; the limit is that of its format, if none is given. Opening one on disk never waits.

        What a sparse checkout leaves out of the work tree is as git's index has it.
        Raises FormatError for a link, which could lead to any file of this machine or to a device without end, and for a file of git above
        the limit. Of a file on disk one byte more than the limit is returned, so that its format can refuse it.
        """
        if limit_bytes is None:
            limit_bytes = limit_of(path)
        if self.is_on_disk:
            data = read_regular(self._root / path, self.shown(path), limit_bytes + 1)
            if data is None and self._git.is_sparse:
                return self._git.read_left_out(path, limit_bytes=limit_bytes)
            return data
        file = self.files.by_name.get(path)
        if file is None or file.mode == SUBMODULE:
            return None
        if not file.blob:  # the index may have it where the work tree has a link above: to git, it is deleted
            is_there = self._is_real_folder(path)
            return read_regular(self._root / path, self.shown(path), limit_bytes + 1) if is_there else None
        if file.mode not in REGULAR:
            raise refused(self.shown(path), "it is a symbolic link", hint="replace it by a file")
        return self.read_blob(file.blob, path, limit_bytes)

    def beside(self, file: str, instead: Mapping[str, bytes] | None = None) -> Callable[[str], bytes | None]:
        """Returns what reads files of values by names relative to a file's folder: None for one that is not there, or outside the repository.

        `instead` of what is there, it returns these bytes.
        """

        def read(name: str) -> bytes | None:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(file), name))
            if instead and path in instead:
                return instead[path]
            is_outside = path in (".", "..") or path.startswith(("/", "../"))
            return None if is_outside else self.read(path, strict_yaml.VALUES_LIMIT_BYTES)

        return read

    def read_blob(self, blob: str, path: str, limit_bytes: int) -> bytes:
        """Returns an object of git, which is the file at a path. Raises FormatError if it is above the limit."""
        try:
            if self._blobs is not None:
                return self._blobs.read(blob, limit_bytes)
            return self._git.read_blobs([blob], limit_bytes=limit_bytes)[blob]
        except TooLarge as error:
            hint = error.hint if is_pointer(path) else "split the file"
            raise refused(self.shown(path), error.reason, hint=hint, kind=error.kind) from None

    def read_link(self, path: str) -> bytes:
        """Returns what a link holds."""
        blob = self.blob(path)
        return os.fsencode(os.readlink(self._root / path)) if blob is None else self.read_blob(blob, path, 1 << 16)

    def mode(self, path: str) -> str:
        """Returns the mode of a file as git writes it, '' for one that is not there."""
        file = self.files.by_name.get(path)
        if file is not None and file.blob:
            return file.mode
        try:
            mode = os.lstat(self._root / path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return ""
        if stat.S_ISREG(mode) and not self._git.trusts_modes:
            return file.mode if file is not None and file.mode in REGULAR else "100644"
        return LINK if stat.S_ISLNK(mode) else "100755" if mode & stat.S_IXUSR else "100644"

    def blob(self, path: str) -> str | None:
        """Returns the blob id, by which two versions of a file can be compared without reading them, or None if unknown."""
        file = self.files.by_name.get(path)
        return None if file is None or not file.blob else file.blob

    def filter_of(self, path: str) -> str | None:
        """Returns the filter of git that changes a file on commit, by the attributes of the work tree."""
        return active_filters(self._git, [path]).get(path)

    def in_git(self, path: str) -> Sequence[str]:
        """Returns what git has of a path: the file itself, or the files in the folder."""
        by_name = self.files.by_name
        return [name for name in at(self.names, path) if by_name[name].mode not in ("", SUBMODULE)]

    # -- links

    def real(self, path: str) -> str | None:
        """Returns the path that links lead to, None for one outside of the repository."""
        return path if self.commit is not None and not self.files.links else _resolved(path, self.target)

    def target(self, path: str) -> str | None:
        """Returns where a link leads, None for what is no link; one that git ignores leads nowhere: no clone has it."""
        if path not in self._targets:
            self._targets[path] = self._target(path)
        return self._targets[path]

    def _target(self, path: str) -> str | None:
        file = self.files.by_name.get(path)
        if self.commit is not None or (file is not None and file.blob):
            return os.fsdecode(self.read_link(path)) if file is not None and file.mode == LINK else None
        place = self._root / path
        if not place.is_symlink():
            return None
        target = os.readlink(place)
        if not at(self.names, path):
            return "/"
        return os.path.relpath(target, place.parent) if os.path.isabs(target) else target

    def is_linked_folder(self, path: str) -> bool:
        """Returns whether a path is a link to a folder."""
        if self.target(path) is None:
            return False
        if self.commit is None and os.path.isdir(self._root / path):
            return True
        real = self.real(path)
        return real is not None and bool(below(self.names, real))

    def place_of(self, path: str) -> str | None:
        """Returns where a path is, links to folders above it followed; a link in its own place is not."""
        folder, name = posixpath.split(path)
        real = self.real(folder) if folder else ""
        return None if real is None else posixpath.normpath(posixpath.join(real, name))

    def is_cloned(self, path: str) -> bool:
        """Returns whether a clone has a file or folder: what git ignores, it does not."""
        if at(self.names, path) and self.target(path) is None:
            return True
        real = self.real(path)
        return real is not None and bool(at(self.names, real))

    def is_ignored(self, path: str) -> bool:
        """Returns whether something is on disk, at a path of the work tree, that git ignores."""
        is_here = self.commit is None and os.path.lexists(self._root / path)
        return is_here and not self.is_cloned(path) and not at(self.names, path)

    def to_add(self, path: str, *, by_git: bool) -> str:
        """Returns what to add so that clones have an ignored path: for git, the link on the way; for dvlite, the highest ignored folder."""
        parts = path.split("/")
        above = ("/".join(parts[:count]) for count in range(1, len(parts)))
        ignored = (folder for folder in above if self.is_ignored(folder))
        return next((folder for folder in ignored if not by_git or os.path.islink(self._root / folder)), path)

    def _is_real_folder(self, path: str) -> bool:
        folder = os.path.dirname(self._root / path)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder) == folder
        return self._real_folders[folder]

    # -- what it tracks

    def lockfile(self, name: str) -> Lockfile | None:
        """Returns what a lockfile says, None where there is none. Raises FormatError."""
        data = self.read(name)
        return None if data is None else lockfile.parse(data, self.shown(name))

    def own_files(self, *, as_seen: bool = False) -> list[str]:
        """Returns the pointers, lockfiles and pipeline files; with `as_seen` those of the last look, without another run of git."""
        if self._seen is None or not as_seen:
            if self.is_on_disk:
                self._seen = self._git.tracking_files()
            else:
                self._seen = [name for name in self.names if is_pointer(name) or is_pipeline_file(name)]
        return self._seen

    def pointers(self, *, as_seen: bool = False) -> list[str]:
        """Returns the pointer files; each names one tracked path."""
        return [name for name in self.own_files(as_seen=as_seen) if is_pointer(name) and not is_lockfile(name)]

    def lockfiles(self, *, as_seen: bool = False) -> list[str]:
        """Returns the lockfiles `dvlite.lock`."""
        return [name for name in self.own_files(as_seen=as_seen) if is_lockfile(name)]

    def pipeline_files(self, *, as_seen: bool = False) -> list[str]:
        """Returns the pipeline files `dvlite.yaml`."""
        return [name for name in self.own_files(as_seen=as_seen) if is_pipeline_file(name)]

    def readers_of(self, versions: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the stages whose lockfile entry read another version of a path than the one given, or a path in it or around it.

        Reads lockfiles only, those of the last look: whether a version differs in the part that a stage reads is left to `repro`.
        """
        stages = []
        for name in filter(is_lockfile, self.own_files(as_seen=True)) if versions else ():
            with contextlib.suppress(DvliteError):
                lock, folder = self.lockfile(name), posixpath.dirname(name)
                for stage in () if lock is None else lock.stages:
                    deps = ((posixpath.normpath(posixpath.join(folder, dep.path)), dep.oid) for dep in stage.deps)
                    if any(_is_other(dep, oid, versions) for dep, oid in deps):
                        stages.append(address(name, stage.name))
        return tuple(stages)

    def tracked(self, broken: list[DvliteError] | None = None) -> list[Tracked]:
        """Returns the tracked paths, cached outputs of stages included, sorted; of the work tree without those that a sparse checkout leaves out.

        Raises Unusable for a pointer or lockfile that cannot be used; with a list, those go there and the rest is returned. What overlaps
        is refused likewise.
        """
        if self._tracked is not None:
            return list(self._tracked)

        def refuse(error: Unusable) -> None:
            if broken is None:
                raise error
            broken.append(error)

        rows: Iterator[Tracked] = (
            self._tracked_by_disk(refuse) if self.commit is None else self._tracked_by_commit(self.commit, refuse)
        )
        tracked = tracked_paths.without_overlap(list(rows), refuse)
        if self.commit is not None and not broken:
            self._tracked = tracked
        return list(tracked)

    def _tracked_by_disk(self, refuse: Callable[[Unusable], None]) -> Iterator[Tracked]:
        self._real_folders.clear()
        for name in self.own_files():
            if is_pipeline_file(name) or not self._is_real_folder(name):
                continue  # git's index has it, the work tree has a link there: to git, it is deleted
            where = self.shown(name)
            try:
                data = self.read(name)
                rows = [] if data is None else read_as(name, data, where)
                if data is not None and is_lockfile(name) and not all(self._is_real_folder(row.path) for row in rows):
                    tracked_paths.refuse_outputs(name, data, where, self._why_not_real)
            except DvliteError as error:
                refuse(Unusable(name, error))
            else:
                yield from (row for row in rows if not self._git.is_sparse or self.left_out(row.path) is None)

    def left_out(self, path: str) -> str | None:
        """Returns a file that a sparse checkout leaves out of the work tree, at a path, where its links lead, or below that; None for none.

        Of data that is not here, that is its pointer or, of an output, the `.gitignore` beside it.
        """
        names = self._left_out
        if not names:
            return None
        ignores = f"{posixpath.dirname(path)}/.gitignore".lstrip("/")
        is_here = any(os.path.lexists(self._root / name) for name in (path, path + SUFFIX))
        beside = () if is_here else (path + SUFFIX, ignores)
        below = at(names, path) or at(names, self.real(path) or path)  # the file itself, or where a link leads
        return next((name for name in (*below, *beside) if self._git.left_out(name)), None)

    def widening(self, path: str) -> str:
        """Returns the command that makes a sparse checkout take in a file which it leaves out."""
        return self._git.widening(path)

    def pointers_left_out(self) -> int:
        """Returns how many pointers a sparse checkout leaves out of the work tree; outputs are not counted."""
        names = self._git.all_left_out()
        return sum(
            is_pointer(name) and not is_lockfile(name) and self._git.left_out(name) is not None for name in names
        )

    def _why_not_real(self, path: str) -> str | None:
        return None if self._is_real_folder(path) else "is behind a symbolic link"

    def _tracked_by_commit(self, commit: str, refuse: Callable[[Unusable], None]) -> Iterator[Tracked]:
        blobs = self._git.pointer_blobs(commit)
        if not blobs and (copy := copy_of(self._git, commit)) is not None:
            blobs = self._git.pointer_blobs(copy)
        wanted = {(blob, name): f"{commit[:8]}:{name}" for name, blob in blobs.items()}
        for _, rows in read_blobs(self._git, wanted, refuse):
            yield from rows


# --- pointers and lockfiles in git's objects ---


def read_blobs(
    git: Git, wanted: Mapping[tuple[str, str], str], refuse: Callable[[Unusable], None]
) -> Iterator[tuple[tuple[str, str], list[Tracked]]]:
    """Yields what each (blob, file name) names; `wanted` says what the file is called in messages. All are read with one run of git.

    Of a lockfile, only what no blob before it named is yielded: give the newest first.
    """
    names: dict[str, list[str]] = {}
    for blob, name in wanted:
        names.setdefault(blob, []).append(name)
    seen: dict[str, set[bytes]] = {}

    def too_large(blob: str, size: int) -> None:
        for name in names[blob]:
            reason = f"it has {size} bytes, such a file at most {limit_of(name)}"
            refuse(Unusable(name, refused(wanted[blob, name], reason)))

    limits = {blob: max(map(limit_of, of_blob)) for blob, of_blob in names.items()}
    for blob, data in git.blobs_within(limits, too_large):
        for name in names[blob]:
            part = tracked_paths.unseen_stages(data, seen.setdefault(name, set())) if is_lockfile(name) else data
            try:
                yield (blob, name), read_as(name, part, wanted[blob, name])
            except FormatError as error:
                refuse(Unusable(name, error))


def read_as(name: str, data: bytes, where: str) -> list[Tracked]:
    """Returns what a pointer or lockfile names, by its name. Raises FormatError."""
    if is_lockfile(name):
        return tracked_paths.read_lockfile(name, data, where)
    return [tracked_paths.read_pointer(name, data, where)]


def limit_of(name: str) -> int:
    """Returns how many bytes a file may have, by the format that its name stands for; what has no format of its own holds values."""
    if is_lockfile(name):
        return lockfile.LIMIT_BYTES
    if is_pointer(name):
        return pointer.LIMIT_BYTES
    return strict_yaml.LIMIT_BYTES if is_pipeline_file(name) else strict_yaml.VALUES_LIMIT_BYTES


def _is_other(path: str, oid: str, versions: Mapping[str, str]) -> bool:
    """Returns whether a stage that read a path in this version read something else than these versions of paths have there."""
    if path in versions:
        return versions[path] != oid
    return any(path == "." or known.startswith(f"{path}/") or path.startswith(f"{known}/") for known in versions)


# --- sorted names ---


def at(names: Sequence[str], path: str) -> Sequence[str]:
    """Returns a file if it is one of sorted names, else those that lie in the folder."""
    place = bisect_left(names, path)
    return names[place : place + 1] if names[place : place + 1] == [path] else below(names, path)


def below(names: Sequence[str], folder: str) -> Sequence[str]:
    """Returns those of sorted names that lie in a folder or deeper."""
    if not folder:
        return names
    return names[bisect_left(names, f"{folder}/") : bisect_left(names, f"{folder}0")]  # '0' follows '/'


def _resolved(path: str, target: Callable[[str], str | None]) -> str | None:
    """Returns the path that links lead to, None for one outside of the repository or in a circle; `target`: of a link, else None."""
    pending, done, links = path.split("/")[::-1], list[str](), 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                return None
            done.pop()
            continue
        leads_to = target("/".join([*done, part]))
        if leads_to is None:
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS or leads_to.startswith("/"):
            return None
        pending += leads_to.split("/")[::-1]
    return "/".join(done)
