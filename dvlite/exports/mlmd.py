"""Runs for ML-Metadata: executions, artifacts, events and contexts, by its own package (the extra `mlmd`), of which this is the only owner.

Its tables are private by its authors' word, so nothing is written but through the package. What it makes of values (see docs/reference/records-elsewhere.md):
numbers get six decimals, texts end at a zero byte, infinities break the statement; and a property called `oid` is never found again.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from dvlite.errors import DvliteError, NoSpace, UsageError
from dvlite.exports.exported_run import ExportedRun
from dvlite.formats import record
from dvlite.formats.record import Run
from dvlite.formats.strict_yaml import Tree
from dvlite.oid import MANIFEST, Oid
from dvlite.runs.queries import Artefact
from dvlite.show import one_line, quote

_STATES = {
    "ok": "COMPLETE",
    "asserted": "COMPLETE",
    "cached": "CACHED",
    "canceled": "CANCELED",
}  # all others are FAILED
_FILE, _DIRECTORY, _RUN = "dvlite.File", "dvlite.Directory", "dvlite.Run"
_CONTENT = {"digest": "STRING", "path": "STRING", "size_bytes": "INT", "files": "INT", "sha256": "STRING"}
_ABOUT = ("stage", "file", "status", "key", "user", "host", "start", "end", "of", "invocation", "sweep")
_TEXTS = (*_ABOUT, "cmd", "repository", "commit", "taint", "tags", "imported", "params", "metrics")
_ABOUT_RUN = {
    **dict.fromkeys(_TEXTS, "STRING"),
    "dirty": "BOOLEAN",
    "exit_code": "INT",
    "seconds": "DOUBLE",
}
_ABOUT_CONTEXT = {"project": "STRING", "file": "STRING", "repository": "STRING"}
_CONTEXTS = ("dvlite.Pipeline", "dvlite.Invocation", "dvlite.Sweep")
_REASON = re.compile(
    r"Error when executing(?: query)?: (.*?)(?: query: |$)", re.DOTALL
)  # the statement follows, with its values
_TRIES = 3  # another export may write the same artifact first
_SHOWN = 200  # characters of a reason
_LARGE_BYTES = 1 << 20  # of a directory of which runs know only a part

Node = TypeVar("Node")


@dataclass(frozen=True, slots=True)
class Written:
    """What one batch added; `updated` are runs that were there, with other tags."""

    runs: int = 0
    updated: int = 0
    artifacts: int = 0
    events: int = 0
    contexts: int = 0


@dataclass(frozen=True, slots=True)
class MlmdRun:
    """A run with the parameters that it inherited, and the directories that held its inputs."""

    exported: ExportedRun
    inherited: Mapping[str, Tree]
    holders: tuple[Artefact, ...] = ()


@dataclass(frozen=True, slots=True)
class _Edge:
    """An event: which content, whether it is an output, and under which path (of a directory that held an input: its own)."""

    artifact: str
    is_output: bool
    path: str


class MlmdStore:
    """A store that is open for writing."""

    def __init__(self, path: Path, shown: str) -> None:
        self._shown = shown
        self._module, self._pb, self._errors = _packages()
        config = self._pb.ConnectionConfig()
        config.sqlite.filename_uri = str(path.absolute())
        config.sqlite.connection_mode = self._pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self._store = self._asked(lambda: self._module.MetadataStore(config))
        self._types = self._asked(self._put_types)

    def write(self, runs: Sequence[MlmdRun]) -> Written:
        """Adds what is missing of some runs: idempotent, also after it was killed in the middle.

        Costs four queries and at most three transactions. Runs, their artifacts and events are one transaction.
        """
        for attempt in range(_TRIES):
            try:
                return self._write(runs)
            except self._errors.AlreadyExistsError as error:
                if attempt == _TRIES - 1:
                    raise self._failed(error) from error
            except (self._errors.StatusError, RuntimeError) as error:
                raise self._failed(error) from error
        raise AssertionError  # the last try returned or raised

    def _write(self, runs: Sequence[MlmdRun]) -> Written:
        store = self._store
        oids = [run.exported.oid for run in runs]
        there = self._known(store.get_executions_by_external_ids, oids)
        new_runs = [run for run in runs if run.exported.oid not in there]
        contents = {_external(item): item for run in runs for item in (*_inputs(run), *_outputs(run))}
        sums = {out.oid: out.sha256 for run in runs for out in run.exported.run.outputs}
        known = self._known(store.get_artifacts_by_external_ids, contents)
        artifacts = {key: one.id for key, one in known.items()}
        new_artifacts = [key for key in contents if key not in artifacts]
        places = {key: place for place, key in enumerate(new_artifacts)}
        edges = [
            (number, places.get(edge.artifact), self._event(run.exported.run, edge, artifacts.get(edge.artifact)))
            for number, run in enumerate(new_runs)
            for edge in _edges(run)
        ]
        ids = {oid: one.id for oid, one in there.items()}
        if new_runs or new_artifacts:
            run_ids, artifact_ids, _ = store.put_lineage_subgraph(
                [self._execution(run) for run in new_runs],
                [self._artifact(key, contents[key], sums.get(contents[key].oid)) for key in new_artifacts],
                [],
                edges,
            )
            artifacts |= zip(new_artifacts, artifact_ids, strict=True)
            ids |= zip((run.exported.oid for run in new_runs), run_ids, strict=True)
        contexts = self._put_contexts(runs, ids, artifacts)
        updated = [one for run in runs if (one := _retagged(there.get(run.exported.oid), run.exported)) is not None]
        if updated:
            store.put_executions(updated)
        return Written(len(new_runs), len(updated), len(new_artifacts), len(edges), contexts)

    def _put_contexts(self, runs: Sequence[MlmdRun], ids: Mapping[str, int], artifacts: Mapping[str, int]) -> int:
        """Puts runs and their artifacts into their contexts, and returns how many of these are new."""
        store, pb = self._store, self._pb
        wanted = {one.external_id: one for run in runs for one in self._contexts(run.exported)}
        known = self._known(store.get_contexts_by_external_ids, wanted)
        contexts = {key: one.id for key, one in known.items()}
        new = [one for key, one in wanted.items() if key not in contexts]
        if new:
            contexts |= zip((one.external_id for one in new), store.put_contexts(new), strict=True)
        pairs = [(run, contexts[one.external_id]) for run in runs for one in self._contexts(run.exported)]
        held = {(artifacts[edge.artifact], context): None for run, context in pairs for edge in _edges(run)}
        store.put_attributions_and_associations(
            [pb.Attribution(artifact_id=artifact, context_id=context) for artifact, context in held],
            [pb.Association(execution_id=ids[run.exported.oid], context_id=context) for run, context in pairs],
        )
        return len(new)

    def _put_types(self) -> dict[str, int]:
        pb, store = self._pb, self._store
        kinds: tuple[tuple[Any, Callable[..., int], Mapping[str, Mapping[str, str]]], ...] = (
            (pb.ArtifactType, store.put_artifact_type, {_FILE: _CONTENT, _DIRECTORY: _CONTENT}),
            (pb.ExecutionType, store.put_execution_type, {_RUN: _ABOUT_RUN}),
            (pb.ContextType, store.put_context_type, dict.fromkeys(_CONTEXTS, _ABOUT_CONTEXT)),
        )
        return {
            name: put(
                kind(name=name, properties={key: pb.PropertyType.Value(type_) for key, type_ in properties.items()}),
                can_add_fields=True,  # a later version may have more
                can_omit_fields=True,
            )
            for kind, put, types in kinds
            for name, properties in types.items()
        }

    def _contexts(self, exported: ExportedRun) -> Iterator[Any]:
        """Yields the contexts of a run."""
        run, project = exported.run, exported.run.project or "none"
        pipeline, invocation, sweep = _CONTEXTS
        wanted = [(pipeline, f"pipeline:{project}:{run.file}", f"{run.file}@{project[:16]}")]
        if run.imported is None:
            wanted.append((invocation, f"invocation:{run.invocation}", run.invocation))
        if run.sweep:
            wanted.append((sweep, f"sweep:{project}:{run.sweep}", f"{run.sweep}@{project[:16]}"))
        for type_, key, name in wanted:
            context = self._pb.Context(type_id=self._types[type_], name=_text(name), external_id=_text(f"dvlite:{key}"))
            _fill(context.properties, {"project": run.project, "file": run.file, "repository": run.code.repo})
            yield context

    def _execution(self, run_: MlmdRun) -> Any:
        exported, run = run_.exported, run_.exported.run
        one = self._pb.Execution(
            type_id=self._types[_RUN],
            name=_text(exported.long_name),
            external_id=exported.oid,
            last_known_state=self._pb.Execution.State.Value(_STATES.get(run.status, "FAILED")),
        )
        about = {name: getattr(run, name) for name in _ABOUT} | {
            "cmd": run.facts.cmd,
            "repository": run.code.repo,
            "commit": run.code.commit,
            "taint": "\n".join(run.taint),
            "tags": ",".join(exported.tags),
            "imported": None if run.imported is None else f"{run.file}:{run.imported.id}",
            "params": json.dumps({**run_.inherited, **run.params}, sort_keys=True),
            "metrics": json.dumps(dict(run.metrics), sort_keys=True),
            "dirty": bool(run.code.dirty or run.code.diff),
            "seconds": run.seconds,
        }
        _fill(one.properties, about)
        if run.exit_code is not None:
            one.properties["exit_code"].int_value = run.exit_code
        _fill(one.custom_properties, values_of(run, run_.inherited))
        return one

    def _artifact(self, key: str, item: Artefact, sha256: str | None) -> Any:
        type_ = _DIRECTORY if item.oid.startswith(MANIFEST) else _FILE
        digits = item.oid.rpartition(":")[2]
        one = self._pb.Artifact(
            type_id=self._types[type_],
            name=_text(f"{item.path}@{digits[:16]}"),
            uri=f"dvlite://{item.oid}",
            external_id=key,
            state=self._pb.Artifact.LIVE,
        )
        _fill(one.properties, {"digest": item.oid, "path": item.path, "sha256": sha256})
        one.properties["size_bytes"].int_value = item.size_bytes
        one.properties["files"].int_value = item.files
        return one

    def _event(self, run: Run, edge: _Edge, artifact: int | None) -> Any:
        kind, moment = ("OUTPUT", run.end or run.start) if edge.is_output else ("INPUT", run.start)
        event = self._pb.Event(
            type=self._pb.Event.Type.Value(kind), milliseconds_since_epoch=record.time_ns(moment) // 1_000_000
        )
        event.path.steps.add().key = _text(edge.path)
        if artifact is not None:
            event.artifact_id = artifact
        return event

    def _known(self, get: Callable[[list[str]], Iterable[Any]], keys: Iterable[str]) -> dict[str, Any]:
        """Returns what there is of these external ids; it is an error of the package that there is none of them."""
        try:
            return {one.external_id: one for one in get([*keys])}
        except self._errors.NotFoundError:
            return {}

    def _asked(self, ask: Callable[[], Node]) -> Node:
        try:
            return ask()
        except (self._errors.StatusError, RuntimeError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> DvliteError:
        found = _REASON.search(str(error))
        reason = one_line(str(error) if found is None else found[1].strip())
        if "disk is full" in reason:
            return NoSpace(
                f"cannot write {quote(self._shown)}: {reason}", hint="free some space and run the command again"
            )
        if "database is locked" in reason:
            message = f"another program writes into {quote(self._shown)} ({reason[:_SHOWN]})"
            return DvliteError(message, hint="wait for it, then run the same command again: what is there is kept")
        if "MLMD database version" in reason:
            message = f"{quote(self._shown)} is of another version of ML-Metadata: {reason[:_SHOWN]}"
            return UsageError(message, hint="export into a new file: dvlite export mlmd NEW.sqlite")
        message = f"ML-Metadata cannot write into {quote(self._shown)}: {reason[:_SHOWN]}"
        return DvliteError(message, hint="what is written stays; the same command again adds the rest")


def values_of(run: Run, inherited: Mapping[str, Tree]) -> dict[str, Tree]:
    """Returns the parameters and metrics of a run by their whole keys: short names would differ from export to export.

    A parameter that is called as a metric of the same run is `param:<key>`.
    """
    params = {**inherited, **run.params}
    return {f"param:{key}" if key in run.metrics else key: value for key, value in params.items()} | dict(run.metrics)


def _external(item: Artefact) -> str:
    return _text(f"dvlite:{item.key}")


def _edges(run: MlmdRun) -> list[_Edge]:
    """Returns the events of a run: of one kind, there is one for each content, by the first path."""
    edges = {(_external(item), True): item.path for item in reversed(_outputs(run))}
    edges |= {(_external(item), False): item.path for item in reversed(_inputs(run))}
    return [_Edge(artifact, is_output, path) for (artifact, is_output), path in edges.items()]


def _inputs(run: MlmdRun) -> list[Artefact]:
    inputs = [Artefact(item.oid, item.path, item.size_bytes, item.files) for item in run.exported.run.inputs]
    return [*inputs, *run.holders]


def _outputs(run: MlmdRun) -> list[Artefact]:
    return [Artefact(item.oid, item.path, item.size_bytes, item.files) for item in run.exported.outputs]


def _retagged(there: Any, exported: ExportedRun) -> Any:
    """Returns an execution with the tags that its run has now, None where it has them."""
    tags = _text(",".join(exported.tags))
    if there is None or (there.properties["tags"].string_value if "tags" in there.properties else "") == tags:
        return None
    there.properties["tags"].string_value = tags
    return there


def _fill(properties: Any, values: Mapping[str, Tree]) -> None:
    """Sets properties: all numbers as doubles, so that a filter compares whole ones with others; empty ones not at all."""
    for key, value in values.items():
        name = _text(key)
        if value is None or value == "":
            continue
        if isinstance(value, bool):
            properties[name].bool_value = value
        elif isinstance(value, int | float):
            properties[name].double_value = float(value)
        else:
            properties[name].string_value = _text(value if isinstance(value, str) else json.dumps(value))


def _text(text: str) -> str:
    """Returns a text that its strings can hold."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def holders_of(run: Run, directories: Mapping[Oid, Artefact]) -> tuple[Artefact, ...]:
    """Returns the directories that held inputs of a run, as they were then; `directories` are those of which runs know the size."""
    held = {item.inside_oid: item.inside or "" for item in run.inputs if item.inside_oid is not None}
    known = {oid: directories.get(oid, Artefact(oid, size_bytes=_LARGE_BYTES, files=0)) for oid in held}
    return tuple(known[oid]._replace(path=path) for oid, path in held.items())


def _packages() -> tuple[ModuleType, Any, Any]:
    try:
        from ml_metadata import errors
        from ml_metadata.metadata_store import metadata_store
        from ml_metadata.proto import metadata_store_pb2
    except ImportError:
        message = "the package ml-metadata, which writes the files of ML-Metadata, is not installed"
        hint = "pip install 'dvlite[mlmd]'"
        if sys.version_info >= (3, 12):
            hint += " with Python 3.11, the last for which it is released"
        raise UsageError(message, hint=hint) from None
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # it prints each error before it raises it
    return metadata_store, metadata_store_pb2, errors
