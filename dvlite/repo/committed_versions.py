"""The committed versions of tracked paths: those of one path, renames followed, and all that branches, tags or commits reach.

Reads pointer files and lockfiles through git; nothing in the work tree is looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git.output import Change, is_lockfile
from dvlite.git.program import ALL_REFS, Git
from dvlite.progress import NullProgress, Progress
from dvlite.repo.revisions import Revision, Scope, read_blobs
from dvlite.repo.tracked_paths import Tracked, Unusable

LOCKFILE_VERSIONS = 20  # of one lockfile, that are looked at for earlier versions of its outputs
_MANY_VERSIONS = 500  # of all lockfiles, that are looked at for whether any commit names an output


def history(git: Git, path: str, limit: int) -> list[Pointer]:
    """Returns the committed versions of a tracked path, newest first, at most `limit`; renames are followed."""
    return histories(git, [path], limit)[path]


def histories(
    git: Git, paths: Iterable[str], limit: int, *, lockfiles: Mapping[str, str] | None = None
) -> dict[str, list[Pointer]]:
    """Returns the committed versions of many tracked paths, newest first, with one walk through git's history; renames are followed.

    `lockfiles` says which lockfile names an output, with "" for a path with a pointer of its own; a path that it does not have, and that
    never had a pointer, is looked for in all lockfiles. What cannot be read is passed over.
    """
    wanted = list(dict.fromkeys(paths))
    if not wanted or (head := git.head()) is None:
        return {path: [] for path in wanted}
    walk = _RenameWalk(wanted, limit, lockfiles or {})
    for change in git.pointer_changes(head):
        if walk.take(change):
            break
    pointers = walk.pointers
    without = [path for path in wanted if not pointers.get(path)]
    pairs = [(blob, path + SUFFIX) for path, blobs in pointers.items() for blob in blobs]
    pairs += walk.lockfiles_of(without)
    known = dict(read_blobs(git, {pair: pair[1] for pair in pairs}, _pass_over))
    versions = {
        path: [item.pointer for blob in pointers.get(path, ()) for item in known.get((blob, path + SUFFIX), ())]
        for path in wanted
    }
    looked_for = set(without)
    for pair in pairs:
        for item in known.get(pair, ()) if is_lockfile(pair[1]) else ():
            if item.path in looked_for and len(versions[item.path]) < limit:
                of_path = versions[item.path]
                if not any(item.pointer.same_version(other) for other in of_path):
                    of_path.append(item.pointer)
    return versions


def is_committed(git: Git, path: str) -> bool:
    """Returns whether any commit of any ref has a pointer of this path, or a lockfile that names it (of the newest 500 of them)."""
    if git.is_in_history(path + SUFFIX):
        return True
    blobs = ((change.blob, change.path) for change in git.lockfile_changes(*ALL_REFS) if change.blob is not None)
    newest = dict.fromkeys(itertools.islice(blobs, _MANY_VERSIONS), path)
    return any(item.path == path for _, items in read_blobs(git, newest, _pass_over) for item in items)


def reachable(git: Git, scope: Scope, *, progress: Progress | None = None) -> list[Tracked]:
    """Returns each version that the revisions name, once, with a path and a commit of it; those of HEAD if the scope names none.

    A pointer that cannot be read stops a single revision; in many, it names no data that could be fetched, and is warned of.
    """
    if scope.revision is not None:
        commit = git.resolve(scope.revision)
        tracked = Revision(git, scope.revision, str, commit=commit).tracked()
        return _unique(replace(item, commit=commit) for item in tracked)
    warn = (progress or NullProgress()).warn
    commits: dict[tuple[str, str], str] = {}
    for commit, name, blob in _pointers_of_all(git) if scope.all_commits else _pointers_of_refs(git, scope):
        commits.setdefault((blob, name), commit)
    shown = {pair: f"{commit[:8]}:{pair[1]}" for pair, commit in commits.items()}
    read = read_blobs(git, shown, lambda error: warn(error.message))
    return _unique(replace(item, commit=commits[pair]) for pair, items in read for item in items)


def introduced(git: Git, revisions: Iterable[str], *, progress: Progress) -> list[Tracked]:
    """Returns each version that commits name and none of their parents does, once, newest first.

    `revisions` are as `git rev-list` takes them. What cannot be read names no data that could be fetched, and is warned of.
    """
    new: dict[tuple[str, str], str] = {}
    before: dict[tuple[str, str], str] = {}
    for change in git.named_by(*revisions):
        if change.blob is not None:
            new.setdefault((change.blob, change.path), change.commit)
        if is_lockfile(change.path):
            before |= {(blob, change.path): f"{change.path} before {change.commit[:8]}" for blob in change.before}
    shown = {pair: where for pair, where in before.items() if pair not in new}  # first: what they name is not new
    shown |= {pair: f"{commit[:8]}:{pair[1]}" for pair, commit in new.items()}
    read = read_blobs(git, shown, lambda error: progress.warn(error.message))
    return _unique(replace(item, commit=new[pair]) for pair, items in read if pair in new for item in items)


def followed(called: dict[str, str], change: Change) -> str | None:
    """Returns the path whose file a change is about, None for another file; `called` is what the files of paths are called at that commit.

    From the newest change on: where the file was renamed, it has its older name in `called` from then on.
    """
    path = called.get(change.path)
    if path is not None and change.old_path is not None:
        del called[change.path]
        called[change.old_path] = path
    return path


def _pointers_of_all(git: Git) -> Iterator[tuple[str, str, str]]:
    """Yields (commit, file, blob) for every version in every commit of every ref, HEAD and reflog: stashes and commits that were amended too."""
    revisions = [*ALL_REFS, "--reflog", *(["HEAD"] if git.head() is not None else [])]
    changes = git.pointer_changes(*revisions, every=True)
    return ((change.commit, change.path, change.blob) for change in changes if change.blob is not None)


def _pointers_of_refs(git: Git, scope: Scope) -> Iterator[tuple[str, str, str]]:
    commits = dict.fromkeys(git.commits_of("refs/heads") if scope.all_branches else ())
    commits |= dict.fromkeys(git.commits_of("refs/tags") if scope.all_tags else ())
    if not scope.all_branches and not scope.all_tags and (head := git.head()) is not None:
        commits[head] = None
    return ((commit, name, blob) for commit in commits for name, blob in git.pointer_blobs(commit).items())


class _RenameWalk:
    """Collects, from the newest change to older ones, the blobs that may hold versions of the paths wanted."""

    def __init__(self, paths: list[str], limit: int, lockfiles: Mapping[str, str]) -> None:
        self._limit, self._given = limit, lockfiles
        self.pointers: dict[str, list[str]] = {path: [] for path in paths if not lockfiles.get(path)}
        self._pointers_called = {path + SUFFIX: path for path in self.pointers}
        self._known = {lockfiles[path] for path in paths if lockfiles.get(path)}
        self._lockfiles: dict[str, list[str]] = {name: [] for name in self._known}
        self._lockfiles_called = {name: name for name in self._known}  # one that no path has comes in when it is seen

    def take(self, change: Change) -> bool:
        """Takes in one change; returns whether enough was seen."""
        if is_lockfile(change.path):
            if change.path not in self._lockfiles_called and change.path not in self._lockfiles:
                self._lockfiles[change.path] = []
                self._lockfiles_called[change.path] = change.path
            self._take(change, self._lockfiles_called, self._lockfiles, LOCKFILE_VERSIONS)
        else:
            self._take(change, self._pointers_called, self.pointers, self._limit)
        return not self._pointers_called and all(
            len(self._lockfiles[name]) >= LOCKFILE_VERSIONS for name in self._known
        )

    @staticmethod
    def _take(change: Change, called: dict[str, str], blobs: dict[str, list[str]], limit: int) -> None:
        key = followed(called, change)
        if key is None:
            return
        if change.blob is not None and change.blob not in blobs[key]:
            blobs[key].append(change.blob)
        if len(blobs[key]) >= limit:
            called.pop(change.old_path or change.path)

    def lockfiles_of(self, paths: list[str]) -> list[tuple[str, str]]:
        """Returns `(blob, lockfile)` of the versions to look at for these paths: of the lockfiles that are known for them, else of all."""
        if not paths:
            return []
        every = any(path not in self._given for path in paths)
        return [
            (blob, name) for name, blobs in self._lockfiles.items() if every or name in self._known for blob in blobs
        ]


def _pass_over(_error: Unusable) -> None:
    return


def _unique(versions: Iterable[Tracked]) -> list[Tracked]:
    unique: dict[tuple[str, bytes, bool], Tracked] = {}
    for version in versions:
        key = (version.pointer.kind, version.pointer.digest, version.pointer.executable)
        if key not in unique or (
            version.push and not unique[key].push
        ):  # kept out of one place, it may be wanted in another
            unique[key] = version
    return list(unique.values())
