"""`dvlite try`: runs variants of the pipeline beside the workspace, or goes on with a sweep that was stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dvlite.errors import DvliteError, StageFailed, UsageError
from dvlite.files import read_regular
from dvlite.formats import parameters, record
from dvlite.formats.pipeline import Direction
from dvlite.pipeline import stages
from dvlite.pipeline.run_record import author
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.runs.names import name_of
from dvlite.show import Show, count, word
from dvlite.sweep import side_tree, state, variants
from dvlite.sweep.session import SweepOptions, run_sweep, take_snapshot, values_of
from dvlite.sweep.state import Saved, SweepPlan, VariantRun
from dvlite.sweep.variants import Settings, VariantSpace


@dataclass(frozen=True, slots=True)
class TryOptions:
    """The flags of the command line, by their names there; `resume` is the name of a sweep, '' for the newest."""

    settings: Sequence[tuple[str, str]] = ()
    file: str | None = None
    sample: int | None = None
    seed: int = 0
    jobs: int = 1
    name: str | None = None
    keep_going: bool = False
    resume: str | None = None
    dry_run: bool = False
    aloud: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TryResult(Result):
    """The variants of a sweep, in order. `metric` is the first one of which the pipeline file says what is better, else the first."""

    schema: ClassVar[str] = "dvlite.try/1"
    sweep: str
    variants: tuple[VariantRun, ...]
    metric: str | None = None
    better: Direction | None = None
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns that variants failed."""
        failed = [run for run in self.variants if run.state == "failed"]
        if not failed:
            return None
        hints = [f"variant {failed[0].number}: {failed[0].problem}"]
        if failed[0].runs:
            stage, run = list(failed[0].runs.items())[-1]
            hints.append(f"its output: dvlite runs show {word(name_of(stage.rpartition(':')[2], run))} --log")
        if any(run.state == "not run" for run in self.variants):
            hints.append("to run the others all the same: --keep-going")
        hints.append(f"to go on: dvlite try --resume {word(self.sweep)}")
        return StageFailed(f"{count(len(failed), 'variant')} of {len(self.variants)} failed", hint="\n".join(hints))


def try_out(
    repo: Repo,
    targets: Sequence[str],
    options: TryOptions,
    *,
    environ: Mapping[str, str],
    host: str = "",
    version: str = "",
    progress: Progress,
) -> TryResult:
    """Runs variants of the stages that targets stand for (all without any) in temporary work trees; the workspace stays as it is.

    A failed variant is in the result. Raises KeyboardInterrupt after the commands were stopped; the sweep can be resumed then.
    """
    started = time.monotonic()
    side_tree.clear(repo)
    plan = _resumed(repo, targets, options) if options.resume is not None else _planned(repo, targets, options)
    if options.dry_run:
        done = Saved(repo, plan.name).done() if plan.commit else {}
        runs = [
            done.get(number) or VariantRun(number=number, settings=values_of(settings))
            for number, settings in enumerate(plan.variants, 1)
        ]
        return TryResult(sweep=plan.name, variants=tuple(runs), dry_run=True)
    if not plan.commit:
        plan = take_snapshot(repo, plan, environ, progress)
        Saved(repo, plan.name).write(plan)
    how = SweepOptions(options.jobs, options.keep_going, options.aloud)
    try:
        runs = run_sweep(repo, plan, how, environ, author(repo, environ, host, version), progress)
    except KeyboardInterrupt:
        progress.print_line(f"stopped; to go on: dvlite try --resume {word(plan.name)}")
        raise
    metric, better = _metric(repo, runs)
    elapsed = time.monotonic() - started
    return TryResult(sweep=plan.name, variants=tuple(runs), metric=metric, better=better, elapsed_seconds=elapsed)


def _resumed(repo: Repo, targets: Sequence[str], options: TryOptions) -> SweepPlan:
    if targets or options.settings or options.file or options.sample is not None:
        raise UsageError(
            "a sweep is resumed as it began", hint="dvlite try --resume NAME, with -j and --keep-going alone"
        )
    return state.to_resume(repo, options.resume or "").plan()


def _planned(repo: Repo, targets: Sequence[str], options: TryOptions) -> SweepPlan:
    rows: Sequence[Settings] = ((),)
    if options.file is not None:
        data = read_regular(repo.cwd / options.file, options.file, parameters.LIMIT_BYTES, follow=True)
        if data is None:
            raise UsageError(f"there is no file '{options.file}'", hint="a list of mappings, or a table (.csv)")
        rows = variants.rows_of(data, options.file)
    if options.file is None and not options.settings:
        raise UsageError("there is nothing to try", hint="dvlite try -S lr=0.1,0.01 -S model=svm,forest")
    space = VariantSpace(variants.grid_of(options.settings), rows)
    chosen = variants.choose(space, sample=options.sample, seed=options.seed)
    name = options.name or f"sweep-{record.time_text(time.time_ns())[:19].translate({58: None, 45: None, 84: 45})}"
    state.require_name(repo, name)
    return SweepPlan(name, tuple(targets), repo.relative("."), tuple(chosen))


def _metric(repo: Repo, runs: Sequence[VariantRun]) -> tuple[str | None, Direction | None]:
    """Returns the metric that variants are sorted by, and which values are better."""
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    better = stages.declared_better(repo.work_tree)
    metric = next((name for name in names if name in better), names[0] if names else None)
    return metric, better.get(metric or "")
