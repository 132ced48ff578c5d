"""The result of comparing two versions of a file: whether they are equivalent, and lines that show the differences. Pure.

The files may be untrusted: the lines are few, short and safe to print.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from dvlite.show import printable

MOST_LINES = 10
_MOST_LETTERS = 160


class Unreadable(Exception):  # not a user error: the bytes are compared instead
    """A version of a file cannot be read in the declared format; the text names the version and the reason."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether two versions are equivalent; `lines` show how they differ, the most important first."""

    equivalent: bool
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much numbers may differ: `atol + rtol * |old|`. Integers are compared exactly, whatever their size; booleans are not numbers."""

    rtol: float = 0.0
    atol: float = 0.0

    def allows(self, old: float, new: float) -> bool:
        if old == new:
            return True
        if old != old or new != new:  # noqa: PLR0124  # NaN equals NaN
            return old != old and new != new  # noqa: PLR0124
        if not (self.rtol or self.atol) or math.inf in (abs(old), abs(new)):
            return False
        try:
            difference, most = abs(new - old), self.atol + self.rtol * abs(old)
        except OverflowError:  # integers too large for a float
            return self._allows_exactly(old, new)
        if type(old) is not type(new) or math.inf in (difference, most):
            return self._allows_exactly(old, new)
        return difference <= most

    def _allows_exactly(self, old: float, new: float) -> bool:
        return abs(Fraction(new) - Fraction(old)) <= Fraction(self.atol) + Fraction(self.rtol) * abs(Fraction(old))


@dataclass(slots=True)
class Findings:
    """The differences of a comparison: all are counted, the largest are kept."""

    count: int = 0
    _kept: list[tuple[float, int, str]] = field(default_factory=list)

    def add(self, line: str, size: float = math.inf) -> None:
        """Adds a difference of a `size`, by which the largest come first."""
        self.count += 1
        self._kept.append((-size if size == size else -math.inf, self.count, clipped(line)))  # noqa: PLR0124
        if len(self._kept) > 4 * MOST_LINES:
            self._kept = sorted(self._kept)[:MOST_LINES]

    def comparison(self, *, what: str) -> Comparison:
        """Returns the result; `what` is the noun for the differences beyond the lines that are shown."""
        kept = [line for _, _, line in sorted(self._kept)[: MOST_LINES - 1]]
        more = [f"{self.count - len(kept):,} more {what} differ"] if self.count > len(kept) else []
        return Comparison(not self.count, (*kept, *more))


def clipped(line: str) -> str:
    """Returns a line that is safe to print, cut to a length that fits."""
    text = "".join(letter if letter.isprintable() else printable(letter) for letter in line[: 2 * _MOST_LETTERS])
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


def relative(old: float, new: float) -> float:
    """Returns a difference relative to the old value."""
    try:
        return abs(new - old) / abs(old) if old and abs(old) != math.inf else math.inf
    except OverflowError:  # integers too large for a float
        return math.inf


def number_text(value: float) -> str:
    """Returns a number with enough digits to distinguish it."""
    return repr(value) if isinstance(value, int) else f"{value:.12g}"


def size_of_difference(old: float, new: float) -> str:
    """Returns the relative difference of two numbers as text: ` (+13.1%)`; empty where it is undefined."""
    try:
        percent = (new - old) / abs(old) * 100 if old else math.nan
    except OverflowError:  # integers too large for a float
        return ""
    return f" ({percent:+.3g}%)" if percent and math.isfinite(percent) else ""
