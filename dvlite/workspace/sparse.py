"""Which part of a tracked directory this worktree has: patterns, kept beside the stat index.

A directory without patterns is here as a whole. A pattern names a path inside the directory (and all below it), or is a glob in which
`*` stays inside one folder and `**` does not.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from dvlite import files
from dvlite.errors import UsageError
from dvlite.show import quote

Selects = Callable[[bytes], bool]
FILE = "sparse.json"
_GLOB = re.compile(r"[*?\[]")


def load(state: Path) -> dict[str, tuple[str, ...]]:
    """Returns the patterns of each tracked directory that is here in part."""
    try:
        patterns = json.loads((state / FILE).read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError):
        return {}
    return (
        {str(path): tuple(map(str, selected)) for path, selected in patterns.items()}
        if isinstance(patterns, dict)
        else {}
    )


def store(state: Path, patterns: Mapping[str, Iterable[str]]) -> None:
    """Replaces all patterns; durable, for they cannot be made again."""
    state.mkdir(parents=True, exist_ok=True)
    text = json.dumps(
        {path: sorted(set(selected)) for path, selected in sorted(patterns.items()) if selected}, indent=1
    )
    files.write_atomic(state / FILE, text.encode("utf-8", "surrogateescape"))


def is_glob(text: str) -> bool:
    """Returns whether a pattern is more than a path."""
    return _GLOB.search(text) is not None


def selector(patterns: Iterable[str]) -> Selects:
    """Returns a test for paths relative to the tracked directory."""
    wanted = tuple(patterns)
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
        if not any(map(selector([pattern]), paths)):
            raise UsageError(
                f"nothing in {quote(tracked)} is named {quote(pattern)}",
                hint=f"see what is there: dvlite ls -R {tracked}",
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
