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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dvlite.errors import FormatError
from dvlite.files import format_error
from dvlite.formats import event_file
from dvlite.formats.strict_yaml import MAX_DEPTH

LIMIT_BYTES = 256 << 20
LIST_LIMIT_BYTES = 32 << 20  # of a JSON document, which is in memory as a whole
TABLE_SUFFIXES = {".csv": ",", ".tsv": "\t"}
LINES_SUFFIXES = (".jsonl", ".ndjson")
SERIES_SUFFIXES = (*TABLE_SUFFIXES, *LINES_SUFFIXES)
STEP_NAMES = ("step", "global_step", "_step", "iteration", "iter", "epoch")  # the first that a file has is its step
TIME_NAMES = ("time", "timestamp", "wall_time", "_timestamp")  # seconds since 1970
MOST_SERIES = 10_000  # of one file
LONGEST_NAME = 1000


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
    """Reads a file whose name `is_series` knows, or a JSON list; a step that comes again or goes back replaces all from there on: a run was resumed.

    `where` names the file in errors, if not its name. Raises FormatError for one that is too large, or nothing of which can be read.
    """
    where = where or name
    if len(data) > LIMIT_BYTES:
        raise _wrong(where, f"it has more than {LIMIT_BYTES:,} bytes")
    columns = _Points()
    if event_file.is_event_file(name):
        _read_events(data, columns)
    else:
        step_name: str | None = None
        for number, row in rows(data, name, columns.notes, where):
            step_name = step_name or next((key for key in STEP_NAMES if key in row), None)
            _add_row(columns, row, step_name, number)
    problems = tuple(columns.notes.sentences())
    if problems and not columns.series:
        raise _wrong(where, "; ".join(problems))
    return SeriesFile(columns.series, problems)


Cell = float | str


def rows(data: bytes, name: str, notes: Notes, where: str | None = None) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Yields the rows of a table, of JSON lines, or of the first list of mappings in a JSON file, each with its number from 1.

    Columns, or dotted keys, have numbers or text; all else, and empty cells, are left out. What cannot be read goes into `notes`.
    Raises FormatError for JSON that is none, or has no such list.
    """
    suffix = posixpath.splitext(name)[1].lower()
    if suffix in TABLE_SUFFIXES:
        return _table_rows(data, TABLE_SUFFIXES[suffix], notes)
    lines = _listed(data, where or name) if suffix == ".json" else _json_lines(data, notes)
    return _json_rows(lines, notes)


class Notes:
    """What could not be read: how often, and where first."""

    def __init__(self) -> None:
        self._problems: dict[str, tuple[int, str]] = {}

    def note(self, problem: str, place: str = "") -> None:
        number, first = self._problems.get(problem, (0, place))
        self._problems[problem] = number + 1, first

    def sentences(self) -> Iterator[str]:
        for problem, (number, first) in self._problems.items():
            often = "" if number == 1 else f", {number} times"
            yield f"{first + ': ' if first else ''}{problem}{often}"


class _Points:
    """Series that grow point by point."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.notes = Notes()

    def add(self, name: str, step: int, value: float, time: float | None) -> None:
        series = self.series.get(name)
        if series is None:
            if len(self.series) == MOST_SERIES or len(name) > LONGEST_NAME:
                self.notes.note(f"more than {MOST_SERIES} series, or a name of more than {LONGEST_NAME} characters")
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


# --- JSON lines and tables


def _json_lines(data: bytes, notes: Notes) -> Iterator[object]:
    """Yields what stands on each line, None where that is nothing."""
    for number, line in enumerate(io.BytesIO(data), 1):
        try:
            yield None if line.isspace() else json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            yield None
            if line.endswith(b"\n"):  # else the file is still written
                notes.note("it is not JSON", f"line {number}")


def _listed(data: bytes, where: str) -> Sequence[object]:
    """Returns the first list of mappings in a JSON document, which may be the document."""
    if len(data) > LIST_LIMIT_BYTES:
        raise _wrong(where, f"it has more than {LIST_LIMIT_BYTES:,} bytes: JSON lines (.jsonl) may have more")
    try:
        inside = [json.loads(data.decode("utf-8-sig"))]
    except (ValueError, RecursionError):
        raise _wrong(where, "it is not JSON") from None
    for value in inside:
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return value
        inside += value.values() if isinstance(value, dict) else ()
    raise _wrong(where, "it has no list of mappings, which could be rows")


def _json_rows(values: Iterable[object], notes: Notes) -> Iterator[tuple[int, dict[str, Cell]]]:
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            yield number, dict(_leaves(value, "", 0))
        elif value is not None:
            notes.note("it is not a JSON object", f"line {number}")


def _leaves(row: Mapping[str, object], above: str, depth: int) -> Iterator[tuple[str, Cell]]:
    for key, value in row.items():
        if isinstance(value, dict) and depth < MAX_DEPTH:
            yield from _leaves(value, f"{above}{key}.", depth + 1)
        elif isinstance(value, str):
            yield f"{above}{key}", value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            try:
                yield f"{above}{key}", float(value)
            except OverflowError:
                yield f"{above}{key}", math.inf if value > 0 else -math.inf


def _table_rows(data: bytes, delimiter: str, notes: Notes) -> Iterator[tuple[int, dict[str, Cell]]]:
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="", errors="replace")
    lines = csv.reader(text, delimiter=delimiter)
    heads: list[str] = []
    try:
        for row in lines:
            if not heads:
                heads = [head.strip() for head in row]
            elif row:
                yield lines.line_num - 1, _cells(heads, row)
    except csv.Error as error:
        notes.note(f"it is not a table: {error}", f"line {lines.line_num}")


def _cells(heads: Sequence[str], row: Sequence[str]) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for head, cell in zip(heads, row, strict=False):
        if head and cell:
            try:
                cells[head] = float(cell)
            except ValueError:  # words
                cells[head] = cell
    return cells


def _add_row(columns: _Points, row: dict[str, Cell], step_name: str | None, number: int) -> None:
    """Adds the numbers of a row; without a step of its own it is the one after those before it."""
    step: Cell | None = float(number - 1)
    if step_name is not None:
        step = row.pop(step_name, None)
        if step is None:
            columns.notes.note(f"it has no {step_name}", f"line {number}")
            return
    if not (isinstance(step, float) and step.is_integer() and abs(step) < 2**53):
        columns.notes.note(f"its {step_name} is no whole number", f"line {number}")
        return
    at = int(step)
    time = next((seconds for name in TIME_NAMES if isinstance(seconds := row.pop(name, None), float)), None)
    for name, value in row.items():
        if isinstance(value, float):
            columns.add(name, at, value, time)


# --- TensorBoard


def _read_events(data: bytes, columns: _Points) -> None:
    try:
        for event in event_file.scalars(data):
            columns.add(event.tag, event.step, event.value, event.time)
    except FormatError as error:
        columns.notes.note(error.message)


def _wrong(where: str, reason: str) -> FormatError:
    return format_error(where, None, reason, hint=None, usual="let the program that wrote it write it again")
