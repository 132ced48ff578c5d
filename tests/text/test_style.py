"""Columns of text."""

from dvlite.text.style import table


def test_a_table_of_nothing_is_nothing():
    assert list(table([])) == []
