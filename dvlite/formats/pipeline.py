"""The pipeline file `dvlite.yaml` as its author wrote it, each part with its line (docs/reference/formats/pipeline.md).

Paths are relative to the stage's folder (`wdir`, itself relative to the file's folder), patterns are not expanded. Knows no disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FILE_NAME = "dvlite.yaml"


@dataclass(frozen=True, slots=True)
class Dep:
    """A dependency: a path or pattern, relative to the stage's folder."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Out:
    """An output. `cache` False: git keeps it; `persist`: it stays while the command runs; `push` False: it stays in this clone.

    `better` says of keys of a metrics file in which direction they improve: `higher` or `lower`.
    """

    path: str
    line: int
    cache: bool = True
    persist: bool = False
    push: bool = True
    metric: bool = False
    better: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Param:
    """Keys (dotted) of one file of parameters; no keys: all of it."""

    file: str
    keys: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Capture:
    """What is to be recorded: the version of a Python package, an environment variable, or what a command prints."""

    kind: Literal["package", "env", "command"]
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage; `cmd` is one shell script (a list in the file is joined by newlines), `outs` holds the metrics too."""

    name: str
    line: int
    cmd: str
    cmd_line: int
    wdir: str = "."
    deps: tuple[Dep, ...] = ()
    outs: tuple[Out, ...] = ()
    params: tuple[Param, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    capture: tuple[Capture, ...] = ()
    desc: str = ""
    always: bool = False
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class PipelineFile:
    """The stages of one file, in its order."""

    stages: tuple[StageSpec, ...]


def parse(data: bytes, where: str) -> PipelineFile:
    """Reads a pipeline file; `where` is its path, for errors. Raises FormatError naming file and line, for an unknown key with the nearest."""
    raise NotImplementedError
