"""What the verbs that change what is tracked return: add, rm, mv. See `results.all`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from dvlite.results.kinds import Kind
from dvlite.results.looks import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedPath:
    """One tracked path after `add`; `size_bytes` and `files` are of the whole, `counts` what differs from before."""

    path: str
    kind: Kind
    oid: str
    size_bytes: int
    files: int = 1
    created: bool = False  # it was not tracked before
    unchanged: bool = False
    counts: Counts = field(default_factory=Counts)
    duplicates: int = 0
    left_out: dict[str, int] = field(default_factory=dict)  # name (`.DS_Store`, or the pattern) -> how many
    stored_bytes: int = 0  # what the cache grew by for this path


@dataclass(frozen=True, slots=True, kw_only=True)
class AddResult:
    """What `add` cached and which files it wrote."""

    schema: ClassVar[str] = "dvlite.add/1"
    paths: tuple[AddedPath, ...] = ()
    skipped: tuple[str, ...] = ()  # pointers among the arguments
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()  # written, for the user to `git add` (`--no-stage`)
    cache_grew_bytes: int = 0
    cache_free_bytes: int = 0
    shares_blocks: bool = False  # cached files share blocks with the workspace (reflink)
    has_remote: bool = True
    suggest_folder: str | None = None  # more than 1,000 single files were given from this folder
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RmResult:
    """Paths that are no longer tracked; `kept` says that their data stays in the workspace (`--cached`)."""

    schema: ClassVar[str] = "dvlite.rm/1"
    paths: tuple[str, ...] = ()
    kept: bool = False
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MvResult:
    """A tracked path under its new name."""

    schema: ClassVar[str] = "dvlite.mv/1"
    source: str
    target: str
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
