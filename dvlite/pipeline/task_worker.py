"""What a machine without a clone does with a task: fetch its files from a remote, run it in an empty folder, publish what it made.

All by content: files are hashed as they come in, outputs as they go out. Publishes as a push does, with a root of the clone that the
remote was opened for. Writes no result: that is the caller's.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dvlite import __version__
from dvlite.errors import DvliteError, ObjectMissing
from dvlite.formats.record import time_text
from dvlite.formats.snapshot import Version, version_of
from dvlite.formats.task import Task, TaskFile, TaskResult, UnitResult
from dvlite.oid import FILE, parse_oid
from dvlite.pipeline.environment import captured_now, machine_of
from dvlite.pipeline.task_folder import COPIED_BYTES, TaskFolder
from dvlite.pipeline.tasks import UnitTaker, run_units
from dvlite.progress import Progress
from dvlite.show import quote, some
from dvlite.store import push_protocol
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.push_plan import no_bases
from dvlite.store.push_protocol import RootAuthor
from dvlite.store.remote import Remote
from dvlite.workspace.export import lay_out
from dvlite.workspace.fetch import FetchRequest, fetch_versions
from dvlite.workspace.workspace import entries_of


@dataclass(frozen=True, slots=True)
class Worker:
    """Who runs tasks, and where: what stands in results."""

    user: str
    host: str
    name: str


class TaskWorker:
    """Runs tasks of one remote, one at a time, with a cache of its own. `environ` is what commands see; `scratch`, which is made and removed, where they run.

    `is_over` is asked whether the task is to be stopped: then `run` raises Interrupted, and nothing runs any more. `echo` gets what commands print.
    """

    def __init__(
        self,
        remote: Remote,
        cache: Cache,
        scratch: Path,
        worker: Worker,
        environ: Mapping[str, str],
        progress: Progress,
        *,
        is_over: Callable[[], bool] = lambda: False,
        echo: Callable[[bytes], None] | None = None,
    ) -> None:
        self._remote, self._cache, self._scratch = remote, cache, scratch
        self._worker, self._progress = worker, progress
        self._environ = {
            "PYTHONDONTWRITEBYTECODE": "1",
            **environ,
        }  # folders of code are inputs, which stay as they are
        self._is_over, self._echo = is_over, echo

    def run(self, task: Task) -> TaskResult:
        """Runs a task; what it made is on the remote when this returns, durably.

        Raises ObjectMissing or ObjectCorrupt for files that the remote lacks or has damaged, DvliteError for a machine that is not like the
        one that the task was made for; a command that fails is in the result.
        """
        started_ns, began = time.time_ns(), time.monotonic()
        require_captured(task, self._scratch.parent, self._environ)
        self._fetch(task)
        inputs = self._scratch / "inputs"
        inputs.mkdir(parents=True)
        try:
            places = _Places(task, self._cache, inputs, self._progress)
            run = self._scratch / "run"
            folder = TaskFolder(run, task, places.locate, self._environ, is_over=self._is_over, echo=self._echo)
            with folder, UnitTaker(self._cache) as taker:
                units = run_units(task, folder, taker)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._publish(task, units)
        return TaskResult(
            task=task.id,
            units=tuple(units),
            user=self._worker.user,
            host=self._worker.host,
            worker=self._worker.name,
            start=time_text(started_ns),
            seconds=round(time.monotonic() - began, 3),
            environment=machine_of(self._environ),
            dvlite=__version__,
        )

    def _fetch(self, task: Task) -> None:
        wanted = {(file.path, file.oid): file for file in _files_of(task)}
        parts = [FetchRequest(file.path, file.pointer()) for file in wanted.values() if not _is_here(self._cache, file)]
        if not parts:
            return
        catalog = Catalog(self._remote, self._progress, to_read=True).look()
        got = fetch_versions(catalog, self._cache, parts, self._progress)
        self._progress.finish()
        self._cache.refresh_if_changed()
        if got.missing:
            paths = [path for lacking in got.missing.values() for path in lacking]
            named = f"cannot fetch {some([quote(path) for path in paths])} of the task from {self._remote.store.label}"
            if got.damage is not None:
                raise type(got.damage)(f"{named}: {got.damage.message}", hint=got.damage.hint)
            raise ObjectMissing(f"{named}: it is not there", hint="give the task out again: dvlite repro")

    def _publish(self, task: Task, units: Iterable[UnitResult]) -> None:
        versions: dict[str, Version] = {}
        logs = []
        for unit in units:
            for file in unit.outputs:
                versions[file.path] = version_of(file.path, file.pointer())
            if unit.log is not None:
                digest = parse_oid(unit.log)[1]
                logs.append((digest, len(self._cache.read_file(digest, 0))))
        if not versions and not logs:
            return
        self._cache.refresh_if_changed()
        signer = RootAuthor(task.project, self._worker.user, dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "")
        catalog = Catalog(self._remote, self._progress).look()
        push_protocol.run(
            catalog,
            self._cache,
            [versions[path] for path in sorted(versions)],
            no_bases,
            lambda _path: (),
            signer,
            self._progress,
            also=logs,
        )


class _Places:
    """Where the files of a task are on this machine; folders, with what lies in them, are laid out once each."""

    def __init__(self, task: Task, cache: Cache, folder: Path, progress: Progress) -> None:
        self._task, self._cache, self._folder, self._progress = task, cache, folder, progress
        self._laid_out: dict[str, Path] = {}

    def locate(self, file: TaskFile) -> Path | bytes:
        """Returns the bytes of a small file, else where it is."""
        kind, digest = parse_oid(file.oid)
        if kind != FILE:
            return self._folder_of(file)
        if file.size_bytes <= COPIED_BYTES:
            return self._cache.read_file(digest, file.size_bytes)
        return self._laid(file)  # a copy: a command that writes to what it reads must not reach the cache

    def _folder_of(self, file: TaskFile) -> Path:
        place = self._laid(file)
        for inner in self._task.files:
            if inner.path.startswith(f"{file.path}/"):
                target = place / inner.path[len(file.path) + 1 :]
                if not os.path.lexists(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._write(inner, target)
        return place

    def _laid(self, file: TaskFile) -> Path:
        place = self._laid_out.get(f"{file.oid} {file.executable}")
        if place is None:
            place = self._laid_out[f"{file.oid} {file.executable}"] = self._folder / str(len(self._laid_out))
            self._write(file, place)
        return place

    def _write(self, file: TaskFile, target: Path) -> None:
        lay_out(file.pointer(), file.path, self._cache, target, self._progress)


def require_captured(task: Task, folder: Path, environ: Mapping[str, str]) -> None:
    """Raises DvliteError if a value that the stage asks to record is another one here: the result would be another stage's."""
    if not task.capture:
        return
    folder.mkdir(parents=True, exist_ok=True)
    now = captured_now(task.capture, folder, {**environ, **task.env})
    for name, wanted in task.capture.items():
        if now[name] != wanted:
            raise DvliteError(
                f"this machine differs from the one that the task was made on: {name} is {quote(now[name])}, not {quote(wanted)}",
                hint="give workers the same environment, or take it out of 'capture' of the stage",
            )


def _files_of(task: Task) -> Iterator[TaskFile]:
    yield from task.files
    for unit in task.units:
        yield from unit.inputs


def _is_here(cache: Cache, file: TaskFile) -> bool:
    kind, digest = parse_oid(file.oid)
    if kind == FILE:
        return cache.has_file(digest, file.size_bytes)
    try:
        return cache.has_all(entries_of(file.pointer(), cache))
    except DvliteError:
        return False
