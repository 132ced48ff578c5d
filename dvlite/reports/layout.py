"""Layout of a pipeline: columns by dependencies, from left to right; arrows pass between boxes, not under them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 200, 46  # of a box
_GAP_X, _GAP_Y, _MARGIN = 64, 18, 12
_MOST_PASSES = 20_000  # of arrows through columns; a drawing with more is a tangle whatever is done


@dataclass(frozen=True, slots=True)
class Box:
    """Where a stage is drawn: its top left corner, in pixels."""

    name: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is drawn: boxes by name, arrows as pairs of names with the path of each, and how large the whole is."""

    boxes: Mapping[str, Box]
    arrows: Mapping[tuple[str, str], str]
    width: int
    height: int


def plan(needs: Mapping[str, Sequence[str]]) -> Layout:
    """Places stages, given what each of them needs; needs that are not stages here are left out.

    A stage stands one column right of the last that it needs (longest path), in a column by the middle of those (one pass). An arrow to
    a column further on has a place of its own in each column between.
    """
    columns = _columns(needs)
    column_of = {name: number for number, column in enumerate(columns) for name in column}
    arrows = [(before, name) for name, all_before in needs.items() for before in all_before if before in column_of]
    passing = _passing(arrows, column_of, len(columns))
    heights = [
        len(own) * (HEIGHT + _GAP_Y) + len(through) * _GAP_Y for own, through in zip(columns, passing, strict=True)
    ]
    tallest = max(heights, default=0)
    boxes: dict[str, Box] = {}
    heads: dict[tuple[str, int], float] = {}  # how far down the arrows of a stage are, in a column
    for number, column in enumerate(columns):
        wished = {name: _middle(needs[name], number, column_of, heads) for name in column}
        wished |= {name: heads[name, number - 1] for name in passing[number]}
        y = _MARGIN + (tallest - heights[number]) / 2
        for name in sorted(wished, key=wished.__getitem__):
            heads[name, number] = y
            if column_of[name] == number:
                boxes[name] = Box(name, _left(number), round(y))
                heads[name, number] += HEIGHT / 2
                y += HEIGHT
            y += _GAP_Y
    paths, is_routed = {}, any(passing)
    for before, name in arrows:
        between = range(column_of[before] + 1, column_of[name] if is_routed else 0)
        passed = [(_left(at), round(heads[before, at])) for at in between]
        paths[before, name] = _path(boxes[before], passed, boxes[name])
    width = max(len(columns) * (WIDTH + _GAP_X) - _GAP_X, 0) + 2 * _MARGIN
    return Layout(boxes, paths, width, max(tallest - _GAP_Y, 0) + 2 * _MARGIN)


def _middle(
    needs: Sequence[str], column: int, column_of: Mapping[str, int], heads: Mapping[tuple[str, int], float]
) -> float:
    """Returns the mean height of the sources of a stage's arrows."""
    known = [name for name in needs if (name, column_of.get(name, column)) in heads]
    heights = [heads.get((name, column - 1), heads[name, column_of[name]]) for name in known]
    return sum(heights) / len(heights) if heights else 0.0


def _passing(arrows: Sequence[tuple[str, str]], column_of: Mapping[str, int], count: int) -> list[list[str]]:
    """Returns for each column the stages whose arrows pass through it; none at all if they are too many."""
    passing: list[list[str]] = [[] for _ in range(count)]
    if sum(max(column_of[name] - column_of[before] - 1, 0) for before, name in arrows) > _MOST_PASSES:
        return passing
    last: dict[str, int] = {}
    for before, name in arrows:
        last[before] = max(last.get(before, 0), column_of[name])
    for before, end in last.items():
        for number in range(column_of[before] + 1, end):
            passing[number].append(before)
    return passing


def _left(column: int) -> int:
    return _MARGIN + column * (WIDTH + _GAP_X)


def _columns(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Returns the stages by the length of the longest path to each; those of a cycle, which no pipeline has, come last."""
    waiting = {name: {need for need in before if need in needs} for name, before in needs.items()}
    columns: list[list[str]] = []
    while waiting:
        ready = [name for name, before in waiting.items() if not before & waiting.keys()] or list(waiting)
        for name in ready:
            del waiting[name]
        columns.append(ready)
    return columns


def _path(start: Box, passed: Sequence[tuple[int, int]], end: Box) -> str:
    """Returns an arrow as SVG writes it: from the right side of one box, straight through each column passed, to the left side of another."""
    x, y = start.x + WIDTH, start.y + HEIGHT // 2
    parts = [f"M{x},{y}"]
    for left, down in passed:
        parts += [_curve(x, y, left, down), f"H{left + WIDTH}"]
        x, y = left + WIDTH, down
    return " ".join([*parts, _curve(x, y, end.x - 6, end.y + HEIGHT // 2)])


def _curve(x1: int, y1: int, x2: int, y2: int) -> str:
    bend = max((x2 - x1) // 2, 20)
    return f"C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"
