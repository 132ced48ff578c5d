"""How texts for people are put: colour or not, names safe to print and relative to where the user stands, counts and durations.

Knows no result type and no stream: `render` decides what each stream can show, `text.<verb>` what is said.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dvlite.files import printable, size_text
from dvlite.workspace.changes import Counts

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
NAMED = 3  # so many names stand in a sentence; the rest are counted


_SHOWN = 8  # files named in a line


@dataclass(frozen=True, slots=True)
class Show:
    """What one stream shows. `here` is the current folder relative to the repository (`.`: its root, None: no repository)."""

    color: bool = False
    quiet: bool = False
    verbose: int = 0
    here: str | None = None

    def style(self, name: str, text: str) -> str:
        """Returns the text in a colour or weight, if the stream has them."""
        return f"\x1b[{_CODES[name]}m{text}\x1b[0m" if self.color else text

    def bold(self, text: str) -> str:
        return self.style("bold", text)

    def path(self, path: str) -> str:
        """Returns a repo-relative path relative to the current folder, safe to print."""
        return printable(path if self.here in (None, ".") else posixpath.relpath(path or ".", self.here))

    def paths(self, paths: Sequence[str], *, most: int = NAMED) -> str:
        """Returns the first few paths and how many more there are."""
        shown = paths if self.verbose else paths[:most]
        more = len(paths) - len(shown)
        return ", ".join([self.path(path) for path in shown] + ([f"{count(more)} more"] if more else []))

    def staged(self, staged: Sequence[str], unstaged: Sequence[str] = ()) -> Iterable[str]:
        """Yields what git has been given, or should be."""
        if self.quiet:
            return
        if staged:
            yield "staged in git: " + self._some(staged)
        if unstaged:
            yield "not staged: git add " + self._some(unstaged)

    def _some(self, paths: Sequence[str]) -> str:
        more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
        return " ".join(self.path(path) for path in paths[:_SHOWN]) + more

    def next_step(self, text: str) -> Iterable[str]:
        """Yields the command that usually follows."""
        if not self.quiet:
            yield self.style("dim", "next: ") + text


def one_line(message: str) -> str:
    """Returns a message as one line that no terminal can misread. Its quotes stay: the names in it are escaped already."""
    return message if message.isprintable() else "".join(c if c.isprintable() else printable(c) for c in message)


def count(number: int, noun: str = "", plural: str = "") -> str:
    """Returns a number for people, with its noun: `1 file`, `384,211 files`."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


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


def delta_text(delta_bytes: int) -> str:
    """Returns by how much something grew or shrank: `+161.0 MiB`, `-3 B`."""
    return ("-" if delta_bytes < 0 else "+") + size_text(abs(delta_bytes))


def short_oid(oid: str) -> str:
    """Returns the 8 hex digits of an object id that people see."""
    return oid.rpartition(":")[2][:8]


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> Iterable[str]:
    """Yields rows as aligned columns, two spaces apart, nothing after the last one."""
    kept = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    for row in kept:
        yield indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def counts_text(counts: Counts, *, wide: bool = False) -> str:
    """Returns `+1,204 -3 files`, or with `wide` also what did not happen: `+1,204  -3  ~0 files`."""
    parts = [(sign, number) for sign, number in (("+", counts.added), ("-", counts.removed), ("~", counts.modified))]
    shown = [f"{sign}{number:,}" for sign, number in parts if wide or number]
    if counts.renamed:
        shown.append(f"{count(counts.renamed)} renamed")
    return ("  " if wide else " ").join(shown)


def files_text(counts: Counts) -> str:
    """Returns `+1,204 -3 files`, or `+1 file`."""
    return f"{counts_text(counts)} {'file' if counts.added + counts.removed + counts.modified + counts.renamed == 1 else 'files'}"


def growth_text(counts: Counts) -> str:
    """Returns by how much the whole grew, or nothing if it did not."""
    return delta_text(counts.delta_bytes) if counts.delta_bytes else ""


def amount_text(files: int, size_bytes: int) -> str:
    """Returns `384,211 files, 50.3 GiB`."""
    return f"{count(files, 'file')}, {size_text(size_bytes)}"


_DIGITS = 6  # that people read of a number; --json has all


_LONGEST = 60


def value_text(value: Any) -> str:
    """Returns a value for people: numbers to six significant digits, text as it is, the rest as JSON."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    text = value if isinstance(value, str) else json.dumps(_tidy(value), ensure_ascii=False)
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def change_text(change: float) -> str:
    """Returns by how much a number changed, with its sign: `+0.019`."""
    return f"{change:+d}" if isinstance(change, int) else f"{change:+.{_DIGITS}g}"


def pair_text(old: Any, new: Any) -> tuple[str, str]:
    """Returns two different values so that they look different: with as many digits as that takes, and text that looks like a number quoted."""
    one, other = value_text(old), value_text(new)
    if one == other and old != new and isinstance(old, float) and isinstance(new, float):
        return repr(old), repr(new)
    if type(old) is not type(new) and one == other:
        return json.dumps(old, ensure_ascii=False), json.dumps(new, ensure_ascii=False)
    return one, other


def _tidy(value: Any) -> Any:
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _tidy(item) for key, item in value.items()}
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
