"""`dvlite metrics show` and `metrics diff`: what the metrics files of stages hold, here and at revisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from dvlite.errors import DvliteError, ObjectMissing, PartlyDone
from dvlite.formats.parameters import flatten
from dvlite.pipeline.revision_files import WORKSPACE, RevisionFiles, chosen, two_sides
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.show import Show, count


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsFile:
    """What one metrics file holds, by dotted key; `problem` says why that is not known."""

    path: str
    stage: str
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOfRevision:
    """The metrics files of the workspace or of a revision."""

    revision: str
    commit: str | None = None
    files: tuple[MetricsFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsShowResult:
    """The metrics of stages, for each side asked for."""

    schema: ClassVar[str] = "dvlite.metrics-show/1"
    revisions: tuple[MetricsOfRevision, ...] = ()
    unread: int = 0  # files that could not be read
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns how many files could not be read."""
        message = f"{count(self.unread, 'file')} could not be read"
        return PartlyDone(message, hint="see the warnings above") if self.unread else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDifference:
    """One metric on two sides. `relative` is the change by the old value; `better` only where a direction is declared."""

    file: str
    key: str
    stage: str
    state: Literal["equal", "changed", "added", "removed"]  # equal: within the tolerances
    old: Any = None
    new: Any = None
    change: int | float | None = None
    relative: float | None = None
    better: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsDiffResult:
    """The metrics of stages, on two sides (`workspace` or a revision as given)."""

    schema: ClassVar[str] = "dvlite.metrics-diff/1"
    old: str
    new: str
    metrics: tuple[MetricDifference, ...] = ()
    unread: int = 0  # files that could not be read
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns how many files could not be read."""
        message = f"{count(self.unread, 'file')} could not be read"
        return PartlyDone(message, hint="see the warnings above") if self.unread else None


@dataclass(slots=True)
class _MetricsRead:
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
    sides = [RevisionFiles(repo, revision) for revision in revisions or (WORKSPACE,)]
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


def _look(side: RevisionFiles) -> _MetricsRead:
    """Reads every metrics file of a side."""
    loaded = side.load()
    found = _MetricsRead(problems=[error.message for error in loaded.broken])
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
