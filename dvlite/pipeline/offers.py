"""What is out of date as tasks that other machines can run now: ordinary stages, and datums of map stages in batches. What they read goes into the cache."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dvlite.formats.lockfile import Locked
from dvlite.formats.record import Run
from dvlite.formats.task import Task
from dvlite.pipeline.datum_run import DatumOptions, DatumRun
from dvlite.pipeline.environment import Surroundings
from dvlite.pipeline.map_journal import MapJournal
from dvlite.pipeline.map_plan import plan_map
from dvlite.pipeline.stage_task import stage_task, task_inputs, why_no_task
from dvlite.pipeline.staleness import Evaluator, Staleness
from dvlite.pipeline.task_inputs import TaskInputs
from dvlite.progress import NullProgress
from dvlite.repo.repository import Repo
from dvlite.runs.index import open_index
from dvlite.runs.records import hex_of, open_records
from dvlite.workspace.workspace import Workspace

_LEAST_TASKS = 100  # of a map stage with so many datums: that many workers have something to do
_MOST_DATUMS = 1000  # of a task, unless the stage says how many


@dataclass(frozen=True, slots=True)
class StageTasks:
    """The tasks of a stage that can run now."""

    stage: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Offers:
    """What is out of date: stages that can run elsewhere now, those that wait for these, and those that run here only, with the reason."""

    ready: tuple[StageTasks, ...] = ()
    inputs: tuple[Locked, ...] = ()  # what they read
    waiting: tuple[str, ...] = ()
    here_only: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Offering:
    """Makes offers in one work tree. Datums of stages that are `forced` run whatever was done before."""

    repo: Repo
    work: Workspace
    evaluator: Evaluator
    surroundings: Surroundings
    forced: Collection[str]
    version: str

    def of(self, outlooks: Sequence[Staleness]) -> Offers:
        """Returns what is out of date, and what of it can be given out now."""
        ready, waiting, here = list[StageTasks](), list[str](), list[tuple[str, str]]()
        for outlook in outlooks:
            stage = outlook.stage
            if not outlook.runs:
                continue
            if outlook.now is None:
                waiting.append(stage.address)
            elif outlook.state == "edited":
                here.append((stage.address, "its outputs are restored"))
            elif (reason := why_no_task(stage)) is not None:
                here.append((stage.address, reason))
            else:
                tasks = self._batches(outlook) if stage.spec.map is not None else [self._task(outlook)]
                if tasks:
                    ready.append(StageTasks(stage.address, tuple(tasks)))
                else:
                    here.append((stage.address, "all of its datums are collected"))
        stored = TaskInputs(self.work, self.evaluator.contents)
        inputs = stored.of(task for each in ready for task in each.tasks)
        stored.store(inputs)
        return Offers(tuple(ready), tuple(inputs), tuple(waiting), tuple(here))

    def _task(self, outlook: Staleness) -> Task:
        assert outlook.now is not None
        read = task_inputs(outlook.stage, outlook.now, self.evaluator.contents)
        project = self.repo.config.project or ""
        return stage_task(outlook.stage, outlook.now, read, project=project, dvlite=self.version)

    def _batches(self, outlook: Staleness) -> list[Task]:
        """Returns the datums of a map stage that no run has, and that were not collected, in tasks."""
        stage, now, contents = outlook.stage, outlook.now, self.evaluator.contents
        assert now is not None
        base = stage.base(now)
        earlier = () if stage.address in self.forced else self._earlier(base)
        plan = plan_map(stage, now, contents, contents.read_node, earlier)
        journal = MapJournal(self.repo.state_dir / "map", base)
        options = DatumOptions(journal=journal, version=self.version)
        datums = DatumRun(self, stage, now, plan, options, NullProgress())
        return list(datums.tasks(max(1, min(_MOST_DATUMS, -(-plan.left // _LEAST_TASKS)))))

    def _earlier(self, base: str) -> list[Run]:
        """Returns the runs of this clone that may have results of datums, newest first."""
        records = open_records(self.repo, self.work.progress)
        own = records.own()
        with open_index(records) as index:
            runs = [index.run(oid) for oid in index.map_runs(base) if hex_of(oid) in own]
        project = self.repo.config.project or ""
        return [run for run in runs if run is not None and run.mapped is not None and run.project == project]
