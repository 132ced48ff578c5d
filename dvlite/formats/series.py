"""A series is a metric over steps: files that training writes as it goes, read into columns (docs/reference/formats/series.md).

JSON lines, tables (`.csv`, `.tsv`) and TensorBoard event files. What cannot be read is counted, and the rest is read: a file that is
still written ends in the middle of a line or a record.
"""

from __future__ import annotations

import csv
import io
import json
import math
import posixpath
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dvlite.errors import FormatError
from dvlite.files import format_error
from dvlite.formats import event_file
from dvlite.formats.strict_yaml import MAX_DEPTH

LIMIT_BYTES = 256 << 20
TABLE_SUFFIXES = {".csv": ",", ".tsv": "\t"}
LINES_SUFFIXES = (".jsonl", ".ndjson")
SERIES_SUFFIXES = (*TABLE_SUFFIXES, *LINES_SUFFIXES)
STEP_NAMES = ("step", "global_step", "_step", "iteration", "iter", "epoch")  # the first that a file has is its step
TIME_NAMES = ("time", "timestamp", "wall_time", "_timestamp")  # seconds since 1970
_MOST_SERIES = 10_000  # of one file
_LONGEST_NAME = 1000


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one metric at steps that increase; NaN and infinities are kept. `times` are seconds since 1970, empty if not known."""

    name: str
    steps: array[int]  # 'q'
    values: array[float]  # 'd'
    times: array[float]  # 'd'


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """The series of a file by name, and a sentence for each kind of thing in it that could not be read."""

    series: Mapping[str, Series]
    problems: tuple[str, ...] = ()


def is_series(name: str) -> bool:
    """Returns whether a file is read as series, by its name."""
    return posixpath.splitext(name)[1].lower() in SERIES_SUFFIXES or event_file.is_event_file(name)


def parse(data: bytes, name: str, where: str | None = None) -> SeriesFile:
    """Reads a file whose name `is_series` knows; a step that comes again or goes back replaces all from there on: a run was resumed.

    `where` names the file in errors, if not its name. Raises FormatError for one that is too large, or nothing of which can be read.
    """
    where = where or name
    if len(data) > LIMIT_BYTES:
        raise _wrong(where, f"it has {len(data)} bytes, more than {LIMIT_BYTES}")
    columns = _Points()
    suffix = posixpath.splitext(name)[1].lower()
    if event_file.is_event_file(name):
        _read_events(data, columns)
    elif suffix in LINES_SUFFIXES:
        _read_lines(data, columns)
    else:
        _read_table(data, TABLE_SUFFIXES[suffix], columns)
    if columns.problems and not columns.series:
        raise _wrong(where, "; ".join(columns.sentences()))
    return SeriesFile(columns.series, tuple(columns.sentences()))


class _Points:
    """Series that grow point by point, and what could not be read: how often, and where first."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.problems: dict[str, tuple[int, str]] = {}

    def add(self, name: str, step: int, value: float, time: float | None) -> None:
        series = self.series.get(name)
        if series is None:
            if len(self.series) == _MOST_SERIES or len(name) > _LONGEST_NAME:
                self.note(f"more than {_MOST_SERIES} series, or a name of more than {_LONGEST_NAME} characters", "")
                return
            series = self.series[name] = Series(name, array("q"), array("d"), array("d"))
        steps, values, times = series.steps, series.values, series.times
        if steps and step <= steps[-1]:
            cut = bisect_left(steps, step)
            del steps[cut:], values[cut:], times[cut:]
        if time is not None and len(times) == len(steps):
            times.append(time)
        elif times:  # not known for all points: for none
            del times[:]
        steps.append(step)
        values.append(value)

    def note(self, problem: str, place: str) -> None:
        number, first = self.problems.get(problem, (0, place))
        self.problems[problem] = number + 1, first

    def sentences(self) -> Iterator[str]:
        for problem, (number, first) in self.problems.items():
            often = "" if number == 1 else f", {number} times"
            yield f"{first + ': ' if first else ''}{problem}{often}"


# --- JSON lines and tables


def _read_lines(data: bytes, columns: _Points) -> None:
    chosen: str | None = None
    for number, line in enumerate(io.BytesIO(data), 1):
        if line.isspace():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            if line.endswith(b"\n"):  # else the file is still written
                columns.note("it is not JSON", f"line {number}")
            continue
        if not isinstance(row, dict):
            columns.note("it is not a JSON object", f"line {number}")
            continue
        numbers = dict(_numbers(row, "", 0))
        chosen = chosen or next((name for name in STEP_NAMES if name in numbers), None)
        _add_row(columns, numbers, chosen, number)


def _numbers(row: Mapping[str, object], above: str, depth: int) -> Iterator[tuple[str, float]]:
    for key, value in row.items():
        if isinstance(value, dict) and depth < MAX_DEPTH:
            yield from _numbers(value, f"{above}{key}.", depth + 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            try:
                yield f"{above}{key}", float(value)
            except OverflowError:
                yield f"{above}{key}", math.inf if value > 0 else -math.inf


def _read_table(data: bytes, delimiter: str, columns: _Points) -> None:
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="", errors="replace")
    rows = csv.reader(text, delimiter=delimiter)
    heads: list[str] = []
    chosen: str | None = None
    try:
        for row in rows:
            if not heads:
                heads = [head.strip() for head in row]
                chosen = next((name for name in STEP_NAMES if name in heads), None)
            elif row:
                _add_row(columns, dict(_cells(heads, row)), chosen, rows.line_num - 1)
    except csv.Error as error:
        columns.note(f"it is not a table: {error}", f"line {rows.line_num}")


def _cells(heads: Sequence[str], row: Sequence[str]) -> Iterator[tuple[str, float]]:
    for head, cell in zip(heads, row, strict=False):
        try:
            if head and cell:
                yield head, float(cell)
        except ValueError:  # words
            continue


def _add_row(columns: _Points, numbers: dict[str, float], step_name: str | None, number: int) -> None:
    """Adds a row; without a step of its own it is the one after those before it."""
    step = float(number - 1)
    if step_name is not None:
        if step_name not in numbers:
            columns.note(f"it has no {step_name}", f"line {number}")
            return
        step = numbers.pop(step_name)
    if not (step.is_integer() and abs(step) < 2**53):
        columns.note(f"its {step_name} is no whole number", f"line {number}")
        return
    time = next((numbers.pop(name) for name in TIME_NAMES if name in numbers), None)
    for name, value in numbers.items():
        columns.add(name, int(step), value, time)


# --- TensorBoard


def _read_events(data: bytes, columns: _Points) -> None:
    try:
        for event in event_file.scalars(data):
            columns.add(event.tag, event.step, event.value, event.time)
    except FormatError as error:
        columns.note(error.message, "")


def _wrong(where: str, reason: str) -> FormatError:
    return format_error(where, None, reason, hint=None, usual="let the program that wrote it write it again")
