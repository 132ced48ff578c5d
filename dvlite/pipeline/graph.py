"""The stages as a graph: which must come before which, what may not be, and what a target stands for. Pure: looks at no disk.

A stage comes after another if it depends on a path that is one of the other's outputs, lies inside one, or holds one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dvlite.errors import DvliteError
from dvlite.paths import ancestors, is_inside
from dvlite.pipeline.globs import may_go_into
from dvlite.pipeline.stages import Stage, StageOut
from dvlite.show import quote
from dvlite.workspace import sparse

_TOKEN = re.compile(r"\[[^\]]+\]|.", re.DOTALL)  # of a pattern: a set, a wildcard, a letter


@dataclass(frozen=True, slots=True)
class StageGraph:
    """All stages, each after those that it depends on, and its neighbours by address; `made`: dependencies that a stage makes."""

    stages: tuple[Stage, ...]
    before: Mapping[str, tuple[str, ...]]  # direct
    after: Mapping[str, tuple[str, ...]]
    made: frozenset[str] = frozenset()

    def stage(self, address: str) -> Stage:
        return next(stage for stage in self.stages if stage.address == address)

    def upstream(self, addresses: Iterable[str]) -> set[str]:
        """Returns the addresses and all that must come before them."""
        return _closure(addresses, self.before)

    def downstream(self, addresses: Iterable[str]) -> set[str]:
        """Returns the addresses and all that come after them."""
        return _closure(addresses, self.after)


def build(stages: Sequence[Stage]) -> StageGraph:
    """Returns the graph; raises FormatError, with file and line, for outputs that overlap and for cycles."""
    outs = _Outs(stages)
    outs.refuse_overlaps()
    before = {stage.address: tuple(dict.fromkeys(outs.makers(stage))) for stage in stages}
    after: dict[str, list[str]] = {stage.address: [] for stage in stages}
    for address, needed in before.items():
        for other in needed:
            after[other].append(address)
    ordered = _ordered(stages, before)
    return StageGraph(
        ordered, before, {address: tuple(found) for address, found in after.items()}, frozenset(outs.found)
    )


class _Outs:
    """All outputs: plain ones by path, patterns in a list."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._plain: dict[str, tuple[Stage, StageOut]] = {}
        self._patterns: list[tuple[Stage, StageOut]] = []
        self._above: dict[str, list[str]] = {}  # folder -> outputs somewhere below it
        self._by_pattern: dict[str, list[str]] = {}  # a dependency -> the stages that make what it stands for
        self.found: set[str] = set()  # dependencies for which a maker was found
        for stage in stages:
            for out in stage.outs:
                if sparse.is_glob(out.path):
                    self._patterns.append((stage, out))
                    continue
                known = self._plain.setdefault(out.path, (stage, out))
                if known[1] is not out:
                    raise _twice(stage, out, known[0])
        for path in self._plain:
            for folder in ancestors(path):
                self._above.setdefault(folder, []).append(path)

    def refuse_overlaps(self) -> None:
        for path, (stage, out) in self._plain.items():
            for folder in ancestors(path):
                if folder in self._plain:
                    other = self._plain[folder][0]
                    raise stage.wrong(
                        out.line,
                        f"the output {quote(path)} is inside {quote(folder)}, an output of {other.address}",
                        hint="give each stage outputs of its own",
                    )
        for number, (stage, out) in enumerate(self._patterns):
            matches = sparse.selector([out.path])
            for path, (other, _) in self._plain.items():
                if matches(os.fsencode(path)) or _starts_inside(out.path, path):
                    raise _twice(stage, out, other, path)
            for other, pattern in self._patterns[:number]:
                if _may_meet(pattern.path, out.path):
                    raise _twice(stage, out, other)

    def makers(self, stage: Stage) -> Iterator[str]:
        """Yields the stages that make something which a stage depends on."""
        for needed in (*stage.sources, *stage.params):
            for maker in self._makers(needed.path):
                if maker == stage.address:
                    raise stage.wrong(
                        needed.line,
                        f"{quote(needed.path)}, a dependency of {stage.address}, is or holds its own output",
                        hint="name the dependency more narrowly, or put the output elsewhere; a file that the stage updates in place is"
                        " an output alone: {path: ..., persist: true}",
                    )
                self.found.add(needed.path)
                yield maker

    def _makers(self, path: str) -> Iterator[str]:
        if sparse.is_glob(path) and path not in self._plain:
            if path not in self._by_pattern:
                self._by_pattern[path] = list(self._makers_of_pattern(path))
            yield from self._by_pattern[path]
            return
        for place in (path, *ancestors(path)):
            if place in self._plain:
                yield self._plain[place][0].address
        below = self._above.get(path, ()) if path else self._plain
        yield from (self._plain[inner][0].address for inner in below)
        for maker, out in self._patterns:
            if sparse.selector([out.path])(os.fsencode(path)) or _starts_inside(out.path, path):
                yield maker.address

    def _makers_of_pattern(self, path: str) -> Iterator[str]:
        matches = sparse.selector([path])
        made = self._plain.items()
        yield from (maker.address for out, (maker, _) in made if matches(os.fsencode(out)) or may_go_into(path, out))
        fixed = _fixed(path)
        inside = [above for above in (fixed, *ancestors(fixed)) if above in self._plain]
        yield from (self._plain[above][0].address for above in inside)
        yield from (maker.address for maker, out in self._patterns if _may_meet(out.path, path))


def _twice(stage: Stage, out: StageOut, other: Stage, path: str | None = None) -> DvliteError:
    shown = quote(path or out.path)
    if stage.address == other.address:
        return stage.wrong(out.line, f"{shown} is given twice as an output of {stage.address}")
    return stage.wrong(
        out.line,
        f"{shown} is an output of two stages, {other.address} and {stage.address}",
        hint="give each stage outputs of its own",
    )


def _fixed(pattern: str) -> str:
    """Returns the folders of a pattern before its first wildcard."""
    parts = []
    for part in pattern.split("/"):
        if sparse.is_glob(part):
            break
        parts.append(part)
    return "/".join(parts)


def _starts_inside(pattern: str, path: str) -> bool:
    """Returns whether a pattern can only match inside a path."""
    fixed = _fixed(pattern)
    return bool(path) and is_inside(fixed, path)


def _may_meet(one: str, other: str) -> bool:
    """Returns whether two patterns can match the same path, or one a path inside what the other matches."""
    left, right = one.split("/"), other.split("/")
    queue, seen = [(0, 0)], {(0, 0)}
    while queue:
        i, j = queue.pop()
        if i == len(left) or j == len(right):
            return True
        if "**" in left[i] or "**" in right[j]:
            following = {(i + 1, j), (i, j + 1)}
        else:
            following = {(i + 1, j + 1)} if _may_be_equal(left[i], right[j]) else set()
        queue += following - seen
        seen |= following
    return False


def _may_be_equal(one: str, other: str) -> bool:
    """Returns whether two patterns of a single name can match the same name."""
    left, right = _TOKEN.findall(one), _TOKEN.findall(other)
    queue, seen = [(0, 0)], {(0, 0)}
    while queue:
        i, j = queue.pop()
        here, there = "".join(left[i : i + 1]), "".join(right[j : j + 1])
        if not here and not there:
            return True
        if here == "*" or there == "*":  # it matches nothing more, or one letter of the other
            following = {(i + 1, j), (i, j + 1)} if here and there else {(i + bool(here), j + bool(there))}
        else:
            following = {(i + 1, j + 1)} if here and there and _share(here, there) else set()
        queue += following - seen
        seen |= following
    return False


def _share(one: str, other: str) -> bool:
    """Returns whether two letters, `?` or sets have a letter in common; of sets, only ASCII is looked at."""
    letters = [each for each in (one, other) if len(each) == 1 and each != "?"] or map(chr, range(32, 127))
    tests = [each.replace("[^", "[!") for each in (one, other)]
    return any(all(letter == test or fnmatchcase(letter, test) for test in tests) for letter in letters)


def _closure(addresses: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    queue = list(addresses)
    while queue:
        address = queue.pop()
        if address not in found:
            found.add(address)
            queue.extend(edges[address])
    return found


def _ordered(stages: Sequence[Stage], before: Mapping[str, tuple[str, ...]]) -> tuple[Stage, ...]:
    """Returns the stages so that each comes after those that it needs, else as the files have them; raises FormatError for a cycle."""
    by_address = {stage.address: stage for stage in stages}
    done: dict[str, Stage] = {}
    for start in stages:
        path: list[str] = []  # the open stages, outermost first
        open_: set[str] = set()
        stack: list[tuple[str, Iterator[str]]] = (
            [] if start.address in done else [(start.address, iter(before[start.address]))]
        )
        while stack:
            address, needed = stack[-1]
            if address not in open_:
                open_.add(address)
                path.append(address)
            following = next((other for other in needed if other not in done), None)
            if following is None:
                stack.pop()
                path.pop()
                done[address] = by_address[address]
            elif following in open_ and following in path:
                raise _cycle(by_address[following], [*path[path.index(following) :], following])
            else:
                stack.append((following, iter(before[following])))
    return tuple(done.values())


def _cycle(stage: Stage, path: Sequence[str]) -> DvliteError:
    return stage.wrong(
        stage.spec.line,
        f"the stages depend on each other in a circle: {' <- '.join(path)}",
        hint="a stage cannot need what is made from its own output; take one of the dependencies out",
    )
