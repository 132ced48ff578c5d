"""What `fsck` finds, as data: damaged objects, versions that are lost, and what could not be checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from dvlite.store.check import Damage, Problem

State = Literal["found", "repaired", "left", "ignored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FsckFinding:
    """One object, or one file of dvlite's own, that is not what it should be. `state` "ignored": not dvlite's, and harmless."""

    name: str
    problem: Problem
    reason: str
    state: State = "found"
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostVersion:
    """A version of which something is in no sound place that was looked at. `files` are paths inside of it; none: its listing is lost."""

    path: str
    oid: str
    commit: str | None = None
    stage: str | None = None
    files: tuple[str, ...] = ()
    lost_files: int = 0
    state: State = "found"
    given_up: str | None = (
        None  # RFC 3339: since then, only packs that a gc gave up have it; it can be read while they stand
    )
    who: tuple[str, ...] = ()  # who may still have it
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotChecked:
    """Something that could not be checked, and why."""

    what: str
    why: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is read. `deep`: bytes too; `percent` of all at most; `continues` where the last one stopped, until `is_over`."""

    deep: bool = False
    percent: float | None = None
    continues: bool = False
    is_over: Callable[[], bool] = lambda: False
    jobs: int = 2


@dataclass(slots=True)
class Health:
    """What one look at a store and all that belongs to it found. Times are in unix seconds."""

    damages: dict[str, Damage] = field(default_factory=dict)
    fixes: dict[str, str] = field(default_factory=dict)  # of damages that --repair does not heal
    ignored: set[str] = field(default_factory=set)
    lost: dict[tuple[str, str], LostVersion] = field(default_factory=dict)  # by path and oid
    unchecked: list[NotChecked] = field(default_factory=list)
    objects: int = 0
    read_objects: int = 0
    read_bytes: int = 0
    stopped: bool = False
    completed: int = 0

    def note(self, name: str, problem: Problem, reason: str, fix: str | None = None) -> None:
        self.damages.setdefault(name, Damage(name, problem, reason))
        if fix is not None:
            self.fixes[name] = fix

    @property
    def is_sound(self) -> bool:
        return not self.lost and not self.damages.keys() - self.ignored


def findings(first: Health, second: Health | None) -> list[FsckFinding]:
    """Returns what the first look found, and what became of it by a second look after a repair (None: nothing was repaired)."""
    result = []
    later: dict[str, Damage] = {} if second is None else second.damages
    for name, damage in (first.damages | later).items():
        health = second if second is not None and name in later else first
        state: State = "found" if second is None else "left" if name in later else "repaired"
        if name in health.ignored:
            state = "ignored"
        fix = health.fixes.get(name) if state != "repaired" else None
        result.append(FsckFinding(name=name, problem=damage.problem, reason=damage.reason, state=state, fix=fix))
    return result


def lost_versions(first: Health, second: Health | None) -> list[LostVersion]:
    """Returns the versions that lack something, as `findings` does."""
    if second is None:
        return list(first.lost.values())
    return [
        replace(second.lost.get(key, each), state="left" if key in second.lost else "repaired")
        for key, each in (first.lost | second.lost).items()
    ]


def short_list(names: Iterable[str], most: int = 1000) -> tuple[str, ...]:
    """Returns the first names, as many as a result shows."""
    return tuple(name for name, _ in zip(names, range(most), strict=False))
