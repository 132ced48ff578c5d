"""Compares run records, part by part. Pure: the caller passes which inputs are code, and the directions of metrics.

Code is equal if the inputs in git are equal and no other file was edited: a different commit alone does not change what a run used.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from dvlite.formats.pointer import SUFFIX
from dvlite.formats.record import Run
from dvlite.paths import ancestors

_HOST_FACTS = ("cpus",)  # facts of the machine, not of the run
EDITS = "edits"  # the key of a change in the edits of files that a run does not declare


@dataclass(frozen=True, slots=True, kw_only=True)
class RunValueChange:
    """A value that differs between two runs; `better` if a direction is declared."""

    key: str
    old: Any = None
    new: Any = None
    state: Literal["changed", "added", "removed"] = "changed"
    better: bool | None = None


Changes = tuple[RunValueChange, ...]


@dataclass(frozen=True, slots=True)
class RunDifference:
    """The changes from one run to another; `same` names the parts without any. Values of `data` and `code` are object ids."""

    INLINE: ClassVar[bool] = True  # in JSON, the fields stand among those of the result
    params: Changes
    metrics: Changes
    data: Changes
    code: Changes  # inputs in git; EDITS: `paths` and kept `diff`
    command: Changes
    environment: Changes
    outputs: Changes
    same: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCell:
    """The value of one of several runs, if it `has` one; `better` than the first run's, if a direction is declared and it differs."""

    value: Any = None
    has: bool = True
    better: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCompareRow:
    """A value in which several runs differ, of each of them."""

    part: Literal["params", "metrics", "data", "code"]
    key: str
    cells: tuple[RunCell, ...]


PARTS: tuple[Literal["params", "metrics", "data", "code"], ...] = ("params", "metrics", "data", "code")


def side_by_side(differences: Sequence[RunDifference]) -> list[RunCompareRow]:
    """Returns what differs among runs, given the differences of each of the others from the first."""
    rows = []
    for part in PARTS:
        changes = [{change.key: change for change in getattr(difference, part)} for difference in differences]
        for key in dict.fromkeys(key for of_run in changes for key in of_run):
            known = next(of_run[key] for of_run in changes if key in of_run)
            first = RunCell(value=known.old, has=known.state != "added")
            others = (_cell(of_run[key]) if key in of_run else first for of_run in changes)
            rows.append(RunCompareRow(part=part, key=key, cells=(first, *others)))
    return rows


def _cell(change: RunValueChange) -> RunCell:
    return RunCell(value=change.new, has=change.state != "removed", better=change.better)


def compare_runs(old: Run, new: Run, code_paths: Collection[str], better: Mapping[str, str]) -> RunDifference:
    """Compares two runs. `code_paths` are the inputs in git, `better` maps metrics to `higher` or `lower`."""
    before, after = _contents(old), _contents(new)
    code = [change for change in _changes(before, after) if change.key in code_paths]
    data = [change for change in _changes(before, after) if change.key not in code_paths]
    metrics = [_judged(change, better.get(change.key)) for change in _changes(old.metrics, new.metrics)]
    parts: dict[str, Iterable[RunValueChange]] = {
        "params": _changes(old.facts.params, new.facts.params),
        "metrics": metrics,
        "data": data,
        "code": [*_changes(_edits(old), _edits(new)), *code],
        "command": _changes(_command(old), _command(new)),
        "environment": _changes(_environment(old), _environment(new)),
        "outputs": _changes(_outputs(old), _outputs(new)),
    }
    changes_of = {name: tuple(changes) for name, changes in parts.items()}
    may_be_empty = {"params": old.facts.params, "metrics": old.metrics, "outputs": old.outputs}
    same = tuple(name for name, changes in changes_of.items() if not changes and may_be_empty.get(name, True))
    return RunDifference(**changes_of, same=same)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[RunValueChange]:
    changes = []
    for key in dict.fromkeys((*old, *new)):
        if key not in old:
            changes.append(RunValueChange(key=key, new=new[key], state="added"))
        elif key not in new:
            changes.append(RunValueChange(key=key, old=old[key], state="removed"))
        elif old[key] != new[key] or isinstance(old[key], bool) is not isinstance(new[key], bool):
            changes.append(RunValueChange(key=key, old=old[key], new=new[key]))
    return changes


def _judged(change: RunValueChange, direction: str | None) -> RunValueChange:
    values = [
        value for value in (change.old, change.new) if isinstance(value, (int, float)) and type(value) is not bool
    ]
    if direction is None or len(values) < 2:
        return change
    return replace(change, better=(values[1] > values[0]) == (direction == "higher"))


def _command(run: Run) -> dict[str, str]:
    return {"cmd": run.facts.cmd, "wdir": run.facts.wdir}


def _contents(run: Run) -> dict[str, str]:
    return {item.path: item.oid for item in run.inputs}


def _outputs(run: Run) -> dict[str, str]:
    """Returns the outputs but metrics files, which are compared by value."""
    return {item.path: item.oid for item in run.outputs if item.role != "metric"}


def _edits(run: Run) -> dict[str, Any]:
    """Returns the edited files that the record does not cover by inputs, outputs, parameters or command."""
    covered = {item.path for item in run.inputs} | {item.path for item in run.outputs} | {run.file}
    folder = posixpath.dirname(run.file)
    covered |= {posixpath.normpath(posixpath.join(folder, key.partition(":")[0])) for key in run.facts.params}
    paths = [
        path
        for path in run.code.dirty
        if path not in covered and not path.endswith(SUFFIX) and covered.isdisjoint(ancestors(path))
    ]
    return {EDITS: {"paths": paths, "diff": run.code.diff}} if paths else {}


def _environment(run: Run) -> dict[str, Any]:
    facts = {**run.surroundings, **{f"env {name}": value for name, value in run.facts.env.items()}}
    return {key: value for key, value in facts.items() if key not in _HOST_FACTS}
