"""Listings of runs: what a table, a CSV file and Markdown show of values that others wrote."""

import pytest

from dvlite.exports.table import csv_cell


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("plain text, it's \\ quoted", "plain text, it's \\ quoted"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\t=1", "\\t=1"),
        ("::error::from a record", "'::error::from a record"),
        ("##[error]x", "'##[error]x"),
        ("a\n::error::b", "a\\n::error::b"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        (-0.5, -0.5),
        (None, None),
    ],
)
def test_a_cell_of_csv_is_no_command_for_a_terminal_a_log_or_a_spreadsheet(value, cell):
    assert csv_cell(value) == cell
