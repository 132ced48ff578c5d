"""The history of metrics as another program kept it, made into series: whole steps that increase, in bounded memory."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping

from dvlite.errors import FormatError
from dvlite.formats.series import LONGEST_NAME, MOST_SERIES, Series
from dvlite.runs.curves import places_kept
from dvlite.runs.logs import MOST_BYTES

MOST_POINTS = 2_000_000  # of a run: above, every series is thinned; no peak is lost
_LARGEST = 2.0**53  # of whole numbers that a double holds
_NOT_KNOWN = math.nan


class Curves:
    """Collects points, in any order. `problems` are sentences on what was left out, `is_thinned` says that points were."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.is_thinned = False
        self._columns: dict[str, tuple[array[float], array[float], array[float]]] = {}  # steps, values, times
        self._count = 0

    def add(self, name: str, step: float | None, value: float, time: float | None) -> None:
        """Adds a point; `time` in seconds since 1970. Raises what `float` does for what is no number, and adds nothing."""
        numbers = [_NOT_KNOWN if number is None else float(number) for number in (step, value, time)]
        column = self._columns.get(name)
        if column is None:
            if len(self._columns) == MOST_SERIES or not 0 < len(name) <= LONGEST_NAME:
                problem = f"more than {MOST_SERIES} metrics, or a name of more than {LONGEST_NAME} characters"
                self.problems += [problem] if problem not in self.problems else []
                return
            column = self._columns[name] = array("d"), array("d"), array("d")
        for place, number in zip(column, numbers, strict=True):
            place.append(number)
        self._count += 1
        if self._count > MOST_POINTS:
            self._thin()

    def series(self) -> dict[str, Series]:
        """Returns a series for each metric."""
        return {name: _series(name, *column) for name, column in self._columns.items()}

    def _thin(self) -> None:
        self.is_thinned, self._count = True, 0
        for name, column in self._columns.items():
            kept = places_kept(column[1], len(column[1]) // 2)
            steps, values, times = (array("d", (numbers[place] for place in kept)) for numbers in column)
            self._columns[name] = steps, values, times
            self._count += len(kept)


def _series(name: str, steps: array[float], values: array[float], times: array[float]) -> Series:
    """Returns a series. Where steps are no whole numbers, not known or all the same, points are counted, in the order of their times.

    Of several points at one step the last one stays, as in all series.
    """
    order = sorted(range(len(values)), key=lambda place: (_or_last(steps[place]), _or_last(times[place])))
    is_whole = all(step.is_integer() and abs(step) < _LARGEST for step in steps)
    if is_whole and (len(values) < 2 or len(set(steps)) > 1):
        last = {int(steps[place]): place for place in order}
    else:
        last = dict(enumerate(order))
    known = all(math.isfinite(time) for time in times)
    return Series(
        name,
        array("q", last),
        array("d", (values[place] for place in last.values())),
        array("d", (times[place] for place in last.values()) if known else ()),
    )


def _or_last(number: float) -> float:
    return number if math.isfinite(number) else math.inf


def dump(series: Mapping[str, Series], inside: str, where: str) -> bytes:
    """Returns series as JSON lines, a line for each point, with the value in an object `inside`, so that no metric is taken for a step.

    Raises FormatError, which names `where`, for more than can be fetched again.
    """
    written, size_bytes = list[bytes](), 0
    for name, one in series.items():
        times = one.times or [None] * len(one.steps)
        for step, value, time in zip(one.steps, one.values, times, strict=True):
            row = {"step": step, **({} if time is None else {"time": time}), inside: {name: value}}
            written.append(json.dumps(row, separators=(",", ":")).encode() + b"\n")
            size_bytes += len(written[-1])
            if size_bytes > MOST_BYTES:
                raise FormatError(f"{where} have more than {MOST_BYTES} bytes")
    return b"".join(written)
