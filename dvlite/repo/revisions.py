"""What a repository tracks: on disk, at a revision, in history, in everything that its refs reach.

Reads pointer files and lockfiles through git and from the work tree; what they mean is decided in `naming`. Holds no store and no data.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import DvliteError, FormatError
from dvlite.files import refused
from dvlite.formats import lockfile, pointer
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git import blobs as git_blobs
from dvlite.git.output import Change, is_lockfile, is_pipeline_file
from dvlite.git.program import Git
from dvlite.progress import NullProgress, Progress
from dvlite.repo import config_files, tracked_paths
from dvlite.repo.tracked_paths import Tracked, TrackedVersion, Unusable

LOCKFILE_VERSIONS = 20  # of one lockfile, that are looked at for earlier versions of its outputs
_COMMITS = 16  # whose tracked paths are remembered
_MANY_VERSIONS = 500  # of all lockfiles, that are looked at for whether any commit names an output


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


class Tracking:
    """Looks at what one work tree and its git repository track."""

    def __init__(self, git: Git, root: Path, display: Callable[[str], str]) -> None:
        self._git, self._root, self._display = git, root, display
        self._commits: dict[str, list[Tracked]] = {}  # what some commits track: they never change
        self._seen: list[str] | None = None  # pointers, lockfiles and pipeline files, as the work tree last showed them

    # -- the work tree

    def files(self, *, as_seen: bool = False) -> list[str]:
        """Returns the pointer files, lockfiles and pipeline files of the work tree; with `as_seen`, without another run of git."""
        if self._seen is None or not as_seen:
            self._seen = self._git.tracking_files()
        return self._seen

    def tracked(self, broken: list[DvliteError] | None) -> list[Tracked]:
        """Returns the tracked paths of the work tree, outputs included, sorted.

        Raises Unusable for a pointer or lockfile that cannot be used; with a list, those go there and the rest is returned.
        """
        found: list[Tracked] = []
        real_folders: dict[str, bool] = {}

        def refuse(error: Unusable) -> None:
            if broken is None:
                raise error
            broken.append(error)

        def is_real(name: str) -> bool:
            folder = os.path.dirname(self._root / name)
            if folder not in real_folders:
                real_folders[folder] = os.path.realpath(folder) == folder
            return real_folders[folder]

        for name in self.files():
            if is_pipeline_file(name) or not is_real(name):
                continue  # git's index has it, the work tree has a link there: to git, it is deleted
            try:
                found += self._named_by(name, is_real)
            except DvliteError as error:
                refuse(Unusable(name, error))
        return tracked_paths.without_overlap(found, refuse)

    def _named_by(self, name: str, is_real: Callable[[str], bool]) -> list[Tracked]:
        where = self._display(name)
        data = config_files.read_regular(self._root / name, where, _limit(name) + 1)
        if data is None:
            return []
        if not is_lockfile(name):
            return [tracked_paths.read_pointer(name, data, where)]
        found = tracked_paths.read_lockfile(name, data, where)
        if not all(is_real(item.path) for item in found):
            behind = "is behind a symbolic link"
            tracked_paths.refuse_outputs(name, data, where, lambda path: None if is_real(path) else behind)
        return found

    # -- revisions

    def tracked_at(self, commit: str) -> list[Tracked]:
        """Returns the tracked paths of a commit, outputs included, sorted."""
        if commit not in self._commits:
            blobs = self._git.pointer_blobs(commit)
            shown = {(blob, name): f"{commit[:8]}:{name}" for name, blob in blobs.items()}
            found = [item for _, items in self._read(shown, _raise) for item in items]
            if len(self._commits) >= _COMMITS:
                self._commits.clear()
            self._commits[commit] = tracked_paths.without_overlap(found, _raise)
        return list(self._commits[commit])

    def lockfiles_at(self, commit: str) -> dict[str, bytes]:
        """Returns the lockfiles of a commit and their content."""
        blobs = {name: blob for name, blob in self._git.pointer_blobs(commit).items() if is_lockfile(name)}
        contents = self._git.read_blobs(blobs.values(), limit_bytes=lockfile.LIMIT_BYTES)
        return {name: contents[blob] for name, blob in blobs.items()}

    def histories(self, paths: Iterable[str], limit: int, lockfiles: Mapping[str, str]) -> dict[str, list[Pointer]]:
        """Returns the committed versions of many tracked paths, newest first, with one walk through git's history; renames are followed.

        `lockfiles` says which lockfile names an output, with "" for a path with a pointer of its own; a path that it does not have, and that
        never had a pointer, is looked for in all lockfiles. What cannot be read is passed over.
        """
        wanted = list(dict.fromkeys(paths))
        if not wanted or (head := self._git.head()) is None:
            return {path: [] for path in wanted}
        walk = _RenameWalk(wanted, limit, lockfiles)
        for change in self._git.pointer_changes(head):
            if walk.take(change):
                break
        pointers = walk.pointers
        without = [path for path in wanted if not pointers.get(path)]
        pairs = [(blob, path + SUFFIX) for path, blobs in pointers.items() for blob in blobs]
        pairs += walk.lockfiles_of(without)
        known = dict(self._read({pair: pair[1] for pair in pairs}, _pass_over))
        found = {
            path: [item.pointer for blob in pointers.get(path, ()) for item in known.get((blob, path + SUFFIX), ())]
            for path in wanted
        }
        looked_for = set(without)
        for pair in pairs:
            for item in known.get(pair, ()) if is_lockfile(pair[1]) else ():
                if item.path in looked_for and len(found[item.path]) < limit:
                    versions = found[item.path]
                    if not any(item.pointer.same_version(other) for other in versions):
                        versions.append(item.pointer)
        return found

    def is_committed(self, path: str) -> bool:
        """Says whether any commit of any ref has a pointer of this path, or a lockfile that names it (of the newest 500 of them)."""
        if self._git.is_in_history(path + SUFFIX):
            return True
        changes = self._git.lockfile_changes("--all")
        found = ((change.blob, change.path) for change in changes if change.blob is not None)
        newest = dict.fromkeys(itertools.islice(found, _MANY_VERSIONS), path)
        return any(item.path == path for _, items in self._read(newest, _pass_over) for item in items)

    def reachable(self, scope: Scope, progress: Progress | None) -> list[TrackedVersion]:
        """Returns each version that the revisions name, once, with a path and a commit of it; those of HEAD if the scope names none.

        What cannot be read stops a single revision; in many, it names no data that could be had, and is warned of.
        """
        if scope.revision is not None:
            commit = self._git.resolve(scope.revision)
            return _unique(tracked_paths.version_of(item, commit) for item in self.tracked_at(commit))
        warn = (progress or NullProgress()).warn
        commits: dict[tuple[str, str], str] = {}
        for commit, name, blob in self._pointers_of_all() if scope.all_commits else self._pointers_of_refs(scope):
            commits.setdefault((blob, name), commit)
        shown = {pair: f"{commit[:8]}:{pair[1]}" for pair, commit in commits.items()}
        read = self._read(shown, lambda error: warn(error.message))
        return _unique(tracked_paths.version_of(item, commits[pair]) for pair, items in read for item in items)

    def introduced(self, revisions: Iterable[str], progress: Progress) -> list[TrackedVersion]:
        """Returns each version that commits name and none of their parents does, once, newest first.

        `revisions` are as `git rev-list` takes them. What cannot be read names no data that could be had, and is warned of.
        """
        new: dict[tuple[str, str], str] = {}
        before: dict[tuple[str, str], str] = {}
        for change in self._git.named_by(*revisions):
            if change.blob is not None:
                new.setdefault((change.blob, change.path), change.commit)
            if is_lockfile(change.path):
                before |= {(blob, change.path): f"{change.path} before {change.commit[:8]}" for blob in change.before}
        shown = {pair: where for pair, where in before.items() if pair not in new}  # first: what they name is not new
        shown |= {pair: f"{commit[:8]}:{pair[1]}" for pair, commit in new.items()}
        read = self._read(shown, lambda error: progress.warn(error.message))
        return _unique(
            tracked_paths.version_of(item, new[pair]) for pair, items in read if pair in new for item in items
        )

    def _pointers_of_all(self) -> Iterator[tuple[str, str, str]]:
        """Yields (commit, file, blob) for every version in every commit of every ref and HEAD."""
        revisions = ["--all"] if self._git.head() is None else ["--all", "HEAD"]
        changes = self._git.pointer_changes(*revisions, every=True)
        return ((change.commit, change.path, change.blob) for change in changes if change.blob is not None)

    def _pointers_of_refs(self, scope: Scope) -> Iterator[tuple[str, str, str]]:
        commits = dict.fromkeys(self._git.commits_of("refs/heads") if scope.all_branches else ())
        commits |= dict.fromkeys(self._git.commits_of("refs/tags") if scope.all_tags else ())
        if not scope.all_branches and not scope.all_tags and (head := self._git.head()) is not None:
            commits[head] = None
        return ((commit, name, blob) for commit in commits for name, blob in self._git.pointer_blobs(commit).items())

    def _read(
        self, wanted: Mapping[tuple[str, str], str], refuse: Callable[[Unusable], None]
    ) -> Iterator[tuple[tuple[str, str], list[Tracked]]]:
        """Yields what each blob names, read as a file of a name; given with where it stands. All are read with one run of git.

        Of a lockfile, only what no blob before it named is yielded: give the newest first.
        """
        names: dict[str, list[str]] = {}
        for blob, name in wanted:
            names.setdefault(blob, []).append(name)
        seen: dict[str, set[bytes]] = {}

        def too_large(blob: str, size: int) -> None:
            for name in names[blob]:
                reason = f"it has {size} bytes, such a file at most {_limit(name)}"
                refuse(Unusable(name, refused(wanted[blob, name], reason)))

        limits = {blob: max(map(_limit, found)) for blob, found in names.items()}
        for blob, data in git_blobs.each_within(self._git, limits, too_large):
            for name in names[blob]:
                part = tracked_paths.unseen_stages(data, seen.setdefault(name, set())) if is_lockfile(name) else data
                try:
                    yield (blob, name), _read_as(name, part, wanted[blob, name])
                except FormatError as error:
                    refuse(Unusable(name, error))


class _RenameWalk:
    """Collects, from the newest change to older ones, the blobs that may hold versions of the paths wanted."""

    def __init__(self, paths: list[str], limit: int, lockfiles: Mapping[str, str]) -> None:
        self._limit, self._given = limit, lockfiles
        self.pointers: dict[str, list[str]] = {path: [] for path in paths if not lockfiles.get(path)}
        self._names = {
            path + SUFFIX: path for path in self.pointers
        }  # what each was called at the commit being looked at
        self._known = {lockfiles[path] for path in paths if lockfiles.get(path)}
        self._lockfiles: dict[str, list[str]] = {name: [] for name in self._known}
        self._called = {
            name: name for name in self._known
        }  # likewise; a lockfile that nobody asked for comes in when it is seen

    def take(self, change: Change) -> bool:
        """Takes in one change; returns whether enough was seen."""
        if is_lockfile(change.path):
            self._take_lockfile(change)
        else:
            self._follow(change, self._names, self.pointers, self._limit)
        return not self._names and all(len(self._lockfiles[name]) >= LOCKFILE_VERSIONS for name in self._known)

    def _take_lockfile(self, change: Change) -> None:
        if change.path not in self._called and change.path not in self._lockfiles:
            self._lockfiles[change.path] = []
            self._called[change.path] = change.path
        self._follow(change, self._called, self._lockfiles, LOCKFILE_VERSIONS)

    @staticmethod
    def _follow(change: Change, names: dict[str, str], found: dict[str, list[str]], limit: int) -> None:
        key = names.get(change.path)
        if key is None:
            return
        blobs = found[key]
        if change.blob is not None and change.blob not in blobs:
            blobs.append(change.blob)
        if change.old_path is not None or len(blobs) >= limit:
            del names[change.path]
        if change.old_path is not None and len(blobs) < limit:
            names[change.old_path] = key

    def lockfiles_of(self, paths: list[str]) -> list[tuple[str, str]]:
        """Returns `(blob, lockfile)` of the versions to look at for these paths: of the lockfiles that are known for them, else of all."""
        if not paths:
            return []
        every = any(path not in self._given for path in paths)
        return [
            (blob, name) for name, blobs in self._lockfiles.items() if every or name in self._known for blob in blobs
        ]


def _read_as(name: str, data: bytes, where: str) -> list[Tracked]:
    if is_lockfile(name):
        return tracked_paths.read_lockfile(name, data, where)
    return [tracked_paths.read_pointer(name, data, where)]


def _limit(name: str) -> int:
    return lockfile.LIMIT_BYTES if is_lockfile(name) else pointer.LIMIT_BYTES


def _raise(error: Unusable) -> None:
    raise error


def _pass_over(_error: Unusable) -> None:
    return


def _unique(versions: Iterable[TrackedVersion]) -> list[TrackedVersion]:
    found: dict[tuple[str, bytes, bool], TrackedVersion] = {}
    for version in versions:
        key = (version.pointer.kind, version.pointer.digest, version.pointer.executable)
        if key not in found or (
            version.push and not found[key].push
        ):  # kept out of one place, it may still be wanted in another
            found[key] = version
    return list(found.values())
