"""What git's history says of runs and versions: the commit that first named each. One walk answers for all that is asked together."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dvlite.errors import FormatError
from dvlite.formats import lockfile, pointer
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git.output import is_lockfile
from dvlite.git.program import Git
from dvlite.oid import Oid
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked

_ASK_AT_ONCE = 500  # paths in one command line
_RUN = re.compile(rb"^    run: (run:[0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageCommit:
    """A commit; without git at hand all but its id is what a push noted of it, else null."""

    commit: str
    subject: str | None = None
    author: str | None = None
    time: str | None = None


@dataclass(frozen=True, slots=True)
class NamedVersion:
    """A version of a tracked path as a pointer file named it, and the commit that was the first to."""

    path: str
    pointer: Pointer
    commit: str


class History:
    """Every version that the pointer files of any commit name, and every run that the lockfiles name, each with its first commit."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._found: dict[tuple[str, str], str] | None = None
        self._runs: dict[Oid, str] | None = None
        self._versions: list[NamedVersion] | None = None
        self._first: dict[tuple[Oid, str | None], NamedVersion] | None = None

    def commit_of_run(self, run: Oid) -> str | None:
        """Returns the first commit whose lockfile names a run."""
        if self._runs is None:
            self._runs = {}
            commits = {blob: commit for (blob, name), commit in self._changes().items() if is_lockfile(name)}
            for blob, data in self._repo.git.blobs_within(dict.fromkeys(commits, lockfile.LIMIT_BYTES)):
                for found in _RUN.findall(data):  # from the newest on: what stays is the first commit
                    self._runs[Oid(found.decode())] = commits[blob]
        return self._runs.get(run)

    def version(self, oid: Oid, path: str | None = None) -> NamedVersion | None:
        """Returns the first version of a pointer file that names this content; with `path`, of the one beside it."""
        if self._first is None:
            self._first = {}
            for named in self.versions():  # from the newest on: what stays is the first
                self._first[named.pointer.oid, None] = self._first[named.pointer.oid, named.path] = named
        return self._first.get((oid, path))

    def versions(self) -> list[NamedVersion]:
        """Returns all content that pointer files ever named, newest first, once for each path."""
        if self._versions is None:
            names: dict[str, list[str]] = {}
            for blob, name in self._changes():
                if not is_lockfile(name):
                    names.setdefault(blob, []).append(name)
            self._versions = []
            for blob, data in self._repo.git.blobs_within(dict.fromkeys(names, pointer.LIMIT_BYTES)):
                try:
                    found = pointer.parse(data, names[blob][0])
                except FormatError:  # whoever checks that commit out is told
                    continue
                for name in names[blob]:
                    commit = self._changes()[blob, name]
                    self._versions.append(NamedVersion(name.removesuffix(SUFFIX), found, commit))
        return self._versions

    def _changes(self) -> dict[tuple[str, str], str]:
        """Returns each version of a pointer file or lockfile (blob and name), newest first, with the first commit that has it."""
        if self._found is None:
            self._found = {}
            revisions = ["--all"] if self._repo.git.head() is None else ["--all", "HEAD"]
            for change in self._repo.git.pointer_changes(*revisions, every=True):
                if change.blob is not None:
                    self._found[change.blob, change.path] = change.commit
        return self._found


def locked_now(repo: Repo) -> set[Oid]:
    """Returns the runs that the lockfiles on disk name."""
    found: set[Oid] = set()
    for name in repo.work_tree.lockfiles():
        data = repo.work_tree.read(name) or b""
        found.update(Oid(run.decode()) for run in _RUN.findall(data))
    return found


def named_on_disk(repo: Repo) -> Iterator[tuple[Oid, Tracked]]:
    """Yields the content that pointers and lockfiles on disk name, and where; outputs that git keeps included."""
    yield from ((item.pointer.oid, item) for item in repo.work_tree.tracked(broken=[]))
    for name in repo.work_tree.lockfiles(as_seen=True):
        data = repo.work_tree.read(name) or b""
        folder = posixpath.dirname(name)
        with contextlib.suppress(FormatError):
            for stage in lockfile.parse(data, name).stages:
                address = f"{folder}:{stage.name}" if folder else stage.name
                for out in stage.outs:
                    if not out.cache:
                        path = posixpath.normpath(posixpath.join(folder, out.path))
                        yield out.oid, Tracked(path, out.pointer(), name, address)


# commits -> subject, author and time, as notes have them
Noted = Callable[[Iterable[str]], Mapping[str, tuple[str, str, str]]]


def described(git: Git | None, commits: Iterable[str], noted: Noted | None = None) -> dict[str, LineageCommit]:
    """Returns commits as people know them: by git here, else by what was noted of them; of the rest, the id is all there is."""
    wanted = list(dict.fromkeys(commits))
    found = {name: LineageCommit(commit=name) for name in wanted}
    for name, one in ({} if git is None else git.read_commits(wanted)).items():
        found[name] = LineageCommit(commit=name, subject=one.subject, author=one.author, time=time_text(one.time))
    rest = [name for name in wanted if found[name].subject is None]
    for name, (subject, author, time) in ({} if noted is None or not rest else noted(rest)).items():
        found[name] = LineageCommit(commit=name, subject=subject, author=author or None, time=time or None)
    return found


def time_text(seconds: int) -> str:
    """Returns a time as results hold it: `2026-11-22T14:02:00Z`."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_git(git: Git, commit: str, paths: Sequence[str]) -> set[str]:
    """Returns those of `paths` that a commit has; none if the commit is not here."""
    if not paths or not git.read_commits([commit]):
        return set()
    found: set[str] = set()
    for at in range(0, len(paths), _ASK_AT_ONCE):
        asked = paths[at : at + _ASK_AT_ONCE]
        listed = git.run("ls-tree", "-z", "--name-only", "--full-tree", commit, "--", *asked)
        found.update(os.fsdecode(name) for name in listed.split(b"\0") if name)
    return found & set(paths)
