"""Which paths are legal in data, at add and at checkout alike (docs/explanation/design.md, invariant 11).

Any name that the file system gives is legal but those that could be taken for `.git` or `.dvlite`, and what is not a relative path.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import AnyStr, Generic, TypeVar

from dvlite.errors import FormatError
from dvlite.show import quote

T = TypeVar("T")
MAX_PATH_BYTES, MAX_NAME_BYTES, MAX_DEPTH = 4096, 255, 255
_TOGETHER = 4096  # paths joined at a time
_EMPTY_OR_DOTS = re.compile(rb"(?:^|[\0/])\.{0,2}(?=[\0/]|$)")
_LONG_NAME = re.compile(rb"[^\0/]{%d}" % (MAX_NAME_BYTES + 1))
_SUSPECT = re.compile(rb"(?:^|[\0/])((?:\.|[gG][iI]|[dD][vV]|\xe2|\xef)[^\0/]*)")
_MAY_BE_RESERVED = (b"/.", b"\0.", b"~", b"\xe2", b"\xef")  # a plain search for these is 20x faster than _SUSPECT
_MAY_BE_EMPTY = (b"//", b"\0\0", b"\0/", b"/\0", b"/.", b"\0.")
_IGNORED_BY_HFS = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])
_SHORT_NAME = re.compile(r"(git|gi[0-9a-f]{4}|dvlite|dv[0-9a-f]{4})~[0-9]+")


def ancestors(path: AnyStr) -> Iterator[AnyStr]:
    """Yields the folders above a relative path, nearest first; not the root."""
    separator = "/" if isinstance(path, str) else b"/"  # type: ignore[redundant-expr]  # mypy reads it once for each type
    while (end := path.rfind(separator)) > 0:  # a third of the time of `posixpath.dirname`
        path = path[:end]
        yield path


def path_pieces(paths: Sequence[bytes]) -> Iterator[bytes]:
    """Yields paths with a zero byte between them, some thousand at a time: Python takes 80 bytes for each that it joins."""
    for at in range(0, len(paths), _TOGETHER):
        yield (b"\0" if at else b"") + b"\0".join(paths[at : at + _TOGETHER])


def is_inside(path: str, folder: str) -> bool:
    """Returns whether a relative path is `folder` or lies below it; everything is inside the root, ''."""
    return path == folder or not folder or path.startswith(folder + "/")


def overlap(one: str, other: str) -> bool:
    """Returns whether one of two relative paths lies inside the other, or both are the same."""
    return is_inside(one, other) or is_inside(other, one)


class PathSet:
    """Relative paths; to ask about another path costs what that path is long, whatever their number."""

    __slots__ = ("_above", "_paths")

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._above = frozenset(folder for path in self._paths for folder in ancestors(path))

    def overlaps(self, path: str) -> bool:
        """Returns whether one of them is `path`, lies inside it or has it inside."""
        return path in self._paths or path in self._above or not self._paths.isdisjoint(ancestors(path))


class PathMap(Generic[T]):
    """Values by relative path, of which those in and around a path are dropped together, at the cost of these alone."""

    __slots__ = ("_inside", "_values")

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._inside: dict[str, set[str]] = {}  # by folder; some may be dropped already

    def __contains__(self, path: str) -> bool:
        return path in self._values

    def __getitem__(self, path: str) -> T:
        return self._values[path]

    def __setitem__(self, path: str, value: T) -> None:
        self._values[path] = value
        for folder in ancestors(path):
            self._inside.setdefault(folder, set()).add(path)

    def drop(self, path: str) -> None:
        """Drops the values of a path, of the folders above it, and of what lies inside it."""
        gone = (path, *ancestors(path), "", *self._inside.pop(path, ())) if path else list(self._values)
        for each in gone:
            self._values.pop(each, None)


def check_paths(paths: Sequence[bytes]) -> None:
    """Raises FormatError for a path that no listing may hold: not relative, `..`, too long, or named like `.git` or `.dvlite`."""
    if not paths:
        return
    joined = b"".join((b"\0", *path_pieces(paths), b"\0"))
    if any(part in joined for part in _MAY_BE_EMPTY):
        _refuse_if(_EMPTY_OR_DOTS.search(joined[1:-1]), joined[1:-1], "it has an empty, '.' or '..' part")
    if max(map(len, paths)) > MAX_NAME_BYTES:
        _refuse_if(_LONG_NAME.search(joined), joined, f"a name in it is longer than {MAX_NAME_BYTES} bytes")
        for path in paths:
            if len(path) > MAX_PATH_BYTES or path.count(b"/") > MAX_DEPTH:
                raise _refused(path, f"it is longer than {MAX_PATH_BYTES} bytes or more than {MAX_DEPTH} folders deep")
    if any(part in joined for part in _MAY_BE_RESERVED):
        for match in _SUSPECT.finditer(joined):
            if is_reserved(match[1]):
                _refuse_if(match, joined, "a name in it could be taken for '.git' or '.dvlite'")


def is_reserved(name: bytes) -> bool:
    """Returns whether some file system could take this name for `.git` or `.dvlite` (HFS+ and NTFS rules)."""
    if name.isascii() and b"~" not in name and not name.startswith(b"."):
        return False  # nearly all
    text = unicodedata.normalize("NFC", name.decode("utf-8", "surrogateescape").translate(_IGNORED_BY_HFS)).casefold()
    text = text.partition(":")[0].rstrip(". ")
    return text in (".git", ".dvlite") or _SHORT_NAME.fullmatch(text) is not None


def _refuse_if(match: re.Match[bytes] | None, joined: bytes, reason: str) -> None:
    if match is None:
        return
    first = joined.rfind(b"\0", 0, match.start() + 1) + 1
    last = joined.find(b"\0", max(match.end() - 1, first))
    raise _refused(joined[first : len(joined) if last < 0 else last], reason)


def refuse_files_used_as_folders(paths: list[bytes]) -> None:
    """Checks that no path is also the folder of another; `paths` must be sorted."""
    folders = {path[: path.rfind(b"/")] for path in paths if b"/" in path}
    while folders:
        for folder in folders:
            i = bisect_left(paths, folder)
            if i < len(paths) and paths[i] == folder:
                raise _refused(folder, "it is both a file and a folder")
        folders = {folder[: folder.rfind(b"/")] for folder in folders if b"/" in folder}


def _refused(path: bytes, reason: str) -> FormatError:
    name = path[:200].decode("utf-8", "surrogateescape")
    return FormatError(
        f"refused path {quote(name)} in a version of a folder: {reason}",
        hint="this version of the directory cannot be used; nothing was written",
    )
