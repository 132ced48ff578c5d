"""The outcome of one stage in `repro`: its state, outputs and changed metrics. Built by `execute` and the run cache, shown by `text.repro`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dvlite.oid import Oid
from dvlite.pipeline.reasons import Reason

RunState = Literal[
    "up to date",
    "ok",
    "cached",
    "asserted",
    "restored",
    "failed",
    "tainted",
    "canceled",
    "not run",
    "frozen",
    "would run",
    "may run",
    "would restore",
    "unknown",
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
class DatumFailure:
    """A datum of a map stage that failed; `log` is the object that keeps what it printed."""

    name: str
    problem: str
    log: Oid | None = None
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatumsRun:
    """What became of the datums of a map stage; `removed`: vanished inputs took their outputs along. `failures` are the first 100."""

    datums: int
    ran: int = 0
    reused: int = 0
    removed: int = 0
    failed: int = 0
    failures: tuple[DatumFailure, ...] = ()


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
    of_author: str | None = None  # user@host of that run if it was recorded by another clone
    problem: str | None = None
    exit_code: int | None = None
    log: str | None = None
    log_tail: tuple[str, ...] = ()
    tainted_by: tuple[str, ...] = ()
    kept: str | None = None
    absent: tuple[str, ...] = ()  # outputs of an up-to-date stage that are nowhere, and that nothing needs
    datums: DatumsRun | None = None  # of a map stage
    hint: str | None = None  # what to do about the problem, if its command did not begin
