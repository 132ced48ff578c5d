"""The lockfiles of one `repro`: what they say, and what the run changes in them.

Written atomically, in the order of the pipeline file; seldom enough that a thousand quick stages do not write a thousand files, for a stage
whose entry was not written yet is found again by its run record.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from dvlite import files
from dvlite.formats import lockfile
from dvlite.formats.lockfile import LockedStage, Lockfile
from dvlite.pipeline.stages import Stage
from dvlite.repo.repository import Repo

_PAUSE_SECONDS = 0.5
_SHARE = 20  # at most a twentieth of the time goes into writing lockfiles


class Locks:
    """The lockfiles of some stages. `stages`: all of the repository, for their order."""

    def __init__(self, repo: Repo, stages: Sequence[Stage]) -> None:
        self._repo = repo
        self._order: dict[str, list[str]] = {}
        for stage in stages:
            self._order.setdefault(stage.lockfile, []).append(stage.name)
        self._seen: dict[str, bytes | None] = {}
        self._changed: dict[str, dict[str, LockedStage]] = {}
        self._unwritten: set[str] = set()
        self._written: set[str] = set()
        self._next_write = 0.0
        self.current = {file: self._read(file) for file in self._order}

    def put(self, stage: Stage, entry: LockedStage) -> None:
        """Takes in what a stage ran with and made, unless it says the same already; a run that made the same again changes nothing."""
        known = self.current[stage.lockfile].stage(stage.name)
        if known is not None and known.run is not None and _said(known) == _said(entry):
            return
        self._changed.setdefault(stage.lockfile, {})[stage.name] = entry
        self.current[stage.lockfile] = self._merged(stage.lockfile, self.current[stage.lockfile])
        self._unwritten.add(stage.lockfile)

    @property
    def is_due(self) -> bool:
        """Says whether it is time to write."""
        return bool(self._unwritten) and time.monotonic() >= self._next_write

    def write(self) -> None:
        """Writes what changed; not yet durable."""
        started = time.monotonic()
        for file in sorted(self._unwritten):
            self._write(file, sync=False)
        self._unwritten.clear()
        self._next_write = time.monotonic() + max(_PAUSE_SECONDS, _SHARE * (time.monotonic() - started))

    def finish(self) -> tuple[str, ...]:
        """Drops the entries of stages that are gone, makes everything durable, and returns the lockfiles that changed."""
        for file, lock in self.current.items():
            if any(entry.name not in self._order[file] for entry in lock.stages):
                self._unwritten.add(file)
        for file in sorted(self._unwritten | self._written):
            self._write(file, sync=True)
        self._unwritten.clear()
        return tuple(sorted(self._written))

    def _write(self, file: str, *, sync: bool) -> None:
        on_disk = self._load(file)
        if on_disk != self._seen[file]:  # git, or a person, changed it meanwhile
            self.current[file] = self._merged(file, self._parse(file, on_disk))  # raises before anything is forgotten
            self._seen[file] = on_disk
        entries = [entry for entry in self.current[file].stages if entry.name in self._order[file]]
        data = lockfile.dump(Lockfile(tuple(entries)))
        if data != on_disk or sync:
            files.write_atomic(self._repo.root / file, data, sync=sync)
        if data != on_disk:
            self._written.add(file)
        self._seen[file] = data

    def _merged(self, file: str, lock: Lockfile) -> Lockfile:
        entries = {entry.name: entry for entry in lock.stages} | self._changed.get(file, {})
        return Lockfile(tuple(self._ordered(file, entries.values())))

    def _ordered(self, file: str, entries: Iterable[LockedStage]) -> list[LockedStage]:
        place = {name: number for number, name in enumerate(self._order[file])}
        return sorted(entries, key=lambda entry: place.get(entry.name, len(place)))

    def _read(self, file: str) -> Lockfile:
        self._seen[file] = self._load(file)
        return self._parse(file, self._seen[file])

    def _load(self, file: str) -> bytes | None:
        return self._repo.work_tree.read(file)

    def _parse(self, file: str, data: bytes | None) -> Lockfile:
        return Lockfile() if data is None else lockfile.parse(data, self._repo.display(file))


def _said(entry: LockedStage) -> tuple[object, ...]:
    """Returns what an entry says, but for who ran it; somebody may have edited more of it than the key."""
    deps = {dep.path: dep.oid for dep in entry.deps}
    return entry.key, entry.facts, deps, entry.outs
