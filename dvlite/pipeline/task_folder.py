"""Runs the units of a task in a folder that holds what the task declares and nothing else, whatever the executor (docs/explanation/pipelines.md).

Where bytes are on this machine, the caller says; what a unit made lies in the folder until the next one runs. Knows no store and no
repository. Used from one thread.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from dvlite import files
from dvlite.errors import FileChanged
from dvlite.formats.map_stage import script
from dvlite.formats.task import Task, TaskFile, TaskUnit
from dvlite.oid import FILE, digest_bytes, format_oid
from dvlite.paths import ancestors
from dvlite.pipeline.content import LEFT_OUT
from dvlite.pipeline.executor import Ended
from dvlite.pipeline.process import shell_command
from dvlite.pipeline.unit_process import CappedLog, Returned, UnitProcesses, was_guard_lost
from dvlite.show import printable, quote

COPIED_BYTES = 1 << 20  # larger files, and folders, are linked to where they are
LISTS = "__lists__"  # of the values of a function: the names of those that are passed as lists
_FULL_BYTES = 1 << 20  # a disk with less free space is full

# Where the bytes of a file or folder are on this machine, or (of one up to COPIED_BYTES) these. Raises DvliteError, for the unit
Locate = Callable[[TaskFile], "str | Path | bytes"]


@dataclass(frozen=True, slots=True)
class UnitEnd:
    """How a unit ended: with a `problem`, or with all its outputs in the folder."""

    problem: str | None
    ended: Ended
    log: bytes = b""  # what it printed, capped
    tries: int = 1


class TaskFolder:
    """One folder, for the units of tasks that differ in nothing but these; a context manager, which removes it.

    `environ` is the environment of the machine; `is_over` is asked whether the command ends: then `run` raises Interrupted. `echo` gets what
    units print as they print it.
    """

    def __init__(
        self,
        place: Path,
        task: Task,
        locate: Locate,
        environ: Mapping[str, str],
        *,
        is_over: Callable[[], bool] = lambda: False,
        echo: Callable[[bytes], None] | None = None,
    ) -> None:
        self._place_of_all, self._task, self._locate = place, task, locate
        self._root = os.fspath(place)
        self._environ = {
            "PYTHONUNBUFFERED": "1",
            **environ,
            **task.env,
            "DVLITE_STAGE": f"{posixpath.dirname(task.file)}:{task.stage}".lstrip(":"),
            "DVLITE_KEY": task.key,
        }
        self._folder_of_command = place / task.wdir
        self._log = CappedLog(echo=echo)
        self._processes = UnitProcesses(self._log, is_over)
        self._placed: dict[str, tuple[int, ...]] = {}  # files and links, with what changes if they are written
        self._links: dict[str, str | Path] = {}
        self._folders: set[str] = set()
        self._of_unit: list[str] = []  # what was placed, and the folders made, for one unit
        self._unit: TaskUnit | None = None

    def __enter__(self) -> Self:
        try:
            self._place_of_all.mkdir(parents=True)
            self._make_folder(self._task.wdir)
            for file in self._task.files:
                self._place(file)
        except OSError as error:
            self.__exit__()
            raise files.os_error(error, "make the folder of a task in", self._place_of_all.parent) from error
        except BaseException:
            self.__exit__()
            raise
        self._of_unit.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def serves(self, task: Task) -> bool:
        """Returns whether the units of another task can run here too."""
        return replace(task, units=self._task.units) == self._task

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run for it now."""
        return self._processes.pids

    def path(self, out: str) -> Path:
        """Returns where an output of the unit that ran last is."""
        return self._place_of_all / out

    def run(self, unit: TaskUnit) -> UnitEnd:
        """Runs a unit, again up to the task's `retries` if it fails; removes what the one before it left.

        Raises NoSpace if the folder cannot be filled, Interrupted if the command ends.
        """
        tries = 0
        while True:
            tries += 1
            end = self._try(unit)
            while was_guard_lost(end.ended):
                end = self._try(unit)  # it is not the unit that failed
            if end.problem is None or tries > self._task.retries:
                return end if tries == 1 else replace(end, tries=tries)

    def clear(self, unit: TaskUnit | None = None) -> None:
        """Removes what the last unit was given and made, but for folders that the next one needs."""
        before, self._unit = self._unit, unit
        if before is None:
            return
        for out in before.outs:
            _remove(f"{self._root}/{out}")
        needed: set[str] = set()
        if unit is not None:
            needed.update(*(ancestors(path) for path in (*(file.path for file in unit.inputs), *unit.outs)))
        stays = []
        for path in reversed(self._of_unit):
            if path not in self._folders:
                self._links.pop(path, None)
                del self._placed[path]
            elif path in needed:
                stays.append(path)
                continue
            self._folders.discard(path)
            _remove(f"{self._root}/{path}")
        self._of_unit = stays[::-1]

    def _try(self, unit: TaskUnit) -> UnitEnd:
        self.clear(unit)
        self._log.take()
        try:
            for file in unit.inputs:
                self._place(file)
            for out in unit.outs:
                self._make_folder(out.rpartition("/")[0])
        except OSError as error:
            raise files.os_error(
                error, f"lay out the files of {printable(unit.name)} in", self._place_of_all
            ) from error
        except FileChanged as error:
            return UnitEnd(error.message, Ended("", None, None))
        problem, ended = self._execute(unit)
        strays = list(self._strays(unit.outs))
        problem = problem or self._complaint(strays) or self._lacks(unit)
        if problem is not None and _is_full(self._root):
            problem = f"{problem}; the disk of {quote(os.path.dirname(self._root))} is full"
        for path in strays:
            self._mend(path)
        if problem is not None:
            for out in unit.outs:
                _remove(f"{self._root}/{out}")
        return UnitEnd(problem, ended, self._log.take())

    # -- what runs

    def _execute(self, unit: TaskUnit) -> tuple[str | None, Ended]:
        task, folder = self._task, self._folder_of_command
        try:
            if task.function:
                arguments = [_argument(unit.values, name) for name in ("in", "out")]
                answer = self._processes.call(task.cmd, arguments, folder, self._environ, task.timeout_seconds)
                if isinstance(answer, Ended):
                    return answer.problem or "the function ended its process", answer
                code = 0 if answer.problem is None else 1
                return answer.problem, _ended_call(answer, code)
            cmd = script(task.cmd, unit.values) if unit.values else task.cmd
            words = shell_command(cmd, self._environ)
            ended = self._processes.run(words, folder, self._environ, task.timeout_seconds)
        except OSError as error:
            return f"it cannot be started: {error.strerror}", Ended("", None, None)
        return ended.problem, ended

    # -- what is placed

    def _place(self, file: TaskFile) -> None:
        path = file.path
        if path in self._placed or (self._links and any(above in self._links for above in ancestors(path))):
            return  # it is in a folder that is there as a whole
        self._make_folder(path.rpartition("/")[0])
        place = f"{self._root}/{path}"
        source = self._locate(file)
        if not isinstance(source, bytes) and (file.size_bytes > COPIED_BYTES or not file.oid.startswith(FILE)):
            os.symlink(source, place)
            self._links[path] = source
        else:
            data = source if isinstance(source, bytes) else _read(source, path)
            if format_oid(FILE, digest_bytes(data)) != file.oid:
                raise FileChanged(f"its input {quote(path)} changed since the run began")
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755 if file.executable else 0o644)
            try:
                files.write_all(descriptor, data)
            finally:
                os.close(descriptor)
        self._placed[path] = self._mark(path)
        self._of_unit.append(path)

    def _make_folder(self, path: str) -> None:
        if not path or path in self._folders:
            return
        for folder in (*reversed(list(ancestors(path))), path):
            if folder not in self._folders and folder not in self._links:
                os.mkdir(f"{self._root}/{folder}")
                self._folders.add(folder)
                self._of_unit.append(folder)

    def _mark(self, path: str) -> tuple[int, ...]:
        status = os.lstat(f"{self._root}/{path}")
        mark: tuple[int, ...] = (status.st_ino, status.st_size, status.st_mtime_ns)
        if path in self._links:
            behind = os.stat(self._links[path])
            mark = (*mark, behind.st_ino, behind.st_mtime_ns, behind.st_size)
        return mark

    # -- what was left

    def _strays(self, outs: Sequence[str]) -> Iterator[str]:
        """Yields what is not as it was placed, but for the outputs."""
        own, seen, waiting = frozenset(outs), 0, [""]
        while waiting:
            above = waiting.pop()
            with os.scandir(f"{self._root}/{above}") as listing:
                entries = list(listing)
            for entry in entries:
                path = f"{above}/{entry.name}" if above else entry.name
                if path in self._placed:
                    seen += 1
                    try:
                        if self._mark(path) != self._placed[path]:
                            yield path
                    except OSError:  # what a link leads to is gone
                        yield path
                elif path in self._folders and entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif path not in own and entry.name not in LEFT_OUT:
                    yield path
        if seen < len(self._placed):
            yield from (path for path in self._placed if not os.path.lexists(f"{self._root}/{path}"))

    def _complaint(self, strays: Sequence[str]) -> str | None:
        if not strays:
            return None
        first = strays[0]
        others = f", and {len(strays) - 1} more" if len(strays) > 1 else ""
        if first in self._placed:
            verb = "changed" if os.path.lexists(f"{self._root}/{first}") else "removed"
            return f"{verb} its input {quote(first)}{others}"
        return f"wrote {quote(first)} outside its output{others}"

    def _lacks(self, unit: TaskUnit) -> str | None:
        for out in unit.outs:
            try:
                status = os.lstat(f"{self._root}/{out}")
            except OSError:
                return f"did not create {quote(out)}"
            if stat.S_ISLNK(status.st_mode):
                return f"made a symbolic link of {quote(out)}: copy what it leads to"
        return None

    def _mend(self, path: str) -> None:
        """Removes what a unit left outside its outputs; what all units share, and one changed, is placed again."""
        _remove(f"{self._root}/{path}")
        if path in self._placed and path not in self._of_unit:
            del self._placed[path]
            self._links.pop(path, None)
            file = next(file for file in self._task.files if file.path == path)
            self._place(file)
            self._of_unit.remove(path)


def _argument(values: Mapping[str, tuple[str, ...]], name: str) -> Any:
    """Returns an argument of a function: a path, a list of paths, or these by the names of inputs."""
    lists = values.get(LISTS, ())

    def value(key: str) -> Any:
        return list(values[key]) if key in lists else "".join(values[key])

    named = [key for key in values if key.startswith(f"{name}.")]
    if named:
        return {key.partition(".")[2]: value(key) for key in named}
    return value(name)


def _ended_call(answer: Returned, code: int) -> Ended:
    return Ended(
        name="",
        exit_code=code,
        signal=None,
        seconds=answer.seconds,
        cpu_seconds=answer.cpu_seconds,
        max_rss_bytes=answer.max_rss_bytes,
    )


def _read(source: str | Path, path: str) -> bytes:
    try:
        descriptor = files.open_without_waiting(os.fspath(source), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FileChanged(f"its input {quote(path)} is gone") from None
    try:
        return files.read_at(descriptor, COPIED_BYTES + 1)
    finally:
        os.close(descriptor)


def _is_full(folder: str) -> bool:
    try:
        status = os.statvfs(folder)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < _FULL_BYTES or (status.f_files > 0 and status.f_favail == 0)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        shutil.rmtree(path, ignore_errors=True)
