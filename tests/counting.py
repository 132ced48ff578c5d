"""Counts what code does, so that a test can say how cost grows without a clock: the same on a slow, busy machine."""

import sys
from collections.abc import Callable
from typing import Any


def calls(work: Callable[[], Any]) -> int:
    """Returns how many functions `work` calls in this thread, built-in ones included; 0 to 2 more or less with caches warm or cold."""
    count = 0

    def profile(frame, event, arg):
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def grows_linearly(work: Callable[[Any], Any], small: Any, large: Any, *, times: float) -> bool:
    """Says whether `work(large)`, an input `times` as big as `small`, takes no more than that many times the calls, give or take a fifth."""
    work(small)  # what is done once (imports, compiled expressions) is not counted
    return calls(lambda: work(large)) <= 1.2 * times * calls(lambda: work(small))
