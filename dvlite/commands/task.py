"""`dvlite task`: what was given out to other machines, and their results taken up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from dvlite.errors import DvliteError, ObjectMissing, StageFailed
from dvlite.formats.task import Task, TaskResult
from dvlite.pipeline import given_tasks
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.invocation import Invocation, Outcome, ReproOptions
from dvlite.pipeline.run_record import author
from dvlite.pipeline.stages import Stage
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.show import Show, word
from dvlite.store import tasks as on_remote
from dvlite.store.remote import Remote
from dvlite.store.tasks import OnRemote
from dvlite.workspace import running_outputs

TaskState = Literal["waiting", "running", "done", "failed", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task that was given out: `units` of it ran well, or `failed`; `by` is who ran it and where, by their own words.

    `waiting`: no worker has it; `gone`: it is not on the remote any more.
    """

    task: str
    stage: str
    state: TaskState
    units: int
    done: int = 0
    failed: int = 0
    by: str = ""
    seconds: float = 0.0
    problem: str = ""  # of the first unit that failed


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TaskListResult(Result):
    """The tasks that were given out here and whose results were not taken up."""

    schema: ClassVar[str] = "dvlite.task-list/1"
    remote: str
    tasks: tuple[TaskRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TaskCollectResult(Result):
    """What became of the stages whose results were looked for, as `repro` has it; `left` tasks have no result yet."""

    schema: ClassVar[str] = "dvlite.task-collect/1"
    remote: str
    outcome: Outcome
    left: int = 0
    elapsed_seconds: float = 0.0

    def failure(self, show: Show) -> DvliteError | None:
        """Returns the first stage that failed."""
        for run in self.outcome.stages:
            if run.state == "failed":
                name = f"{run.stage.rpartition(':')[2]}-{(run.run or '').rpartition(':')[2][:6]}"
                hint = None if run.log is None else f"its output: dvlite runs show {word(name)} --log"
                return StageFailed(f"{run.stage} failed: {run.problem}", hint=hint)
        return None


def task_list(repo: Repo, *, progress: Progress) -> TaskListResult:
    """Returns the tasks that were given out in this work tree; a listing, and a request for each that has a result."""
    settings = repo.remote(None)
    given = given_tasks.remembered(repo, settings.key)
    rows = []
    if given:
        name, opened = open_remote(repo, open_cache(repo), None, None)
        with opened:
            progress.start(f"looking at {name}")
            seen = on_remote.look_at_all(opened)
            rows = [_row(opened, item, key, seen.get(key)) for key, item in given.items()]
            progress.finish()
    return TaskListResult(remote=settings.name, tasks=tuple(sorted(rows, key=lambda row: (row.stage, row.task))))


def task_collect(
    repo: Repo,
    targets: Sequence[str] = (),
    *,
    environ: Mapping[str, str],
    host: str = "",
    version: str = "",
    stage: bool = True,
    progress: Progress,
) -> TaskCollectResult:
    """Takes up the results of tasks: outputs into cache and work tree, entries of lockfiles, run records; stages without a result stay as they are.

    A result counts if its task was given out in this work tree, or is what this clone would give out now, and all of its bytes can be
    fetched by their ids. A failed one is recorded, and in the result.
    """
    started = time.monotonic()
    settings = repo.remote(None)
    given = given_tasks.remembered(repo, settings.key)
    with contextlib.ExitStack() as stack:
        stack.enter_context(running_outputs.hold(repo, environ, progress))
        cache = open_cache(repo)
        name, opened = open_remote(repo, cache, None, None)
        stack.enter_context(opened)
        progress.start(f"looking at {name}")
        finder = _Finder(opened, given, on_remote.look_at_all(opened))
        progress.finish()
        run = Invocation(repo, targets, ReproOptions(), environ, progress)
        if run.outdated:
            raise run.outdated[0]
        fetcher = stack.enter_context(Fetcher(repo, cache, progress, remote=name))
        made_by = author(repo, environ, host, version)
        try:
            outcome = run.take_up(finder.find, finder.batches, fetcher, made_by, version, stack).stage_in(
                repo, enabled=stage
            )
        except ObjectMissing:
            on_remote.withdraw(opened, (), opened.clone, finder.last)  # else workers would take it for done
            raise
        taken = [key for key in finder.found if key in given]
        given_tasks.forget(repo, settings.key, taken)
        on_remote.withdraw(opened, finder.found, opened.clone, finder.failed)
    return TaskCollectResult(
        remote=name,
        outcome=outcome,
        left=len(given) - len(taken),
        elapsed_seconds=time.monotonic() - started,
    )


class _Finder:
    """Results of tasks on a remote. `found`: the tasks whose results were returned."""

    def __init__(self, remote: Remote, given: Mapping[str, Task], seen: Mapping[str, OnRemote]) -> None:
        self._remote, self._given, self._seen = remote, given, seen
        self.found: list[str] = []
        self.failed: list[str] = []  # the objects with results that failed
        self.last: list[str] = []  # those of the task that was asked for last

    def find(self, wanted: Task) -> list[TaskResult]:
        """Returns the results of a task, or of those with the same key that were given out here: all that are done, else one of these that failed."""
        alike = [item for item in self._given.values() if (item.file, item.stage, item.key) == _identity(wanted)]
        found = {item.id: (item, list(self._results(item))) for item in (*alike, wanted)}
        done = [result for item, results in found.values() for result in results if on_remote.is_done(result, item)]
        failed = [
            result
            for key, (item, results) in found.items()
            for result in results
            if key in self._given and _has_units(result, item) and any(unit.problem for unit in result.units)
        ]
        chosen = done or failed[:1]
        self.last = [name for result in chosen for name in self._seen[result.task].results]
        self.found += [key for key, (_, results) in found.items() if any(result in results for result in chosen)]
        if not done and chosen:
            self.failed += self._seen[chosen[0].task].results
        return chosen

    def batches(self, stage: Stage, base: str) -> list[tuple[Task, TaskResult]]:
        """Returns what was given out of a map stage with a base, each task with its best result: the one with most datums that are done."""
        found = []
        for key, item in self._given.items():
            results = list(self._results(item)) if (stage.file, stage.name, base) == _identity(item) else []
            if not results:
                continue
            best = max(results, key=lambda result: sum(unit.problem is None for unit in result.units))
            found.append((item, best))
            self.found.append(key)
            if not on_remote.is_done(best, item):
                self.failed += self._seen[key].results
        return found

    def _results(self, item: Task) -> Iterable[TaskResult]:
        seen = self._seen.get(item.id)
        return () if seen is None else on_remote.results(self._remote, seen)


def _identity(item: Task) -> tuple[str, str, str]:
    return item.file, item.stage, item.key


def _has_units(result: TaskResult, of: Task) -> bool:
    return [unit.name for unit in result.units] == [unit.name for unit in of.units]


def _row(remote: Remote, item: Task, key: str, seen: OnRemote | None) -> TaskRow:
    if seen is None or not seen.has_spec:
        return TaskRow(task=key, stage=item.stage, state="gone", units=len(item.units))
    found = list(on_remote.results(remote, seen))
    result = next((each for each in found if on_remote.is_done(each, item)), found[0] if found else None)
    is_held = on_remote.is_held(seen)
    if result is None or (is_held and not on_remote.is_done(result, item)):
        return TaskRow(task=key, stage=item.stage, state="running" if is_held else "waiting", units=len(item.units))
    failed = [unit for unit in result.units if unit.problem is not None]
    user = result.user.partition("@")[0]
    return TaskRow(
        task=key,
        stage=item.stage,
        state="done" if on_remote.is_done(result, item) else "failed",
        units=len(item.units),
        done=len(result.units) - len(failed),
        failed=len(failed),
        by=f"{user}@{result.host}" if user and result.host else user or result.host,
        seconds=result.seconds,
        problem=next((unit.problem for unit in failed if unit.problem is not None), ""),
    )
