"""What differs between two run records, part by part. Pure: which inputs are code, and which metrics are better how, is given.

Code is the same if the inputs that git keeps are, and no other file was edited: another commit says nothing of what a run used.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from dvlite.formats.pointer import SUFFIX
from dvlite.formats.record import Run
from dvlite.paths import ancestors

_HOST_FACTS = ("cpus",)  # of the machine, whatever ran on it


EDITS = "edits"  # the key of a change in what was edited beside what a run declares


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
    """The changes from one run to another, and the names of the parts that are the same."""

    params: Changes
    metrics: Changes
    data: Changes
    code: Changes
    command: Changes
    environment: Changes
    outputs: Changes
    same: tuple[str, ...]


def difference(old: Run, new: Run, code_paths: Collection[str], better: Mapping[str, str]) -> RunDifference:
    """Compares two runs. `code_paths` are the inputs that git keeps, `better` says `higher` or `lower` of metrics."""
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
    found = {name: tuple(changes) for name, changes in parts.items()}
    something = {"params": old.facts.params, "metrics": old.metrics, "outputs": old.outputs}
    same = tuple(name for name, changes in found.items() if not changes and something.get(name, True))
    return RunDifference(**found, same=same)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[RunValueChange]:
    found = []
    for key in dict.fromkeys((*old, *new)):
        if key not in old:
            found.append(RunValueChange(key=key, new=new[key], state="added"))
        elif key not in new:
            found.append(RunValueChange(key=key, old=old[key], state="removed"))
        elif old[key] != new[key] or isinstance(old[key], bool) is not isinstance(new[key], bool):
            found.append(RunValueChange(key=key, old=old[key], new=new[key]))
    return found


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
    """Returns what a run made, without the metrics files: their values are told."""
    return {item.path: item.oid for item in run.outputs if item.role != "metric"}


def _edits(run: Run) -> dict[str, Any]:
    """Returns what was edited beside what the record has of its own: inputs, parameters, the command."""
    told = {item.path for item in run.inputs} | {item.path for item in run.outputs} | {run.file}
    folder = posixpath.dirname(run.file)
    told |= {posixpath.normpath(posixpath.join(folder, key.partition(":")[0])) for key in run.facts.params}
    paths = [
        path
        for path in run.code.dirty
        if path not in told and not path.endswith(SUFFIX) and not any(parent in told for parent in ancestors(path))
    ]
    return {EDITS: {"paths": paths, "diff": run.code.diff}} if paths else {}


def _environment(run: Run) -> dict[str, Any]:
    found = {**run.surroundings, **{f"env {name}": value for name, value in run.facts.env.items()}}
    return {key: value for key, value in found.items() if key not in _HOST_FACTS}
