"""Which part of a tracked directory this worktree has: patterns, kept beside the stat index.

A directory without patterns is here as a whole. A pattern names a path inside the directory (and all below it), or is a glob in which
`*` stays inside one folder and `**` does not. One that begins with `/!` leaves out what the rest of it names, one that begins with `/?` a file
that was nowhere when it was wanted; the last that matches counts.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from dvlite import files
from dvlite.errors import FormatError, LaterVersion, UsageError
from dvlite.formats import strict_json
from dvlite.oid import digest_bytes
from dvlite.show import quote, word

Selects = Callable[[bytes], bool]
FILE = "sparse.json"
OUT = "/!"  # begins a pattern of what is left out; no path inside a directory begins so
LOST = "/?"  # begins the name of a file that is not here because no store had it
NOTHING = (OUT + "**",)  # of a tracked path that is left out as a whole
VERSION = 1
_LIMIT_BYTES = 16 * 1024 * 1024
_GLOB = re.compile(r"[*?\[]")


def load(state: Path) -> dict[str, tuple[str, ...]]:
    """Returns the patterns of each tracked directory that is here in part.

    Raises LaterVersion, and FormatError for a file that is damaged: without it, everything outside of the patterns would count as removed.
    """
    path = state / FILE
    data = files.read_regular(path, str(path), _LIMIT_BYTES + 1)
    if data is None:
        return {}
    version: object = VERSION
    with contextlib.suppress(FormatError, TypeError):
        body = strict_json.parse(data, str(path), limit_bytes=_LIMIT_BYTES)
        version, patterns = body.get("dvlite_sparse"), body.get("patterns")
        if isinstance(patterns, dict) and data == _dump(patterns):
            return {tracked: tuple(selected) for tracked, selected in patterns.items()}
    if type(version) is int and version > VERSION:
        raise LaterVersion(quote(str(path)))
    raise FormatError(
        f"cannot read {quote(str(path))}: it is damaged, so which part of a directory is checked out is not known",
        hint=f"check out whole directories: rm {word(str(path))}; dvlite pull",
        file=str(path),
    )


def store(state: Path, patterns: Mapping[str, Sequence[str]]) -> None:
    """Replaces all patterns; durable, for they cannot be made again."""
    state.mkdir(parents=True, exist_ok=True)
    files.write_atomic(state / FILE, _dump({path: list(chosen) for path, chosen in patterns.items() if chosen}))


def _dump(patterns: Mapping[str, Sequence[str]]) -> bytes:
    """Returns the canonical bytes, which hold a checksum of the patterns."""
    checksum = digest_bytes(strict_json.dump(patterns)).hex()
    return strict_json.dump({"checksum": checksum, "dvlite_sparse": VERSION, "patterns": patterns})


def is_glob(text: str) -> bool:
    """Returns whether a pattern is more than a path."""
    return _GLOB.search(text) is not None


def literal(path: str) -> str:
    """Returns the pattern that means exactly a path."""
    return _GLOB.sub(r"[\g<0>]", path)


def rests(pattern: str, path: str) -> list[str]:
    """Returns what is left of a glob below a path that its first folders match; '' if it matches the path itself or a folder above."""
    wanted, names = pattern.split("/"), path.split("/")
    left: dict[str, None] = {}
    looked: set[tuple[int, int]] = set()

    def match(i: int, j: int) -> None:
        if (i, j) in looked:
            return
        looked.add((i, j))
        if i == len(wanted) or j == len(names):
            left["" if wanted[i:] == ["**"] else "/".join(wanted[i:])] = None
            return
        if wanted[i] == "**":
            match(i + 1, j)
            match(i, j + 1)
        elif selector([wanted[i]])(os.fsencode(names[j])):
            match(i + 1, j + 1)

    match(0, 0)
    widest = next((rest for rest in left if rest.startswith("**/")), None)
    return [""] if "" in left else [widest] if widest is not None else list(left)


def exclusions(path: str, globs: Iterable[str]) -> tuple[str, ...]:
    """Returns the patterns that leave out of a tracked path what globs of whole paths name; `NOTHING` if that is all of it."""
    left = [rest for glob in globs for rest in rests(glob, path)]
    return NOTHING if "" in left else tuple(OUT + rest for rest in left)


def added(patterns: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """Returns patterns with others that count before them."""
    return (*(pattern for pattern in patterns if pattern not in more), *more)


def selector(patterns: Iterable[str]) -> Selects:
    """Returns a test for paths relative to the tracked directory."""
    runs = [(mark, tuple(group)) for mark, group in groupby(patterns, _mark)]
    if len(runs) == 1 and not runs[0][0]:
        return _matching(runs[0][1])
    tests: list[tuple[bool, Selects]] = []
    for mark, group in reversed(runs):
        texts = [text[len(mark) :] for text in group]
        matches = frozenset(map(os.fsencode, texts)).__contains__ if mark == LOST else _matching(texts)
        tests.append((not mark, matches))
    otherwise = bool(runs and runs[0][0])  # what comes first is left out: so all else is chosen
    return lambda path: next((chosen for chosen, matches in tests if matches(path)), otherwise)


def reach(patterns: Sequence[str]) -> Callable[[bytes, bytes], bool] | None:
    """Returns a test whether a pattern may name a path after one and up to another; None: any may be chosen."""
    if not patterns or _mark(patterns[0]):
        return None
    named = [pattern[len(_mark(pattern)) :] for pattern in patterns if _mark(pattern) != OUT]
    starts = [os.fsencode(_GLOB.split(text, maxsplit=1)[0]) for text in named]
    return lambda after, last: any(start <= last and (after <= start or after.startswith(start)) for start in starts)


def _mark(pattern: str) -> str:
    return pattern[:2] if pattern.startswith((OUT, LOST)) else ""


def _matching(wanted: Sequence[str]) -> Selects:
    try:
        compiled = re.compile(b"|".join(map(_expression, wanted)), re.DOTALL)
    except re.error as error:
        shown = ", ".join(map(quote, wanted))
        raise UsageError(
            f"cannot use the pattern {shown}: {error.msg}", hint="a range goes upwards, for example  [a-z]"
        ) from error
    return lambda path: compiled.fullmatch(path) is not None


def require_matches(tracked: str, patterns: Iterable[str], paths: Sequence[bytes]) -> None:
    """Raises UsageError for a pattern that chooses nothing among the paths of a directory."""
    for pattern in patterns:
        if not _mark(pattern) and not any(map(selector([pattern]), paths)):
            raise UsageError(
                f"nothing in {quote(tracked)} is named {quote(pattern)}",
                hint=f"see what is there: dvlite ls -R {word(tracked)}",
            )


def _expression(pattern: str) -> bytes:
    below = rb"(?:/.*)?"
    literal = re.escape(os.fsencode(pattern)) + below
    if not is_glob(pattern):
        return literal
    pattern = re.sub(r"(?:(?<![^/])\*\*/)+(?:\*\*(?!/))?", lambda many: "**/" if many[0][-1] == "/" else "**", pattern)
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern)
    translated = [_GLOBS.get(part) or _set(part) or re.escape(os.fsencode(part)) for part in parts if part]
    return literal + b"|" + b"".join(translated) + below  # a file may really be named `a[1].txt`


def _set(part: str) -> bytes | None:
    if len(part) < 3 or part[0] != "[" or part[-1] != "]":  # an unclosed set is plain text
        return None
    inner = part[1:-1]
    start = "^/" if inner[0] in "!^" else ""
    inner = re.sub(r"([\\\[&|~])", r"\\\1", inner[len(start) // 2 :])
    inner = re.sub(r"^-", r"\\-", inner)
    inner = re.sub(r"(?<!\\)--", r"-\\-", inner)
    return b"[" + os.fsencode(start + inner) + b"]"


_GLOBS = {"**/": rb"(?:.*/)?", "**": rb".*", "*": rb"[^/]*", "?": rb"[^/]"}
