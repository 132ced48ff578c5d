"""Runs of Neptune: what its exporter left (`*.parquet`, its columns in neptune-exporter's README), and offline runs of its client.

An offline run is a folder with `metadata.json` and `data-N.log`, lines of JSON with one operation each; of Parquet, each row is a value
or a point, and the rows of a run follow each other.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.foreign.curves import Curves
from dvlite.foreign.foreign_run import ForeignRun, milliseconds, text_of
from dvlite.foreign.opened import ODD, files_below, odd, open_file, read_json
from dvlite.formats import parquet
from dvlite.formats.record import ImportedArtifact
from dvlite.formats.strict_yaml import Tree
from dvlite.show import quote

_VALUES = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
}
_COLUMNS = (
    *("project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp", "file_value"),
    *_VALUES.values(),
)
_NO_PARAMS = ("sys/", "source_code/", "monitoring/")
_LONGEST_LINE = 16 << 20
_LOG = re.compile(r"data-([0-9]+)\.log")


def read_runs(place: Path, shown: str) -> Iterator[ForeignRun | DvliteError]:
    """Yields the runs below a folder; an error for a file that cannot be read. Raises UsageError where there is none."""
    if not place.is_dir():
        raise UsageError(f"{quote(shown)} is no folder", hint="name the folder of an export, or .neptune")
    exported = sorted(files_below(place, ".parquet"), key=_in_order)
    offline = list(dict.fromkeys(path.parent for path in files_below(place, ".log") if _LOG.fullmatch(path.name)))
    if not exported and not offline:
        raise UsageError(
            f"{quote(shown)} has no run of Neptune", hint="name the folder of an export (--data-path), or .neptune"
        )
    yield from _of_export(exported)
    for folder in offline:
        try:
            yield _of_offline(folder)
        except DvliteError as error:
            yield error
        except ODD:
            yield odd(quote(str(folder)))


def _in_order(path: Path) -> tuple[Any, ...]:
    """Sorts the parts of a run by number."""
    return (
        str(path.parent),
        [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)],
    )


@dataclass(slots=True)
class _Collected:
    """What was read of a run: values and points by attribute."""

    id: str
    values: dict[str, Any] = field(default_factory=dict)
    curves: Curves = field(default_factory=Curves)
    files: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def run(self) -> ForeignRun:
        """Returns the run, with what Neptune itself noted (`sys/`) in its place."""
        own = {key.removeprefix("sys/"): value for key, value in self.values.items() if key.startswith("sys/")}
        params = {key: _plain(value) for key, value in self.values.items() if not key.startswith(_NO_PARAMS)}
        tags = [*_words(own.get("tags")), *_words(own.get("group_tags"))]
        start_ms, running = _milliseconds(own.get("creation_time")), own.get("running_time")
        series = {name: one for name, one in self.curves.series().items() if not name.startswith(_NO_PARAMS)}
        last = [one.times[-1] for one in series.values() if one.times]
        end_ms = start_ms + milliseconds(running) if isinstance(running, int | float) else None
        if end_ms is None or not start_ms:
            end_ms = milliseconds(max(last)) if last else end_ms
        start_ms = start_ms or milliseconds(min((one.times[0] for one in series.values() if one.times), default=0))
        return ForeignRun(
            id=self.id,
            group=self.id.rpartition("/")[0].rpartition("/")[2],
            status="failed" if own.get("failed") is True else "ok",
            name=text_of(own.get("name")) or self.id.rpartition("/")[2],
            start_ms=start_ms,
            end_ms=end_ms,
            user=text_of(own.get("owner")),
            host=text_of(own.get("hostname")),
            command=text_of(self.values.get("source_code/entrypoint")),
            params=params,
            series=series,
            tags=dict.fromkeys(tags, ""),
            notes=(text_of(own.get("description")),),
            repository=text_of(self.values.get("source_code/git/remotes")),
            commit=text_of(self.values.get("source_code/git/commit_id")) or text_of(own.get("commit")),
            artifacts=tuple(ImportedArtifact(path=key, url=url) for key, url in self.files.items()),
            is_thinned=self.curves.is_thinned,
            problems=(*self.problems, *self.curves.problems),
        )


def _words(value: Any) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list | tuple | set) else []


def _plain(value: Any) -> Tree:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return [*map(str, value)] if isinstance(value, list | tuple | set) else value


def _milliseconds(value: Any) -> int:
    """Returns a time that is a datetime, seconds since 1970 or a text."""
    try:
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value)
        if isinstance(value, dt.datetime):
            value = (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
        return milliseconds(value) if isinstance(value, int | float) else 0
    except (ValueError, OverflowError):
        return 0


# --- exports


def _of_export(paths: Iterable[Path]) -> Iterator[ForeignRun | DvliteError]:
    collected: _Collected | None = None
    for path in paths:
        try:
            with open_file(path) as file:
                for row in parquet.rows(file, _COLUMNS):
                    own_id = f"{row.get('project_id') or ''}/{row.get('run_id') or ''}"
                    if collected is None or collected.id != own_id:
                        if collected is not None:
                            yield collected.run()
                        collected = _Collected(own_id)
                    _take_row(row, collected)
        except FormatError as error:
            yield FormatError(f"cannot read {quote(str(path))}: {error.message}")
        except DvliteError as error:
            yield error
        except ODD:
            yield odd(quote(str(path)))
    if collected is not None:
        yield collected.run()


def _take_row(row: Mapping[str, Any], collected: _Collected) -> None:
    path, kind = text_of(row.get("attribute_path")), text_of(row.get("attribute_type"))
    if kind == "float_series":
        value, step, time = row.get("float_value"), row.get("step"), row.get("timestamp")
        if value is not None:
            seconds = _milliseconds(time) / 1000 if time is not None else None
            collected.curves.add(path, None if step is None else float(step), value, seconds)
    elif kind == "file":
        file = row.get("file_value")
        collected.files[path] = text_of(file.get("path")) if isinstance(file, dict) else ""
    elif kind in _VALUES:
        collected.values[path] = row.get(_VALUES[kind])


# --- offline runs


def _of_offline(folder: Path) -> ForeignRun:
    about = read_json(folder / "metadata.json")
    collected = _Collected(f"offline/{text_of(about.get('containerId')) or folder.name}")
    collected.values["sys/creation_time"] = text_of(about.get("createdAt"))
    for path in sorted(folder.glob("data-*.log"), key=_in_order):
        with open_file(path) as file:
            while line := file.readline(_LONGEST_LINE):
                try:
                    operation = json.loads(line)["obj"]
                    _take(operation, collected)
                except (*ODD, OSError):  # of a time that the system cannot hold
                    if line.endswith(b"\n") and not collected.problems:
                        collected.problems.append(f"{quote(path.name)} has lines that are no operations")
    return collected.run()


def _take(operation: Mapping[str, Any], collected: _Collected) -> None:
    path, kind = "/".join(map(str, operation["path"])), operation["type"]
    if kind == "AssignDatetime":
        collected.values[path] = dt.datetime.fromtimestamp(operation["value"] / 1000, dt.UTC)
    elif kind.startswith("Assign"):
        collected.values[path] = operation["value"]
    elif kind == "LogFloats":
        for point in operation["values"]:
            step, time = point.get("step"), point.get("ts")
            collected.curves.add(path, None if step is None else float(step), float(point["value"]), time)
    elif kind in ("AddStrings", "RemoveStrings"):
        words = dict.fromkeys(collected.values.get(path) or ())
        for word in operation["values"]:
            words[word] = None
            if kind == "RemoveStrings":
                words.pop(word)
        collected.values[path] = list(words)
    elif kind == "DeleteAttribute":
        collected.values.pop(path, None)
    elif kind in ("UploadFile", "UploadFileSet", "UploadFileContent"):
        collected.files[path] = ""
