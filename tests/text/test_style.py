"""Columns of text, and series as lines of blocks."""

import math

import pytest

from dvlite.text.style import sparkline, table


def test_a_table_of_nothing_is_nothing():
    assert list(table([])) == []


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([5.0], "▄"),
        (range(8), "▁▂▃▄▅▆▇█"),
        ([math.nan, 1, math.inf, 2], " ▁ █"),
        ([math.nan], " "),
        ([-1.7e308, 0, 1.7e308], "▁▅█"),
        ([0, 5e-324], "▄▄"),
    ],
)
def test_a_series_is_a_line_of_blocks_with_gaps_where_nothing_is_finite(values, line):
    assert sparkline(values, unicode=True) == [line]


def test_a_line_of_blocks_is_narrow_and_hides_no_peak():
    values = [1.0] * 10_000
    values[4321], values[7777] = 9.0, -7.0
    assert sparkline(values, unicode=False) == ["=" * 10 + "#" + "=" * 7 + "_" + "=" * 5]
