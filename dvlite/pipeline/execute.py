"""Runs what is out of date: settles one stage after another in the order of the graph, several commands at a time.

One thread: commands are processes, everything else is done between their ends. A stage is up to date, or its outputs are restored from an
earlier run, or its command runs; the outcome of each is returned as data. Holds the workspace lock only while it moves outputs.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dvlite.errors import DvliteError, ObjectMissing, reason_of
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.record import Run, Status
from dvlite.formats.series import is_series
from dvlite.oid import FILE, Oid, format_oid
from dvlite.pipeline import reasons
from dvlite.pipeline.away import Away, StageReturn
from dvlite.pipeline.environment import Surroundings
from dvlite.pipeline.executor import Ended, Executor, Interrupted, interrupted, tail_of, uninterruptible
from dvlite.pipeline.graph import StageGraph
from dvlite.pipeline.intake import Intake
from dvlite.pipeline.journal import Ledger
from dvlite.pipeline.map_plan import MapPlan, plan_map
from dvlite.pipeline.map_run import MapStageRun
from dvlite.pipeline.outputs import Backup, Outputs, store_file
from dvlite.pipeline.run_cache import Reuse, fits, shown
from dvlite.pipeline.run_record import Attempt, Recorder, begun, metrics_of
from dvlite.pipeline.slots import Slots
from dvlite.pipeline.stage_run import StageRun
from dvlite.pipeline.stages import Stage, StageOut
from dvlite.pipeline.staleness import Evaluator, Staleness
from dvlite.pipeline.together import SharedRuns
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.show import count, printable, quote, word
from dvlite.workspace import running_outputs, sparse
from dvlite.workspace.workspace import Workspace

_DONE = ("up to date", "frozen", "ok", "cached", "restored")
_LINES_SHOWN = 200  # of the log of a stage that ran away; `runs show --log` has all


@dataclass(frozen=True, slots=True)
class ExecuteOptions:
    """How to run: `force` these stages; after a failure, `keep_going` with what does not need it."""

    force: frozenset[str] = frozenset()
    keep_going: bool = False
    refused: Mapping[str, DvliteError] = field(default_factory=dict)  # stages that cannot run, with the reasons


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run works with."""

    repo: Repo
    work: Workspace
    graph: StageGraph
    evaluator: Evaluator
    outputs: Outputs
    surroundings: Surroundings
    executor: Executor
    recorder: Recorder
    ledger: Ledger
    reuse: Reuse
    intake: Intake
    slots: Slots
    together: SharedRuns | None = None
    away: Away | None = None  # where stages run that can be tasks


@dataclass(slots=True)
class _Open:
    """A command that runs, or is about to; `backups` are its old outputs. `returned`: how it ended on another machine."""

    attempt: Attempt
    outlook: Staleness
    log: Path
    backups: list[Backup] = field(default_factory=list)
    marks: dict[str, object] = field(default_factory=dict)  # of what it depends on, when it began
    began: bool = False
    ended: Ended | None = None
    is_away: bool = False
    returned: StageReturn | None = None


class Execution:
    """One `repro`: call `run` once."""

    def __init__(self, tools: Tools, options: ExecuteOptions, progress: Progress) -> None:
        self._tools, self._options, self._progress = tools, options, progress
        self._repo, self._outputs, self._ledger = tools.repo, tools.outputs, tools.ledger
        self._executor = tools.executor
        self._open: dict[str, _Open] = {}
        self._done: dict[str, StageRun] = {}
        self._waiting: dict[str, Stage] = {}
        self._retries: dict[str, int] = {}
        self._failed = False
        self._total = self._begun = 0
        self.error: DvliteError | None = None  # the first that stopped a stage before its command began

    def run(self, chosen: Sequence[Stage], expected: int) -> tuple[StageRun, ...]:
        """Settles the stages given, in order; `expected` is how many will probably run. Raises KeyboardInterrupt once all is in order again."""
        self._total = expected
        waiting = self._waiting = {stage.address: stage for stage in chosen}
        try:
            while waiting or self._open:
                count_before = len(waiting)
                self._settle_what_can_be()
                if self._tools.together is not None and not self._open and len(waiting) == count_before:
                    self._tools.together.pause()  # other invocations have what is needed
                self._wait()
                self._ledger.write(only_if_due=True)
                if self._failed and not self._open and not self._options.keep_going:
                    break
        except (KeyboardInterrupt, Interrupted):
            self._cancel()
            raise KeyboardInterrupt from None
        except BaseException:
            self._cancel()
            raise
        for address in waiting:
            self._done[address] = StageRun(stage=address, state="not run")
        return tuple(self._done[stage.address] for stage in chosen)

    def _wait(self) -> None:
        """Waits until something ends, here or away."""
        away = self._tools.away
        if away is None or any(not opened.is_away for opened in self._open.values()):
            for ended in self._executor.wait():
                self._finish(ended)
        if away is not None and (away.is_ready or all(opened.is_away for opened in self._open.values())):
            for returned in away.wait():
                self._finish_away(returned)

    def _settle_what_can_be(self) -> None:
        waiting, slots = self._waiting, self._tools.slots
        for address in list(waiting):
            if slots.is_full and self._tools.away is None:
                return
            if any(other in waiting or other in self._open for other in self._tools.graph.before[address]):
                continue
            if self._failed and not self._options.keep_going:
                return
            before = [self._done[other] for other in self._tools.graph.before[address] if other in self._done]
            if any(other.state not in _DONE for other in before):
                del waiting[address]
                self._done[address] = StageRun(stage=address, state="not run")
                continue
            if waiting[address].spec.map is not None and self._open:
                continue  # it takes all places itself, and is waited for
            goes_away = self._tools.away is not None and self._tools.away.takes(waiting[address])
            if not (slots.take_away if goes_away else slots.take)(address, waiting[address].spec.limits):
                continue
            stage = waiting.pop(address)
            try:
                if address in self._options.refused:
                    raise self._options.refused[address]
                self._settle(stage)
            except DvliteError as error:  # what runs already goes on to its end
                self._failed = True
                self.error = self.error or error
                self._done[address] = StageRun(stage=address, state="failed", problem=error.message, hint=error.hint)
            finally:
                if address not in self._open:
                    slots.give_back(address)

    # -- one stage

    def _settle(self, stage: Stage) -> None:
        if self._begun:  # hours may have passed since it was looked at
            self._look_again(place.path for place in (*stage.deps, *stage.outs))
            self._tools.evaluator.contents.forget(place.spec.fixed for place in stage.over)
            if not stage.spec.frozen or stage.address in self._options.force:
                self._tools.intake.take([stage])
        outlook = self._tools.evaluator.look(stage, force=stage.address in self._options.force)
        if self._tools.together is not None and outlook.now is not None and not _runs_each_time(stage):
            self._settle_once(outlook, self._tools.together)
            return
        self._settle_alone(outlook)

    def _settle_once(self, outlook: Staleness, together: SharedRuns) -> None:
        """Settles a stage, unless another invocation of this command does or did: then its outputs are taken. All have a record each."""
        assert outlook.now is not None
        stage, key = outlook.stage, outlook.now.key
        known = together.claim(key)
        try:
            if known is None and outlook.state == "up to date" and outlook.locked is not None:
                known = outlook.locked.run
            taken = None if known is None else self._tools.reuse.instead(outlook, known)
            if taken is None:
                self._settle_alone(outlook)
                taken = self._done.get(stage.address)
            else:
                self._done[stage.address] = taken
        except BaseException:
            together.settle(key)
            raise
        if taken is not None:  # else its command runs
            together.settle(key, Oid(taken.of) if taken.of is not None else None)

    def _settle_alone(self, outlook: Staleness) -> None:
        stage = outlook.stage
        if outlook.state in ("up to date", "frozen"):
            self._done[stage.address] = self._tools.reuse.up_to_date(outlook)
            return
        restored = self._tools.reuse.instead(outlook) if stage.address not in self._options.force else None
        if restored is not None:
            self._done[stage.address] = restored
            return
        if stage.spec.map is not None:
            self._run_datums(outlook)
            return
        self._start(outlook)

    # -- a run

    def _start(self, outlook: Staleness) -> None:
        stage = outlook.stage
        assert outlook.now is not None
        away = self._tools.away
        goes_away = away is not None and away.takes(stage)
        if not goes_away:
            self._require_dependencies(outlook)
        attempt = begun(stage, outlook.now, self._tools.evaluator.contents, time.time_ns())
        attempt = replace(attempt, retry=self._retries.get(stage.address, 0))
        log = self._outputs.logs() / f"{stage.name}-{attempt.started_ns}"
        opened = self._open[stage.address] = _Open(attempt, outlook, log, is_away=goes_away)
        try:
            if away is not None and goes_away:
                log.touch()
                self._announce(opened, "sending")
                away.start(stage, outlook.now)
                opened.began = True
                return
            self._set_aside(opened)
            self._launch(opened)
        except DvliteError:
            self._close(stage)
            with self._repo.lock(self._progress, wait=True):
                self._outputs.put_back(opened.backups)
            raise

    def _planned(self, outlook: Staleness) -> MapPlan:
        """Returns which datums of a map stage run, and which have their result from earlier runs."""
        stage, tools = outlook.stage, self._tools
        assert outlook.now is not None
        forced = stage.address in self._options.force
        earlier = () if forced else tools.reuse.with_base(outlook, stage.base(outlook.now))
        contents = tools.evaluator.contents
        return plan_map(stage, outlook.now, contents, contents.read_node, earlier)

    def _run_datums(self, outlook: Staleness) -> None:
        """Runs a map stage to its end; nothing else runs meanwhile."""
        stage, tools = outlook.stage, self._tools
        assert outlook.now is not None
        if tools.away is None:
            self._require_dependencies(outlook)
        self._begun += 1
        of = f" ({self._begun} of {max(self._total, self._begun)})" if self._total > 1 else ""
        plan = self._planned(outlook)
        first, _, rest = stage.spec.cmd.strip().partition("\n")
        title = f"{first} ..." if rest else first
        self._progress.print_line(f"running {stage.address}{of}, {plan.title}: {title}")
        for lacking in plan.lacking:
            self._progress.warn(
                f"{stage.address}: {count(lacking.groups, 'group')} without a file of {quote(lacking.pattern)}, such as {quote(lacking.example)}: no datum"
            )
        running_outputs.note(self._repo, {stage.address: (time.time_ns(), [], [])})
        run: StageRun | None = None
        try:
            version = "" if tools.away is None else tools.away.version
            mapped = MapStageRun(
                tools, outlook, plan, self._progress, keep_going=self._options.keep_going, version=version
            )
            run = self._done[stage.address] = mapped.run()
        finally:
            self._note_running_outputs()
            if run is None or run.state != "ok":
                self._failed = True
            if tools.together is not None:
                is_ok = run is not None and run.state == "ok"
                made = [out.oid for out in run.outputs] if run is not None and is_ok else []
                failed = (
                    f"{stage.address} failed ({run.problem})" if run is not None and run.state == "failed" else None
                )
                oid = Oid(run.run) if run is not None and run.run is not None and is_ok else None
                tools.together.settle(outlook.now.key, oid, outputs=made, failed=failed)

    def _note_running_outputs(self) -> None:
        """Lists for other commands the stages that run, and their outputs, which are missing because of that."""
        stages = {}
        for address, opened in self._open.items():
            if opened.is_away:
                continue
            outs = opened.attempt.stage.outs
            series = [out.path for out in outs if out.spec.metric and is_series(out.path)]
            stages[address] = opened.attempt.started_ns, [out.path for out in outs], series
        running_outputs.note(self._repo, stages)

    def _close(self, stage: Stage) -> None:
        del self._open[stage.address]
        self._tools.slots.give_back(stage.address)

    def _set_aside(self, opened: _Open) -> None:
        stage, locked = opened.attempt.stage, opened.outlook.locked
        with self._repo.lock(self._progress):
            self._note_running_outputs()
            self._ledger.ignore([out.path for out in stage.outs if out.spec.cache and not sparse.is_glob(out.path)])
            self._outputs.set_aside(stage, stage.placed_outs(locked), opened.backups)

    def _launch(self, opened: _Open) -> None:
        tools, stage = self._tools, opened.attempt.stage
        prefix = f"{stage.address} | " if tools.slots.jobs > 1 else ""
        variables = tools.slots.variables(stage.address)
        command = tools.surroundings.command(
            stage,
            opened.attempt.entry.key,
            opened.log,
            lambda line: self._progress.print_line(prefix + line),
            variables,
        )
        self._announce(opened, "running", f": {command.title}")
        opened.marks = self._marks(stage, opened.attempt.entry)
        opened.began = True
        try:
            self._executor.start(command)
        except OSError as error:
            raise stage.wrong(
                stage.spec.cmd_line, f"cannot start {stage.address} in {quote(stage.spec.wdir)}: {error.strerror}"
            ) from error

    def _announce(self, opened: _Open, what: str, more: str = "") -> None:
        stage, retry = opened.attempt.stage, opened.attempt.retry
        self._begun += not retry
        of = f" ({self._begun} of {max(self._total, self._begun)})" if self._total > 1 else ""
        again = f" again (retry {retry} of {stage.spec.limits.retries})" if retry else ""
        self._progress.print_line(f"{what} {stage.address}{again or of}{more}")

    def require(self, stage: Stage) -> None:
        """Raises ObjectMissing for data that a stage reads, no stage makes, and that is neither on disk nor at hand: before anything runs."""
        contents = self._tools.evaluator.contents
        paths = [
            path for dep in stage.deps if dep.path not in self._tools.graph.made for path in contents.matches(dep.path)
        ]
        for part in (part for path in paths for part in contents.parts(path)):
            known = None if contents.has(part) and not contents.is_assumed(part) else contents.expected(part)
            if known is not None and not self._tools.reuse.is_at_hand(whole := self._whole(part, known)):
                raise self._lacks(stage, part, whole)

    def _lacks(self, stage: Stage, path: str, whole: Locked) -> ObjectMissing:
        is_behind = self._tools.evaluator.contents.is_assumed(path)
        what = "is not on disk as its pointer has it" if is_behind else "is not on disk"
        return ObjectMissing(
            f"cannot run {stage.address} ({stage.file} line {stage.spec.line}): its dependency {quote(path)} {what}",
            hint=f"dvlite pull {word(whole.path)}, or dvlite repro --pull",
        )

    def _require_dependencies(self, outlook: Staleness) -> None:
        """Makes sure that what the command reads is on disk, from the cache or with `--pull` from the remote."""
        stage, contents = outlook.stage, self._tools.evaluator.contents
        assert outlook.now is not None
        over = {item.path for item in stage.over}  # a datum's own inputs are looked for when it runs
        for dep in outlook.now.deps:
            path = stage.placed(dep.path)
            if path in over:
                continue
            is_behind = contents.is_assumed(path)
            if contents.has(path) and not is_behind:
                continue
            whole = self._whole(path, dep)
            if not self._tools.reuse.obtain([whole]):
                raise self._lacks(stage, path, whole)
            if is_behind:
                self._progress.print_line(
                    f"{whole.path} was an earlier version, untouched; checked out as its pointer has it"
                )

    def _whole(self, path: str, dep: Locked) -> Locked:
        """Returns the tracked path that holds a dependency: what is restored is always a whole one."""
        place = path
        while place:
            holder = self._tools.evaluator.contents.tracked(place)
            if holder is not None:
                return holder
            place = posixpath.dirname(place)
        return replace(dep, path=path)

    def _finish(self, ended: Ended) -> None:
        opened = self._open[ended.name]
        opened.ended = ended
        stage = opened.attempt.stage
        problem = ended.problem
        if problem is None:
            try:
                with self._repo.lock(self._progress, wait=True):
                    outputs = self._outputs.collect(stage)
            except DvliteError as error:
                self._fail(opened, ended, "failed", error.message)
                self._done[stage.address] = replace(
                    self._done[stage.address], hint=_way_back(self._done[stage.address])
                )
            else:
                self._succeed(opened, ended, outputs)
        else:
            self._fail(opened, ended, "failed", problem, may_retry=True)
        opened.log.unlink(missing_ok=True)

    def _finish_away(self, returned: StageReturn) -> None:
        """Takes what a stage made on another machine, as the outputs of an earlier run are taken."""
        ended = returned.ended
        opened = self._open[ended.name]
        opened.ended, opened.returned = ended, returned
        stage = opened.attempt.stage
        opened.log.write_bytes(returned.log)
        self._print_log(stage, returned)
        problem = ended.problem
        if problem is None and not fits(stage, returned.outputs):
            problem = "what it made is not what it declares"
        try:
            if problem is None:
                with self._repo.lock(self._progress, wait=True):
                    outputs = self._outputs.receive(stage, returned.outputs)
        except DvliteError as error:
            problem = error.message
        if problem is None:
            self._succeed(opened, ended, outputs)
        else:
            self._fail(opened, ended, "failed", problem)
        opened.log.unlink(missing_ok=True)

    def _print_log(self, stage: Stage, returned: StageReturn) -> None:
        result = returned.result
        if result.host:
            self._progress.print_line(
                f"{stage.address} ended on {printable(result.host)}, worker {printable(result.worker)}"
            )
        lines = returned.log.decode("utf-8", "replace").replace("\r", "\n").splitlines()
        if len(lines) > _LINES_SHOWN:
            self._progress.print_line(f"{stage.address} | ... {count(len(lines) - _LINES_SHOWN, 'line')} before")
        for line in lines[-_LINES_SHOWN:]:
            self._progress.print_line(f"{stage.address} | {line}")

    def _succeed(self, opened: _Open, ended: Ended, outputs: list[tuple[StageOut, Locked]]) -> None:
        tools, stage = self._tools, opened.attempt.stage
        taint = [] if opened.is_away else self._taint(opened)  # what was sent away is what it ran with
        versions = [version for _, version in outputs]
        paths = [version.path for out, version in outputs if out.spec.metric]
        metrics, problems = metrics_of(tools.repo.work_tree.read, stage, paths)
        for problem in problems:
            self._progress.warn(f"{stage.address}: {problem}; no metrics are recorded from it")
        status: Status = "tainted" if taint else "ok"
        run = tools.recorder.with_outputs(self._record(opened, ended, status), outputs, metrics, taint)
        self._close(stage)  # from here on, an interruption leaves the new outputs
        self._note_running_outputs()
        oid = self._ledger.records.put(run, durable=False)
        compared = self._ledger.metrics(stage, opened.outlook.locked, metrics)
        self._outputs.discard(opened.backups)
        if taint:
            self._failed = True
            self._ledger.ignore([version.path for version in versions if version.cache])
        else:
            self._ledger.lock_in(opened.outlook, versions, oid)
        if tools.together is not None:
            made = [version.oid for version in versions]
            tools.together.settle(opened.attempt.entry.key, None if taint else oid, outputs=made)
        self._done[stage.address] = StageRun(
            stage=stage.address,
            state="tainted" if taint else "ok",
            seconds=ended.seconds,
            reasons=opened.outlook.reasons,
            outputs=shown(stage, versions),
            metrics=compared,
            run=oid,
            tainted_by=tuple(taint),
        )

    def _fail(self, opened: _Open, ended: Ended, status: Status, problem: str, *, may_retry: bool = False) -> None:
        stage, retry = opened.attempt.stage, opened.attempt.retry
        may_retry = may_retry and retry < stage.spec.limits.retries and (self._options.keep_going or not self._failed)
        self._failed = self._failed or not may_retry
        with self._repo.lock(self._progress, wait=True):
            kept = None if opened.is_away else self._outputs.keep_partial(stage)
            self._outputs.put_back(opened.backups)
            known = {out.path for out in stage.placed_outs(opened.outlook.locked)}
            new = [out.path for out in stage.outs if out.path not in known and not sparse.is_glob(out.path)]
            self._ledger.forget([path for path in new if not self._tools.evaluator.contents.has(path)])
        self._close(stage)
        self._note_running_outputs()
        if self._tools.together is not None:
            words = f"{stage.address} failed ({problem})" if status == "failed" and not may_retry else None
            self._tools.together.settle(opened.attempt.entry.key, failed=words)
        run, oid = None, None
        try:  # last: on a full disk the outputs are in place all the same
            run = self._record(opened, ended, status)
            oid = self._ledger.records.put(run, durable=False)
        except (DvliteError, OSError) as error:
            self._progress.warn(f"the run of {stage.address} could not be recorded: {reason_of(error)}")
        if may_retry:
            self._progress.print_line(f"{stage.address} failed: {problem}")
            self._retries[stage.address] = retry + 1
            self._waiting[stage.address] = stage
            return
        tried = f", like {count(retry, 'try', 'tries')} before" if retry else ""
        self._done[stage.address] = StageRun(
            stage=stage.address,
            state="canceled" if status == "canceled" else "failed",
            seconds=ended.seconds,
            reasons=opened.outlook.reasons,
            run=oid,
            problem=problem + tried,
            exit_code=ended.exit_code,
            log=run.log if run is not None else None,
            log_tail=tail_of(opened.log),
            kept=kept,
        )
        if status == "canceled" and kept is not None:
            self._progress.print_line(f"what {stage.address} had written is in {kept}")

    def _record(self, opened: _Open, ended: Ended, status: Status) -> Run:
        tools = self._tools
        log = format_oid(FILE, store_file(tools.work, opened.log)) if opened.log.stat().st_size else None
        if opened.returned is None:
            environment = {} if opened.is_away else tools.surroundings.describe(opened.attempt.stage)
            return tools.recorder.ran(opened.attempt, status, ended, environment=environment, log=log)
        result = opened.returned.result
        run = tools.recorder.ran(opened.attempt, status, ended, environment=result.environment, log=log)
        return replace(run, host=result.host, worker=result.worker)

    def _taint(self, opened: _Open) -> list[str]:
        """Returns what the stage depends on and is not as it was when the command began."""
        stage, before = opened.attempt.stage, opened.attempt.entry
        self._look_again(stage.placed(dep.path) for dep in before.deps)
        try:
            after = self._tools.evaluator.entry_now(stage, opened.outlook.locked, captured=before)
        except DvliteError as error:
            return [error.message]
        changed = [reason for reason in reasons.of_facts(before, after) if reason.kind.startswith(("dep-", "param-"))]
        named = [stage.placed(reason.name) if reason.kind.startswith("dep-") else reason.name for reason in changed]
        # written and put back: the command may have read either version
        return named or [path for path, mark in self._marks(stage, before).items() if mark != opened.marks.get(path)]

    def _marks(self, stage: Stage, entry: LockedStage) -> dict[str, object]:
        paths = [*(stage.placed(dep.path) for dep in entry.deps), *(place.path for place in stage.params)]
        return {path: self._tools.evaluator.contents.mark(path) for path in paths}

    def _look_again(self, patterns: Iterable[str]) -> None:
        contents = self._tools.evaluator.contents
        contents.forget(path for pattern in patterns for path in contents.matches(pattern))
        self._tools.evaluator.params.forget()

    def _cancel(self) -> None:
        """Stops what runs, puts its outputs back and records it; what was done is written down."""
        stopped = {ended.name: ended for ended in self._executor.stop()}
        if self._tools.away is not None:
            self._tools.away.stop()
        with uninterruptible():
            for address, opened in list(self._open.items()):
                if opened.began:
                    self._progress.print_line(f"stopped {address}; its outputs are as they were before")
                    ended = stopped.get(address) or opened.ended or interrupted(address)
                    self._fail(opened, ended, "canceled", "stopped")
                else:
                    with self._repo.lock(self._progress, wait=True):
                        self._outputs.put_back(opened.backups)
            self._ledger.write()


def _runs_each_time(stage: Stage) -> bool:
    """Returns whether no run of a stage is taken for another one."""
    return stage.spec.always or any(out.spec.persist for out in stage.outs)


def _way_back(run: StageRun) -> str | None:
    """Returns how outputs that could not be taken are taken after all: what took hours is not to be made again."""
    if run.kept is None:
        return None
    moved = f"cp -a {word(run.kept)}/. ."
    return f"the command itself succeeded; to take its outputs: put right what is wrong there, {moved}, then: dvlite commit {word(run.stage)}"
