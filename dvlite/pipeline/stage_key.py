"""The stage key: all that decides what a stage makes, as one number. Pure.

Two runs with the same key have the same command, dependencies, parameters, variables and captured environment, so the outputs of one may
be taken for those of the other. Paths in it are relative to the pipeline file's folder: a pipeline that moves keeps its runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dvlite.formats.lockfile import Locked
from dvlite.formats.strict_yaml import Tree
from dvlite.oid import digest_stage_key

VERSION = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What a stage would run with now. `params` is `file:dotted.key` -> value, `outs` the outputs as the pipeline file names them."""

    cmd: str
    wdir: str
    deps: tuple[Locked, ...]
    params: Mapping[str, Tree]
    env: Mapping[str, str]
    capture: Mapping[str, str]
    outs: Sequence[str]

    def key(self) -> str:
        """Returns the stage key, 64 hex digits."""
        value = {
            "v": VERSION,
            "cmd": self.cmd,
            "wdir": self.wdir,
            "deps": sorted([dep.path, dep.oid, *(["x"] if dep.executable else [])] for dep in self.deps),
            "params": dict(self.params),
            "env": dict(self.env),
            "capture": dict(self.capture),
            "outs": sorted(self.outs),
        }
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return digest_stage_key(text.encode())
