"""Runs datums of a map stage in batches: gives tasks to an executor, takes their results into listings of the output folders, and a journal.

Writes no record, no lockfile and nothing in the work tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.record import MOST_FAILURES
from dvlite.formats.task import MOST_UNITS, Task, TaskFile, TaskResult, TaskUnit, UnitResult
from dvlite.oid import MANIFEST
from dvlite.pipeline.environment import Surroundings
from dvlite.pipeline.local_tasks import LocalOptions, LocalTasks
from dvlite.pipeline.map_journal import MapJournal, inputs_mark
from dvlite.pipeline.map_outputs import MapOutputs
from dvlite.pipeline.map_plan import MapPlan
from dvlite.pipeline.slots import GPU_VARIABLE, Machine
from dvlite.pipeline.stage_run import DatumFailure
from dvlite.pipeline.stage_task import task_file, task_inputs
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.staleness import Evaluator
from dvlite.pipeline.task_folder import COPIED_BYTES
from dvlite.pipeline.tasks import TaskExecutor
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.show import printable
from dvlite.store.cache import Cache
from dvlite.workspace.workspace import Workspace

_BATCH_SECONDS = 2.0  # a task: long enough that a sync, and a line of the journal, cost next to nothing
_BATCH_SECONDS_AWAY = 10.0  # a task goes over a remote
_MOST_UNITS = 2000
_GROWTH = 8
_SHOWN_FAILURES = 10  # while it runs
_TAIL_LINES = 10


class MapScene(Protocol):
    """Where datums run: a work tree, and what is known of it."""

    @property
    def repo(self) -> Repo: ...
    @property
    def work(self) -> Workspace: ...
    @property
    def evaluator(self) -> Evaluator: ...
    @property
    def surroundings(self) -> Surroundings: ...


@dataclass(frozen=True, slots=True)
class DatumOptions:
    """How datums run: after the first failure, `keep_going` with the others; with the journal of an earlier run, if it was killed.

    `bring` gets inputs that are not on disk, and makes sure that the cache has them. `version` is that of dvlite.
    """

    keep_going: bool = False
    journal: MapJournal | None = None
    bring: Callable[[Sequence[Locked]], None] = lambda _: None
    version: str = ""


@dataclass(slots=True)
class Batches:
    """Cuts datums into tasks: as many as the stage says, or as many as take two seconds by the time that the last ones took."""

    datums: Iterator[TaskUnit]
    left: int  # about how many there are
    workers: int
    most: int = 0
    most_bytes: int = 0
    seconds: float = _BATCH_SECONDS
    size: int = 1

    def next(self) -> tuple[TaskUnit, ...]:
        """Returns the units of the next task; none: there are no more."""
        limit = self.most or max(1, min(self.size, -(-self.left // (2 * self.workers))))
        units: list[TaskUnit] = []
        size_bytes = 0
        for unit in self.datums:
            units.append(unit)
            size_bytes += sum(file.size_bytes for file in unit.inputs)
            is_full = size_bytes >= self.most_bytes if self.most_bytes else len(units) >= limit
            if is_full or len(units) == MOST_UNITS:
                break
        self.left = max(0, self.left - len(units))
        return tuple(units)

    def took(self, units: int, seconds: float) -> None:
        """Learns how long a task took."""
        wanted = int(self.seconds * units / max(seconds, 1e-6))
        self.size = max(1, min(wanted, self.size * _GROWTH, _MOST_UNITS))


@dataclass(slots=True)
class DatumCounts:
    """How many datums did what, so far."""

    ran: int = 0
    resumed: int = 0  # that a run which was killed had done
    failed: int = 0
    cpu_seconds: float = 0.0
    max_rss_bytes: int = 0
    failures: list[DatumFailure] = field(default_factory=list)
    first: UnitResult | None = None  # that failed
    by_worker: dict[str, int] = field(default_factory=dict)


def workers_of(stage: Stage, jobs: int, machine: Machine) -> tuple[Mapping[str, str], ...]:
    """Returns the variables of each worker: as many as fit, by what a datum needs; the GPUs are shared out."""
    limits = stage.spec.limits
    most = jobs
    if limits.cpu:
        most = min(most, int(machine.cpus // limits.cpu))
    if limits.memory_bytes and machine.memory_bytes:
        most = min(most, machine.memory_bytes // limits.memory_bytes)
    if limits.gpu:
        most = min(most, len(machine.gpus) // limits.gpu)
    workers = range(max(1, most))
    if limits.gpu is None:
        return tuple({} for _ in workers)
    gpus = [machine.gpus[number * limits.gpu : (number + 1) * limits.gpu] for number in workers]
    return tuple({GPU_VARIABLE: ",".join(own)} for own in gpus)


def map_inputs(stage: Stage, entry: LockedStage, evaluator: Evaluator) -> tuple[TaskFile, ...]:
    """Returns what all datums read: dependencies and files of parameters."""
    rows = {stage.local(item.path) for item in stage.over}
    shared = replace(entry, deps=tuple(dep for dep in entry.deps if dep.path not in rows))
    return tuple(task_file(version) for version in task_inputs(stage, shared, evaluator.contents))


class DatumRun:
    """One run of the datums of a plan; `counts` are as far as it is."""

    def __init__(
        self,
        scene: MapScene,
        stage: Stage,
        entry: LockedStage,
        plan: MapPlan,
        options: DatumOptions,
        progress: Progress,
    ) -> None:
        self._scene, self._stage, self._entry, self._plan = scene, stage, entry, plan
        self._options, self._progress = options, progress
        self.counts = DatumCounts()
        self._marks: dict[str, str] = {}  # of the inputs of datums that are on their way
        self._made = MapOutputs([out.path for out in stage.outs], plan.kept, scene.work.cache.read_node)
        self._inputs = map_inputs(stage, entry, scene.evaluator)
        self._linked = [
            file.path for file in self._inputs if file.oid.startswith(MANIFEST) or file.size_bytes > COPIED_BYTES
        ]
        self._seen = self._look()
        self._is_away = False

    def run(self, executor: TaskExecutor, workers: int, *, is_away: bool = False) -> None:
        """Runs the datums, up to the first that fails unless it keeps going; stops the executor in any case, and takes what it has done."""
        self._is_away = is_away
        try:
            self._drive(executor, workers)
        finally:
            for result in executor.stop():
                self._note(result)
            self._progress.finish()

    def local(self, jobs: int, open_own: Callable[[], Cache] | None = None) -> tuple[TaskExecutor, int]:
        """Returns the executor of this machine, and how many workers it has; each opens a cache of its own, that of the repository or another."""
        scene = self._scene
        workers = workers_of(self._stage, jobs, scene.surroundings.machine())
        scene.work.cache.create()
        options = LocalOptions(
            folder=scene.repo.state_dir / "repro" / "map",
            environ={**scene.surroundings.environ_of(self._stage), "DVLITE_REPRO": str(scene.repo.state_dir)},
            variables=workers,
            keep_going=self._options.keep_going,
            done=lambda *_: self._progress.advance(files=1),
        )
        return LocalTasks(open_own or (lambda: open_cache(scene.repo)), scene.repo.root, options), len(workers)

    def tasks(self, most: int) -> Iterator[Task]:
        """Yields what is to run as tasks for workers of which nothing is known before all is over: `most` datums each, unless the stage says how many."""
        spec = self._stage.spec.map
        assert spec is not None
        size = spec.batch_datums or (0 if spec.batch_bytes else most)
        batches = Batches(self._units(), self._plan.left, 1, most=size, most_bytes=spec.batch_bytes)
        while units := batches.next():
            yield self._task(units)

    def _drive(self, executor: TaskExecutor, workers: int) -> None:
        """Gives out tasks and takes their results, until all is done or the first datum failed."""
        stage, spec = self._stage, self._stage.spec.map
        assert spec is not None
        self._progress.start(stage.address, total_files=self._plan.left, noun="datum")
        batches = Batches(self._units(), self._plan.left, workers, most=spec.batch_datums, most_bytes=spec.batch_bytes)
        on_their_way = 0
        while True:
            while on_their_way < 2 * workers and (units := batches.next()):
                executor.submit(self._task(units))
                on_their_way += 1
            results = executor.wait()
            if not results:
                return
            for result in results:
                on_their_way -= 1
                batches.took(len(result.units), result.seconds)
                self._note(result)
            if self.counts.failed and not self._options.keep_going:
                return
            if not self._is_away and self._look() != self._seen:
                return  # `tainted` returns it

    def _units(self) -> Iterator[TaskUnit]:
        """Yields what is to run: but for what a run that was killed had done."""
        journal = self._options.journal
        done = {} if journal is None else journal.read(self._scene.work.cache)
        for datum in self._plan.to_run():
            mark = inputs_mark(datum.inputs)
            known = done.get(datum.name)
            if known is not None and known[0] == mark and tuple(out.path for out in known[1]) == datum.outs:
                self._made.add(known[1])
                self.counts.resumed += 1
                self._progress.advance(files=1)
                continue
            self._marks[datum.name] = mark
            yield datum

    def _task(self, units: tuple[TaskUnit, ...]) -> Task:
        stage, limits = self._stage, self._stage.spec.limits
        assert stage.spec.map is not None
        self._bring(units)
        return Task(
            stage=stage.name,
            file=stage.file,
            key=self._plan.base,
            cmd=stage.spec.cmd,
            units=units,
            function=stage.spec.map.function,
            wdir=stage.wdir,
            env=dict(stage.spec.env),
            capture=dict(self._entry.facts.capture),
            files=self._inputs,
            timeout_seconds=limits.timeout_seconds,
            retries=limits.retries,
            cpu=limits.cpu,
            memory_bytes=limits.memory_bytes,
            gpu=limits.gpu,
            project=self._scene.repo.config.project or "",
            dvlite=self._options.version,
        )

    def _bring(self, units: Sequence[TaskUnit]) -> None:
        """Makes sure that inputs which are not on disk are in the cache. Raises ObjectMissing."""
        root = os.fspath(self._scene.repo.root)
        absent = [file for unit in units for file in unit.inputs if not os.path.exists(f"{root}/{file.path}")]
        versions = [file.locked() for file in absent]
        if versions:
            self._options.bring(versions)

    def _note(self, result: TaskResult) -> None:
        """Takes the result of a task."""
        counts, done = self.counts, dict[str, tuple[str, Sequence[TaskFile]]]()
        if self._is_away:
            self._progress.advance(files=len(result.units))
        for unit in result.units:
            mark = self._marks.pop(unit.name, None)
            if mark is None:
                continue  # it was not asked for, or is known already
            counts.cpu_seconds += unit.cpu_seconds
            counts.max_rss_bytes = max(counts.max_rss_bytes, unit.max_rss_bytes)
            if unit.problem is None:
                counts.ran += 1
                self._made.add(unit.outputs)
                done[unit.name] = mark, unit.outputs
            else:
                self._fail(unit)
        if result.worker:
            counts.by_worker[result.worker] = counts.by_worker.get(result.worker, 0) + len(done)
        if done and self._options.journal is not None:
            self._options.journal.add(done)

    def _fail(self, unit: UnitResult) -> None:
        counts = self.counts
        counts.failed += 1
        counts.first = counts.first or unit
        problem = unit.problem or ""
        if len(counts.failures) < MOST_FAILURES:
            tail = tuple(unit.log_tail.replace("\r", "\n").splitlines()[-_TAIL_LINES:])
            counts.failures.append(DatumFailure(name=unit.name, problem=problem, log=unit.log, log_tail=tail))
        if counts.failed <= _SHOWN_FAILURES:
            self._progress.print_line(f"{self._stage.address}: {printable(unit.name)} failed: {problem}")
        elif counts.failed == _SHOWN_FAILURES + 1:
            self._progress.print_line(f"{self._stage.address}: more fail; all are listed at the end")

    # -- what must not change meanwhile

    def _look(self) -> list[object]:
        """Returns what changes when something that datums read in place is written."""
        return [self._scene.evaluator.contents.mark(path) for path in self._linked]

    def tainted(self) -> tuple[str, ...]:
        """Returns what datums read in place that changed since; of what was sent away nothing can."""
        if self._is_away:
            return ()
        now = self._look()
        return tuple(path for path, one, other in zip(self._linked, self._seen, now, strict=True) if one != other)

    def versions(self) -> list[Locked]:
        """Stores the listings of what is done, durably."""
        cache = self._scene.work.cache
        cache.refresh_if_changed()
        versions = self._made.versions(cache, self._plan.nodes)
        declared = {out.path: out.spec for out in self._stage.outs}
        return [replace(version, push=declared[version.path].push) for version in versions]
