"""The words of `metrics show` and `metrics diff`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.metrics import MetricsDiffResult, MetricsShowResult
from dvlite.formats.series import is_series
from dvlite.pipeline.metric_files import MetricDifference, MetricsFile
from dvlite.show import Show, count, pair_text, printable, value_text, word
from dvlite.text.markdown import plain
from dvlite.text.markdown import table as markdown_table
from dvlite.text.style import change_text, table

_NONE = "-"


def text(result: MetricsShowResult | MetricsDiffResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, MetricsShowResult):
        yield from _show(result, show)
    else:
        yield from _diff(result, show)


def markdown(result: MetricsDiffResult, _show: Show) -> Iterator[str]:
    """Yields a table for a pull request."""
    heads = ("file", "metric", result.old, result.new, "change", "")
    rows = map(metric_cells, _different(result))
    yield from markdown_table(heads, (tuple(map(plain, row)) for row in rows), right=(2, 3, 4))


def metric_cells(row: MetricDifference) -> tuple[str, ...]:
    """Returns a metric that differs: file, key, both values, the change, and whether that is better."""
    return (row.file, row.key, *_sides(row), _change(row), _verdict(row))


def _show(result: MetricsShowResult, show: Show) -> Iterator[str]:
    """Yields a line for each metric, with a column for each revision."""
    sides = [{file.path: file for file in side.files} for side in result.revisions]
    names = dict.fromkeys((path, key) for side in sides for path in sorted(side) for key in side[path].values)
    rows = [
        [show.path(path), printable(key), *(_value(side.get(path), key) for side in sides)]
        for path, key in sorted(names, key=lambda name: name[0])
    ]
    if len(sides) > 1 and rows:
        rows.insert(0, ["", "", *(printable(side.revision) for side in result.revisions)])
    yield from table(rows)
    if not rows and not result.unread and not show.quiet:
        yield "There are no metrics yet." if any(sides) else "No stage has produced metrics yet."


def _value(file: MetricsFile | None, key: str) -> str:
    return _NONE if file is None or key not in file.values else value_text(file.values[key])


def _diff(result: MetricsDiffResult, show: Show) -> Iterator[str]:
    different = _different(result)
    rows = result.metrics if show.verbose else different
    lines = list(
        table((show.path(row.file), printable(row.key), " -> ".join(_sides(row)), _change(row)) for row in rows)
    )
    width = max(map(len, lines), default=0)
    for row, line in zip(rows, lines, strict=True):
        verdict = _verdict(row)
        color = "red" if verdict == "worse" else "green"
        yield f"{line.ljust(width)}  {show.style(color, verdict)}" if verdict else line
    if not different and not result.unread and not show.quiet:
        sides = f"between {printable(result.old)} and {printable(result.new)}"
        there = f"{count(len(result.metrics), 'metric')} the same" if result.metrics else "there are none"
        yield f"No metric differs {sides}: {there}."
    if any(is_series(row.file) for row in different):
        yield from show.next_step(f"dvlite plots diff {word(result.old)} {word(result.new)}")


def _different(result: MetricsDiffResult) -> Sequence[MetricDifference]:
    return [row for row in result.metrics if row.state != "equal"]


def _sides(row: MetricDifference) -> tuple[str, str]:
    if row.state == "added":
        return _NONE, value_text(row.new)
    if row.state == "removed":
        return value_text(row.old), _NONE
    return pair_text(row.old, row.new)


def _change(row: MetricDifference) -> str:
    if row.change is None or not row.change:
        return ""
    return change_text(row.change) + ("" if row.relative is None else f" ({row.relative:+.2%})")


def _verdict(row: MetricDifference) -> str:
    if row.state == "changed":
        return "" if row.better is None else "better" if row.better else "worse"
    return "" if row.state == "equal" else "new" if row.state == "added" else "gone"
