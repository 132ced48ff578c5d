"""What differs between two walks upstream: data, code, commands, parameters, environment, results. Pure, but for the listings it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dvlite.lineage.report import LineageGraph, LineageLink, LineageRun, key_of
from dvlite.workspace.changes import Counts, FileChange

Compare = Callable[[str, str, str], tuple[Counts, tuple[FileChange, ...]] | None]
"""(path, old oid, new oid) -> how two directory versions differ, or None if their listings cannot be read."""

_QUIET_ENVIRONMENT = ("cpus",)  # differs from machine to machine, and is told with the machine


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageMeasure:
    """Metrics of a run that began with what was asked about; `others` counts the other runs of its stage that did."""

    run: str
    name: str
    stage: str
    file: str
    status: str
    metrics: Mapping[str, Any]
    others: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageContentChange:
    """Content upstream that differs, by path; null on the side that does not have it. `counts` if both listings could be read."""

    path: str
    old_oid: str | None = None
    oid: str | None = None
    old_size_bytes: int | None = None
    size_bytes: int | None = None
    counts: Counts | None = None
    files: tuple[FileChange, ...] = ()  # a few


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageValueChange:
    """A value upstream that differs; null on the side that does not have it."""

    stage: str
    key: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True)
class LineageDifference:
    """What differs; the parts that are equal on both sides are named in `same`."""

    data: tuple[LineageContentChange, ...]
    code: tuple[LineageContentChange, ...]
    stages: tuple[LineageValueChange, ...]
    params: tuple[LineageValueChange, ...]
    environment: tuple[LineageValueChange, ...]
    metrics: tuple[LineageValueChange, ...]
    same: tuple[str, ...]


Measures = Sequence[LineageMeasure]


def difference(
    old: LineageGraph, new: LineageGraph, compare: Compare, measured: tuple[Measures, Measures] = ((), ())
) -> LineageDifference:
    """Compares everything upstream of two things, stage by stage; sources of data by path. Metrics also as they were `measured` later."""
    before, after = _by_stage(old), _by_stage(new)
    data = _contents(_sources(old, "data"), _sources(new, "data"), compare)
    code = _contents(_sources(old, "code"), _sources(new, "code"), compare)
    stages = _values(before, after, lambda run: {"cmd": run.cmd}) if before.keys() & after.keys() else ()
    both = [stage for stage in before if stage in after]
    left, right = {stage: before[stage] for stage in both}, {stage: after[stage] for stage in both}
    params = _values(left, right, lambda run: run.params)
    environment = _values(left, right, _environment)
    results = _metrics(before, measured[0]), _metrics(after, measured[1])
    both = [stage for stage in results[0] if stage in results[1]]
    metrics = _changes(*({stage: side[stage] for stage in both} for side in results))
    parts = (("data", data), ("code", code), ("stages", stages), ("params", params), ("environment", environment))
    same = [name for name, changes in parts if not changes]
    if not metrics and any(values for side in results for values in side.values()):
        same.append("metrics")
    return LineageDifference(data, code, stages, params, environment, metrics, tuple(same))


def _by_stage(graph: LineageGraph) -> dict[str, LineageRun]:
    """Returns the runs upstream by the address of their stage; of several, the nearest."""
    found: dict[str, LineageRun] = {}
    for run in graph.runs:
        found.setdefault(_address(run), run)
    return found


def _address(run: LineageRun | LineageMeasure) -> str:
    folder = run.file.rpartition("/")[0]
    return f"{folder}:{run.stage}" if folder else run.stage


def _metrics(runs: Mapping[str, LineageRun], measured: Measures) -> dict[str, Mapping[str, Any]]:
    return {stage: run.metrics for stage, run in runs.items()} | {_address(run): run.metrics for run in measured}


def _sources(graph: LineageGraph, kind: str) -> dict[str, LineageLink]:
    """Returns the sources by path: code, or everything else that no run upstream made."""
    artefacts = {key_of(found): found for found in graph.artefacts}
    found: dict[str, LineageLink] = {}
    for run in graph.runs:
        for link in run.inputs:
            artefact = artefacts.get(key_of(link))
            if artefact is None or artefact.made_by or artefact.held_by or artefact.parts:
                continue
            if (artefact.origin == "code") == (kind == "code"):
                found.setdefault(link.path, link)
    for artefact in artefacts.values() if kind != "code" else ():  # directories through which a file was found
        for link in artefact.held_by[:1]:
            holder = artefacts.get(key_of(link))
            if holder is not None and not holder.made_by:
                found.setdefault(link.path, link)
    return found


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
                same = (key, repr(before), repr(after))  # the same change in several stages is told once
                changes.setdefault(same, LineageValueChange(stage=stage, key=key, old=before, new=after))
    return tuple(changes.values())


def _environment(run: LineageRun) -> dict[str, Any]:
    found = {key: value for key, value in run.environment.items() if key not in _QUIET_ENVIRONMENT}
    return {} if run.status == "cached" else {**found, **run.capture}
