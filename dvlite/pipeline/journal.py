"""What a run writes down: run records, entries of lockfiles, and what git is to ignore. Nothing of how stages run."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

from dvlite.files import quote
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.pipeline import Out
from dvlite.formats.record import Run
from dvlite.oid import Oid
from dvlite.pipeline.lockfiles import Locks
from dvlite.pipeline.stage_run import MetricChange
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.staleness import Evaluator, Staleness
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.records import Records
from dvlite.workspace import sparse


class Ledger:
    """Takes down what became of stages, and knows what became of them before; a context manager, for it keeps the index of runs open."""

    def __init__(self, repo: Repo, records: Records, locks: Locks, evaluator: Evaluator, progress: Progress) -> None:
        self.records = records
        self._progress = progress
        self._repo, self._locks, self._evaluator = repo, locks, evaluator
        self.ignored: set[str] = set()  # .gitignore files that changed
        self._index: RunIndex | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._index is not None:
            self._index.close()

    @property
    def index(self) -> RunIndex:
        """The index of all runs that were recorded before this one began."""
        if self._index is None:
            self._index = open_index(self.records)
        return self._index

    def is_recorded(self, version: Oid) -> bool:
        """Says whether a run made this version."""
        return bool(self.index.makers(version))

    def record(self, run: Run) -> Oid:
        """Stores a run record; durable after the next `write`."""
        return self.records.put(run, durable=False)

    def lock_in(self, outlook: Staleness, versions: Sequence[Locked], run: Oid) -> None:
        """Enters what a stage ran with and made."""
        stage = outlook.stage
        assert outlook.now is not None
        outs = [replace(version, path=stage.local(version.path)) for version in versions]
        if outlook.locked is not None:
            before = {stage.placed(out.path) for out in outlook.locked.outs}
            self._evaluator.contents.drop_outputs(before - {version.path for version in versions})
        self._put(stage, replace(outlook.now, run=run, outs=tuple(sorted(outs, key=lambda out: out.path))))

    def refresh(self, stage: Stage, locked: LockedStage, outs: tuple[Locked, ...]) -> None:
        """Enters what the pipeline file says now of outputs that did not change."""
        self._put(stage, replace(locked, outs=outs))

    def _put(self, stage: Stage, entry: LockedStage) -> None:
        before = self._evaluator.locked_stage(stage)
        self._locks.put(stage, entry)
        known = self._locks.current[stage.lockfile].stage(stage.name)
        assert known is not None
        self._evaluator.locked[stage.lockfile, stage.name] = known
        self.ignore([stage.placed(out.path) for out in known.outs if out.cache])
        cached_before = {out.path for out in before.outs if out.cache} if before is not None else set()
        freed = cached_before - {out.path for out in known.outs if out.cache}
        if freed:
            self._free(stage, freed - self._outputs_elsewhere(stage), {out.path for out in known.outs})

    def _free(self, stage: Stage, freed: set[str], outs: set[str]) -> None:
        """Lets git see what was a cached output; says so of what is no output any more."""
        for path in sorted(freed - outs):
            if (self._repo.root / stage.placed(path)).exists():
                self._progress.warn(
                    f"{quote(stage.placed(path))} is no output of {stage.address} any more; it is left as it is, and git sees it now"
                )
        self.forget([stage.placed(path) for path in freed])

    def _outputs_elsewhere(self, stage: Stage) -> set[str]:
        """Returns the outputs of all other stages, relative to this one's pipeline file."""
        return {
            stage.local(posixpath.normpath(posixpath.join(posixpath.dirname(file), out.path)))
            for (file, name), entry in self._evaluator.locked.items()
            if (file, name) != (stage.lockfile, stage.name)
            for out in entry.outs
        }

    def forget(self, paths: Sequence[str]) -> None:
        """Lets git see paths again that are no cached outputs."""
        self.ignored.update(self._repo.forget_ignored(paths))

    def ignore(self, paths: Sequence[str]) -> None:
        """Cached outputs are ignored by git as tracked data is."""
        self.ignored.update(self._repo.ensure_ignored(paths))

    @property
    def is_due(self) -> bool:
        return self._locks.is_due

    def write(self) -> None:
        """Writes records and lockfiles; a record is durable before a lockfile names it."""
        self.records.sync()
        self._locks.write()

    def finish(self) -> tuple[str, ...]:
        """Makes everything durable; returns the lockfiles that changed."""
        self.records.sync()
        return self._locks.finish()

    def metrics(
        self, stage: Stage, locked: LockedStage | None, metrics: Mapping[str, object]
    ) -> tuple[MetricChange, ...]:
        """Returns the metrics of a stage beside those of the run that the lockfile named before."""
        named = locked.run if locked is not None and metrics else None
        before = self.records.read(named) if named is not None else None
        old = before.metrics if isinstance(before, Run) else {}
        better = {
            f"{stage.local(out.path)}:{name}": direction
            for out in stage.outs
            for name, direction in out.spec.better.items()
        }
        return tuple(
            MetricChange(
                name=name, value=value, old=old.get(name), better=_is_better(better.get(name), old.get(name), value)
            )
            for name, value in metrics.items()
        )


def with_flags(stage: Stage, out: Locked) -> Locked:
    """Returns a locked output with what the pipeline file says of it now."""
    declared = declared_at(stage, stage.placed(out.path))
    return out if declared is None else replace(out, cache=declared.cache, push=declared.push)


def declared_at(stage: Stage, path: str) -> Out | None:
    """Returns the output of a stage that stands for a path of the repository."""
    for place in stage.outs:
        if place.path == path or (sparse.is_glob(place.path) and sparse.selector([place.path])(os.fsencode(path))):
            return place.spec
    return None


def _is_better(direction: str | None, old: object, new: object) -> bool | None:
    if direction is None or not isinstance(old, (int, float)) or not isinstance(new, (int, float)) or old == new:
        return None
    return (new > old) == (direction == "higher")
