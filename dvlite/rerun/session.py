"""`verify --rerun`: runs stages again in a clean clone, without the run cache, and returns a verdict for each.

A stage gets the outputs that earlier stages produced in this rerun, if those were identical or equivalent; with `--stage-inputs`, each
gets the inputs that the lockfile names. The original is not written, except that fetched data goes to its cache.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.record import Run
from dvlite.oid import Oid
from dvlite.pipeline import reasons
from dvlite.pipeline.executor import Interrupted, interruptible
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.preflight import require_command, require_folder
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.targets import choose
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.rerun.clean_clone import changed_files, clean_clone, submodules
from dvlite.rerun.diagnosis import Diagnosis, diagnose, drift
from dvlite.rerun.inputs import Inputs
from dvlite.rerun.sandbox import RunOutcome, Sandbox
from dvlite.rerun.verdicts import Judge
from dvlite.runs.index import open_index
from dvlite.runs.records import open_records
from dvlite.show import printable, quote, some, word
from dvlite.verify.findings import OutputVerdict, StageCheck, StageVerdict

_MOST_NAMED = 3
_GOOD = ("identical", "equivalent")
_NOT_DIAGNOSED = Diagnosis(repeats=None, runs=0)


@dataclass(frozen=True, slots=True)
class RerunOptions:
    """The flags of the command line, by their names there."""

    stage_inputs: bool = False
    twice: bool = False
    keep: bool = False
    remote: str | None = None  # None: the default one
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Rerun:
    """The verdict per stage, in order; `folder` is the clone with `--keep`."""

    commit: str
    stages: tuple[StageCheck, ...]
    warnings: tuple[str, ...] = ()
    folder: str | None = None


def run_again(
    repo: Repo,
    targets: Sequence[str],
    how: RerunOptions,
    *,
    revision: str,
    environ: Mapping[str, str],
    progress: Progress,
) -> Rerun:
    """Runs the targeted stages (without targets, all), and unless `--stage-inputs` is given those that they need.

    Raises UsageError for an unknown stage, FormatError for a pipeline that cannot be run, Untrusted before anything runs, and
    KeyboardInterrupt once everything is stopped and the clone is removed.
    """
    commit = repo.commit_of(revision)
    warnings = _not_checked(repo, revision)
    cache = open_cache(repo)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(interruptible())
            progress.start("cloning")
            clone = stack.enter_context(clean_clone(repo, commit, environ, keep=how.keep))
            progress.finish()
            missing = submodules(clone.repo)
            if missing:
                warnings.append(f"submodules are not in the clean clone: {some(list(map(quote, missing)))}")
            fetcher = None
            if not how.offline:
                fetcher = stack.enter_context(Fetcher(repo, cache, progress, remote=how.remote))
            with _read_from(commit):
                sandbox = Sandbox(clone, cache, progress)
                session = _Session(repo, sandbox, fetcher, how, progress)
                chosen = session.chosen(targets, warnings)
            stages = session.run(chosen)
        except Interrupted:
            raise KeyboardInterrupt from None
        return Rerun(commit, stages, (*warnings, *session.warnings), str(clone.repo.root) if how.keep else None)


@contextlib.contextmanager
def _read_from(commit: str) -> Iterator[None]:
    """Adds to an error in a file, or an unknown stage, that it was read from the commit."""
    try:
        yield
    except (FormatError, UsageError) as error:
        hint = f"{error.hint}\n" if error.hint is not None else ""
        read = f"the rerun uses commit {commit[:8]}, not the work tree: commit your correction"
        kind = UsageError if isinstance(error, UsageError) else FormatError
        raise kind(f"{error.message} (in commit {commit[:8]})", hint=f"{hint}{read}") from None


def _not_checked(repo: Repo, revision: str) -> list[str]:
    changed = changed_files(repo) if revision == "HEAD" else []
    if not changed:
        return []
    return [f"uncommitted changes are not checked, the last commit is: {some([quote(file) for file in changed])}"]


class _Session:
    """One rerun in one clone."""

    def __init__(
        self, repo: Repo, sandbox: Sandbox, fetcher: Fetcher | None, how: RerunOptions, progress: Progress
    ) -> None:
        self._repo, self._sandbox, self._how, self._progress = repo, sandbox, how, progress
        self._fetcher = fetcher
        self._inputs = Inputs(repo, sandbox, fetcher, progress)
        self._judge = Judge(sandbox, fetcher)
        self._records = open_records(repo, progress)
        self._asked_remote = False
        self._running: set[str] = set()
        self._ran: list[Stage] = []
        self._good: set[str] = set()  # stages whose outputs are inputs of later ones
        self._place = ""  # `2 of 3`
        self.warnings: list[str] = []

    def chosen(self, targets: Sequence[str], warnings: list[str]) -> list[Stage]:
        """Returns the stages to run; a frozen one only if it was named."""
        choice = choose(self._repo, self._sandbox.graph, targets, single=self._how.stage_inputs)
        named = choice.named if targets else ()
        frozen = [stage.address for stage in choice.stages if stage.spec.frozen and stage.address not in named]
        warnings += [f"{address} is frozen: its outputs are taken as the lockfile has them" for address in frozen]
        return [stage for stage in choice.stages if stage.address not in frozen]

    def run(self, stages: Sequence[Stage]) -> tuple[StageCheck, ...]:
        """Runs the stages in order. What must be fetched is fetched before the first."""
        if not self._how.stage_inputs:
            self._running = {stage.address for stage in stages}
        self._fetch(stages)
        done = []
        for number, stage in enumerate(stages, 1):
            self._place = f"{stage.address} ({number} of {len(stages)})" if len(stages) > 1 else stage.address
            check = self._check(stage)
            done.append(
                replace(check, file=stage.file, line=stage.spec.line, after=self._sandbox.graph.before[stage.address])
            )
        return tuple(done)

    def _fetch(self, stages: Sequence[Stage]) -> None:
        wanted: list[Locked] = []
        for stage in stages:
            with contextlib.suppress(DvliteError):  # reported when the stage is checked
                wanted += self._inputs.needed(stage, self._running)
        self._inputs.fetch(wanted)

    # -- one stage

    def _check(self, stage: Stage) -> StageCheck:
        locked = self._sandbox.evaluator.locked_stage(stage)
        if locked is None:
            return _unsettled(
                stage,
                "inconclusive",
                f"the committed lockfile does not have it: dvlite repro {word(stage.address)}, and commit",
            )
        needed = [other for other in self._sandbox.graph.before[stage.address] if other in self._running]
        missing = [other for other in needed if other not in self._good]
        if missing:
            return _unsettled(stage, "not checked", f"needs {', '.join(missing)}")
        try:
            problem = self._prepare(stage)
            if problem is not None:
                return _unsettled(stage, "inconclusive", problem)
            now = self._sandbox.entry_now(stage, locked)
            require_command(stage, self._sandbox.repo.root, self._sandbox.surroundings.environ_of(stage), ())
        except DvliteError as error:
            return _unsettled(stage, "inconclusive", error.message)
        try:
            require_folder(stage, self._sandbox.repo.root, ())
        except DvliteError as error:
            return _unsettled(stage, "failed", error.message)
        return self._run(stage, locked, now)

    def _prepare(self, stage: Stage) -> str | None:
        """Places the inputs of a stage; returns why that is not possible, or None."""
        versions = self._inputs.needed(stage, self._running)
        problem = self._inputs.unavailable(versions)
        if problem is not None:
            return problem
        if self._how.stage_inputs:
            self._sandbox.tidy(self._ran[-1:])
            self._inputs.clear(versions)
        return self._inputs.place(versions)

    def _run(self, stage: Stage, locked: LockedStage, now: LockedStage) -> StageCheck:
        changed = [  # captured values are reported as drift
            reason.name for reason in reasons.of_facts(locked, now) if not reason.kind.startswith("capture-")
        ]
        self._ran.append(stage)
        first = self._rerun(stage, now, {}, "")
        if first.failure is not None:
            check = StageCheck(stage=stage.address, verdict="failed", problem=first.failure, log_tail=first.log_tail)
            return replace(
                check, seconds=first.ended.seconds, runs=1, drift=self._drift(stage, locked, now, fetch=True)
            )
        verdicts = self._judge.verdicts(stage, first)
        diagnosis = _NOT_DIAGNOSED
        problem = f"its inputs are not those of the lockfile: {', '.join(changed[:_MOST_NAMED])}" if changed else None
        if self._how.twice:
            diagnosis, verdicts = self._second(stage, now, first, verdicts)
        elif _verdict(verdicts) == "different" and not changed:
            problem = self._own_input(stage, locked, now) or self._asserted(locked)
            diagnosis = _NOT_DIAGNOSED if problem else self._diagnose(stage, now, first)
        verdict = _verdict(verdicts)
        if diagnosis.failure is not None and verdict in _GOOD:
            verdict = "failed"
        if verdict in _GOOD:
            self._good.add(stage.address)
        verdicts, verdict = self._with_undeclared(stage, verdicts, verdict)
        culprit = verdict == "different" and not changed
        if diagnosis.failure is not None:
            problem = f"its second run failed: {diagnosis.failure}"
        if diagnosis.repeats is False and verdict in _GOOD and problem is None:
            problem = "two runs produced two results, both equivalent"
        return StageCheck(
            stage=stage.address,
            verdict=verdict,
            seconds=first.ended.seconds,
            outputs=verdicts,
            culprit=culprit,
            repeats=diagnosis.repeats,
            varies_with=diagnosis.varies_with,
            runs=1 + diagnosis.runs,
            drift=self._drift(stage, locked, now, fetch=culprit),
            problem=problem,
        )

    def _rerun(self, stage: Stage, now: LockedStage, variables: Mapping[str, str], words: str) -> RunOutcome:
        self._sandbox.clear_outputs(stage)
        return self._sandbox.run(stage, now, variables, f"{self._place} {words}".strip())

    def _second(
        self, stage: Stage, now: LockedStage, first: RunOutcome, verdicts: tuple[OutputVerdict, ...]
    ) -> tuple[Diagnosis, tuple[OutputVerdict, ...]]:
        """Runs a stage a second time; the worse verdicts count."""
        if _verdict(verdicts) == "different":
            return self._diagnose(stage, now, first), verdicts
        second = self._rerun(stage, now, {}, "again")
        if second.failure is not None:
            return Diagnosis(repeats=False, failure=second.failure), verdicts
        if second.is_same(first):
            return Diagnosis(repeats=True), verdicts
        other = self._judge.verdicts(stage, second)
        return Diagnosis(repeats=False), other if _verdict(other) not in _GOOD else verdicts

    def _diagnose(self, stage: Stage, now: LockedStage, first: RunOutcome) -> Diagnosis:
        environ = self._sandbox.surroundings.environ_of(stage)
        return diagnose(stage, first, environ, lambda variables, words: self._rerun(stage, now, variables, words))

    def _own_input(self, stage: Stage, locked: LockedStage, before: LockedStage) -> str | None:
        """Returns which of its own inputs a stage changed, or None; with a changed input, a second run proves nothing."""
        try:
            after = self._sandbox.entry_now(stage, locked)
        except DvliteError as error:
            return error.message
        were = {dep.path: dep.oid for dep in before.deps}
        changed = [dep.path for dep in after.deps if were.get(dep.path) != dep.oid]
        return f"it changes its own input {quote(stage.placed(changed[0]))}" if changed else None

    def _asserted(self, locked: LockedStage) -> str | None:
        recorded = None if locked.run is None else self._record(locked.run, fetch=True)
        if recorded is None or recorded.status != "asserted":
            return None
        return f"its outputs were accepted by dvlite commit or import-dvc ({printable(recorded.user or 'unknown')}), and not made by a run"

    def _with_undeclared(
        self, stage: Stage, verdicts: tuple[OutputVerdict, ...], verdict: StageVerdict
    ) -> tuple[tuple[OutputVerdict, ...], StageVerdict]:
        """Adds the files that the stage left and no stage declares."""
        new, changed = self._sandbox.undeclared()
        for path in changed:
            self.warnings.append(f"{stage.address} changes {quote(path)}, which is in git and declared by no stage")
        if not new:
            return verdicts, verdict
        detail = ("no stage declares it, and git does not ignore it",)
        extra = (OutputVerdict(path=path, verdict="extra", comparator="", detail=detail) for path in new)
        return (*verdicts, *extra), "different" if verdict in _GOOD else verdict

    # -- the environment

    def _drift(
        self, stage: Stage, locked: LockedStage, now: LockedStage, *, fetch: bool
    ) -> dict[str, tuple[object, object]] | None:
        """Returns how the environment differs from that of the recorded run; None if its record is unavailable."""
        recorded = None if locked.run is None else self._record(locked.run, fetch=fetch)
        if recorded is None or recorded.status == "asserted":
            return None
        return drift(recorded, {**self._sandbox.surroundings.describe(stage), **now.facts.capture})

    def _record(self, oid: Oid, *, fetch: bool) -> Run | None:
        with open_index(self._records) as index:
            record = index.run(oid)
        if record is None and fetch and self._fetcher is not None and not self._asked_remote:
            self._asked_remote = True
            with contextlib.suppress(DvliteError):
                self._fetcher.records(self._records)
                return self._record(oid, fetch=False)
        return record


def _verdict(verdicts: Sequence[OutputVerdict]) -> StageVerdict:
    """Returns the verdict of a stage: the worst of its outputs."""
    kinds = {output.verdict for output in verdicts}
    if kinds & {"different", "missing", "extra"}:
        return "different"
    if "inconclusive" in kinds:
        return "inconclusive"
    return "equivalent" if "equivalent" in kinds else "identical"


def _unsettled(stage: Stage, verdict: StageVerdict, problem: str) -> StageCheck:
    return StageCheck(stage=stage.address, verdict=verdict, problem=problem)
