"""Runs as tables: a row for each run, or for each point of their series; written as CSV, or by `formats.parquet`. The only writer of CSV.

Parquet has values and types as they are. A cell of CSV is never one that a spreadsheet executes.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from dvlite.exports.exported_run import ExportedRun, short_names
from dvlite.formats import record
from dvlite.formats.parquet import ColumnType
from dvlite.oid import Oid
from dvlite.runs.schema import RunRow
from dvlite.show import printable_text

_COMMANDS = ("=", "+", "-", "@", "::", "##[")  # in spreadsheets, and in the logs of CI services
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # as records hold them
_MILLION = 10**6
_FIXED: Mapping[str, ColumnType] = {
    "run": "text",
    "id": "text",
    "stage": "text",
    "file": "text",
    "status": "text",
    "start": "time",
    "seconds": "number",
    "exit_code": "whole",
    "user": "text",
    "host": "text",
    "commit": "text",
    "edited": "truth",
    "of": "text",
    "sweep": "text",
    "tags": "text",
}
SERIES_COLUMNS: Mapping[str, ColumnType] = {
    "run": "text",
    "metric": "text",
    "step": "whole",
    "time": "time",
    "value": "number",
}

Part = Sequence[Sequence[Any]]  # the values of each column; times are milliseconds since 1970


@dataclass(frozen=True, slots=True)
class RunValues:
    """What a row shows of a run beside the fields of the index."""

    params: Mapping[str, Any]
    metrics: Mapping[str, Any]
    tags: Sequence[str]


def of_runs(
    rows: Sequence[RunRow], names: Sequence[str], values: Sequence[RunValues]
) -> tuple[dict[str, ColumnType], Part]:
    """Returns the columns of a table with a row for each run, and their values: `params.lr`, `metrics.acc`, by short names where these are unique."""
    columns = dict(_FIXED)
    fixed = [
        (
            name,
            row.oid,
            row.stage,
            row.file,
            row.status,
            record.time_ns(row.start) // _MILLION or None,
            row.seconds,
            row.exit_code,
            row.user,
            row.host,
            row.code,
            row.dirty,
            row.origin,
            row.sweep,
            " ".join(of_run.tags),
        )
        for row, name, of_run in zip(rows, names, values, strict=True)
    ]
    part: list[Sequence[Any]] = [*zip(*fixed, strict=True)]
    for space, mappings in (("params", [one.params for one in values]), ("metrics", [one.metrics for one in values])):
        for key, title in _titles(dict.fromkeys(chain.from_iterable(mappings))).items():
            kind, cells = _column([mapping.get(key) for mapping in mappings])
            columns[f"{space}.{title}"] = kind
            part.append(cells)
    return columns, part


def of_series(exported: ExportedRun) -> Iterator[Part]:
    """Yields the rows of the points of a run, metric by metric, for SERIES_COLUMNS."""
    titles = short_names(exported.series)
    for key, one in exported.series.items():
        count = len(one.steps)
        times = [_milliseconds(time) for time in one.times] or [None] * count
        yield [exported.name] * count, [titles[key]] * count, one.steps, times, one.values


def unique_names(names: Sequence[str], oids: Sequence[Oid]) -> list[str]:
    """Returns names of runs with more digits where several are called the same."""
    often = Counter(names)
    return [
        name if often[name] == 1 else f"{name.rpartition('-')[0]}-{oid.rpartition(':')[2][:16]}"
        for name, oid in zip(names, oids, strict=True)
    ]


def write_csv(file: BinaryIO, columns: Mapping[str, ColumnType], parts: Iterable[Part]) -> None:
    """Writes a table as CSV; times as text, text as `csv_cell` has it."""
    rows = chain([[*columns]], (_texts(row, columns) for part in parts for row in zip(*part, strict=True)))
    file.writelines(f"{line}\n".encode("utf-8", "surrogateescape") for line in csv_lines(rows))


def csv_lines(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Yields rows as comma-separated values, numbers exact, each a line; texts are those of `csv_cell`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="")
    for row in rows:
        writer.writerow(map(csv_cell, row))
        yield out.getvalue()
        out.seek(0)
        out.truncate()


def csv_cell(value: Any) -> Any:
    """Returns a value that neither a terminal, a CI log nor a spreadsheet takes for a command: strangers may have written the record.

    Control characters and line ends are escaped; a text that begins as a formula or as a workflow command gets a `'` in front.
    """
    if not isinstance(value, str):
        return value
    shown = printable_text(value)
    return f"'{shown}" if shown.lstrip().startswith(_COMMANDS) else shown


def _texts(row: Sequence[Any], columns: Mapping[str, ColumnType]) -> Iterator[Any]:
    for value, kind in zip(row, columns.values(), strict=True):
        if kind == "time":
            yield None if value is None else record.time_text(value * _MILLION)
        else:
            yield json.dumps(value) if kind == "truth" and value is not None else value


def _titles(keys: Iterable[str]) -> dict[str, str]:
    """Returns the short names of keys, or all whole ones if a short name is the whole key of another."""
    keys = [*keys]
    titles = short_names(keys)
    return titles if len(set(titles.values())) == len(titles) else {key: key for key in keys}


def _column(values: list[Any]) -> tuple[ColumnType, list[Any]]:
    """Returns the type that all values of a column have, and the values in it; as text what has none."""
    known = [_NOT_FINITE.get(value, value) if isinstance(value, str) else value for value in values]
    kinds = {type(value) for value in known if value is not None}
    if kinds == {bool}:
        return "truth", known
    if kinds == {int}:
        return "whole", known
    if kinds and kinds <= {int, float}:
        return "number", [None if value is None else float(value) for value in known]
    texts = (value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False) for value in values)
    return "text", [*texts]


def _milliseconds(seconds: float) -> int | None:
    """Returns a time that a record could hold, None for any other."""
    return round(seconds * 1000) if 0 <= seconds < 2.5e11 else None
