"""What the verbs that look back return: lineage, lineage find, lineage diff, log. See `results.all`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dvlite.results.looks import Counts, FileChange

Origin = Literal["run", "stage", "data", "code", "directory", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageCommit:
    """A commit; without git at hand all but its id is what a push noted of it, else null."""

    commit: str
    subject: str | None = None
    author: str | None = None
    time: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageLink:
    """Content under the path that a run or a pointer gives it."""

    oid: str
    path: str
    size_bytes: int = 0
    files: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRunName:
    """A run, and what people call it."""

    run: str
    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageUse:
    """A run that began with some content, and other runs of its stage that left the same."""

    run: str
    others: tuple[LineageRunName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageArtefact:
    """One piece of content in a walk; `origin` says where it is from: a run, a stage whose run is not known, tracked data, git, a directory, or nobody knows."""

    oid: str
    path: str
    size_bytes: int = 0
    files: int = 1
    origin: Origin = "unknown"
    commit: LineageCommit | None = None  # whose pointer names it
    stage: str = ""  # of the lockfile that names it, where no run is known
    lockfile: str = ""
    made_by: tuple[LineageRunName, ...] = ()  # the first one is shown
    held_by: tuple[LineageLink, ...] = ()  # directories that have it inside
    parts: tuple[LineageLink, ...] = ()  # what runs know of what is inside
    used_by: tuple[LineageUse, ...] = ()
    now: tuple[str, ...] = ()  # where it is tracked or locked now
    cut_runs: int = 0  # runs behind it that --depth leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRun:
    """A run, as far as a walk shows it; `commit` is the one whose lockfile names it, `code_commit` the one it was started from."""

    run: str
    name: str
    stage: str
    file: str
    status: str
    start: str
    seconds: float = 0.0
    cmd: str = ""
    user: str = ""
    host: str = ""
    of: str | None = None
    taint: tuple[str, ...] = ()
    commit: LineageCommit | None = None
    repo: str | None = None
    code_commit: str | None = None
    dirty: tuple[str, ...] = ()
    diff: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    capture: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[LineageLink, ...] = ()
    outputs: tuple[LineageLink, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageGraph:
    """A walk from `starts` (or from a run): what was met, in the order in which it was met."""

    starts: tuple[LineageLink, ...] = ()
    run: str | None = None
    artefacts: tuple[LineageArtefact, ...] = ()
    runs: tuple[LineageRun, ...] = ()
    cut_runs: int = 0  # runs that --depth leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageMeasure:
    """Metrics of a run that began with what was asked about; `others` counts the other runs of its stage that did."""

    run: str
    name: str
    stage: str
    file: str
    status: str
    metrics: Mapping[str, Any]
    others: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSubject:
    """What was asked about; `sha256` of a file if it is known."""

    text: str
    kind: Literal["file", "directory", "run"]
    oid: str
    path: str | None = None  # in the repository
    size_bytes: int | None = None
    files: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageResult:
    """What made something (`up`), and what was made of it (`down`); null where it was not asked."""

    schema: ClassVar[str] = "dvlite.lineage/1"
    subject: LineageSubject
    up: LineageGraph | None = None
    down: LineageGraph | None = None
    measured: tuple[LineageMeasure, ...] = ()  # with `up`: by runs that began with it, one of each stage
    depth: int | None = None
    remote: str | None = None
    runs_searched: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageFound:
    """An output of a run that has what was asked for; `values` are the run's values of what was asked, parameters of the runs before it too."""

    path: str
    oid: str
    size_bytes: int
    files: int
    run: str
    name: str
    status: str
    start: str
    commit: LineageCommit | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageFindResult:
    """What runs with the asked values left, newest first; `more` says that there are older ones."""

    schema: ClassVar[str] = "dvlite.lineage-find/1"
    asked: tuple[str, ...]
    found: tuple[LineageFound, ...] = ()
    more: bool = False
    runs: int = 0
    remote: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSide:
    """One side of a comparison, and the run that it is of."""

    text: str
    oid: str
    path: str | None = None
    run: str | None = None
    name: str | None = None
    commit: LineageCommit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageContentChange:
    """Content upstream that differs, by path; null on the side that does not have it. `counts` if both listings could be read."""

    path: str
    old_oid: str | None = None
    oid: str | None = None
    old_size_bytes: int | None = None
    size_bytes: int | None = None
    counts: Counts | None = None
    files: tuple[FileChange, ...] = ()  # a few


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageValueChange:
    """A value upstream that differs; null on the side that does not have it."""

    stage: str
    key: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageDiffResult:
    """What differs upstream of two artefacts or runs; `same` names the parts that do not."""

    schema: ClassVar[str] = "dvlite.lineage-diff/1"
    old: LineageSide
    new: LineageSide
    data: tuple[LineageContentChange, ...] = ()
    code: tuple[LineageContentChange, ...] = ()
    stages: tuple[LineageValueChange, ...] = ()  # commands; the whole stage where one side does not have it
    params: tuple[LineageValueChange, ...] = ()
    environment: tuple[LineageValueChange, ...] = ()
    metrics: tuple[LineageValueChange, ...] = ()
    same: tuple[str, ...] = ()
    remote: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVersion:
    """A version of a path, and the commit that brought it; `path` is what it was called then."""

    commit: LineageCommit
    path: str
    oid: str | None  # null: removed
    size_bytes: int | None = None
    files: int | None = None
    run: str | None = None
    run_name: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogResult:
    """The versions of a path, newest first; `more` says that there are older ones."""

    schema: ClassVar[str] = "dvlite.log/1"
    path: str
    kind: Literal["file", "directory"]
    versions: tuple[LogVersion, ...] = ()
    more: bool = False
    warnings: tuple[str, ...] = ()
