"""Where tasks run, as a protocol, and what all executors have in common: units run one after another, what they make goes into a cache.

An executor gets tasks that each stand alone, and returns results whose outputs are objects: in the cache of this clone (local), or on the
remote, from where the execution fetches them, and so hashes them. Knows no stage, no work tree and no remote.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from dvlite import files
from dvlite.errors import FileChanged, FormatError, UsageError
from dvlite.formats.task import MOST_LOG_CHARACTERS, Task, TaskFile, TaskResult, TaskUnit, UnitResult
from dvlite.oid import FILE, Oid, digest_bytes, format_oid
from dvlite.paths import check_paths
from dvlite.pipeline.content import LEFT_OUT
from dvlite.pipeline.task_folder import TaskFolder, UnitEnd
from dvlite.progress import NullProgress
from dvlite.show import quote
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer, version_of_entries
from dvlite.store.pack import KIND_FILE
from dvlite.workspace.hashing import identify
from dvlite.workspace.ingest import CachingReader
from dvlite.workspace.scan import scan

_OPEN_SECONDS = 5.0  # a writer holds the cache's lock, which gc waits for: not while a unit runs for an hour
_NAMES = frozenset(map(os.fsencode, LEFT_OUT))


class TaskExecutor(Protocol):
    """Runs tasks side by side; their ids are unique. Called from one thread."""

    def submit(self, task: Task) -> None:
        """Takes a task and returns at once. Raises DvliteError if it can never run."""

    def wait(self) -> list[TaskResult]:
        """Blocks until at least one task has ended, and returns all that have, each once; nothing if none is left.

        A unit that failed has its problem in the result; of a task that was stopped, or that stops at the first failure, units are absent. Raises DvliteError
        for what stops all: a full disk, a remote that cannot be reached.
        """

    def stop(self) -> list[TaskResult]:
        """Stops all tasks and what they started; returns the results of units that are done, as far as they are at hand. Idempotent."""


class UnitTaker:
    """Takes outputs and logs into a cache; they are durable and visible after `commit`, which the end of the context calls.

    Small outputs of many units become one pack, with one sync.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._writer: Writer | None = None
        self._stack = contextlib.ExitStack()
        self._opened = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if kind is None:
                self.commit()

    def commit(self) -> None:
        """Makes all that was taken durable. Raises DvliteError."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.commit()
            self._stack.close()

    def commit_if_due(self) -> None:
        """Does so if the first of what was taken is some seconds old."""
        if self._writer is not None and time.monotonic() - self._opened > _OPEN_SECONDS:
            self.commit()

    def output(self, folder: TaskFolder, out: str) -> TaskFile:
        """Takes what a unit made at one path. Raises DvliteError for what no version can hold."""
        place, writer = folder.path(out), self._open()
        status = os.lstat(place)
        if not stat.S_ISREG(status.st_mode):
            return self._folder(place, out, writer)
        executable = bool(status.st_mode & stat.S_IXUSR)
        if status.st_size <= self._cache.pack_below_bytes:
            descriptor = os.open(place, files.READ | files.NO_FOLLOW)
            try:
                raw = files.read_at(descriptor, status.st_size)
            finally:
                os.close(descriptor)
            digest = digest_bytes(raw)
            writer.put(KIND_FILE, digest, raw)
            return TaskFile(path=out, oid=format_oid(FILE, digest), size_bytes=len(raw), executable=executable)
        if status.st_dev == self._cache.folder.stat().st_dev:
            taken = writer.temporary()  # it keeps its bytes until `commit`, and the folder is cleared before
            os.rename(place, taken)
            digest, size_bytes = writer.put_file(taken)
        else:
            size_bytes = status.st_size
            with open(place, "rb", opener=files.open_without_waiting) as file:
                digest = writer.put_large(file.fileno(), out)
        return TaskFile(path=out, oid=format_oid(FILE, digest), size_bytes=size_bytes, executable=executable)

    def _folder(self, place: Path, out: str, writer: Writer) -> TaskFile:
        found = scan(place, out, None, _NAMES, NullProgress())
        if found is None:
            raise FileChanged(f"{quote(out)} is gone")
        reader = CachingReader(self._cache, writer, place.parent, out)
        entries = identify(found, None, NullProgress(), reader, patient=False).entries()
        check_paths(entries.paths)
        version = version_of_entries(entries, writer)
        return TaskFile(path=out, oid=version.oid, size_bytes=version.size_bytes, files=version.files or 0)

    def log(self, data: bytes) -> Oid | None:
        """Takes what a unit printed; None for nothing."""
        if not data:
            return None
        writer = self._open()
        if len(data) <= self._cache.pack_below_bytes:
            digest = digest_bytes(data)
            writer.put(KIND_FILE, digest, data)
        else:
            temporary = writer.temporary()
            files.write_atomic(temporary, data, sync=False)
            digest, _ = writer.put_file(temporary)
        return format_oid(FILE, digest)

    def _open(self) -> Writer:
        if self._writer is None:
            self._writer = self._stack.enter_context(Writer(self._cache))
            self._opened = time.monotonic()
        return self._writer


@dataclass(frozen=True, slots=True)
class UnitOptions:
    """How units run: all of them, or (not `keep_going`) up to the first that fails; `done` is called with each result, before it is durable."""

    keep_going: bool = True
    done: Callable[[UnitResult], None] = lambda _: None


def run_units(task: Task, folder: TaskFolder, taker: UnitTaker, options: UnitOptions | None = None) -> list[UnitResult]:
    """Runs the units of a task in a folder that serves it, and returns how each ended; what they made is durable once `taker` was committed.

    Raises DvliteError for what is no fault of a unit (a full disk), Interrupted if the command ends.
    """
    options = options or UnitOptions()
    results: list[UnitResult] = []
    for unit in task.units:
        result = _result(unit, folder, taker, folder.run(unit))
        results.append(result)
        options.done(result)
        taker.commit_if_due()
        if result.problem is not None and not options.keep_going:
            break
    folder.clear()
    return results


def _result(unit: TaskUnit, folder: TaskFolder, taker: UnitTaker, end: UnitEnd) -> UnitResult:
    problem = end.problem
    outputs: tuple[TaskFile, ...] = ()
    if problem is None:
        try:
            outputs = tuple(taker.output(folder, out) for out in unit.outs)
        except OSError as error:
            raise files.os_error(error, "take", unit.outs[0]) from error
        except (UsageError, FormatError, FileChanged) as error:  # of what it made
            problem = error.message
    if problem is not None and end.tries > 1:
        problem = f"{problem}, {end.tries} times"
    ended = end.ended
    keeps_log = problem is not None or not unit.name  # of a datum that is done it would cost more than what it made
    return UnitResult(
        name=unit.name,
        problem=problem,
        exit_code=ended.exit_code,
        signal=ended.signal,
        seconds=round(ended.seconds, 6),
        cpu_seconds=round(ended.cpu_seconds, 6),
        max_rss_bytes=ended.max_rss_bytes,
        log=taker.log(end.log) if keeps_log else None,
        log_tail="" if problem is None else end.log.decode("utf-8", "replace")[-MOST_LOG_CHARACTERS:],
        outputs=outputs,
    )
