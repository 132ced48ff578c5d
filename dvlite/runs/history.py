"""Git's history of runs and versions: the first commit that names each. The history is read once for all questions."""

from __future__ import annotations

import contextlib
import datetime as dt
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dvlite.errors import FormatError
from dvlite.formats import lockfile, pointer
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git.output import is_lockfile
from dvlite.git.program import ALL_REFS, Git
from dvlite.oid import Oid
from dvlite.repo.repository import Repo
from dvlite.repo.stage_names import address
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.queries import RunQueries

_PATHS_AT_ONCE = 500  # in one command line


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageCommit:
    """A commit; without a clone all but its id come from a push's notes, else they are null."""

    commit: str
    subject: str | None = None
    author: str | None = None
    time: str | None = None


@dataclass(frozen=True, slots=True)
class NamedVersion:
    """A version of a tracked path in a pointer file, and the first commit that has it."""

    path: str
    pointer: Pointer
    commit: str


class History:
    """All versions in the pointer files of any commit, and all runs in the lockfiles, each with its first commit."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._changed: dict[tuple[str, str], str] | None = None
        self._runs: dict[Oid, str] | None = None
        self._versions: list[NamedVersion] | None = None
        self._first: dict[tuple[Oid, str | None], NamedVersion] | None = None

    def commit_of_run(self, oid: Oid) -> str | None:
        """Returns the first commit whose lockfile names a run."""
        if self._runs is None:
            self._runs = {}
            commits = {blob: commit for (blob, name), commit in self._changes().items() if is_lockfile(name)}
            for blob, data in self._repo.git.blobs_within(dict.fromkeys(commits, lockfile.LIMIT_BYTES)):
                for run in lockfile.run_ids(data):  # newest first: the first commit is written last
                    self._runs[run] = commits[blob]
        return self._runs.get(oid)

    def version(self, oid: Oid, path: str | None = None) -> NamedVersion | None:
        """Returns the first version of a pointer file that names this content; with `path`, of that path's pointer."""
        if self._first is None:
            self._first = {}
            for version in self.versions():  # newest first: the first one is written last
                self._first[version.pointer.oid, None] = self._first[version.pointer.oid, version.path] = version
        return self._first.get((oid, path))

    def versions(self) -> list[NamedVersion]:
        """Returns all content in the pointer files of any commit, newest first, once for each path."""
        if self._versions is None:
            names: dict[str, list[str]] = {}
            for blob, name in self._changes():
                if not is_lockfile(name):
                    names.setdefault(blob, []).append(name)
            self._versions = []
            for blob, data in self._repo.git.blobs_within(dict.fromkeys(names, pointer.LIMIT_BYTES)):
                try:
                    parsed = pointer.parse(data, names[blob][0])
                except FormatError:  # reported when that commit is checked out
                    continue
                for name in names[blob]:
                    commit = self._changes()[blob, name]
                    self._versions.append(NamedVersion(name.removesuffix(SUFFIX), parsed, commit))
        return self._versions

    def _changes(self) -> dict[tuple[str, str], str]:
        """Returns the first commit of each version (blob and name) of pointer files and lockfiles, newest first."""
        if self._changed is None:
            self._changed = {}
            revisions = ALL_REFS if self._repo.git.head() is None else (*ALL_REFS, "HEAD")
            for change in self._repo.git.pointer_changes(*revisions, every=True):
                if change.blob is not None:
                    self._changed[change.blob, change.path] = change.commit
        return self._changed


def locked_now(repo: Repo) -> set[Oid]:
    """Returns the runs that the lockfiles on disk name."""
    runs: set[Oid] = set()
    for name in repo.work_tree.lockfiles():
        runs.update(lockfile.run_ids(repo.work_tree.read(name) or b""))
    return runs


def named_on_disk(repo: Repo) -> Iterator[tuple[Oid, Tracked]]:
    """Yields the content that pointers and lockfiles on disk name, and its path; outputs in git included."""
    yield from ((item.pointer.oid, item) for item in repo.work_tree.tracked(broken=[]))
    for name in repo.work_tree.lockfiles(as_seen=True):
        data = repo.work_tree.read(name) or b""
        folder = posixpath.dirname(name)
        with contextlib.suppress(FormatError):
            for stage in lockfile.parse(data, name).stages:
                for out in stage.outs:
                    if not out.cache:
                        path = posixpath.normpath(posixpath.join(folder, out.path))
                        yield out.oid, Tracked(path, out.pointer(), name, address(name, stage.name))


def describe_commits(
    git: Git | None, commits: Iterable[str], queries: RunQueries | None = None
) -> dict[str, LineageCommit]:
    """Returns commits with subject, author and time, from git, else from notes (`queries`); for the rest, only the id is known."""
    described = {name: LineageCommit(commit=name) for name in commits}
    for name, commit in ({} if git is None else git.read_commits([*described])).items():
        described[name] = LineageCommit(
            commit=name, subject=commit.subject, author=commit.author, time=time_text(commit.time)
        )
    rest = [name for name, commit in described.items() if commit.subject is None]
    for name, (subject, author, time) in ({} if queries is None else queries.noted_commits(rest)).items():
        described[name] = LineageCommit(commit=name, subject=subject, author=author or None, time=time or None)
    return described


def time_text(seconds: int) -> str:
    """Returns a time as results hold it: `2026-11-22T14:02:00Z`; nothing for one that no calendar has."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def in_git(git: Git, commit: str, paths: Sequence[str]) -> set[str]:
    """Returns those of `paths` that a commit has; none if the commit is missing."""
    paths = [path for path in paths if path]  # content that no pointer and no output names has none
    if not paths or not git.read_commits([commit]):
        return set()
    present: set[str] = set()
    for at in range(0, len(paths), _PATHS_AT_ONCE):
        part = paths[at : at + _PATHS_AT_ONCE]
        present.update(entry.path for entry in git.list_tree(commit, *part, recurse=False))
    return present & set(paths)
