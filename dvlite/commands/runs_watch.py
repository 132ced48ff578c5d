"""`dvlite runs --watch`: the stages that run now, in this work tree and in those of its sweeps, with the last values that they wrote."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dvlite import files
from dvlite.errors import FormatError
from dvlite.formats import event_file, series
from dvlite.repo.repository import Repo
from dvlite.repo.stage_names import metrics_file
from dvlite.results import Result
from dvlite.sweep import side_tree, state
from dvlite.sweep.session import values_of
from dvlite.sweep.state import Saved, UnfinishedSweep
from dvlite.workspace import running_outputs
from dvlite.workspace.running_outputs import RunningStage

_END_BYTES = 64 << 10  # of a series: its last values are there
_MOST_EVENT_BYTES = 4 << 20  # an event file is read from its start


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedStage:
    """A stage that runs; in a sweep with the variant that it is part of. `metrics` are the last values of its series, at `step` if that is known."""

    stage: str
    seconds: float  # since it began
    sweep: str = ""
    variant: int | None = None  # from 1 on
    settings: Mapping[str, Any] = field(default_factory=dict)
    step: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsWatchResult(Result):
    """What runs now, the longest first, and the sweeps that are not over."""

    schema: ClassVar[str] = "dvlite.runs-watch/1"
    stages: tuple[WatchedStage, ...] = ()
    sweeps: tuple[UnfinishedSweep, ...] = ()


def runs_watch(repo: Repo) -> RunsWatchResult:
    """Returns what runs in this work tree and in the trees of its sweeps. Of each file of metrics, only the end is read."""
    now = running_outputs.running(repo)
    stages = [_watched(repo.root, one) for one in (now.stages if now is not None else ())]
    sweeps = tuple(state.overview(repo))
    for sweep in sweeps:
        if sweep.running:
            stages += _of_sweep(repo, sweep.name)
    return RunsWatchResult(stages=tuple(sorted(stages, key=lambda one: -one.seconds)), sweeps=sweeps)


def _of_sweep(repo: Repo, name: str) -> Iterator[WatchedStage]:
    variants = Saved(repo, name).plan().variants
    for tree, number in side_tree.trees(repo, name):
        settings = values_of(variants[number - 1]) if number is not None and number <= len(variants) else {}
        for one in running_outputs.noted(tree):
            yield _watched(tree.root, one, sweep=name, variant=number, settings=settings)


def _watched(root: Path, running: RunningStage, **of_sweep: Any) -> WatchedStage:
    step, metrics = None, dict[str, float]()
    for path in running.series:
        read, has_steps = _end_of(root / path)
        file = metrics_file("", running.stage, path)
        metrics |= {f"{file}:{name}": one.values[-1] for name, one in read.items()}
        if has_steps:
            step = max([*(one.steps[-1] for one in read.values()), -1 if step is None else step])
    return WatchedStage(stage=running.stage, seconds=running.seconds, step=step, metrics=metrics, **of_sweep)


def _end_of(path: Path) -> tuple[Mapping[str, series.Series], bool]:
    """Returns the series at the end of a file that is being written, and whether their steps are those of the file; nothing if it cannot be read."""
    try:
        with open(path, "rb", opener=files.open_without_waiting) as file:
            status = os.fstat(file.fileno())
            is_events = event_file.is_event_file(path.name)
            is_whole = status.st_size <= (_MOST_EVENT_BYTES if is_events else _END_BYTES)
            if not stat.S_ISREG(status.st_mode) or (is_events and not is_whole):
                return {}, False
            if is_whole:
                data = files.read_at(file.fileno(), status.st_size)
            else:
                is_table = posixpath.splitext(path.name)[1].lower() in series.TABLE_SUFFIXES
                head = files.read_at(file.fileno(), _END_BYTES).partition(b"\n")[0] + b"\n" if is_table else b""
                end = files.read_at(file.fileno(), _END_BYTES, status.st_size - _END_BYTES)
                data = head + end.partition(b"\n")[2]
        read = series.parse(data, path.name).series
    except (OSError, FormatError):
        return {}, False
    return read, is_whole or any(one.steps[0] > 0 for one in read.values())
