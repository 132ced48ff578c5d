"""Listings of runs: as a table that fits the terminal, as CSV and as Markdown."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

from dvlite.files import printable
from dvlite.lineage.columns import value_in
from dvlite.results.runs import RunColumn, RunsListResult, RunSummary
from dvlite.text.show import Show, count, duration_text, short_oid
from dvlite.text.values import value_text

_COLOURS = {"ok": "green", "cached": "cyan", "failed": "red", "tainted": "yellow", "canceled": "yellow"}
_NONE = "-"
_NAMED = 8
_FIRST = {"param": 2, "metric": 2}  # so many of them stay longest


def text(result: RunsListResult, show: Show) -> Iterator[str]:
    """Yields what people read."""
    if not result.runs:
        if not show.quiet:
            yield (
                f"No run matches; {count(result.known, 'run')} are known." if result.known else "There are no runs yet."
            )
            yield from show.next_step("dvlite runs --all" if result.known else "dvlite repro")
        return
    rows = [[_cell(run, column, result.now) for column in result.columns] for run in result.runs]
    titles = [printable(column.title) for column in result.columns]
    kept = range(len(titles)) if result.chosen else fitting(result.columns, [titles, *rows], _width())
    yield from _table(result, titles, rows, kept, show)
    if show.quiet:
        return
    left_out = [titles[i] for i in range(len(titles)) if i not in kept]
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        yield show.style("dim", f"not shown, for want of room: {', '.join(left_out[:_NAMED])}{more} (--columns)")
    if result.more:
        yield show.style("dim", f"{len(result.runs)} of more that match (-n N, --all)")


def csv_lines(result: RunsListResult, show: Show) -> Iterator[str]:
    """Yields comma-separated values, exact."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_key(column) for column in result.columns])
    writer.writerows([_exact(run, column) for column in result.columns] for run in result.runs)
    yield from out.getvalue().removesuffix("\n").split("\n")


def markdown(result: RunsListResult, show: Show) -> Iterator[str]:
    """Yields a table for a pull request."""
    yield _markdown_row([printable(column.title) for column in result.columns])
    yield "|" + "---|" * len(result.columns)
    for run in result.runs:
        yield _markdown_row([_cell(run, column, None) for column in result.columns])


def fitting(columns: Sequence[RunColumn], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Returns the columns that fit a width (0: all).

    Those in which all runs are equal go first, then inputs, then all but the first parameters and metrics.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    kept = list(range(len(columns)))
    seen = dict.fromkeys(_FIRST, 0)
    worth = {}
    for i in kept:
        column = columns[i]
        if column.space in _FIRST:
            seen[column.space] += 1
        is_first = column.space in _FIRST and seen[column.space] <= _FIRST[column.space]
        worth[i] = (column.differs, is_first, column.space in _FIRST, column.space == "metric", -i)
    for i in sorted((i for i in kept if columns[i].space != "run"), key=lambda i: worth[i]):
        if not width or sum(widths[j] + 2 for j in kept) - 2 <= width:
            break
        kept.remove(i)
    return kept


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


def _width() -> int:
    """Returns the width of the terminal that standard output is; 0 if it is none."""
    return shutil.get_terminal_size((0, 0)).columns


def _table(
    result: RunsListResult, titles: Sequence[str], rows: Sequence[Sequence[str]], kept: Sequence[int], show: Show
) -> Iterator[str]:
    widths = {i: max(len(row[i]) for row in [titles, *rows]) for i in kept}
    yield show.style("dim", "  ".join(titles[i].ljust(widths[i]) for i in kept).rstrip())
    for run, row in zip(result.runs, rows, strict=True):
        cells = []
        for i in kept:
            cell = row[i].ljust(widths[i]) if i != kept[-1] else row[i]
            is_status = result.columns[i].space == "run" and result.columns[i].key == "status"
            cells.append(show.style(_COLOURS.get(run.status, "bold"), cell) if is_status else cell)
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


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
