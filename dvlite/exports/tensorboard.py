"""Runs for TensorBoard: a folder for each, with an event file of its series, metrics and hyperparameters.

Source of the hyperparameters: tensorboard/plugins/hparams/plugin_data.proto and google/protobuf/struct.proto.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from dvlite.exports.exported_run import ExportedRun, short_names
from dvlite.files import write_atomic
from dvlite.formats import event_file
from dvlite.formats.event_file import Scalar, plugin_event, scalar_event
from dvlite.formats.protobuf import field_bytes, field_double, field_whole
from dvlite.formats.series import Series
from dvlite.formats.strict_yaml import Tree

_PLUGIN = "hparams"
_STATUSES = {"failed": 2, "canceled": 2, "tainted": 2}  # FAILURE; all others are SUCCESS
_SUCCESS = 1


def write_run(exported: ExportedRun, folder: Path) -> int:
    """Writes the event file of a run into a folder of its name, and returns how many points that are.

    A metric that has no series is one point, at step 0. The file is called by the start of the run, so that a second export replaces it;
    one without all series has a name of its own.
    """
    start, series, numbers = exported.start_ms / 1000, exported.series, exported.numbers
    tags = short_names([*series, *numbers])
    taken = {key: _points(tags[key], one, start) for key, one in series.items()}
    taken |= {key: [Scalar(tags[key], 0, number, start)] for key, number in numbers.items()}
    points = [point for key in sorted(taken) for point in taken[key]]
    events = [*_hyperparameters(exported, start), *map(scalar_event, points)]
    whole = _place(exported, folder)
    part = whole.with_name(f"{whole.name}-part")
    whole.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(whole if exported.is_whole else part, b"".join(event_file.write(events, start)))
    if exported.is_whole:
        part.unlink(missing_ok=True)
    return len(points)


def is_written(exported: ExportedRun, folder: Path) -> bool:
    """Returns whether an earlier export wrote all of a run: nothing of it changes later. Needs no series."""
    return _place(exported, folder).is_file()


def _place(exported: ExportedRun, folder: Path) -> Path:
    name = f"events.out.tfevents.{exported.start_ms // 1000}.dvlite-{exported.run.id}"
    return folder / re.sub(r"[^\w@+=-]+", "-", exported.name) / name


def _points(tag: str, one: Series, start: float) -> list[Scalar]:
    times: Iterable[float] = one.times or [start] * len(one.steps)
    rows = zip(one.steps, one.values, times, strict=True)
    return [Scalar(tag, step, value, time) for step, value, time in rows]


def _hyperparameters(exported: ExportedRun, start: float) -> Iterator[bytes]:
    """Yields the events by which the HParams table knows a run: what it began with, and how it ended."""
    run = exported.run
    tags = short_names(sorted(run.params))
    params = (
        field_bytes(1, field_bytes(1, tags[key].encode()) + field_bytes(2, value))
        for key, kept in sorted(run.params.items())
        if (value := _value(kept)) is not None
    )
    began = b"".join(params) + field_bytes(4, exported.name.encode()) + field_double(5, start)
    ended = field_whole(1, _STATUSES.get(run.status, _SUCCESS)) + field_double(2, start + run.seconds)
    for tag, field, content in (("session_start_info", 3, began), ("session_end_info", 4, ended)):
        data = field_whole(1, 0) + field_bytes(field, content)
        yield plugin_event(f"_hparams_/{tag}", _PLUGIN, data, start)


def _value(value: Tree) -> bytes | None:
    if isinstance(value, bool):
        return field_whole(4, value)
    if isinstance(value, int | float):
        return field_double(2, float(value))
    return None if value is None else field_bytes(3, str(value).encode())
