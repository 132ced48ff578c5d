"""Run records of what DVC ran, as its lockfiles have it: dvlite saw no run, so each vouches for its outputs, as `dvlite commit` does."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from dvlite.formats import lockfile, record
from dvlite.formats.lockfile import LockedStage, Lockfile
from dvlite.formats.record import Code, Run
from dvlite.git.copied_commits import RawCommit
from dvlite.moving.dvc_pipelines import LockedContent
from dvlite.oid import Oid, digest_bytes
from dvlite.pipeline.run_record import ReadFile, Recorder, begun, metrics_of
from dvlite.pipeline.stages import Stage
from dvlite.runs.records import Records

_PROGRAM = {"recorded by": "dvc"}  # of the environment: no more is known of it


@dataclass(slots=True)
class DvcRuns:
    """The records of an import: one for equal entries of a stage, however many commits have them. Durable after `records.sync`."""

    records: Records
    _known: dict[tuple[str, bytes], Oid] = field(default_factory=dict)

    def put(self, stage: Stage, entry: LockedStage, by: Voucher) -> Oid:
        """Stores the record of a stage, unless an equal one was stored, and returns its name."""
        key = stage.file, lockfile.dump(Lockfile((entry,)))
        if key not in self._known:
            self._known[key] = self.records.put(by.run(stage, entry), durable=False)
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Voucher:
    """Makes the records of the work tree, or of a commit: the same ones at each import. `read` returns files with metrics."""

    runs: DvcRuns
    recorder: Recorder
    contents: LockedContent
    read: ReadFile
    commit: RawCommit | None = None

    def vouch(self, stage: Stage, entry: LockedStage) -> Oid:
        """Stores the record of a stage with this entry; its outputs are in the cache, also those that git keeps."""
        return self.runs.put(stage, entry, self)

    def run(self, stage: Stage, entry: LockedStage) -> Run:
        """Returns the record."""
        named = {out.path: out for out in stage.outs}
        outputs = [(named[out.path], out) for out in stage.placed_outs(entry)]
        metrics, _ = metrics_of(self.read, stage, [out.path for out, _ in outputs if out.spec.metric])
        commit = self.commit
        if commit is None:
            begin = begun(stage, entry, self.contents, time.time_ns())
            return replace(self.recorder.asserted(begin, outputs, metrics), environment=_PROGRAM)
        begin = begun(stage, entry, self.contents, commit.time_ns)
        run = self.recorder.asserted(begin, outputs, metrics, Code(commit=commit.id))
        name = record.new_id(commit.time_ns, digest_bytes(f"{commit.id} {stage.address}".encode()))
        return replace(run, id=name, end=run.start, environment=_PROGRAM)
