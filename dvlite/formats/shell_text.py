"""Values put into a shell script, each quoted for the place where it stands. Pure; starts nothing.

A scalar is one word, whatever is in it; a list is a word for each item; a mapping is options (`--key value`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from dvlite.formats.strict_yaml import Tree

_IN_SINGLE = re.compile("'")
_IN_DOUBLE = re.compile(r'\\.|"|\$\(', re.DOTALL)
_OUTSIDE = re.compile(r"""\\.|['"()]|(?<![^\s;&|(])#[^\n]*""", re.DOTALL)
_ACTIVE = re.compile(r'[\\"$`]')  # between double quotes


def quotes_at(script: str, end: int, start: int = 0, opened: str = "") -> str:
    """Returns what of `'`, `"` and `(` is open at a place of a script, outermost first; `opened` is what is open at `start`.

    Knows escapes, comments, and `$(...)` between quotes; no heredocs.
    """
    stack = list(opened)
    while True:
        top = stack[-1] if stack else ""
        pattern = _IN_SINGLE if top == "'" else _IN_DOUBLE if top == '"' else _OUTSIDE
        match = pattern.search(script, start, end)
        if match is None:
            return "".join(stack)
        start, mark = match.end(), match[0]
        if mark == top or (mark == ")" and top == "("):
            stack.pop()
        elif mark in ("'", '"', "(", "$("):
            stack.append(mark[-1])


def scalar_text(value: Tree) -> str | None:
    """Returns the text of a scalar (`1`, `true`), None for other values."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def shell_text(value: Tree, opened: str) -> str | None:
    """Returns a value as it stands in a script where `opened` (`quotes_at`) is open; None for a value that cannot stand there."""
    text, top = scalar_text(value), opened[-1:]
    if text is not None:
        if top == "'":
            return text.replace("'", "'\\''")
        return _ACTIVE.sub(r"\\\g<0>", text) if top == '"' else shlex.quote(text)
    if top in ("'", '"'):
        return None
    words = list(_options(value, "--")) if isinstance(value, dict) else list(_words(value))
    return None if None in words else " ".join(filter(None, words))


def _words(value: Tree) -> Iterator[str | None]:
    """Yields the items of a list, quoted; None for what is none, or has another inside."""
    for item in value if isinstance(value, list) else [None]:
        text = scalar_text(item)
        yield None if text is None else shlex.quote(text)


def _options(value: dict[str, Tree], start: str) -> Iterator[str | None]:
    """Yields `--key value`; `true` is the option alone, `false` leaves it out; keys of a mapping inside are dotted."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _options(item, f"{start}{key}.")
        elif item is not False:
            yield shlex.quote(start + key)
            if item is not True:
                yield from _words(item if isinstance(item, list) else [item])
