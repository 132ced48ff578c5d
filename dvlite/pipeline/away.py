"""Stages that run as tasks on other machines, which have one remote in common with this one and nothing else.

What a task reads is on the remote before it is given out; what it made comes from there, so it is hashed on its way. Does not know what
gives tasks to machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dvlite.errors import DvliteError
from dvlite.files import lock
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.snapshot import version_of
from dvlite.formats.task import TaskFile, TaskResult, UnitResult
from dvlite.oid import parse_oid
from dvlite.pipeline.content import Contents
from dvlite.pipeline.executor import Ended
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.stage_task import stage_task, task_inputs, why_no_task
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.task_inputs import TaskInputs
from dvlite.pipeline.tasks import TaskExecutor
from dvlite.progress import Progress
from dvlite.repo.open_stores import refuse_emptied, signature
from dvlite.store import push_protocol
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.push_plan import no_bases
from dvlite.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Workers:
    """Other machines: what gives them tasks, and the remote that they have in common with this one."""

    tasks: TaskExecutor
    remote: str | None
    dvlite: str  # the version of this one
    is_ready: Callable[[], bool] = lambda: False  # whether `tasks.wait` would return at once


@dataclass(frozen=True, slots=True)
class StageReturn:
    """How the task of a stage ended. Its outputs, and the log, are in the cache."""

    ended: Ended
    result: TaskResult
    log: bytes
    outputs: tuple[Locked, ...] = ()


class Away:
    """The tasks of ordinary stages, one each; used from one thread."""

    def __init__(
        self, workers: Workers, work: Workspace, contents: Contents, fetcher: Fetcher, progress: Progress
    ) -> None:
        self._workers, self._work, self._contents = workers, work, contents
        self._fetcher, self._progress = fetcher, progress
        self._inputs = TaskInputs(work, contents)
        self._addresses: dict[str, str] = {}  # of the stages that run, by the ids of their tasks
        self._refused: set[str] = set()

    def takes(self, stage: Stage) -> bool:
        """Returns whether a stage can run on another machine; says once of each that cannot that it runs here."""
        reason = why_no_task(stage)
        if reason is not None and stage.address not in self._refused:
            self._refused.add(stage.address)
            self._progress.print_line(f"{stage.address} runs on this machine: {reason}")
        return reason is None

    def start(self, stage: Stage, entry: LockedStage) -> None:
        """Sends what a stage reads and gives its task out. Raises DvliteError if something of it is nowhere, or cannot be sent."""
        versions = task_inputs(stage, entry, self._contents)
        project = self._work.repo.config.project or ""
        task = stage_task(stage, entry, versions, project=project, dvlite=self._workers.dvlite)
        self._inputs.store(versions)
        self.send(task.files)
        self._addresses[task.id] = stage.address
        self._workers.tasks.submit(task)

    def send(self, files: Sequence[TaskFile]) -> None:
        """Makes files of tasks, which the cache or the remote has, complete on the remote. Raises ObjectMissing for what is nowhere."""
        if not files:
            return
        repo, remote = self._work.repo, self._fetcher.remote
        signer = signature(repo, repo.git.config_get("user.email") or "", "")
        versions = {file.path: version_of(file.path, file.pointer()) for file in files}
        chosen = [versions[path] for path in sorted(versions)]
        remote.folder.mkdir(parents=True, exist_ok=True)
        with lock(remote.folder / "lock", wait=repo.waits, waiting=self._progress.warn):
            catalog = Catalog(remote, self._progress).look()
            refuse_emptied(catalog, self._workers.remote or remote.shown)
            push_protocol.run(catalog, self._work.cache, chosen, no_bases, lambda _path: (), signer, self._progress)
        self._progress.finish()

    @property
    def is_ready(self) -> bool:
        """Returns whether `wait` would return at once."""
        return bool(self._addresses) and self._workers.is_ready()

    def wait(self) -> list[StageReturn]:
        """Returns how tasks ended, at least one if any runs."""
        if not self._addresses:
            return []
        ended = ((self._addresses.pop(result.task, None), result) for result in self._workers.tasks.wait())
        return [self._returned(address, result) for address, result in ended if address is not None]

    def stop(self) -> None:
        """Ends what runs. Idempotent."""
        self._workers.tasks.stop()
        self._addresses.clear()

    def _returned(self, address: str, result: TaskResult) -> StageReturn:
        unit = result.units[0] if len(result.units) == 1 else UnitResult(problem="its result has other units")
        outputs = () if unit.problem is not None else _versions(unit)
        problem, log = unit.problem, unit.log_tail.encode()
        try:
            whole = self._fetcher.bring_new(outputs, [unit.log] if unit.log is not None else [])
            cache = self._work.cache
            cache.refresh_if_changed()
            if not whole:
                problem = (
                    f"it ran on {result.host or 'another machine'}, and its outputs are not complete on the remote"
                )
            log = _log(cache, unit, log)
        except DvliteError as error:
            problem = (
                problem
                or f"it ran on {result.host or 'another machine'}; its outputs cannot be fetched: {error.message}"
            )
        ended = Ended(
            address,
            unit.exit_code,
            unit.signal,
            unit.seconds,
            unit.cpu_seconds,
            unit.max_rss_bytes,
            reason=problem,
        )
        return StageReturn(ended, result, log, outputs)


def _versions(unit: UnitResult) -> tuple[Locked, ...]:
    return tuple(
        Locked(file.path, file.oid, file.size_bytes, file.files, executable=file.executable) for file in unit.outputs
    )


def _log(cache: Cache, unit: UnitResult, tail: bytes) -> bytes:
    """Returns the log of a unit, or its end if the cache lacks it."""
    if unit.log is None:
        return tail
    try:
        return cache.read_file(parse_oid(unit.log)[1], 0)
    except DvliteError:
        return tail
