"""The words of `plots show` and `plots diff`: a line for each curve, or, drawn in the terminal, some."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dvlite.commands.plots import PlotsResult
from dvlite.plots.collect import Plot, PlotCurve, curve_names, in_class_order
from dvlite.show import Show, count, printable, size_text, value_text
from dvlite.text.style import ends_of, range_text, sparkline, table

_WIDTH, _HEIGHT = 64, 8  # of a chart in the terminal
_MOST_CLASSES = 16  # of a confusion matrix there
_INDENT = "  "


def text(result: PlotsResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result: with a page where it is, else a line for each curve and image."""
    if result.file is not None:
        yield from _written(result, show)
        return
    yield from _nothing(result, show)
    for plot in result.plots:
        yield show.bold(printable(plot.title))
        rows = [(*apart, *summary(curve, plot, show)) for curve, apart in _apart(result, plot)]
        filled = [number for number, column in enumerate(zip(*rows, strict=True)) if any(column)]
        yield from table(([row[number] for number in filled] for row in rows), indent=_INDENT) if rows else ()
        yield from _images(plot, show)


def terminal(result: PlotsResult, show: Show) -> Iterator[str]:
    """Yields each plot drawn in blocks."""
    yield from _nothing(result, show)
    for plot in result.plots:
        yield show.bold(printable(plot.title))
        for curve, apart in _apart(result, plot):
            name = "  ".join(filter(None, apart)).strip()
            yield from [_INDENT + name] if name else ()
            yield from _matrix(curve, plot) if plot.template == "confusion" else _chart(curve, plot, show)
        yield from _images(plot, show)
        yield ""


def _written(result: PlotsResult, show: Show) -> Iterator[str]:
    if show.quiet:
        return
    sides = count(len(result.revisions), "revision")
    yield f"Wrote {printable(result.file or '')} ({count(len(result.plots), 'plot')}, {sides}, {size_text(result.size_bytes or 0)})"
    if result.opened is False:
        yield "No browser opens here: copy the file to where there is one."


def _nothing(result: PlotsResult, show: Show) -> Iterator[str]:
    if not result.plots and not result.warnings and not show.quiet:
        yield "There are no plots: declare some in dvlite.yaml, or write metrics over steps (.jsonl, .csv)."


def _apart(result: PlotsResult, plot: Plot) -> Iterator[tuple[PlotCurve, tuple[str, str]]]:
    """Yields each curve with what sets it apart from others: its side, and its file and column, as far as there are several."""
    has_sides = len(result.revisions) > 1
    for curve, name in zip(plot.curves, curve_names(plot.curves), strict=True):
        yield curve, (printable(curve.revision) if has_sides else "", name)


def _numbers(curve: PlotCurve) -> list[float]:
    return [math.nan if not isinstance(y, float) else y for y in curve.y]


def summary(curve: PlotCurve, plot: Plot, show: Show) -> tuple[str, ...]:
    """Returns the course of a curve in blocks, its range, and how many points it has; of a confusion matrix how many are right."""
    if plot.template == "confusion":
        right = sum(number for x, y, number in zip(curve.x, curve.y, curve.counts, strict=True) if x == y)
        return (
            "",
            f"{count(right)} of {count(curve.points)} equal",
            count(len(set(curve.x) | set(curve.y)), "class", "classes"),
        )
    (line,) = sparkline(_numbers(curve), unicode=show.unicode)
    return line, range_text(curve.x if plot.template == "histogram" else curve.y), _amount(curve)


def _amount(curve: PlotCurve) -> str:
    return count(curve.points, "point") + (f", {count(curve.gaps)} not finite" if curve.gaps else "")


def _chart(curve: PlotCurve, plot: Plot, show: Show) -> Iterator[str]:
    """Yields a curve in blocks, with the least and the greatest value of both axes."""
    low, high = ends_of(curve.y) or ("", "no finite value")
    room = max(len(low), len(high))
    rows = sparkline(_numbers(curve), unicode=show.unicode, width=_WIDTH, height=_HEIGHT)
    for number, row in enumerate(rows):
        at = high if number == 0 else low if number == len(rows) - 1 else ""
        yield f"{_INDENT}{at.rjust(room)} {row}".rstrip()
    first, last = (value_text(curve.x[end]) if curve.x else "" for end in (0, -1))
    gap = " " * max(len(rows[0]) - len(first) - len(last), 1)
    yield f"{_INDENT}{' ' * room} {first}{gap}{last}  {printable(plot.x_label)}"


def _matrix(curve: PlotCurve, plot: Plot) -> Iterator[str]:
    classes = in_class_order(str(cell) for cell in (*curve.x, *curve.y))
    if len(classes) > _MOST_CLASSES:
        yield f"{_INDENT}{len(classes)} classes: too many for a terminal"
        return
    counts = {(x, y): number for x, y, number in zip(curve.x, curve.y, curve.counts, strict=True)}
    rows = [[printable(y), *(str(counts.get((x, y), 0)) for x in classes)] for y in classes]
    yield from table([[printable(f"{plot.y_label} / {plot.x_label}"), *map(printable, classes)], *rows], indent=_INDENT)


def _images(plot: Plot, show: Show) -> Iterator[str]:
    yield from table(
        (
            (printable(image.revision), show.path(image.file), image.type, size_text(image.size_bytes))
            for image in plot.images
        ),
        indent=_INDENT,
    )
