"""One revision checked from end to end: what names data, the entries of lockfiles, what stages ran with; no data, nothing started.

What is wrong is one finding each: the next check gets what is trusted in spite of it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from dvlite.errors import DvliteError
from dvlite.formats import lockfile, parameters, pipeline
from dvlite.formats.lockfile import LockedStage, Lockfile
from dvlite.formats.pointer import SUFFIX
from dvlite.formats.record import Run
from dvlite.oid import Oid
from dvlite.pipeline.params import Params
from dvlite.pipeline.revision_content import Digests, GitContent, RevisionContent
from dvlite.pipeline.stages import Stage, left_out
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Revision
from dvlite.repo.stage_names import address
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import printable, some, word
from dvlite.verify.findings import Finding, StageCheck, Unchecked
from dvlite.verify.fix_commands import Restoring
from dvlite.verify.freshness import Freshness
from dvlite.verify.lock_entries import Examined, Examiner
from dvlite.verify.parsed import Lock, TrackedFiles
from dvlite.verify.source import HOW_TO_FETCH, ContentSource
from dvlite.workspace.workspace import Workspace

Chooses = Callable[[Stage], bool]
Reported = Finding | Unchecked


@dataclass(slots=True)
class Checked:
    """What was checked of one revision; `trusted` are the entries that can be compared, by stage."""

    findings: list[Finding] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    stages: tuple[StageCheck, ...] = ()
    trusted: dict[str, LockedStage] = field(default_factory=dict)
    runs: dict[Oid, Run | None] = field(default_factory=dict)


@dataclass(slots=True)
class PreviousCommit:
    """The results of the previous commit: equal entries and unchanged stages are not checked again.

    `only`: the stages that the change may affect; None: all.
    """

    runs: dict[Oid, Run | None] = field(default_factory=dict)
    examined: dict[str, tuple[LockedStage, list[str], Run | None]] = field(default_factory=dict)
    reported: dict[str, list[Reported]] = field(default_factory=dict)
    only: set[str] | None = None
    digests: Digests = field(default_factory=dict)


def examine(
    repo: Repo, at: Revision, parsed: TrackedFiles, source: ContentSource, chooses: Chooses, previous: PreviousCommit
) -> Checked:
    """Checks what one revision names; of stages that are not chosen only what others need of them is looked at."""
    return _Check(repo, at, parsed, source, chooses, previous).run()


class _Check:
    def __init__(
        self,
        repo: Repo,
        at: Revision,
        parsed: TrackedFiles,
        source: ContentSource,
        chooses: Chooses,
        previous: PreviousCommit,
    ) -> None:
        self._repo, self._at, self._parsed, self._source = repo, at, parsed, source
        self._chooses, self._previous = chooses, previous
        self._checked = Checked()
        self._wrong: set[str] = set()  # stages with a finding
        self._seen: set[Hashable] = set()
        self._by_lockfile: dict[str, list[Stage]] = {}
        for stage in parsed.stages:
            self._by_lockfile.setdefault(stage.lockfile, []).append(stage)
        self._locked = [
            (stage, entry)
            for stage in parsed.stages
            if (lock := parsed.locks.get(stage.lockfile)) and (entry := lock.by_name.get(stage.name))
        ]

    def run(self) -> Checked:
        checked, previous = self._checked, self._previous
        self._add(self._parsed.findings)
        self._add(self._entries())
        wanted = {entry.run: previous.runs.get(entry.run) for _, entry in self._locked if entry.run is not None}
        checked.runs = wanted | self._source.runs(oid for oid, run in wanted.items() if run is None)
        previous.runs = checked.runs
        examiners = {file: self._examiner(lock) for file, lock in self._parsed.locks.items()}
        examined = {stage.address: self._examined(stage, entry, examiners) for stage, entry in self._locked}
        checked.trusted = {name: entry.trusted for name, entry in examined.items()}
        fresh = self._freshness()
        for stage, entry in self._locked:
            if self._chooses(stage):
                if previous.only is None or stage.address in previous.only:
                    examiner = examiners[stage.lockfile]
                    reports = self._stage(stage, entry, examiner, examined[stage.address], fresh)
                    previous.reported[stage.address] = list(reports)
                self._add(previous.reported[stage.address], stage)
        self._add(self._records(examiners))
        checked.stages = tuple(self._stage_checks())
        return checked

    def _add(self, reports: Iterable[Reported], stage: Stage | None = None) -> None:
        """Takes in what is reported, of a stage; a finding about a file that several stages read is reported once."""
        commit = self._at.commit
        for report in reports:
            if isinstance(report, Unchecked):
                self._checked.unchecked.append(replace(report, commit=commit))
                continue
            key = report.file, report.line, report.message
            if stage is not None:
                self._wrong.add(stage.address)
            if stage is None or key not in self._seen:
                absent = left_out(self._at, [stage]) if stage is not None and report.fix == _again(stage) else {}
                first = "".join(f"{self._at.widening(file)} && " for file in absent.values())
                self._checked.findings.append(replace(report, commit=commit, fix=report.fix and first + report.fix))
            self._seen.add(key)

    def _stage(
        self, stage: Stage, entry: LockedStage, examiner: Examiner, examined: Examined, fresh: Freshness
    ) -> Iterator[Reported]:
        """Yields what is wrong with one stage."""
        lock = self._parsed.locks[stage.lockfile]
        if examined.doubtful:
            is_frozen = stage.spec.frozen
            yield examiner.doubtful(entry, stage.address) if is_frozen else fresh.settle(stage, entry, lock, examiner)
        else:
            if examined.finding is not None:
                yield examined.finding
            if self._parsed.graph is not None and not stage.spec.frozen:
                yield from fresh.compare(stage, examined.trusted, lock)
        yield from fresh.outputs_in_git(stage, examined.trusted, lock)

    # -- stages and entries

    def _entries(self) -> Iterator[Finding]:
        """Yields stages without an entry, and entries without a stage."""
        for file, stages in self._by_lockfile.items():
            lock = self._parsed.locks.get(file)
            missing = [stage for stage in stages if not stage.spec.frozen]
            if lock is not None:
                yield from (_not_locked(stage) for stage in missing if stage.name not in lock.by_name)
            elif missing and file not in self._parsed.broken:
                names = some([printable(stage.name) for stage in missing])
                message, line = f"{file} is missing: there is no entry for {names}", missing[0].spec.line
                fix = "dvlite repro"
                yield Finding(
                    kind="lockfile-missing", message=message, file=missing[0].file, line=line, path=file, fix=fix
                )
        for file, lock in self._parsed.locks.items():
            own = posixpath.join(posixpath.dirname(file), pipeline.FILE_NAME)
            if own in self._parsed.broken or not lock.content.stages:
                continue
            if own not in self._parsed.pipelines:
                names = some([printable(entry.name) for entry in lock.content.stages])
                message, line = f"{file} has entries for {names}, but {own} is missing", lock.content.stages[0].line
                yield Finding(
                    kind="pipeline-missing", message=message, file=file, line=line, path=own, fix=f"git rm {word(file)}"
                )
                continue
            known = {stage.name for stage in self._by_lockfile.get(file, ())}
            for entry in lock.content.stages:
                if entry.name not in known:
                    message, stage = f"{entry.name} has an entry, but no stage in {own}", address(file, entry.name)
                    yield Finding(
                        kind="stage-unknown",
                        message=message,
                        file=file,
                        line=entry.line,
                        stage=stage,
                        fix="dvlite repro",
                    )

    # -- the entries themselves

    def _examiner(self, lock: Lock) -> Examiner:
        folder = posixpath.dirname(lock.file)
        if self._at.commit is not None:
            return Examiner(lock, folder)
        restoring = Restoring(self._repo.git)
        parsed = cache(lambda data: _parsed(data, lock.file))

        def restored(is_wanted: Callable[[LockedStage], bool], stage: str) -> str | None:
            def is_good(data: bytes) -> bool:
                was = parsed(data).stage(stage)
                return was is not None and is_wanted(was)

            return restoring.recent(lock.file, is_good)

        return Examiner(lock, folder, restored)

    def _examined(self, stage: Stage, entry: LockedStage, examiners: Mapping[str, Examiner]) -> Examined:
        run = None if entry.run is None else self._checked.runs[entry.run]
        known = self._previous.examined.get(stage.address)
        if self._previous.only is not None and known is not None and known[0] is entry:  # not read again
            return Examined(entry)
        declared = [stage.local(out.path) for out in stage.outs]
        if known == (entry, declared, run):
            return Examined(entry)
        examined = examiners[stage.lockfile].examine(entry, stage.address, declared, run)
        if examined.finding is None and not examined.doubtful:
            self._previous.examined[stage.address] = (entry, declared, run)
        return examined

    def _records(self, examiners: Mapping[str, Examiner]) -> Iterator[Reported]:
        """Yields entries whose run has no record; if the remote was not asked, that they are not checked."""
        why, unknown = self._source.no_records, []
        for stage, entry in self._locked:
            if self._chooses(stage) and (entry.run is None or self._checked.runs[entry.run] is None):
                if entry.run is None or why is None:
                    yield examiners[stage.lockfile].missing(entry, stage.address)
                else:
                    unknown.append((stage, entry))
        if unknown and why is not None:
            stage, entry = unknown[0]
            yield Unchecked(
                what=f"the runs of {some([printable(stage.address) for stage, _ in unknown])}",
                why=f"their records are not here: {why.message}",
                file=stage.lockfile,
                line=self._parsed.locks[stage.lockfile].line(entry, "run"),
                stage=stage.address if len(unknown) == 1 else None,
                hint=why.hint or HOW_TO_FETCH,
            )
            self._unrecorded = frozenset(stage.address for stage, _ in unknown)

    _unrecorded: frozenset[str] = frozenset()

    # -- what stages ran with

    def _freshness(self) -> Freshness:
        data, in_git = self._data()
        source, at = self._source, self._at
        work = Workspace(self._repo, source.cache, source.progress) if at.commit is None else None
        look = GitContent(at, data, work, self._previous.digests).look
        content = RevisionContent(at, data, in_git, source.listing, look)
        only = self._previous.only
        looked_at = (stage for stage in self._parsed.stages if only is None or stage.address in only)
        wanted = dict.fromkeys(dep.path for stage in looked_at if self._chooses(stage) for dep in stage.sources)
        source.prefetch(listing for path in wanted for listing in content.directories(path))

        def read(path: str) -> bytes | None:
            place = at.place_of(path)
            if place is None or not content.is_data(place):
                return None if place is None else at.read(place, parameters.LIMIT_BYTES)
            known = content.expected(place)
            return None if known is None else source.small_file(path, known.pointer())

        return Freshness(content, Params(read), self._unknown_paths())

    def _data(self) -> tuple[list[Tracked], list[str]]:
        """Returns pointers and outputs as far as they are trusted, and the outputs that git keeps."""
        data = {item.path: item for item in self._parsed.pointers}
        in_git = []
        for file, lock in self._parsed.locks.items():
            folder = posixpath.dirname(file)
            for entry in lock.content.stages:
                stage = address(file, entry.name)
                for out in self._checked.trusted.get(stage, entry).outs:
                    path = posixpath.normpath(posixpath.join(folder, out.path))
                    data.setdefault(path, Tracked(path, out.pointer(), file, stage, out.push))
                    if not out.cache:
                        in_git.append(path)
        return list(data.values()), in_git

    def _unknown_paths(self) -> list[str]:
        """Returns the paths whose content is not known because a file is broken, or no entry names them."""
        pointers = (file for file in self._parsed.broken if file.endswith(SUFFIX))
        unknown = [file.removesuffix(SUFFIX) for file in pointers]
        for stage in self._parsed.stages:
            entry = self._checked.trusted.get(stage.address)
            known = set() if entry is None else {stage.placed(out.path) for out in entry.outs}
            unknown += [out.path for out in stage.outs if entry is None or out.path not in known]
        return unknown

    # -- the verdicts

    def _stage_checks(self) -> Iterator[StageCheck]:
        findings = self._checked.findings
        wrong = {finding.stage for finding in findings} | self._wrong
        unsure = {report.stage for report in self._checked.unchecked} | self._unrecorded
        missing = {finding.path for finding in findings if finding.kind == "lockfile-missing"} | self._parsed.broken
        before = {} if self._parsed.graph is None else self._parsed.graph.before
        for stage in self._parsed.stages:
            if not self._chooses(stage):
                continue
            name = stage.address
            bad = name in wrong or stage.lockfile in missing
            open_ = name in unsure or self._parsed.graph is None
            yield StageCheck(
                stage=name,
                verdict="finding" if bad else "unchecked" if open_ else "frozen" if stage.spec.frozen else "ok",
                file=stage.file,
                line=stage.spec.line,
                after=before.get(name, ()),
            )


def _not_locked(stage: Stage) -> Finding:
    return Finding(
        kind="stage-not-locked",
        message=f"{stage.address} has no entry in {stage.lockfile}: it was never run, or its entry was removed",
        file=stage.file,
        line=stage.spec.line,
        stage=stage.address,
        fix=_again(stage),
    )


def _again(stage: Stage) -> str:
    return f"dvlite repro {word(stage.address)}"


def _parsed(data: bytes, file: str) -> Lockfile:
    """Returns what git has of a lockfile; nothing, if that cannot be read."""
    try:
        return lockfile.parse(data, file)
    except DvliteError:
        return Lockfile()
