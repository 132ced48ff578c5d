"""Places the stages of a pipeline on a page: columns by what each needs, from left to right. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 200, 46  # of a box
_GAP_X, _GAP_Y, _MARGIN = 64, 18, 12


@dataclass(frozen=True, slots=True)
class Box:
    """Where a stage is drawn: its top left corner, in pixels."""

    name: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything is drawn: boxes by name, arrows as pairs of names, and how large the whole is."""

    boxes: Mapping[str, Box]
    arrows: tuple[tuple[str, str], ...]
    width: int
    height: int


def plan(needs: Mapping[str, Sequence[str]]) -> Plan:
    """Places stages, given what each of them needs; needs that are not stages here are left out.

    A stage stands one column right of the last that it needs (longest path), in a column by the middle of those (one pass).
    """
    arrows = tuple((before, name) for name, all_before in needs.items() for before in all_before if before in needs)
    columns = _columns(needs)
    places: dict[str, float] = {}
    boxes: dict[str, Box] = {}
    tallest = max(map(len, columns), default=0)
    for number, column in enumerate(columns):
        column.sort(key=lambda name: _middle([places[each] for each in needs[name] if each in places]))
        top = (tallest - len(column)) / 2
        for place, name in enumerate(column):
            places[name] = top + place
            x, y = number * (WIDTH + _GAP_X), round((top + place) * (HEIGHT + _GAP_Y))
            boxes[name] = Box(name, _MARGIN + x, _MARGIN + y)
    width = max(len(columns) * (WIDTH + _GAP_X) - _GAP_X, 0) + 2 * _MARGIN
    height = max(tallest * (HEIGHT + _GAP_Y) - _GAP_Y, 0) + 2 * _MARGIN
    return Plan(boxes, arrows, width, height)


def _columns(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Returns the stages by the length of the longest path to each; those of a circle, which no pipeline has, come last."""
    waiting = {name: {each for each in before if each in needs} for name, before in needs.items()}
    columns: list[list[str]] = []
    while waiting:
        ready = [name for name, before in waiting.items() if not before & waiting.keys()] or list(waiting)
        for name in ready:
            del waiting[name]
        columns.append(ready)
    return columns


def _middle(places: Sequence[float]) -> float:
    return sum(places) / len(places) if places else 0.0


def curve(start: Box, end: Box) -> str:
    """Returns the path of an arrow, as SVG writes it: from the right side of one box to the left side of another."""
    x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT // 2, end.x - 6, end.y + HEIGHT // 2
    bend = max((x2 - x1) // 2, 20)
    return f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"
