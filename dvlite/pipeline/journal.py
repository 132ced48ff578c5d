"""What `repro` writes about stages: run records, entries of lockfiles, and ignore lines for git. Does not know how stages run.

Lockfiles are written atomically, in the order of the pipeline file, and seldom enough that a thousand quick stages do not write a thousand
files: a stage whose entry was not written yet is found by its run record.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

from dvlite.errors import DvliteError
from dvlite.files import write_atomic
from dvlite.formats import lockfile
from dvlite.formats.lockfile import Locked, LockedStage, Lockfile
from dvlite.formats.pipeline import Out
from dvlite.formats.record import Run
from dvlite.oid import Oid
from dvlite.pipeline.stage_run import MetricChange
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.staleness import Evaluator, Staleness
from dvlite.pipeline.together import SharedRuns
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.stage_names import metrics_file
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.queries import RunQueries
from dvlite.runs.records import Records
from dvlite.show import quote
from dvlite.workspace import sparse

_PAUSE_SECONDS = 0.5
_SHARE = 20  # at most a twentieth of the time goes into writing lockfiles


class Ledger:
    """The records of this run and of those before it, and the lockfiles; a context manager, since the index of runs stays open."""

    def __init__(
        self,
        repo: Repo,
        records: Records,
        locks: Locks,
        evaluator: Evaluator,
        progress: Progress,
        *,
        together: SharedRuns | None = None,
    ) -> None:
        self.records = records
        self._together = together
        self._progress = progress
        self._repo, self._locks, self._evaluator = repo, locks, evaluator
        self.ignored: set[str] = set()  # .gitignore files that changed
        self._has_lines: set[str] = set()  # paths whose ignore lines are written
        self._expected: set[str] = set()  # those of them that had none before, and may not be made
        self._index: RunIndex | None = None if together is None else together.index

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._index is not None and self._together is None:
            self._index.close()

    @property
    def index(self) -> RunIndex:
        """The index of all runs that were recorded before this one began."""
        if self._index is None:
            self._index = open_index(self.records)
        return self._index

    def is_recorded(self, version: Oid) -> bool:
        """Returns whether a run made this version."""
        is_new = self._together is not None and self._together.has_made(version)
        return is_new or bool(RunQueries(self.index).makers([version]))

    def lock_in(self, outlook: Staleness, versions: Sequence[Locked], run: Oid) -> None:
        """Enters what a stage ran with and made."""
        stage = outlook.stage
        assert outlook.now is not None
        outs = [replace(version, path=stage.local(version.path)) for version in versions]
        before = {out.path for out in stage.placed_outs(outlook.locked)}
        self._evaluator.contents.drop_outputs(before - {version.path for version in versions})
        self._put(stage, replace(outlook.now, run=run, outs=tuple(sorted(outs, key=lambda out: out.path))))

    def refresh(self, stage: Stage, locked: LockedStage, outs: tuple[Locked, ...]) -> None:
        """Enters what the pipeline file says now of outputs that did not change."""
        self._put(stage, replace(locked, outs=outs))

    def _put(self, stage: Stage, entry: LockedStage) -> None:
        before = self._evaluator.locked_stage(stage)
        known = self._locks.put(stage, entry)
        self._evaluator.locked[stage.lockfile, stage.name] = known
        self.ignore([stage.placed(out.path) for out in known.outs if out.cache])
        cached_before = {out.path for out in before.outs if out.cache} if before is not None else set()
        freed = cached_before - {out.path for out in known.outs if out.cache}
        if freed:
            self._free(stage, freed - self._outputs_elsewhere(stage), {out.path for out in known.outs})

    def _free(self, stage: Stage, freed: set[str], outs: set[str]) -> None:
        """Removes the ignore lines of paths that are no longer cached outputs, and warns of those that are no longer outputs."""
        for path in sorted(freed - outs):
            if (self._repo.root / stage.placed(path)).exists():
                self._progress.warn(
                    f"{quote(stage.placed(path))} is no longer an output of {stage.address}: the file stays, and git will show it as untracked"
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
        """Removes the ignore lines of paths that are not cached outputs."""
        self._has_lines.difference_update(paths)
        self.ignored.update(self._repo.forget_ignored(paths))

    def ignore(self, paths: Sequence[str]) -> None:
        """Adds ignore lines for cached outputs, as for tracked data."""
        new = [path for path in paths if path not in self._has_lines]
        if new:
            self.ignored.update(self._repo.ensure_ignored(new))
            self._has_lines.update(new)

    def expect(self, paths: Sequence[str]) -> None:
        """Adds the ignore lines of outputs that are probably going to be made, with one change of each file; what cannot be changed is left to `ignore`."""
        with contextlib.suppress(DvliteError):
            self._expected.update(set(paths) - self._repo.git.ignored(paths))
            self.ignore(paths)

    def _settle_lines(self) -> None:
        """Takes out the lines of outputs that were expected and not made, and adds those that a command took out meanwhile."""
        made = {
            posixpath.normpath(posixpath.join(posixpath.dirname(file), out.path))
            for (file, _), entry in self._evaluator.locked.items()
            for out in entry.outs
        }
        unmade = self._expected.intersection(self._has_lines) - made
        self.forget([path for path in sorted(unmade) if not self._evaluator.contents.has(path)])
        self.ignored.update(self._repo.ensure_ignored(sorted(self._has_lines)))

    def write(self, *, only_if_due: bool = False) -> None:
        """Writes records and lockfiles; a record is durable before a lockfile names it."""
        if self._locks.is_due or not only_if_due:
            self.records.sync()
            self._locks.write()

    def finish(self) -> tuple[str, ...]:
        """Makes everything durable; returns the lockfiles that changed."""
        self._settle_lines()
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
            f"{metrics_file(stage.file, stage.name, out.path)}:{name}": direction
            for out in stage.outs
            for name, direction in out.spec.better.items()
        }
        return tuple(
            MetricChange(
                name=name, value=value, old=old.get(name), better=_is_better(better.get(name), old.get(name), value)
            )
            for name, value in metrics.items()
        )


class Locks:
    """The lockfiles of some stages. `stages`: all of the repository, for their order; not `lasting`: none is ever written."""

    def __init__(self, repo: Repo, stages: Sequence[Stage], *, lasting: bool = True) -> None:
        self._repo, self._lasting = repo, lasting
        self._order: dict[str, list[str]] = {}
        for stage in stages:
            self._order.setdefault(stage.lockfile, []).append(stage.name)
        self._seen: dict[str, bytes | None] = {}
        self._changed: dict[str, dict[str, LockedStage]] = {}
        self._unwritten: set[str] = set()
        self._written: set[str] = set()
        self._next_write = 0.0
        self._current: dict[str, dict[str, LockedStage]] = {}  # by lockfile and name
        for file in self._order:
            self._seen[file] = repo.work_tree.read(file)
            self._current[file] = self._parsed(file, self._seen[file])

    @property
    def current(self) -> dict[str, Lockfile]:
        """The lockfiles as they are, or are going to be written."""
        return {file: Lockfile(tuple(entries.values())) for file, entries in self._current.items()}

    def put(self, stage: Stage, entry: LockedStage) -> LockedStage:
        """Enters what a stage ran with and its outputs, and returns what is entered: a run that repeats the entry changes nothing."""
        known = self._current[stage.lockfile].get(stage.name)
        if known is not None and known.run is not None and _said(known) == _said(entry):
            return known
        self._changed.setdefault(stage.lockfile, {})[stage.name] = entry
        self._current[stage.lockfile][stage.name] = entry
        self._unwritten.add(stage.lockfile)
        return entry

    @property
    def is_due(self) -> bool:
        """Returns whether it is time to write."""
        return bool(self._unwritten) and self._lasting and time.monotonic() >= self._next_write

    def write(self) -> None:
        """Writes what changed, durably: after a power cut, a lockfile that is empty would stop the next run."""
        started = time.monotonic()
        for file in sorted(self._unwritten) if self._lasting else ():
            self._write(file)
        self._unwritten.clear()
        self._next_write = time.monotonic() + max(_PAUSE_SECONDS, _SHARE * (time.monotonic() - started))

    def finish(self) -> tuple[str, ...]:
        """Drops the entries of stages that are gone, writes what changed, and returns the lockfiles that did."""
        if not self._lasting:
            return ()
        for file, entries in self._current.items():
            if not entries.keys() <= set(self._order[file]):
                self._unwritten.add(file)
        for file in sorted(self._unwritten | self._written):
            self._write(file)
        self._unwritten.clear()
        return tuple(sorted(self._written))

    def _write(self, file: str) -> None:
        on_disk = self._repo.work_tree.read(file)
        if on_disk != self._seen[file]:  # git, or the user, changed it meanwhile
            self._current[file] = self._parsed(file, on_disk) | self._changed.get(
                file, {}
            )  # raises before anything is forgotten
            self._seen[file] = on_disk
        entries = self._current[file]
        data = lockfile.dump(Lockfile(tuple(entries[name] for name in self._order[file] if name in entries)))
        if data != on_disk:
            write_atomic(self._repo.root / file, data)
            self._written.add(file)
        self._seen[file] = data

    def _parsed(self, file: str, data: bytes | None) -> dict[str, LockedStage]:
        known = Lockfile() if data is None else lockfile.parse(data, self._repo.display(file))
        return {entry.name: entry for entry in known.stages}


def _said(entry: LockedStage) -> tuple[object, ...]:
    """Returns an entry without its run; a user may have edited more of it than the key."""
    deps = {dep.path: dep.oid for dep in entry.deps}
    return entry.key, entry.facts, deps, entry.outs


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
