"""Which data runs go back to: what they, or the runs before them, began with and no run made. For listings of runs.

Content is followed only where it is beyond doubt: by its bytes, under the same path. Where the runs that left the same bytes go back to
different versions of something, nothing is said of it. Code, which git keeps, is no data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dvlite.oid import MANIFEST, Oid
from dvlite.paths import ancestors
from dvlite.repo.repository import Repo
from dvlite.runs.schema import HOLDER, INPUT

_MOST_MAKERS = 20  # of the same content: the newest
_MOST_LEVELS = 100  # of runs before one another: a stage that reads what it left has one for each time that it ran


class UpstreamLookup(Protocol):
    """What is asked of the index."""

    def inputs(self, runs: Sequence[Oid], kind: int = INPUT) -> dict[Oid, dict[str, Oid]]:
        """Returns the path and content of each input of runs, or of the directories that held them."""

    def makers(self, oid: Oid) -> list[tuple[Oid, str]]:
        """Returns the runs that left this content, and under which path, newest first."""


def source_data(repo: Repo, look: UpstreamLookup, runs: Sequence[Oid]) -> dict[Oid, dict[str, Oid]]:
    """Returns, for each run, the path and content of the data that it goes back to. The cost grows with the runs behind these."""
    walk = _UpstreamWalk(look, {item.path for item in repo.work_tree.tracked(broken=[]) if not item.lockfile})
    walk.read(runs)
    ends = {path for found in walk.ends.values() for path in found}
    untold = [path for path in ends if not _is_within(path, walk.tracked)]
    code = {name for path in repo.git.tracked_under(untold) for name in (path, *ancestors(path))}
    found = walk.sources(runs)
    return {run: {path: oid for path, oid in found[run].items() if oid and path not in code} for run in runs}


@dataclass(slots=True)
class _UpstreamWalk:
    """What was met on the way up: of each run, the content that no run made, and the runs that made the rest of what it began with."""

    look: UpstreamLookup
    tracked: Collection[str]  # paths that have a pointer
    ends: dict[Oid, dict[str, Oid]] = field(default_factory=dict)
    befores: dict[Oid, list[list[Oid]]] = field(default_factory=dict)
    _makers: dict[tuple[str, Oid], list[Oid]] = field(default_factory=dict)

    def read(self, runs: Sequence[Oid]) -> None:
        """Reads runs, those before them, and so on, a level at a time."""
        level = list(runs)
        for _ in range(_MOST_LEVELS):
            inputs, holders = self.look.inputs(level), self.look.inputs(level, HOLDER)
            for run in level:
                self._read(run, inputs[run], holders[run])
            behind = (oid for run in level for makers in self.befores[run] for oid in makers)
            level = [oid for oid in dict.fromkeys(behind) if oid not in self.ends]

    def sources(self, runs: Sequence[Oid]) -> dict[Oid, dict[str, Oid | None]]:
        """Returns what these runs, and those before them, go back to; None is the content where that is in doubt."""
        found: dict[Oid, dict[str, Oid | None]] = {}
        for run in self._first_things_first(runs):
            ends = self.ends.get(run, {})
            behind: dict[str, Oid | None] = {}
            for maker in (maker for makers in self.befores.get(run, ()) for maker in makers):
                known = found.get(
                    maker, {}
                )  # nothing of one that comes later: records of strangers may go round in a circle
                for path, oid in known.items():
                    behind[path] = oid if behind.get(path, oid) == oid else None
            found[run] = {**ends, **{path: oid for path, oid in behind.items() if path not in ends}}
        return found

    def _first_things_first(self, runs: Sequence[Oid]) -> list[Oid]:
        """Returns the runs and all before them, each after those before it."""
        ordered: dict[Oid, None] = {}
        seen: set[Oid] = set()
        waiting = [(run, False) for run in runs]
        while waiting:
            run, is_left = waiting.pop()
            if is_left:
                ordered[run] = None
            elif run not in seen:
                seen.add(run)
                waiting.append((run, True))
                waiting += [(maker, False) for makers in self.befores.get(run, ()) for maker in makers]
        return list(ordered)

    def _read(self, run: Oid, inputs: Mapping[str, Oid], holders: Mapping[str, Oid]) -> None:
        self.ends[run], self.befores[run] = {}, []
        for path, oid in inputs.items():
            above = [(holder, holders[holder]) for holder in reversed([*ancestors(path)]) if holder in holders]
            made = [] if _is_within(path, self.tracked) else self._made_by((path, oid), *above)
            if made:
                self.befores[run].append(made)
            elif oid.startswith(MANIFEST) or _is_within(path, self.tracked):
                self.ends[run][path] = oid

    def _made_by(self, *contents: tuple[str, Oid]) -> list[Oid]:
        """Returns the runs that left the first of these that any left."""
        for path, oid in contents:
            if (path, oid) not in self._makers:
                made = [maker for maker, name in self.look.makers(oid) if name == path]
                self._makers[path, oid] = made[:_MOST_MAKERS]
            if self._makers[path, oid]:
                return self._makers[path, oid]
        return []


def _is_within(path: str, folders: Collection[str]) -> bool:
    return path in folders or any(parent in folders for parent in ancestors(path))
