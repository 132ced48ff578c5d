"""Explores all states of a model: what the exhaustive checkers beside this file share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

State = TypeVar("State")


class Outcome(NamedTuple):
    """What was found; `lost` is empty if nothing is wrong in any state."""

    lost: str
    states: int
    way: tuple[str, ...] = ()  # the steps to what was lost, where they are known


def explore(first: State, steps: Callable[[State], Iterable[State]], lost: Callable[[State], str]) -> Outcome:
    """Explores all states from a first one; stops at the first in which something is lost."""
    seen, stack = {first}, [first]
    while stack:
        state = stack.pop()
        if what := lost(state):
            return Outcome(what, len(seen))
        for following in steps(state):
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return Outcome("", len(seen))
