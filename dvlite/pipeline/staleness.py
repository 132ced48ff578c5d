"""Which stages are out of date, and why: the lockfile compared with what is here, or with what pointers say belongs here.

Of the work tree and of any revision. Runs nothing and changes no data, so that `status`, `repro -n`, `verify` and a clone without data can ask.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats.lockfile import Facts, Locked, LockedStage, Lockfile
from dvlite.formats.map_stage import facts_of
from dvlite.formats.strict_yaml import Tree
from dvlite.oid import MANIFEST, Oid
from dvlite.paths import is_inside, overlap
from dvlite.pipeline import reasons
from dvlite.pipeline.content import Contents
from dvlite.pipeline.graph import StageGraph, build
from dvlite.pipeline.params import Params
from dvlite.pipeline.preflight import assume_followed
from dvlite.pipeline.reasons import Reason, StaleStage
from dvlite.pipeline.stages import Stage, StageOver, StageParams, StagePath, captured_name, left_out, load
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Revision
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import quote
from dvlite.workspace import sparse
from dvlite.workspace.changes import changes, counts_of
from dvlite.workspace.workspace import Workspace

NOT_LOOKED_AT = "not looked at"  # of a captured value that is new, where no program may be started
State = Literal["up to date", "edited", "stale", "after", "unknown", "frozen"]


class Captures(Protocol):
    """Finds the values that stages ask to record."""

    def values(self, stage: Stage, locked: LockedStage | None) -> Mapping[str, str]:
        """Returns `torch`, `env NAME` or `command ...` -> text; what must not be looked at now is as the lockfile has it."""


class LockedCaptures:
    """Takes all captured values from the lockfile, for commands that may not start a program."""

    def values(self, stage: Stage, locked: LockedStage | None) -> Mapping[str, str]:
        known = {} if locked is None else locked.facts.capture
        return {name: known.get(name, NOT_LOOKED_AT) for name in map(captured_name, stage.spec.capture)}


@dataclass(frozen=True, slots=True)
class Staleness:
    """How one stage stands. `edited`: only its outputs are not what it made; `after`: only a stage before it is out of date; `unknown`: an error.

    `absent` are outputs of an up-to-date stage that are not on disk; `now` is what it would run with, None while it waits for others.
    """

    stage: Stage
    state: State
    locked: LockedStage | None
    reasons: tuple[Reason, ...] = ()
    now: LockedStage | None = None
    absent: tuple[Locked, ...] = ()

    @property
    def runs(self) -> bool:
        return self.state in ("stale", "after", "unknown")


class StageContent(Protocol):
    """What belongs at paths: of the work tree (`content.Contents`), or of any revision (`revision_content.RevisionContent`)."""

    def matches(self, pattern: str) -> list[str]:
        """Returns the paths that a path or pattern stands for, sorted."""

    def parts(self, path: str) -> list[str]:
        """Returns what a dependency on a path is recorded as: the path and, if it is a folder of git's, all data inside."""

    def expected(self, path: str) -> Locked | None:
        """Returns what belongs at a path, None if that is not known."""

    def over(self, over: StageOver) -> Locked | None:
        """Returns the listing of what a map stage goes over, None if that is nothing."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A declared dependency or parameter whose current value is unknown. `is_missing`: the dependency does not exist."""

    place: StagePath
    error: DvliteError
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class StageNow:
    """What a stage would run with now, without outputs, as far as it is known."""

    stage: Stage
    entry: LockedStage
    gaps: tuple[Gap, ...] = ()

    def differences(self, locked: LockedStage) -> Iterator[Reason]:
        """Yields what a lockfile entry has otherwise; what only follows from a gap is left out."""
        yield from (reason for reason in reasons.of_facts(locked, self.entry) if not self._follows(reason))
        yield from undeclared(self.stage, locked)

    def _follows(self, reason: Reason) -> bool:
        if reason.kind == "dep-removed":
            path = self.stage.placed(reason.name)
            return any(stands_for(gap.place.path, path) for gap in self.gaps if not isinstance(gap.place, StageParams))
        places = (gap.place for gap in self.gaps) if reason.kind == "param-removed" else ()
        return any(isinstance(place, StageParams) and place.covers(reason.name) for place in places)


def now_of(
    stage: Stage,
    content: StageContent,
    params: Params,
    capture: Callable[[], Mapping[str, str]],
    awaited: Callable[[str], bool] | None = None,
) -> StageNow:
    """Returns what a stage would run with now; with `awaited` (still to be made, may be missing) the error of the first gap is raised."""
    deps: dict[str, Locked] = {}
    gaps: list[Gap] = []

    def note(gap: Gap) -> None:
        if awaited is not None:
            raise gap.error
        gaps.append(gap)

    may_lack = awaited or (lambda _: False)
    for dep in stage.deps:
        try:
            paths = [part for path in content.matches(dep.path) for part in content.parts(path)]
            known = [content.expected(path) for path in paths]
        except DvliteError as error:
            note(Gap(dep, error))
            continue
        if not may_lack(dep.path) and (not paths or None in known):
            note(Gap(dep, _missing(stage, dep), is_missing=True))
        local = ((stage.local(path), item) for path, item in zip(paths, known, strict=True) if item is not None)
        deps |= {path: replace(item, path=path) for path, item in local}
    for over in stage.over:
        try:
            row = content.over(over)
        except DvliteError as error:
            note(Gap(over, error))
            continue
        if row is not None:
            deps[stage.local(over.path)] = replace(row, path=stage.local(over.path))
        elif not may_lack(over.path):
            note(Gap(over, _missing(stage, over), is_missing=True))
    values: dict[str, Tree] = {}
    for place, value in params.values(stage, awaited=may_lack):
        if isinstance(value, DvliteError):
            note(Gap(place, value))
        else:
            values |= value
    mapped = {} if stage.spec.map is None else facts_of(stage.spec.map)
    facts = Facts(stage.spec.cmd, stage.spec.wdir, values, stage.spec.env, capture(), mapped)
    return StageNow(stage, stage.entry(facts, [deps[path] for path in sorted(deps)]), tuple(gaps))


def stands_for(pattern: str, path: str) -> bool:
    """Returns whether a declared path or pattern stands for a path: the same one, one in that folder, or one that matches."""
    return is_inside(path, pattern) or (sparse.is_glob(pattern) and sparse.selector([pattern])(os.fsencode(path)))


def _missing(stage: Stage, dep: StagePath) -> DvliteError:
    if isinstance(dep, StageOver):
        return stage.wrong(
            dep.line,
            f"{quote(dep.spec.written)}, which {stage.address} goes over, matches no file",
            hint="correct it, or add the data; tracked data comes with dvlite pull",
        )
    what = "matches nothing" if sparse.is_glob(dep.path) else "does not exist"
    return stage.wrong(
        dep.line,
        f"the dependency {quote(dep.path)} of {stage.address} {what}",
        hint="correct its name, or make it an output of another stage; tracked data comes with dvlite pull",
    )


class Evaluator:
    """Looks at stages, in the order of the graph. `made`: dependencies that a stage makes, so that they may be missing before it ran."""

    def __init__(
        self,
        contents: Contents,
        params: Params,
        captures: Captures,
        locks: Mapping[str, Lockfile],
        made: Collection[str] = (),
    ) -> None:
        self.contents, self.params = contents, params
        self._captures, self._made = captures, made
        for file, lock in locks.items():
            contents.know_outputs(posixpath.dirname(file), (out for stage in lock.stages for out in stage.outs))
        self.locked = {(file, stage.name): stage for file, lock in locks.items() for stage in lock.stages}
        self.lost: dict[str, list[Locked]] = {}  # by stage: outputs that are nowhere, and needed

    def locked_stage(self, stage: Stage) -> LockedStage | None:
        return self.locked.get((stage.lockfile, stage.name))

    def look(self, stage: Stage, *, pending: bool = False, force: bool = False) -> Staleness:
        """Returns how a stage stands; `pending`: a stage before it is out of date. Raises FormatError for a dependency that is nowhere."""
        locked = self.locked_stage(stage)
        if stage.spec.frozen and not force:
            return Staleness(stage, "frozen", locked, absent=self._absent(stage, locked))
        now = self.entry_now(stage, locked, pending=pending)
        why = [*self._why(stage, locked, now, pending=pending)]
        if force:
            why = [Reason(kind="forced"), *why]
        if pending:
            return Staleness(stage, "stale" if why else "after", locked, (*why, Reason(kind="upstream")))
        if not why and locked is not None and now.key != locked.key:
            why = [Reason(kind="definition-changed", name="outs")]
        if why:
            edited = locked is not None and now.key == locked.key and {r.kind for r in why} == {"output-changed"}
            return Staleness(stage, "edited" if edited else "stale", locked, tuple(why), now)
        return Staleness(stage, "up to date", locked, (), now, self._absent(stage, locked))

    def entry_now(
        self,
        stage: Stage,
        locked: LockedStage | None,
        *,
        pending: bool = False,
        captured: LockedStage | None = None,
    ) -> LockedStage:
        """Returns what a stage would run with now, without outputs; with `pending`, what is still to be made is left out; captured values are those of `captured`, if given.

        Raises FormatError for a dependency or parameter that is nowhere.
        """

        def known() -> Mapping[str, str]:
            return self._captures.values(stage, locked) if captured is None else captured.facts.capture

        return now_of(stage, self.contents, self.params, known, lambda path: pending and path in self._made).entry

    def _why(self, stage: Stage, locked: LockedStage | None, now: LockedStage, *, pending: bool) -> Iterable[Reason]:
        if locked is None:
            yield Reason(kind="never-run")
            return
        if stage.spec.always:
            yield Reason(kind="always")
        for out in self.lost.get(stage.address, ()):
            if not self.contents.has(out.path):
                yield Reason(kind="output-missing", name=out.path, old=out.oid)
        for reason in StageNow(stage, now).differences(locked):
            if not (pending and reason.kind == "dep-removed"):
                yield reason
        if not pending:
            outs = stage.placed_outs(locked)
            yield from reasons.of_outputs(outs, {out.path: self.contents.here(out.path) for out in outs})

    def assume_restored(self, outlook: Staleness) -> None:
        """Takes edited outputs for what the lockfile says, when what comes after is looked at: a run begins by restoring them."""
        if outlook.state == "edited":
            for out in outlook.stage.placed_outs(outlook.locked):
                self.contents.assume(out.path, out)

    def _absent(self, stage: Stage, locked: LockedStage | None) -> tuple[Locked, ...]:
        return tuple(out for out in stage.placed_outs(locked) if not self.contents.has(out.path))


def undeclared(stage: Stage, locked: LockedStage) -> Iterable[Reason]:
    """Yields outputs that the pipeline file and the lockfile do not share."""
    declared = [stage.local(out.path) for out in stage.outs]
    known = {out.path for out in locked.outs}
    if known == set(declared):
        return
    chosen = sparse.selector(declared) if declared else None
    for path in declared:
        if not sparse.is_glob(path) and path not in known:
            yield Reason(kind="output-added", name=path)
    for path in sorted(known):
        if chosen is None or not chosen(path.encode("utf-8", "surrogateescape")):
            yield Reason(kind="output-removed", name=path)


def read_locks(at: Revision, stages: Iterable[Stage]) -> dict[str, Lockfile]:
    """Returns the lockfiles of the stages by path; raises FormatError for one that is malformed."""
    return {file: at.lockfile(file) or Lockfile() for file in dict.fromkeys(stage.lockfile for stage in stages)}


def of_stages(tracked: Iterable[Tracked], stages: Iterable[Stage]) -> list[Tracked]:
    """Leaves out what lockfiles say of stages that their pipeline files have no more."""
    known = {(stage.lockfile, stage.address) for stage in stages}
    files = {file for file, _ in known}
    return [item for item in tracked if item.lockfile not in files or (item.lockfile, item.stage) in known]


def survey(
    graph: StageGraph,
    evaluator: Evaluator,
    stages: Iterable[Stage],
    *,
    force: Collection[str] = (),
    problems: dict[str, DvliteError] | None = None,
    is_lost: Callable[[Locked], bool] | None = None,
    wanted: Collection[str] = (),
) -> list[Staleness]:
    """Returns how stages stand, which are given in the order of the graph; those that run are expected to change their outputs.

    With `is_lost` (is this output, which is not on disk, nowhere else either?) a stage is out of date if something needs such an output of it;
    `wanted` are stages whose outputs are needed in any case. Raises DvliteError for a stage that cannot be looked at; with `problems` it goes
    there, by stage, and the stage is "unknown".
    """
    stages = list(stages)
    while True:
        outlooks = _looked_at(graph, evaluator, stages, force, problems)
        running = {outlook.stage.address for outlook in outlooks if outlook.runs}
        before = len(evaluator.lost)
        for outlook, outs in needed(graph, outlooks, running, wanted):
            lost = [] if is_lost is None or outlook.state != "up to date" else [out for out in outs if is_lost(out)]
            if lost:
                evaluator.lost[outlook.stage.address] = lost
                running.add(outlook.stage.address)
        if len(evaluator.lost) == before:
            return outlooks


def needed(
    graph: StageGraph, outlooks: Sequence[Staleness], running: Collection[str], wanted: Collection[str] = ()
) -> Iterator[tuple[Staleness, list[Locked]]]:
    """Yields the stages whose outputs are not on disk although something needs them, with these; the last stages first.

    An output is needed if a stage that runs reads it, if no other of the stages comes later, or if its stage is `wanted`. `running` may grow
    between two steps.
    """
    chosen = {outlook.stage.address: outlook.stage for outlook in outlooks}
    for outlook in reversed(outlooks):
        address = outlook.stage.address
        later = [other for other in graph.after[address] if other in chosen]
        if address in running or not outlook.absent:
            continue
        if outlook.state != "frozen" and (not later or address in wanted):
            yield outlook, list(outlook.absent)
            continue
        readers = [chosen[other] for other in later if other in running]
        outs = [out for out in outlook.absent if any(_reads(reader, out.path) for reader in readers)]
        if outs:
            yield outlook, outs


def _reads(stage: Stage, output: str) -> bool:
    return any(sparse.is_glob(place.path) or overlap(place.path, output) for place in (*stage.sources, *stage.params))


def _looked_at(
    graph: StageGraph,
    evaluator: Evaluator,
    stages: Iterable[Stage],
    force: Collection[str],
    problems: dict[str, DvliteError] | None,
) -> list[Staleness]:
    running: set[str] = set()
    outlooks = []
    for stage in stages:
        pending = any(other in running for other in graph.before[stage.address])
        try:
            outlook = evaluator.look(stage, pending=pending, force=stage.address in force)
        except DvliteError as error:
            if problems is None:
                raise
            problems[stage.address] = error
            outlook = Staleness(stage, "unknown", None)
        if outlook.runs:
            running.add(stage.address)
        evaluator.assume_restored(outlook)
        outlooks.append(outlook)
    return outlooks


def stages_out_of_date(
    repo: Repo, work: Workspace, tracked: Iterable[Tracked]
) -> tuple[tuple[StaleStage, ...], tuple[DvliteError, ...]]:
    """Returns the stages that `repro` would run, and errors about files that cannot be read; starts no program and no request."""
    at = repo.work_tree
    loaded = load(at)
    problems = list(loaded.broken)
    try:
        graph = build(loaded.stages)
        tracked = list(tracked)
        contents = Contents(work, of_stages(tracked, loaded.stages), fetches=False)
        problems += assume_followed(work, contents, graph.stages, tracked)
        locks = read_locks(at, loaded.stages)
        evaluator = Evaluator(contents, Params(at.read), LockedCaptures(), locks, graph.made)
    except DvliteError as error:
        return (), (*problems, error)
    unknown: dict[str, DvliteError] = {}
    absent = left_out(at, graph.stages) if repo.git.is_sparse else {}
    here = [stage for stage in graph.stages if stage.address not in absent]
    outlooks = survey(graph, evaluator, here, problems=unknown)
    stale = (
        StaleStage(
            stage=outlook.stage.address,
            state=outlook.state,
            reasons=tuple(explained(reason, contents) for reason in outlook.reasons),
        )
        for outlook in outlooks
        if outlook.state in ("stale", "after", "unknown")
    )
    return tuple(stale), (*problems, *unknown.values())


def explained(reason: Reason, contents: Contents) -> Reason:
    """Adds to a directory that changed how many of its files did, if both versions can be listed."""
    if reason.kind not in ("dep-changed", "output-changed"):
        return reason
    old, new = Oid(str(reason.old)), Oid(str(reason.new))
    if not (old.startswith(MANIFEST) and new.startswith(MANIFEST)):
        return reason
    try:
        pairs = list(contents.compared(old, new))
    except (ObjectMissing, ObjectCorrupt):
        return reason
    return replace(reason, counts=counts_of(changes(reason.name, pairs)))
