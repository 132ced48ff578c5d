"""What the verbs that set things up return: init, clone, install, remote, config, doctor. See `results.all`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from dvlite.results.moves import PullResult


@dataclass(frozen=True, slots=True, kw_only=True)
class InitResult:
    """What `init` set up; `created` are the files it wrote or completed."""

    schema: ClassVar[str] = "dvlite.init/1"
    root: str  # absolute
    existed: bool
    created: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()  # that call dvlite now
    merge_driver: bool = False
    switched_on: tuple[str, ...] = ()  # of "diff" and "merge": what git does with pointers in this clone from now on
    missing: int = 0  # tracked paths without their data here
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
class InstallResult:
    """Which git hooks call dvlite now, or did until now."""

    schema: ClassVar[str] = "dvlite.install/1"
    action: Literal["installed", "uninstalled"]
    folder: str  # absolute
    hooks: tuple[str, ...] = ()
    chained: tuple[str, ...] = ()  # those of which an older one runs first, or, uninstalled, was put back
    merge_driver: bool = False
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
