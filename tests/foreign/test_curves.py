"""The history of metrics: any order, any steps, become series; in bounded memory, and without a lost peak."""

import math

import pytest

from dvlite.errors import FormatError
from dvlite.foreign import curves
from dvlite.foreign.curves import Curves, dump
from dvlite.formats import series


def made(*points):
    collected = Curves()
    for step, value, time in points:
        collected.add("acc", step, value, time)
    (one,) = collected.series().values()
    return list(one.steps), list(one.values), list(one.times)


def test_points_are_sorted_and_the_last_one_of_a_step_stays():
    assert made((3, 0.3, 30), (1, 0.1, 10), (2, 9.9, 20), (2, 0.2, 21)) == ([1, 2, 3], [0.1, 0.2, 0.3], [10, 21, 30])


@pytest.mark.parametrize("steps", [(0, 0, 0), (None, None, None), (0.5, 1.5, 2.0), (1, None, 2), (math.inf, 1, 2)])
def test_steps_that_are_none_are_counted(steps):
    found = made(*((step, place / 10, None) for place, step in enumerate(steps)))
    assert found[0] == [0, 1, 2]
    assert sorted(found[1]) == [0.0, 0.1, 0.2]
    assert found[2] == []


def test_of_many_points_peaks_stay(monkeypatch):
    monkeypatch.setattr(curves, "MOST_POINTS", 1000)
    collected = Curves()
    for step in range(20_000):
        collected.add("acc", step, 99.0 if step == 777 else step % 7, step)
    (one,) = collected.series().values()
    assert len(one.values) <= 1000
    assert max(one.values) == 99
    assert (one.steps[0], one.steps[-1]) == (0, 19_999)
    assert collected.is_thinned


def test_no_number_of_metrics_and_no_name_is_too_much(monkeypatch):
    monkeypatch.setattr(curves, "MOST_SERIES", 2)
    collected = Curves()
    for name in ("a", "b", "c", "x" * 5000, ""):
        collected.add(name, 1, 1.0, None)
    assert list(collected.series()) == ["a", "b"]
    assert len(collected.problems) == 1


def test_what_no_reader_would_take_is_not_written(monkeypatch):
    monkeypatch.setattr(curves, "MOST_BYTES", 100)
    collected = Curves()
    for step in range(9):
        collected.add("acc", step, 1.0, None)
    with pytest.raises(FormatError, match="more than 100 bytes"):
        dump(collected.series(), "values", "the metrics")


@pytest.mark.parametrize("name", ["acc", "step", "time", "a.b", "_step", "é\n\x1b[31m", "values", "\ud800"])
def test_what_is_written_is_read_back_whatever_metrics_are_called(name):
    collected = Curves()
    for step, value in enumerate((0.1, math.nan, -math.inf)):
        collected.add(name, step, value, 1.5 + step)
    written = dump(collected.series(), "values", "it")
    (found,) = series.parse(written, "history.jsonl").series.values()
    assert found.name == f"values.{name}"
    assert (list(found.steps), list(found.times)) == ([0, 1, 2], [1.5, 2.5, 3.5])
    assert str(list(found.values)) == "[0.1, nan, -inf]"
