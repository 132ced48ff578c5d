"""`dvlite dag`: the stages and their dependencies on each other. Reads pipeline files only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dvlite.errors import UsageError
from dvlite.pipeline import graph as graphs
from dvlite.pipeline.stages import load
from dvlite.pipeline.targets import choose
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class DagStage:
    """One stage of the graph; `after` are the stages that it needs."""

    stage: str
    after: tuple[str, ...] = ()
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    desc: str = ""
    frozen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DagResult(Result):
    """The stages, each after those that it needs."""

    schema: ClassVar[str] = "dvlite.dag/1"
    stages: tuple[DagStage, ...] = ()
    targets: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def dag(repo: Repo, targets: Sequence[str], *, downstream: bool = False, progress: Progress) -> DagResult:
    """Returns the targeted stages and all before them (with `downstream`, all after them), in order.

    Raises FormatError for cycles and overlapping outputs; an unreadable pipeline file is a warning if others can be read.
    """
    loaded = load(repo.work_tree)
    if loaded.broken and not loaded.stages:
        raise loaded.broken[0]
    if not loaded.stages:
        raise UsageError(
            "there is no pipeline here", hint="dvlite stage add NAME -d DEP -o OUT -- COMMAND, or write dvlite.yaml"
        )
    graph = graphs.build(loaded.stages)
    chosen = choose(repo, graph, targets, downstream=downstream)
    shown = {stage.address for stage in chosen.stages}
    stages = tuple(
        DagStage(
            stage=stage.address,
            after=tuple(other for other in graph.before[stage.address] if other in shown),
            deps=tuple(dep.path for dep in stage.sources),
            outs=tuple(out.path for out in stage.outs),
            desc=stage.spec.desc,
            frozen=stage.spec.frozen,
        )
        for stage in chosen.stages
    )
    return DagResult(
        stages=stages,
        targets=tuple(targets),
        warnings=tuple(error.message for error in loaded.broken),
    )
