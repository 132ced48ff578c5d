"""The executor of this machine for tasks: threads that each keep a folder, a guard and, for functions, a Python from one task to the next."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, FileChanged, ObjectMissing
from dvlite.formats import record
from dvlite.formats.task import Task, TaskFile, TaskResult, UnitResult
from dvlite.oid import FILE, MANIFEST, digest_path, format_oid, parse_oid
from dvlite.pipeline.executor import Interrupted
from dvlite.pipeline.task_folder import COPIED_BYTES, TaskFolder
from dvlite.pipeline.tasks import UnitOptions, UnitTaker, run_units
from dvlite.progress import NullProgress
from dvlite.show import quote, word
from dvlite.store.cache import Cache
from dvlite.workspace.export import lay_out

_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How tasks run here: in folders below `folder`, `variables` of each worker (as many as there are), up to the first failure or not.

    `done` is called from any thread, with the number of the worker, for each unit that ended.
    """

    folder: Path
    environ: Mapping[str, str]
    variables: tuple[Mapping[str, str], ...]
    keep_going: bool = False
    done: Callable[[int, UnitResult], None] = lambda *_: None
    is_over: Callable[[], bool] = lambda: False


class LocalFiles:
    """Where the files of tasks are: in the work tree, and what is not there in the cache; what changed since `began` is hashed again."""

    def __init__(self, root: Path, cache: Cache, began_ns: int, folders: Path) -> None:
        self._root, self._cache, self._began_ns = os.fspath(root), cache, began_ns
        self._folders = folders  # for folders that are in the cache only

    def locate(self, file: TaskFile) -> str | Path | bytes:
        """Returns where a file or folder is, or its bytes. Raises FileChanged or ObjectMissing."""
        place = f"{self._root}/{file.path}"
        try:
            status = os.stat(place)
        except OSError:
            return self._cached(file)
        if not file.oid.startswith(FILE):
            return place
        if file.size_bytes > COPIED_BYTES and max(status.st_mtime_ns, status.st_ctime_ns) > self._began_ns:
            digest, _ = digest_path(Path(place))
            if format_oid(FILE, digest) != file.oid:
                raise FileChanged(f"its input {quote(file.path)} changed since the run began")
        return place

    def _cached(self, file: TaskFile) -> Path | bytes:
        kind, digest = parse_oid(file.oid)
        try:
            if kind == FILE and file.size_bytes <= COPIED_BYTES and not self._cache.has_large(digest, file.size_bytes):
                return self._cache.read_file(digest, file.size_bytes)
            if kind == FILE and self._cache.has_large(digest, file.size_bytes):
                return self._cache.large_path(digest)
            if kind == MANIFEST:
                return self._laid_out(file)
        except ObjectMissing:
            pass
        raise ObjectMissing(
            f"{quote(file.path)} is neither on disk nor in the cache",
            hint=f"dvlite pull {word(file.path)}, or dvlite repro --pull",
        )

    def _laid_out(self, file: TaskFile) -> Path:
        """Returns a folder with the content of a version, written once."""
        place = self._folders / file.pointer().digest.hex()
        if not place.exists():
            temporary = self._folders / files.temporary_name()
            self._folders.mkdir(parents=True, exist_ok=True)
            lay_out(file.pointer(), file.path, self._cache, temporary, NullProgress())
            with contextlib.suppress(OSError):  # another worker was faster
                os.rename(temporary, place)
        return place


class LocalTasks:
    """A TaskExecutor. Each worker has a cache of its own from `open_cache`; a context manager, at whose end nothing runs."""

    def __init__(self, open_cache: Callable[[], Cache], root: Path, options: LocalOptions) -> None:
        self._open_cache, self._root, self._options = open_cache, root, options
        self._began_ns = time.time_ns()
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[TaskResult | BaseException] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._left = 0  # tasks without a result
        self._folders: dict[int, TaskFolder] = {}
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"worker {number}", daemon=True)
            for number in range(len(options.variables))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Takes a task."""
        self._left += 1
        self._tasks.put(task)

    def wait(self) -> list[TaskResult]:
        """Returns the tasks that have ended. Raises what stopped a worker."""
        results: list[TaskResult] = []
        while self._left and not results:
            with contextlib.suppress(queue.Empty):
                self._take(self._results.get(timeout=_LOOK_SECONDS), results)
            if self._options.is_over():
                raise Interrupted("the command ends")
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._results.get_nowait(), results)
        return results

    def _take(self, item: TaskResult | BaseException, results: list[TaskResult]) -> None:
        self._left -= 1
        if isinstance(item, BaseException):
            raise item
        results.append(item)

    def stop(self) -> list[TaskResult]:
        """Stops the workers; returns the results of units that are done. A second Ctrl-C ends what runs at once."""
        self._stopping.set()
        for _ in self._threads:
            self._tasks.put(None)
        try:
            self._join()
        except (KeyboardInterrupt, Interrupted):
            for folder in list(self._folders.values()):
                for pid in folder.pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
            self._join()
        results: list[TaskResult] = []
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._results.get_nowait()
                if isinstance(item, TaskResult):
                    results.append(item)
        self._left = 0
        return results

    def _join(self) -> None:
        while any(thread.is_alive() for thread in self._threads):
            self._threads[0].join(_LOOK_SECONDS)
            for thread in self._threads[1:]:
                thread.join(0.001)

    # -- in a thread

    def _work(self, number: int) -> None:
        cache = self._open_cache()
        files_here = LocalFiles(self._root, cache, self._began_ns, self._options.folder / "inputs")
        environ = {**self._options.environ, **self._options.variables[number]}
        with contextlib.ExitStack() as stack:
            while (task := self._tasks.get()) is not None and not self._stopping.is_set():
                try:
                    cache.refresh_if_changed()
                    folder = self._folders.get(number)
                    if folder is None or not folder.serves(task):
                        self._folders.pop(number, None)
                        stack.close()
                        place = self._options.folder / files.temporary_name()
                        folder = TaskFolder(place, task, files_here.locate, environ, is_over=self._stopping.is_set)
                        self._folders[number] = stack.enter_context(folder)
                    self._results.put(self._run(number, task, folder, cache))
                except (DvliteError, OSError) as error:
                    self._results.put(error)
                except BaseException as error:  # the main thread raises it
                    self._results.put(error)
                    raise

    def _run(self, number: int, task: Task, folder: TaskFolder, cache: Cache) -> TaskResult:
        done: list[UnitResult] = []

        def note(result: UnitResult) -> None:
            done.append(result)
            self._options.done(number, result)

        started, started_ns = time.monotonic(), time.time_ns()
        with UnitTaker(cache) as taker, contextlib.suppress(Interrupted):
            run_units(task, folder, taker, UnitOptions(keep_going=self._options.keep_going, done=note))
        return TaskResult(
            task="",  # it goes nowhere: the names of its units say what it is
            units=tuple(done),
            host=socket.gethostname(),
            worker=str(number + 1),
            start=record.time_text(started_ns),
            seconds=time.monotonic() - started,
        )
