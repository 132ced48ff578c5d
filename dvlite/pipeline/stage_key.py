"""The stage key: all that decides what a stage makes, as one number. Pure.

Two runs with the same key have the same command, dependencies, parameters, variables and captured environment, so the outputs of one can
stand for those of the other. Paths in it are relative to the pipeline file's folder: a pipeline that moves keeps its runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from dvlite.formats.lockfile import Facts, Locked, LockedStage
from dvlite.oid import digest_stage_key
from dvlite.pipeline.stages import Stage

VERSION = 1


def stage_key(facts: Facts, deps: Iterable[Locked], outs: Iterable[str]) -> str:
    """Returns the stage key, 64 hex digits; `outs` are the outputs as the pipeline file names them."""
    value = {
        "v": VERSION,
        "cmd": facts.cmd,
        "wdir": facts.wdir,
        "deps": sorted([dep.path, dep.oid, *(["x"] if dep.executable else [])] for dep in deps),
        "params": dict(facts.params),
        "env": dict(facts.env),
        "capture": dict(facts.capture),
        "outs": sorted(outs),
    }
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return digest_stage_key(text.encode())


def entry_of(stage: Stage, facts: Facts, deps: Sequence[Locked]) -> LockedStage:
    """Returns the lockfile entry of a stage that runs with these facts and dependencies, before it has outputs."""
    key = stage_key(facts, deps, [stage.local(out.path) for out in stage.outs])
    return LockedStage(stage.name, key, facts, deps=tuple(deps))
