"""`dvlite metrics show` and `metrics diff`: what the metrics files of stages hold, here and at revisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dvlite.errors import DvliteError, ObjectMissing
from dvlite.formats.parameters import flatten
from dvlite.pipeline.sides import WORKSPACE, Side, chosen, two_sides
from dvlite.progress import Progress
from dvlite.repo import Repo
from dvlite.results.pipeline_files import (
    MetricDifference,
    MetricsDiffResult,
    MetricsFile,
    MetricsOfRevision,
    MetricsShowResult,
)


@dataclass(slots=True)
class _Found:
    """The metrics of one side: the files by path, the direction of what is declared better, and what could not be read."""

    files: dict[str, MetricsFile] = field(default_factory=dict)
    better: dict[tuple[str, str], str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def metrics_show(
    repo: Repo, revisions: Sequence[str], paths: Sequence[str], *, progress: Progress
) -> MetricsShowResult:
    """Returns the metrics of the work tree, or of each revision given.

    A file that cannot be read has a problem and no values. Raises UsageError for a revision or path that there is not.
    """
    sides = [Side(repo, revision) for revision in revisions or (WORKSPACE,)]
    found = [_look(side) for side in sides]
    files = chosen(repo, paths, sorted({path for each in found for path in each.files}), "metrics file")
    shown = tuple(
        MetricsOfRevision(
            revision=side.name,
            commit=side.commit,
            files=tuple(each.files[path] for path in sorted(files & each.files.keys())),
        )
        for side, each in zip(sides, found, strict=True)
    )
    warnings = tuple(dict.fromkeys(problem for each in found for problem in each.problems))
    return MetricsShowResult(revisions=shown, unread=len(warnings), warnings=warnings)


def metrics_diff(
    repo: Repo,
    revisions: Sequence[str],
    paths: Sequence[str],
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    progress: Progress,
) -> MetricsDiffResult:
    """Compares metrics of a revision (HEAD if none is given) with another one or the work tree; equal ones are returned too.

    Numbers are equal if they differ by at most `atol` + `rtol` * |old|. Raises UsageError for a revision or path that there is not.
    """
    old, new = two_sides(repo, revisions)
    before, after = _look(old), _look(new)
    rows: list[MetricDifference] = []
    for path in sorted(chosen(repo, paths, sorted(before.files | after.files), "metrics file")):
        one, other = (side.files.get(path, MetricsFile(path=path, stage="")) for side in (before, after))
        if one.problem is not None or other.problem is not None:
            continue  # it is not known what changed
        better = before.better | after.better
        for key in dict.fromkeys([*other.values, *one.values]):
            row = _difference(other if other.stage else one, key, one.values, other.values)
            rows.append(_measured(row, better.get((path, key)), rtol, atol))
    warnings = tuple(dict.fromkeys([*before.problems, *after.problems]))
    return MetricsDiffResult(old=old.name, new=new.name, metrics=tuple(rows), unread=len(warnings), warnings=warnings)


def _look(side: Side) -> _Found:
    """Reads every metrics file of a side."""
    loaded = side.load()
    found = _Found(problems=[error.message for error in loaded.broken])
    for stage in loaded.stages:
        for out in stage.outs:
            for path, values in side.metrics(stage, out) if out.spec.metric else ():
                if isinstance(values, DvliteError):
                    hint = f"; {values.hint}" if isinstance(values, ObjectMissing) else ""
                    found.problems.append(f"{values.message}{hint}")
                    found.files[path] = MetricsFile(path=path, stage=stage.address, problem=values.message)
                    continue
                found.files[path] = MetricsFile(path=path, stage=stage.address, values=flatten(values))
                found.better |= {(path, key): direction for key, direction in out.spec.better.items()}
    return found


def _difference(file: MetricsFile, key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> MetricDifference:
    state: Literal["added", "removed", "changed"] = (
        "added" if key not in old else "removed" if key not in new else "changed"
    )
    return MetricDifference(file=file.path, key=key, stage=file.stage, state=state, old=old.get(key), new=new.get(key))


def _measured(row: MetricDifference, direction: str | None, rtol: float, atol: float) -> MetricDifference:
    """Adds by how much a metric changed, whether that counts, and whether it is better."""
    if row.state != "changed":
        return row
    if not (_is_number(row.old) and _is_number(row.new)):
        return replace(row, state="equal") if repr(row.old) == repr(row.new) else row
    if row.old == row.new:  # also of integers beyond what a float can hold
        return replace(row, state="equal", change=0, relative=0.0 if row.old else None)
    try:
        change = row.new - row.old
        relative = change / abs(row.old) if row.old else None
        equal = abs(change) <= atol + rtol * abs(row.old)
    except OverflowError:
        return row
    if equal:
        return replace(row, state="equal", change=change, relative=relative)
    better = None if direction is None else (change > 0) == (direction == "higher")
    return replace(row, change=change, relative=relative, better=better)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
