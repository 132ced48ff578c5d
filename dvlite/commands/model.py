"""`dvlite model list`, `show`, `history` and `diff`: what the registry of models says, and what is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import model_tag
from dvlite.oid import Oid
from dvlite.progress import Progress
from dvlite.registry.claim import ask
from dvlite.registry.models import (
    Model,
    ModelVersion,
    Promotion,
    Registry,
    RegistryProblem,
    find_version,
    load,
    model_named,
    note_seen,
)
from dvlite.repo.registered import registry_remote
from dvlite.repo.repository import Repo
from dvlite.results import Result, TableResult
from dvlite.runs.compare import RunCompareRow, compare_runs, side_by_side
from dvlite.runs.history import time_text
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.model_rows import ModelRow, row_of, run_name
from dvlite.runs.records import open_records
from dvlite.runs.schema import METRIC, PARAM
from dvlite.runs.sides import RunSide, code_paths_of, side_of, whole_record
from dvlite.show import Show


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLine:
    """A model: its newest version, and the version in each stage."""

    name: str
    newest: int
    versions: int
    stages: Mapping[str, int]
    path: str
    oid: Oid
    run_name: str
    time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvent:
    """A version that was registered (`stage` is empty) or promoted to a stage; `in_force`: the stage has it now."""

    tag: str
    version: int
    stage: str = ""
    in_force: bool = False
    when: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    commit: str = ""
    user: str = ""
    time: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelListResult(TableResult):
    """All models; `problems` are tags that are lost, moved or replaced: exit code 1 if one leaves in doubt what a model is."""

    schema: ClassVar[str] = "dvlite.model-list/1"
    ROWS = ("models", ModelLine)
    models: tuple[ModelLine, ...] = ()
    problems: tuple[RegistryProblem, ...] = ()
    asked: str | None = None  # the git remote that was asked now
    git_remote: str | None = None  # the one that keeps the registry
    shallow: bool = False  # then tags may not be here

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what is wrong."""
        return _failure(self.problems, show)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelShowResult(Result):
    """A version of a model, with the parameters and metrics of its run, if that is known here."""

    schema: ClassVar[str] = "dvlite.model-show/1"
    model: ModelRow
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[RegistryProblem, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what is wrong with the model."""
        return _failure(self.problems, show)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelHistoryResult(TableResult):
    """What happened to a model, the newest first: in the order of numbers, whatever clocks said."""

    schema: ClassVar[str] = "dvlite.model-history/1"
    ROWS = ("events", ModelEvent)
    name: str
    events: tuple[ModelEvent, ...] = ()
    problems: tuple[RegistryProblem, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what is wrong with the model."""
        return _failure(self.problems, show)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelDiffResult(Result):
    """Two versions: whether their content is the same, and how their runs differ, if both are known here."""

    schema: ClassVar[str] = "dvlite.model-diff/1"
    old: ModelRow
    new: ModelRow
    same: bool
    runs: tuple[RunSide, ...] = ()
    rows: tuple[RunCompareRow, ...] = ()  # the values in which they differ


def model_list(repo: Repo, names: tuple[str, ...] = (), *, fetch: bool = False, progress: Progress) -> ModelListResult:
    """Lists models, or those that are named. `fetch` asks the git remote first. Raises UsageError for a name that there is not."""
    remote = registry_remote(repo)
    if fetch and remote is None:
        raise UsageError(
            "there is no git remote to ask", hint="git remote add origin URL; without one, this clone is the registry"
        )
    registry = ask(repo.git, remote) if fetch and remote is not None else _known(repo, remote)
    chosen = [model_named(registry, name) for name in sorted(names or registry.models)]
    with open_index(open_records(repo, progress)) as index:
        lines = tuple(line for model in chosen if (line := _line(model, index)) is not None)
    problems = [each for each in registry.problems if not names or each.model in names]
    return ModelListResult(
        models=lines,
        problems=tuple(problems),
        asked=remote if fetch else None,
        git_remote=remote,
        shallow=repo.git.is_shallow(),
    )


def model_show(repo: Repo, name: str, *, progress: Progress) -> ModelShowResult:
    """Shows a version: `birds@7`, `birds@prod`, or `birds` for the newest."""
    registry = _known(repo, _hinted(repo))
    version = find_version(registry, name)
    with open_index(open_records(repo, progress)) as index:
        params, metrics = (
            index.values([version.run], space).get(version.run, {}) if version.run is not None else {}
            for space in (PARAM, METRIC)
        )
        row = row_of(version, registry, index)
    return ModelShowResult(model=row, params=params, metrics=metrics, problems=registry.problems_of(version.name))


def model_history(repo: Repo, name: str, *, progress: Progress) -> ModelHistoryResult:
    """Lists what was registered and promoted of a model."""
    registry = _known(repo, _hinted(repo))
    bare = model_tag.parse_reference(name)[0]
    model = model_named(registry, bare)
    events = tuple(_event(each, model) for each in reversed(model.events()))
    return ModelHistoryResult(name=bare, events=events, problems=registry.problems_of(bare))


def model_diff(repo: Repo, old: str, new: str, *, progress: Progress) -> ModelDiffResult:
    """Compares two versions, of one model or of two."""
    registry = _known(repo, _hinted(repo))
    before, after = find_version(registry, old), find_version(registry, new)
    sides: tuple[RunSide, ...] = ()
    differing: tuple[RunCompareRow, ...] = ()
    with open_index(open_records(repo, progress)) as index:
        rows = [row_of(each, registry, index) for each in (before, after)]
        if before.run is not None and after.run is not None and all(row.run_name for row in rows):
            runs = whole_record(index, before.run), whole_record(index, after.run)
            changes = compare_runs(*runs, code_paths_of(repo, index, runs), {})
            differing = tuple(side_by_side([changes]))
            sides = side_of(before.run, runs[0]), side_of(after.run, runs[1])
    return ModelDiffResult(old=rows[0], new=rows[1], same=before.oid == after.oid, runs=sides, rows=differing)


def _known(repo: Repo, remote: str | None) -> Registry:
    """Returns what this clone knows, without a request; `remote` is the git remote that hints name."""
    registry = load(repo.git, remote or "origin")
    with contextlib.suppress(DvliteError):  # a repository that may only be read
        note_seen(repo.git, registry)
    return registry


def _hinted(repo: Repo) -> str | None:
    with contextlib.suppress(DvliteError):
        return registry_remote(repo)
    return None


def _line(model: Model, index: RunIndex) -> ModelLine | None:
    newest = model.newest
    if newest is None:
        return None
    return ModelLine(
        name=model.name,
        newest=newest.number,
        versions=len(model.versions),
        stages={stage: those[-1].version for stage, those in sorted(model.stages.items())},
        path=newest.path,
        oid=newest.oid,
        run_name=run_name(newest, index),
        time=time_text(newest.time),
    )


def _event(event: ModelVersion | Promotion, model: Model) -> ModelEvent:
    said: dict[str, Any] = {
        "tag": event.tag,
        "commit": event.commit,
        "user": event.user,
        "time": time_text(event.time),
        "message": event.message,
    }
    if isinstance(event, ModelVersion):
        return ModelEvent(version=event.number, **said)
    in_force = model.stages[event.stage][-1] is event
    return ModelEvent(
        version=event.version, stage=event.stage, in_force=in_force, when=event.when, checks=event.checks, **said
    )


def _failure(problems: tuple[RegistryProblem, ...], show: Show) -> DvliteError | None:
    serious = [problem for problem in problems if not problem.is_harmless]
    if not serious:
        return None
    return DvliteError(
        f"the registry has a gap or a conflict: {show.some([problem.tag for problem in serious])}", hint=serious[0].hint
    )
