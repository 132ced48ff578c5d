"""How names, numbers and times stand in a sentence, on one stream: for results, and for error messages at every layer. Pure."""

from __future__ import annotations

import json
import posixpath
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DIGITS = 6  # that people read of a number; --json has all
NAMED = 3  # so many names stand in a sentence; the rest are counted
_STAGED = 8  # names in a line about git's index
_LONGEST = 60  # letters of a value
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_C_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", "'": "\\'"}
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


@dataclass(frozen=True, slots=True)
class Show:
    """What one stream shows: in colour or not, how much. `folder` is the current one, relative to the repository (`.`: its root, None: no repository)."""

    color: bool = False
    quiet: bool = False
    verbose: int = 0
    folder: str | None = None
    unicode: bool = True  # else letters, digits and marks of ASCII only

    def style(self, name: str, text: str) -> str:
        """Returns the text in a colour or weight, if the stream has them."""
        return f"\x1b[{_CODES[name]}m{text}\x1b[0m" if self.color else text

    def bold(self, text: str) -> str:
        return self.style("bold", text)

    def path(self, path: str) -> str:
        """Returns a repo-relative path relative to the current folder, safe to print."""
        return printable(path if self.folder in (None, ".") else posixpath.relpath(path or ".", self.folder))

    def word(self, path: str) -> str:
        """Returns a repo-relative path relative to the current folder, as a shell takes it in a command."""
        return word(path if self.folder in (None, ".") else posixpath.relpath(path or ".", self.folder))

    def paths(self, paths: Sequence[str]) -> str:
        """Returns the first few paths and how many more there are."""
        return self.some([self.path(path) for path in paths])

    def some(self, names: Sequence[str]) -> str:
        """Returns the first few names and how many more there are; with `-v` all of them."""
        return some(names, len(names) if self.verbose else NAMED)

    def next_commit(self, staged: Sequence[str], unstaged: Sequence[str] = (), then: str = "") -> Iterable[str]:
        """Yields what was staged, and the command that commits all of it, with what follows that."""
        yield from self.staged(staged)
        add = f"git add {' '.join(map(self.word, unstaged))} && " if unstaged else ""
        yield from self.next_step(f"{add}git commit{then}")

    def staged(self, staged: Sequence[str], unstaged: Sequence[str] = ()) -> Iterable[str]:
        """Yields what was staged in git, and what is left to stage."""
        if staged and not self.quiet:
            yield "staged in git: " + some([self.path(path) for path in staged], _STAGED, separator=" ")
        if unstaged and not self.quiet:
            yield "not staged: git add " + " ".join(map(self.word, unstaged))

    def next_step(self, text: str) -> Iterable[str]:
        """Yields the command that usually follows."""
        if not self.quiet:
            yield self.style("dim", "next: ") + text


def quote(name: str) -> str:
    """Returns a name in single quotes with control, bidirectional and undecodable characters escaped, safe to print."""
    return f"'{printable(name)}'"


def word(name: str) -> str:
    """Returns a path as a shell takes it, in a command that people may copy; one that a terminal could misread in bash's `$'...'`."""
    if name.startswith("-"):
        name = f"./{name}"  # no option
    return shlex.quote(name) if name.isprintable() else f"${quote(name)}"


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """Returns what a wrong word may have meant, '' if nothing is like it."""
    import difflib  # 2 ms that only a wrong word pays

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), "")


def printable(name: str) -> str:
    """Returns a name as text that no terminal can misread; plain names are returned as they are."""
    if name.isprintable() and "'" not in name and "\\" not in name:
        return name
    return "".join(_escape(character) for character in name)


def printable_text(text: str) -> str:
    """Returns text of a program for a line of its own: only what a terminal could misread is escaped, quotes stay."""
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    if character in _C_ESCAPES:
        return _C_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # an undecodable byte, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def size_text(size_bytes: int) -> str:
    """Returns a size for people, in binary units: `54.0 GiB`."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    value, unit = float(size_bytes), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}"


def some(names: Sequence[str], most: int = NAMED, *, separator: str = ", ") -> str:
    """Returns the first few names and how many more there are: `a, b, c and 1,204 more`."""
    more = len(names) - most
    return separator.join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def count(number: int, noun: str = "", plural: str = "") -> str:
    """Returns a number for people, with its noun: `1 file`, `384,211 files`."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def is_or_are(names: Sequence[str]) -> str:
    """Returns the verb after some names."""
    return "is" if len(names) == 1 else "are"


def duration_text(seconds: float) -> str:
    """Returns how long something took, in the width of a glance: `0.9 s`, `42 s`, `7m01s`, `2h05m`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def one_line(message: str) -> str:
    """Returns a message as one line that no terminal can misread. Its quotes stay: the names in it are escaped already."""
    return message if message.isprintable() else "".join(c if c.isprintable() else printable(c) for c in message)


def short_oid(oid: str) -> str:
    """Returns the 8 hex digits of an object id that people see."""
    return oid.rpartition(":")[2][:8]


def value_text(value: Any) -> str:
    """Returns a value for people: numbers to six significant digits, text as it is, the rest as JSON."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    text = value if isinstance(value, str) else json.dumps(_tidy(value), ensure_ascii=False)
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def pair_text(old: Any, new: Any) -> tuple[str, str]:
    """Returns two different values so that they look different: see `apart`."""
    one, other = apart((old, new))
    return one, other


def apart(values: Sequence[Any]) -> list[str]:
    """Returns values so that different ones look different: with as many digits as that takes, and text that looks like a number quoted."""
    texts = [value_text(value) for value in values]
    alike: dict[str, set[str]] = {}
    for value, text in zip(values, texts, strict=True):
        alike.setdefault(text, set()).add(repr(value))
    return [text if len(alike[text]) == 1 else _exact(value, text) for value, text in zip(values, texts, strict=True)]


def _exact(value: Any, text: str) -> str:
    if isinstance(value, str):
        return f'"{text}"'
    return repr(value) if isinstance(value, float) else text


def _tidy(value: Any) -> Any:
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _tidy(item) for key, item in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
