"""Whether entries of a lockfile were edited: the key of an entry is that of its fields, and its fields are those of the run that it names.

An edited entry is reported once, here; further comparisons get what is trusted: the record of the run. Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dvlite.formats.lockfile import Facts, Locked, LockedStage, stage_key
from dvlite.formats.record import Run, held
from dvlite.runs.names import name_of
from dvlite.show import pair_text, short_oid, some, value_text, word
from dvlite.verify.findings import Finding
from dvlite.verify.parsed import Lock

_KINDS = {
    "deps": "the dependency ",
    "params": "the parameter ",
    "env": "the variable ",
    "outs": "the output ",
}


@dataclass(frozen=True, slots=True)
class EntryDifference:
    """A field of an entry, or an item in it, that the lockfile and the recorded run do not have alike (None: not there)."""

    field: str
    item: str | None
    locked: Any
    recorded: Any


@dataclass(frozen=True, slots=True)
class Examined:
    """A lock entry and which of its fields are trusted. `doubtful`: the key does not match and the cause is unknown."""

    trusted: LockedStage
    finding: Finding | None = None
    doubtful: bool = False


Restored = Callable[[Callable[[LockedStage], bool], str], str | None]
"""Returns the command that restores the lockfile from git, if its entry of a stage is as wanted there."""


class Examiner:
    """Looks at the entries of one lockfile."""

    def __init__(self, lock: Lock, folder: str, restored: Restored = lambda *_: None) -> None:
        self._lock, self._folder, self._restored = lock, folder, restored

    def examine(self, entry: LockedStage, address: str, declared: Sequence[str], run: Run | None) -> Examined:
        """Compares an entry with itself and with its run; `declared` are the outputs as the pipeline file names them now."""
        own = {key_of(entry, [out.path for out in entry.outs]), key_of(entry, declared)}
        fits = entry.key in own
        if run is None:
            return Examined(entry, doubtful=not fits)
        assert entry.run is not None
        name = name_of(entry.name, entry.run)
        if run.status not in ("ok", "cached", "asserted"):
            return Examined(entry, self._wrong_run(entry, address, f"{name}, which ended as {run.status}"))
        if fits and run.key not in own:
            return Examined(entry, self._wrong_run(entry, address, f"{name}, which had another key"))
        differences = list(differ(entry, run))
        if fits and not differences:
            return Examined(entry)
        if not fits and run.key in own:  # all is as it was but the key itself
            return Examined(replace(entry, key=run.key), self._wrong_key(entry, address, name))
        if run.key != entry.key:
            return Examined(entry, doubtful=True)
        if not differences:
            return Examined(entry)  # only the declaration of its outputs changed
        kind = "record-mismatch" if fits else "key-mismatch"
        return Examined(as_run(entry, run), self.edited(entry, address, kind, differences, name))

    def edited(
        self, entry: LockedStage, address: str, kind: str, differences: Sequence[EntryDifference], who: str
    ) -> Finding:
        """Returns the finding for an edited entry; `who` had other values."""
        first = differences[0]
        what = f"{_KINDS.get(first.field, '' if first.item else 'its ')}{value_text(first.item or first.field)}"
        locked, recorded = _pair(first)
        if first.locked is None:
            message = f"{what} is left out, {who} had {recorded}"
        elif first.recorded is None:
            message = f"{what} was added, {who} did not have it"
        else:
            message = f"{what} is {locked}, {who} had {recorded}"
        fields = [message, *(other.field for other in differences[1:])]
        return self._finding(
            entry,
            address,
            kind,
            f"the entry of {address} was edited: {some(fields, 1)}",
            self._lock.line(entry, first.field, first.item),
            item=first,
        )

    def doubtful(self, entry: LockedStage, address: str) -> Finding:
        """Returns the finding for an entry whose key does not match, with unknown cause."""
        return self._wrong_key(entry, address, None)

    def missing(self, entry: LockedStage, address: str) -> Finding:
        """Returns the finding for an entry whose run has no record: the clone that has it must push it, unless the entry was edited here."""
        if entry.run is None:
            message, fix = f"the entry of {address} names no run", f"dvlite repro --force {word(address)}"
        else:
            message = (
                f"{address}: the run {name_of(entry.name, entry.run)} of its entry has no record here or on the remote"
            )
            fix = "push it from the clone that ran it: dvlite push"
        restored = self._restored(lambda was: was.run not in (None, entry.run) and _is_but_run(was, entry), entry.name)
        line = self._lock.line(entry, "run")
        return self._finding(entry, address, "record-missing", message, line, old=entry.run, fix=restored or fix)

    def _wrong_run(self, entry: LockedStage, address: str, what: str) -> Finding:
        line = self._lock.line(entry, "run")
        return self._finding(entry, address, "record-mismatch", f"{address} names the run {what}", line, old=entry.run)

    def _wrong_key(self, entry: LockedStage, address: str, run: str | None) -> Finding:
        which = f"; the key of {run} does" if run is not None else ""
        message = f"the entry of {address} was edited: its key {entry.key[:8]} does not match its fields{which}"
        return self._finding(entry, address, "key-mismatch", message, self._lock.line(entry, "key"), old=entry.key)

    def _finding(
        self,
        entry: LockedStage,
        address: str,
        kind: str,
        message: str,
        line: int,
        *,
        item: EntryDifference | None = None,
        old: Any = None,
        fix: str | None = None,
    ) -> Finding:
        path = item.item if item is not None and item.field in ("deps", "outs") and item.item is not None else None
        return Finding(
            kind=kind,
            message=message,
            file=self._lock.file,
            line=line,
            stage=address,
            path=None if path is None else posixpath.normpath(posixpath.join(self._folder, path)),
            old=old if item is None else item.locked,
            new=None if item is None else item.recorded,
            fix=fix
            or self._restored(lambda was: _differs(was, entry), entry.name)
            or f"dvlite repro --force {word(address)}",
        )


def _is_but_run(one: LockedStage, other: LockedStage) -> bool:
    return replace(one, run=None, line=0) == replace(other, run=None, line=0)


def _differs(was: LockedStage, entry: LockedStage) -> bool:
    return replace(was, line=entry.line) != entry


def key_of(entry: LockedStage, outs: Sequence[str]) -> str:
    """Returns the key of what an entry says, with the outputs named so."""
    return stage_key(entry.facts, entry.deps, outs)


def differ(entry: LockedStage, run: Run) -> Iterator[EntryDifference]:
    """Yields what an entry says otherwise than the record of a run: paths are compared as they are to the pipeline file."""
    was = as_run(entry, run)
    yield from _scalars(entry.facts, was.facts)
    yield from _items("deps", *({dep.path: _content(dep)[:3] for dep in deps} for deps in (entry.deps, was.deps)))
    yield from _mappings(replace(entry.facts, params=held(entry.facts.params)), was.facts)
    yield from _items("outs", *({out.path: _content(out) for out in outs} for outs in (entry.outs, was.outs)))


def differ_from_now(entry: LockedStage, now: LockedStage) -> list[EntryDifference]:
    """Returns what an entry says otherwise than what its stage would run with now."""
    oids = ({dep.path: dep.oid for dep in deps} for deps in (entry.deps, now.deps))
    return [*_scalars(entry.facts, now.facts), *_items("deps", *oids), *_mappings(entry.facts, now.facts)]


def _scalars(locked: Facts, recorded: Facts) -> list[EntryDifference]:
    pairs = ((name, getattr(locked, name), getattr(recorded, name)) for name in ("cmd", "wdir"))
    return [EntryDifference(name, None, one, other) for name, one, other in pairs if one != other]


def _mappings(locked: Facts, recorded: Facts) -> list[EntryDifference]:
    sections = recorded.mappings
    return [item for name, values in locked.mappings.items() for item in _items(name, values, sections[name])]


def as_run(entry: LockedStage, run: Run) -> LockedStage:
    """Returns an entry with what its run did; flags of outputs are those of the lockfile, which follow the pipeline file."""
    flags = {out.path: out for out in entry.outs}
    params = entry.facts.params
    deps, outs = run.locked()
    outs = [replace(out, cache=flags.get(out.path, out).cache, push=flags.get(out.path, out).push) for out in outs]
    return replace(
        entry,
        facts=replace(
            run.facts,
            params={
                name: params[name] if _same(params.get(name), value) else value
                for name, value in run.facts.params.items()
            },
        ),
        deps=tuple(deps),
        outs=tuple(outs),
    )


def _content(item: Locked) -> tuple[Any, ...]:
    return item.oid, item.size_bytes, item.files, item.executable  # of dependencies, records do not have the mode


def _items(name: str, locked: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[EntryDifference]:
    return [
        EntryDifference(name, item, locked.get(item), recorded.get(item))
        for item in sorted(locked.keys() | recorded.keys())
        if item not in locked or item not in recorded or not _same(locked[item], recorded[item])
    ]


def _same(one: Any, other: Any) -> bool:
    """Returns whether two values are the same in a record, which holds some numbers as text."""
    return repr(held({"": one})) == repr(held({"": other})) or (type(one) is dict and bool(one == other))


def _pair(difference: EntryDifference) -> tuple[str, str]:
    """Returns both values so that they look different."""
    one, other = difference.locked, difference.recorded
    if not isinstance(one, tuple) and not isinstance(other, tuple):
        return pair_text(one, other)
    locked, recorded = (short_oid(value[0]) if value else "" for value in (one, other))
    if locked != recorded:
        return locked, recorded
    if one[1:3] != other[1:3]:
        at, unit = (1, "bytes") if one[1] != other[1] else (2, "files")
        return f"{one[at]} {unit}", f"{other[at]} {unit}"
    return ("executable", "it not executable") if one[3] else ("not executable", "it executable")
