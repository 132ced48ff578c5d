"""What `resolve` and the merge driver return: what was merged, and what both sides changed. See `results.all`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Kind = Literal["file", "directory", "lockfile"]
Operation = (
    Literal["merge", "rebase", "cherry-pick", "revert"] | None
)  # what git is doing; None: a stash is applied, or nothing is known


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConflict:
    """What both sides changed, each in another way: a file, a whole tracked path (or its `meta`), or a stage of a lockfile."""

    path: str | None = None
    stage: str | None = None  # its name in the lockfile
    # "changed on both sides", "added on both sides", "removed by ours", "removed by theirs", "file and folder", "meta"; or of the whole path:
    # "ours cannot be read", "theirs cannot be read", "both sides cannot be read", "the common ancestor cannot be read"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeDriverResult:
    """What git gets of a merge of one file: merged, or conflict markers and why. Not for people: git calls the driver."""

    schema: ClassVar[str] = "dvlite.merge-driver/1"
    path: str  # the tracked path, or the lockfile
    merged: bool
    conflicts: tuple[MergeConflict, ...] = ()
    rebasing: bool = False  # git's line about that has no end yet
    problem: str | None = None  # why it could not be merged at all
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPath:
    """What became of one file in conflict. `conflicts` are settled if `resolved`, else waiting for a choice."""

    path: str  # the tracked path, or the lockfile
    kind: Kind
    resolved: bool
    removed: bool = False  # as one side had removed it
    taken: int = 0  # files or stages that are now as theirs has them
    conflicts: tuple[MergeConflict, ...] = ()
    can_union: bool = False  # both sides can be kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveResult:
    """Pointers and lockfiles that git could not merge, and what each side is."""

    schema: ClassVar[str] = "dvlite.resolve/1"
    choice: Literal["ours", "theirs", "union"] | None = None
    operation: Operation = None
    ours: str = ""  # the commit of each side, 8 hex digits and subject; "" if git does not say
    theirs: str = ""
    paths: tuple[ResolvedPath, ...] = ()
    has_remote: bool = False
    behind: bool = False  # other data that git brought is not what is on disk
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
