"""A task: all that a machine without a clone needs to run a stage, or a batch of its datums; and its result (docs/reference/formats/task.md).

Both are canonical JSON from anyone. What a task names is by content, so equal tasks are one task, and to run one twice does no harm.
Never holds a credential. Knows no store and runs nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dvlite.errors import FormatError
from dvlite.formats import strict_json
from dvlite.formats.lockfile import STAGE, Locked
from dvlite.formats.pipeline import MAX_CMD_BYTES, MAX_CPUS, MAX_GPUS, MAX_RETRIES, MAX_TIMEOUT_SECONDS
from dvlite.formats.pointer import Pointer
from dvlite.formats.strict_fields import (
    Check,
    Checks,
    an_object,
    data_oid,
    each,
    exit_code,
    filled,
    hex64,
    line,
    mapping,
    matching,
    number,
    oid_of,
    or_none,
    project_id,
    relative_path,
    scalars,
    seconds,
    signal_number,
    size,
    table,
    text,
    timestamp,
    truth,
    written,
)
from dvlite.formats.strict_yaml import Scalar
from dvlite.oid import FILE, Oid, digest_bytes, digest_task
from dvlite.paths import MAX_PATH_BYTES, PathSet, ancestors, check_paths
from dvlite.show import quote

TASK_SCHEMA, RESULT_SCHEMA, LIST_SCHEMA = "dvlite.task/1", "dvlite.task-result/1", "dvlite.tasks/1"
FOLDER = "tasks/"
MAX_BYTES = 16 << 20
MOST_UNITS = 10_000  # of one task: a batch that takes longer to read than that is no use
MOST_LOG_CHARACTERS = 4096  # of the end of a log that stands in a result
_MOST_TAILS = 100  # units whose logs' ends stand in a result

Parsed = TypeVar("Parsed", "Task", "TaskResult")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """A version of a file or folder, and its place relative to the repository's root."""

    path: str
    oid: Oid
    size_bytes: int
    files: int = 1
    executable: bool = False

    def locked(self) -> Locked:
        """Returns the same version as stages have it."""
        return Locked(self.path, self.oid, self.size_bytes, self.files, self.executable)

    def pointer(self) -> Pointer:
        """Returns the same version as a pointer."""
        return self.locked().pointer()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUnit:
    """One run of the command: a datum, or (`name` '') all of an ordinary stage.

    `values` are those of `${...}` in the command; paths in them are relative to the folder that it runs in, and each is quoted when it is
    filled in. Each of `outs`, relative to the repository's root, has to be there afterwards, a file or a folder.
    """

    name: str = ""
    inputs: tuple[TaskFile, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to run. `key` is the stage key, or the base of a map stage; `wdir` the folder that it runs in, '' for the repository's root.

    `files` are there for all units. With `function`, `cmd` is `module:function`. `capture` are the values that the stage asks to record, as
    they were where the task was made: a worker with others has another environment, and refuses.
    """

    stage: str
    file: str
    key: str
    cmd: str
    units: tuple[TaskUnit, ...]
    function: bool = False
    wdir: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    capture: Mapping[str, str] = field(default_factory=dict)
    files: tuple[TaskFile, ...] = ()
    timeout_seconds: int | None = None
    retries: int = 0
    cpu: float = 0
    memory_bytes: int = 0
    gpu: int | None = None
    project: str = ""
    dvlite: str = ""

    @property
    def id(self) -> str:
        """The name of the task, 64 hex digits: that of its canonical bytes."""
        return digest_task(dump(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """How a unit ended: `problem` None if it is done, else one line. `log` is its output, and `log_tail` the end of that of a unit that failed."""

    name: str = ""
    problem: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    seconds: float = 0
    cpu_seconds: float = 0
    max_rss_bytes: int = 0
    log: Oid | None = None
    log_tail: str = ""
    outputs: tuple[TaskFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """How a task (its id) ended, where, and by whom; `worker` names the pod, slot or process."""

    task: str
    units: tuple[UnitResult, ...]
    user: str = ""
    host: str = ""
    worker: str = ""
    start: str = ""
    seconds: float = 0
    environment: Mapping[str, Scalar] = field(default_factory=dict)
    dvlite: str = ""


def dump(task: Task) -> bytes:
    """Returns the canonical bytes, of which `digest_task` is the id. Fields with their default values are left out."""
    return strict_json.dump({"schema": TASK_SCHEMA, **written(task)})


def checked(task: Task) -> bytes:
    """Returns the canonical bytes of a task that is to be given out; raises FormatError for one that `parse` would refuse."""
    data = dump(task)
    parse(data, f"the task of '{task.stage}'")
    return data


def dump_result(result: TaskResult) -> bytes:
    """Returns the canonical bytes; the ends of logs are left out but of the first 100 units that failed. Raises FormatError for a result that `parse_result` would refuse."""
    body = written(result)
    failed = 0
    for unit in body["units"]:
        failed += "problem" in unit
        if "problem" not in unit or failed > _MOST_TAILS:
            unit.pop("log_tail", None)
    data = strict_json.dump({"schema": RESULT_SCHEMA, **body})
    parse_result(data, "the result of a task")
    return data


def parse(data: bytes, where: str) -> Task:
    """Reads a task, from anyone; raises FormatError for anything else.

    Unlike in other formats, a field that is not known is refused: who leaves out a part of a task does another one.
    """
    task = _filled(Task, _TASK, _object(data, where, TASK_SCHEMA), where)
    try:
        _check_places(task)
    except ValueError as error:
        raise FormatError(f"cannot read {where}: {error}") from None
    if dump(task) != data:
        hint = f"version {task.dvlite[:20]} of dvlite made it, this is another one: upgrade"
        raise FormatError(f"cannot use {where}: it holds more than this dvlite knows, or was edited", hint=hint)
    return task


def parse_result(data: bytes, where: str) -> TaskResult:
    """Reads a result, from anyone; raises FormatError for anything else. Unknown fields are ignored."""
    return _filled(TaskResult, _RESULT_FIELDS, _object(data, where, RESULT_SCHEMA), where)


def dump_list(tasks: Sequence[str]) -> bytes:
    """Returns the canonical bytes of a list of tasks (their ids), of which `digest_task` is the id of the list."""
    return strict_json.dump({"schema": LIST_SCHEMA, "tasks": list(tasks)})


def parse_list(data: bytes, where: str) -> tuple[str, ...]:
    """Reads a list of tasks, from anyone; raises FormatError for anything else."""
    try:
        return tuple(each(hex64)(_object(data, where, LIST_SCHEMA).get("tasks")))
    except ValueError as error:
        raise FormatError(f"cannot read {where}: {error}") from None


def folder_of(task: str) -> str:
    """Returns what the names of all objects of a task on a remote start with."""
    return f"{FOLDER}{task}/"


def spec_name(task: str) -> str:
    """Returns the name of a task on a remote."""
    return f"{folder_of(task)}spec.json"


def list_name(tasks: str) -> str:
    """Returns the name of a list of tasks on a remote."""
    return f"{folder_of(tasks)}list.json"


def result_name(task: str, data: bytes) -> str:
    """Returns the name of a result on a remote; it follows from the bytes, so what is written twice is there once."""
    return f"{folder_of(task)}result-{digest_bytes(data).hex()[:32]}.json"


def is_result_name(name: str) -> bool:
    """Returns whether an object of a remote is named like a result."""
    return _RESULT.fullmatch(name) is not None


def task_of(name: str) -> str | None:
    """Returns the task that an object of a remote belongs to by its name, or None."""
    match = _OBJECT.fullmatch(name)
    return None if match is None else match[1]


_OBJECT = re.compile(r"tasks/([0-9a-f]{64})/[a-z0-9.-]{1,100}")
_RESULT = re.compile(r"tasks/[0-9a-f]{64}/result-[0-9a-f]{32}\.json")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_VALUE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}(?:\.[A-Za-z0-9_]{1,100})?")


def _object(data: bytes, where: str, schema: str) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        hint = "a stage with very many dependencies should name the folder that they lie in; a map stage takes a smaller 'batch'"
        raise FormatError(f"cannot use {where}: it has {len(data)} bytes, at most {MAX_BYTES} are accepted", hint=hint)
    body = strict_json.parse(data, where, limit_bytes=MAX_BYTES, floats=True)
    found = str(body.pop("schema", None))
    if found != schema:
        is_later = re.fullmatch(rf"{schema[:-1]}[0-9]{{1,9}}", found) is not None
        raise FormatError(
            f"cannot read {where}: its schema {found[:40]!r} is not {schema}",
            hint="a newer dvlite may know it: upgrade" if is_later else None,
            kind="later" if is_later else "other",
        )
    strict_json.require_whole_characters(body, where)
    return body


def _filled(cls: type[Parsed], checks: Checks, body: Mapping[str, Any], where: str) -> Parsed:
    try:
        found = cls(**filled(body, checks))
        check_paths([os.fsencode(path) for path in _paths(found)])
        if len(found.units) > MOST_UNITS:
            raise ValueError(f"it has {len(found.units):,} units, at most {MOST_UNITS:,} are accepted")
        if len({unit.name for unit in found.units}) != len(found.units):
            raise ValueError("two of its units have one name")
    except (ValueError, FormatError) as error:
        raise FormatError(f"cannot read {where}: {error}") from None
    return found


def _paths(item: Task | TaskResult) -> Iterator[str]:
    """Yields every path that a worker writes to, or that is brought into a work tree."""
    if isinstance(item, TaskResult):
        yield from (file.path for unit in item.units for file in unit.outputs)
        return
    yield from filter(None, (item.wdir,))
    yield from (file.path for file in item.files)
    for unit in item.units:
        yield from (file.path for file in unit.inputs)
        yield from unit.outs


def _check_places(task: Task) -> None:
    """Raises ValueError if two things would lie in one place: what a unit reads or writes must not depend on the order of units."""
    if not task.units:
        raise ValueError("it has no units")
    every_out = [out for unit in task.units for out in unit.outs]
    outs = frozenset(every_out)
    for out in every_out:
        if not outs.isdisjoint(ancestors(out)):
            raise ValueError(f"the output {quote(out)} lies in another")
    if len(outs) != len(every_out):
        raise ValueError("two of its units have one output")
    places = PathSet(outs)
    shared = _versions(task.files, {})
    for path in (*shared, *(path for unit in task.units for path in _versions(unit.inputs, shared))):
        if places.overlaps(path):
            raise ValueError(f"{quote(path)} is both an input and an output")


def _versions(files: Sequence[TaskFile], known: Mapping[str, Oid]) -> dict[str, Oid]:
    """Returns the versions by path; raises ValueError if a path has two, here or in `known`."""
    found: dict[str, Oid] = {}
    for file in files:
        if found.setdefault(file.path, file.oid) != file.oid or known.get(file.path, file.oid) != file.oid:
            raise ValueError(f"{quote(file.path)} has two versions")
    return found


def _without_nul(most: int) -> Check:
    check_text = text(most)

    def check(value: Any) -> Any:
        if "\0" in check_text(value):
            raise ValueError("holds a NUL character")
        return value

    return check


def _named(pattern: re.Pattern[str], check: Check) -> Check:
    check_all = mapping(check)

    def check_names(value: Any) -> Any:
        for key in check_all(value):
            if pattern.fullmatch(key) is None:
                raise ValueError(f"holds {key[:60]!r}, which cannot be a name in it")
        return value

    return check_names


def _values(value: Any) -> Any:
    return {key: tuple(items) for key, items in _named(_VALUE, each(_without_nul(MAX_PATH_BYTES)))(value).items()}


_folder: Check = lambda value: value if value == "" else relative_path(value)  # noqa: E731  # as the other checks here

_FILE = table(TaskFile, path=relative_path, oid=data_oid, size_bytes=size, files=size, executable=truth)
_UNIT = table(TaskUnit, name=line, inputs=each(an_object(TaskFile, _FILE)), values=_values, outs=each(relative_path))
_TASK = table(
    Task,
    stage=matching(re.compile(STAGE), "the name of a stage"),
    file=relative_path,
    key=hex64,
    cmd=_without_nul(MAX_CMD_BYTES),
    units=each(an_object(TaskUnit, _UNIT)),
    function=truth,
    wdir=_folder,
    env=_named(_VARIABLE, _without_nul(MAX_CMD_BYTES)),
    capture=mapping(text(1 << 16)),
    files=each(an_object(TaskFile, _FILE)),
    timeout_seconds=or_none(number(1, MAX_TIMEOUT_SECONDS, int)),
    retries=number(0, MAX_RETRIES, int),
    cpu=number(0, MAX_CPUS, int, float),
    memory_bytes=size,
    gpu=or_none(number(0, MAX_GPUS, int)),
    project=project_id,
    dvlite=line,
)
_UNIT_RESULT = table(
    UnitResult,
    name=line,
    problem=or_none(line),
    exit_code=exit_code,
    signal=signal_number,
    seconds=seconds,
    cpu_seconds=seconds,
    max_rss_bytes=size,
    log=or_none(oid_of(FILE)),
    log_tail=text(MOST_LOG_CHARACTERS),
    outputs=each(an_object(TaskFile, _FILE)),
)
_RESULT_FIELDS = table(
    TaskResult,
    task=hex64,
    units=each(an_object(UnitResult, _UNIT_RESULT)),
    user=line,
    host=line,
    worker=line,
    start=timestamp,
    seconds=seconds,
    environment=scalars,
    dvlite=line,
)
