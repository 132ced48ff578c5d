"""What the verbs of the pipeline return: repro, dag; and what status says of stages. See `results.all`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dvlite.results.looks import Reason

RunState = Literal[
    "up to date",
    "ok",
    "cached",
    "restored",
    "failed",
    "tainted",
    "canceled",
    "not run",
    "frozen",
    "would run",
    "may run",
    "would restore",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutput:
    """One output of a stage after it ran."""

    path: str
    oid: str
    size_bytes: int
    files: int = 1
    metric: bool = False  # a file of metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """A metric of a stage, with the value that the lockfile's run had before, if any; `better` if a direction is declared."""

    name: str
    value: Any
    old: Any = None
    better: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """What became of one stage. `problem` says why it failed, `log` is the object that keeps its output, `kept` where partial outputs are."""

    stage: str
    state: RunState
    seconds: float = 0.0
    reasons: tuple[Reason, ...] = ()
    outputs: tuple[StageOutput, ...] = ()
    metrics: tuple[MetricChange, ...] = ()
    run: str | None = None  # oid of the record
    of: str | None = None  # cached: the run whose outputs were taken
    of_stage: str | None = None  # the stage of that run, as it was called then
    problem: str | None = None
    exit_code: int | None = None
    log: str | None = None
    log_tail: tuple[str, ...] = ()
    tainted_by: tuple[str, ...] = ()
    kept: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSet:
    """A value that `-S` wrote into a file of parameters."""

    file: str
    name: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproResult:
    """What `repro` did, in the order of the pipeline; with `dry_run`, what it would do."""

    schema: ClassVar[str] = "dvlite.repro/1"
    stages: tuple[StageRun, ...] = ()
    params_set: tuple[ParamSet, ...] = ()
    lockfiles: tuple[str, ...] = ()  # that changed
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()  # files of the pipeline that git does not know
    dry_run: bool = False
    explain: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DagStage:
    """One stage of the graph; `after` are the stages that it needs."""

    stage: str
    after: tuple[str, ...] = ()
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    desc: str = ""
    frozen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DagResult:
    """The stages, each after those that it needs."""

    schema: ClassVar[str] = "dvlite.dag/1"
    stages: tuple[DagStage, ...] = ()
    targets: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
