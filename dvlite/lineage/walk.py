"""Walks over run records: up to the inputs of what wrote some content, down to the outputs of what read it. Pure: reads through a lookup.

Content is joined by its bytes. Content too small to identify a file (an empty stamp file and an empty `__init__.py` are the same bytes)
is joined only under the same path. Hashes allow no cycle, but records come from strangers: everything is visited once.
"""

from __future__ import annotations

import contextlib
import gc
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from dvlite.formats.record import Run
from dvlite.oid import Oid
from dvlite.runs.queries import TELLING_BYTES, Artefact, RunIO, RunsByContent, artefact_of

_STATUS_RANKS = {"ok": 0, "cached": 1, "asserted": 1, "tainted": 2, "failed": 3, "canceled": 3}


class Lookup(Protocol):
    """What a walk reads; `provenance.Provenance` implements it."""

    def makers(self, oids: Sequence[Oid]) -> RunsByContent:
        """Returns the runs that wrote these contents."""

    def users(self, oids: Sequence[Oid]) -> RunsByContent:
        """Returns the runs that read these contents."""

    def runs(self, oids: Sequence[Oid], *, inputs: bool) -> Mapping[Oid, RunIO]:
        """Returns runs, unknown ones left out; without `inputs`, only their outputs."""

    def rank(self, run: Oid) -> int:
        """Orders runs that wrote the same: the lowest is shown first, ahead of status and time."""

    def holders(self, artefact: Artefact, *, every: bool) -> Sequence[Artefact]:
        """Returns the directories of runs or pointers that have this content at this path, the likeliest first; not `every`: at least one."""

    def parts(self, artefact: Artefact, *, outputs: bool) -> Sequence[Artefact]:
        """Returns content inside this directory that runs read, or with `outputs` wrote."""

    def narrowed(
        self, run: Oid, whole: RunIO, *, inputs: Collection[str] = (), outputs: Collection[str] = ()
    ) -> tuple[RunIO, tuple[str, ...]]:
        """Returns of the run of a map stage what belongs to the datums that read, or wrote, these paths inside its directories, and their names.

        Any other run is returned whole.
        """


class RunGroup(NamedTuple):
    """Runs of one stage that read some content and wrote the same outputs: the one to show, and the others."""

    run: Oid
    outputs: tuple[Artefact, ...]
    others: tuple[Oid, ...] = ()


@dataclass(slots=True)
class Subgraph:
    """What a walk reached, in that order; keyed by `Artefact.key` and by run.

    Up, `made_by` holds the runs that wrote an artefact; the walk follows the first one only. `held_by` are the directories that contain
    an artefact, `parts` the contents of a directory that runs know. A run of a map stage has only what belongs to its `datums`. `cut` counts, for an artefact at the limit, the runs behind it.
    """

    starts: tuple[Artefact, ...]
    artefacts: dict[str, Artefact] = field(default_factory=dict)
    runs: dict[Oid, RunIO] = field(default_factory=dict)
    made_by: dict[str, tuple[Oid, ...]] = field(default_factory=dict)
    used_by: dict[str, tuple[RunGroup, ...]] = field(default_factory=dict)
    held_by: dict[str, tuple[Artefact, ...]] = field(default_factory=dict)
    parts: dict[str, tuple[Artefact, ...]] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    datums: dict[Oid, tuple[str, ...]] = field(
        default_factory=dict
    )  # of runs of map stages of which only these belong here
    hidden: int = 0  # runs behind the limit


NamedRun = tuple[Oid, RunIO]
_Level = list[tuple[Artefact, str]]  # artefacts, each with the key of the one at the limit that it lies behind, if any
_Visited = Iterator[tuple[str, str, Sequence[NamedRun]]]  # key, key at the limit, runs to follow


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Pauses the garbage collector: a walk creates no cycles, and over 100,000 runs the collector takes half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_collector()
def walk(
    lookup: Lookup,
    start: Iterable[Artefact],
    direction: Literal["up", "down"],
    *,
    run: NamedRun | None = None,
    depth: int | None = None,
) -> Subgraph:
    """Follows content breadth first, at most `depth` runs far; with `run`, up from the inputs of that run.

    Up ends at what no run wrote. Down of a directory includes the uses of its contents; down of a file inside a directory includes the
    uses of the directory, but not of its siblings.
    """
    graph = Subgraph(tuple(start))
    walker = _Walker(lookup, graph)
    visit = walker.makers if direction == "up" else walker.users
    level: _Level = [(artefact, "") for artefact in graph.starts]
    hidden: dict[Oid, str] = {}  # runs behind the limit, and the key of the artefact at it
    distance = 0
    if run is not None:
        graph.runs[run[0]] = run[1]
        level, distance = [(artefact, "") for artefact in run[1].inputs], 1
    while level:
        next_level: _Level = []
        for key, behind, runs in visit(level):
            limit = behind or (key if depth is not None and distance >= depth else "")
            for oid, reached in runs:
                if oid in graph.runs or oid in hidden:
                    continue
                if limit:
                    hidden[oid] = limit
                else:
                    graph.runs[oid] = reached
                beyond = reached.inputs if direction == "up" else reached.outputs
                next_level += [(artefact, limit) for artefact in beyond]
        level, distance = next_level, distance + 1
    return _without_hidden(graph, hidden)


_WHOLE, _PART, _HOLDER = range(3)


@dataclass(slots=True)
class _Walker:
    """Visits the artefacts of a level and yields the runs beyond them."""

    lookup: Lookup
    graph: Subgraph
    _visited: set[tuple[str, int]] = field(default_factory=set)
    _users: dict[Oid, RunIO] = field(default_factory=dict)
    _inner: dict[str, set[str]] = field(default_factory=dict)  # by key of a directory: the paths inside that led to it

    def makers(self, level: _Level) -> _Visited:
        """Yields the run that wrote each artefact, or the directory that holds it, or its parts: these are as far away as the artefact."""
        inner: dict[str, set[str]] = {}
        while level:
            new = []
            for artefact, behind in level:
                if artefact.key not in self.graph.artefacts:
                    self.graph.artefacts[artefact.key] = artefact
                    new.append((artefact, behind))
            makers = makers_of([artefact for artefact, _ in new], self.lookup)
            level, beyond = [], dict[str, set[str]]()
            for artefact, behind in new:
                made_by, paths = makers[artefact.key], inner.get(artefact.key, set())
                if made_by:
                    self.graph.made_by[artefact.key] = tuple(oid for oid, _ in made_by)
                    yield artefact.key, behind, [self._narrowed(made_by[0], outputs=paths)]
                    continue
                around = self._around(artefact)
                level += [(other, behind) for other in around]
                for other in around if artefact.key in self.graph.held_by else ():
                    beyond.setdefault(other.key, set()).update(paths or {artefact.path})
            inner = beyond

    def _narrowed(self, found: NamedRun, *, inputs: Collection[str] = (), outputs: Collection[str] = ()) -> NamedRun:
        if not inputs and not outputs:
            return found
        run, datums = self.lookup.narrowed(*found, inputs=inputs, outputs=outputs)
        if datums:
            self.graph.datums.setdefault(found[0], datums)
        return found[0], run

    def _around(self, artefact: Artefact) -> tuple[Artefact, ...]:
        """Returns where to look for the makers of an artefact that no run wrote as it is: the directory that holds it, else its parts."""
        held_by = tuple(self.lookup.holders(artefact, every=False))
        if held_by:
            makers = self.lookup.makers([other.oid for other in held_by])
            likely = next((other for other in held_by if makers.get(other.oid)), held_by[0])
            self.graph.held_by[artefact.key] = (likely, *(other for other in held_by if other is not likely))
            return (likely,)
        parts = tuple(self.lookup.parts(artefact, outputs=True))
        if parts:
            self.graph.parts[artefact.key] = parts
        return parts

    def users(self, level: _Level) -> _Visited:
        """Yields the runs that read each artefact, the directories that hold it, or its parts."""
        new = self._with_around(level)
        users = self.lookup.users([artefact.oid for _, artefact, _ in new])
        names = {run for runs in users.values() for run, _ in runs}
        self._users |= self.lookup.runs([run for run in names if run not in self._users], inputs=False)
        for key, artefact, behind in new:
            if artefact.oid not in users:
                continue
            runs = _of_artefact(artefact, users[artefact.oid], self._users)
            if (key, _WHOLE) not in self._visited:
                runs = [self._narrowed(found, inputs=self._inner.get(key, ())) for found in runs]
            runs.sort(key=lambda pair: (pair[1].start, pair[0]))
            if runs:
                self.graph.used_by[key] = tuple(_groups(runs, self.lookup))
            yield key, behind, runs

    def _with_around(self, level: _Level) -> list[tuple[str, Artefact, str]]:
        """Returns the new artefacts of a level, of the directories that hold them and of their parts: key, artefact, key at the limit."""
        graph, visited = self.graph, self._visited
        new: list[tuple[str, Artefact, str]] = []
        queue = deque((artefact, _WHOLE, behind) for artefact, behind in level)
        while queue:
            artefact, role, behind = queue.popleft()
            key = artefact.key
            if (key, role) in visited or (key, _WHOLE) in visited:
                continue
            visited.add((key, role))
            if role != _PART and (held_by := tuple(self.lookup.holders(artefact, every=True))):
                graph.held_by[key] = held_by
                queue.extendleft((other, _HOLDER, behind) for other in reversed(held_by))
                for other in held_by:
                    self._inner.setdefault(other.key, set()).update(self._inner.get(key) or {artefact.path})
            if role == _WHOLE and (parts := tuple(self.lookup.parts(artefact, outputs=False))):
                graph.parts[key] = parts
                queue.extendleft((other, _PART, behind) for other in reversed(parts))
            if key not in graph.artefacts:
                graph.artefacts[key] = artefact
                new.append((key, artefact, behind))
        return new


def run_io(record: Run) -> RunIO:
    """Returns what walks need of a record."""
    inputs = map(artefact_of, record.inputs)
    outputs = (Artefact(item.oid, item.path, item.size_bytes, item.files) for item in record.outputs)
    return RunIO(record.stage, record.file, record.status, record.start, tuple(inputs), tuple(outputs))


def makers_of(artefacts: Sequence[Artefact], lookup: Lookup) -> dict[str, list[NamedRun]]:
    """Returns the runs that wrote each artefact, by key, the one to show first."""
    makers = lookup.makers(list(dict.fromkeys(artefact.oid for artefact in artefacts)))
    runs = lookup.runs(list(dict.fromkeys(run for pairs in makers.values() for run, _ in pairs)), inputs=True)
    return {
        artefact.key: _best_first(_of_artefact(artefact, makers.get(artefact.oid, ()), runs), lookup)
        for artefact in artefacts
    }


def users_of(artefacts: Sequence[Artefact], lookup: Lookup) -> list[list[NamedRun]]:
    """Returns the runs that read any of these artefacts and wrote their outputs, by stage, the one to show first."""
    users = lookup.users(list(dict.fromkeys(artefact.oid for artefact in artefacts)))
    runs = lookup.runs(list(dict.fromkeys(run for pairs in users.values() for run, _ in pairs)), inputs=False)
    stages: dict[tuple[str, str], dict[Oid, RunIO]] = {}
    for artefact in artefacts:
        for oid, run in _of_artefact(artefact, users.get(artefact.oid, ()), runs):
            if _STATUS_RANKS.get(run.status, 3) < 3:
                stages.setdefault((run.file, run.stage), {})[oid] = run
    return [_best_first(list(runs_of_stage.items()), lookup) for runs_of_stage in stages.values()]


def _of_artefact(artefact: Artefact, pairs: Iterable[tuple[Oid, str]], runs: Mapping[Oid, RunIO]) -> list[NamedRun]:
    """Returns the runs that had this content, where it is too small under the same path."""
    by_bytes = artefact.size_bytes >= TELLING_BYTES or not artefact.path
    names = dict.fromkeys(oid for oid, path in pairs if by_bytes or path == artefact.path)
    return [(oid, runs[oid]) for oid in names if oid in runs]


def _best_first(runs: list[NamedRun], lookup: Lookup) -> list[NamedRun]:
    """Sorts runs by rank, then ok before cached, then newest first."""
    if len(runs) > 1:
        runs.sort(key=lambda pair: (pair[1].start, pair[0]), reverse=True)
        runs.sort(key=lambda pair: (lookup.rank(pair[0]), _STATUS_RANKS.get(pair[1].status, 3)))
    return runs


def _groups(users: Sequence[NamedRun], lookup: Lookup) -> Iterator[RunGroup]:
    """Groups runs of a stage that wrote the same, oldest first."""
    groups: dict[tuple[object, ...], list[NamedRun]] = {}
    for oid, run in users:
        groups.setdefault((run.file, run.stage, run.outputs) if len(users) > 1 else (), []).append((oid, run))
    for group in groups.values():
        (first, run), *others = _best_first(group, lookup)
        yield RunGroup(first, run.outputs, tuple(oid for oid, _ in others))


def _without_hidden(graph: Subgraph, hidden: Mapping[Oid, str]) -> Subgraph:
    """Counts what lies behind the limit and drops the artefacts reached only there."""
    if not hidden:
        return graph
    graph.hidden = len(hidden)
    for key in hidden.values():
        graph.cut[key] = graph.cut.get(key, 0) + 1
    for key, makers in graph.made_by.items():
        if makers[0] in hidden:
            graph.cut.setdefault(key, 1)
    for key, groups in graph.used_by.items():
        kept = tuple(group for group in groups if group.run not in hidden)
        if len(kept) < len(groups):
            graph.cut.setdefault(key, len(groups) - len(kept))
        graph.used_by[key] = kept
    shown = _shown(graph)
    tables: tuple[dict[str, Any], ...] = (
        graph.artefacts,
        graph.made_by,
        graph.used_by,
        graph.held_by,
        graph.parts,
        graph.cut,
    )
    for table in tables:
        for key in [key for key in table if key not in shown]:
            del table[key]
    return graph


def _shown(graph: Subgraph) -> set[str]:
    """Returns the keys of the artefacts of runs within the limit, and of what led to them."""
    stack = [artefact.key for artefact in graph.starts]
    stack += [artefact.key for run in graph.runs.values() for artefact in (*run.inputs, *run.outputs)]
    shown: set[str] = set()
    while stack:
        key = stack.pop()
        if key not in shown and key in graph.artefacts:
            shown.add(key)
            stack += [other.key for table in (graph.held_by, graph.parts) for other in table.get(key, ())]
    return shown
