"""The sides of a comparison of runs: whole records, and which of their inputs are code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dvlite.errors import ObjectMissing
from dvlite.formats.record import Run
from dvlite.oid import MANIFEST, Oid
from dvlite.repo.repository import Repo
from dvlite.runs.history import in_git
from dvlite.runs.index import RunIndex
from dvlite.runs.names import name_of
from dvlite.runs.queries import RunQueries
from dvlite.runs.upstream import upstream_params


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSide:
    """One of some runs."""

    run: str
    name: str
    status: str
    code: str | None = None
    edited: bool = False


def record_of_run(index: RunIndex, oid: Oid) -> Run:
    """Returns the record of a run. Raises ObjectMissing."""
    run = index.run(oid)
    if run is None:
        raise ObjectMissing(f"the record of the run {oid} cannot be read", hint="dvlite pull fetches a remote's copy")
    return run


def side_of(oid: Oid, run: Run) -> RunSide:
    """Returns a run as results name it."""
    edited = bool(run.code.dirty or run.code.diff)
    return RunSide(run=oid, name=name_of(run.stage, oid), status=run.status, code=run.code.commit, edited=edited)


def whole_record(index: RunIndex, oid: Oid) -> Run:
    """Returns a record with the parameters of the runs upstream, and if nothing ran with the environment of the run that was reused."""
    run = record_of_run(index, oid)
    params = {**upstream_params(index, [oid])[oid], **run.params}
    return replace(run, axes={}, environment=index.environment_of(run), facts=replace(run.facts, params=params))


def code_paths_of(repo: Repo, index: RunIndex, runs: Sequence[Run]) -> set[str]:
    """Returns the inputs in git, at the commits of the runs; if these are missing, files that no run wrote."""
    code: set[str] = set()
    for run in runs:
        paths = [item.path for item in run.inputs]
        committed = in_git(repo.git, run.code.commit, paths) if run.code.commit is not None else set()
        if not committed:
            written = RunQueries(index).makers([item.oid for item in run.inputs])
            committed = {item.path for item in run.inputs if item.oid not in written}
        code |= committed
    return code - {item.path for run in runs for item in run.inputs if item.oid.startswith(MANIFEST)}
