"""What every verb returns: the contract between `commands` (which fill these), `render` (JSON) and `text` (people).

Data only, no behaviour beyond sums. Sizes are in bytes, times in seconds, paths repo-relative POSIX text (undecodable bytes as
surrogates, as `os.fsdecode` keeps them), object ids in full (`blake3:<64 hex>`). Fields are only ever added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

Kind = Literal["file", "directory"]
ChangeKind = Literal["added", "removed", "modified", "renamed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many files differ, and by how many bytes the whole grew."""

    added: int = 0
    removed: int = 0
    modified: int = 0
    renamed: int = 0
    delta_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InitResult:
    """What `init` set up; `created` are the files it wrote or completed."""

    schema: ClassVar[str] = "dvlite.init/1"
    root: str  # absolute
    existed: bool
    created: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    merge_driver: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneResult:
    """Where a repository was cloned to; the pull that follows has its own result in `pull`."""

    schema: ClassVar[str] = "dvlite.clone/1"
    url: str
    directory: str  # absolute
    hooks: tuple[str, ...] = ()
    has_dvlite: bool = True  # False: the repository does not use dvlite, nothing to pull
    pull: PullResult | None = None
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRow:
    """One configured remote."""

    name: str
    url: str
    default: bool = False
    trusted: bool = True
    source: str = ""  # the config file that names it
    options: dict[str, str] = field(default_factory=dict)  # never secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAddResult:
    """A new remote and what was found there."""

    schema: ClassVar[str] = "dvlite.remote-add/1"
    remote: RemoteRow
    state: Literal["empty", "existing", "unreachable", "unchecked"] = "unchecked"
    writable: bool | None = None
    region: str | None = None
    latency_seconds: float | None = None
    problem: str | None = None  # why it is unreachable or cannot be used
    config_path: str = ""
    staged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteListResult:
    """Every configured remote."""

    schema: ClassVar[str] = "dvlite.remote-list/1"
    remotes: tuple[RemoteRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteChangeResult:
    """A remote that was removed or became the default."""

    schema: ClassVar[str] = "dvlite.remote-change/1"
    action: Literal["removed", "default"]
    name: str
    default: str | None = None  # the default remote now
    config_path: str = ""
    staged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTrustResult:
    """A place that this user approved, and the user config that says so."""

    schema: ClassVar[str] = "dvlite.remote-trust/1"
    place: str
    already: bool = False
    config_path: str = ""  # absolute: it is the user's, not the clone's


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCheck:
    """One thing that `remote test` tried."""

    name: str  # "write", "read back", "list fresh", "create only once", ...
    ok: bool
    elapsed_seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTestResult:
    """What a remote can do, and how fast."""

    schema: ClassVar[str] = "dvlite.remote-test/1"
    name: str
    url: str
    ok: bool
    checks: tuple[RemoteCheck, ...] = ()
    upload_bytes_per_second: float | None = None
    download_bytes_per_second: float | None = None
    warnings: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPath:
    """A tracked path whose data in the workspace is not what its pointer says."""

    path: str
    kind: Kind
    counts: Counts
    examples: tuple[FileChange, ...] = ()  # a few


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentPath:
    """A tracked path with data that is not where it should be."""

    path: str
    kind: Kind
    files: int = 0
    size_bytes: int = 0
    whole: bool = True  # False: part of it is there
    example: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UncommittedPointer:
    """A pointer that git's last commit does not have like this."""

    path: str  # of the pointer
    state: Literal["untracked", "modified", "staged", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusResult:
    """What differs between workspace, git, cache and (if asked) a remote; an empty part is settled."""

    schema: ClassVar[str] = "dvlite.status/1"
    clean: bool
    tracked: int = 0
    changed: tuple[ChangedPath, ...] = ()  # dvlite add -u
    uncommitted: tuple[UncommittedPointer, ...] = ()  # git commit
    missing: tuple[AbsentPath, ...] = ()  # not in the workspace: dvlite checkout
    not_in_cache: tuple[AbsentPath, ...] = ()  # dvlite fetch
    not_pushed: tuple[AbsentPath, ...] | None = None  # dvlite push; None: not looked at
    remote: str | None = None
    warnings: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOutPath:
    """What `checkout` did to one tracked path."""

    path: str
    written: int = 0
    removed: int = 0
    kept: int = 0  # already right
    extra: int = 0  # local files that no version has: left alone
    written_bytes: int = 0
    conflicts: tuple[str, ...] = ()  # local edits that were not overwritten
    saved: tuple[str, ...] = ()  # overwritten by --force after their bytes went into the cache
    missing: tuple[str, ...] = ()  # not in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutResult:
    """What `checkout` changed in the workspace."""

    schema: ClassVar[str] = "dvlite.checkout/1"
    paths: tuple[CheckedOutPath, ...] = ()
    revision: str | None = None
    link: str = ""  # "reflink", "copy", "hardlink", "symlink"
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedPath:
    """One version of a tracked path on its way to or from a remote."""

    path: str
    oid: str
    files: int = 0
    size_bytes: int = 0
    state: Literal["pushed", "fetched", "present", "planned", "missing", "failed"] = "present"
    revision: str | None = None  # the commit that names it, when revisions were asked for
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """What a remote has now that it had not before."""

    schema: ClassVar[str] = "dvlite.push/1"
    remote: str
    paths: tuple[MovedPath, ...] = ()
    files: int = 0  # uploaded
    objects: int = 0  # written to the remote
    uploaded_bytes: int = 0
    size_bytes: int = 0  # of the files uploaded, before dedup and compression
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """What the cache has now that it had not before."""

    schema: ClassVar[str] = "dvlite.fetch/1"
    remote: str
    paths: tuple[MovedPath, ...] = ()
    files: int = 0  # downloaded
    objects: int = 0  # requests answered with data
    downloaded_bytes: int = 0
    size_bytes: int = 0  # of the files that were missing
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PullResult:
    """A fetch and the checkout after it (None in a dry run, or where only revisions were fetched)."""

    schema: ClassVar[str] = "dvlite.pull/1"
    fetch: FetchResult
    checkout: CheckoutResult | None = None
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigValue:
    """One setting in force and where it comes from."""

    key: str
    value: str | int | bool | list[str] | None
    source: str  # a config file, an environment variable, or "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigResult:
    """Settings asked for, or the one that was changed."""

    schema: ClassVar[str] = "dvlite.config/1"
    action: Literal["list", "get", "set", "unset"]
    values: tuple[ConfigValue, ...] = ()
    config_path: str | None = None  # the file that was changed
    staged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorLine:
    """One fact that `doctor` found, and how to fix it if it is a problem."""

    topic: str  # "versions", "links", "remotes", "cache", "git", ...
    text: str
    level: Literal["ok", "warning", "problem"] = "ok"
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorResult:
    """The state of this installation and, inside one, of this repository."""

    schema: ClassVar[str] = "dvlite.doctor/1"
    ok: bool
    lines: tuple[DoctorLine, ...] = ()


Result = (
    InitResult
    | CloneResult
    | RemoteAddResult
    | RemoteListResult
    | RemoteChangeResult
    | RemoteTrustResult
    | RemoteTestResult
    | AddResult
    | RmResult
    | MvResult
    | StatusResult
    | DiffResult
    | CheckoutResult
    | PushResult
    | FetchResult
    | PullResult
    | LsResult
    | GetResult
    | CachePruneResult
    | ConfigResult
    | DoctorResult
)
