"""Gives tasks to the workers of a Dask cluster (docs/how-to/clusters.md). The only module that knows Dask; it is loaded by the workers too.

A worker gets a task as text, and the place of the remote without any secret; it answers with text. All else goes over the remote. What
Dask calls a key follows from the id of the task, so a task that two clients want runs once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dvlite.errors import DvliteError, PartlyDone, RemoteError, UsageError, reason_of
from dvlite.formats import strict_json
from dvlite.formats import task as tasks
from dvlite.formats.task import Task, TaskResult, UnitResult
from dvlite.pipeline.environment import visible_gpus
from dvlite.pipeline.executor import Interrupted
from dvlite.pipeline.slots import GPU_VARIABLE
from dvlite.pipeline.task_worker import TaskWorker, Worker
from dvlite.progress import NullProgress, Progress
from dvlite.show import count, printable, quote
from dvlite.store import tasks as on_remote
from dvlite.store.cache import Cache
from dvlite.store.remote import Remote, open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import parse_url

_CONNECT_SECONDS = 20
_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 10.0  # after which is reported what tasks wait for
_RETRIES = 2  # of a task whose worker cannot fetch or publish: another one may
_CONNECTIONS = 8  # of one task with the remote
_CLOSING_SECONDS = 1.0  # until a worker that ends gets no task any more
_RUNNING = frozenset({"executing", "long-running", "resumed"})
_CLOSING = frozenset({"closing", "closed", "failed", "stopped", "stopping"})
_RESOURCES = ("cpu", "memory", "gpu")


@dataclass(frozen=True, slots=True)
class SharedRemote:
    """Where the remote is that workers take inputs from and leave outputs on. `options` hold no secret: credentials are the workers' own.

    `clone` gave the tasks out, with roots of which the outputs are kept; `reuses`: results that are on the remote are taken for new ones.
    """

    url: str
    options: Mapping[str, str]
    key: str
    clone: str
    user: str
    retry_seconds: float
    reuses: bool

    def text(self) -> str:
        """Returns what a worker is sent."""
        names = ("url", "key", "clone", "user", "retry_seconds", "reuses")
        return strict_json.dump(
            {"options": dict(self.options), **{name: getattr(self, name) for name in names}}
        ).decode()


@contextlib.contextmanager
def _connected(address: str, jobs: int | None, folder: Path) -> Iterator[Any]:
    """Opens a client of the cluster at an address; without one, of a cluster on this machine that runs `jobs` tasks at a time, in `folder`.

    Raises UsageError without the package, RemoteError for a scheduler that does not answer.
    """
    distributed = _package()
    with contextlib.ExitStack() as stack:
        for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what is lost is reported by `wait`
        if not address:
            place = stack.enter_context(_local(distributed, jobs or os.cpu_count() or 1, folder))
        else:
            place = address
        where = {"scheduler_file": place} if address.endswith(".json") else {"address": place}
        try:
            client = distributed.Client(**where, set_as_default=False, timeout=_CONNECT_SECONDS, name="dvlite")
        except (OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
            text = reason_of(error) if isinstance(error, OSError) else "".join(map(str, error.args))
            reason = printable(text.partition("\n")[0]) or type(error).__name__
            raise RemoteError(
                f"cannot reach the Dask scheduler at {quote(address)}: {reason}",
                hint="is it running, and is this its address? For example: dvlite repro --on dask:tcp://HOST:8786",
            ) from None
        stack.callback(client.close, timeout=2)
        yield client


@contextlib.contextmanager
def _local(distributed: Any, jobs: int, folder: Path) -> Iterator[Any]:
    """Runs a scheduler and one worker, watched by a nanny, that other machines cannot reach."""
    folder.mkdir(parents=True, exist_ok=True)
    gpus = len(visible_gpus(os.environ))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cluster = distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=jobs,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # None would be port 8787 on all addresses
        worker_dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        local_directory=os.fspath(folder),
        memory_limit=0,  # commands are processes of their own, which it would not count
        resources={"cpu": os.cpu_count() or 1, "memory": memory, "GPU": gpus},
    )
    try:
        yield cluster
    finally:
        cluster.close(timeout=_CONNECT_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class DaskPlace:
    """The cluster at an address, or ('') one on this machine, which runs `jobs` tasks at a time and keeps its files in `folder`."""

    address: str
    jobs: int | None
    folder: Path


class DaskTasks:
    """A TaskExecutor, and a context manager: it connects when the first task is given out. `remote` is what workers have in common with this machine."""

    def __init__(self, place: DaskPlace, remote: SharedRemote, progress: Progress) -> None:
        self._place, self._address, self._progress = place, place.address, progress
        self._remote = remote.text()
        self._stack = contextlib.ExitStack()
        self._connection: Any = None
        self._open: dict[str, tuple[Task, Any]] = {}  # by Dask's key, with the future
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._given = 0
        self._offered: dict[str, str] = {}  # what workers call the resources that they have
        self._looked = float("-inf")
        self._quiet_since = time.monotonic()
        self._reported: set[str] = set()
        self.done_by: Counter[str] = Counter()  # tasks, by worker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._stack.close()

    @property
    def _client(self) -> Any:
        if self._connection is None:
            place = self._place
            self._progress.start(f"connecting to {place.address}" if place.address else "starting Dask")
            self._connection = self._stack.enter_context(_connected(place.address, place.jobs, place.folder))
            self._progress.finish()
        return self._connection

    def submit(self, task: Task) -> None:
        """Gives a task out; those that were given out first run first."""
        text = tasks.checked(task).decode()
        key = f"dvlite-{task.stage}-{task.id[:32]}"
        self._given += 1
        self._require_alive()
        future = self._client.submit(
            work,
            text,
            self._remote,
            key=key,
            pure=False,
            retries=_RETRIES,
            priority=-self._given,
            resources=self._wanted(task),
        )
        self._open[key] = task, future
        future.add_done_callback(lambda _: self._ended.put(key))

    def is_ready(self) -> bool:
        """Returns whether `wait` would return at once."""
        return not self._ended.empty() or (self._connection is not None and self._connection.status != "running")

    def wait(self) -> list[TaskResult]:
        """Returns how tasks ended, at least one if any is left. Raises PartlyDone if the scheduler is lost."""
        results: list[TaskResult] = []
        while self._open and not results:
            with contextlib.suppress(queue.Empty):
                keys = [self._ended.get(timeout=_LOOK_SECONDS)]
                while not self._ended.empty():
                    keys.append(self._ended.get())
                results = [self._result(*self._open.pop(key)) for key in keys if key in self._open]
            self._require_alive()
            self._report_what_is_missing()
        self._quiet_since = time.monotonic()
        self.done_by.update(result.worker for result in results)
        return results

    def stop(self) -> list[TaskResult]:
        """Takes all tasks back; workers end what runs for them. Idempotent."""
        futures = [future for _, future in self._open.values()]
        self._open.clear()
        if futures:
            with contextlib.suppress(Exception):  # the scheduler is gone: the workers end by themselves
                self._client.cancel(futures)
        return []

    def take_back(self, ids: Collection[str]) -> None:
        """Takes some tasks back."""
        keys = [key for key, (task, _) in self._open.items() if task.id in ids]
        futures = [self._open.pop(key)[1] for key in keys]
        if futures:
            with contextlib.suppress(Exception):
                self._client.cancel(futures)

    def slots(self) -> int:
        """Returns how many tasks run at a time now: the threads of all workers."""
        return max(1, sum(int(worker.get("nthreads", 1)) for worker in self._workers()))

    def _result(self, task: Task, future: Any) -> TaskResult:
        if future.status == "finished":
            try:
                result = tasks.parse_result(str(future.result()).encode(), "the result of a worker")
                if result.task == task.id:
                    return result
                problem = "its worker answered with the result of another task"
            except DvliteError as error:
                problem = error.message
        elif future.status == "error":
            problem = self._why(future.exception())
        else:
            self._require_alive()
            problem = "its task was taken back by another program"
        return TaskResult(task=task.id, units=tuple(UnitResult(name=unit.name, problem=problem) for unit in task.units))

    def _why(self, error: BaseException) -> str:
        """Returns why a task failed without a result of its own, in one line."""
        if isinstance(error, DvliteError):
            return f"{error.message} ({error.hint})" if error.hint else error.message
        if type(error).__name__ == "KilledWorker":
            return "each worker that ran it died: it may need more memory than they have"
        if isinstance(error, ImportError):
            return f"the worker has another dvlite, or none ({printable(str(error))}): pip install 'dvlite[dask]' there"
        return printable(f"{type(error).__name__}: {error}".partition("\n")[0])

    # -- the cluster

    def _require_alive(self) -> None:
        if self._client.status != "running":
            where = f"at {quote(self._address)}" if self._address else "on this machine"
            raise PartlyDone(
                f"lost the Dask scheduler {where}, while {count(len(self._open), 'task')} ran",
                hint="when it is back, run the same command again: what workers have finished is taken up",
            )

    def _wanted(self, task: Task) -> dict[str, float]:
        """Returns what a task asks of a worker; CPUs and memory count where workers offer them by these names, GPUs always."""
        offered = self._offers()
        asked = {"cpu": task.cpu, "memory": task.memory_bytes, "gpu": task.gpu or 0}
        names = {"gpu": "GPU", **offered}
        return {names[name]: amount for name, amount in asked.items() if amount and name in names}

    def _offers(self) -> Mapping[str, str]:
        if time.monotonic() - self._looked > _PATIENCE_SECONDS or not self._offered:
            self._looked = time.monotonic()
            workers = self._workers()
            names = {name for worker in workers for name, amount in worker.get("resources", {}).items() if amount}
            self._offered = {name.lower(): name for name in names if name.lower() in _RESOURCES}
        return self._offered

    def _workers(self) -> list[Mapping[str, Any]]:
        with contextlib.suppress(Exception):  # asked for advice only
            return [*self._client.scheduler_info()["workers"].values()]
        return []

    def _report_what_is_missing(self) -> None:
        """Reports once that there is no worker, or none that has what a task asks for."""
        if time.monotonic() - self._quiet_since < _PATIENCE_SECONDS:
            return
        self._quiet_since = time.monotonic()
        workers, text = self._workers(), ""
        names = {name for worker in workers for name, amount in worker.get("resources", {}).items() if amount}
        lacking = {name for task, _ in self._open.values() for name in self._wanted(task)} - names
        if not workers:
            text = f"{count(len(self._open), 'task')} waiting: the Dask cluster has no worker now"
        elif lacking:
            name = min(lacking)
            text = f"tasks are waiting for a worker with {name}: dask worker {self._address or 'ADDRESS'} --resources {name}=1"
        if text and text not in self._reported:
            self._reported.add(text)
            self._progress.warn(text)


def _package() -> Any:
    try:
        import distributed
    except ImportError:
        raise UsageError(
            "--on dask needs the package distributed, which is not installed", hint="pip install 'dvlite[dask]'"
        ) from None
    return distributed


# --- on a worker ----------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Gpus:
    """The GPUs of this worker's process, shared by the tasks in its threads."""

    taken: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def variables(self, wanted: int | None) -> Iterator[Mapping[str, str]]:
        """Yields the variables that a command gets, for so many GPUs; None: all, and so it is with a worker that shows too few."""
        visible = visible_gpus(os.environ)
        with self.lock:
            free = [name for name in visible if name not in self.taken]
            own: Sequence[str] = free[:wanted] if wanted is not None and wanted <= len(free) else ()
            self.taken.update(own)
        try:
            yield {GPU_VARIABLE: ",".join(own)} if own or (wanted == 0 and visible) else {}
        finally:
            with self.lock:
                self.taken.difference_update(own)


_GPUS = _Gpus()


def work(spec: str, remote: str) -> str:
    """Does a task in a thread of a Dask worker, with a cache in the worker's own folder; stops if no client waits for it any more."""
    distributed = _package()
    worker = distributed.get_worker()
    key, place = worker.get_current_task(), Path(worker.local_directory)

    def is_over() -> bool:
        state = worker.state.tasks.get(key)
        return state is None or state.state not in _RUNNING or worker.status.name in _CLOSING

    problem: BaseException | None = None
    try:
        text = do_task(spec, remote, place / "dvlite", str(worker.name), is_over)
        if place.is_dir() or on_remote.is_done(
            tasks.parse_result(text.encode(), "it"), tasks.parse(spec.encode(), "it")
        ):
            return text
    except (DvliteError, OSError, Interrupted) as error:
        problem = error
    if problem is not None and place.is_dir() and worker.status.name not in _CLOSING:
        raise problem
    time.sleep(_CLOSING_SECONDS)  # a worker that ends removes its folder under what still runs: no fault of the task
    raise distributed.Reschedule


def do_task(spec: str, remote: str, folder: Path, name: str, is_over: Callable[[], bool]) -> str:
    """Does a task, unless its result is on the remote; returns the result, which is on the remote then if all its units are done.

    Raises DvliteError for what is no fault of a unit, Interrupted once `is_over`.
    """
    settings = strict_json.parse(remote.encode(), "the remote of a task", limit_bytes=1 << 20, floats=True)
    task = tasks.parse(spec.encode(), "a task")
    cache = Cache(folder / "cache")
    cache.create()
    with _opened(settings, cache) as opened:
        if settings["reuses"]:
            seen = on_remote.look(opened, task.id)
            done = next((result for result in on_remote.results(opened, seen) if on_remote.is_done(result, task)), None)
            if done is not None:
                return tasks.dump_result(done).decode()
        who = Worker(str(settings["user"]), platform.node(), name)
        scratch = folder / f"task-{task.id[:12]}-{threading.get_ident()}"
        with _GPUS.variables(task.gpu) as variables:
            environ = {**os.environ, **variables}
            result = TaskWorker(opened, cache, scratch, who, environ, NullProgress(), is_over=is_over).run(task)
        if on_remote.is_done(result, task):
            on_remote.put_result(opened, result)
    return tasks.dump_result(result).decode()


def _opened(settings: Mapping[str, Any], cache: Cache) -> Remote:
    location = parse_url(str(settings["url"]), Path.cwd())
    options = {str(name): str(value) for name, value in settings["options"].items()}
    budget = RetryBudget(float(settings["retry_seconds"]))
    store = open_store(location, options, budget=budget, connections=_CONNECTIONS)
    return Remote(store, cache, str(settings["key"]), jobs=_CONNECTIONS, clone=str(settings["clone"]))
