"""`dvlite verify`: whether what is committed fits together, and a clone can get all of it. Reads no data, starts nothing, changes nothing.

`verify_again` also runs the stages, in a clean clone of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from dvlite.errors import DvliteError, PartlyDone, StageFailed, UsageError
from dvlite.formats.pointer import SUFFIX
from dvlite.git.program import Blobs
from dvlite.oid import Oid
from dvlite.paths import overlap
from dvlite.pipeline.stages import Stage
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_cache
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import WORK_TREE, Revision, files_to_commit
from dvlite.show import Show, one_line, printable, quote, some
from dvlite.verify import commit_range as commits
from dvlite.verify import remote_bytes as deep
from dvlite.verify import remote_complete
from dvlite.verify.checking import Checked, PreviousCommit, check
from dvlite.verify.findings import Finding, StageCheck, Unchecked
from dvlite.verify.fix_commands import Restoring
from dvlite.verify.parsed import Lock, Memo, TrackedFiles, read
from dvlite.verify.remote_complete import Mention, Requirement
from dvlite.verify.source import ContentSource

if TYPE_CHECKING:
    from dvlite.rerun.session import RerunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What was verified: the work tree or a revision, with data (`rerun`) or without. A pass is no finding and nothing unchecked."""

    schema: ClassVar[str] = "dvlite.verify/1"
    revision: str | None = None  # None: the work tree
    commit: str | None = None  # that the revision names; None also for a range
    commits: int = 1  # of a range
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    stages: tuple[StageCheck, ...] = ()
    tracked: int = 0  # tracked paths looked at
    remote: str | None = None  # that was asked
    deep: bool = False
    rerun: bool = False
    fetched: tuple[str, ...] = ()  # what had to be fetched to check: listings, run records
    fetched_bytes: int = 0
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    kept: str | None = None  # the folder of the clean clone, if it was to stay

    @property
    def passed(self) -> bool:
        return not self.findings and not self.unchecked and all(each.verdict in _PASSES for each in self.stages)

    @property
    def is_finding(self) -> bool:
        """Whether something is not as it must be: exit code 1."""
        return bool(self.findings) or any(check.verdict == "different" for check in self.stages)

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns why a rerun stopped; or what could not be checked or compared, unless there is a finding."""
        failed = [check for check in self.stages if check.verdict == "failed"]
        if failed:
            return _stage_failed(failed)
        if self.is_finding:
            return None
        open_stages = [check for check in self.stages if check.verdict in ("inconclusive", "not checked")]
        if open_stages:
            first = open_stages[0]
            why = one_line(first.problem or "an output cannot be compared")
            return PartlyDone(
                f"could not check {some([f'{first.stage}: {why}', *(check.stage for check in open_stages[1:])], 1)}",
                hint="a stage that could not be compared is not reproduced; dvlite pull brings data that a remote has",
            )
        if not self.unchecked:
            return None
        hint = self.unchecked[0].hint or "see above what kept it from being checked"
        return PartlyDone(f"could not check {some([one_line(each.what) for each in self.unchecked], 1)}", hint=hint)


def _stage_failed(failed: Sequence[StageCheck]) -> DvliteError:
    first, *others = failed
    also = f"; {', '.join(check.stage for check in others)} failed too" if others else ""
    return StageFailed(
        f"{first.stage} failed in a clean clone: {one_line(first.problem or '')}{also}",
        hint=f"{'the end of its log is above; ' if first.log_tail else ''}to look at the clone: dvlite verify --rerun --keep {first.stage}",
    )


_PASSES = ("ok", "frozen", "identical", "equivalent")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What to verify. Neither `revision` nor `commits` (`A..B`): the work tree. `remote` None: the default one."""

    paths: tuple[str, ...] = ()
    revision: str | None = None
    commits: str | None = None
    check_remote: bool = False
    remote: str | None = None
    deep: bool = False
    offline: bool = False


def verify(repo: Repo, asked: VerifyOptions, *, progress: Progress) -> VerifyResult:
    """Compares pointers, lockfiles, pipeline files, parameters and git's files with each other, and with the records of runs.

    What is not here and is needed (run records, listings) is fetched from the remote, unless `offline`; with `check_remote` one fresh
    look says whether all data is there, with `deep` every byte of it is read. Raises UsageError for a revision, remote or path that
    there is not, and for commits that a shallow clone does not have.
    """
    started = time.monotonic()
    _require_sense(asked)
    commit = None
    cache = open_cache(repo)
    with ContentSource(repo, cache, asked.remote, progress, offline=asked.offline) as source, Blobs(repo.git) as blobs:
        looking = _Looking(repo, source, asked, progress)
        if asked.commits is not None:
            looking.range(commits.listed(repo.git, asked.commits), blobs)
        elif asked.revision is not None:
            commit = commits.named(repo.git, asked.revision)
            looking.one(Revision(repo.git, asked.revision, str, commit=commit, blobs=blobs))
        else:
            looking.one(Revision(repo.git, WORK_TREE, str, files=files_to_commit(repo.git), blobs=blobs))
        looking.require_all_named()
        if asked.check_remote:
            looking.at_remote()
        found = looking.together
        return VerifyResult(
            revision=asked.revision or asked.commits,
            commit=commit,
            commits=looking.count,
            findings=tuple(sorted(found.findings, key=_place)),
            unchecked=tuple(found.unchecked),
            stages=looking.stages,
            tracked=looking.tracked,
            remote=source.name if asked.check_remote else None,
            deep=asked.deep,
            fetched=tuple(source.fetched),
            fetched_bytes=source.fetched_bytes,
            elapsed_seconds=time.monotonic() - started,
        )


def verify_again(
    repo: Repo, asked: VerifyOptions, how: RerunOptions, *, environ: Mapping[str, str], progress: Progress
) -> VerifyResult:
    """Verifies a commit (the last one if none is named), and runs its stages again in a clean clone of it.

    `asked.paths` name the stages. Raises UsageError, FormatError and Untrusted before anything runs; a stage that fails is in the result.
    """
    from dvlite.rerun.session import run_again  # 15 ms that verifying without it does not need

    started = time.monotonic()
    if asked.commits is not None:
        raise UsageError("--rerun and --range exclude each other", hint="name one commit: --rev R")
    revision = asked.revision or "HEAD"
    found = verify(repo, replace(asked, revision=revision), progress=progress)
    try:
        again = run_again(repo, asked.paths, how, revision=revision, environ=environ, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("nothing of the rerun is kept; the same command starts again") from None
    ran = {each.stage for each in again.stages}
    return replace(
        found,
        rerun=True,
        stages=(*again.stages, *(each for each in found.stages if each.stage not in ran and not asked.paths)),
        warnings=(*found.warnings, *again.warnings),
        kept=again.folder,
        elapsed_seconds=time.monotonic() - started,
    )


def _require_sense(asked: VerifyOptions) -> None:
    if asked.revision is not None and asked.commits is not None:
        raise UsageError("--rev and --range exclude each other", hint="give one of them")
    if asked.check_remote and asked.offline:
        raise UsageError(
            "--remote and --offline exclude each other", hint="without --remote, nothing has to be fetched"
        )
    if asked.deep and not asked.check_remote:
        raise UsageError("--deep reads the bytes on a remote", hint="dvlite verify --remote --deep")


def _place(each: Finding) -> tuple[str, int]:
    return ("", 0) if each.commit is not None else (each.file, each.line)  # of commits: as they come


@dataclass(slots=True)
class _Looking:
    """One run: takes in one commit after another, or the work tree."""

    repo: Repo
    source: ContentSource
    asked: VerifyOptions
    progress: Progress
    together: commits.Together = field(default_factory=commits.Together)
    stages: tuple[StageCheck, ...] = ()
    tracked: int = 0
    count: int = 1
    _restoring: Restoring = field(init=False)
    _memo: Memo = field(default_factory=Memo)
    _earlier: PreviousCommit = field(default_factory=PreviousCommit)
    _wanted: dict[tuple[str, bytes], Requirement] = field(default_factory=dict)
    _runs: dict[Oid, Mention] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)  # words that stood for something

    def __post_init__(self) -> None:
        self._restoring = Restoring(self.repo.git)

    def one(self, at: Revision) -> TrackedFiles:
        """Verifies one revision."""
        named, checked = self._checked(at)
        self.together.add(checked.findings, checked.unchecked)
        return named

    def range(self, wanted: Sequence[str], blobs: Blobs) -> None:
        """Verifies commits, oldest first; one that changes nothing that matters is as the one before."""
        self.count = len(wanted)
        self.progress.start("verifying commits", total_files=len(wanted))
        named, before, watch = None, Checked(), None
        for commit, step in commits.steps(self.repo.git, list(wanted)):
            at = Revision(self.repo.git, commit, str, commit=commit, files=step.files, blobs=blobs)
            self._earlier.only = None if watch is None else watch.stages(step.changed)
            if named is None or self._earlier.only is None:
                named, before = self._checked(at)
                watch = commits.Watch(named, before.trusted, step.files, at)
            elif self._earlier.only:
                named, before = self._checked(at, named)
            if self._earlier.only is None or self._earlier.only:
                self.together.add(before.findings, before.unchecked)
            else:
                self.together.repeat()
            self.progress.advance(files=1)
        self.together.finish()
        self.progress.finish()

    def _checked(self, at: Revision, known: TrackedFiles | None = None) -> tuple[TrackedFiles, Checked]:
        named = known or read(at, self._memo, self._restoring)
        words = _Words(self.repo, self.asked.paths, self._named)
        checked = check(self.repo, at, named, self.source, words.chooses, self._earlier)
        if self.asked.paths:
            checked.findings = [each for each in checked.findings if words.is_about(each, named)]
        self.stages = checked.stages
        self.tracked = sum(words.holds(item.path) for item in named.pointers) + sum(
            words.holds(item.path, item.stage) for lock in named.locks.values() for item in lock.outputs
        )
        if self.asked.check_remote and known is None:
            self._collect(at, named, checked, words)
        return named, checked

    def _collect(self, at: Revision, named: TrackedFiles, checked: Checked, words: _Words) -> None:
        """Notes what the remote has to have."""
        for item in named.pointers:
            if words.holds(item.path):
                place = Mention(item.path + SUFFIX, lambda: 3, commit=at.commit)
                self._wanted.setdefault((item.path, item.pointer.digest), Requirement(item.path, item.pointer, place))
        for stage in named.stages:
            entry, lock = checked.trusted.get(stage.address), named.locks.get(stage.lockfile)
            if entry is None or lock is None or not words.chooses(stage):
                continue
            written = lock.by_name[entry.name]
            for out in entry.outs:
                if out.cache and out.push:
                    path = stage.placed(out.path)
                    place = Mention(lock.file, _line(lock, written, "outs", out.path), stage.address, at.commit)
                    wanted = Requirement(path, out.pointer(), place)
                    self._wanted.setdefault((path, wanted.pointer.digest), wanted)
            if entry.run is not None and checked.runs.get(entry.run) is not None:
                place = Mention(lock.file, _line(lock, written, "run", None), stage.address, at.commit)
                self._runs.setdefault(entry.run, place)

    def require_all_named(self) -> None:
        """Raises UsageError for a word that stood for nothing: a pass would be a lie."""
        revision = self.asked.revision or self.asked.commits
        where, hint = "", "see what there is: dvlite ls, dvlite stage list"
        if revision is not None:
            where, hint = f" in {printable(revision)}", f"{hint}\ncommit it first: not the work tree is looked at"
        for word in self.asked.paths:
            if self.count and word not in self._named:
                raise UsageError(f"{quote(word)} is neither tracked nor a stage{where}", hint=hint)

    def at_remote(self) -> None:
        """Looks at the remote, and with `deep` reads it."""
        found = remote_complete.look(self.source, list(self._wanted.values()), self._runs)
        self._add(found.findings)
        if self.asked.deep and found.complete:
            damage = tuple(deep.read_all(self.source, found.complete, self.progress))
            again = remote_complete.look(self.source, list(found.complete), {}) if damage else found
            if damage and not again.findings:  # a push sent again what was damaged: that copy counts
                damage = tuple(deep.read_all(self.source, again.complete, self.progress))
            self._add(damage)

    def _add(self, found: Sequence[Finding | Unchecked]) -> None:
        self.together.findings += [each for each in found if isinstance(each, Finding)]
        self.together.unchecked += [each for each in found if isinstance(each, Unchecked)]


class _Words:
    """What the paths and stages that a user gave stand for; nothing given: everything. `named` collects the words that do."""

    def __init__(self, repo: Repo, words: Sequence[str], named: set[str]) -> None:
        self._paths = {word: repo.relative(word) for word in words}
        self._named = named

    def chooses(self, stage: Stage) -> bool:
        """Returns whether a stage is asked for: by its address, its files, an output, or a folder."""
        if not self._paths:
            return True
        own = [stage.file, stage.lockfile, *(out.path for out in stage.outs)]
        return self._any(
            lambda word, path: word in (stage.address, stage.name) or any(_meets(path, each) for each in own)
        )

    def holds(self, path: str, stage: str = "") -> bool:
        """Returns whether a tracked path is asked for."""
        if not self._paths:
            return True
        return self._any(
            lambda word, asked: (
                (bool(stage) and word in (stage, stage.rpartition(":")[2]))
                or _meets(asked, path)
                or asked == path + SUFFIX
            )
        )

    def is_about(self, each: Finding, named: TrackedFiles) -> bool:
        """Returns whether a finding has to do with what is asked for."""
        if each.stage is not None:
            stage = next((stage for stage in named.stages if stage.address == each.stage), None)
            if stage is not None:
                return self.chooses(stage)
        return self._any(
            lambda word, path: word == each.stage or path == each.file or _meets(path, each.path or each.file)
        )

    def _any(self, stands_for: Callable[[str, str], bool]) -> bool:
        found = [word for word, path in self._paths.items() if stands_for(word, path)]
        self._named.update(found)
        return bool(found)


def _meets(asked: str, path: str) -> bool:
    return overlap(path, asked)


def _line(lock: Lock, entry: object, name: str, item: str | None) -> Callable[[], int]:
    return lambda: lock.line(entry, name, item)  # type: ignore[arg-type]
