"""Copies of commits with some of their files changed, on a branch of their own: the commits themselves, and all other refs, stay as they are.

A copy has the author, the times and the message of its commit, and says in the last line of the message which one that is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dvlite.errors import FormatError
from dvlite.git.program import Git

BRANCH = "from-dvc"
_REFS = (f"refs/heads/{BRANCH}", f"refs/remotes/*/{BRANCH}")
_COPY_OF = "Copy-of: "
_IDENT = re.compile(rb"(?:[^<>]* )?<([^<>]*)> ([0-9]+) [-+][0-9]+")
_NO_IDENT = (
    b"unknown <> 0 +0000"  # in place of one that is malformed, as old tools wrote them: git would not write it again
)


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
        match = _IDENT.fullmatch(self.author)
        return "" if match is None else match[1].decode("utf-8", "replace")

    @property
    def time_ns(self) -> int:
        """When it was written."""
        match = _IDENT.fullmatch(self.author)
        return 0 if match is None else int(match[2][:11]) * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Copy:
    """What the copy of a commit lacks of it, and what it has instead, by path."""

    of: CommitText
    removed: Sequence[str] = ()
    written: Mapping[str, bytes] = field(default_factory=dict)


def commit_texts(git: Git, commits: Sequence[str]) -> Iterator[CommitText]:
    """Yields commits, in the order given. Raises FormatError for one that cannot be read."""
    with git.blob_reader() as reader:
        for commit in commits:
            head, _, message = reader.read_object(commit)[1].partition(b"\n\n")
            rows: dict[bytes, list[bytes]] = {}
            for line in head.split(b"\n"):
                key, _, value = line.partition(b" ")  # no key: a signature goes on, which a copy cannot have
                rows.setdefault(key, []).append(value)
            if not rows.keys() >= {b"tree", b"author", b"committer"}:
                raise FormatError(f"the commit {commit} cannot be read", hint="see what git says: git fsck")
            by = [rows[key][0] if _IDENT.fullmatch(rows[key][0]) else _NO_IDENT for key in (b"author", b"committer")]
            parents = tuple(parent.decode() for parent in rows.get(b"parent", ()))
            encoding = rows.get(b"encoding", [b""])[0]
            yield CommitText(commit, rows[b"tree"][0].decode(), parents, by[0], by[1], encoding, message)


def write_copies(git: Git, copies: Iterable[Copy]) -> int:
    """Writes copies, a parent before its children, and a new branch `from-dvc` that reaches all of them; returns their number. What has no copy stays a parent itself.

    With several tips, the branch ends in a merge of these. The branch is there when all is. Raises DvliteError.
    """
    stream = _Stream()
    for copy in copies:
        stream.add(copy)
    if stream.marks:
        stream.end()
        git.run("fast-import", "--quiet", "--done", "--date-format=raw-permissive", stdin=b"".join(stream.parts))
    return len(stream.marks)


def copies(git: Git) -> list[str]:
    """Returns the branches that have copies: this clone's, then those that its remotes had."""
    return git.run("for-each-ref", "--format=%(refname)", *_REFS).decode("utf-8", "surrogateescape").splitlines()


def copy_of(git: Git, revision: str) -> str | None:
    """Returns the copy of a commit, in which dvlite tracks what DVC did; None if there is none, or no such commit."""
    refs = copies(git)
    commit = git.run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False).decode() if refs else ""
    if not commit:
        return None
    line = f"{_COPY_OF}{commit.strip()}"
    found = git.run("log", "-1", "--format=%H", "--fixed-strings", f"--grep={line}", *refs, "--")
    return found.decode().strip() or None


class _Stream:
    """What `git fast-import` reads."""

    def __init__(self) -> None:
        self.parts: list[bytes] = [b"feature done\n"]
        self.marks: dict[str, bytes] = {}  # of the copies, by what they are copies of
        self._ref = _REFS[0].encode()
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
