"""What the verbs of runs return: runs list, show, diff, tag, untag, note. See `results.all`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dvlite.formats.record import Run

EDITS = "edits"  # the key of a change in what was edited beside what a run declares
Space = Literal["run", "param", "metric", "env", "input"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunColumn:
    """A column of a listing. `space` says where the value of a run is found: `run` (a field of it) or one of its mappings."""

    title: str
    space: Space
    key: str
    differs: bool = True  # between runs of one stage; a column that does not is left out unless asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run of a listing. `commit` is the one whose lockfile names the run, `code` the one that was checked out, `edited` with edits."""

    run: str
    name: str  # with the folder of its pipeline file where stages of one name are listed
    stage: str
    file: str
    status: str
    start: str
    seconds: float
    exit_code: int | None = None
    of: str | None = None  # a cached run's outputs are those of this run
    commit: str | None = None
    code: str | None = None
    edited: bool = False
    tags: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    upstream_params: Mapping[str, Any] = field(default_factory=dict)  # of the runs before it, that it has not itself
    metrics: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)  # data that no run made, also of the runs before it
    user: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsListResult:
    """Runs, and the columns that a listing has; `more`: there are others that match."""

    schema: ClassVar[str] = "dvlite.runs-list/1"
    now: str  # what `2m ago` is relative to
    runs: tuple[RunSummary, ...] = ()
    columns: tuple[RunColumn, ...] = ()
    chosen: bool = False  # the columns were asked for: all are shown
    more: bool = False
    known: int = 0  # runs that are here, whether they match or not
    named: int = 0  # where none is here: those that lockfiles name
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNote:
    """A text that somebody noted of a run."""

    text: str
    time: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsShowResult:
    """All that is known of a run; `log` is the text of its log, `diff` that of its edits, if they were asked for."""

    schema: ClassVar[str] = "dvlite.runs-show/1"
    now: str
    run: str
    name: str
    record: Run
    commits: tuple[str, ...] = ()  # whose lockfiles name it
    tags: tuple[str, ...] = ()
    notes: tuple[RunNote, ...] = ()
    log: str | None = None
    diff: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunValueChange:
    """A value that differs between two runs; `better` if a direction is declared."""

    key: str
    old: Any = None
    new: Any = None
    state: Literal["changed", "added", "removed"] = "changed"
    better: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSide:
    """One of the runs that are compared."""

    run: str
    name: str
    status: str
    code: str | None = None
    edited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsDiffResult:
    """What differs between two runs; the parts that do not are named in `same`. Values of `data` and `code` are object ids."""

    schema: ClassVar[str] = "dvlite.runs-diff/1"
    old: RunSide
    new: RunSide
    params: tuple[RunValueChange, ...] = ()
    metrics: tuple[RunValueChange, ...] = ()
    data: tuple[RunValueChange, ...] = ()
    code: tuple[RunValueChange, ...] = ()  # inputs that git keeps; EDITS: `paths` and kept `diff`
    command: tuple[RunValueChange, ...] = ()
    environment: tuple[RunValueChange, ...] = ()
    outputs: tuple[RunValueChange, ...] = ()
    same: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTagResult:
    """The tags of a run after it was tagged or untagged; `changed` are those that it had not, or had, before."""

    schema: ClassVar[str] = "dvlite.runs-tag/1"
    run: str
    name: str
    action: Literal["tag", "untag"] = "tag"
    changed: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsNoteResult:
    """The note that was added to a run."""

    schema: ClassVar[str] = "dvlite.runs-note/1"
    run: str
    name: str
    note: RunNote
    warnings: tuple[str, ...] = ()
