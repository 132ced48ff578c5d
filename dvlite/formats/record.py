"""Run records, the notes about them, and the results of checks: immutable JSON, named by its BLAKE3 (docs/reference/formats/record.md).

A record is written once, when a stage ends; what is added later (tags, notes, the commit that names it) are records of their own,
so that nothing ever conflicts. Paths are relative to the repository. Never holds the value of a variable that no stage names.
"""

from __future__ import annotations

import datetime as dt
import math
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from dvlite.errors import FormatError
from dvlite.formats import strict_json
from dvlite.formats.lockfile import Facts, Locked
from dvlite.formats.map_stage import spec_of
from dvlite.formats.series import is_series
from dvlite.formats.strict_fields import (
    an_object,
    any_mapping,
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
    one_of,
    or_none,
    project_id,
    relative_folder,
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
    written_path,
)
from dvlite.formats.strict_yaml import Scalar, Tree
from dvlite.oid import FILE, RUN, Oid, digest_run, format_oid

RUN_SCHEMA, NOTE_SCHEMA, CHECK_SCHEMA = "dvlite.run/1", "dvlite.note/1", "dvlite.checked/1"
MAX_BYTES = 4 << 20
MOST_FAILURES = 100
AXES_FILE = "dvlite.yaml"
_MOST_CURVE_BYTES = 1 << 20  # of a series that is kept whatever becomes of the outputs

Status = Literal["ok", "failed", "cached", "asserted", "tainted", "canceled"]
Operation = Literal["tag", "untag", "note", "commit", "source", "hide", "unhide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A dependency as it was before the command ran; of one inside a tracked directory also that directory (`inside`) and its version."""

    path: str
    oid: Oid
    size_bytes: int
    files: int = 1
    inside: str | None = None
    inside_oid: Oid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output as the command left it; `sha256` (64 hex) of a single file; `cached` False: git keeps it."""

    path: str
    oid: Oid
    size_bytes: int
    files: int = 1
    executable: bool = False
    role: Literal["out", "metric"] = "out"
    cached: bool = True
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Where the code was: git's remote without credentials, the commit checked out, and what differed from it (oid of a kept `git diff`)."""

    repo: str | None = None
    commit: str | None = None
    dirty: tuple[str, ...] = ()
    diff: Oid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedArtifact:
    """A file that an imported run read, or left where it ran, as its program names it: nothing of it is kept here. `digest`: `md5:<hex>`."""

    path: str
    size_bytes: int | None = None
    digest: str = ""
    url: str = ""
    role: Literal["output", "input"] = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Where a run of another program comes from: its id there, experiment or project, name and URL; and its metrics over steps."""

    id: str
    group: str = ""
    name: str = ""
    url: str = ""
    history: Output | None = None
    artifacts: tuple[ImportedArtifact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFailure:
    """A datum that failed: why, in one line, and the oid of its log."""

    name: str
    problem: str
    log: Oid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRun:
    """What a run of a map stage did with its datums; `failures` are the first 100 of those that failed.

    `base` (64 hex) is the stage key without the rows of `over`: what a datum gives follows from it, the datum's name and its inputs. The outputs
    of a run that failed or was stopped hold what was done: a datum whose outputs are among them is done.
    """

    base: str
    datums: int
    ran: int = 0
    reused: int = 0
    failed: int = 0
    failures: tuple[MapFailure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a stage, or (`imported`) of what another program recorded: that has no key, and `file` is the program. `status` cached: nothing ran, `of` is the run whose outputs were taken; asserted: nothing ran, the user vouches for the outputs.

    `environment` describes the machine: python, platform, cpu, cpus, gpu, image, `lock:FILE` -> oid ... `metrics` is `file:dotted.key` -> number or text. Times are RFC 3339 UTC with milliseconds; `seconds` is wall time.
    """

    id: str  # UUIDv7
    invocation: str  # UUIDv7 of the `repro` that it was part of
    stage: str
    file: str  # the pipeline file
    status: Status
    facts: Facts
    key: str = ""  # 64 hex; none of an imported run: so no stage is up to date because of it
    of: Oid | None = None
    taint: tuple[str, ...] = ()  # paths that changed while it ran
    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    retry: int = 0  # how often it had failed before, in this invocation
    log: Oid | None = None  # blake3 of the log
    code: Code = field(default_factory=Code)
    environment: Mapping[str, Scalar] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    metrics: Mapping[str, Scalar] = field(default_factory=dict)
    start: str = ""
    end: str = ""
    seconds: float = 0.0
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    user: str = ""
    host: str = ""
    worker: str = ""  # of those on the host, if it ran as a task
    ci: str | None = None  # URL of the job
    project: str = ""  # 32 hex
    dvlite: str = ""
    sweep: str = ""  # the name of the `try` that it was part of
    imported: Imported | None = None
    axes: Mapping[str, Scalar] = field(default_factory=dict)  # the values of `matrix` that the stage stands for
    mapped: MapRun | None = None  # of a map stage

    def locked(self) -> tuple[list[Locked], list[Locked]]:
        """Returns inputs and outputs as the lockfile beside `file` has them; the modes of inputs are not recorded."""
        folder = posixpath.dirname(self.file) or "."
        inputs, outputs = (
            [Locked(posixpath.relpath(item.path, folder), item.oid, item.size_bytes, item.files) for item in items]
            for items in (self.inputs, self.outputs)
        )
        pairs = zip(outputs, self.outputs, strict=True)
        return inputs, [replace(out, executable=item.executable, cache=item.cached) for out, item in pairs]

    @property
    def left_apart(self) -> tuple[Oid, ...]:
        """What is kept of it beside its outputs: logs, edits, and its curves."""
        failures = () if self.mapped is None else self.mapped.failures
        logs = (self.log, *(failure.log for failure in failures))
        return tuple(oid for oid in (*logs, self.code.diff, *(file.oid for file in self.curves)) if oid is not None)

    @property
    def curves(self) -> tuple[Output, ...]:
        """Its metrics over steps: the series up to 1 MiB, or the history of an imported run."""
        is_small = (file.size_bytes <= _MOST_CURVE_BYTES and file.oid.startswith(FILE) for file in self.metric_files)
        kept = (file for file, small in zip(self.metric_files, is_small, strict=True) if small and is_series(file.path))
        return self.metric_files if self.imported is not None else tuple(kept)

    @property
    def metric_files(self) -> tuple[Output, ...]:
        """The files with its metrics; of an imported run its history."""
        history = () if self.imported is None or self.imported.history is None else (self.imported.history,)
        return (*(out for out in self.outputs if out.role == "metric"), *history)

    @property
    def params(self) -> dict[str, Tree]:
        """The parameters, and the values of `matrix` as parameters of the pipeline file: `dvlite.yaml:lr`."""
        return {**{f"{AXES_FILE}:{axis}": value for axis, value in self.axes.items()}, **self.facts.params}

    @property
    def surroundings(self) -> dict[str, Scalar]:
        """The environment with the values that the stage asked to record."""
        return {**self.environment, **self.facts.capture}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A tag, a text or a fact about a run, added later. `tag` and `untag`, and `hide` and `unhide`, take effect in order of time. `commit`: this commit's lockfile names the run; `source`:
    this commit's pointers were the first to name `content`, which the run began with. `subject`, `author` and `written` are the commit's.
    """

    id: str  # UUIDv7
    run: Oid
    op: Operation
    value: str  # the tag, the text, or the commit; nothing of `hide` and `unhide`
    time: str
    user: str = ""
    project: str = ""
    content: Oid | None = None
    subject: str = ""
    author: str = ""
    written: str = ""  # when the commit was


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOutcome:
    """What a check demanded, in words (`unique: id`), and whether the data is like that; `detail` says what was seen."""

    rule: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRecord:
    """The result of a check. It holds for whatever has the same `key`: the check as it is declared, and all content that it reads.

    `data` is what was checked, `inputs` what was read besides: other tables, scripts, the version compared with. `output` is the end of what
    the script printed. From `expires` on, if it is set, the newest row is too old.
    """

    id: str  # UUIDv7
    key: str  # 64 hex
    check: str  # its name
    file: str  # the pipeline file
    status: Literal["passed", "failed"]
    data: tuple[Input, ...] = ()
    inputs: tuple[Input, ...] = ()
    rules: tuple[RuleOutcome, ...] = ()
    cmd: str = ""
    exit_code: int | None = None
    output: str = ""
    expires: str = ""
    start: str = ""
    seconds: float = 0.0
    user: str = ""
    host: str = ""
    ci: str | None = None
    project: str = ""
    dvlite: str = ""


Record = Run | Note | CheckRecord


def new_id(now_ns: int, random: bytes) -> str:
    """Returns a UUIDv7 (RFC 9562): ids sort by time, to a quarter of a microsecond. `random` is at least 8 bytes."""
    milliseconds, rest = divmod(now_ns, 1_000_000)
    value = (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | (rest * 4096 // 1_000_000) << 64
    value |= 2 << 62 | int.from_bytes(random[:8], "big") >> 2
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def time_text(now_ns: int) -> str:
    """Returns a time as records hold it: `2026-11-22T14:02:00.000Z`."""
    moment = dt.datetime.fromtimestamp(now_ns // 1_000_000_000, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{now_ns // 1_000_000 % 1000:03d}Z"


def time_ns(text: str) -> int:
    """Returns what `time_text` wrote; 0 for a text that is no time, or one at the end of the calendar, after which no other could come."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return 0
    return 0 if moment.year > _LAST_YEAR else round(moment.timestamp() * 1000) * 1_000_000


def is_tag(text: str) -> bool:
    """Returns whether a note may give a run this tag."""
    return _TAG.fullmatch(text) is not None


def is_sweep(text: str) -> bool:
    """Returns whether a sweep may have this name: letters, digits, `.`, `_` and `-`, so that a file and a ref may have it too."""
    return _SWEEP.fullmatch(text) is not None and ".." not in text and not text.endswith((".", ".lock"))


def held(values: Mapping[str, Tree]) -> dict[str, Tree]:
    """Returns parameters as a record holds them: numbers that not every reader can hold are text."""
    return {key: written(value, _number) for key, value in values.items()}


def name(data: bytes) -> Oid:
    """Returns the name of a record, from its bytes."""
    return format_oid(RUN, digest_run(data))


def dump(record: Record) -> bytes:
    """Returns the canonical bytes (one line of JSON and a newline); their `digest_run` is the record's name.

    Fields with their default values are left out. Numbers that JSON does not have (NaN, infinities) or that not every reader can hold become
    text. Raises FormatError for what `parse` would refuse: nothing invalid is ever written.
    """
    data = strict_json.dump({"schema": _SCHEMAS[type(record)], **_body(record)})
    named = record.stage if isinstance(record, Run) else record.check if isinstance(record, CheckRecord) else ""
    parse(data, f"the record of '{named}'" if named else "the note")
    return data


def parse(data: bytes, where: str) -> Record:
    """Reads a record, from anyone; raises FormatError for anything that is not one. Unknown fields of a known schema are ignored."""
    if len(data) > MAX_BYTES:
        raise FormatError(
            f"cannot use {where}: it has {len(data)} bytes, at most {MAX_BYTES} are accepted",
            hint="a stage with very many dependencies or outputs should name the folder that they lie in",
        )
    body = strict_json.parse(data, where, limit_bytes=MAX_BYTES, floats=True, depth=_MAX_DEPTH)
    if data.find(b"\n") != len(data) - 1:
        raise FormatError(f"cannot read {where}: it is not one line")
    schema = body.get("schema")
    read = _READERS.get(str(schema))
    if read is None:
        raise FormatError(
            f"cannot read {where}: its schema {str(schema)[:40]!r} is not known",
            hint="a newer dvlite may know it: upgrade",
            kind="later" if _LATER.fullmatch(str(schema)) else "other",
        )
    try:
        if b"\\ud" in data or b"\\uD" in data:
            strict_json.require_whole_characters(body, where)
        return read(body)
    except ValueError as error:
        raise FormatError(f"cannot read {where}: {error}") from None


_LATER = re.compile(r"dvlite\.(run|note|checked)/[0-9]{1,9}")
_MAX_DEPTH = 60  # parameters may be as deep as YAML allows, 50
_MANY = 10**18  # whole numbers from here on are written as text
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_LAST_YEAR = 9000
_SWEEP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_PROGRAM = re.compile(r"[a-z][a-z0-9]{0,39}")
_TAG = re.compile(r"[^\s!,\x00-\x1f\x7f][^\s,\x00-\x1f\x7f]{0,99}")


def _body(record: Record) -> dict[str, Any]:
    """Returns the fields that differ from their defaults; facts are side by side with the others."""
    body: dict[str, Any] = written(record, _number)
    body |= body.pop("facts", {})
    return body


def _number(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if type(value) is int and abs(value) >= _MANY else value


def _parsed_run(body: Mapping[str, Any]) -> Run:
    run = Run(facts=Facts(**filled(body, _FACTS)), **filled(body, _RUN))
    if run.facts.map:
        spec_of(run.facts.map, run.facts.cmd)
    if run.mapped is not None and len(run.mapped.failures) > MOST_FAILURES:
        raise ValueError(f"'mapped' has more than {MOST_FAILURES} failures")
    if run.imported is None and not run.key:
        raise ValueError("'key' is missing")
    if run.imported is not None and (run.key or run.inputs or run.outputs or not _PROGRAM.fullmatch(run.file)):
        raise ValueError("an imported run has a key, inputs or outputs, or 'file' is not the name of a program")
    return run


def _note(body: Mapping[str, Any]) -> Note:
    note = filled(body, _NOTE)
    if note["op"] in {"tag", "untag"}:
        _tag(note["value"])
    elif note["op"] in {"commit", "source"}:
        _commit(note["value"])
    if note["op"] == "source" and note.get("content") is None:
        raise ValueError("'content' is missing")
    return Note(**note)


_commit = matching(re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}"), "a commit")
_tag = matching(_TAG, "a tag: no spaces or commas, no '!' at its start, at most 100 characters")
_uuid = matching(_UUID, "a UUID of version 7")
_words = text(MAX_BYTES)

_INPUT = table(
    Input,
    path=relative_path,
    oid=data_oid,
    size_bytes=size,
    files=size,
    inside=or_none(relative_path),
    inside_oid=or_none(data_oid),
)
_OUTPUT = table(
    Output,
    path=written_path,
    oid=data_oid,
    size_bytes=size,
    files=size,
    executable=truth,
    role=one_of("out", "metric"),
    cached=truth,
    sha256=or_none(hex64),
)
_IMPORTED = table(
    Imported,
    id=line,
    group=line,
    name=line,
    url=line,
    history=or_none(an_object(Output, _OUTPUT)),
    artifacts=each(
        an_object(
            ImportedArtifact,
            table(
                ImportedArtifact,
                path=line,
                size_bytes=or_none(size),
                digest=text(200),
                url=line,
                role=one_of("output", "input"),
            ),
        )
    ),
)
_CODE = table(Code, repo=or_none(line), commit=or_none(_commit), dirty=each(relative_path), diff=or_none(oid_of(FILE)))
_FACTS = table(
    Facts,
    cmd=_words,
    wdir=relative_folder,
    params=any_mapping,
    env=mapping(_words),
    capture=mapping(_words),
    map=any_mapping,
)
_MAP = table(
    MapRun,
    base=hex64,
    datums=size,
    ran=size,
    reused=size,
    failed=size,
    failures=each(an_object(MapFailure, table(MapFailure, name=line, problem=line, log=or_none(oid_of(FILE))))),
)
_RUN = table(
    Run,
    but=("facts",),
    id=_uuid,
    invocation=_uuid,
    key=hex64,
    stage=matching(re.compile(r"[^/\x00-\x1f\x7f]{1,200}"), "the name of a stage"),
    file=relative_path,
    status=one_of(*get_args(Status)),
    of=or_none(oid_of(RUN)),
    taint=each(relative_path),
    exit_code=exit_code,
    signal=signal_number,
    timed_out=truth,
    retry=number(0, 1 << 16, int),
    log=or_none(oid_of(FILE)),
    code=an_object(Code, _CODE),
    environment=scalars,
    inputs=each(an_object(Input, _INPUT)),
    outputs=each(an_object(Output, _OUTPUT)),
    metrics=scalars,
    start=timestamp,
    end=timestamp,
    seconds=seconds,
    cpu_seconds=or_none(seconds),
    max_rss_bytes=or_none(size),
    user=line,
    host=line,
    worker=line,
    ci=or_none(line),
    project=project_id,
    dvlite=line,
    sweep=matching(re.compile(rf"(?:{_SWEEP.pattern})?"), "the name of a sweep"),
    imported=or_none(an_object(Imported, _IMPORTED)),
    axes=scalars,
    mapped=or_none(an_object(MapRun, _MAP)),
)
_NOTE = table(
    Note,
    id=_uuid,
    run=oid_of(RUN),
    op=one_of(*get_args(Operation)),
    value=text(65536),
    time=timestamp,
    user=line,
    project=project_id,
    content=or_none(data_oid),
    subject=line,
    author=line,
    written=timestamp,
)
_CHECK = table(
    CheckRecord,
    id=_uuid,
    key=hex64,
    check=matching(re.compile(r"[A-Za-z0-9_-]{1,100}"), "the name of a check"),
    file=relative_path,
    status=one_of("passed", "failed"),
    data=each(an_object(Input, _INPUT)),
    inputs=each(an_object(Input, _INPUT)),
    rules=each(an_object(RuleOutcome, table(RuleOutcome, rule=line, passed=truth, detail=line))),
    cmd=_words,
    exit_code=exit_code,
    output=text(65536),
    expires=timestamp,
    start=timestamp,
    seconds=seconds,
    user=line,
    host=line,
    ci=or_none(line),
    project=project_id,
    dvlite=line,
)
_SCHEMAS: Mapping[type, str] = {Run: RUN_SCHEMA, Note: NOTE_SCHEMA, CheckRecord: CHECK_SCHEMA}
_READERS: Mapping[str, Callable[[Mapping[str, Any]], Record]] = {
    RUN_SCHEMA: _parsed_run,
    NOTE_SCHEMA: _note,
    CHECK_SCHEMA: lambda body: CheckRecord(**filled(body, _CHECK)),
}
