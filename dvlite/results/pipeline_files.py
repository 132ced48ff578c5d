"""What the verbs that look at pipeline files return: stage, params, metrics. See `results.all`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class StageAddResult:
    """A stage that was written into a pipeline file."""

    schema: ClassVar[str] = "dvlite.stage-add/1"
    stage: str  # its address
    file: str
    replaced: bool = False
    created: tuple[str, ...] = ()  # files that did not exist before
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One stage as its file says it; paths and patterns are relative to the repository."""

    stage: str
    file: str
    line: int
    cmd: str
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    desc: str = ""
    always: bool = False
    frozen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageListResult:
    """The stages of all pipeline files that could be read."""

    schema: ClassVar[str] = "dvlite.stage-list/1"
    stages: tuple[StageRow, ...] = ()
    unread: int = 0  # pipeline files with an error
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamDifference:
    """One parameter on two sides; a side without it is None."""

    file: str
    key: str
    state: Literal["equal", "changed", "added", "removed"]
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamsDiffResult:
    """The parameters that stages declare, on two sides (`workspace` or a revision as given)."""

    schema: ClassVar[str] = "dvlite.params-diff/1"
    old: str
    new: str
    params: tuple[ParamDifference, ...] = ()
    unread: int = 0  # files that could not be read
    warnings: tuple[str, ...] = ()


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
