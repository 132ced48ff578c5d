"""A run of another program, as its reader hands it over, and the record and the notes that it becomes.

Equal runs become equal records, whoever imports them and from wherever: nothing of the importing machine goes in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dvlite.formats import record
from dvlite.formats.lockfile import Facts
from dvlite.formats.record import Code, Imported, ImportedArtifact, Note, Output, Run, Status
from dvlite.formats.series import Series
from dvlite.formats.strict_yaml import Scalar, Tree
from dvlite.git.output import is_commit_id
from dvlite.git.program import without_credentials
from dvlite.oid import Oid, digest_bytes

MOST_ARTIFACTS = 1000
_LONGEST = 4096  # characters of a line in a record
_LONGEST_NOTE = 65536
_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?")
_NOT_IN_NAMES = re.compile(r"[^\w.+-]+")
_NOT_IN_TAGS = re.compile(r"[\s,\x00-\x1f\x7f]+")
_LAST_MS = 253_370_764_800_000  # the year 9000
_MILLION = 10**6

Value = TypeVar("Value", Tree, Scalar)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRun:
    """A run. `group` is the experiment or project; `tags` have values, or '' where they are words; times are milliseconds since 1970.

    `problems` are sentences on what of it could not be read.
    """

    id: str
    group: str
    status: Status
    name: str = ""
    url: str = ""
    start_ms: int = 0
    end_ms: int | None = None
    exit_code: int | None = None
    user: str = ""
    host: str = ""
    command: str = ""
    params: Mapping[str, Tree] = field(default_factory=dict)
    metrics: Mapping[str, Scalar] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    environment: Mapping[str, Scalar] = field(default_factory=dict)
    repository: str = ""
    commit: str = ""
    artifacts: tuple[ImportedArtifact, ...] = ()
    is_thinned: bool = False  # points of its series were left out, for there were too many
    problems: tuple[str, ...] = ()


def record_of(run: ForeignRun, program: str, project: str, history: Output | None) -> Run:
    """Returns the record of a run; `history` are its series, as stored."""
    start_ms = max(0, min(run.start_ms, _LAST_MS))
    end_ms = None if run.end_ms is None else max(start_ms, min(run.end_ms, _LAST_MS))
    own_id = run_id(program, run.id, run.start_ms)
    facts = {key: value for key, value in run.tags.items() if value and not record.is_tag(_with_value(key, value))}
    last = {key: one.values[-1] for key, one in run.series.items() if one.values}
    return Run(
        id=own_id,
        invocation=own_id,
        stage=stage_of(run.group, program),
        file=program,
        status=run.status,
        facts=Facts(cmd=run.command, params=_under(program, run.params)),
        exit_code=run.exit_code,
        code=Code(
            repo=_line(without_credentials(run.repository)) or None,
            commit=run.commit if is_commit_id(run.commit) else None,
        ),
        environment={**run.environment, **facts},
        metrics=_under(program, {**last, **run.metrics}),
        start=record.time_text(start_ms * _MILLION),
        end="" if end_ms is None else record.time_text(end_ms * _MILLION),
        seconds=0.0 if end_ms is None else (end_ms - start_ms) / 1000,
        user=_line(run.user),
        host=_line(run.host),
        project=project,
        imported=Imported(
            id=_line(run.id),
            group=_line(run.group),
            name=_line(run.name),
            url=_line(without_credentials(run.url)),
            history=history,
            artifacts=tuple(
                replace(one, path=_line(one.path), url=_line(one.url)) for one in run.artifacts[:MOST_ARTIFACTS]
            ),
        ),
    )


def notes_of(run: ForeignRun, record_id: Oid, made: Run) -> Iterator[Note]:
    """Yields the tags and notes of a run: its name and its words as tags, `key=value` where that is one."""
    words = [run.name, *(key for key, value in run.tags.items() if not value)]
    tags = [_NOT_IN_TAGS.sub("-", text).strip("-").lstrip("!")[:100] for text in words]
    tags += [text for key, value in run.tags.items() if value and record.is_tag(text := _with_value(key, value))]
    notes = [("tag", tag) for tag in dict.fromkeys(tags) if record.is_tag(tag)]
    notes += [("note", text[:_LONGEST_NOTE]) for text in run.notes if text.strip()]
    start_ns = record.time_ns(made.start)
    for number, (operation, value) in enumerate(notes):
        at_ns = start_ns + number * _MILLION
        yield Note(
            id=record.new_id(at_ns, digest_bytes(f"{record_id} {operation} {value}".encode("utf-8", "replace"))),
            run=record_id,
            op="tag" if operation == "tag" else "note",
            value=value,
            time=record.time_text(at_ns),
            user=made.user,
            project=made.project,
        )


def run_id(program: str, source_id: str, start_ms: int) -> str:
    """Returns the id of the record of a run: always the same, so that it is known again."""
    start_ns = max(0, min(start_ms, _LAST_MS)) * _MILLION
    return record.new_id(start_ns, digest_bytes(f"{program} {source_id}".encode("utf-8", "replace")))


def stage_of(group: str, program: str) -> str:
    """Returns what the runs of an experiment are called by: its name, with `-` for what a name of a stage cannot have."""
    return _NOT_IN_NAMES.sub("-", group).strip("-.")[:100] or program


def typed(text: str) -> Tree:
    """Returns the number or truth value that a text stands for, where a program keeps all values as text; else the text."""
    if text in ("True", "False"):
        return text == "True"
    if _NUMBER.fullmatch(text) is None:
        return text
    number = float(text) if set(text) & set(".eE") else int(text)
    return number if math.isfinite(number) else text


def text_of(value: object) -> str:
    """Returns a value that should be text; empty for anything else."""
    return value if isinstance(value, str) else ""


def milliseconds(seconds: float) -> int:
    """Returns a time in milliseconds; 0 for one that no record can hold."""
    return round(seconds * 1000) if abs(seconds) < _LAST_MS / 1000 else 0


def _with_value(key: str, value: str) -> str:
    return f"{key}={value}"


def _under(program: str, values: Mapping[str, Value]) -> dict[str, Value]:
    return {f"{program}:{key}": value for key, value in values.items()}


def _line(text: str) -> str:
    return text[:_LONGEST]
