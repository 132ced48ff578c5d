"""Copies of commits with some of their files changed, on a branch of their own: the commits themselves, and all other refs, stay as they are.

A copy has the author, the times and the message of its commit, and says in the last line of the message which one that is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite.formats import git_objects
from dvlite.formats.git_objects import FOLDER, ORDINARY
from dvlite.git.program import Git
from dvlite.git.rewrite import GitObjects

BRANCH = "from-dvc"
_REFS = (f"refs/heads/{BRANCH}", f"refs/remotes/*/{BRANCH}")
_COPY_OF = "Copy-of: "
_AUTHOR = re.compile(rb"^author [^<>\n]*<([^<>\n]*)> ([0-9]{1,11}) ", re.MULTILINE)

Changes = Mapping[str, bytes | None]  # of files by path; None: removed


@dataclass(frozen=True, slots=True)
class RawCommit:
    """A commit by its id, and as git has it."""

    id: str
    data: bytes

    @property
    def email(self) -> str:
        match = _AUTHOR.search(self.data)
        return "" if match is None else match[1].decode("utf-8", "replace")

    @property
    def time_ns(self) -> int:
        """When it was written."""
        match = _AUTHOR.search(self.data)
        return 0 if match is None else int(match[2]) * 1_000_000_000


def read_commits(git: Git, names: Sequence[str]) -> Iterator[RawCommit]:
    """Yields commits, in the order given."""
    with git.blob_reader() as reader:
        for name in names:
            yield RawCommit(name, reader.read_object(name)[1])


def write_copies(git: Git, copies: Iterable[tuple[RawCommit, Changes]], folder: Path) -> int:
    """Writes copies, a parent before its children, and a new branch `from-dvc` that reaches all of them; returns their number.

    What has no copy stays a parent itself. With several tips, the branch ends in a merge of these. The branch is there when all is;
    until then, new objects wait in `folder`.
    """
    made: dict[bytes, bytes] = {}
    tips: dict[bytes, bytes] = {}
    with GitObjects(git, folder) as objects:
        for commit, changes in copies:
            tree, parents = git_objects.links(commit.data)
            new_tree = _changed(objects, tree, changes) or objects.add("tree", b"")
            new = git_objects.relinked(commit.data, new_tree, [made.get(parent, parent) for parent in parents])
            new = b"%b\n\n%b%b\n" % (new.rstrip(b"\n"), _COPY_OF.encode(), commit.id.encode())
            name = bytes.fromhex(commit.id)
            made[name] = objects.add("commit", new)
            for parent in parents:
                tips.pop(parent, None)
            tips[name] = new
        if not made:
            return 0
        *_, newest = tips.values()
        end = made[[*tips][-1]]
        if len(tips) > 1:
            joined = git_objects.relinked(newest, git_objects.links(newest)[0], [made[tip] for tip in reversed(tips)])
            head = joined.partition(b"\n\n")[0]
            end = objects.add("commit", b"%b\n\nJoin the copies of all branches\n" % head)
        objects.store()
    git.run("update-ref", "-m", "dvlite: copies of commits", _REFS[0], end.hex(), "0" * len(end.hex()))
    return len(made)


def _changed(objects: GitObjects, tree: bytes, changes: Changes) -> bytes:
    """Returns a folder with changes; b'' if nothing is left in it."""
    data = objects.read(tree)[1] if tree else b""
    items = {item[1]: item for item in git_objects.parse_tree(data, objects.name_bytes)}
    below: dict[bytes, dict[str, bytes | None]] = {}
    for path, content in changes.items():
        first, slash, rest = path.partition("/")
        name = os.fsencode(first)
        if slash:
            below.setdefault(name, {})[rest] = content
        elif content is None:
            items.pop(name, None)
        else:
            items[name] = ORDINARY, name, objects.add("blob", content)
    for name, inner in below.items():
        mode, _, old = items.pop(name, (FOLDER, name, b""))
        new = _changed(objects, old if mode == FOLDER else b"", inner)
        if new:
            items[name] = FOLDER, name, new
    return objects.add("tree", git_objects.dump_tree(items.values())) if items else b""


def branches(git: Git) -> list[str]:
    """Returns the branches that have copies: this clone's, then those that its remotes had."""
    return git.run("for-each-ref", "--format=%(refname)", *_REFS).decode("utf-8", "surrogateescape").splitlines()


def copy_of(git: Git, revision: str) -> str | None:
    """Returns the copy of a commit, in which dvlite tracks what DVC did; None if there is none, or no such commit."""
    refs = branches(git)
    commit = git.run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False).decode() if refs else ""
    if not commit:
        return None
    line = f"{_COPY_OF}{commit.strip()}"
    logged = git.run("log", "--format=%H%n%B%x00", "--fixed-strings", f"--grep={line}", *refs, "--")
    for text in logged.decode(errors="replace").split("\0"):  # a message may quote the line: the copy's ends with it
        name, _, message = text.strip("\n").partition("\n")
        if message.rpartition("\n")[2] == line:
            return name
    return None
