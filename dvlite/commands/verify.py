"""`dvlite verify`: whether the committed files agree, and a clone can fetch all data. Reads no data, starts nothing, changes nothing.

`verify_again` also runs the stages again, in a clean clone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from dvlite.checks.verdicts import CheckVerdict, reads_any
from dvlite.errors import DvliteError, PartlyDone, StageFailed, UsageError
from dvlite.formats.pointer import SUFFIX
from dvlite.git.blobs import BlobReader
from dvlite.oid import Oid
from dvlite.paths import overlap
from dvlite.pipeline.stages import Stage
from dvlite.progress import Progress
from dvlite.registry.models import RegistryProblem, load
from dvlite.repo import attributes
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import WORK_TREE, Revision, files_to_commit
from dvlite.repo.stage_names import is_called
from dvlite.results import Result
from dvlite.show import Show, one_line, printable, quote, some, word
from dvlite.verify import commit_range as commits
from dvlite.verify import contracts, remote_complete
from dvlite.verify import remote_bytes as deep
from dvlite.verify.checking import Checked, PreviousCommit, examine
from dvlite.verify.findings import Finding, StageCheck, Unchecked
from dvlite.verify.fix_commands import Restoring
from dvlite.verify.parsed import Lock, Memo, TrackedFiles, read
from dvlite.verify.remote_complete import Mention, Requirement
from dvlite.verify.source import ContentSource
from dvlite.workspace.purged import PurgedFile, purged_in

if TYPE_CHECKING:
    from dvlite.rerun.session import RerunOptions


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VerifyResult(Result):
    """What was verified: the work tree or a revision, with data (`rerun`) or without. A pass is no finding and nothing unchecked."""

    schema: ClassVar[str] = "dvlite.verify/1"
    revision: str | None = None  # None: the work tree
    commit: str | None = None  # that the revision names; None also for a range
    commits: int = 1  # of a range
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    stages: tuple[StageCheck, ...] = ()
    checks: tuple[CheckVerdict, ...] = ()  # those for CI; of a range, as its last commit has them
    tracked: int = 0  # tracked paths that were checked
    remote: str | None = None  # if it was checked
    deep: bool = False
    purged: tuple[PurgedFile, ...] = ()  # files that a complete version lacks, for they were removed for good
    rerun: bool = False
    fetched: tuple[str, ...] = ()  # listings and run records
    fetched_bytes: int = 0
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    kept: str | None = None  # the folder of the clean clone, with `--keep`

    @property
    def passed(self) -> bool:
        return not self.findings and not self.unchecked and all(check.verdict in _PASSES for check in self.stages)

    @property
    def is_finding(self) -> bool:
        """Whether there is a finding: exit code 1."""
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
        hint = self.unchecked[0].hint or "the reason is above"
        return PartlyDone(
            f"could not check {some([one_line(unchecked.what) for unchecked in self.unchecked], 1)}", hint=hint
        )


def _stage_failed(failed: Sequence[StageCheck]) -> DvliteError:
    first, *others = failed
    also = f"; {', '.join(check.stage for check in others)} failed too" if others else ""
    return StageFailed(
        f"{first.stage} failed in a clean clone: {one_line(first.problem or '')}{also}",
        hint=f"{'the end of its log is above; ' if first.log_tail else ''}to look at the clone: dvlite verify --rerun --keep {word(first.stage)}",
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


def verify(repo: Repo, options: VerifyOptions, *, progress: Progress) -> VerifyResult:
    """Compares pointers, lockfiles, pipeline files, parameters and git's files with each other, and with the records of runs.

    Missing run records and listings are fetched from the remote, unless `offline`; `check_remote` checks by a fresh listing that all
    data is on the remote, `deep` reads every byte of it. Raises UsageError for an unknown revision, remote or path, and for commits
    that a shallow clone does not have.
    """
    started = time.monotonic()
    _require_sense(options)
    commit = None
    cache = open_cache(repo)
    with (
        ContentSource(repo, cache, options.remote, progress, offline=options.offline) as source,
        repo.git.blob_reader() as blobs,
    ):
        verification = _Verification(repo, source, options, progress)
        if options.commits is not None:
            verification.range(commits.listed(repo.git, options.commits), blobs)
        elif options.revision is not None:
            commit = repo.commit_of(options.revision)
            verification.one(Revision(repo.git, options.revision, str, commit=commit, blobs=blobs))
        else:
            verification.one(Revision(repo.git, WORK_TREE, str, files=files_to_commit(repo.git), blobs=blobs))
        verification.require_all_named()
        verification.registry()
        if options.check_remote:
            verification.at_remote()
        together = verification.together
        return VerifyResult(
            revision=options.revision or options.commits,
            commit=commit,
            commits=verification.count,
            findings=tuple(sorted(together.findings, key=_place)),
            unchecked=tuple(together.unchecked),
            stages=verification.stages,
            checks=verification.checks,
            tracked=verification.tracked,
            remote=source.name if options.check_remote else None,
            deep=options.deep,
            purged=verification.purged,
            fetched=tuple(source.fetched),
            fetched_bytes=source.fetched_bytes,
            elapsed_seconds=time.monotonic() - started,
            warnings=tuple(
                check.sentence for check in verification.checks if check.on["ci"] == "warn" and not check.passed
            ),
        )


def verify_again(
    repo: Repo, options: VerifyOptions, how: RerunOptions, *, environ: Mapping[str, str], progress: Progress
) -> VerifyResult:
    """Verifies a commit (HEAD by default), and runs its stages again in a clean clone.

    `options.paths` name the stages. Raises UsageError, FormatError and Untrusted before anything runs; a stage that fails is in the result.
    """
    from dvlite.rerun.session import run_again  # 15 ms that verifying without it does not need

    started = time.monotonic()
    if options.commits is not None:
        raise UsageError("--rerun and --range exclude each other", hint="name one commit: --rev R")
    revision = options.revision or "HEAD"
    verified = verify(repo, replace(options, revision=revision), progress=progress)
    try:
        again = run_again(repo, options.paths, how, revision=revision, environ=environ, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("nothing of the rerun is kept; the same command starts again") from None
    ran = {check.stage for check in again.stages}
    return replace(
        verified,
        rerun=True,
        stages=(*again.stages, *(check for check in verified.stages if check.stage not in ran and not options.paths)),
        warnings=(*verified.warnings, *again.warnings),
        kept=again.folder,
        elapsed_seconds=time.monotonic() - started,
    )


def _require_sense(options: VerifyOptions) -> None:
    if options.revision is not None and options.commits is not None:
        raise UsageError("--rev and --range exclude each other", hint="give one of them")
    if options.check_remote and options.offline:
        raise UsageError(
            "--remote and --offline exclude each other", hint="without --remote, nothing has to be fetched"
        )
    if options.deep and not options.check_remote:
        raise UsageError("--deep reads the bytes on a remote", hint="dvlite verify --remote --deep")


def _place(finding: Finding) -> tuple[str, int]:
    # Findings of commits keep their order.
    return ("", 0) if finding.commit is not None else (finding.file, finding.line)


@dataclass(slots=True)
class _Verification:
    """One run over the work tree, a commit, or several commits."""

    repo: Repo
    source: ContentSource
    options: VerifyOptions
    progress: Progress
    together: commits.Together = field(default_factory=commits.Together)
    stages: tuple[StageCheck, ...] = ()
    checks: tuple[CheckVerdict, ...] = ()
    tracked: int = 0
    count: int = 1
    purged: tuple[PurgedFile, ...] = ()
    _restoring: Restoring = field(init=False)
    _memo: Memo = field(default_factory=Memo)
    _earlier: PreviousCommit = field(default_factory=PreviousCommit)
    _wanted: dict[tuple[str, bytes], Requirement] = field(default_factory=dict)
    _runs: dict[Oid, Mention] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)  # words that match something

    def __post_init__(self) -> None:
        self._restoring = Restoring(self.repo.git)

    def one(self, at: Revision) -> TrackedFiles:
        """Verifies one revision."""
        named, checked = self._checked(at)
        self.together.add(checked.findings, checked.unchecked)
        if at.commit is None:
            self._add(_filtered(self.repo, at))
        self._look_at_checks(at, named)
        return named

    def range(self, wanted: Sequence[str], blobs: BlobReader) -> None:
        """Verifies commits, oldest first; a commit without relevant changes is not checked again."""
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
        if named is not None:
            self._look_at_checks(at, named)
        self.progress.finish()

    def _look_at_checks(self, at: Revision, named: TrackedFiles) -> None:
        selection = _Selection(self.repo, self.options.paths, self._named)
        verdicts, reports = contracts.look(at, named, self.source, selection.reads)
        self.checks = tuple(verdicts)
        self._add(reports)

    def _checked(self, at: Revision, known: TrackedFiles | None = None) -> tuple[TrackedFiles, Checked]:
        named = known or read(at, self._memo, self._restoring)
        selection = _Selection(self.repo, self.options.paths, self._named)
        checked = examine(self.repo, at, named, self.source, selection.chooses, self._earlier)
        if self.options.paths:
            checked.findings = [finding for finding in checked.findings if selection.is_about(finding, named)]
        self.stages = checked.stages
        self.tracked = sum(selection.holds(item.path) for item in named.pointers) + sum(
            selection.holds(item.path, item.stage) for lock in named.locks.values() for item in lock.outputs
        )
        if self.options.check_remote and known is None:
            self._collect(at, named, checked, selection)
        return named, checked

    def _collect(self, at: Revision, named: TrackedFiles, checked: Checked, selection: _Selection) -> None:
        """Adds what the remote must have."""
        for item in named.pointers:
            if selection.holds(item.path):
                place = Mention(item.path + SUFFIX, lambda: 3, commit=at.commit)
                self._wanted.setdefault((item.path, item.pointer.digest), Requirement(item.path, item.pointer, place))
        for stage in named.stages:
            entry, lock = checked.trusted.get(stage.address), named.locks.get(stage.lockfile)
            if entry is None or lock is None or not selection.chooses(stage):
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
        """Raises UsageError for a word that matches nothing, which would else pass."""
        revision = self.options.revision or self.options.commits
        where, hint = "", "see what there is: dvlite ls, dvlite stage list"
        if revision is not None:
            where, hint = f" in {printable(revision)}", f"{hint}\ncommit it first: the work tree is not checked"
        for argument in self.options.paths:
            if self.count and argument not in self._named:
                raise UsageError(f"{quote(argument)} is neither tracked nor a stage{where}", hint=hint)

    def registry(self) -> None:
        """Checks the model registry, unless only some paths or commits are asked for; and what its versions need on the remote."""
        if self.options.paths or self.options.commits is not None:
            return
        registry = load(self.repo.git)
        problems = [problem for problem in registry.problems if not problem.is_harmless]
        if problems and self.repo.git.is_shallow():  # as pipelines clone for one tag
            tags = some([problem.tag for problem in problems])
            why = f"this clone is shallow, and tags are not here or do not fit: {tags}"
            self._add([Unchecked(what="the model registry", why=why, hint="dvlite model list --fetch")])
            problems = []
        self._add([_registry_finding(problem) for problem in problems])
        for model in registry.models.values() if self.options.check_remote else ():
            for version in model.versions.values():
                place = Mention(f"refs/tags/{version.tag}", lambda: 1)
                key = version.path, version.pointer.digest
                self._wanted.setdefault(key, Requirement(version.path, version.pointer, place))

    def at_remote(self) -> None:
        """Checks the remote, and with `deep` reads its data."""
        complete = remote_complete.look(self.source, list(self._wanted.values()), self._runs)
        self._add(complete.findings)
        self.purged = tuple(self._purged(complete.complete))
        if self.options.deep and complete.complete:
            damage = tuple(deep.read_all(self.source, complete.complete, self.progress))
            again = remote_complete.look(self.source, list(complete.complete), {}) if damage else complete
            if damage and not again.findings:  # a push has sent the damaged packs again: that copy counts
                damage = tuple(deep.read_all(self.source, again.complete, self.progress))
            self._add(damage)

    def _purged(self, complete: Iterable[Requirement]) -> Iterator[PurgedFile]:
        for wanted in complete if self.source.cache.purged else ():
            entries = self.source.entries(wanted.path, wanted.pointer)
            yield from purged_in(self.source.cache, wanted.path, entries).values()

    def _add(self, items: Sequence[Finding | Unchecked]) -> None:
        self.together.findings += [item for item in items if isinstance(item, Finding)]
        self.together.unchecked += [item for item in items if isinstance(item, Unchecked)]


def _registry_finding(problem: RegistryProblem) -> Finding:
    return Finding(kind="model-tag", message=problem.message, file=f"refs/tags/{problem.tag}", fix=problem.hint)


class _Selection:
    """The paths and stages that a user gave; none: everything. Words that match something are added to `named`."""

    def __init__(self, repo: Repo, words: Sequence[str], named: set[str]) -> None:
        self._paths = {word: repo.relative(word) for word in words}
        self._named = named

    def chooses(self, stage: Stage) -> bool:
        """Returns whether a stage is selected: by its address, its files, an output, or a folder."""
        if not self._paths:
            return True
        own = [stage.file, stage.lockfile, *(out.path for out in stage.outs)]
        return self._any(lambda word, path: is_called(stage.address, word) or any(overlap(path, file) for file in own))

    def reads(self, check: Stage) -> bool:
        """Returns whether a check is selected: by its address, its file, or what it reads."""
        if not self._paths:
            return True
        return self._any(
            lambda word, path: is_called(check.address, word) or path == check.file or reads_any(check, [path])
        )

    def holds(self, path: str, stage: str = "") -> bool:
        """Returns whether a tracked path is selected."""
        if not self._paths:
            return True
        return self._any(
            lambda word, selected: (
                (bool(stage) and is_called(stage, word)) or overlap(selected, path) or selected == path + SUFFIX
            )
        )

    def is_about(self, finding: Finding, named: TrackedFiles) -> bool:
        """Returns whether a finding concerns the selection."""
        if finding.stage is not None:
            stage = next((stage for stage in named.stages if stage.address == finding.stage), None)
            if stage is not None:
                return self.chooses(stage)
        return self._any(
            lambda word, path: (
                is_called(finding.stage or "", word)
                or path == finding.file
                or overlap(path, finding.path or finding.file)
            )
        )

    def _any(self, matches: Callable[[str, str], bool]) -> bool:
        matching = [word for word, path in self._paths.items() if matches(word, path)]
        self._named.update(matching)
        return bool(matching)


def _filtered(repo: Repo, at: Revision) -> list[Finding]:
    """Returns the finding for a file that the commit would hold in another form."""
    error = attributes.filtered(repo.git, at.own_files(as_seen=True))
    if error is None:
        return []
    return [Finding(kind="pointer-malformed", message=error.message, file=error.file or "", fix=error.hint)]


def _line(lock: Lock, entry: object, name: str, item: str | None) -> Callable[[], int]:
    return lambda: lock.line(entry, name, item)  # type: ignore[arg-type]
