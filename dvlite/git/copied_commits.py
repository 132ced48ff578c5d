"""Copies of commits with some of their files changed, on a branch of their own: the commits themselves, and all other refs, stay as they are.

A copy has the author, the times and the message of its commit, and says in the last line of the message which one that is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dvlite.errors import FormatError
from dvlite.git.program import ALL_REFS, Git

_COPY_OF = "Copy-of: "
_AUTHOR = re.compile(rb"(?:.*)<(.*)> (-?[0-9]+) [-+][0-9]+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CommitText:
    """A commit as git has it; its lines as bytes, for no encoding is certain."""

    id: str
    tree: str
    parents: tuple[str, ...]
    author: bytes
    committer: bytes
    encoding: bytes
    message: bytes

    @property
    def email(self) -> str:
        match = _AUTHOR.fullmatch(self.author)
        return "" if match is None else match[1].decode("utf-8", "replace")

    @property
    def time_ns(self) -> int:
        """When it was written."""
        match = _AUTHOR.fullmatch(self.author)
        return 0 if match is None else max(0, int(match[2])) * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Copy:
    """What the copy of a commit lacks of it, and what it has instead, by path."""

    of: CommitText
    removed: Sequence[str] = ()
    written: Mapping[str, bytes] = field(default_factory=dict)


def commit_texts(git: Git, commits: Sequence[str]) -> Iterator[CommitText]:
    """Yields commits, in the order given. Raises FormatError for one that cannot be read."""
    answers = git.run("cat-file", "--batch", stdin="".join(f"{commit}\n" for commit in commits).encode())
    at = 0
    for commit in commits:
        end = answers.index(b"\n", at)
        size = int(answers[at:end].rpartition(b" ")[2])
        head, _, message = answers[end + 1 : end + 1 + size].partition(b"\n\n")
        at = end + 1 + size + 1
        rows: dict[bytes, list[bytes]] = {}
        for line in head.split(b"\n"):
            key, _, value = line.partition(b" ")  # no key: a signature goes on, which a copy cannot have
            rows.setdefault(key, []).append(value)
        if not rows.keys() >= {b"tree", b"author", b"committer"}:
            raise FormatError(f"the commit {commit} cannot be read", hint="see what git says: git fsck")
        yield CommitText(
            commit,
            rows[b"tree"][0].decode(),
            tuple(parent.decode() for parent in rows.get(b"parent", ())),
            rows[b"author"][0],
            rows[b"committer"][0],
            rows.get(b"encoding", [b""])[0],
            message,
        )


def write_copies(git: Git, copies: Iterable[Copy], branch: str) -> int:
    """Writes copies, a parent before its children, and a new branch that reaches all of them; returns their number. What has no copy stays a parent itself.

    With several tips, the branch ends in a merge of these. The branch is there when all is. Raises DvliteError.
    """
    stream = _Stream(f"refs/heads/{branch}")
    for copy in copies:
        stream.add(copy)
    if stream.marks:
        stream.end()
        git.run("fast-import", "--quiet", "--done", "--date-format=raw-permissive", stdin=b"".join(stream.parts))
    return len(stream.marks)


def copy_of(git: Git, revision: str) -> str | None:
    """Returns the copy of a commit in which dvlite tracks what DVC did (`import-dvc --all-history`); None for a commit of another kind."""
    if not git.run("ls-tree", "--full-tree", revision, "--", ".dvc", check=False):
        return None
    line = f"{_COPY_OF}{git.resolve(revision)}"
    found = git.run("log", "-1", "--format=%H", "--fixed-strings", f"--grep={line}", *ALL_REFS, "--")
    return found.decode().strip() or None


class _Stream:
    """What `git fast-import` reads."""

    def __init__(self, ref: str) -> None:
        self.parts: list[bytes] = [b"feature done\n"]
        self.marks: dict[str, bytes] = {}  # of the copies, by what they are copies of
        self._ref = ref.encode()
        self._blobs: dict[bytes, bytes] = {}
        self._tips: dict[str, CommitText] = {}

    def add(self, copy: Copy) -> None:
        of = copy.of
        rows = [b"D %b\n" % _quoted(path) for path in copy.removed]
        rows += [b"M 100644 %b %b\n" % (self._blob(data), _quoted(path)) for path, data in copy.written.items()]
        trailer = f"\n\n{_COPY_OF}{of.id}\n".encode()
        self.marks[of.id] = self._commit(of, of.message.rstrip(b"\n") + trailer, of.parents)
        self.parts += [b'M 040000 %b ""\n' % of.tree.encode(), *rows]
        for parent in of.parents:
            self._tips.pop(parent, None)
        self._tips[of.id] = of

    def end(self) -> None:
        if len(self._tips) > 1:
            tips = sorted(self._tips.values(), key=lambda tip: tip.time_ns, reverse=True)
            self._commit(tips[0], b"Join the copies of all branches\n", [tip.id for tip in tips])
        self.parts.append(b"done\n")

    def _commit(self, of: CommitText, message: bytes, parents: Sequence[str]) -> bytes:
        """Begins a commit and returns its mark; its files are those of the first parent."""
        mark = b":%d" % (2 * len(self.marks) + 2)
        encoding = b"encoding %b\n" % of.encoding if of.encoding else b""
        self.parts += [
            *([] if parents else [b"reset %b\n" % self._ref]),  # else it would follow the one before
            b"commit %b\nmark %b\nauthor %b\ncommitter %b\n" % (self._ref, mark, of.author, of.committer),
            b"%bdata %d\n%b\n" % (encoding, len(message), message),
        ]
        for position, parent in enumerate(parents):
            word = b"merge" if position else b"from"
            self.parts.append(b"%b %b\n" % (word, self.marks.get(parent, parent.encode())))
        return mark

    def _blob(self, data: bytes) -> bytes:
        """Returns the mark of a blob, which is written once."""
        if data not in self._blobs:
            mark = self._blobs[data] = b":%d" % (2 * len(self._blobs) + 1)
            self.parts.append(b"blob\nmark %b\ndata %d\n%b\n" % (mark, len(data), data))
        return self._blobs[data]


def _quoted(path: str) -> bytes:
    escaped = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"%b"' % escaped
