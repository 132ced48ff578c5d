"""What the verbs that look into stores return: ls, get, cache prune. See `results.all`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class LsEntry:
    """One name: a tracked path, or something inside one."""

    path: str
    kind: Literal["file", "directory", "symlink", "empty-dir"]
    size_bytes: int | None = None
    files: int | None = None
    executable: bool = False
    oid: str | None = None
    target: str | None = None  # of a symlink
    in_cache: bool | None = None
    stage: str | None = None  # whose output it is, or is inside of


@dataclass(frozen=True, slots=True, kw_only=True)
class LsResult:
    """What is tracked at a revision (None: the pointers on disk)."""

    schema: ClassVar[str] = "dvlite.ls/1"
    revision: str | None = None
    target: str = ""
    long: bool = False
    entries: tuple[LsEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GetResult:
    """Data copied out of a repository without a checkout."""

    schema: ClassVar[str] = "dvlite.get/1"
    source: str
    path: str
    revision: str  # full commit id, or "" for a folder without one
    output: str  # as given by the user; "-" is standard output
    oid: str
    files: int
    size_bytes: int
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePruneResult:
    """What left the cache because a remote provably has it."""

    schema: ClassVar[str] = "dvlite.cache-prune/1"
    remote: str
    objects: int = 0
    freed_bytes: int = 0
    kept_objects: int = 0  # not on the remote
    kept_bytes: int = 0
    free_bytes: int = 0  # on the disk of the cache, now
    dry_run: bool = False
    warnings: tuple[str, ...] = ()
