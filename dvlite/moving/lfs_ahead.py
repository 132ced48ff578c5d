"""Objects of Git LFS by git's history: what is pushed together with one, and what its file was before and after. Asks git, and nothing else."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator

from dvlite.errors import DvliteError
from dvlite.formats import lfs_transfer
from dvlite.formats.lfs_transfer import LfsPointer
from dvlite.git.program import ALL_REFS, Git

_CHANGES = 4  # of a pointer, among which the earlier content of a file is looked for
_LOOKS = 16  # at history for one push
_BLOBS = 1000  # read at a time
_MANY_REFS = 100
_BROUGHT = ("--no-renames", "-c")  # in arguments of git log: of a merge, what neither side had


class PushedTogether:
    """What git-lfs is going to ask for in the push in which it asked for one object: it names one at a time, and waits for the answer.

    Who pushes a commit pushes what it and those before it name. A commit is taken to be pushed up to where all branches and tags that have
    it agree: people push these, not commits in the middle of one.
    """

    def __init__(self, git: Git, remote: str) -> None:
        """`remote` is git's remote to which git-lfs pushes, by its name or URL."""
        self._git, self._there = git, f"--remotes={remote}"
        self._seen: set[str] = set()
        self._waiting: deque[LfsPointer] = deque()
        self._history: Iterator[str] = iter(())  # blobs, the oldest first as git-lfs asks for them
        self._looks = 0

    def others(self, asked: LfsPointer) -> Iterator[LfsPointer]:
        """Yields objects that are pushed with this one, each once for all calls: the caller stops when it has enough, and asks for the rest later."""
        with contextlib.suppress(DvliteError):  # in a clone that lacks a part of the history
            if asked.sha256 not in self._seen and self._looks < _LOOKS:
                self._looks += 1
                self._history = self._blobs(_blob(self._git, asked))
            self._seen.add(asked.sha256)
            while self._waiting or self._read_on():
                yield self._waiting.popleft()

    def _read_on(self) -> bool:
        """Reads more of the history; returns whether an object was in it."""
        while blobs := list(itertools.islice(self._history, _BLOBS)):
            for _, data in self._git.blobs_within(dict.fromkeys(blobs, lfs_transfer.POINTER_BYTES)):
                pointer = lfs_transfer.parse_pointer(data)
                if pointer is not None and pointer.sha256 not in self._seen:
                    self._seen.add(pointer.sha256)
                    self._waiting.append(pointer)
            if self._waiting:
                return True
        return False

    def _blobs(self, blob: str) -> Iterator[str]:
        """Returns the blobs that were brought with a pointer, but for those that git's remote has."""
        commits = self._bringing(blob, *ALL_REFS, "--not", self._there)
        if len(commits) == 1:
            return self._brought(*commits, self._agreed(*commits), "--not", self._there)
        if not commits and self._bringing(blob, self._there):  # `git lfs push --all` asks for what is there, too
            return self._brought(self._there)
        return iter(())  # of several commits, which one is pushed is not known

    def _bringing(self, blob: str, *revisions: str) -> set[str]:
        """Returns the commits that brought a blob."""
        changes = self._git.each_change([*_BROUGHT, f"--find-object={blob}", *revisions])
        return {change.commit for change in changes if change.blob == blob}

    def _brought(self, *revisions: str) -> Iterator[str]:
        changes = self._git.each_change([*_BROUGHT, "--reverse", *revisions])
        return (change.blob for change in changes if change.blob is not None)

    def _agreed(self, commit: str) -> str:
        """Returns the last commit that all branches and tags have which have this one."""
        lines = self._git.run(
            "for-each-ref", f"--contains={commit}", "--format=%(objectname)", "refs/heads", "refs/tags"
        )
        tips = lines.decode().split()
        if not tips or len(tips) > _MANY_REFS:
            return commit
        return self._git.run("merge-base", "--octopus", *tips, check=False).decode().strip() or commit


def beside(git: Git, pointer: LfsPointer) -> list[str]:
    """Returns the objects of Git LFS that git's history has before and after this one in the same file, the nearest first."""
    blob = _blob(git, pointer)
    changes = git.run(
        "log", "--all", "--raw", "--no-abbrev", "--no-renames", "--format=", f"-{_CHANGES}", f"--find-object={blob}"
    )
    words = [line.split()[2:4] for line in changes.decode(errors="replace").splitlines() if line.startswith(":")]
    others = dict.fromkeys(other for pair in words for other in pair if other != blob and other.strip("0"))
    contents = dict(git.blobs_within(dict.fromkeys(others, lfs_transfer.POINTER_BYTES)))
    names = (lfs_transfer.pointed_at(contents[other]) for other in others if other in contents)
    return [name for name in dict.fromkeys(names) if name is not None]


def _blob(git: Git, pointer: LfsPointer) -> str:
    """Returns the name of the blob that a pointer is in git."""
    data = lfs_transfer.pointer(pointer.sha256, pointer.size_bytes)
    return git.run("hash-object", "--stdin", "--no-filters", stdin=data).decode().strip()
