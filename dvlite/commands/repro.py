"""`dvlite repro`: runs the stages that are out of date, or says which those are and why."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dvlite.errors import DvliteError, PartlyDone, StageFailed, UsageError
from dvlite.formats.config import is_secret
from dvlite.pipeline.away import Workers
from dvlite.pipeline.dask_tasks import DaskPlace, DaskTasks, SharedRemote
from dvlite.pipeline.invocation import Invocation, Outcome, ParamSet, ReproOptions
from dvlite.pipeline.process import Processes
from dvlite.pipeline.run_record import author
from dvlite.pipeline.stage_run import StageRun
from dvlite.progress import Progress
from dvlite.repo.clone_id import clone_id
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.show import NAMED, Show, count, printable, printable_text, quote, word
from dvlite.workspace import running_outputs


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReproResult(Result):
    """What `repro` did; with `dry_run`, what it would do."""

    schema: ClassVar[str] = "dvlite.repro/1"
    outcome: Outcome
    params_set: tuple[ParamSet, ...] = ()
    dry_run: bool = False
    explain: bool = False
    elapsed_seconds: float = 0.0

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what stopped the run."""
        failed = [run for run in self.outcome.stages if run.state == "failed"]
        if failed:
            return _stage_failed(failed, show)
        tainted = next((run for run in self.outcome.stages if run.state == "tainted"), None)
        if tainted is None:
            return None
        return PartlyDone(
            f"{', '.join(map(quote, tainted.tainted_by[:NAMED]))} changed while {tainted.stage} ran: its outputs may come"
            " from either version, so they were not locked",
            hint=f"run it again: dvlite repro {word(tainted.stage)}\n"
            f"if {tainted.stage} itself writes it: {_own_input(tainted.tainted_by[0])}",
        )


def _own_input(name: str) -> str:
    """Returns what to do about an input that its stage writes: a file, or a parameter (`params.yaml:lr`)."""
    if ":" in name:
        return "let it write another file, and list that in its outs"
    return "list it in its outs, as {path: ..., persist: true}, and not in its deps"


def _stage_failed(failed: Sequence[StageRun], show: Show) -> DvliteError:
    first = failed[0]
    others = f"; {', '.join(run.stage for run in failed[1:])} failed too" if failed[1:] else ""
    hints = []
    if first.hint:
        hints.append(first.hint)
    if first.datums is not None:
        return StageFailed(f"{first.stage} failed: {first.problem}{others}", hint=_datums_hint(first, show))
    if first.run and first.log_tail:
        hints.append(
            f"its output: dvlite runs show {first.stage.rpartition(':')[2]}-{first.run.rpartition(':')[2][:6]} --log"
        )
    if first.exit_code == 128 + signal.SIGPIPE:
        hints.append("a program wrote into a pipe that its reader had closed; where that is right: set +o pipefail")
    elif first.exit_code == 1 and not first.log_tail:
        hints.append(
            "it printed nothing; a stage stops at the first program that fails, also inside a pipe, and grep fails if it finds nothing: grep ... || true"
        )
    if first.kept:
        where = printable(first.kept) if first.kept.startswith("/") else show.path(first.kept)
        hints.append(f"its outputs are as they were before; what the command had written is in {where}")
    elif first.run:
        hints.append("its outputs are as they were before")
    if show.quiet:  # else it was shown as it came
        hints += [f"| {printable_text(line)}" for line in first.log_tail]
    return StageFailed(f"{first.stage} failed: {first.problem}{others}", hint="\n".join(hints) or None)


def _datums_hint(run: StageRun, show: Show) -> str:
    """Returns where the output of the datums that failed is, and what is kept of the others."""
    assert run.datums is not None
    recorded = f"{run.stage.rpartition(':')[2]}-{(run.run or '').rpartition(':')[2][:6]}"
    done = run.datums.ran + run.datums.reused
    hints = [f"what they printed: dvlite runs show {recorded} --log", "the outputs on disk are as they were before"]
    if done:
        hints.append(
            f"{count(done, 'datum')} of {run.datums.datums:,} done and kept; the next repro runs the others only"
        )
    if show.quiet:
        hints += [f"| {printable_text(line)}" for line in run.log_tail]
    return "\n".join(hints)


def repro(
    repo: Repo,
    targets: Sequence[str],
    options: ReproOptions,
    *,
    settings: Sequence[tuple[str, str]] = (),
    environ: Mapping[str, str],
    host: str = "",
    version: str = "",
    stage: bool = True,
    progress: Progress,
) -> ReproResult:
    """Brings the stages that the targets stand for (all without any) up to date; `settings` are values for files of parameters.

    Raises FormatError, with file and line, before anything runs, for a pipeline that cannot be run as it is written. A failed or tainted
    stage is in the result. Raises KeyboardInterrupt after the commands were stopped and everything is in order.
    """
    started = time.monotonic()
    if options.single and options.downstream:
        raise UsageError("--single and --downstream exclude each other", hint="give one of them")
    if options.on is not None and options.on.partition(":")[0] != "dask":
        raise UsageError(
            f"--on {quote(options.on)} names no kind of cluster that dvlite knows",
            hint="dvlite repro --on dask, or --on dask:tcp://HOST:8786",
        )
    with contextlib.ExitStack() as stack:
        if options.dry_run:
            run = Invocation(repo, targets, options, environ, progress)
            params_set = run.write_params(settings)
            outcome = run.forecast()
        else:
            held = stack.enter_context(running_outputs.hold(repo, environ, progress))
            run = Invocation(repo, targets, options, environ, progress)
            if run.outdated:
                raise run.outdated[0]
            made_by = author(repo, environ, host, version)
            params_set = run.write_params(settings)
            try:
                workers = None if options.on is None else _workers(repo, options, version, stack, progress)
                wakes = workers.tasks.is_ready if workers is not None else lambda: False
                # the commands inherit the lock, so that one that a killed run left behind is waited for
                executor = Processes((held,), wakes=wakes)
                outcome = run.execute(made_by, executor, stack, workers).stage_in(repo, enabled=stage)
            except DvliteError:
                for change in params_set:  # it was written, though nothing ran
                    progress.warn(f"{quote(change.file)} was changed: {change.name} is {change.new!r} now")
                raise
        return ReproResult(
            outcome=outcome,
            params_set=params_set,
            dry_run=options.dry_run,
            explain=options.explain,
            elapsed_seconds=time.monotonic() - started,
        )


def _workers(
    repo: Repo, options: ReproOptions, version: str, stack: contextlib.ExitStack, progress: Progress
) -> Workers:
    """Returns the workers of a Dask cluster, not connected yet. Raises UsageError without a remote, Untrusted for one that was not approved."""
    name = repo.usable_remotes(None, to_push=True)[0]
    settings = repo.remote(name, to_push=True)
    shared = SharedRemote(
        url=settings.location.text,
        options={name: value for name, value in settings.options.items() if not is_secret(name)},
        key=settings.key,
        clone=clone_id(repo.common_dir),
        user=repo.git.config_get("user.email") or "",
        retry_seconds=repo.config.retry_seconds,
        reuses=options.run_cache and not options.force,
    )
    address = (options.on or "").partition(":")[2]
    place = DaskPlace(address, options.jobs, repo.state_dir / "dask")
    tasks = stack.enter_context(DaskTasks(place, shared, progress))
    return Workers(tasks, settings.name, version)
