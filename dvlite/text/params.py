"""The words of `params diff`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.params import ParamDifference, ParamsDiffResult
from dvlite.show import Show, count, pair_text, printable, some, value_text
from dvlite.text.style import table


def text(result: ParamsDiffResult, show: Show) -> Iterator[str]:
    """Yields the parameters that differ."""
    yield from _rows(result, show, [row for row in result.params if row.state != "equal"])


def every(result: ParamsDiffResult, show: Show) -> Iterator[str]:
    """Yields all parameters, those that are equal too."""
    yield from _rows(result, show, result.params)


def _rows(result: ParamsDiffResult, show: Show, rows: Sequence[ParamDifference]) -> Iterator[str]:
    yield from table((show.path(row.file), printable(row.key), _values(row)) for row in rows)
    if not rows and not result.unread and not show.quiet:
        sides = f"between {printable(result.old)} and {printable(result.new)}"
        same = f"{count(len(result.params), 'parameter')} the same" if result.params else ""
        absent = f"{some([printable(name.replace(':', ' ', 1)) for name in result.absent])} on neither side"
        declared = [text for text in (same, absent if result.absent else "") if text]
        yield f"No parameter differs {sides}: {', '.join(declared) or 'no stage declares one'}."


def _values(row: ParamDifference) -> str:
    if row.state == "added":
        return f"{value_text(row.new)}  (new)"
    if row.state == "removed":
        return f"{value_text(row.old)}  (gone)"
    return value_text(row.new) if row.state == "equal" else " -> ".join(pair_text(row.old, row.new))
