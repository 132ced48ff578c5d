"""Runs for MLflow: the files of a tracking folder (`mlruns`), which its client reads and `mlflow migrate-filestore` takes over.

Source: mlflow/store/tracking/file_store.py. A file for each parameter, metric and tag, called as its key; of a metric, a line for each point.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dvlite.exports.exported_run import ExportedRun, short_names
from dvlite.files import write_atomic
from dvlite.formats.series import Series
from dvlite.oid import digest_bytes
from dvlite.paths import ancestors

_FINISHED, _FAILED, _KILLED = 3, 4, 5
_STATUSES = {"failed": _FAILED, "tainted": _FAILED, "canceled": _KILLED}  # all others are finished
_WHOLE = "dvlite.whole"  # a tag of runs that were written with all series
_LOCAL = 4  # the type of a source
_UNSAFE = re.compile(r"[^\w.\- /]+")
_LONGEST_NAME, _LONGEST_PARAM = 200, 6000


def experiment_folder(folder: Path, name: str) -> Path:
    """Returns where the runs of an experiment go; its id is made of the name, so that a second export finds it again."""
    return folder / str(int.from_bytes(digest_bytes(name.encode())[:7], "little") + 1)


def write_experiment(experiment: Path, name: str) -> None:
    """Writes what describes an experiment into its folder."""
    meta = {
        "artifact_location": experiment.absolute().as_uri(),
        "creation_time": 0,
        "experiment_id": experiment.name,
        "last_update_time": 0,
        "lifecycle_stage": "active",
        "name": name,
    }
    _write_meta(experiment, meta)


def write_run(exported: ExportedRun, experiment: Path) -> int:
    """Writes a run into the folder of an experiment, over what an earlier export wrote of it; returns how many points its metrics have."""
    run, start = exported.run, exported.start_ms
    folder = _folder(exported, experiment)
    run_id = folder.name
    points = {key: list(_points(one, start)) for key, one in exported.series.items()}
    points |= {key: [f"{start} {number!r} 0"] for key, number in exported.numbers.items()}
    _write_files(folder / "params", {key: str(value)[:_LONGEST_PARAM] for key, value in run.params.items()})
    _write_files(folder / "metrics", {key: "\n".join(lines) + "\n" for key, lines in points.items()})
    outputs = [{"path": item.path, "oid": item.oid, "size": item.size_bytes} for item in run.outputs]
    _write(folder / "artifacts" / "dvlite-outputs.json", json.dumps(outputs, indent=1))
    meta = {
        "artifact_uri": (folder / "artifacts").absolute().as_uri(),
        "end_time": start + round(run.seconds * 1000),
        "entry_point_name": "",
        "experiment_id": experiment.name,
        "lifecycle_stage": "active",
        "run_id": run_id,
        "run_name": exported.name,
        "run_uuid": run_id,
        "source_name": "",
        "source_type": _LOCAL,
        "source_version": "",
        "start_time": start,
        "status": _STATUSES.get(run.status, _FINISHED),
        "tags": [],
        "user_id": run.user,
    }
    _write_meta(folder, meta)
    _write_files(folder / "tags", _tags(exported))
    return sum(map(len, points.values()))


def is_written(exported: ExportedRun, experiment: Path) -> bool:
    """Returns whether an earlier export wrote all of a run, and brings its tags up to date: nothing else changes later. Needs no series."""
    folder = _folder(exported, experiment)
    if not (folder / "tags" / _WHOLE).is_file():
        return False
    _write_files(folder / "tags", _tags(exported))
    return True


def _folder(exported: ExportedRun, experiment: Path) -> Path:
    return experiment / exported.run.id.replace("-", "")


def _points(one: Series, start_ms: int) -> Iterator[str]:
    """Yields `time value step` for each point."""
    times = [round(time * 1000) for time in one.times] or [start_ms] * len(one.steps)
    for time, value, step in zip(times, one.values, one.steps, strict=True):
        yield f"{time} {value!r} {step}"


def _tags(exported: ExportedRun) -> dict[str, str]:
    run = exported.run
    tags = {
        "mlflow.runName": exported.name,
        "mlflow.user": run.user,
        "mlflow.source.git.commit": run.code.commit or "",
        "mlflow.source.git.repoURL": run.code.repo or "",
        "dvlite.run": exported.oid,
        "dvlite.stage": run.stage,
        "dvlite.status": run.status,
        "dvlite.sweep": run.sweep,
        "dvlite.tags": ",".join(exported.tags),
        _WHOLE: "true" if exported.is_whole else "",
    }
    return {key: value for key, value in tags.items() if value}


def _write_files(folder: Path, values: Mapping[str, str]) -> None:
    """Writes a file for each key; MLflow takes `a/b` for `b` in a folder, unless a key is called as the folder."""
    folder.mkdir(parents=True, exist_ok=True)  # also where it stays empty: a run without it is none
    names = {key: _UNSAFE.sub("_", name) for key, name in short_names(values).items()}
    taken = set(names.values())
    for key, name in names.items():
        is_path = all(part.strip(".") and len(part) <= _LONGEST_NAME for part in name.split("/"))
        flat = not is_path or not taken.isdisjoint(ancestors(name))
        parts = [re.sub(r"^\.+", "_", name.replace("/", "_"))[:_LONGEST_NAME]] if flat else name.split("/")
        _write(folder.joinpath(*parts), values[key])


def _write_meta(folder: Path, values: Mapping[str, object]) -> None:
    """Writes YAML of the kind that is JSON too, a line for each key."""
    _write(folder / "meta.yaml", "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))


def _write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, text.encode("utf-8", "replace"))
