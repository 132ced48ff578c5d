"""Series for display: a metric over steps, thinned so that no peak is lost. Pure."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Sequence

from dvlite.formats.series import Series

MOST_POINTS = 2000  # of one series on a page: more than a screen has columns


def thinned(series: Series, most: int = MOST_POINTS) -> Series:
    """Returns at most `most` of a series' points (10 at least): of each of as many equal parts as fit, the first, the least, the greatest and the last.

    One value that is NaN or infinite is kept in each part that has some. The cost is linear.
    """
    if len(series.values) <= max(most, 10):
        return series
    kept = places_kept(series.values, most)
    return Series(
        series.name,
        array("q", (series.steps[i] for i in kept)),
        array("d", (series.values[i] for i in kept)),
        array("d", (series.times[i] for i in kept) if series.times else ()),
    )


def places_kept(values: Sequence[float], most: int) -> Sequence[int]:
    """Returns the positions of the values that `thinned` keeps."""
    count, parts = len(values), max(most, 10) // 5
    if count <= max(most, 10):
        return range(count)
    kept: list[int] = []
    for number in range(parts):
        kept += _extremes(values, number * count // parts, (number + 1) * count // parts)
    return kept


def _extremes(values: Sequence[float], start: int, end: int) -> list[int]:
    """Returns the positions that stand for a part of the values, in order."""
    part = values[start:end]
    chosen = {start, end - 1}
    if not math.isfinite(sum(part)):
        finite = [number for number, value in enumerate(part) if math.isfinite(value)]
        others = (number for number, value in enumerate(part) if not math.isfinite(value))
        chosen.update(start + number for number in itertools.islice(others, 1))
        for extreme in (min, max) if finite else ():
            chosen.add(start + extreme(finite, key=part.__getitem__))
    else:
        chosen.add(start + part.index(min(part)))
        chosen.add(start + part.index(max(part)))
    return sorted(chosen)
