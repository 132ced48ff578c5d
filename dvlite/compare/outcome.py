"""What comes of comparing two versions of a file: whether they are equivalent, and lines that show how they differ. Pure.

The lines are made from files that may come from anyone: they are few, short and safe to print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from dvlite.show import printable

MOST_LINES = 10
_MOST_LETTERS = 160


class Unreadable(Exception):  # not an error of the user: the bytes are compared instead
    """A file is not in the format that it is to be compared in; the text says why, and of which version."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether two versions are equivalent; `lines` show how they differ, the most telling first."""

    equivalent: bool
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much numbers may differ: `atol + rtol * |old|`. Whole numbers count in full, however large; booleans are no numbers."""

    rtol: float = 0.0
    atol: float = 0.0

    def allows(self, old: float, new: float) -> bool:
        if old == new:
            return True
        if old != old or new != new:  # noqa: PLR0124  # not a number: two of them are alike
            return old != old and new != new  # noqa: PLR0124
        if not (self.rtol or self.atol) or math.inf in (abs(old), abs(new)):
            return False
        try:
            difference, most = abs(new - old), self.atol + self.rtol * abs(old)
        except OverflowError:  # whole numbers beyond what a float holds
            return self._allows_exactly(old, new)
        if type(old) is not type(new) or math.inf in (difference, most):
            return self._allows_exactly(old, new)
        return difference <= most

    def _allows_exactly(self, old: float, new: float) -> bool:
        return abs(Fraction(new) - Fraction(old)) <= Fraction(self.atol) + Fraction(self.rtol) * abs(Fraction(old))


@dataclass(slots=True)
class Findings:
    """Differences as they are found: all are counted, the largest are kept."""

    found: int = 0
    _kept: list[tuple[float, int, str]] = field(default_factory=list)

    def add(self, line: str, size: float = math.inf) -> None:
        """Takes a line in; `size` is how large the difference is, so that the largest come first."""
        self.found += 1
        self._kept.append((-size if size == size else -math.inf, self.found, clipped(line)))  # noqa: PLR0124
        if len(self._kept) > 4 * MOST_LINES:
            self._kept = sorted(self._kept)[:MOST_LINES]

    def comparison(self, *, what: str, extra: Sequence[str] = ()) -> Comparison:
        """Returns what was found; `what` names what is counted beyond the lines that are shown."""
        kept = [line for _, _, line in sorted(self._kept)[: MOST_LINES - 1]]
        more = [f"{self.found - len(kept):,} more {what} differ"] if self.found > len(kept) else []
        return Comparison(not self.found, (*extra, *kept, *more))


def clipped(line: str) -> str:
    """Returns a line that no terminal can misread, of a length that fits."""
    text = "".join(letter if letter.isprintable() else printable(letter) for letter in line[: 2 * _MOST_LETTERS])
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


def relative(old: float, new: float) -> float:
    """Returns how large a difference is beside what it was."""
    try:
        return abs(new - old) / abs(old) if old and abs(old) != math.inf else math.inf
    except OverflowError:  # whole numbers beyond what a float holds
        return math.inf


def number_text(value: float) -> str:
    """Returns a number in the digits that tell it from others."""
    return repr(value) if isinstance(value, int) else f"{value:.12g}"


def size_of_difference(old: float, new: float) -> str:
    """Returns the words for how far two numbers are apart: ` (+13.1%)`; nothing where that says nothing."""
    try:
        percent = (new - old) / abs(old) * 100 if old else math.nan
    except OverflowError:  # whole numbers beyond what a float holds
        return ""
    return f" ({percent:+.3g}%)" if percent and math.isfinite(percent) else ""
