"""The lines of a `.gitattributes` that give paths to Git LFS. Bytes in, bytes out; knows no git.

A line is a pattern, in double quotes if it has spaces or starts with one, and attributes. git-lfs writes a space in a pattern as `[[:space:]]`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container

_LINE = re.compile(rb'[ \t\r]*("(?:[^"\\]|\\.)*"|[^" \t\r][^ \t\r]*)((?:[ \t\r]+[^ \t\r]+)*)[ \t\r]*')
_FILTER = b"filter=lfs"
_OWN = frozenset({_FILTER, b"diff=lfs", b"merge=lfs", b"-text", b"lockable"})  # as `git lfs track` writes them
_SPECIAL = re.compile(rb"[\\*?\[\]#]")
_SPACES = re.compile(rb"[ \t\r\n\v\f]")
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f\"]")


def patterns(data: bytes) -> dict[int, bytes]:
    """Returns the patterns of lines that give paths to Git LFS, by the number of the line."""
    rows = ((number, _LINE.fullmatch(line)) for number, line in enumerate(data.split(b"\n")))
    named = {number: match for number, match in rows if match is not None and _FILTER in match[2].split()}
    return {number: match[1] for number, match in named.items() if not match[1].startswith((b"#", b"[attr]"))}


def without(data: bytes, numbers: Container[int]) -> bytes:
    """Returns the file without what these lines say of Git LFS; a line that says nothing else goes."""
    lines = (_line_without(line) if i in numbers else line for i, line in enumerate(data.split(b"\n")))
    return b"\n".join(line for line in lines if line is not None)


def _line_without(line: bytes) -> bytes | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return line
    others = [word for word in match[2].split() if word not in _OWN]
    return b" ".join([match[1], *others]) if others else None


def as_ignored(pattern: bytes, folder: str) -> bytes | None:
    """Returns a pattern of the root's `.gitignore` that matches all that one in a folder's `.gitattributes` does; None for one in quotes."""
    if pattern.startswith(b'"'):
        return None
    above = b"/" + _SPECIAL.sub(rb"\\\g<0>", os.fsencode(folder)) + b"/" if folder else b"/"
    return above + (pattern.lstrip(b"/") if b"/" in pattern else b"**/" + pattern)


def line(path: str, *, is_folder: bool) -> bytes:
    """Returns the line, without its end, that gives a path, or all in a folder, to Git LFS."""
    name = _SPACES.sub(b"[[:space:]]", _SPECIAL.sub(rb"\\\g<0>", os.fsencode(path)))
    within = b"/**" if is_folder else b""
    return b"/" + _CONTROLS.sub(b"?", name) + within + b" filter=lfs diff=lfs merge=lfs -text"
