"""The files of one version of a repository by name: sorted, with what is a link and what a submodule; and where links lead. No content."""

from __future__ import annotations

import posixpath
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from dvlite.git.output import split
from dvlite.git.program import Git

LINK, SUBMODULE = "120000", "160000"  # modes
_MOST_LINKS = 40


class GitFile(NamedTuple):
    """A file as git has it; `blob` is '' for one that is taken from the disk."""

    mode: str
    blob: str


class Files:
    """The files of a version; that of the next commit is made of it by `change`."""

    def __init__(self, found: Mapping[str, GitFile]) -> None:
        self.by_name = dict(found)
        self.names = sorted(found)
        self.links = {path for path, file in found.items() if file.mode == LINK}
        self.submodules: dict[str, None] = {path: None for path, file in found.items() if file.mode == SUBMODULE}

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
    found = {}
    for row in split(git.run("ls-tree", "-r", "-z", "--full-tree", commit)):
        head, _, path = row.partition("\t")
        mode, _, blob = head.split(" ")
        found[path] = GitFile(mode, blob)
    return Files(found)


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


def resolved(path: str, target: Callable[[str], str | None]) -> str | None:
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
