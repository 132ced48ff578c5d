"""The words of `check`: a line for each check, with what is wrong below it, and the outcome."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.checks.verdicts import CheckVerdict
from dvlite.commands.check import CheckResult
from dvlite.show import Show, count, duration_text, one_line, printable, short_oid

_COLORS = {"passed": "green", "failed": "red", "expired": "red"}
_ORDER = ("passed", "failed", "expired", "not checked", "unknown")
_MOST_LINES = 5


def text(result: CheckResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    shown = [check for check in result.checks if not (show.quiet and check.passed)]
    names, states = (
        max((len(word) for word in words), default=0)
        for words in ([check.check for check in shown], [check.state for check in shown])
    )
    for check in shown:
        state = show.style(_COLORS.get(check.state, "yellow"), check.state) + " " * (states - len(check.state))
        yield f"{printable(check.check).ljust(names)}  {state}  {_about(check, show)}"
        lines = check.problems if show.verbose else check.problems[:_MOST_LINES]
        yield from (f"{' ' * (names + 2)}{one_line(line)}" for line in lines)
        if len(lines) < len(check.problems):
            yield f"{' ' * (names + 2)}{count(len(check.problems) - len(lines))} more (-v)"
    if not show.quiet:
        numbers = [(sum(check.state == word for check in result.checks), word) for word in _ORDER]
        said = ", ".join(f"{number:,} {word}" for number, word in numbers if number)
        yield f"{count(len(result.checks), 'check')}: {said}. {duration_text(result.elapsed_seconds)}"


def _about(check: CheckVerdict, show: Show) -> str:
    """Returns what a check is about, and since when its result is known."""
    named = show.path(check.path) + ("" if check.oid is None else f" {short_oid(check.oid)}")
    warns = "" if check.passed or "block" in check.on.values() else "; it only warns"
    if check.ran or not check.time:
        return f"{named}{warns}"
    by = f" by {printable(check.user)}" if check.user else ""
    return f"{named}, since {printable(check.time[:16].replace('T', ' '))}{by}{warns}"
