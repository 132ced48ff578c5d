"""Runs in a tracking folder of MLflow (`mlruns`), read without MLflow: its client would write into it, and follows links.

Source: mlflow/store/tracking/file_store.py. A folder for each experiment, in it one for each run, with a file for each parameter, tag and
metric, which is called as its key; of a metric, a line for each point: time in milliseconds, value, step.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dvlite.errors import DvliteError, UsageError
from dvlite.files import is_there, os_error
from dvlite.foreign.curves import Curves
from dvlite.foreign.foreign_run import MOST_ARTIFACTS, ForeignRun
from dvlite.foreign.mlflow_run import DELETED, MlflowRun, require_experiments
from dvlite.foreign.opened import ODD, files_below, odd, open_file
from dvlite.formats import strict_yaml
from dvlite.formats.record import ImportedArtifact
from dvlite.show import quote

_STATUSES = ("", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
_META = "meta.yaml"
_LONGEST_VALUE = 64 << 10
_LONGEST_LINE = 4096


def read_runs(root: Path, shown: str, experiments: Sequence[str]) -> Iterator[ForeignRun | DvliteError]:
    """Yields the runs of a folder, or those of some experiments by name; deleted ones are left out. Raises UsageError for another folder."""
    known: dict[Path, str] = {}
    for folder, about in _described(root):
        if isinstance(about, DvliteError):
            yield about
        elif about.get("experiment_id") is not None and about.get("lifecycle_stage") != DELETED:
            known[folder] = str(about.get("name") or folder.name)
    if not known:
        raise UsageError(f"{quote(shown)} has no experiment of MLflow", hint="name a tracking folder, such as mlruns")
    require_experiments(experiments, [*known.values()])
    for folder, name in known.items():
        for place, about in _described(folder) if not experiments or name in experiments else ():
            if isinstance(about, DvliteError):
                yield about
            elif about.get("run_id") is not None and about.get("lifecycle_stage") != DELETED:
                try:
                    yield _run(place, about, name).run()
                except DvliteError as error:
                    yield error
                except ODD:
                    yield odd(quote(str(place)))


def _described(folder: Path) -> Iterator[tuple[Path, Mapping[str, Any] | DvliteError]]:
    """Yields the folders in one that say what they are, in order, and what they say, or why that cannot be read; no links."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        raise os_error(error, "read", folder) from error
    for place in (folder / name for name in names if is_there(folder / name / _META)):
        try:
            with open_file(place / _META) as file:
                yield place, strict_yaml.load(file.read(_LONGEST_VALUE), str(place / _META), foreign=True).value
        except DvliteError as error:
            yield place, error


def _run(folder: Path, about: Mapping[str, Any], experiment: str) -> MlflowRun:
    curves, problems = Curves(), list[str]()
    for key, path in _keys(folder / "metrics"):
        _read_points(path, key, curves, problems)
    status = about.get("status")
    return MlflowRun(
        id=str(about["run_id"]),
        experiment=experiment,
        name=_text(about.get("run_name")),
        status=_STATUSES[status] if isinstance(status, int) and 0 < status < len(_STATUSES) else _text(status),
        start_ms=_whole(about.get("start_time")) or 0,
        end_ms=_whole(about.get("end_time")),
        user=_text(about.get("user_id")),
        artifact_uri=_text(about.get("artifact_uri")),
        params=_values(folder / "params", problems),
        tags=_values(folder / "tags", problems),
        curves=curves,
        artifacts=artifacts_in(folder / "artifacts"),
        problems=problems,
    )


def artifacts_in(folder: Path) -> list[ImportedArtifact]:
    """Returns names and sizes of the files below a folder, the first of many."""
    first = itertools.islice(_keys(folder), MOST_ARTIFACTS)
    return [ImportedArtifact(path=name, size_bytes=path.lstat().st_size) for name, path in first]


def _keys(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields the files below a folder, by the keys that they are called as: `a/b` is `b` in a folder `a`."""
    for path in files_below(folder, ""):
        yield path.relative_to(folder).as_posix(), path


def _values(folder: Path, problems: list[str]) -> dict[str, str]:
    values = {}
    for key, path in _keys(folder):
        try:
            with open_file(path) as file:
                values[key] = file.read(_LONGEST_VALUE).decode("utf-8", "replace")
        except DvliteError as error:
            problems.append(error.message)
    return values


def _read_points(path: Path, key: str, curves: Curves, problems: list[str]) -> None:
    try:
        with open_file(path) as file:
            while line := file.readline(_LONGEST_LINE):
                try:
                    time, value, *step = line.split()
                    curves.add(key, float(step[0]) if step else 0.0, float(value), float(time) / 1000)
                except ValueError:
                    if line.endswith(b"\n"):
                        problems.append(f"the metric {quote(key)} has lines that are no points")
                        return
    except DvliteError as error:
        problems.append(error.message)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
