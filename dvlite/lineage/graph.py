"""Walks over run records: up from content to what it was made of, down to what was made of it. Pure: it asks, and keeps no file.

Content is joined by its bytes. Bytes too few to be telling (an empty stamp file and an empty `__init__.py` are the same bytes) join only
under the same path. Hashes allow no cycle, but records come from strangers: everything is visited once, whatever they say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dvlite.formats.record import Run
from dvlite.oid import Oid

TELLING_BYTES = 64
_RANKS = {"ok": 0, "cached": 1, "tainted": 2, "failed": 3, "canceled": 3}


@dataclass(frozen=True, slots=True)
class Thing:
    """Content, and what somebody called it; without a path, it is the bytes wherever they are."""

    oid: Oid
    path: str = ""
    size_bytes: int = 0
    files: int = 1

    @property
    def key(self) -> str:
        """What it is known by in a walk: its oid, and where that is not telling, its path too."""
        return self.oid if self.size_bytes >= TELLING_BYTES or not self.path else f"{self.oid} {self.path}"


class Lookup(Protocol):
    """What is asked of the records; `index.Index` answers it."""

    def makers(self, oid: Oid) -> Sequence[tuple[Oid, str]]:
        """Returns the runs that left this content, each with the path of it there."""

    def users(self, oid: Oid) -> Sequence[tuple[Oid, str]]:
        """Returns the runs that began with this content, each with the path of it there."""

    def run(self, oid: Oid) -> Run | None:
        """Returns a run's record, or None for a run that is not known."""


class Inside(Protocol):
    """What is asked of the listings of directories; `membership.Membership` answers it."""

    def holders(self, thing: Thing) -> Sequence[Thing]:
        """Returns the directories that runs or pointers name and that have this content at this path, the likeliest first."""

    def parts(self, thing: Thing, *, made: bool) -> Sequence[Thing]:
        """Returns content that lies in this directory and that runs began with, or with `made` left."""


class Nowhere:
    """Knows no listing."""

    def holders(self, thing: Thing) -> Sequence[Thing]:
        return ()

    def parts(self, thing: Thing, *, made: bool) -> Sequence[Thing]:
        return ()


@dataclass(frozen=True, slots=True)
class Step:
    """Runs of one stage that began with some content and left the same: the first one found, and the others."""

    run: Oid
    outputs: tuple[Thing, ...]
    others: tuple[Oid, ...] = ()


@dataclass(slots=True)
class Graph:
    """What a walk met, in the order in which it met it; keyed by `Thing.key` and by run.

    Up, `made_by` holds the runs that left a thing, the one to be shown first, and only that one was walked on from. `held_by` are the
    directories that have a thing inside, `parts` the things inside that runs know. `cut` says of a thing at the limit how many runs lie
    behind it.
    """

    starts: tuple[Thing, ...]
    things: dict[str, Thing] = field(default_factory=dict)
    runs: dict[Oid, Run] = field(default_factory=dict)
    made_by: dict[str, tuple[Oid, ...]] = field(default_factory=dict)
    held_by: dict[str, tuple[Thing, ...]] = field(default_factory=dict)
    parts: dict[str, tuple[Thing, ...]] = field(default_factory=dict)
    steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    hidden: int = 0  # runs behind the limit


Better = Callable[[Oid, Run], int]  # a lower number is shown before a higher one, ahead of status and time


def up(
    start: Iterable[Thing],
    look: Lookup,
    inside: Inside,
    *,
    run: tuple[Oid, Run] | None = None,
    first: Better | None = None,
    depth: int | None = None,
) -> Graph:
    """Returns what content was made of, back to what no run made; at most `depth` runs deep. It may begin with what a `run` began with."""
    graph = Graph(tuple(start))
    hidden: dict[Oid, str] = {}  # runs behind the limit, and the thing at it
    queue = deque((thing, 0, "") for thing in graph.starts)
    if run is not None:
        graph.runs[run[0]] = run[1]
        queue.extend((thing, 1, "") for thing in inputs_of(run[1]))
    while queue:
        thing, distance, behind = queue.popleft()
        key = thing.key
        if key in graph.things:
            continue
        graph.things[key] = thing
        makers = makers_of(thing, look, first)
        if not makers:
            queue.extendleft((other, distance, behind) for other in _around(thing, graph, look, inside, first))
            continue
        graph.made_by[key] = tuple(oid for oid, _ in makers)
        oid, record = makers[0]
        if oid in graph.runs or oid in hidden:
            continue
        if behind or (depth is not None and distance >= depth):
            behind = behind or key
            hidden[oid] = behind
        else:
            graph.runs[oid] = record
        queue.extend((made_of, distance + 1, behind) for made_of in inputs_of(record))
    return _without_hidden(graph, hidden)


def _around(thing: Thing, graph: Graph, look: Lookup, inside: Inside, first: Better | None) -> tuple[Thing, ...]:
    """Returns where to look for the makers of what no run left as it is: the directory that holds it, or what it was put together of."""
    held = tuple(inside.holders(thing))
    if held:
        likely = next((other for other in held if makers_of(other, look, first)), held[0])
        graph.held_by[thing.key] = (likely, *(other for other in held if other is not likely))
        return (likely,)
    parts = tuple(inside.parts(thing, made=True))
    if parts:
        graph.parts[thing.key] = parts
    return parts[::-1]


_WHOLE, _PART, _HOLDER = range(3)


def down(
    start: Iterable[Thing], look: Lookup, inside: Inside, *, first: Better | None = None, depth: int | None = None
) -> Graph:
    """Returns what was made of content, at first hand and on from there; at most `depth` runs deep.

    Of a directory, what was made of things inside counts too; of a thing inside, what was made of the directory, but not of its siblings.
    """
    graph = Graph(tuple(start))
    hidden: dict[Oid, str] = {}
    visited: set[tuple[str, int]] = set()
    queue = deque((thing, _WHOLE, 0, "") for thing in graph.starts)
    while queue:
        thing, role, distance, behind = queue.popleft()
        key = thing.key
        if (key, role) in visited or (key, _WHOLE) in visited:
            continue
        visited.add((key, role))
        if role != _PART and (held := tuple(inside.holders(thing))):
            graph.held_by[key] = held
            queue.extendleft((other, _HOLDER, distance, behind) for other in reversed(held))
        if role == _WHOLE and (parts := tuple(inside.parts(thing, made=False))):
            graph.parts[key] = parts
            queue.extendleft((other, _PART, distance, behind) for other in reversed(parts))
        if key in graph.things:
            continue
        graph.things[key] = thing
        users = _users_of(thing, look)
        if users:
            graph.steps[key] = tuple(_steps(users, first))
        if behind or (depth is not None and distance >= depth):
            behind = behind or key
        for oid, record in users:
            if oid in graph.runs or oid in hidden:
                continue
            if behind:
                hidden[oid] = behind
            else:
                graph.runs[oid] = record
            queue.extend((made, _WHOLE, distance + 1, behind) for made in outputs_of(record))
    return _without_hidden(graph, hidden)


def inputs_of(record: Run) -> Iterator[Thing]:
    """Yields what a run began with."""
    for item in record.inputs:
        yield Thing(item.oid, item.path, item.size_bytes, item.files)


def outputs_of(record: Run) -> Iterator[Thing]:
    """Yields what a run left."""
    for item in record.outputs:
        yield Thing(item.oid, item.path, item.size_bytes, item.files)


def makers_of(thing: Thing, look: Lookup, first: Better | None = None) -> list[tuple[Oid, Run]]:
    """Returns the runs that left this content, the one to be shown first."""
    return _sorted(_known(thing, look.makers(thing.oid), look), first)


def _users_of(thing: Thing, look: Lookup) -> list[tuple[Oid, Run]]:
    found = _known(thing, look.users(thing.oid), look)
    return sorted(found, key=lambda pair: (pair[1].start, pair[0])) if len(found) > 1 else found


def _known(thing: Thing, ends: Iterable[tuple[Oid, str]], look: Lookup) -> list[tuple[Oid, Run]]:
    """Returns the records of runs that had this content where it counts as the same."""
    telling = thing.size_bytes >= TELLING_BYTES or not thing.path
    names = dict.fromkeys(oid for oid, path in ends if telling or path == thing.path)
    return [(oid, record) for oid in names if (record := look.run(oid)) is not None]


def _sorted(found: list[tuple[Oid, Run]], first: Better | None) -> list[tuple[Oid, Run]]:
    """Returns runs the best first: what the caller prefers, then ok before cached, then the newest."""
    if len(found) < 2:
        return found
    found.sort(key=lambda pair: (pair[1].start, pair[0]), reverse=True)
    found.sort(key=lambda pair: (first(*pair) if first is not None else 0, _RANKS.get(pair[1].status, 3)))
    return found


def _steps(users: Sequence[tuple[Oid, Run]], first: Better | None) -> Iterator[Step]:
    """Groups runs of a stage that left the same, in order of time."""
    groups: dict[tuple[object, ...], list[tuple[Oid, Run]]] = {}
    for oid, record in users:
        same = (record.file, record.stage, tuple((item.path, item.oid) for item in record.outputs))
        groups.setdefault(same, []).append((oid, record))
    for group in groups.values():
        ordered = _sorted(list(group), first)
        yield Step(ordered[0][0], tuple(outputs_of(ordered[0][1])), tuple(oid for oid, _ in ordered[1:]))


def _without_hidden(graph: Graph, hidden: Mapping[Oid, str]) -> Graph:
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


def _shown(graph: Graph) -> set[str]:
    """Returns the things that the runs within the limit name, and what led to them."""
    waiting = [thing.key for thing in graph.starts]
    waiting += [thing.key for record in graph.runs.values() for thing in (*inputs_of(record), *outputs_of(record))]
    shown: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key not in shown and key in graph.things:
            shown.add(key)
            waiting += [other.key for table in (graph.held_by, graph.parts) for other in table.get(key, ())]
    return shown
