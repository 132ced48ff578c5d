"""Why a stage is out of date, as data: what it ran with compared with what it would run with. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.strict_yaml import Tree
from dvlite.pipeline.content import same_data
from dvlite.workspace.changes import Counts


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


def of_facts(locked: LockedStage, now: LockedStage) -> Iterator[Reason]:
    """Yields what differs between a stage's lockfile entry and what it would run with now."""
    old, new = locked.facts, now.facts
    if old.cmd != new.cmd:
        yield Reason(kind="cmd-changed", name="cmd", old=old.cmd, new=new.cmd)
    if old.wdir != new.wdir:
        yield Reason(kind="wdir-changed", name="wdir", old=old.wdir, new=new.wdir)
    yield from _paths("dep", locked.deps, now.deps)
    yield from _values("param", old.params, new.params)
    yield from _values("env", old.env, new.env)
    yield from _values("capture", old.capture, new.capture)


def of_outputs(locked: Iterable[Locked], found: Mapping[str, Locked | None]) -> Iterator[Reason]:
    """Yields the outputs that are on disk and not what the lockfile says."""
    for out in locked:
        here = found.get(out.path)
        if here is not None and not same_data(here, out):
            yield Reason(kind="output-changed", name=out.path, old=out.oid, new=here.oid)


def _paths(what: str, old: Iterable[Locked], new: Iterable[Locked]) -> Iterator[Reason]:
    before, after = ({item.path: item for item in items} for items in (old, new))
    for path in sorted(before.keys() | after.keys()):
        one, other = before.get(path), after.get(path)
        if one is None and other is not None:
            yield Reason(kind=f"{what}-added", name=path, new=other.oid)
        elif other is None and one is not None:
            yield Reason(kind=f"{what}-removed", name=path, old=one.oid)
        elif one is not None and other is not None and (one.oid, one.executable) != (other.oid, other.executable):
            yield Reason(kind=f"{what}-changed", name=path, old=one.oid, new=other.oid)


def _values(what: str, old: Mapping[str, Tree], new: Mapping[str, Tree]) -> Iterator[Reason]:
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield Reason(kind=f"{what}-added", name=name, new=new[name])
        elif name not in new:
            yield Reason(kind=f"{what}-removed", name=name, old=old[name])
        elif not _is_same(old[name], new[name]):
            yield Reason(kind=f"{what}-changed", name=name, old=old[name], new=new[name])


def _is_same(one: Tree, other: Tree) -> bool:
    """Says whether two values are the same to a stage key, for which 1, 1.0 and true are three."""
    if isinstance(one, list | dict):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return type(one) is type(other) and one == other
