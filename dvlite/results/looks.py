"""What the verbs that compare return: status, diff. See `results.all`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from dvlite.results.kinds import ChangeKind, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many files differ, and by how many bytes the whole grew."""

    added: int = 0
    removed: int = 0
    modified: int = 0
    renamed: int = 0
    delta_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file that differs; `path` is relative to the repository."""

    change: ChangeKind
    path: str
    old_path: str | None = None  # renamed from
    kind: str = "file"  # file, symlink or empty-dir, as it is now
    old_kind: str | None = None  # only if it changed
    old_size_bytes: int | None = None
    size_bytes: int | None = None
    old_oid: str | None = None
    oid: str | None = None
    executable_changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPath:
    """A tracked path whose data in the workspace is not what its pointer says."""

    path: str
    kind: Kind
    counts: Counts
    examples: tuple[FileChange, ...] = ()  # a few
    stage: str | None = None  # of an output


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentPath:
    """A tracked path with data that is not where it should be.

    `earlier`: another version is in its place, untouched, and how the right one differs from it; all zero if that cannot be told.
    """

    path: str
    kind: Kind
    files: int = 0
    size_bytes: int = 0
    whole: bool = True  # False: part of it is there
    example: str | None = None
    stage: str | None = None  # of an output
    earlier: Counts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UncommittedPointer:
    """A pointer file, lockfile or pipeline file that git's last commit does not have like this."""

    path: str  # of the file
    state: Literal["untracked", "modified", "staged", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a stage is out of date.

    `kind` is `never-run`, `forced`, `always`, `upstream`, `output-changed`, `output-missing`, `output-added`, or one of `cmd`, `wdir`,
    `dep`, `param`, `env`, `capture` with `-changed`, `-added` or `-removed`. `old` and `new` are object ids or values; `name` the path or key.
    """

    kind: str
    name: str = ""
    old: Any = None
    new: Any = None
    counts: Counts | None = None  # of a directory, if both versions can be listed


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleStage:
    """A stage that `repro` would run; `after`: only because one before it would."""

    stage: str
    state: Literal["stale", "after", "unknown"]
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusResult:
    """What differs between workspace, git, cache and (if asked) a remote; an empty part is settled."""

    schema: ClassVar[str] = "dvlite.status/1"
    clean: bool
    tracked: int = 0
    changed: tuple[ChangedPath, ...] = ()  # dvlite add -u
    outputs_changed: tuple[ChangedPath, ...] = ()  # not as their stage made them: dvlite repro, or dvlite checkout
    uncommitted: tuple[UncommittedPointer, ...] = ()  # git commit
    stale: tuple[StaleStage, ...] = ()  # dvlite repro
    missing: tuple[AbsentPath, ...] = ()  # not in the workspace: dvlite checkout
    not_in_cache: tuple[AbsentPath, ...] = ()  # dvlite fetch
    not_pushed: tuple[AbsentPath, ...] | None = None  # dvlite push; None: not looked at
    remote: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathDiff:
    """How one tracked path differs between two sides; a side is None where the path is not tracked."""

    path: str
    kind: Kind
    counts: Counts
    old_oid: str | None = None
    oid: str | None = None
    old_size_bytes: int | None = None
    size_bytes: int | None = None
    files: tuple[FileChange, ...] = ()
    incomplete: str | None = None  # why the files could not be listed


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffResult:
    """Tracked paths that differ between two sides (`workspace` or a revision as given)."""

    schema: ClassVar[str] = "dvlite.diff/1"
    old: str
    new: str
    paths: tuple[PathDiff, ...] = ()
    warnings: tuple[str, ...] = ()
