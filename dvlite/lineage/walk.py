"""Walks over run records: up from content to what it was made of, down to what was made of it. Pure: it asks, and keeps no file.

Content is joined by its bytes. Bytes too few to be telling (an empty stamp file and an empty `__init__.py` are the same bytes) join only
under the same path. Hashes allow no cycle, but records come from strangers: everything is visited once, whatever they say.
"""

from __future__ import annotations

import contextlib
import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from dvlite.formats.record import Run
from dvlite.oid import Oid
from dvlite.runs.queries import TELLING_BYTES, Ends, Node, Ran

_RANKS = {"ok": 0, "cached": 1, "tainted": 2, "failed": 3, "canceled": 3}


class RunLookup(Protocol):
    """What is asked of the records, of many things at a time; `sources.Sources` answers it."""

    def makers(self, oids: Sequence[Oid]) -> Ends:
        """Returns the runs that left these contents."""

    def users(self, oids: Sequence[Oid]) -> Ends:
        """Returns the runs that began with these contents."""

    def runs(self, oids: Sequence[Oid], *, inputs: bool) -> Mapping[Oid, Ran]:
        """Returns runs, of those that are known; without `inputs`, only what they left."""


class Inside(Protocol):
    """What is asked of directories; `sources.Sources` answers it."""

    def holders(self, thing: Node, *, every: bool) -> Sequence[Node]:
        """Returns the directories that runs or pointers name and that have this content at this path, the likeliest first.

        Not `every`: some are enough.
        """

    def parts(self, thing: Node, *, made: bool) -> Sequence[Node]:
        """Returns content that lies in this directory and that runs began with, or with `made` left."""


class Nowhere:
    """Knows no listing."""

    def holders(self, thing: Node, *, every: bool) -> Sequence[Node]:
        return ()

    def parts(self, thing: Node, *, made: bool) -> Sequence[Node]:
        return ()


class Step(NamedTuple):
    """Runs of one stage that began with some content and left the same: the first one found, and the others."""

    run: Oid
    outputs: tuple[Node, ...]
    others: tuple[Oid, ...] = ()


@dataclass(slots=True)
class Walk:
    """What a walk met, in the order in which it met it; keyed by `Thing.key` and by run.

    Up, `made_by` holds the runs that left a thing, the one to be shown first, and only that one was walked on from. `held_by` are the
    directories that have a thing inside, `parts` the things inside that runs know. `cut` says of a thing at the limit how many runs lie
    behind it.
    """

    starts: tuple[Node, ...]
    things: dict[str, Node] = field(default_factory=dict)
    runs: dict[Oid, Ran] = field(default_factory=dict)
    made_by: dict[str, tuple[Oid, ...]] = field(default_factory=dict)
    held_by: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    parts: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    hidden: int = 0  # runs behind the limit


Better = Callable[[Oid], int]  # a lower number is shown before a higher one, ahead of status and time
_Waiting = list[tuple[Node, str]]  # things to be looked at, each with the thing at the limit that it lies behind


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Pauses Python's search for cycles: a walk makes none, and of 100,000 runs the search would take half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_collector()
def up(
    start: Iterable[Node],
    look: RunLookup,
    inside: Inside,
    *,
    run: tuple[Oid, Ran] | None = None,
    first: Better | None = None,
    depth: int | None = None,
) -> Walk:
    """Returns what content was made of, back to what no run made; at most `depth` runs deep. It may begin with what a `run` began with."""
    graph = Walk(tuple(start))
    hidden: dict[Oid, str] = {}  # runs behind the limit, and the thing at it
    level: _Waiting = [(thing, "") for thing in graph.starts]
    following: _Waiting = []
    distance = 0
    if run is not None:
        graph.runs[run[0]] = run[1]
        following = [(thing, "") for thing in run[1].inputs]
    while level or following:
        while level:
            unmet = _unmet(level, graph)
            makers = makers_of([thing for thing, _ in unmet], look, first)
            level = []  # what holds a thing, or lies inside it, is as far away as the thing
            for thing, behind in unmet:
                made_by = makers[thing.key]
                if not made_by:
                    level += [(other, behind) for other in _around(thing, graph, look, inside)]
                    continue
                graph.made_by[thing.key] = tuple(oid for oid, _ in made_by)
                oid, ran = made_by[0]
                if oid in graph.runs or oid in hidden:
                    continue
                limit = behind or (thing.key if depth is not None and distance >= depth else "")
                if limit:
                    hidden[oid] = limit
                else:
                    graph.runs[oid] = ran
                following += [(made_of, limit) for made_of in ran.inputs]
        level, following, distance = following, [], distance + 1
    return _without_hidden(graph, hidden)


def _unmet(level: _Waiting, graph: Walk) -> _Waiting:
    """Returns the things that were not met before, and notes that they are now."""
    found: _Waiting = []
    for thing, behind in level:
        if thing.key not in graph.things:
            graph.things[thing.key] = thing
            found.append((thing, behind))
    return found


def _around(thing: Node, graph: Walk, look: RunLookup, inside: Inside) -> tuple[Node, ...]:
    """Returns where to look for the makers of what no run left as it is: the directory that holds it, or what it was put together of."""
    held = tuple(inside.holders(thing, every=False))
    if held:
        made = look.makers([other.oid for other in held])
        likely = next((other for other in held if made.get(other.oid)), held[0])
        graph.held_by[thing.key] = (likely, *(other for other in held if other is not likely))
        return (likely,)
    parts = tuple(inside.parts(thing, made=True))
    if parts:
        graph.parts[thing.key] = parts
    return parts


_WHOLE, _PART, _HOLDER = range(3)


@_without_collector()
def down(
    start: Iterable[Node], look: RunLookup, inside: Inside, *, first: Better | None = None, depth: int | None = None
) -> Walk:
    """Returns what was made of content, at first hand and on from there; at most `depth` runs deep.

    Of a directory, what was made of things inside counts too; of a thing inside, what was made of the directory, but not of its siblings.
    """
    graph = Walk(tuple(start))
    hidden: dict[Oid, str] = {}
    visited: set[tuple[str, int]] = set()
    known: dict[Oid, Ran] = {}
    level: _Waiting = [(thing, "") for thing in graph.starts]
    distance = 0
    while level:
        unmet = _with_around(level, graph, inside, visited)
        ends = look.users([thing.oid for _, thing, _ in unmet])
        names = {run for found in ends.values() for run, _ in found}
        known |= look.runs([run for run in names if run not in known], inputs=False)
        level = []
        for key, thing, behind in unmet:
            if thing.oid not in ends:
                continue
            users = sorted(_known(thing, ends[thing.oid], known), key=lambda pair: (pair[1].start, pair[0]))
            if users:
                graph.steps[key] = tuple(_steps(users, first))
            limit = behind or (key if depth is not None and distance >= depth else "")
            for oid, ran in users:
                if oid in graph.runs or oid in hidden:
                    continue
                if limit:
                    hidden[oid] = limit
                else:
                    graph.runs[oid] = ran
                level += [(made, limit) for made in ran.outputs]
        distance += 1
    return _without_hidden(graph, hidden)


def _with_around(
    level: _Waiting, graph: Walk, inside: Inside, visited: set[tuple[str, int]]
) -> list[tuple[str, Node, str]]:
    """Returns what was not met before of these things, of the directories that hold them and of what lies in them; notes all of it.

    Each with its key, and the thing at the limit that it lies behind.
    """
    unmet: list[tuple[str, Node, str]] = []
    queue = deque((thing, _WHOLE, behind) for thing, behind in level)
    while queue:
        thing, role, behind = queue.popleft()
        key = thing.key
        if (key, role) in visited or (key, _WHOLE) in visited:
            continue
        visited.add((key, role))
        if role != _PART and (held := tuple(inside.holders(thing, every=True))):
            graph.held_by[key] = held
            queue.extendleft((other, _HOLDER, behind) for other in reversed(held))
        if role == _WHOLE and (parts := tuple(inside.parts(thing, made=False))):
            graph.parts[key] = parts
            queue.extendleft((other, _PART, behind) for other in reversed(parts))
        if key not in graph.things:
            graph.things[key] = thing
            unmet.append((key, thing, behind))
    return unmet


def ran_of(record: Run) -> Ran:
    """Returns what walks need of a record."""
    return Ran(
        record.stage,
        record.file,
        record.status,
        record.start,
        tuple(
            Node(item.oid, item.path, item.size_bytes, item.files, _inside(item.inside, item.inside_oid))
            for item in record.inputs
        ),
        tuple(Node(item.oid, item.path, item.size_bytes, item.files) for item in record.outputs),
    )


def _inside(path: str | None, oid: Oid | None) -> tuple[str, Oid] | None:
    return None if path is None or oid is None else (path, oid)


def makers_of(things: Sequence[Node], look: RunLookup, first: Better | None = None) -> dict[str, list[tuple[Oid, Ran]]]:
    """Returns the runs that left each of these contents, by key, the one to be shown first."""
    ends = look.makers(list(dict.fromkeys(thing.oid for thing in things)))
    runs = look.runs(list(dict.fromkeys(run for found in ends.values() for run, _ in found)), inputs=True)
    return {thing.key: _sorted(_known(thing, ends.get(thing.oid, ()), runs), first) for thing in things}


def users_of(things: Sequence[Node], look: RunLookup, first: Better | None = None) -> list[list[tuple[Oid, Ran]]]:
    """Returns the runs that began with any of these contents and were not stopped, by stage, those to be shown first in front."""
    ends = look.users(list(dict.fromkeys(thing.oid for thing in things)))
    runs = look.runs(list(dict.fromkeys(run for found in ends.values() for run, _ in found)), inputs=False)
    stages: dict[tuple[str, str], dict[Oid, Ran]] = {}
    for thing in things:
        for oid, ran in _known(thing, ends.get(thing.oid, ()), runs):
            if _RANKS.get(ran.status, 3) < 3:
                stages.setdefault((ran.file, ran.stage), {})[oid] = ran
    return [_sorted(list(found.items()), first) for found in stages.values()]


def _known(thing: Node, ends: Iterable[tuple[Oid, str]], runs: Mapping[Oid, Ran]) -> list[tuple[Oid, Ran]]:
    """Returns the runs that had this content where it counts as the same."""
    telling = thing.size_bytes >= TELLING_BYTES or not thing.path
    names = dict.fromkeys(oid for oid, path in ends if telling or path == thing.path)
    return [(oid, runs[oid]) for oid in names if oid in runs]


def _sorted(found: list[tuple[Oid, Ran]], first: Better | None) -> list[tuple[Oid, Ran]]:
    """Returns runs the best first: what the caller prefers, then ok before cached, then the newest."""
    if len(found) < 2:
        return found
    found.sort(key=lambda pair: (pair[1].start, pair[0]), reverse=True)
    found.sort(key=lambda pair: (first(pair[0]) if first is not None else 0, _RANKS.get(pair[1].status, 3)))
    return found


def _steps(users: Sequence[tuple[Oid, Ran]], first: Better | None) -> Iterator[Step]:
    """Groups runs of a stage that left the same, in order of time."""
    if len(users) == 1:
        yield Step(users[0][0], users[0][1].outputs)
        return
    groups: dict[tuple[object, ...], list[tuple[Oid, Ran]]] = {}
    for oid, ran in users:
        groups.setdefault((ran.file, ran.stage, ran.outputs), []).append((oid, ran))
    for group in groups.values():
        ordered = _sorted(group, first)
        yield Step(ordered[0][0], ordered[0][1].outputs, tuple(oid for oid, _ in ordered[1:]))


def _without_hidden(graph: Walk, hidden: Mapping[Oid, str]) -> Walk:
    """Counts what lies behind the limit and leaves out what was met only there."""
    if not hidden:
        return graph
    graph.hidden = len(hidden)
    for key in hidden.values():
        graph.cut[key] = graph.cut.get(key, 0) + 1
    for key, makers in list(graph.made_by.items()):
        if makers[0] in hidden:
            graph.cut.setdefault(key, 1)
    for key, steps in list(graph.steps.items()):
        seen = tuple(step for step in steps if step.run not in hidden)
        if len(seen) < len(steps):
            graph.cut.setdefault(key, len(steps) - len(seen))
        graph.steps[key] = seen
    shown = _shown(graph)
    tables: tuple[dict[str, Any], ...] = (
        graph.things,
        graph.made_by,
        graph.held_by,
        graph.parts,
        graph.steps,
        graph.cut,
    )
    for table in tables:
        for key in [key for key in table if key not in shown]:
            del table[key]
    return graph


def _shown(graph: Walk) -> set[str]:
    """Returns the things that the runs within the limit name, and what led to them."""
    waiting = [thing.key for thing in graph.starts]
    waiting += [thing.key for ran in graph.runs.values() for thing in (*ran.inputs, *ran.outputs)]
    shown: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key not in shown and key in graph.things:
            shown.add(key)
            waiting += [other.key for table in (graph.held_by, graph.parts) for other in table.get(key, ())]
    return shown
