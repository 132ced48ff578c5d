"""What a pattern stands for, as `glob` would have it, on disk and among names; follows no link to a folder. Knows nothing of what is tracked."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from dvlite.workspace import sparse

_TOKEN = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
_CAPTURING = re.compile(rf"\{{[A-Za-z_][A-Za-z0-9_]*\}}|{_TOKEN.pattern}", re.DOTALL)


def names_on_disk(root: Path, pattern: str) -> Iterator[str]:
    """Yields what a pattern names on disk, some of it twice; follows no link to a folder, for what is behind one may have no end."""
    segments = pattern.split("/")
    wanted = [re.compile(fnmatch.translate(segment)).match for segment in segments]
    deep = "**" in pattern
    pending, seen = [("", 0)], set[tuple[str, int]]()
    while pending:
        folder, position = place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        segment, last = segments[position], position + 1 == len(segments)
        if segment == "**" and not last:
            pending.append((folder, position + 1))
        for name, is_folder in _inside(root / folder, segment):
            if segment != "**" and not wanted[position](name):
                continue
            path = f"{folder}/{name}" if folder else name
            if last and not (deep and os.path.isdir(root / path)):
                yield path
            if is_folder and (segment == "**" or not last):
                pending.append((path, position if segment == "**" else position + 1))


def expression(pattern: str, *, captures: bool = False) -> re.Pattern[str]:
    """Returns what a pattern matches as `glob` does: names that begin with a dot only where the pattern says the dot, `**` any folders.

    With `captures`, `{name}` matches at least one letter of a name, and is a group; where it stands again, it is the same text.
    """
    parts = pattern.split("/")
    pieces = []
    token, seen = _CAPTURING if captures else _TOKEN, set[str]()
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            pieces.append(r"(?:[^./][^/]*/)*" + (r"[^./][^/]*" if last else ""))
            continue
        is_plain = not sparse.is_glob(part) and not (captures and "{" in part)
        hidden = "" if is_plain or part.startswith(".") else r"(?!\.)"
        names = [
            _group(piece[1:-1], seen) if captures and piece[0] == "{" else _piece(piece)
            for piece in token.findall(part)
        ]
        pieces.append(hidden + "".join(names) + ("" if last else "/"))
    return re.compile("".join(pieces), re.DOTALL)


def fixed_part(pattern: str) -> str:
    """Returns the folders of a pattern before its first wildcard: what it matches lies there."""
    parts = pattern.split("/")[:-1]
    plain = next((number for number, part in enumerate(parts) if sparse.is_glob(part)), len(parts))
    return "/".join(parts[:plain])


def may_go_into(pattern: str, folder: str) -> bool:
    """Returns whether a pattern can match something inside a folder."""
    parts, outer = pattern.split("/"), folder.split("/")
    for number, part in enumerate(outer):
        if number >= len(parts):
            return False
        if parts[number] == "**":
            return True
        if not fnmatch.fnmatchcase(part, parts[number]):
            return False
    return len(parts) > len(outer)


def _inside(folder: Path, segment: str) -> Iterator[tuple[str, bool]]:
    """Yields the names in a folder that a segment could mean, and whether each is a folder, no link; hidden ones only if it is hidden."""
    try:
        if not sparse.is_glob(segment):
            yield segment, stat.S_ISDIR(os.lstat(folder / segment).st_mode)
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if segment.startswith(".") or not entry.name.startswith("."):
                    yield entry.name, entry.is_dir(follow_symlinks=False)
    except OSError:  # what cannot be looked into has nothing
        return


def _group(name: str, seen: set[str]) -> str:
    """Returns what a capture matches, where it stands first and again."""
    is_again = name in seen
    seen.add(name)
    return f"(?P={name})" if is_again else f"(?P<{name}>[^/]+)"


def _piece(piece: str) -> str:
    """Returns what a piece of a name matches: a star, a question mark, a set, or a letter."""
    if piece[0] == "*":
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if len(piece) > 2 and piece != "[!]":  # to glob, a set that is not closed is plain text
        inner = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return f"(?!/)[{'^' + inner[1:] if inner[0] == '!' else inner.replace('^', chr(92) + '^', 1)}]"
    return re.escape(piece)
