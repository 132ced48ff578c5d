"""The kinds of findings, and the words for values in their messages (docs/reference/verify.md lists them; a test compares). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

KINDS = {
    # what names data
    "pointer-malformed": "a pointer cannot be read",
    "lockfile-malformed": "a lockfile cannot be read",
    "pipeline-malformed": "a pipeline file cannot be read, or its stages contradict each other",
    "merge-conflict": "a pointer, lockfile or pipeline file has conflict markers",
    "overlap": "two pointers or outputs are for the same path, or one lies inside the other; or git has the data too",
    "size-mismatch": "two places name the same content with different sizes or counts",
    # pipeline file and lockfile
    "lockfile-missing": "there is a pipeline file with stages, and no lockfile",
    "pipeline-missing": "there is a lockfile with stages, and no pipeline file",
    "stage-not-locked": "a stage has no entry in the lockfile",
    "stage-unknown": "the lockfile has an entry of a stage that there is not",
    # what a stage ran with, and what is here
    "cmd-changed": "the command is another",
    "wdir-changed": "the command runs in another folder",
    "dep-changed": "a dependency has other content",
    "dep-added": "the stage did not run with this dependency",
    "dep-removed": "the stage ran with a dependency that it does not have any more",
    "dep-missing": "a dependency is neither in git nor data nor made by a stage",
    "param-changed": "a parameter has another value",
    "param-added": "the stage did not run with this parameter",
    "param-removed": "the stage ran with a parameter that it does not have any more",
    "param-missing": "a parameter is not in its file, or the file cannot be read",
    "env-changed": "a variable that the stage sets has another value",
    "env-added": "the stage ran without this variable",
    "env-removed": "the stage ran with a variable that it does not set any more",
    "capture-added": "the stage ran without recording this value",
    "capture-removed": "the stage ran recording a value that it does not record any more",
    # what it made
    "output-added": "an output that the stage did not make is declared",
    "output-removed": "the stage made an output that is not declared any more",
    "output-redeclared": "outputs are declared in another way: as a pattern, or kept elsewhere",
    "output-changed": "an output that git keeps is not what the stage made",
    "output-missing": "an output that git should keep is not there",
    # the lockfile itself
    "key-mismatch": "an entry of the lockfile was edited: its key is not that of what it says",
    "record-mismatch": "an entry of the lockfile is not what the run that it names did",
    "record-missing": "the run that an entry names has no record, here or on the remote",
    # the remote
    "not-on-remote": "data or the record of a run is not on the remote",
    "remote-corrupt": "bytes on the remote are not what their name promises",
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
