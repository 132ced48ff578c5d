"""What verify reports: findings by kind (docs/reference/verify.md lists them; a test compares), what was not checked, and stages. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

KINDS = {
    # what names data
    "pointer-malformed": "a pointer cannot be read",
    "lockfile-malformed": "a lockfile cannot be read",
    "pipeline-malformed": "a pipeline file cannot be read, or its stages contradict each other",
    "merge-conflict": "a pointer, lockfile or pipeline file has conflict markers",
    "overlap": "two pointers or outputs are for the same path, or one lies inside the other; or git tracks the data too",
    "size-mismatch": "two places name the same content with different sizes or counts",
    # pipeline file and lockfile
    "lockfile-missing": "a pipeline file has stages, and its lockfile is missing",
    "pipeline-missing": "a lockfile has entries, and its pipeline file is missing",
    "stage-not-locked": "a stage has no entry in the lockfile",
    "stage-unknown": "the lockfile has an entry for a stage that does not exist",
    # what the recorded run used, and what is there now
    "cmd-changed": "the command changed",
    "wdir-changed": "the working directory of the command changed",
    "dep-changed": "the content of a dependency changed",
    "dep-added": "the recorded run did not use this dependency",
    "dep-removed": "a dependency of the recorded run is no longer one",
    "dep-missing": "a dependency is neither in git, nor tracked, nor an output of a stage",
    "param-changed": "the value of a parameter changed",
    "param-added": "the recorded run did not use this parameter",
    "param-removed": "a parameter of the recorded run is no longer one",
    "param-missing": "a parameter is not in its file, or the file cannot be read",
    "env-changed": "the value of a variable that the stage sets changed",
    "env-added": "the recorded run did not set this variable",
    "env-removed": "a variable of the recorded run is no longer set",
    "capture-added": "the recorded run did not capture this value",
    "capture-removed": "a value that the recorded run captured is no longer captured",
    # what it made
    "output-added": "a declared output was not produced by the recorded run",
    "map-changed": "what a map stage goes over, or what each datum makes, is declared in another way",
    "output-removed": "an output of the recorded run is no longer declared",
    "output-redeclared": "the declaration of outputs changed: as a pattern, or kept elsewhere",
    "output-changed": "an output kept in git differs from what the run produced",
    "output-missing": "an output that belongs in git is missing",
    # the lockfile itself
    "key-mismatch": "an entry of the lockfile was edited: its key does not match its fields",
    "record-mismatch": "an entry of the lockfile differs from the record of the run that it names",
    "record-missing": "the run that an entry names has no record, locally or on the remote",
    # checks of data
    "check-failed": "data failed a check, or is no longer as new as it demands",
    "check-missing": "no result of a check is known for this version of the data",
    # the model registry
    "model-tag": "a tag of the registry is missing, was replaced, or does not fit the others",
    # the remote
    "not-on-remote": "data or a run record is not on the remote",
    "remote-corrupt": "bytes on the remote do not match their name",
}

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
    """Something that is wrong. `file` and `line` (from 1) say where; `fix` is a command that settles it.

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
    """Something that could not be checked, and why: never a pass. `hint` says how it can be, if that is known."""

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
    """One stage and its verdict, checked without running it or run again.

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
