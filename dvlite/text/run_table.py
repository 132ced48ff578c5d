"""Listings of runs: as a table that fits the terminal, as CSV and as Markdown."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

from dvlite.commands.runs import RunsListResult
from dvlite.exports import table as exports_table
from dvlite.runs.columns import RunColumn, RunSummary, extremes, value_in
from dvlite.show import Show, count, duration_text, printable, short_oid, value_text
from dvlite.text.markdown import plain, table

_COLOURS = {
    "ok": "green",
    "cached": "cyan",
    "asserted": "cyan",
    "failed": "red",
    "tainted": "yellow",
    "canceled": "yellow",
}
_NONE = "-"
_FIRST = {"metric": 2, "param": 2, "run": 99, "input": 1}  # columns of each space that come before all others
_RANK = {space: rank for rank, space in enumerate(_FIRST)}
_WIDTH = 100  # where there is no terminal


def text(result: RunsListResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if not result.runs:
        if not show.quiet:
            yield from _nothing(result, show)
        return
    shown = result.columns if result.chosen else worth_showing(result.columns)
    rows = [[_cell(run, column, result.now) for column in shown] for run in result.runs]
    titles = [printable(column.title) for column in shown]
    kept = range(len(shown)) if result.chosen else fitting(shown, [titles, *rows], terminal_width())
    yield from _table(result, [shown[i] for i in kept], [[row[i] for i in kept] for row in [titles, *rows]], show)
    if show.quiet:
        return
    if len(kept) < len(shown):
        hidden = [printable(shown[i].title) for i in range(len(shown)) if i not in kept]
        yield show.style(
            "dim", f"{count(len(hidden), 'more column')}: --columns all, or --columns {','.join(hidden[:2])}"
        )
    if result.more:
        yield show.style("dim", f"the first {count(len(result.runs), 'run')}; for more: -n N, or --all")


def _nothing(result: RunsListResult, show: Show) -> Iterator[str]:
    """Says why nothing is listed, and what to do."""
    if result.known:
        yield f"No run matches; {count(result.known, 'run')} {'is' if result.known == 1 else 'are'} known."
        yield from show.next_step("dvlite runs --all")
    elif result.named:
        records = "its record comes" if result.named == 1 else "their records come"
        yield f"There are no run records in this clone; lockfiles name {count(result.named, 'run')}: {records} with dvlite pull."
        yield from show.next_step("dvlite pull")
    else:
        yield "There are no runs yet: dvlite repro records each run of a stage."


def csv_lines(result: RunsListResult, _show: Show) -> Iterator[str]:
    """Yields comma-separated values, numbers exact, one line for each run; texts are safe in a spreadsheet."""
    heads = [_key(column) for column in result.columns]
    rows = ([_exact(run, column) for column in result.columns] for run in result.runs)
    yield from exports_table.csv_lines(itertools.chain([heads], rows))


def markdown(result: RunsListResult, _show: Show) -> Iterator[str]:
    """Yields a table for a pull request."""
    shown = result.columns if result.chosen else worth_showing(result.columns)
    rows = ([plain(_cell(run, column, None)) for column in shown] for run in result.runs)
    yield from table([column.title for column in shown], rows)


def worth_showing(columns: Sequence[RunColumn]) -> list[RunColumn]:
    """Returns the columns in which runs differ, and the first metrics in any case."""
    metrics = [column for column in columns if column.space == "metric"][: _FIRST["metric"]]
    return [column for column in columns if column.differs or column.space == "run" or column in metrics]


def fitting(columns: Sequence[RunColumn], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Returns which columns fit a width: the run, two metrics, two parameters, what else is of the run, the first input, then what has room."""
    widths = [max(len(row[i]) for row in rows) + 2 for i in range(len(columns))]
    seen: dict[str, int] = {}
    order = []
    for i, column in enumerate(columns):
        seen[column.space] = seen.get(column.space, 0) + 1
        is_first = seen[column.space] <= _FIRST.get(column.space, 0)
        order.append((i > 0, _RANK.get(column.space, len(_RANK)) if is_first else len(_RANK), i))
    room, kept = width + 2, []
    for _, _, i in sorted(order):
        if widths[i] <= room or i == 0:
            room -= widths[i]
            kept.append(i)
    return sorted(kept)


def terminal_width() -> int:
    """Returns how many characters a line may have."""
    return shutil.get_terminal_size((_WIDTH, 0)).columns


def status_text(status: str, show: Show) -> str:
    """Returns a status in its colour."""
    return show.style(_COLOURS.get(status, "bold"), status)


def ago_text(then: str, now: str) -> str:
    """Returns how long ago something was, or its date if that is long: `2m ago`."""
    try:
        seconds = (dt.datetime.fromisoformat(now) - dt.datetime.fromisoformat(then)).total_seconds()
    except (ValueError, TypeError):
        return _NONE
    if not -60 < seconds < 60 * 86_400:
        return then[:10]
    if seconds < 60:
        return f"{max(0, int(seconds))}s ago"
    if seconds < 5_400:
        return f"{int(seconds // 60)}m ago"
    return f"{int(seconds // 3600)}h ago" if seconds < 172_800 else f"{int(seconds // 86_400)}d ago"


def when_text(at: str) -> str:
    """Returns a time as people read it, in UTC."""
    return f"{at[:16].replace('T', ' ')} UTC" if at else _NONE


def _table(
    result: RunsListResult, columns: Sequence[RunColumn], rows: Sequence[Sequence[str]], show: Show
) -> Iterator[str]:
    """Yields the titles, the first of the rows, and a line for each run; the best of the metrics in green, the worst in red."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    ends = [extremes(column, (value_in(run, column) for run in result.runs)) for column in columns]
    yield show.style("dim", "  ".join(map(str.ljust, rows[0], widths)).rstrip())
    for run, row in zip(result.runs, rows[1:], strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[-1] = row[-1]
        for i, column in enumerate(columns):
            if (column.space, column.key) == ("run", "status"):
                cells[i] = show.style(_COLOURS.get(run.status, "bold"), cells[i])
            best, worst = ends[i] or (None, None)
            if best is not None and value_in(run, column) in (best, worst):
                cells[i] = show.style("green" if value_in(run, column) == best else "red", cells[i])
        yield "  ".join(cells).rstrip()


def _cell(run: RunSummary, column: RunColumn, now: str | None) -> str:
    value = value_in(run, column)
    if column.space != "run":
        return _NONE if value is None else short_oid(value) if column.space == "input" else value_text(value)
    match column.key:
        case "run":
            return printable(run.name)
        case "when":
            return run.start if now is None else ago_text(run.start, now)
        case "commit":
            return _commit(run)
        case "models":
            return printable(", ".join(run.models)) or _NONE
        case "tags":
            return printable(" ".join(run.tags)) or _NONE
        case "seconds":
            return duration_text(run.seconds)
        case "of":
            return _NONE if run.of is None else short_oid(run.of)
        case _:
            return value_text(value) if value not in (None, "") else _NONE


def _commit(run: RunSummary) -> str:
    if run.commit is not None:
        return run.commit[:7]
    return _NONE if run.code is None else run.code[:7] + "+edits" * run.edited


def _key(column: RunColumn) -> str:
    return column.key if column.space == "run" else column.title


def _exact(run: RunSummary, column: RunColumn) -> Any:
    value = value_in(run, column)
    if column.space == "run" and column.key == "run":
        return run.name
    if column.space == "run" and column.key == "commit":
        return run.commit or (run.code or "") + "+edits" * run.edited
    if isinstance(value, tuple):
        return " ".join(value)
    return json.dumps(value) if isinstance(value, (list, dict, bool)) else value
