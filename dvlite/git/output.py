"""What git prints, as values: listings, logs, states of files, blobs, and why it failed. Starts no process.

Names come as bytes that end in NUL and are decoded as `os.fsdecode` does. Rows are named tuples: each dataclass takes 0.4 ms of every start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from dvlite.errors import DvliteError, FormatError
from dvlite.files import read_piece
from dvlite.show import one_line

_REASON_LINES = 4  # of git's message: it breaks sentences
REGULAR = ("100644", "100755")  # modes of ordinary files
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SUFFIX = ".dvlite"
_LOCKFILE, _PIPELINE_FILE = "dvlite.lock", "dvlite.yaml"


def is_commit_id(text: str) -> bool:
    """Returns whether a text is all digits of the name of a commit, SHA-1 or SHA-256."""
    return _COMMIT.fullmatch(text) is not None


class Change(NamedTuple):
    """A pointer file or lockfile as one commit left it; `blob` is None where the commit removed it, `old_path` is set where it was renamed.

    `before` are the blobs that the parents of the commit have there.
    """

    commit: str
    path: str
    blob: str | None
    old_path: str | None = None
    before: tuple[str, ...] = ()


class FileDifference(NamedTuple):
    """A file that two trees have not alike; a blob is None on a side without an ordinary file of that name."""

    path: str
    mode: str
    old: str | None
    new: str | None

    @property
    def is_ordinary(self) -> bool:
        return self.mode in REGULAR


class TreeEntry(NamedTuple):
    """A file in a commit or in the index; of an untracked file mode and blob are ''. `is_skipped`: a sparse checkout leaves it out."""

    path: str
    mode: str
    blob: str
    is_skipped: bool = False


class Commit(NamedTuple):
    """What people know a commit by; `time` is when it was written, in seconds since 1970."""

    id: str
    time: int
    author: str
    subject: str


class FileStatus(NamedTuple):
    """How a file differs between commit, index and work tree, in git's letters (`.` equal, `?` untracked, `U` unmerged)."""

    path: str
    staged: str
    unstaged: str


def is_pointer(path: str) -> bool:
    """Returns whether a file names data: a pointer file or a lockfile, by its name."""
    name = path.rpartition("/")[2]
    return (name.endswith(_SUFFIX) and name != _SUFFIX) or name == _LOCKFILE


def is_lockfile(path: str) -> bool:
    """Returns whether a file is a lockfile, by its name."""
    return path == _LOCKFILE or path.endswith("/" + _LOCKFILE)


def is_pipeline_file(path: str) -> bool:
    """Returns whether a file is a pipeline file, by its name."""
    return path == _PIPELINE_FILE or path.endswith("/" + _PIPELINE_FILE)


class TooLarge(FormatError):
    """A blob is above its limit; it was not read."""


def failed(arguments: Sequence[str], stderr: bytes) -> DvliteError:
    """Returns the error that git's own words make."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    said = [line.strip() for line in lines if not line.startswith(("warning:", "hint:"))] or ["it gave no reason"]
    reason = " ".join(line.removeprefix("fatal: ").removeprefix("error: ") for line in said[:_REASON_LINES]).rstrip(".")
    hint = "another git command is running here, or one was killed: see git status" if "index.lock" in reason else None
    return DvliteError(f"git {arguments[0]} failed: {one_line(reason)}", hint=hint)


def split(output: bytes) -> list[str]:
    """Returns the names in a list that NULs end."""
    return [os.fsdecode(field) for field in output.split(b"\0") if field]


def tree_entries(output: bytes) -> Iterator[TreeEntry]:
    """Reads `git ls-tree -z`."""
    for row in split(output):
        head, _, path = row.partition("\t")
        mode, _, blob = head.split(" ")
        yield TreeEntry(path, mode, blob)


def index_entries(output: bytes) -> Iterator[TreeEntry]:
    """Reads `git ls-files -z -t -s`."""
    for row in split(output):
        if row.startswith("? "):
            yield TreeEntry(row[2:], "", "")
            continue
        head, _, path = row.partition("\t")
        tag, mode, blob, _ = head.split(" ")
        yield TreeEntry(path, mode, blob, is_skipped=tag == "S")


def join(paths: Sequence[str], magic: str = "") -> bytes:
    """Returns names as git reads them, each after `magic`."""
    return b"".join(os.fsencode(magic + path) + b"\0" for path in paths)


def next_blob(output: IO[bytes] | None, blob: str, limit_bytes: int) -> bytes:
    """Reads the answer of `git cat-file --batch` to one name; raises FormatError for a blob above the limit, before reading it."""
    words = output.readline().split() if output is not None else []
    if output is None or len(words) != 3 or words[1] != b"blob":
        raise DvliteError(f"git does not have the object {blob[:8]}", hint="git fetch, or git fsck")
    size = int(words[2])
    if size > limit_bytes:
        reason = f"such a file has at most {limit_bytes} bytes, it has {size}"
        hint = "restore the pointer or lockfile from an earlier commit"
        raise TooLarge(f"refused git object {blob[:8]}: {reason}", hint=hint, reason=reason, kind="malformed")
    return output.read(size + 1)[:-1]


def next_object(output: IO[bytes] | None, name: str) -> tuple[str, bytes]:
    """Reads the same for an object of any kind, however long it is; returns the kind too."""
    words = output.readline().split() if output is not None else []
    if output is None or len(words) != 3:
        raise DvliteError(f"git does not have the object {name[:8]}", hint="git fetch, or git fsck")
    return words[1].decode(), output.read(int(words[2]) + 1)[:-1]


def fields(output: IO[bytes] | None) -> Iterator[str]:
    """Yields the NUL-separated fields of a running git's output as they arrive."""
    rest = b""
    while output is not None and (piece := read_piece(output.fileno(), 1 << 16)):
        *whole, rest = (rest + piece).split(b"\0")
        yield from (os.fsdecode(field) for field in whole)
    if rest:
        yield os.fsdecode(rest)


def changes(rows: Iterator[str]) -> Iterator[Change]:
    """Reads `git log --raw -z`: a commit per field that starts with 0x02, then `:modes blobs status`, path, and for renames a path."""
    commit = ""
    for field in rows:
        text = field.lstrip("\n")
        if text.startswith("\x02"):
            commit = text[1:].strip()
        elif text.startswith(":"):  # of a merge, a colon for each parent, with its mode and its blob
            words = text.lstrip(":").split(" ")
            sides = len(text) - len(text.lstrip(":"))
            mode, blob, status = words[sides], words[2 * sides + 1], words[-1]
            path = next(rows)
            old_path, path = (path, next(rows)) if status[0] in "RC" else (None, path)
            old_path = old_path if status[0] == "R" else None
            before = tuple(old for old in words[sides + 1 : 2 * sides + 1] if old.strip("0"))
            yield Change(commit, path, blob if mode in REGULAR else None, old_path, before)


def differences(output: bytes) -> Iterator[FileDifference]:
    """Reads `--raw -z --no-abbrev --no-renames` of diff and diff-tree."""
    rows = iter(split(output))
    for head in rows:
        old_mode, mode, old, new, _ = head.lstrip(":").split(" ")
        yield FileDifference(next(rows), mode, old if old_mode in REGULAR else None, new if mode in REGULAR else None)


def commits(output: bytes) -> dict[str, Commit]:
    """Reads `git log -z --format=%H%x00%at%x00%an%x00%s`."""
    parts = [os.fsdecode(field) for field in output.split(b"\0")]
    rows = zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=False)
    return {name: Commit(name, int(time), author, subject) for name, time, author, subject in rows}


def file_status(row: str) -> FileStatus:
    """Reads one row of `git status --porcelain=v2 -z`."""
    if row[0] == "?":
        return FileStatus(row[2:], "?", "?")
    skipped = 10 if row[0] == "u" else 8  # the fields before the path, see git-status(1)
    words = row.split(" ", skipped)
    return FileStatus(words[skipped], "U" if row[0] == "u" else words[1][0], "U" if row[0] == "u" else words[1][1])
