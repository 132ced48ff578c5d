"""Runs the variants of a sweep side by side, each in a temporary work tree of the same snapshot, in threads of this process.

Stages that are equal between variants run once. The workspace is read when the sweep begins, and never written.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dvlite.errors import DvliteError
from dvlite.formats import parameters
from dvlite.pipeline.executor import Interrupted, interruptible, uninterruptible
from dvlite.pipeline.invocation import Invocation, ReproOptions
from dvlite.pipeline.process import Processes
from dvlite.pipeline.run_record import Author, new_id
from dvlite.pipeline.stage_run import StageRun
from dvlite.pipeline.together import SharedRuns
from dvlite.progress import NullProgress, Progress
from dvlite.repo.repository import Repo
from dvlite.runs.index import open_index
from dvlite.runs.records import open_records
from dvlite.share.needs import SWEEPS
from dvlite.show import duration_text, value_text
from dvlite.sweep import side_tree, state
from dvlite.sweep.state import Saved, SweepPlan, VariantRun
from dvlite.sweep.variants import Settings

_LOOK_SECONDS = 0.2
_MOST_METRICS = 4  # in a line


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """How to run: so many variants at a time; after a failure, `keep_going` with the others; `aloud`: with the output of the commands."""

    jobs: int = 1
    keep_going: bool = False
    aloud: bool = False


def take_snapshot(repo: Repo, plan: SweepPlan, environ: Mapping[str, str], progress: Progress) -> SweepPlan:
    """Returns a plan with the state of the workspace as it is now, which a ref keeps. Raises DvliteError for what no variant can run with."""
    looked_at = Invocation(repo, plan.targets, ReproOptions(dry_run=True), environ, progress)
    if looked_at.outdated:
        raise looked_at.outdated[0]
    keys = {key: text for settings in plan.variants for key, text in settings}
    looked_at.write_params([*keys.items()])  # a dry run: they are only looked up
    new = looked_at.store_inputs()
    progress.start("taking a snapshot of the workspace")
    content = side_tree.snapshot(repo, environ, new, progress)
    progress.finish()
    commit = side_tree.keep_alive(repo, SWEEPS + plan.name, content, f"sweep {plan.name}")
    head = repo.git.resolve(f"{commit}^")
    return replace(plan, commit=head, content=content, copied=tuple(looked_at.ignored_inputs()))


def run_sweep(
    repo: Repo, plan: SweepPlan, options: SweepOptions, environ: Mapping[str, str], made_by: Author, progress: Progress
) -> list[VariantRun]:
    """Runs the variants that are not done yet; returns all of the sweep, in order.

    Raises KeyboardInterrupt once the commands have stopped, the trees are gone and what was done is noted.
    """
    saved = Saved(repo, plan.name)
    done = saved.done()
    records = open_records(repo, progress)
    with side_tree.held(repo, plan.name) as lock, open_index(records) as index, interruptible():
        together = SharedRuns(index, plan.name)
        session = _Pool(repo, plan, options, environ, replace(made_by, sweep=plan.name), progress, together, lock)

        def note(run: VariantRun) -> None:
            saved.note(run)
            done[run.number] = run
            if run.state != "canceled":
                progress.print_line(f"{len(done)}/{len(plan.variants)}  {_line(run)}")

        session.run(state.left(plan, done), note)
    if together.stopping.is_set():
        raise KeyboardInterrupt
    runs = [done.get(number) or _not_run(plan, number) for number in range(1, len(plan.variants) + 1)]
    if all(run.state == "ok" for run in runs):
        saved.forget()
    return runs


class _Pool:
    """The threads of one sweep; each has a tree of its own, which one variant after another uses."""

    def __init__(
        self,
        repo: Repo,
        plan: SweepPlan,
        options: SweepOptions,
        environ: Mapping[str, str],
        made_by: Author,
        progress: Progress,
        together: SharedRuns,
        lock: int,
    ) -> None:
        self._repo, self._plan, self._options, self._environ = repo, plan, options, environ
        self._made_by, self._progress, self._together, self._lock = made_by, progress, together, lock
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[VariantRun | BaseException | None] = queue.SimpleQueue()
        self._enough = threading.Event()  # no more variants are begun
        self._making = threading.Lock()  # git adds one worktree at a time

    def run(self, numbers: Sequence[int], on_done: Callable[[VariantRun], None]) -> None:
        """Runs variants and calls `on_done` with each; after an interruption, those that ran are canceled, and `stopping` is set."""
        for number in numbers:
            self._waiting.put(number)
        count = min(self._options.jobs, len(numbers))
        threads = [threading.Thread(target=self._work, args=(number,)) for number in range(1, count + 1)]
        try:
            for thread in threads:
                thread.start()
            self._drain(threads, on_done)
        except (KeyboardInterrupt, Interrupted):
            self._stop()
        except BaseException:
            self._stop()
            raise
        finally:
            with uninterruptible():
                self._enough.set()
                self._drain(threads, on_done)

    def _stop(self) -> None:
        self._together.stopping.set()
        self._enough.set()

    def _drain(self, threads: Sequence[threading.Thread], on_done: Callable[[VariantRun], None]) -> None:
        """Handles what threads finish until the last one ended. Raises what one of them raised."""
        while any(thread.is_alive() for thread in threads) or not self._finished.empty():
            try:
                result = self._finished.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(result, BaseException):
                raise result
            if result is not None:
                on_done(result)

    def _work(self, number: int) -> None:
        """The life of a thread."""
        try:
            tree: tuple[Repo, Repo] | None = None
            while not self._enough.is_set():
                try:
                    variant = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if tree is None:
                    tree = self._open(number)
                result = self._run(*tree, variant)
                self._finished.put(result)
                if result.state != "ok" and not self._options.keep_going:
                    self._enough.set()
        except BaseException as error:  # the main thread raises it
            self._finished.put(error)
        finally:
            self._finished.put(None)

    def _open(self, number: int) -> tuple[Repo, Repo]:
        """Makes a tree; returns it as it is, and as runs see it."""
        with self._making:
            tree = side_tree.open_tree(self._repo, self._plan.name, number, self._plan.commit, self._environ)
        for path in self._plan.copied:
            source, target = self._repo.root / path, tree.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True)
            else:
                shutil.copy2(source, target)
        return tree, side_tree.opened_for_runs(tree, self._plan.folder, side_tree.environ_of(self._repo, self._environ))

    def _run(self, tree: Repo, here: Repo, number: int) -> VariantRun:
        settings = self._plan.variants[number - 1]
        began = time.monotonic()
        result = VariantRun(number=number, settings=values_of(settings))
        progress = _Muted(self._progress, f"{number} | ", aloud=self._options.aloud)
        stages: tuple[StageRun, ...] = ()
        try:
            side_tree.fill(tree, self._plan.content)
            side_tree.note_variant(tree, number)
            with contextlib.ExitStack() as stack:
                invocation = Invocation(
                    here, self._plan.targets, ReproOptions(), self._environ, progress, together=self._together
                )
                for out in (out for stage in invocation.stages for out in stage.outs if out.spec.persist):
                    _remove(tree, out.path)
                invocation.write_params(settings)
                made_by = replace(self._made_by, invocation=new_id())
                executor = Processes((self._lock,), self._together.stopping.is_set)
                stages, _, _ = invocation.settle(made_by, executor, stack)
        except KeyboardInterrupt:
            result = replace(result, state="canceled", problem="stopped")
        except (DvliteError, OSError) as error:
            problem = error.message if isinstance(error, DvliteError) else str(error.strerror)
            result = replace(result, state="failed", problem=problem)
        else:
            result = _with_stages(result, stages)
        return replace(result, seconds=round(time.monotonic() - began, 3))


def _with_stages(result: VariantRun, stages: Sequence[StageRun]) -> VariantRun:
    bad = next((run for run in stages if run.state in ("failed", "tainted")), None)
    problem = None
    if bad is not None:
        why = bad.problem or f"{', '.join(bad.tainted_by[:1])} changed while it ran"
        problem = f"{bad.stage}: {why}"
    return replace(
        result,
        state="ok" if bad is None else "failed",
        stages={run.stage: run.state for run in stages},
        runs={run.stage: run.run for run in stages if run.run is not None},
        metrics={change.name: change.value for run in stages for change in run.metrics},
        problem=problem,
    )


def values_of(settings: Settings) -> dict[str, Any]:
    """Returns the values that settings mean."""
    return {key: parameters.value_of(text) for key, text in settings}


def _not_run(plan: SweepPlan, number: int) -> VariantRun:
    return VariantRun(number=number, settings=values_of(plan.variants[number - 1]))


def _line(run: VariantRun) -> str:
    """Returns a line about a variant that is done."""
    settings = [f"{key}={value_text(value)}" for key, value in run.settings.items()]
    metrics = [f"{key.rpartition(':')[2]} {value_text(value)}" for key, value in run.metrics.items()][:_MOST_METRICS]
    ended = metrics if run.state == "ok" else [f"{run.state}: {run.problem}"]
    return "  ".join([" ".join(settings), *ended, duration_text(run.seconds)])


def _remove(tree: Repo, path: str) -> None:
    place = tree.root / path
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


class _Muted(NullProgress):
    """The progress of one variant: warnings, and if it is to be `aloud` the lines of its commands."""

    def __init__(self, progress: Progress, prefix: str, *, aloud: bool) -> None:
        self._progress, self._aloud, self._prefix = progress, aloud, prefix

    def warn(self, message: str) -> None:
        self._progress.warn(message)

    def print_line(self, line: str) -> None:
        if self._aloud:
            self._progress.print_line(self._prefix + line)
