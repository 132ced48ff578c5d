"""Stages whose commands ran elsewhere: what can be given out as tasks now, and results taken up as if the command had run here.

The bytes of a result are fetched by their ids, so hashed; who ran it, and where, is what the record says.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from dvlite.errors import ObjectMissing
from dvlite.formats import record
from dvlite.formats.lockfile import Locked
from dvlite.formats.record import Run
from dvlite.formats.task import Task, TaskResult, UnitResult
from dvlite.pipeline.content import Contents
from dvlite.pipeline.executor import Ended
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.journal import Ledger, declared_at, with_flags
from dvlite.pipeline.map_journal import MapJournal, inputs_mark
from dvlite.pipeline.outputs import Outputs
from dvlite.pipeline.run_cache import shown
from dvlite.pipeline.run_record import Recorder, begun, metrics_of
from dvlite.pipeline.stage_run import StageRun
from dvlite.pipeline.stages import Stage, StageOut
from dvlite.pipeline.staleness import Staleness
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.show import quote, word
from dvlite.workspace import unpushed


class TakeUp:
    """Takes up results in one work tree; callers hold no lock."""

    def __init__(
        self,
        repo: Repo,
        contents: Contents,
        outputs: Outputs,
        recorder: Recorder,
        ledger: Ledger,
        fetcher: Fetcher,
        progress: Progress,
    ) -> None:
        self._repo, self._contents, self._outputs = repo, contents, outputs
        self._recorder, self._ledger, self._fetcher = recorder, ledger, fetcher
        self._progress = progress

    def stage(self, outlook: Staleness, results: Sequence[TaskResult]) -> StageRun:
        """Records a result of an ordinary stage, the first whose outputs are there; if it is done, they are in the cache and the work tree, and in the lockfile.

        Raises ObjectMissing, with nothing changed, if no result has outputs that are on the remote as it names them.
        """
        stage = outlook.stage
        for result in results:
            unit = result.units[0]
            versions = _versions(stage, unit)
            if self._fetcher.bring_new(versions, [] if unit.log is None else [unit.log]):
                break
        else:
            raise ObjectMissing(
                f"the outputs of {stage.address} are not on the remote as its result names them",
                hint=f"run it again: dvlite repro --to k8s {word(stage.address)}, or here: dvlite repro {word(stage.address)}",
            )
        self._outputs.see_changes()
        run = self._run(outlook, result, unit)
        if unit.problem is not None:
            return self._failed(stage, run, unit)
        return self._done(outlook, run, [self._outputs.counted(version) for version in versions], unit)

    def datums(self, outlook: Staleness, items: Sequence[tuple[Task, TaskResult]]) -> int:
        """Takes what datums of a map stage made into the cache, and into the journal from which the next `repro` takes it up; returns how many.

        Of a result whose outputs are not on the remote as it names them, nothing counts.
        """
        stage = outlook.stage
        assert outlook.now is not None
        journal, taken = MapJournal(self._repo.state_dir / "map", stage.base(outlook.now)), 0
        for task, result in items:
            units = {unit.name: unit for unit in task.units}
            done = [one for one in result.units if one.problem is None and one.name in units]
            done = [one for one in done if tuple(out.path for out in one.outputs) == units[one.name].outs]
            versions = [out.locked() for one in done for out in one.outputs]
            if done and self._fetcher.bring_new(versions, []):
                journal.add({one.name: (inputs_mark(units[one.name].inputs), one.outputs) for one in done})
                taken += len(done)
        journal.close()
        return taken

    def _run(self, outlook: Staleness, result: TaskResult, unit: UnitResult) -> Run:
        assert outlook.now is not None
        started_ns = record.time_ns(result.start) or time.time_ns()
        attempt = begun(outlook.stage, outlook.now, self._contents, started_ns)
        ended = Ended(
            outlook.stage.address, unit.exit_code, unit.signal, unit.seconds, unit.cpu_seconds, unit.max_rss_bytes
        )
        status: record.Status = "ok" if unit.problem is None else "failed"
        run = self._recorder.ran(attempt, status, ended, environment=result.environment, log=unit.log)
        end = record.time_text(started_ns + round(unit.seconds * 1e9))
        return replace(
            run, user=result.user, host=result.host, worker=result.worker, ci=None, dvlite=result.dvlite, end=end
        )

    def _done(self, outlook: Staleness, run: Run, versions: Sequence[Locked], unit: UnitResult) -> StageRun:
        stage = outlook.stage
        with self._repo.lock(self._progress):
            self._ledger.ignore([version.path for version in versions if version.cache])
            if not self._outputs.restore(versions):
                raise ObjectMissing(
                    f"the outputs of {quote(stage.address)} could not be written",
                    hint="see dvlite fsck, then try again",
                )
        pairs: list[tuple[StageOut, Locked]] = [(_declared(stage, version.path), version) for version in versions]
        paths = [version.path for out, version in pairs if out.spec.metric]
        metrics, problems = metrics_of(self._repo.work_tree.read, stage, paths)
        for problem in problems:
            self._progress.warn(f"{stage.address}: {problem}; no metrics are recorded from it")
        oid = self._ledger.records.put(self._recorder.with_outputs(run, pairs, metrics, ()), durable=False)
        compared = self._ledger.metrics(stage, outlook.locked, metrics)
        self._ledger.lock_in(outlook, versions, oid)
        for version in versions:
            if version.cache and version.push:
                unpushed.note(self._repo, version.oid)
        return StageRun(
            stage=stage.address,
            state="ok",
            seconds=unit.seconds,
            reasons=outlook.reasons,
            outputs=shown(stage, versions),
            metrics=compared,
            run=oid,
            of_author="@".join(filter(None, (run.user.partition("@")[0], run.host))),
        )

    def _failed(self, stage: Stage, run: Run, unit: UnitResult) -> StageRun:
        oid = self._ledger.records.put(run, durable=False)
        return StageRun(
            stage=stage.address,
            state="failed",
            seconds=unit.seconds,
            run=oid,
            problem=unit.problem,
            exit_code=unit.exit_code,
            log=unit.log,
            log_tail=tuple(unit.log_tail.splitlines()[-10:]),
        )


def _versions(stage: Stage, unit: UnitResult) -> list[Locked]:
    """Returns the outputs of a unit with what the pipeline file says of them."""
    found = (file.locked() for file in unit.outputs)
    return [
        replace(with_flags(stage, replace(version, path=stage.local(version.path))), path=version.path)
        for version in found
    ]


def _declared(stage: Stage, path: str) -> StageOut:
    return next(out for out in stage.outs if out.path == path and declared_at(stage, path) is not None)
