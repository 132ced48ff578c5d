"""Thinned series: few points, and every peak."""

import math
import random
from array import array

from dvlite.formats.series import Series
from dvlite.runs.curves import thinned


def series(values, *, times=True):
    steps = array("q", range(len(values)))
    return Series("loss", steps, array("d", values), array("d", (step / 2 for step in steps)) if times else array("d"))


def test_a_peak_among_very_many_points_is_kept():
    rng = random.Random(1)
    values = array("d", [rng.random()]) * 200_000
    for place, value in ((77_777, 9.0), (123_456, -9.0), (0, 0.25), (199_999, 0.75)):
        values[place] = value
    thin = thinned(series(values), 500)
    assert len(thin.values) <= 500
    assert {9.0, -9.0} <= {*thin.values}
    assert (thin.steps[0], thin.steps[-1]) == (0, 199_999)
    assert list(thin.steps) == sorted(set(thin.steps))
    assert all(values[step] == value for step, value in zip(thin.steps, thin.values, strict=True))
    assert [time * 2 for time in thin.times] == list(thin.steps)


def test_values_that_are_not_finite_hide_no_peak_and_stay_visible():
    values = [math.nan, *([0.5] * 500), 7.0, math.inf, *([0.5] * 500), *([math.nan] * 300)]
    thin = thinned(series(values, times=False), 50)
    assert 7.0 in thin.values
    assert math.inf in thin.values
    assert math.isnan(thin.values[0])
    assert math.isnan(thin.values[-1])
    assert not thin.times


def test_few_points_are_left_as_they_are():
    whole = series([1.0, 2.0, 3.0])
    assert thinned(whole) is whole
