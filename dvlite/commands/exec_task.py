"""`dvlite exec-task`: runs a task, or those of a list that no other worker has, where there is no clone and no git."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from dvlite.errors import Busy, DvliteError, RemoteError, StageFailed, UsageError
from dvlite.files import lock, read_regular
from dvlite.formats import task as tasks
from dvlite.formats.task import Task, TaskResult
from dvlite.lineage.context import open_place
from dvlite.pipeline.executor import Interrupted, interruptible
from dvlite.pipeline.task_worker import TaskWorker, Worker
from dvlite.progress import Progress
from dvlite.results import Result
from dvlite.show import Show, count, printable_text, quote
from dvlite.store import tasks as on_remote
from dvlite.store.remote import Remote

ExecState = Literal["ran", "failed", "done before", "failed before", "held"]
_POLL_SECONDS = 15.0
_LONGEST_LINE = 4096
_FOLDER = "work"  # in the cache: one folder for each worker, with a lock beside it


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """Where the remote and the cache are; `index_from`: the variable with the number of the one task of the list that is to run."""

    remote: str
    cache: str | None = None
    index_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedTask:
    """What became of a task. `held`: another worker has it; `done before`, `failed before`: a result was there."""

    task: str
    stage: str = ""
    state: ExecState
    result: TaskResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExecTaskResult(Result):
    """What became of each task that was looked at."""

    schema: ClassVar[str] = "dvlite.exec-task/1"
    remote: str
    tasks: tuple[ExecutedTask, ...] = ()
    elapsed_seconds: float = 0.0

    def failure(self, show: Show) -> DvliteError | None:
        """Returns the first unit that failed."""
        for item in self.tasks:
            units = () if item.result is None else item.result.units
            failed = [unit for unit in units if unit.problem is not None]
            if failed:
                unit, of = failed[0], f" ({len(failed)} of {len(units)} units)" if len(units) > 1 else ""
                hint = "\n".join(f"| {line}" for line in unit.log_tail.splitlines()[-10:]) or None
                name = f" of {quote(unit.name)}" if unit.name else ""
                return StageFailed(f"{item.stage} failed{name}: {unit.problem}{of}", hint=hint)
        return None


def exec_task(
    spec: str,
    options: ExecOptions,
    *,
    environ: Mapping[str, str],
    host: str = "",
    progress: Progress,
) -> ExecTaskResult:
    """Runs what `spec` names: a task in a file, or by its id on the remote, or a list of tasks there, of which each that no other worker has or had runs.

    Results are on the remote when this returns. Raises RemoteError, before anything is fetched, for a remote that does not let this machine
    read and write; ObjectMissing or ObjectCorrupt for files that it lacks or has damaged. A command that fails is in the result.
    """
    started = time.monotonic()
    given = _given_in_file(spec)
    folder = None if options.cache is None else Path(options.cache).absolute()
    try:
        with interruptible(), open_place(options.remote, environ, cache=folder) as remote:
            progress.start(f"looking at {remote.shown}")
            require_access(remote)
            names = [given.id] if given is not None else _chosen(remote, spec, options, environ)
            progress.finish()
            remote.cache.create()
            with _own_folder(remote.cache.folder / _FOLDER) as scratch:
                worker, echo = _worker(options, environ, host), _Lines(progress)
                runner = TaskWorker(remote, remote.cache, scratch / "task", worker, environ, progress, echo=echo.write)
                done = _Turn(remote, runner, worker, given, progress).run(names)
    except Interrupted:
        raise KeyboardInterrupt("the task is free for another worker") from None
    if len(names) == 1 and done[0].state == "held":
        raise Busy(
            f"another worker runs the task {names[0][:12]}", hint="it is free again 3 minutes after that worker died"
        )
    return ExecTaskResult(remote=options.remote, tasks=tuple(done), elapsed_seconds=time.monotonic() - started)


def require_access(remote: Remote) -> None:
    """Raises RemoteError unless this machine may read, write and remove objects there: three requests, before gigabytes are fetched."""
    name, data = f"test/{os.urandom(16).hex()}", os.urandom(16)
    remote.store.put(name, data)
    try:
        if remote.store.get(name, end=len(data) + 1) != data:
            raise RemoteError(f"{remote.store.label} does not return what was written to it", hint="dvlite remote test")
    finally:
        remote.store.delete([name])


class _Turn:
    """The tasks of one command, each looked at until it is known that somebody runs it."""

    def __init__(
        self, remote: Remote, runner: TaskWorker, worker: Worker, given: Task | None, progress: Progress
    ) -> None:
        self._remote, self._runner, self._worker = remote, runner, worker
        self._given, self._progress = given, progress

    def run(self, names: Sequence[str]) -> list[ExecutedTask]:
        """Runs what no other worker has or had. A task that one has is looked at again for as long as a claim holds: that worker may be dead."""
        is_list = len(names) > 1
        done = {key: self._one(key, is_list=is_list) for key in names}
        until = time.monotonic() + on_remote.CLAIM_SECONDS + _POLL_SECONDS
        while (held := [key for key, item in done.items() if item.state == "held"]) and time.monotonic() < until:
            self._progress.start(f"waiting: other workers have {count(len(held), 'task')}")
            time.sleep(_POLL_SECONDS)
            done |= {key: self._one(key, is_list=is_list) for key in held}
        self._progress.finish()
        return list(done.values())

    def _one(self, key: str, *, is_list: bool) -> ExecutedTask:
        remote = self._remote
        item = self._given if self._given is not None else on_remote.read(remote, key)
        seen = on_remote.look(remote, key)
        earlier = list(on_remote.results(remote, seen))
        if any(on_remote.is_done(result, item) for result in earlier):
            return ExecutedTask(task=key, stage=item.stage, state="done before")
        if earlier and is_list:  # its command failed: this list has nothing new for it
            return ExecutedTask(task=key, stage=item.stage, state="failed before")
        if not seen.clones:
            raise UsageError(
                f"the task {key[:12]} was not given out to {remote.store.label}",
                hint="give it out, in the clone: dvlite repro --to k8s",
            )
        held = on_remote.claim(remote, seen, self._worker.name)
        if held is None:
            return ExecutedTask(task=key, stage=item.stage, state="held")
        remote.clone = seen.clones[0]  # that clone's root keeps the outputs until they are taken up
        self._progress.print_line(f"running {item.stage} {key[:12]}")
        result: TaskResult | None = None
        try:
            result = self._runner.run(item)
            on_remote.put_result(remote, result)
        finally:
            held.close(release=result is None or not on_remote.is_done(result, item))
        is_done = on_remote.is_done(result, item)
        return ExecutedTask(task=key, stage=item.stage, state="ran" if is_done else "failed", result=result)


class _Lines:
    """What commands print, shown line by line."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._left = progress, b""

    def write(self, data: bytes) -> None:
        *lines, self._left = (self._left + data).split(b"\n")
        for line in lines:
            self._progress.print_line(printable_text(line.decode("utf-8", "replace")[:_LONGEST_LINE]))
        self._left = self._left[:_LONGEST_LINE]


@contextlib.contextmanager
def _own_folder(above: Path) -> Iterator[Path]:
    """Yields an empty folder of this process alone; removes those of processes that were killed."""
    above.mkdir(parents=True, exist_ok=True)
    for left in above.glob("*.lock"):
        with contextlib.suppress(Busy, OSError), lock(left, wait=False):
            shutil.rmtree(left.with_suffix(""), ignore_errors=True)
            left.unlink()
    folder = above / os.urandom(8).hex()
    mark = folder.with_suffix(".lock")
    try:
        with lock(mark, wait=False):  # before there is a folder that another process could take for one of the dead
            folder.mkdir()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        mark.unlink(missing_ok=True)


def _worker(options: ExecOptions, environ: Mapping[str, str], host: str) -> Worker:
    """Returns who this worker is: under a number that a cluster gives one process at a time, or as this process."""
    user = environ.get("GIT_AUTHOR_EMAIL") or environ.get("USER", "")
    number = options.index_from
    own = f"{os.getpid()}-{os.urandom(4).hex()}"  # in containers of one host, all are process 1
    return Worker(user, host, f"{number} {environ.get(number, '')}" if number else own)


def _given_in_file(spec: str) -> Task | None:
    """Returns the task in a file; None for an id, which no file is called."""
    if os.path.exists(spec) or "/" in spec or not _is_id(spec):
        data = read_regular(Path(spec), spec, tasks.MAX_BYTES + 1, follow=True)  # clusters mount them as links
        if data is None:
            raise UsageError(
                f"there is no file {quote(spec)}, and it is not the id of a task", hint="an id is 64 hex digits"
            )
        return tasks.parse(data, quote(spec))
    return None


def _is_id(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _chosen(remote: Remote, spec: str, options: ExecOptions, environ: Mapping[str, str]) -> Sequence[str]:
    """Returns the tasks that are to be looked at: the one with the number that the environment has, or all, from a random one on."""
    names = on_remote.listed(remote, spec)
    if options.index_from is None:
        start = random.randrange(len(names)) if names else 0  # noqa: S311  # so that workers do not all ask for the same
        return [*names[start:], *names[:start]]
    text = environ.get(options.index_from, "")
    if not text.isdecimal() or not text.isascii() or int(text) >= len(names):
        raise UsageError(
            f"{options.index_from} is {quote(text[:40])}, and there are {len(names)} tasks",
            hint=f"it numbers them from 0: {options.index_from}=0 dvlite exec-task ...",
        )
    return [names[int(text)]]
