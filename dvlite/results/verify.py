"""What `verify` returns: findings with their place, verdicts of stages and outputs, what could not be checked. See `results.all`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Verdict = Literal["identical", "equivalent", "different", "missing", "extra", "inconclusive"]
StageVerdict = Literal[
    "ok",  # checked without running: nothing found
    "finding",
    "unchecked",
    "frozen",  # declared so: compared with nothing but what its run did, and nothing found
    "identical",  # run again: every output as the lockfile has it
    "equivalent",
    "different",
    "failed",  # its command left with an error
    "inconclusive",
    "not checked",  # run again: needs a stage that did not reproduce
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it must be. `file` and `line` (from 1) say where to look; `fix` is a command that settles it.

    `kind` is one of the words of docs/reference/verify.md, for example `dep-changed` or `not-on-remote`.
    """

    kind: str
    message: str
    file: str
    line: int = 1
    stage: str | None = None
    path: str | None = None
    old: Any = None
    new: Any = None
    fix: str | None = None
    commit: str | None = None  # in which it is like this; None: in the work tree
    also: int = 0  # commits of the range after it that have the same finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchecked:
    """Something that could not be checked, and why: never a pass. `hint` says what makes it possible, if that is known."""

    what: str
    why: str
    file: str | None = None
    line: int = 1
    stage: str | None = None
    commit: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputVerdict:
    """One output of a stage that was run again. `comparator` said `equivalent` or `different`; `detail` shows the difference in lines."""

    path: str
    verdict: Verdict
    old_oid: str | None = None
    new_oid: str | None = None
    old_size_bytes: int | None = None
    size_bytes: int | None = None
    comparator: str = "bytes"
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCheck:
    """One stage: what was found of it or, run again, what came of it.

    `culprit`: the first that does not give the same although its inputs are the same; `repeats`: run twice here, it gave the same both
    times (None: not tried); `drift` is what differs in its environment from the recorded run, name -> (old, new).
    """

    stage: str
    verdict: StageVerdict
    file: str = ""
    line: int = 1
    seconds: float | None = None
    outputs: tuple[OutputVerdict, ...] = ()
    culprit: bool = False
    repeats: bool | None = None
    drift: dict[str, tuple[Any, Any]] | None = None
    problem: str | None = None  # why it failed or could not be checked
    log_tail: tuple[str, ...] = ()
    after: tuple[str, ...] = ()  # the stages that it needs
    varies_with: str | None = (
        None  # of one that gives two results: what settles them, for example `the number of threads`
    )
    runs: int = 0  # how often its command was run


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What was verified: the work tree or a revision, with data (`rerun`) or without. A pass is no finding and nothing unchecked."""

    schema: ClassVar[str] = "dvlite.verify/1"
    revision: str | None = None  # None: the work tree
    commit: str | None = None  # that the revision names; None also for a range
    commits: int = 1  # of a range
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    stages: tuple[StageCheck, ...] = ()
    tracked: int = 0  # tracked paths looked at
    remote: str | None = None  # that was asked
    deep: bool = False
    rerun: bool = False
    fetched: tuple[str, ...] = ()  # what had to be fetched to check: listings, run records
    fetched_bytes: int = 0
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    kept: str | None = None  # the folder of the clean clone, if it was to stay

    @property
    def passed(self) -> bool:
        return not self.findings and not self.unchecked and all(each.verdict in _PASSES for each in self.stages)


_PASSES = ("ok", "frozen", "identical", "equivalent")
