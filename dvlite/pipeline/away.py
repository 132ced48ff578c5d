"""Stages that run as tasks on other machines, which have one remote in common with this one and nothing else.

What a task reads is on the remote before it is given out; what it made comes from there, so it is hashed on its way. Does not know what
gives tasks to machines.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dvlite.errors import DvliteError
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.task import Task, TaskResult, UnitResult
from dvlite.oid import parse_oid
from dvlite.pipeline import task_send
from dvlite.pipeline.content import Contents
from dvlite.pipeline.executor import Ended
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.outputs import is_cached
from dvlite.pipeline.stage_task import stage_task, task_inputs, why_no_task
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.task_inputs import TaskInputs
from dvlite.pipeline.tasks import TaskExecutor
from dvlite.progress import Progress
from dvlite.store.cache import Cache
from dvlite.workspace.workspace import Workspace


class WorkerTasks(TaskExecutor, Protocol):
    """An executor of other machines."""

    def is_ready(self) -> bool:
        """Returns whether `wait` would return at once."""

    def take_back(self, ids: Collection[str]) -> None:
        """Stops some of the tasks; nothing comes back of them."""

    def slots(self) -> int:
        """Returns how many tasks run at a time now, at least 1."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Other machines: what gives them tasks, and the remote that they have in common with this one."""

    tasks: WorkerTasks
    remote: str | None
    dvlite: str  # the version of this one


@dataclass(frozen=True, slots=True)
class StageReturn:
    """How the task of a stage ended. Its outputs, and the log, are in the cache."""

    ended: Ended
    result: TaskResult
    log: bytes
    outputs: tuple[Locked, ...] = ()


class Away:
    """The tasks of ordinary stages, one each, and (`batches`) those of map stages; used from one thread."""

    def __init__(
        self, workers: Workers, work: Workspace, contents: Contents, fetcher: Fetcher, progress: Progress
    ) -> None:
        self._workers, self._work, self._contents = workers, work, contents
        self._fetcher, self._progress = fetcher, progress
        self._inputs = TaskInputs(work, contents)
        self._addresses: dict[str, str] = {}  # of the stages that run, by the ids of their tasks
        self._early: list[TaskResult] = []  # of ordinary stages, that came while a map stage was waited for
        self._sent: set[tuple[str, str]] = set()
        self._refused: set[str] = set()

    def takes(self, stage: Stage) -> bool:
        """Returns whether a stage can run on another machine; reports once of each that cannot that it runs here."""
        reason = why_no_task(stage)
        if reason is not None and stage.address not in self._refused:
            self._refused.add(stage.address)
            self._progress.print_line(f"{stage.address} runs on this machine: {reason}")
        return reason is None

    def start(self, stage: Stage, entry: LockedStage) -> None:
        """Sends what a stage reads and gives its task out. Raises DvliteError if something of it is nowhere, or cannot be sent."""
        versions = task_inputs(stage, entry, self._contents)
        project = self._work.repo.config.project or ""
        task = stage_task(stage, entry, versions, project=project, dvlite=self._workers.dvlite)
        self.send(versions)
        self._addresses[task.id] = stage.address
        self._workers.tasks.submit(task)

    def batches(self) -> AwayBatches:
        """Returns an executor for the tasks of one map stage."""
        return AwayBatches(self, self._workers.tasks)

    @property
    def version(self) -> str:
        """The version of dvlite that gives tasks out."""
        return self._workers.dvlite

    def send_for(self, task: Task) -> None:
        """Sends what a batch of datums reads."""
        self.send(self._inputs.of([task]))

    def send(self, versions: Sequence[Locked]) -> None:
        """Makes versions complete on the remote, each once. Raises ObjectMissing for what is neither here nor there."""
        new = [version for version in versions if (version.path, version.oid) not in self._sent]
        if not new:
            return
        self._inputs.store(new)
        remote = self._fetcher.remote
        task_send.send(self._work.repo, self._workers.remote or remote.shown, remote, new, self._progress)
        self._sent.update((version.path, version.oid) for version in new)
        self._progress.finish()

    @property
    def is_ready(self) -> bool:
        """Returns whether `wait` would return at once."""
        return bool(self._addresses) and (bool(self._early) or self._workers.tasks.is_ready())

    def wait(self) -> list[StageReturn]:
        """Returns how tasks ended, at least one if any runs."""
        if not self._addresses:
            return []
        results, self._early = self._early or self._workers.tasks.wait(), []
        ended = ((self._addresses.pop(result.task, None), result) for result in results)
        return [self._returned(address, result) for address, result in ended if address is not None]

    def set_aside(self, results: Iterable[TaskResult]) -> None:
        """Keeps results of ordinary stages for the next `wait`."""
        self._early += (result for result in results if result.task in self._addresses)

    def stop(self) -> None:
        """Ends what runs. Idempotent."""
        self._workers.tasks.stop()
        self._addresses.clear()
        self._early.clear()

    def brought(self, results: Sequence[TaskResult]) -> list[TaskResult]:
        """Returns results after what they made, and the logs, came from the remote; units of which something is not there failed."""
        units = [unit for result in results for unit in result.units]
        versions = [version for unit in units if unit.problem is None for version in _versions(unit)]
        logs = [unit.log for unit in units if unit.log is not None]
        problem = "its outputs are not complete on the remote"
        try:
            is_whole = not (versions or logs) or self._fetcher.bring_new(versions, logs)
        except DvliteError as error:
            is_whole, problem = False, f"its outputs cannot be fetched: {error.message}"
        self._work.cache.refresh_if_changed()
        return list(results) if is_whole else [self._without_lost(result, problem) for result in results]

    def _without_lost(self, result: TaskResult, problem: str) -> TaskResult:
        lost = f"it ran on {result.host or 'another machine'}, and {problem}"
        is_here = {
            unit.name: unit.problem is not None or all(is_cached(self._work.cache, each) for each in _versions(unit))
            for unit in result.units
        }
        units = (unit if is_here[unit.name] else replace(unit, problem=lost, outputs=()) for unit in result.units)
        return replace(result, units=tuple(units))

    def _returned(self, address: str, result: TaskResult) -> StageReturn:
        (result,) = self.brought([result])
        unit = result.units[0] if len(result.units) == 1 else UnitResult(problem="its result has other units")
        ended = Ended(
            address,
            unit.exit_code,
            unit.signal,
            unit.seconds,
            unit.cpu_seconds,
            unit.max_rss_bytes,
            reason=unit.problem,
        )
        return StageReturn(ended, result, _log(self._work.cache, unit), _versions(unit))


class AwayBatches:
    """A TaskExecutor for the tasks of one map stage, whose outputs are in the cache when `wait` returns."""

    def __init__(self, away: Away, tasks: WorkerTasks) -> None:
        self._away, self._tasks = away, tasks
        self._open: dict[str, Task] = {}

    @property
    def workers(self) -> int:
        """How many tasks run at a time now."""
        return self._tasks.slots()

    def submit(self, task: Task) -> None:
        """Sends what a task reads, and gives it out."""
        self._away.send_for(task)
        self._open[task.id] = task
        self._tasks.submit(task)

    def wait(self) -> list[TaskResult]:
        """Returns the results of tasks that have ended; nothing if none is left."""
        while self._open:
            results = self._tasks.wait()
            own = [result for result in results if result.task in self._open]
            self._away.set_aside(result for result in results if result.task not in self._open)
            if own:
                return self._away.brought([_as_declared(result, self._open.pop(result.task)) for result in own])
        return []

    def stop(self) -> list[TaskResult]:
        """Takes back what has not ended; what it would still make is taken up from the remote by the next run."""
        self._tasks.take_back(list(self._open))
        self._open.clear()
        return []


def _as_declared(result: TaskResult, task: Task) -> TaskResult:
    """Returns a result of which each unit that made something else than it declares has failed."""
    outs = {unit.name: sorted(unit.outs) for unit in task.units}
    units = (
        unit
        if unit.problem is not None or sorted(file.path for file in unit.outputs) == outs.get(unit.name)
        else replace(unit, problem="what it made is not what it declares", outputs=())
        for unit in result.units
    )
    return replace(result, units=tuple(units))


def _versions(unit: UnitResult) -> tuple[Locked, ...]:
    return tuple(file.locked() for file in unit.outputs)


def _log(cache: Cache, unit: UnitResult) -> bytes:
    """Returns the log of a unit, or its end if the cache lacks it."""
    with contextlib.suppress(DvliteError):
        if unit.log is not None:
            return cache.read_file(parse_oid(unit.log)[1], 0)
    return unit.log_tail.encode()
