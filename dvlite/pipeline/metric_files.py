"""The metrics files of stages on one side, the work tree or a commit, and how their values differ between two. Asks no remote."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dvlite.errors import DvliteError, FormatError, ObjectMissing
from dvlite.formats import parameters
from dvlite.formats.lockfile import Locked
from dvlite.formats.parameters import flatten
from dvlite.formats.strict_yaml import Tree
from dvlite.pipeline.outputs import is_cached as is_cached_version
from dvlite.pipeline.revision_files import undeclared
from dvlite.pipeline.stages import Stage, StageOut, load
from dvlite.pipeline.staleness import read_locks
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import Revision
from dvlite.show import quote, word
from dvlite.workspace import sparse


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsFile:
    """What one metrics file holds, by dotted key; `problem` says why that is not known."""

    path: str
    stage: str
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


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


@dataclass(slots=True)
class MetricsRead:
    """The metrics of one side: the files by path, the direction of what is declared better, and what could not be read."""

    files: dict[str, MetricsFile] = field(default_factory=dict)
    better: dict[tuple[str, str], str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # by metrics or pipeline file

    def add_problem(self, path: str, stage: str, error: DvliteError) -> None:
        hint = f"; {error.hint}" if isinstance(error, ObjectMissing) else ""
        self.problems[path] = f"{error.message}{hint}"
        self.files[path] = MetricsFile(path=path, stage=stage, problem=error.message)


def read_metrics(repo: Repo, sides: Sequence[Revision], paths: Sequence[str]) -> list[MetricsRead]:
    """Reads every metrics file of each side, and the files named that no stage declares."""
    reads = [_look(repo, side) for side in sides]
    for path in undeclared(repo, sides, paths, {path for read in reads for path in read.files}):
        for side, read in zip(sides, reads, strict=True):
            try:
                data = side.read(path, parameters.metrics_limit_bytes(path))
                if data is not None:
                    tree = parameters.load_metrics(data, path, side.shown(path))
                    read.files[path] = MetricsFile(path=path, stage="", values=flatten(tree))
            except DvliteError as error:
                read.add_problem(path, "", error)
    return reads


def differences(
    before: MetricsRead, after: MetricsRead, files: Sequence[str], *, rtol: float = 0.0, atol: float = 0.0
) -> list[MetricDifference]:
    """Returns each metric of these files, with how it differs; numbers are equal if they differ by at most `atol` + `rtol` * |old|."""
    rows: list[MetricDifference] = []
    for path in files:
        one, other = (side.files.get(path, MetricsFile(path=path, stage="")) for side in (before, after))
        if one.problem is not None or other.problem is not None:
            continue  # it is not known what changed
        better = before.better | after.better
        for key in dict.fromkeys([*other.values, *one.values]):
            row = _difference(other if other.stage else one, key, one.values, other.values)
            rows.append(_measured(row, better.get((path, key)), rtol, atol))
    return rows


def _look(repo: Repo, at: Revision) -> MetricsRead:
    """Reads every metrics file of a revision."""
    loaded = load(at)
    read = MetricsRead(problems={error.message: error.message for error in loaded.broken})
    for stage in (*loaded.stages, *loaded.loose):
        for out in stage.outs:
            for path, tree in _metrics(repo, at, stage, out) if out.spec.metric else ():
                if isinstance(tree, DvliteError):
                    read.add_problem(path, stage.address, tree)
                    continue
                read.files[path] = MetricsFile(path=path, stage=stage.address, values=flatten(tree))
                read.better |= {(path, key): direction for key, direction in out.spec.better.items()}
    return read


def _metrics(repo: Repo, at: Revision, stage: Stage, out: StageOut) -> Iterator[tuple[str, Tree | DvliteError]]:
    """Yields the files of a metric, by path, with what they hold or why that is not known; none for a file that does not exist."""
    is_cached = out.spec.cache and not at.is_on_disk
    try:
        locked = _locked(at, stage) if out.spec.cache else {}
    except DvliteError as error:
        yield out.path, error
        return
    names = [out.path]
    if sparse.is_glob(out.path) and at.is_on_disk:
        globbed = glob.iglob(out.path, root_dir=repo.root, recursive=True)
        is_chosen = sparse.selector([out.path])
        absent = {path for path in locked if is_chosen(os.fsencode(path))}
        names = sorted(absent | {path for path in globbed if (repo.root / path).is_file()})
    elif sparse.is_glob(out.path):
        is_chosen = sparse.selector([out.path])
        names = sorted(path for path in (locked if is_cached else at.names) if is_chosen(os.fsencode(path)))
    for path in names:
        try:
            if not is_cached:
                data = at.read(path, parameters.metrics_limit_bytes(path))
                if data is None and path in locked:
                    verb = "checkout" if is_cached_version(open_cache(repo), locked[path]) else "pull"
                    yield path, ObjectMissing(f"{quote(path)} is not on disk", hint=f"dvlite {verb} {word(path)}")
            else:
                data = _from_cache(repo, at, path, locked[path]) if path in locked else None
            if data is not None:
                yield path, parameters.load_metrics(data, path, at.shown(path))
        except DvliteError as error:
            yield path, error


def _locked(at: Revision, stage: Stage) -> dict[str, Locked]:
    """Returns the outputs of a stage as the lockfile has them, by path."""
    entry = read_locks(at, [stage])[stage.lockfile].stage(stage.name)
    return {stage.placed(out.path): out for out in (() if entry is None else entry.outs)}


def _from_cache(repo: Repo, at: Revision, path: str, locked: Locked) -> bytes:
    version = locked.pointer()
    try:
        if version.kind == "file" and version.size_bytes <= parameters.metrics_limit_bytes(path):
            return open_cache(repo).read_file(version.digest, version.size_bytes)
    except ObjectMissing as error:
        hint = f"dvlite fetch --rev {word(at.name)}"
        raise ObjectMissing(f"{quote(at.shown(path))} is not in the cache", hint=hint) from error
    raise FormatError(f"cannot read {quote(at.shown(path))}: it is a folder, or too large", hint="name one file")


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
