"""How texts for people are put: colour or not, names safe to print and relative to where the user stands, counts and durations.

Knows no result type and no stream: `render` decides what each stream can show, `text.<verb>` what is said.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dvlite.files import printable, size_text

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
