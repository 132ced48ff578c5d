"""Why a stage is out of date, as data: what it ran with compared with what it would run with. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.strict_yaml import Tree
from dvlite.oid import MANIFEST
from dvlite.pipeline.content import same_data
from dvlite.pipeline.stages import Stage
from dvlite.show import pair_text, short_oid, value_text
from dvlite.workspace.changes import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a stage is out of date.

    `kind` is `never-run`, `forced`, `always`, `upstream`, `output-changed`, `output-missing`, `output-added`, or one of `cmd`, `wdir`, `map`,
    `dep`, `param`, `env`, `capture` with `-changed`, `-added` or `-removed`. `old` and `new` are object ids or values; `name` the path or key.
    """

    kind: str
    name: str = ""
    old: Any = None
    new: Any = None
    counts: Counts | None = None  # of a directory, if both versions can be listed
    files: int | None = None  # of a map stage: how many a pattern or directory has now


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
    if old.map != new.map:
        before, after = (json.dumps(dict(facts.map), sort_keys=True) for facts in (old, new))
        yield Reason(kind="map-changed", name="map", old=before, new=after)
    files = {item.path: item.files for item in now.deps if new.map and item.oid.startswith(MANIFEST)}
    yield from (replace(reason, files=files.get(reason.name)) for reason in _paths("dep", locked.deps, now.deps))
    for section, values in old.mappings.items():
        yield from _values(section.removesuffix("s"), values, new.mappings[section])


def of_outputs(locked: Iterable[Locked], on_disk: Mapping[str, Locked | None]) -> Iterator[Reason]:
    """Yields the outputs that are on disk and not what the lockfile says."""
    for out in locked:
        here = on_disk.get(out.path)
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
    """Returns whether two values are the same to a stage key, for which 1, 1.0 and true are three."""
    if isinstance(one, list | dict):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return type(one) is type(other) and one == other


# --- in words ---

_ENTRY_FIELDS = {"cmd": "its command", "wdir": "its working directory", "map": "its map"}


def sentence(reason: Reason, stage: Stage, by: str = "") -> str:
    """Returns what a stage runs with otherwise than the recorded run did, as the second half of a sentence; `by` is what names a dependency.

    In a few words, for a list: `text.reasons`.
    """
    what, _, how = reason.kind.rpartition("-")
    old, new = pair_text(reason.old, reason.new)
    if what in ("dep", "output"):
        path = value_text(stage.placed(reason.name) if what == "dep" else reason.name)
        if reason.kind == "dep-changed" and reason.old == reason.new:
            return f"the executable bit of {path} is not the one that is locked"
        return {
            "dep-changed": f"{path} is {short_oid(str(reason.new))}{by and f' by {by}'}, locked with {short_oid(str(reason.old))}",
            "dep-added": f"it depends on {path}, which the recorded run did not use",
            "dep-removed": f"{path} was a dependency of the recorded run and no longer is",
            "output-added": f"it declares the output {path}, which the recorded run did not make",
            "output-removed": f"{path} is an output of the recorded run and no longer declared",
        }[reason.kind]
    if what in _ENTRY_FIELDS:
        return f"{_ENTRY_FIELDS[what]} is '{new}', locked with '{old}'"
    if reason.kind == "definition-changed":
        return "the declaration of its outputs changed"
    name = value_text(reason.name.replace(":", " ", 1) if what == "param" else reason.name)
    shown = {"param": name, "env": f"the variable {name}", "capture": f"the captured value {name}"}[what]
    return {
        "param-added": f"{name} = {new} is a new parameter",
        "param-removed": f"{name} = {old} was a parameter of the recorded run and no longer is",
        "env-removed": f"the variable {name} was set in the recorded run and no longer is",
        "capture-removed": f"{name} was captured in the recorded run and no longer is",
    }.get(reason.kind, f"{shown} is new" if how == "added" else f"{shown} is {new}, locked with {old}")
