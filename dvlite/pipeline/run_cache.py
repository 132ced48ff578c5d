"""The run cache: outputs that are absent or edited are restored, and those of an earlier run with the same key are reused.

It is the run records. They come from all who can write to the remote, and a record may lie: without `--pull`, only runs of this clone count,
and those that the lockfile of a commit names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from dvlite.errors import DvliteError, ObjectMissing, reason_of
from dvlite.formats import record
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import Run
from dvlite.oid import MANIFEST, Oid, parse_oid
from dvlite.paths import ancestors
from dvlite.pipeline.content import same_data
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.journal import Ledger, declared_at, with_flags
from dvlite.pipeline.map_inputs import require_nodes
from dvlite.pipeline.outputs import Outputs, is_cached, why_purged
from dvlite.pipeline.run_record import Recorder, begun
from dvlite.pipeline.stage_run import RunState, StageOutput, StageRun
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.staleness import Evaluator, Staleness
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import why_untrackable
from dvlite.runs.history import History
from dvlite.runs.records import hex_of
from dvlite.show import printable, quote, word
from dvlite.workspace import sparse
from dvlite.workspace.fetch import with_listings

_WITH_DATUMS = ("ok", "failed", "canceled", "asserted")  # runs whose outputs are results of datums; not of tainted ones
_MOST_EARLIER = 12  # of these that are looked at


class Reuse:
    """Restores outputs, from the cache or through the fetcher."""

    def __init__(
        self,
        repo: Repo,
        evaluator: Evaluator,
        outputs: Outputs,
        recorder: Recorder,
        ledger: Ledger,
        fetcher: Fetcher | None,
        progress: Progress,
        *,
        run_cache: bool,
    ) -> None:
        self._repo, self._evaluator, self._outputs = repo, evaluator, outputs
        self._cache = open_cache(repo)
        self._recorder, self._ledger, self._fetcher = recorder, ledger, fetcher
        self._run_cache, self._progress = run_cache, progress
        self._warned = False
        self._own: set[str] | None = None
        self._history: History | None = None

    def is_lost(self, version: Locked) -> bool:
        """Returns whether an output that is not on disk is nowhere else either; without a fetcher, what may be on a remote is not lost."""
        if self._fetcher is None:
            return is_nowhere(self._repo, version)
        return not self.is_at_hand(version) and not why_purged(self._cache, version)

    def is_at_hand(self, version: Locked) -> bool:
        """Returns whether the cache has a version or, with a fetcher, can get it."""
        return self.are_at_hand([version])

    def are_at_hand(self, versions: Sequence[Locked]) -> bool:
        """Returns whether the cache has all of these or, with a fetcher, can get those that it lacks, in one go."""
        absent = [version for version in versions if not is_cached(self._cache, version)]
        return not absent or (self._fetcher is not None and self._fetcher.bring(absent))

    def require(self, outlook: Staleness, versions: Iterable[Locked]) -> None:
        """Raises ObjectMissing for outputs that are needed, on no disk and not at hand, of a stage that does not run: before anything runs."""
        for version in versions:
            if not self.is_at_hand(version):
                raise _nowhere(outlook, version, why_purged(self._cache, version))

    def up_to_date(self, outlook: Staleness) -> StageRun:
        """Brings absent outputs back where that is possible, and the lockfile up to what the pipeline file says of outputs that did not change."""
        stage, locked = outlook.stage, outlook.locked
        state: RunState = "frozen" if outlook.state == "frozen" else "up to date"
        absent = []
        for version in outlook.absent:
            if not self._bring([version]):
                absent.append(version.path)
            elif not self._restore([version]) and outlook.state != "frozen":
                raise _nowhere(outlook, version, "")
        if len(absent) < len(outlook.absent) and state == "up to date":
            state = "restored"
        if locked is not None and outlook.state != "frozen":
            self._refresh(stage, locked)
        return StageRun(stage=stage.address, state=state, absent=tuple(absent))

    def _refresh(self, stage: Stage, locked: LockedStage) -> None:
        outs = tuple(with_flags(stage, out) for out in locked.outs)
        if outs == locked.outs:
            return
        with self._repo.lock(self._progress):
            for out in outs:
                if self._evaluator.contents.has(stage.placed(out.path)):
                    self._outputs.take(stage.placed(out.path), tracked=out.cache)
        self._ledger.refresh(stage, locked, outs)

    # -- instead of a run

    def instead(self, outlook: Staleness, known: Oid | None = None) -> StageRun | None:
        """Takes the outputs of an earlier run with the same key, here or, with `--pull`, on the remote; of the one that is `known`, if any."""
        stage = outlook.stage
        if stage.spec.always or any(out.spec.persist for out in stage.outs):
            return None
        if outlook.state == "edited" and known is None and self.obtain(stage.placed_outs(outlook.locked)):
            return StageRun(stage=stage.address, state="restored", reasons=outlook.reasons)
        if not self._run_cache:
            return None
        assert outlook.now is not None
        if known is not None:  # another invocation of this process may have stored its outputs just now
            self._cache.refresh_if_changed()
            self._outputs.see_changes()
        foreign = None
        for oid in [known] if known is not None else self._ledger.index.ok_runs(outlook.now.key):
            if known is None and self._fetcher is None and not self._is_own(oid) and not self._is_committed(oid):
                foreign = foreign or self._ledger.index.run(oid)
                continue
            try:
                taken = self._taken(outlook, oid)
            except (DvliteError, OSError) as error:  # of one candidate: another may do, and the command always does
                self._warn(outlook.stage, error)
                continue
            if taken is not None:
                return self._cached(outlook, oid, *taken)
        if foreign is not None:
            self._progress.warn(
                f"{outlook.stage.address} ran with the same inputs for {_author(foreign)}, in a run that no commit names; to reuse it: dvlite repro --pull"
            )
        return None

    def with_base(self, outlook: Staleness, base: str) -> Iterator[Run]:
        """Yields earlier runs of a map stage whose datums count, with their outputs at hand: the one that the lockfile names, then the newest first."""
        stage, locked = outlook.stage, outlook.locked
        first = [locked.run] if locked is not None and locked.run is not None else []
        others = self._ledger.index.map_runs(base) if self._run_cache else []
        yielded = 0
        for oid in dict.fromkeys([*first, *others]):
            if yielded == _MOST_EARLIER:
                return
            run = self._ledger.index.run(oid)
            if run is None or run.mapped is None or run.mapped.base != base or run.status not in _WITH_DATUMS:
                continue
            if run.project != (self._repo.config.project or ""):
                continue
            if oid not in first and self._fetcher is None and not self._is_own(oid) and not self._is_committed(oid):
                continue
            deps, outs = run.locked()
            if stage.base(stage.entry(run.facts, deps)) != base:  # records may come from anyone
                continue
            try:
                self._bring_listings(run)
                if self._bring([replace(out, path=stage.placed(out.path)) for out in outs]):
                    yielded += 1
                    yield run
            except (DvliteError, OSError) as error:
                self._warn(stage, error)

    def _bring_listings(self, run: Run) -> None:
        """Makes sure that with `--pull` the listings of what a run went over are here. Raises ObjectMissing."""
        for item in run.inputs if self._fetcher is not None else ():
            oid = item.inside_oid or item.oid
            if not oid.startswith(MANIFEST):
                continue
            known = Pointer("directory", parse_oid(oid)[1], item.size_bytes, item.files)
            look = partial(require_nodes, known.digest, self._cache.has_node, self._cache.read_node)
            with_listings(self._repo, self._cache, item.path, [known], look, self._progress)

    def _is_own(self, oid: Oid) -> bool:
        if self._own is None:
            self._own = self._ledger.records.own()
        return hex_of(oid) in self._own

    def _is_committed(self, oid: Oid) -> bool:
        if self._history is None:
            self._history = History(self._repo)
        return self._history.commit_of_run(oid) is not None

    def _taken(self, outlook: Staleness, oid: Oid) -> tuple[Run, Sequence[Locked]] | None:
        """Puts the outputs of an earlier run into the workspace; returns None if it does not fit, or its outputs are missing."""
        run = self._ledger.index.run(oid)
        if run is None or run.project != (self._repo.config.project or "") or not _began_with(run, outlook):
            return None
        stage, (_, outs) = outlook.stage, run.locked()
        versions = [replace(with_flags(stage, out), path=stage.placed(out.path)) for out in outs]
        if not fits(stage, versions) or not self._bring(versions):
            return None
        versions = [self._outputs.counted(version) for version in versions]
        return (run, versions) if self._restore(versions) else None

    def _warn(self, stage: Stage, error: DvliteError | OSError) -> None:
        if not self._warned:
            reason = reason_of(error)
            self._progress.warn(f"an earlier run of {stage.address} cannot be used: {reason}")
        self._warned = True

    def obtain(self, versions: Sequence[Locked]) -> bool:
        """Puts versions into the workspace, from the cache or the remote; returns False if some are missing."""
        return self._bring(versions) and self._restore(versions)

    def _bring(self, versions: Sequence[Locked]) -> bool:
        on_disk = self._evaluator.contents.here
        absent = [
            version
            for version in versions
            if not same_data(on_disk(version.path), version) and not is_cached(self._cache, version)
        ]
        return not absent or (self._fetcher is not None and self._fetcher.bring(absent))

    def _restore(self, versions: Sequence[Locked]) -> bool:
        with self._repo.lock(self._progress):
            return self._outputs.restore(versions)

    def _cached(self, outlook: Staleness, oid: Oid, run: Run, versions: Sequence[Locked]) -> StageRun:
        stage = outlook.stage
        assert outlook.now is not None
        attempt = begun(stage, outlook.now, self._evaluator.contents, time.time_ns())
        new = self._ledger.records.put(self._recorder.cached(attempt, oid, run, versions), durable=False)
        metrics = self._ledger.metrics(stage, outlook.locked, run.metrics)
        self._ledger.lock_in(outlook, versions, oid)
        return StageRun(
            stage=stage.address,
            state="cached",
            reasons=outlook.reasons,
            outputs=shown(stage, versions),
            metrics=metrics,
            run=new,
            of=oid,
            of_stage=run.stage,
            of_author=None if self._is_own(oid) else _author(run),
        )


def _author(run: Run) -> str:
    """Returns who recorded a run and where, by their own words."""
    user = run.user.partition("@")[0] or "unknown"
    return printable(f"{user}@{run.host}" if run.host else user)


def is_nowhere(repo: Repo, version: Locked) -> bool:
    """Returns whether the cache lacks an output and no remote can have it; what was purged is not meant to come back."""
    if version.push and version.cache and repo.config.remote_names:
        return False
    cache = open_cache(repo)
    return not is_cached(cache, version) and not why_purged(cache, version)


def _nowhere(outlook: Staleness, version: Locked, purged: str) -> ObjectMissing:
    address, again = outlook.stage.address, f"to make it again: dvlite repro --force {word(outlook.stage.address)}"
    if purged:
        return ObjectMissing(f"{address} is {outlook.state}, but {purged}", hint=again)
    return ObjectMissing(
        f"{address} is {outlook.state}, but its output {quote(version.path)} is neither on disk nor in the cache",
        hint=f"dvlite pull {word(version.path)}, or dvlite repro --pull, which makes again what no remote has; {again}",
    )


def _began_with(run: Run, outlook: Staleness) -> bool:
    """Returns whether a run began with what the stage would begin with now: its record has the key, but records may come from anyone."""
    assert outlook.now is not None
    deps, _ = run.locked()
    facts = replace(outlook.now.facts, params=record.held(outlook.now.facts.params))
    return outlook.stage.entry(run.facts, deps).key == outlook.stage.entry(facts, outlook.now.deps).key


def fits(stage: Stage, versions: Sequence[Locked]) -> bool:
    """Returns whether versions are what the stage declares, each once, none inside another."""
    patterns = [out.path for out in stage.outs if sparse.is_glob(out.path)]
    plain = {out.path for out in stage.outs} - set(patterns)
    paths = {version.path for version in versions}
    chosen = sparse.selector(patterns) if patterns else None
    return (
        bool(paths)
        and len(paths) == len(versions)
        and plain <= paths
        and not any(why_untrackable(path) is not None or not paths.isdisjoint(ancestors(path)) for path in paths)
        and all(chosen is not None and chosen(os.fsencode(path)) for path in paths - plain)
        and not any(version.executable and version.oid.startswith(MANIFEST) for version in versions)
    )


def shown(stage: Stage, versions: Iterable[Locked]) -> tuple[StageOutput, ...]:
    """Returns outputs as results have them."""
    declared = ((version, declared_at(stage, version.path)) for version in versions)
    return tuple(
        StageOutput(
            path=version.path,
            oid=version.oid,
            size_bytes=version.size_bytes,
            files=version.files,
            metric=out is not None and out.metric,
        )
        for version, out in declared
    )
