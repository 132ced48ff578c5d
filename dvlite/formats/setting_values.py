"""What the values of settings may be: one check for each kind, from a tree of YAML to a value. Raises UsageError naming the key."""

from __future__ import annotations

import re
from collections.abc import Callable

from dvlite.errors import UsageError
from dvlite.formats.strict_yaml import Tree
from dvlite.show import quote

Value = str | int | float | bool | tuple[str, ...]
Check = Callable[[str, Tree], Value]

_SIZE = re.compile(r"([0-9]{1,15}) ?(|B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)", re.IGNORECASE)
_BINARY = {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_UNITS = {"": 1, "b": 1, **_BINARY, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_LINKS = ("reflink", "hardlink", "symlink", "copy")


def scalar_text(key: str, value: Tree) -> str:
    """Returns one line of text, numbers and truth values as they are written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        text = str(value)
        if text and text.isprintable():
            return text
    raise UsageError(f"{quote(key)} must be one line of text")


def boolean(key: str, value: Tree) -> bool:
    """Returns true or false."""
    if isinstance(value, bool):
        return value
    raise UsageError(f"{quote(key)} must be true or false")


def text(key: str, value: Tree) -> str:
    """Returns one line of text."""
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise UsageError(f"{quote(key)} must be one line of text")


def project(key: str, value: Tree) -> str:
    """Returns the id of a project."""
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value):
        return value
    raise UsageError(
        f"{quote(key)} must be 32 hex digits",
        hint="restore the line from git, or run dvlite init in a repository without it",
    )


def shared(key: str, value: Tree) -> str:
    """Returns `group`."""
    if value == "group":
        return "group"
    raise UsageError(f"{quote(key)} must be group, or absent")


def size_up_to(largest: int, words: str) -> Check:
    """Returns a check for sizes in bytes, written as numbers or with a unit; `words` says what is right."""

    def size(key: str, value: Tree) -> int:
        match = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
        size_bytes = int(match[1]) * _UNITS[match[2].lower()] if match else largest + 1
        if size_bytes <= largest:
            return size_bytes
        raise UsageError(f"{quote(key)} must be {words}")

    return size


def one_of(*words: str) -> Check:
    """Returns a check for one of a few words; `true` and `false` mean `on` and `off`, which other notations of YAML read them as."""

    def word(key: str, value: Tree) -> str:
        meant = ("off", "on")[value] if isinstance(value, bool) else value
        if isinstance(meant, str) and meant in words:
            return meant
        raise UsageError(f"{quote(key)} must be {', '.join(words[:-1])} or {words[-1]}")

    return word


def links(key: str, value: Tree) -> tuple[str, ...]:
    """Returns the ways to link a file, the one to try first in front."""
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if isinstance(words, list) and words and all(word in _LINKS for word in words):
        return tuple(str(word) for word in words)
    raise UsageError(f"{quote(key)} must be some of {', '.join(_LINKS)}, the one to try first in front")


def jobs(key: str, value: Tree) -> int:
    """Returns a number of transfers."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 256:
        return value
    raise UsageError(f"{quote(key)} must be a number from 1 to 256")


def seconds(key: str, value: Tree) -> float:
    """Returns a number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 86400:
        return value
    raise UsageError(f"{quote(key)} must be a number of seconds from 0 to 86400")


def places(key: str, value: Tree) -> tuple[str, ...]:
    """Returns hosts and folders."""
    places = [value] if isinstance(value, str) else value
    if isinstance(places, list) and all(isinstance(place, str) and place.isprintable() for place in places):
        return tuple(str(place) for place in places)
    raise UsageError(f"{quote(key)} must be a list of URLs and folders")
