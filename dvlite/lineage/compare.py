"""Compares two walks upstream: data, code, commands, parameters, environment, metrics. Pure, but for the listings it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from dvlite.lineage.report import LineageGraph, LineageLink, LineageRun, key_of
from dvlite.repo.stage_names import address
from dvlite.workspace.changes import Counts, FileChange

T = TypeVar("T")
Compare = Callable[[str, str, str], tuple[Counts, tuple[FileChange, ...]] | None]
"""(path, old oid, new oid) -> how two directory versions differ, or None if their listings cannot be read."""

_QUIET_ENVIRONMENT = ("cpus",)  # differs from machine to machine


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageMeasure:
    """Metrics of a run that read the subject; `others` counts the other runs of its stage that did."""

    run: str
    name: str
    stage: str
    file: str
    status: str
    metrics: Mapping[str, Any]
    others: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageContentChange:
    """Content upstream that differs, by path; null on the side without it. `counts` if both listings could be read."""

    path: str
    old_oid: str | None = None
    oid: str | None = None
    old_size_bytes: int | None = None
    size_bytes: int | None = None
    counts: Counts | None = None
    files: tuple[FileChange, ...] = ()  # a few


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageValueChange:
    """A value upstream that differs; null on the side without it."""

    stage: str
    key: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True)
class LineageDifference:
    """The changes in each part; `same` names the parts without any."""

    INLINE: ClassVar[bool] = True  # in JSON, the fields stand among those of the result
    data: tuple[LineageContentChange, ...]
    code: tuple[LineageContentChange, ...]
    stages: tuple[LineageValueChange, ...]  # commands; the whole stage if one side does not have it
    params: tuple[LineageValueChange, ...]
    environment: tuple[LineageValueChange, ...]
    metrics: tuple[LineageValueChange, ...]
    same: tuple[str, ...]


Measures = Sequence[LineageMeasure]


def compare_graphs(
    old: LineageGraph, new: LineageGraph, compare: Compare, measured: tuple[Measures, Measures] = ((), ())
) -> LineageDifference:
    """Compares all runs upstream by stage, and their source data by path; metrics include those of `measured`, runs downstream."""
    before, after = _by_stage(old), _by_stage(new)
    data = _contents(_sources(old, "data"), _sources(new, "data"), compare)
    code = _contents(_sources(old, "code"), _sources(new, "code"), compare)
    stages = _values(before, after, lambda run: {"cmd": run.cmd}) if before.keys() & after.keys() else ()
    params = _values(*_in_both(before, after), lambda run: run.params)
    environment = _values(*_in_both(_that_ran(before), _that_ran(after)), _environment)
    results = _metrics(before, measured[0]), _metrics(after, measured[1])
    metrics = _changes(*_in_both(*results))
    parts = (("data", data), ("code", code), ("stages", stages), ("params", params), ("environment", environment))
    same = [name for name, changes in parts if not changes]
    if not metrics and any(values for side in results for values in side.values()):
        same.append("metrics")
    return LineageDifference(data, code, stages, params, environment, metrics, tuple(same))


def _by_stage(graph: LineageGraph) -> dict[str, LineageRun]:
    """Returns the runs upstream by the address of their stage; of several, the nearest."""
    return {address(run.file, run.stage): run for run in reversed(graph.runs)}


def _that_ran(runs: Mapping[str, LineageRun]) -> dict[str, LineageRun]:
    """Returns the runs of which it is known what they ran in, or the run that they reused."""
    return {stage: run for stage, run in runs.items() if run.environment and run.status != "asserted"}


def _in_both(old: Mapping[str, T], new: Mapping[str, T]) -> tuple[dict[str, T], dict[str, T]]:
    stages = [stage for stage in old if stage in new]
    return {stage: old[stage] for stage in stages}, {stage: new[stage] for stage in stages}


def _metrics(runs: Mapping[str, LineageRun], measured: Measures) -> dict[str, Mapping[str, Any]]:
    later = {address(run.file, run.stage): run.metrics for run in measured}
    return {stage: run.metrics for stage, run in runs.items()} | later


def _sources(graph: LineageGraph, kind: str) -> dict[str, LineageLink]:
    """Returns the artefacts by path that no run upstream wrote: code, or everything else."""
    artefacts = {key_of(artefact): artefact for artefact in graph.artefacts}
    sources: dict[str, LineageLink] = {}
    for run in graph.runs:
        for link in run.inputs:
            artefact = artefacts.get(key_of(link))
            if artefact is None or artefact.made_by or artefact.held_by or artefact.parts:
                continue
            if (artefact.origin == "code") == (kind == "code"):
                sources.setdefault(link.path, link)
    for artefact in artefacts.values() if kind != "code" else ():  # directories through which a file was found
        for link in artefact.held_by[:1]:
            holder = artefacts.get(key_of(link))
            if holder is not None and not holder.made_by:
                sources.setdefault(link.path, link)
    return sources


def _contents(
    old: Mapping[str, LineageLink], new: Mapping[str, LineageLink], compare: Compare
) -> tuple[LineageContentChange, ...]:
    changes = []
    for path in sorted({*old, *new}):
        one, other = old.get(path), new.get(path)
        if one is not None and other is not None and one.oid == other.oid:
            continue
        compared = compare(path, one.oid, other.oid) if one is not None and other is not None else None
        changes.append(
            LineageContentChange(
                path=path,
                old_oid=None if one is None else one.oid,
                oid=None if other is None else other.oid,
                old_size_bytes=None if one is None else one.size_bytes,
                size_bytes=None if other is None else other.size_bytes,
                counts=None if compared is None else compared[0],
                files=() if compared is None else compared[1],
            )
        )
    return tuple(changes)


def _values(
    old: Mapping[str, LineageRun], new: Mapping[str, LineageRun], of: Callable[[LineageRun], Mapping[str, Any]]
) -> tuple[LineageValueChange, ...]:
    return _changes(
        {stage: of(run) for stage, run in old.items()},
        {stage: of(run) for stage, run in new.items()},
    )


def _changes(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> tuple[LineageValueChange, ...]:
    changes: dict[tuple[str, Any, Any], LineageValueChange] = {}
    for stage in sorted({*old, *new}):
        one, other = old.get(stage, {}), new.get(stage, {})
        for key in sorted({*one, *other}):
            before, after = one.get(key), other.get(key)
            if before != after or type(before) is not type(after):
                same = (key, repr(before), repr(after))  # a change in several stages is reported once
                changes.setdefault(same, LineageValueChange(stage=stage, key=key, old=before, new=after))
    return tuple(changes.values())


def _environment(run: LineageRun) -> dict[str, Any]:
    return {key: value for key, value in run.environment.items() if key not in _QUIET_ENVIRONMENT} | {**run.capture}
