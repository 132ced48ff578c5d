"""Run records and the notes about them: immutable JSON, named by its BLAKE3 (docs/reference/formats/record.md).

A record is written once, when a stage ends; what is said of it later (tags, notes, the commit that names it) are records of their own,
so that nothing ever conflicts. Paths are relative to the repository. Never holds the value of a variable that nobody named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dvlite.formats.strict_yaml import Scalar, Tree
from dvlite.oid import Oid

RUN_SCHEMA, NOTE_SCHEMA = "dvlite.run/1", "dvlite.note/1"
MAX_BYTES = 4 << 20

Status = Literal["ok", "failed", "cached", "tainted", "canceled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A dependency as it was before the command ran."""

    path: str
    oid: Oid
    size_bytes: int
    files: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output as the command left it; `sha256` (64 hex) of a single file; `cached` False: git keeps it."""

    path: str
    oid: Oid
    size_bytes: int
    files: int = 1
    executable: bool = False
    role: Literal["out", "metric"] = "out"
    cached: bool = True
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Where the code was: git's remote without credentials, the commit checked out, and what differed from it (oid of a kept `git diff`)."""

    repo: str | None = None
    commit: str | None = None
    dirty: tuple[str, ...] = ()
    diff: Oid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a stage. `status` cached: nothing ran, `of` is the run whose outputs were taken.

    `params` is `file:dotted.key` -> value; `env` what the stage sets; `capture` what it asked to record (`torch`, `env NAME`,
    `command nvcc --version`); `environment` what was found: python, platform, cpu, cpus, gpu, image, `lock:FILE` -> oid ...
    `metrics` is `file:dotted.key` -> number or text. Times are RFC 3339 UTC with milliseconds; `seconds` is wall time.
    """

    id: str  # UUIDv7
    invocation: str  # UUIDv7 of the `repro` that it was part of
    key: str  # 64 hex
    stage: str
    file: str  # the pipeline file
    status: Status
    cmd: str
    wdir: str = "."  # relative to the folder of `file`
    of: Oid | None = None
    taint: tuple[str, ...] = ()  # paths that changed while it ran
    exit_code: int | None = None
    signal: int | None = None
    log: Oid | None = None  # blake3 of the log
    code: Code = field(default_factory=Code)
    params: Mapping[str, Tree] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    capture: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Scalar] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    metrics: Mapping[str, Scalar] = field(default_factory=dict)
    start: str = ""
    end: str = ""
    seconds: float = 0.0
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    user: str = ""
    host: str = ""
    ci: str | None = None  # URL of the job
    project: str = ""  # 32 hex
    dvlite: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something said of a run. `commit`: this commit's lockfile names the run; `tag` and `untag` take effect in order of time."""

    id: str  # UUIDv7
    run: Oid
    op: Literal["tag", "untag", "note", "commit"]
    value: str  # the tag, the text, or the commit
    time: str
    user: str = ""
    project: str = ""


def dump(record: Run | Note) -> bytes:
    """Returns the canonical bytes (one line of JSON and a newline); their `digest_run` is the record's name."""
    raise NotImplementedError


def parse(data: bytes, where: str) -> Run | Note:
    """Reads a record, from anyone; raises FormatError for anything that is not one. Unknown fields of a known schema are passed over."""
    raise NotImplementedError
