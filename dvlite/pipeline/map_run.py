"""Runs a map stage: the datums that have no result yet, in batches; what they make becomes new listings of the output folders, and the work tree follows.

Whatever ends it (a failure, Ctrl-C, kill -9), what was done is recorded, and the next run takes it up. Knows no scheduler: tasks go to a
`TaskExecutor`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

from dvlite.errors import DvliteError, ObjectMissing, reason_of
from dvlite.formats.lockfile import Locked
from dvlite.formats.record import MapFailure, MapRun, Run, Status
from dvlite.oid import Oid
from dvlite.pipeline.away import Away
from dvlite.pipeline.datum_run import DatumOptions, DatumRun, MapScene
from dvlite.pipeline.executor import Ended, Interrupted, uninterruptible
from dvlite.pipeline.journal import Ledger
from dvlite.pipeline.map_journal import MapJournal
from dvlite.pipeline.map_plan import MapPlan
from dvlite.pipeline.outputs import Outputs
from dvlite.pipeline.run_cache import Reuse, shown
from dvlite.pipeline.run_record import Attempt, Recorder, begun
from dvlite.pipeline.slots import Slots
from dvlite.pipeline.stage_run import DatumsRun, RunState, StageRun
from dvlite.pipeline.staleness import Staleness
from dvlite.pipeline.tasks import UnitTaker
from dvlite.progress import Progress
from dvlite.show import count, printable, quote, word
from dvlite.workspace import unpushed

_MOST_WORKERS = 4  # that are named


class MapTools(MapScene, Protocol):
    """What it works with: those of the execution."""

    @property
    def outputs(self) -> Outputs: ...
    @property
    def recorder(self) -> Recorder: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def reuse(self) -> Reuse: ...
    @property
    def slots(self) -> Slots: ...
    @property
    def away(self) -> Away | None: ...


class MapStageRun:
    """One run of one map stage: call `run` once."""

    def __init__(
        self, tools: MapTools, outlook: Staleness, plan: MapPlan, progress: Progress, *, keep_going: bool, version: str
    ) -> None:
        assert outlook.now is not None
        self._tools, self._outlook, self._plan, self._progress = tools, outlook, plan, progress
        self._stage, self._entry = outlook.stage, outlook.now
        self._journal = MapJournal(tools.repo.state_dir / "map", plan.base)
        self._started = time.monotonic()
        self._attempt: Attempt = begun(self._stage, self._entry, tools.evaluator.contents, time.time_ns())
        options = DatumOptions(keep_going=keep_going, journal=self._journal, bring=self._bring, version=version)
        self._datums = DatumRun(tools, self._stage, self._entry, plan, options, progress)
        self._counts = self._datums.counts

    def run(self) -> StageRun:
        """Runs what has no result yet, records it, and brings the work tree to the new outputs.

        Raises DvliteError for what is no fault of a datum, and KeyboardInterrupt, each after what was done was recorded.
        """
        try:
            if self._tools.away is not None:
                batches = self._tools.away.batches()
                self._datums.run(batches, batches.workers, is_away=True)
                self._report_workers()
            else:
                self._datums.run(*self._datums.local(self._tools.slots.jobs))
        except (KeyboardInterrupt, Interrupted):
            with uninterruptible():
                self._record_partial("canceled", "stopped")
            raise KeyboardInterrupt from None
        except DvliteError as error:
            with uninterruptible():
                self._record_partial("failed", error.message)
            raise
        finally:
            self._journal.close()
        tainted = self._datums.tainted()
        if tainted:
            self._journal.remove()  # which of the versions a datum has read is not known
            return self._end("tainted", tainted=tainted)
        if self._counts.failed:
            return self._end("failed")
        return self._succeed()

    def _bring(self, versions: Sequence[Locked]) -> None:
        """Makes sure that the cache has inputs, with `--pull` from the remote. Raises ObjectMissing."""
        if not self._tools.reuse.are_at_hand(versions):
            lacking = next(version for version in versions if not self._tools.reuse.is_at_hand(version))
            raise ObjectMissing(
                f"cannot run {self._stage.address}: its input {quote(lacking.path)} is neither on disk nor in the cache",
                hint="dvlite repro --pull",
            )

    def _report_workers(self) -> None:
        """Prints how many datums each worker did, of more than a few workers the least and the most."""
        by_worker = sorted(self._counts.by_worker.items(), key=lambda item: (-item[1], item[0]))
        if len(by_worker) < 2:
            return
        shares = ", ".join(f"{printable(name)} {number:,}" for name, number in by_worker)
        if len(by_worker) > _MOST_WORKERS:
            shares = f"{by_worker[-1][1]:,} to {by_worker[0][1]:,} datums each"
        self._progress.print_line(f"{self._stage.address} ran on {count(len(by_worker), 'worker')}: {shares}")

    # -- the end

    def _succeed(self) -> StageRun:
        tools, stage = self._tools, self._stage
        versions = self._datums.versions()
        for version in versions:
            if version.push:
                unpushed.note(tools.repo, version.oid)
        run = self._run_record("ok", versions)
        oid = tools.ledger.records.put(run, durable=True)
        with tools.repo.lock(self._progress, wait=True):
            tools.ledger.ignore([version.path for version in versions])
            tools.outputs.see_changes()
            if not tools.outputs.restore(versions):
                raise ObjectMissing(
                    f"outputs of {stage.address} that were made before are damaged, or not in the cache any more",
                    hint=f"dvlite fsck --repair; to make all again: dvlite repro --force {word(stage.address)}",
                )
        tools.ledger.lock_in(self._outlook, versions, oid)
        self._journal.remove()
        return self._stage_run("ok", oid, versions)

    def _end(self, status: Literal["failed", "tainted"], tainted: tuple[str, ...] = ()) -> StageRun:
        """Records a run that failed, or whose results cannot be trusted; the work tree stays as it was."""
        with uninterruptible():
            versions = [] if tainted else self._datums.versions()
            oid = self._tools.ledger.records.put(self._run_record(status, versions, tainted), durable=True)
        if not tainted:
            self._journal.remove()
        return replace(self._stage_run(status, oid, ()), tainted_by=tainted)

    def _record_partial(self, status: Status, problem: str) -> None:
        """Records what was done before a run was stopped; on a full disk the journal has it."""
        counts = self._counts
        try:
            self._tools.ledger.records.put(self._run_record(status, self._datums.versions()), durable=True)
        except (DvliteError, OSError) as error:
            self._progress.warn(f"the run of {self._stage.address} could not be recorded: {reason_of(error)}")
            return
        self._journal.remove()
        self._progress.print_line(
            f"{self._stage.address} {problem}: {counts.ran:,} of {count(self._plan.total, 'datum')} ran, and are kept"
        )

    def _run_record(self, status: Status, versions: Sequence[Locked], taint: Sequence[str] = ()) -> Run:
        tools, counts, first = self._tools, self._counts, self._counts.first
        ended = Ended(
            name="",
            exit_code=None if first is None else first.exit_code,
            signal=None if first is None else first.signal,
            seconds=time.monotonic() - self._started,
            cpu_seconds=counts.cpu_seconds,
            max_rss_bytes=counts.max_rss_bytes,
        )
        environment = tools.surroundings.describe(self._stage)
        log = self._log()
        run = tools.recorder.ran(self._attempt, status, ended, environment=environment, log=log)
        outs = {out.path: out for out in self._stage.outs}
        placed = [(outs[version.path], version) for version in versions]
        failures = tuple(MapFailure(name=one.name, problem=one.problem, log=one.log) for one in counts.failures)
        mapped = MapRun(
            base=self._plan.base,
            datums=self._plan.total,
            ran=counts.ran + counts.resumed,
            reused=self._plan.reused,
            failed=counts.failed,
            failures=failures,
        )
        return replace(tools.recorder.with_outputs(run, placed, {}, taint), mapped=mapped)

    def _log(self) -> Oid | None:
        """Stores what the first datums that failed printed at their end, one after another; each has its whole log too."""
        failures = self._counts.failures
        texts = [f"== {one.name}: {one.problem}\n" + "".join(f"{line}\n" for line in one.log_tail) for one in failures]
        with UnitTaker(self._tools.work.cache) as taker:
            return taker.log("".join(texts).encode("utf-8", "replace"))

    def _stage_run(self, state: RunState, oid: Oid, versions: Sequence[Locked]) -> StageRun:
        counts, first = self._counts, self._counts.first
        datums = DatumsRun(
            datums=self._plan.total,
            ran=counts.ran,
            reused=self._plan.reused + counts.resumed,
            removed=self._plan.removed,
            failed=counts.failed,
            failures=tuple(counts.failures),
        )
        problem = None
        if first is not None:
            others = f"; {counts.failed - 1:,} more" if counts.failed > 1 else ""
            problem = f"{printable(first.name)}: {first.problem}{others}"
        return StageRun(
            stage=self._stage.address,
            state=state,
            seconds=time.monotonic() - self._started,
            reasons=self._outlook.reasons,
            outputs=shown(self._stage, versions),
            run=oid,
            problem=problem,
            exit_code=None if first is None else first.exit_code,
            log=None if first is None else first.log,
            log_tail=() if first is None else counts.failures[0].log_tail,
            datums=datums,
        )
