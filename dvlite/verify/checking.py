"""One side checked from end to end: what names data, the entries of lockfiles, what stages ran with; no data, nothing started.

Each thing that is wrong is one finding: what can be believed in spite of it is what the next check is handed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from dvlite.errors import DvliteError
from dvlite.files import printable
from dvlite.formats import lockfile, parameters, pipeline
from dvlite.formats.lockfile import LockedStage, Lockfile
from dvlite.formats.pointer import SUFFIX
from dvlite.formats.record import Run
from dvlite.oid import Oid
from dvlite.pipeline.params import Params
from dvlite.pipeline.revision_content import Digests, GitContent, RevisionContent
from dvlite.pipeline.stages import Stage
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Revision
from dvlite.repo.tracked_paths import Tracked, address
from dvlite.show import some
from dvlite.verify.findings import Finding, StageCheck, Unchecked
from dvlite.verify.fix_commands import Restoring
from dvlite.verify.freshness import Freshness
from dvlite.verify.lock_entries import Examined, Examiner
from dvlite.verify.parsed import Lock, TrackedFiles
from dvlite.verify.source import HOW_TO_FETCH, ContentSource
from dvlite.workspace.workspace import Workspace

Chooses = Callable[[Stage], bool]


@dataclass(slots=True)
class Checked:
    """What was found of one side; `believed` are the entries that can be compared, by stage."""

    findings: list[Finding] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    stages: tuple[StageCheck, ...] = ()
    believed: dict[str, LockedStage] = field(default_factory=dict)
    runs: dict[Oid, Run | None] = field(default_factory=dict)

    def add(self, found: Iterable[Finding | Unchecked]) -> None:
        for each in found:
            if isinstance(each, Finding):
                self.findings.append(each)
            else:
                self.unchecked.append(each)


@dataclass(slots=True)
class PreviousCommit:
    """What was found at the commit before: entries that are equal are not examined again, nor stages of which nothing changed.

    `only`: the stages that something may have changed of; None: all.
    """

    runs: dict[Oid, Run | None] = field(default_factory=dict)
    examined: dict[str, tuple[LockedStage, list[str], Run | None]] = field(default_factory=dict)
    told: dict[str, list[Finding | Unchecked]] = field(default_factory=dict)
    only: set[str] | None = None
    digests: Digests = field(default_factory=dict)


def check(
    repo: Repo,
    at: Revision,
    named: TrackedFiles,
    source: ContentSource,
    chooses: Chooses,
    earlier: PreviousCommit,
) -> Checked:
    """Checks what one side names; stages that are not chosen are only looked at for what others need of them."""
    return _Check(repo, at, named, source, chooses, earlier).run()


class _Check:
    def __init__(
        self,
        repo: Repo,
        at: Revision,
        named: TrackedFiles,
        source: ContentSource,
        chooses: Chooses,
        earlier: PreviousCommit,
    ) -> None:
        self._repo, self._at, self._named, self._source = repo, at, named, source
        self._chooses, self._earlier = chooses, earlier
        self._made = Checked(list(named.findings))
        self._wrong: set[str] = set()  # stages of which something was found
        self._known_findings: set[Hashable] | None = None
        self._by_lockfile: dict[str, list[Stage]] = {}
        for stage in named.stages:
            self._by_lockfile.setdefault(stage.lockfile, []).append(stage)

    def run(self) -> Checked:
        made = self._made
        made.add(self._entries())
        wanted = {entry.run: self._earlier.runs.get(entry.run) for _, entry in self._known() if entry.run is not None}
        made.runs = wanted | self._source.runs(oid for oid, run in wanted.items() if run is None)
        self._earlier.runs = made.runs
        examiners = {file: self._examiner(lock) for file, lock in self._named.locks.items()}
        examined = {stage.address: self._examined(stage, entry, examiners) for stage, entry in self._known()}
        made.believed = {name: each.believed for name, each in examined.items()}
        fresh = self._freshness()
        for stage, entry in self._known():
            if self._chooses(stage):
                if self._earlier.only is None or stage.address in self._earlier.only:
                    self._earlier.told[stage.address] = list(
                        self._told(stage, entry, examiners[stage.lockfile], examined[stage.address], fresh)
                    )
                self._add(stage, self._earlier.told[stage.address])
        made.add(self._records(examiners))
        made.stages = tuple(self._stage_checks())
        return made

    def _add(self, stage: Stage, found: Sequence[Finding | Unchecked]) -> None:
        """Takes in what was found of a stage; what is wrong with a file that several stages read is told of once."""
        if self._known_findings is None:
            self._known_findings = {(each.file, each.line, each.message) for each in self._made.findings}
        known = self._known_findings
        for each in found:
            what = (each.file, each.line, each.message) if isinstance(each, Finding) else None
            if what is not None:
                self._wrong.add(stage.address)
            if what is None or what not in known:
                self._made.add([each])
                known.add(what)

    def _told(
        self, stage: Stage, entry: LockedStage, examiner: Examiner, found: Examined, fresh: Freshness
    ) -> Iterator[Finding | Unchecked]:
        """Yields what is wrong with one stage."""
        lock = self._named.locks[stage.lockfile]
        if found.doubtful:
            is_frozen = stage.spec.frozen
            yield examiner.doubtful(entry, stage.address) if is_frozen else fresh.settle(stage, entry, lock, examiner)
        else:
            if found.finding is not None:
                yield found.finding
            if self._named.graph is not None and not stage.spec.frozen:
                yield from fresh.compare(stage, found.believed, lock)
        yield from fresh.outputs_in_git(stage, found.believed, lock)

    def _known(self) -> Iterator[tuple[Stage, LockedStage]]:
        """Yields the stages that have an entry."""
        for stage in self._named.stages:
            lock = self._named.locks.get(stage.lockfile)
            entry = None if lock is None else lock.by_name.get(stage.name)
            if entry is not None:
                yield stage, entry

    # -- stages and entries

    def _entries(self) -> Iterator[Finding]:
        for file, found in self._by_lockfile.items():
            missing = [stage for stage in found if not stage.spec.frozen]
            lock = self._named.locks.get(file)
            if lock is not None:
                yield from (self._not_locked(stage) for stage in missing if stage.name not in lock.by_name)
            elif missing and file not in self._named.broken:
                yield self._no_lockfile(file, missing)
        for file, lock in self._named.locks.items():
            own = posixpath.join(posixpath.dirname(file), pipeline.FILE_NAME)
            if own in self._named.broken or not lock.content.stages:
                continue
            if own not in self._named.pipelines:
                yield self._no_pipeline(lock, own)
                continue
            names = {stage.name for stage in self._by_lockfile.get(file, ())}
            yield from (self._unknown(lock, entry, own) for entry in lock.content.stages if entry.name not in names)

    def _not_locked(self, stage: Stage) -> Finding:
        return Finding(
            kind="stage-not-locked",
            message=f"{stage.address} has no entry in {stage.lockfile}: it was never run, or its entry was removed",
            file=stage.file,
            line=stage.spec.line,
            stage=stage.address,
            fix=f"dvlite repro {stage.address}",
            commit=self._at.commit,
        )

    def _no_lockfile(self, file: str, found: Sequence[Stage]) -> Finding:
        names = some([printable(stage.name) for stage in found])
        return Finding(
            kind="lockfile-missing",
            message=f"{file} is missing: nothing is known of {names}",
            file=found[0].file,
            line=found[0].spec.line,
            path=file,
            fix="dvlite repro",
            commit=self._at.commit,
        )

    def _no_pipeline(self, lock: Lock, own: str) -> Finding:
        entry = lock.content.stages[0]
        names = some([printable(stage.name) for stage in lock.content.stages])
        return Finding(
            kind="pipeline-missing",
            message=f"{lock.file} has entries of {names}, and there is no {own}",
            file=lock.file,
            line=entry.line,
            path=own,
            fix=f"git rm {lock.file}",
            commit=self._at.commit,
        )

    def _unknown(self, lock: Lock, entry: LockedStage, own: str) -> Finding:
        return Finding(
            kind="stage-unknown",
            message=f"{entry.name} has an entry, and {own} has no such stage",
            file=lock.file,
            line=entry.line,
            stage=address(lock.file, entry.name),
            fix="dvlite repro",
            commit=self._at.commit,
        )

    # -- the entries themselves

    def _examiner(self, lock: Lock) -> Examiner:
        folder, commit = posixpath.dirname(lock.file), self._at.commit
        if commit is not None:
            return Examiner(lock, folder, commit)
        restoring = Restoring(self._repo.git)
        parsed = cache(lambda data: _parsed(data, lock.file))

        def restored(is_wanted: Callable[[LockedStage], bool], stage: str) -> str | None:
            def is_good(data: bytes) -> bool:
                was = parsed(data).stage(stage)
                return was is not None and is_wanted(was)

            return restoring.recent(lock.file, is_good)

        return Examiner(lock, folder, commit, restored)

    def _examined(self, stage: Stage, entry: LockedStage, examiners: Mapping[str, Examiner]) -> Examined:
        run = None if entry.run is None else self._made.runs[entry.run]
        known = self._earlier.examined.get(stage.address)
        if self._earlier.only is not None and known is not None and known[0] is entry:  # no name changed
            return Examined(entry)
        declared = [stage.local(out.path) for out in stage.outs]
        if self._earlier.examined.get(stage.address) == (entry, declared, run):
            return Examined(entry)
        found = examiners[stage.lockfile].examine(entry, stage.address, declared, run)
        if found.finding is None and not found.doubtful:
            self._earlier.examined[stage.address] = (entry, declared, run)
        return found

    def _records(self, examiners: Mapping[str, Examiner]) -> Iterator[Finding | Unchecked]:
        lost = [
            (stage, entry)
            for stage, entry in self._known()
            if self._chooses(stage) and (entry.run is None or self._made.runs[entry.run] is None)
        ]
        why = self._source.no_records
        for stage, entry in lost:
            if entry.run is None or why is None:
                yield examiners[stage.lockfile].missing(entry, stage.address)
        unknown = [(stage, entry) for stage, entry in lost if entry.run is not None]
        if unknown and why is not None:
            stage, entry = unknown[0]
            yield Unchecked(
                what=f"the runs of {some([printable(stage.address) for stage, _ in unknown])}",
                why=f"their records are not here: {why.message}",
                file=stage.lockfile,
                line=self._named.locks[stage.lockfile].line(entry, "run"),
                stage=stage.address if len(unknown) == 1 else None,
                commit=self._at.commit,
                hint=why.hint or HOW_TO_FETCH,
            )
            self._unrecorded = frozenset(each.address for each, _ in unknown)

    _unrecorded: frozenset[str] = frozenset()

    # -- what stages ran with

    def _freshness(self) -> Freshness:
        data, in_git = self._data()
        source, at = self._source, self._at
        work = Workspace(self._repo, source.cache, source.progress) if at.commit is None else None
        look = GitContent(at, data, work, self._earlier.digests).look
        content = RevisionContent(at, data, in_git, source.listing, look)
        only = self._earlier.only
        looked_at = (stage for stage in self._named.stages if only is None or stage.address in only)
        wanted = dict.fromkeys(dep.path for stage in looked_at if self._chooses(stage) for dep in stage.deps)
        source.prefetch(listing for path in wanted for listing in content.directories(path))

        def read(path: str) -> bytes | None:
            place = at.place_of(path)
            if place is None or not content.is_data(place):
                return None if place is None else at.read(place, parameters.LIMIT_BYTES)
            known = content.expected(place)
            return None if known is None else source.small_file(path, known.pointer())

        return Freshness(content, Params(read), self._unknown_paths(), at.commit)

    def _data(self) -> tuple[list[Tracked], list[str]]:
        """Returns pointers and outputs as they can be believed, and the outputs that git keeps."""
        found = {item.path: item for item in self._named.pointers}
        kept = []
        for file, lock in self._named.locks.items():
            folder = posixpath.dirname(file)
            for entry in lock.content.stages:
                called = address(file, entry.name)
                for out in self._made.believed.get(called, entry).outs:
                    path = posixpath.normpath(posixpath.join(folder, out.path))
                    found.setdefault(path, Tracked(path, out.pointer(), file, called, out.push))
                    if not out.cache:
                        kept.append(path)
        return list(found.values()), kept

    def _unknown_paths(self) -> list[str]:
        """Returns the paths of which nothing is known because a file is broken, or a stage has no entry that names them."""
        found = []
        for file in self._named.broken:
            if posixpath.basename(file) not in (lockfile.FILE_NAME, pipeline.FILE_NAME) and file.endswith(SUFFIX):
                found.append(file.removesuffix(SUFFIX))
        for stage in self._named.stages:
            entry = self._made.believed.get(stage.address)
            known = set() if entry is None else {stage.placed(out.path) for out in entry.outs}
            found += [out.path for out in stage.outs if entry is None or out.path not in known]
        return found

    # -- what came of it

    def _stage_checks(self) -> Iterator[StageCheck]:
        wrong = {each.stage for each in self._made.findings} | self._wrong
        unsure = {each.stage for each in self._made.unchecked} | self._unrecorded
        missing = {each.path for each in self._made.findings if each.kind == "lockfile-missing"} | self._named.broken
        before = {} if self._named.graph is None else self._named.graph.before
        for stage in self._named.stages:
            if not self._chooses(stage):
                continue
            name = stage.address
            bad = name in wrong or stage.lockfile in missing
            open_ = name in unsure or self._named.graph is None
            yield StageCheck(
                stage=name,
                verdict="finding" if bad else "unchecked" if open_ else "frozen" if stage.spec.frozen else "ok",
                file=stage.file,
                line=stage.spec.line,
                after=before.get(name, ()),
            )


def _parsed(data: bytes, file: str) -> Lockfile:
    """Returns what git has of a lockfile; nothing, if that cannot be read."""
    try:
        return lockfile.parse(data, file)
    except DvliteError:
        return Lockfile()
