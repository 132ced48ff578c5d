"""One invocation on a pipeline, of `repro` or `commit`: which stages it is about, what is known of them, what is refused, what becomes of them.

Puts the parts of this package together; knows no terminal, and not what a result is called.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from dvlite.errors import DvliteError, UsageError
from dvlite.files import write_atomic
from dvlite.formats import parameters, pipeline
from dvlite.formats.lockfile import Locked
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import MapRun
from dvlite.formats.task import Task, TaskResult
from dvlite.paths import overlap
from dvlite.pipeline import graph as graphs
from dvlite.pipeline.away import Away, Workers
from dvlite.pipeline.content import Contents
from dvlite.pipeline.environment import Surroundings
from dvlite.pipeline.execute import ExecuteOptions, Execution, Tools
from dvlite.pipeline.executor import Executor, interruptible
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.intake import Intake
from dvlite.pipeline.journal import Ledger, Locks
from dvlite.pipeline.map_plan import plan_map
from dvlite.pipeline.offers import Offering, Offers
from dvlite.pipeline.outputs import Outputs, is_cached
from dvlite.pipeline.params import Params
from dvlite.pipeline.preflight import assume_followed, require_command, require_folder, require_free
from dvlite.pipeline.reasons import Reason
from dvlite.pipeline.run_cache import Reuse, is_nowhere, shown
from dvlite.pipeline.run_record import Author, Recorder, begun, metrics_of
from dvlite.pipeline.slots import Slots, Taken
from dvlite.pipeline.stage_run import DatumsRun, RunState, StageRun
from dvlite.pipeline.stage_task import stage_task, task_inputs, why_no_task
from dvlite.pipeline.stages import Stage, load, secret_warnings
from dvlite.pipeline.staleness import Evaluator, Staleness, explained, needed, of_stages, survey
from dvlite.pipeline.targets import (
    changed_by_git,
    choose,
    differing_files,
    params_file,
    require_readable,
    without_left_out,
)
from dvlite.pipeline.task_results import TakeUp
from dvlite.pipeline.together import SharedRuns
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.runs.records import open_records
from dvlite.show import is_or_are, quote, some
from dvlite.workspace.add_checks import refuse_ignored
from dvlite.workspace.adder import AddedPath
from dvlite.workspace.sparse import is_glob
from dvlite.workspace.workspace import Workspace

_FORECASTS: Mapping[str, RunState] = {
    "stale": "would run",
    "after": "may run",
    "edited": "would restore",
    "frozen": "frozen",
    "unknown": "unknown",
}


@dataclass(frozen=True, slots=True)
class ReproOptions:
    """The flags of the command line, by their names there."""

    jobs: int | None = None  # one at a time; of `on dask`, one for each CPU
    dry_run: bool = False
    explain: bool = False
    force: bool = False
    single: bool = False
    downstream: bool = False
    keep_going: bool = False
    pull: bool = False
    run_cache: bool = True
    add: bool = True
    on: str | None = None  # machines that run stages as tasks: `dask`, or `dask:ADDRESS`


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSet:
    """A value that `-S` wrote into a file of parameters."""

    file: str
    name: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the stages of an invocation, in the order of the pipeline, and the files that belong to it."""

    INLINE: ClassVar[bool] = True  # in JSON, the fields stand among those of the result
    stages: tuple[StageRun, ...]
    added: tuple[AddedPath, ...] = ()  # tracked data that had changed, taken in because stages read it
    lockfiles: tuple[str, ...] = ()  # that changed
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()  # of the results, and not in git's index as they are
    untracked: tuple[str, ...] = ()  # files of the pipeline that git does not know
    modified: tuple[str, ...] = ()  # files that stages read and that git's index does not have as they are
    warnings: tuple[str, ...] = ()

    def stage_in(self, repo: Repo, *, enabled: bool) -> Outcome:
        """Stages the results in git, and returns what is staged then."""
        staged = repo.stage(self.unstaged, enabled=enabled)
        return replace(self, staged=staged, unstaged=() if staged else self.unstaged)


class Invocation:
    """One invocation: the stages chosen, and what is known of them. `outdated`: data that did not follow its pointer and cannot unasked."""

    def __init__(
        self,
        repo: Repo,
        targets: Sequence[str],
        options: ReproOptions,
        environ: Mapping[str, str],
        progress: Progress,
        *,
        together: SharedRuns | None = None,
    ) -> None:
        self._repo, self._targets, self._options, self._environ = repo, targets, options, environ
        self._progress, self._together = progress, together
        self._params_set: dict[str, bytes] = {}  # files as -S wants them
        self._read_all()

    def _read_all(self) -> None:
        """Reads the pipeline, with the values of -S in it, and what belongs to it."""
        repo, targets, options, progress = self._repo, self._targets, self._options, self._progress
        loaded = load(repo.work_tree, instead=self._params_set)
        if loaded.broken and not (targets and loaded.stages):
            raise loaded.broken[0]
        self._warnings = [error.message for error in loaded.broken]
        self._warnings += secret_warnings(loaded.stages)
        if not loaded.stages:
            own = (repo.relative(file) for file in (pipeline.FILE_NAME, repo.root / pipeline.FILE_NAME))
            refuse_ignored(repo, [file for file in own if (repo.root / file).is_file()], "cannot use the stages of")
            raise UsageError(
                "there is no pipeline here", hint="dvlite stage add NAME -d DEP -o OUT -- COMMAND, or write dvlite.yaml"
            )
        self._graph = graphs.build(loaded.stages)
        self._outs = [out.path for stage in self._graph.stages for out in stage.outs]
        chosen = choose(repo, self._graph, targets, single=options.single, downstream=options.downstream)
        self._stages = chosen.stages
        if repo.git.is_sparse:
            self._stages, left_out = without_left_out(repo.work_tree, chosen.stages, is_chosen=bool(targets))
            self._warnings += left_out
        self._named = chosen.named if targets else frozenset[str]()
        frozen = () if targets else (stage.address for stage in loaded.stages if stage.spec.frozen)
        self._forced = chosen.named.difference(frozen) if options.force else frozenset()  # frozen: only if named
        broken: list[DvliteError] = []
        self._work = Workspace(repo, open_cache(repo), progress)
        tracked = repo.work_tree.tracked(broken)
        require_readable(self._stages, loaded.broken, tracked)
        require_free(self._work, self._stages, tracked)
        self._contents = Contents(self._work, of_stages(tracked, loaded.stages))
        added = {item.path: item.pointer for item in tracked if not item.stage}
        self._intake = Intake(self._work, self._contents, added, refuse=not options.add)
        self.outdated = assume_followed(self._work, self._contents, self._stages, tracked)
        self._warnings += [error.message for error in broken if error.message not in self._warnings]
        probes = None if self._together is None else self._together.probes
        self._surroundings = Surroundings(
            repo, self._environ, progress, self._stages, dry=options.dry_run, probes=probes
        )
        self._locks = Locks(repo, loaded.stages, lasting=self._together is None)
        self._evaluator = Evaluator(
            self._contents, Params(self._read_params), self._surroundings, self._locks.current, self._graph.made
        )

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages that it is about, in order."""
        return self._stages

    def store_inputs(self) -> dict[str, Pointer]:
        """Takes changed data that the stages read into the cache; returns its versions by path, and touches no pointer."""
        return self._intake.store(self._stages)

    def ignored_inputs(self) -> list[str]:
        """Returns the files and folders that stages read, that no stage makes, and that neither git nor dvlite keeps."""
        places = {place.path for stage in self._stages for place in (*stage.sources, *stage.params)}
        known, made = self._contents.known, [out for out in self._outs if not is_glob(out)]
        paths = [path for path in sorted(places) if not is_glob(path) and not known.is_data(path)]
        paths = [path for path in paths if not any(overlap(path, out) for out in made) and self._contents.has(path)]
        return sorted(self._repo.git.ignored(paths))

    def write_params(self, settings: Sequence[tuple[str, str]]) -> tuple[ParamSet, ...]:
        """Writes the values of `-S`; none is written unless all can be. A dry run only reckons with them."""
        changed: dict[str, bytes] = {}
        done = []
        for setting, text in settings:
            file, key = params_file(self._repo, self._stages, setting)
            data = changed.get(file) or self._repo.work_tree.read(file)
            if data is None:
                raise UsageError(
                    f"there is no {quote(file)} for {quote(setting)}",
                    hint=f"make it, or name another: -S FILE:{key}=VALUE",
                )
            tree = parameters.load(data, file)
            key = parameters.full_key(tree, key, file)
            old, value = parameters.find(tree, key), parameters.value_of(text)
            if isinstance(old, Mapping) and not isinstance(value, Mapping):
                first = next(iter(old), "KEY")
                raise UsageError(
                    f"{quote(key)} in {quote(file)} is a section ({some([quote(name) for name in old])}), not a value",
                    hint=f"set one of its values: -S {setting}.{first}=...",
                )
            changed[file] = parameters.changed(data, file, key, value)
            done.append(ParamSet(file=file, name=key, old=None if old is parameters.ABSENT else old, new=value))
        self._params_set.update(changed)
        self._evaluator.params.forget()
        for file, data in changed.items() if not self._options.dry_run else ():
            write_atomic(self._repo.root / file, data, sync=self._together is None)
        if any(file in changed for stage in self._graph.stages for file in stage.values):
            self._read_all()
        return tuple(done)

    def _read_params(self, path: str) -> bytes | None:
        would_be = self._params_set.get(path) if self._options.dry_run else None
        return self._repo.work_tree.read(path) if would_be is None else would_be

    def _numbers_as_text(self) -> list[str]:
        """Returns a warning for each file of parameters with numbers that the stage may read as text; its first one is named."""
        warnings = []
        for file in dict.fromkeys(place.path for stage in self._stages for place in stage.params):
            found = list(parameters.numbers_as_text(self._read_params(file) or b"", file))
            if found:
                line, word, number = found[0]
                more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
                warnings.append(
                    f"{quote(file)}, line {line}: PyYAML reads {word}{more} as text; {number} is a number for all"
                )
        return warnings

    def forecast(self) -> Outcome:
        """Returns what would run."""
        unknown: dict[str, DvliteError] = {}
        self._warnings += self._numbers_as_text()
        outlooks = self._survey(lambda version: is_nowhere(self._repo, version), unknown)
        self._warnings += self._not_here(outlooks)
        return Outcome(
            stages=tuple(
                StageRun(
                    stage=outlook.stage.address,
                    state=_FORECASTS.get(outlook.state, "up to date"),
                    reasons=self._explained(outlook.reasons),
                )
                for outlook in outlooks
            ),
            warnings=(*self._warnings, *(error.message for error in (*self.outdated, *unknown.values()))),
        )

    def _not_here(self, outlooks: Sequence[Staleness]) -> Iterator[str]:
        """Yields a warning of outputs that a run would bring with --pull, and stop for without."""
        running = {outlook.stage.address for outlook in outlooks if outlook.runs}
        outs = [out for _, outs in needed(self._graph, outlooks, running, self._named) for out in outs]
        absent = [quote(out.path) for out in outs if not is_cached(self._work.cache, out)]
        if absent and not self._options.pull:
            yield f"{some(absent)} {is_or_are(absent)} neither on disk nor in the cache: dvlite pull, or dvlite repro --pull"

    def execute(
        self, made_by: Author, executor: Executor, stack: contextlib.ExitStack, workers: Workers | None = None
    ) -> Outcome:
        """Runs what is out of date, here or by `workers`, and records it."""
        for warning in self._numbers_as_text():  # before hours of work
            self._progress.warn(warning)
        done, changed, ignored = self.settle(made_by, executor, stack, workers)
        return self._outcome(done, changed, ignored)

    def settle(
        self, made_by: Author, executor: Executor, stack: contextlib.ExitStack, workers: Workers | None = None
    ) -> tuple[tuple[StageRun, ...], tuple[str, ...], set[str]]:
        """Runs what is out of date and records it; returns what became of each stage, and the lockfiles and ignore files that changed."""
        repo, options, progress = self._repo, self._options, self._progress
        records = open_records(repo, progress)
        fetcher = stack.enter_context(Fetcher(repo, self._work.cache, progress)) if options.pull else None
        if fetcher is not None:
            fetcher.records(records)
        refused: dict[str, DvliteError] = {}
        active = [stage for stage in self._stages if not stage.spec.frozen or stage.address in self._forced]
        for group in [[stage] for stage in active] if options.keep_going else [active]:
            with self._noting(refused, group):
                self._intake.take(group)
        recorder = Recorder(repo, self._work.cache, made_by, self._outs)
        ledger = stack.enter_context(
            Ledger(repo, records, self._locks, self._evaluator, progress, together=self._together)
        )
        outputs = Outputs(self._work, self._contents, ledger.is_recorded)
        outputs.clear_leftovers()
        reuse = Reuse(repo, self._evaluator, outputs, recorder, ledger, fetcher, progress, run_cache=options.run_cache)
        away = None
        if workers is not None:
            bringer = stack.enter_context(Fetcher(repo, self._work.cache, progress, remote=workers.remote))
            away = Away(workers, self._work, self._contents, bringer, progress)
        tools = Tools(
            repo=repo,
            work=self._work,
            graph=self._graph,
            evaluator=self._evaluator,
            outputs=outputs,
            surroundings=self._surroundings,
            executor=executor,
            recorder=recorder,
            ledger=ledger,
            reuse=reuse,
            intake=self._intake,
            together=self._together,
            away=away,
            slots=Slots(
                options.jobs or 1,
                self._surroundings.machine(),
                Taken() if self._together is None else self._together.taken,
            ),
        )
        outlooks = self._survey(reuse.is_lost, refused)
        how = ExecuteOptions(force=self._forced, keep_going=options.keep_going, refused=refused)
        execution = Execution(tools, how, progress)
        self._require(outlooks, execution, tools, refused)
        outs = [out for outlook in outlooks if outlook.runs for out in outlook.stage.outs]
        try:
            with repo.lock(progress):
                ledger.expect([out.path for out in outs if out.spec.cache and not is_glob(out.path)])
            with interruptible():
                done = execution.run(self._stages, sum(outlook.runs for outlook in outlooks))
        finally:
            changed = ledger.finish()
        if execution.error is not None and not options.keep_going:
            raise execution.error
        if options.explain:
            reasons = (run.reasons or outlook.reasons for run, outlook in zip(done, outlooks, strict=True))
            done = tuple(replace(run, reasons=self._explained(why)) for run, why in zip(done, reasons, strict=True))
        return done, changed, ledger.ignored

    def accept(self, made_by: Author, stack: contextlib.ExitStack) -> Outcome:
        """Locks and records what is on disk as the outputs of the stages that are out of date; runs nothing.

        Raises FormatError, with file and line, before anything is stored, for a stage that was named and lacks an output.
        """
        repo, work = self._repo, self._work
        active = [stage for stage in self._stages if not stage.spec.frozen or stage.address in self._forced]
        self._intake.take(active)
        ledger = stack.enter_context(
            Ledger(repo, open_records(repo, self._progress), self._locks, self._evaluator, self._progress)
        )
        outputs = Outputs(work, self._contents, ledger.is_recorded)
        outlooks = survey(self._graph, self._evaluator, self._stages, force=self._forced)
        changed = [outlook.stage for outlook in outlooks if outlook.state not in ("up to date", "frozen")]
        lacking = {stage.address: self._lack(stage, outputs) for stage in changed}
        recorder = Recorder(repo, work.cache, made_by, self._outs)
        done = []
        try:
            for stage in self._stages:
                if problem := lacking.get(stage.address):
                    done.append(StageRun(stage=stage.address, state="not run", problem=problem))
                else:
                    done.append(self._accept(stage, outputs, recorder, ledger))
        finally:
            lockfiles = ledger.finish()
        return self._outcome(tuple(done), lockfiles, ledger.ignored)

    def offers(self, version: str) -> Offers:
        """Returns what is out of date as tasks that other machines can run, with all that they read in the cache.

        Raises FormatError for a dependency that is nowhere, before anything is stored.
        """
        self._intake.take([stage for stage in self._stages if not stage.spec.frozen or stage.address in self._forced])
        offering = Offering(self._repo, self._work, self._evaluator, self._surroundings, self._forced, version)
        return offering.of(self._survey(lambda item: is_nowhere(self._repo, item), {}))

    def take_up(
        self,
        find: Callable[[Task], list[TaskResult]],
        find_batches: Callable[[Stage, str], list[tuple[Task, TaskResult]]],
        fetcher: Fetcher,
        made_by: Author,
        version: str,
        stack: contextlib.ExitStack,
    ) -> Outcome:
        """Takes up results of tasks, in the order of the graph, so that one may be of a stage after another; `find` returns the results of a task, the best first; `find_batches` those of a map stage with a base.

        A stage that is out of date and has none is left as it is.
        """
        repo, work = self._repo, self._work
        ledger = stack.enter_context(
            Ledger(repo, open_records(repo, self._progress), self._locks, self._evaluator, self._progress)
        )
        outputs = Outputs(work, self._contents, ledger.is_recorded)
        recorder = Recorder(repo, work.cache, made_by, self._outs)
        taker = TakeUp(repo, self._contents, outputs, recorder, ledger, fetcher, self._progress)
        done: list[StageRun] = []
        chosen, settled = {stage.address for stage in self._stages}, set[str]()
        try:
            for stage in self._stages:
                if not settled.issuperset(chosen.intersection(self._graph.before[stage.address])):
                    done.append(StageRun(stage=stage.address, state="not run"))
                    continue
                run = (
                    self._datums_taken_up(stage, find_batches, taker)
                    if stage.spec.map is not None
                    else self._taken_up(stage, find, taker, version)
                )
                done.append(run)
                if run.state in ("up to date", "frozen", "ok"):
                    settled.add(stage.address)
        finally:
            lockfiles = ledger.finish()
        return self._outcome(tuple(done), lockfiles, ledger.ignored)

    def _taken_up(
        self, stage: Stage, find: Callable[[Task], list[TaskResult]], taker: TakeUp, version: str
    ) -> StageRun:
        outlook = self._evaluator.look(stage)
        if outlook.state in ("up to date", "frozen"):
            return StageRun(stage=stage.address, state="frozen" if outlook.state == "frozen" else "up to date")
        if outlook.now is None or why_no_task(stage) is not None:
            return StageRun(stage=stage.address, state="not run")
        read = task_inputs(stage, outlook.now, self._contents)
        task = stage_task(stage, outlook.now, read, project=self._repo.config.project or "", dvlite=version)
        found = find(task)
        return StageRun(stage=stage.address, state="not run") if not found else taker.stage(outlook, found)

    def _datums_taken_up(
        self, stage: Stage, find: Callable[[Stage, str], list[tuple[Task, TaskResult]]], taker: TakeUp
    ) -> StageRun:
        """Takes up results of datums: the next `repro` of the stage finds them, and records it."""
        outlook = self._evaluator.look(stage)
        if outlook.state in ("up to date", "frozen"):
            return StageRun(stage=stage.address, state="up to date")
        taken = 0 if outlook.now is None else taker.datums(outlook, find(stage, stage.base(outlook.now)))
        return StageRun(
            stage=stage.address, state="not run", datums=DatumsRun(datums=taken, ran=taken) if taken else None
        )

    def _lack(self, stage: Stage, outputs: Outputs) -> str:
        """Returns which output of a stage is not there, '' if all are. Raises FormatError if the stage was named."""
        out = next((out for out, paths in outputs.on_disk(stage) if not paths), None)
        if out is None:
            return ""
        if stage.address in self._named:
            raise stage.wrong(
                out.line, f"the output {quote(out.path)} of {stage.address} is not there", hint="make it first"
            )
        return f"{quote(out.path)} is not there"

    def _accept(self, stage: Stage, outputs: Outputs, recorder: Recorder, ledger: Ledger) -> StageRun:
        outlook = self._evaluator.look(stage, force=stage.address in self._forced)
        if outlook.state in ("up to date", "frozen"):
            return StageRun(stage=stage.address, state="frozen" if outlook.state == "frozen" else "up to date")
        assert outlook.now is not None
        with self._repo.lock(self._progress):
            ledger.ignore([out.path for out in stage.outs if out.spec.cache and not is_glob(out.path)])
            taken = outputs.collect(stage)
        attempt = begun(stage, outlook.now, self._contents, time.time_ns())
        versions = [version for _, version in taken]
        metrics, problems = metrics_of(
            self._repo.work_tree.read, stage, [version.path for out, version in taken if out.spec.metric]
        )
        for problem in problems:
            self._progress.warn(f"{stage.address}: {problem}; no metrics are recorded from it")
        run = recorder.asserted(attempt, taken, metrics)
        if stage.spec.map is not None:  # what the user vouches for are results of datums
            total = plan_map(stage, outlook.now, self._contents, self._contents.read_node).total
            run = replace(run, mapped=MapRun(base=stage.base(outlook.now), datums=total))
        oid = ledger.records.put(run, durable=False)
        compared = ledger.metrics(stage, outlook.locked, metrics)
        ledger.lock_in(outlook, versions, oid)
        return StageRun(
            stage=stage.address,
            state="asserted",
            reasons=outlook.reasons,
            outputs=shown(stage, versions),
            metrics=compared,
            run=oid,
        )

    def _survey(self, is_lost: Callable[[Locked], bool], unknown: dict[str, DvliteError]) -> list[Staleness]:
        problems = unknown if self._options.keep_going else None
        wanted = self._named
        return survey(
            self._graph,
            self._evaluator,
            self._stages,
            force=self._forced,
            problems=problems,
            is_lost=is_lost,
            wanted=wanted,
        )

    def _require(
        self, outlooks: Sequence[Staleness], execution: Execution, tools: Tools, refused: dict[str, DvliteError]
    ) -> None:
        """Looks for what would stop a stage, before anything runs."""
        running = {outlook.stage.address for outlook in outlooks if outlook.runs}
        if running:
            self._work.cache.create()  # what they make is stored there
        for stage in (outlook.stage for outlook in outlooks if outlook.runs and outlook.state != "unknown"):
            with self._noting(refused, [stage]):
                require_folder(stage, self._repo.root, self._outs)
                if tools.away is not None and tools.away.takes(stage):
                    continue  # what it reads may be on the remote only, and its programs on other machines
                environ = self._surroundings.environ_of(stage)
                is_first = running.isdisjoint(self._graph.upstream(self._graph.before[stage.address]))
                require_command(stage, self._repo.root, environ, self._outs, is_first=is_first)
                execution.require(stage)
                tools.slots.require(stage)
        if tools.away is not None:
            running -= {outlook.stage.address for outlook in outlooks if tools.away.takes(outlook.stage)}
        for outlook, outs in needed(self._graph, outlooks, running, self._named):
            with self._noting(refused, [outlook.stage]):
                tools.reuse.require(outlook, outs)

    @contextlib.contextmanager
    def _noting(self, refused: dict[str, DvliteError], stages: Iterable[Stage]) -> Iterator[None]:
        """Lets an error about stages stop everything; with `-k`, only these and what needs them."""
        try:
            yield
        except DvliteError as error:
            if not self._options.keep_going:
                raise
            for stage in stages:
                refused.setdefault(stage.address, error)

    def _outcome(self, done: tuple[StageRun, ...], changed: tuple[str, ...], ignored: Collection[str]) -> Outcome:
        repo = self._repo
        made = {run.stage for run in done if run.state not in ("failed", "tainted", "canceled", "not run")}
        stages = [stage for stage in self._stages if stage.address in made]
        unstaged = (*changed, *self._unstaged(stages, ignored))
        deps = [dep.path for stage in self._stages for dep in stage.sources]
        untracked, modified = differing_files(repo, self._stages, deps)
        self._warnings += changed_by_git(repo, stages) if changed else []
        return Outcome(
            stages=done,
            lockfiles=changed,
            added=tuple(self._intake.done),
            unstaged=tuple(dict.fromkeys(unstaged)),
            untracked=tuple(file for file in untracked if file not in unstaged),
            modified=tuple(file for file in modified if file not in unstaged),
            warnings=tuple(self._warnings),
        )

    def _unstaged(self, stages: Sequence[Stage], ignored: Iterable[str]) -> list[str]:
        """Returns what belongs to the results of stages and is not in git's index as it is, be it that an earlier run was stopped before that."""
        git, root = self._repo.git, self._repo.root
        kept_by_git = [out.path for stage in stages for out in stage.outs if not out.spec.cache]
        in_cache = [out.path for stage in stages for out in stage.outs if out.spec.cache]
        ignore_files = [f"{path.rpartition('/')[0]}/.gitignore".lstrip("/") for path in in_cache]
        names = [*self._params_set, *kept_by_git, *ignore_files]
        left_out = git.ignored(names)
        if lost := [quote(path) for path in kept_by_git if path in left_out]:
            self._warnings.append(f"git ignores {some(lost)}, which it is to keep: no clone will have it")
        names = [name for name in names if name not in left_out]
        names += [*(stage.lockfile for stage in stages), *ignored, *self._intake.pointers(self._stages)]
        return git.unstaged([name for name in dict.fromkeys(names) if os.path.lexists(root / name)])

    def _explained(self, reasons: Iterable[Reason]) -> tuple[Reason, ...]:
        return tuple(explained(reason, self._contents) for reason in reasons)
