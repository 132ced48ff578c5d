"""Runs in a file of ML-Metadata (TFX, Kubeflow Pipelines), read without its package, which is not released for every Python.

Source: ml_metadata/util/metadata_source_query_config.cc; what is read is alike in the tables of its schema versions 7 to 10. The file is
opened to read only.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dvlite.errors import DvliteError
from dvlite.foreign.foreign_run import MOST_ARTIFACTS, ForeignRun, typed
from dvlite.foreign.opened import ODD, Database, odd, open_database, open_file
from dvlite.formats import record
from dvlite.formats.protobuf import fields
from dvlite.formats.record import ImportedArtifact, Status
from dvlite.formats.strict_yaml import Scalar, Tree
from dvlite.show import quote

_TABLES = (
    *("MLMDEnv", "Type", "Execution", "ExecutionProperty", "Event", "EventPath"),
    *("Artifact", "ArtifactProperty", "Context", "Association"),
)
_MOST_VALUES, _MOST_TEXT = 2000, 65536  # of an execution, and characters of one
_VALUE = f"name, int_value, double_value, substr(string_value, 1, {_MOST_TEXT}), bool_value"
_EXECUTIONS = (
    "SELECT Execution.id, Type.name, Execution.name, last_known_state, create_time_since_epoch, last_update_time_since_epoch{}"
    " FROM Execution JOIN Type ON Type.id = type_id ORDER BY Execution.id"
)
_VALUES = (
    f"SELECT {_VALUE} FROM {{0}}Property WHERE {{0}}_id = ? ORDER BY is_custom_property, name LIMIT {_MOST_VALUES}"  # noqa: S608  # constants only
)
_EVENTS = (
    "SELECT Event.id, Event.type, Artifact.id, Type.name, Artifact.name, uri FROM Event JOIN Artifact ON Artifact.id = artifact_id"
    " JOIN Type ON Type.id = type_id WHERE execution_id = ? ORDER BY Event.id LIMIT ?"
)
_STEPS = "SELECT ifnull(step_key, step_index) FROM EventPath WHERE event_id = ? LIMIT 20"
_CONTEXTS = (
    "SELECT execution_id, Type.name, Context.name FROM Association JOIN Context ON Context.id = context_id"
    " JOIN Type ON Type.id = type_id ORDER BY execution_id, Association.id"
)
_STATES: Mapping[int, Status] = {
    3: "ok",
    4: "failed",
    5: "cached",
}  # of Execution.State; others were stopped, or did not end yet
_WORDS: Mapping[str, Status] = {
    "complete": "ok",
    "cached": "cached",
    "failed": "failed",
}  # of TFX before there were states
_INPUTS = {2, 3, 5}  # of Event.Type
_ENDED = {3, 4, 5, 6}
_PIPELINES = ("pipeline", "system.Pipeline", "dvlite.Pipeline")
_PIPELINE_RUNS = ("pipeline_run", "run", "system.PipelineRun", "dvlite.Invocation")
_OWN = "dvlite.Run"
_AROUND = {  # what TFX and Kubeflow Pipelines keep of the machinery among the parameters
    *("pod_name", "pod_uid", "namespace", "cached_fingerprint", "cache_fingerprint", "cached_execution_id", "image"),
    *("display_name", "task_name", "parent_dag_id", "iteration_index", "iteration_count", "resource_name"),
    *("store_session_info", "component_id", "run_id", "pipeline_root", "pipeline_name", "state", "tfx_version"),
    *("launched_type", "checksum_md5"),
}
_STRUCT = "mlmd-struct::"
_DEEPEST = 30


@dataclass(slots=True)
class _Execution:
    """An execution with its properties, the contexts that it is in (type, name), and its artifacts."""

    id: int
    type: str
    name: str
    state: int
    start_ms: int
    end_ms: int | None
    external_id: str
    values: Mapping[str, Tree]
    contexts: list[tuple[str, str]] = field(default_factory=list)
    artifacts: list[ImportedArtifact] = field(default_factory=list)
    metrics: dict[str, Scalar] = field(default_factory=dict)


def require_store(path: Path, shown: str) -> None:
    """Raises UsageError for a file that is neither empty nor of ML-Metadata: its package would write its tables into any database."""
    with open_file(path) as file:
        is_empty = not file.read(1)
    if not is_empty:
        with _opened(path, shown):
            pass


def read_runs(path: Path, shown: str) -> Iterator[ForeignRun | DvliteError]:
    """Yields the executions of a file, oldest first. Raises UsageError for another file."""
    with _opened(path, shown) as database:
        contexts = _Contexts(database)
        columns = {str(row[1]) for row in database.execute("PRAGMA table_info(Execution)")}
        more = ", Execution.external_id" if "external_id" in columns else ", NULL"
        for row in database.execute(_EXECUTIONS.format(more)):
            try:
                execution = _execution(database, row, contexts.of(int(row[0])))
                yield _own_run(execution) if execution.type == _OWN else _run(execution)
            except ODD:
                yield odd(f"the execution {row[0]} in {quote(shown)}")


def _opened(path: Path, shown: str) -> AbstractContextManager[Database]:
    hint, unread = "name a file that ml-metadata wrote", "name a file that the package ml-metadata reads"
    return open_database(path, shown, "ML-Metadata", _TABLES, hint=hint, unread=unread)


class _Contexts:
    """The contexts of executions that are asked for in order: their table has no index by execution."""

    def __init__(self, database: Database) -> None:
        self._rows = database.execute(_CONTEXTS)
        self._next = self._rows.fetchone()

    def of(self, execution: int) -> list[tuple[str, str]]:
        found = []
        while self._next is not None and self._next[0] <= execution:
            if self._next[0] == execution:
                found.append((str(self._next[1]), str(self._next[2])))
            self._next = self._rows.fetchone()
        return found


def _execution(database: Database, row: tuple[Any, ...], contexts: list[tuple[str, str]]) -> _Execution:
    number, type_, name, state, start, end, external_id = row
    values = _values(database, "Execution", number)
    one = _Execution(
        id=int(number),
        type=str(type_),
        name=str(name or ""),
        state=int(state or 0),
        start_ms=int(start),
        end_ms=int(end) if state in _ENDED or "state" in values else None,
        external_id=str(external_id or ""),
        values=values,
        contexts=contexts,
    )
    measured: list[tuple[str, dict[str, Tree]]] = []
    for event, kind, artifact, artifact_type, artifact_name, uri in database.execute(_EVENTS, (number, MOST_ARTIFACTS)):
        steps = [str(step) for (step,) in database.execute(_STEPS, (event,))]
        path = "/".join(steps) or str(artifact_name or uri or artifact_type)
        about = _values(database, "Artifact", artifact)
        is_input = kind in _INPUTS
        one.artifacts.append(_artifact(path, str(uri or ""), about, is_input=is_input))
        if str(artifact_type).endswith("Metrics") and not is_input:
            measured.append((steps[0] if steps else path, about))
    for path, about in measured:
        for key, value in about.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                one.metrics[key if len(measured) == 1 else f"{path}.{key}"] = value
    return one


def _artifact(path: str, uri: str, about: Mapping[str, Tree], *, is_input: bool) -> ImportedArtifact:
    size, digest = about.get("size_bytes"), about.get("digest")
    return ImportedArtifact(
        path=path,
        size_bytes=size if isinstance(size, int) and 0 <= size < 1 << 63 else None,
        digest=digest if isinstance(digest, str) and len(digest) <= 200 else "",
        url=uri,
        role="input" if is_input else "output",
    )


def _values(database: Database, table: str, number: int) -> dict[str, Tree]:
    """Returns the properties of an execution or an artifact; custom ones come last, and count where both have a name."""
    values: dict[str, Tree] = {}
    for name, whole, real, text, truth in database.execute(_VALUES.format(table), (number,)):
        if truth is not None:
            values[str(name)] = bool(truth)
        elif whole is not None or real is not None:
            values[str(name)] = int(whole) if whole is not None else float(real)
        elif text is not None:
            values[str(name)] = _struct_of(str(text)) if text.startswith(_STRUCT) else str(text)
    return values


def _run(one: _Execution) -> ForeignRun:
    pipeline, started_by = (_first(one.contexts, types) for types in (_PIPELINES, _PIPELINE_RUNS))
    around = {key: value for key, value in one.values.items() if key in _AROUND and isinstance(value, Scalar)}
    params: dict[str, Tree] = {}
    for key, value in one.values.items():
        if key in ("inputs", "outputs") and isinstance(value, dict):  # of Kubeflow Pipelines: parameters by name
            params |= value if key == "inputs" else {f"outputs.{name}": item for name, item in value.items()}
        elif key not in _AROUND:
            params[key] = typed(value) if isinstance(value, str) else value
    state = one.values.get("state")
    status = (
        _WORDS.get(state, "canceled")
        if one.state == 0 and isinstance(state, str)
        else _STATES.get(one.state, "canceled")
    )
    return ForeignRun(
        id=one.external_id or f"{one.type}/{one.id}/{one.start_ms}",
        group=_node(one, pipeline),
        status=status,
        name=one.name,
        start_ms=one.start_ms,
        end_ms=one.end_ms,
        params=params,
        metrics=one.metrics,
        environment={
            **around,
            "type": one.type,
            **({"pipeline": pipeline} if pipeline else {}),
            **({"pipeline_run": started_by} if started_by else {}),
        },
        artifacts=tuple(one.artifacts),
    )


def _own_run(one: _Execution) -> ForeignRun:
    """Returns a run that `export mlmd` wrote, from whichever repository: its properties are those of its record."""
    texts = {key: value for key, value in one.values.items() if isinstance(value, str)}
    params, metrics = (json.loads(texts.get(key, "{}")) for key in ("params", "metrics"))
    start, end = (record.time_ns(texts.get(key, "")) // 1_000_000 for key in ("start", "end"))
    exit_code = one.values.get("exit_code")
    known: Mapping[str, Status] = {
        "ok": "ok",
        "asserted": "ok",
        "cached": "cached",
        "failed": "failed",
        "tainted": "tainted",
    }
    run = replace(_run(one), params=params, metrics=metrics, environment={}, name="")
    return replace(
        run,
        group=texts.get("stage", ""),
        status=known.get(texts.get("status", ""), "canceled"),
        start_ms=start,
        end_ms=end or None,
        exit_code=exit_code if isinstance(exit_code, int) else None,
        user=texts.get("user", ""),
        host=texts.get("host", ""),
        command=texts.get("cmd", ""),
        repository=texts.get("repository", ""),
        commit=texts.get("commit", ""),
        tags={**dict.fromkeys(filter(None, texts.get("tags", "").split(",")), ""), "dvlite.run": one.external_id},
    )


def _node(one: _Execution, pipeline: str) -> str:
    """Returns what a step of a pipeline is called: of TFX its node, of Kubeflow Pipelines its task, else the end of its type."""
    node = _first(one.contexts, ("node",)).removeprefix(f"{pipeline}.")
    task = next((value for key in ("task_name", "display_name") if isinstance(value := one.values.get(key), str)), "")
    return node or task or one.type.rpartition(".")[2]


def _first(contexts: list[tuple[str, str]], types: tuple[str, ...]) -> str:
    return next((name for type_, name in contexts if type_ in types), "")


def _struct_of(text: str) -> Tree:
    """Returns the mapping that a text holds, as the package writes one: base64 of google.protobuf.Struct; the text if it was cut or is none."""
    try:
        data = base64.b64decode(text.removeprefix(_STRUCT), validate=True)
        return _struct(data, 0, len(data), 0)
    except (ValueError, IndexError, struct.error):
        return text


def _struct(data: bytes, start: int, stop: int, depth: int) -> dict[str, Tree]:
    entries: dict[str, Tree] = {}
    for number, place in fields(data, start, stop):
        if number == 1 and isinstance(place, slice):
            entry = dict(fields(data, place.start, place.stop))
            key, value = entry.get(1), entry.get(2)
            name = data[key].decode("utf-8", "replace") if isinstance(key, slice) else ""
            entries[name] = _struct_value(data, value, depth + 1) if isinstance(value, slice) else None
    return entries


def _struct_value(data: bytes, place: slice, depth: int) -> Tree:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    for number, value in fields(data, place.start, place.stop):
        if number == 2 and not isinstance(value, slice):
            return float(value)
        if number == 3 and isinstance(value, slice):
            return data[value].decode("utf-8", "replace")
        if number == 4 and not isinstance(value, slice):
            return bool(value)
        if number == 5 and isinstance(value, slice):
            return _struct(data, value.start, value.stop, depth)
        if number == 6 and isinstance(value, slice):
            items = fields(data, value.start, value.stop)
            return [_struct_value(data, item, depth + 1) for key, item in items if key == 1 and isinstance(item, slice)]
    return None
