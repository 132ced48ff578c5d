"""Listings of runs: what a table, a CSV file and Markdown show of values that others wrote."""

import pytest

from dvlite.commands.runs import RunsListResult
from dvlite.exports.table import csv_cell
from dvlite.runs.columns import RunColumn, RunSummary
from dvlite.show import Show
from dvlite.text.run_table import text


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


@pytest.mark.parametrize(
    ("better", "green", "red"), [("higher", "0.9", "0.1"), ("lower", "0.1", "0.9"), (None, "", "")]
)
def test_the_best_and_the_worst_of_a_metric_stand_out_where_the_pipeline_says_which_is_better(better, green, red):
    runs = tuple(
        RunSummary(run="", name=f"r{n}", stage="s", file="f", status="ok", start="", seconds=0, metrics={"m:acc": acc})
        for n, acc in enumerate((0.5, 0.9, "nan", 0.1, 0.9, float("nan")))
    )
    column = RunColumn(title="acc", space="metric", key="m:acc", better=better)
    lines = list(text(RunsListResult(now="", runs=runs, columns=(column,), chosen=True), Show(color=True)))
    assert {line for line in lines if "\x1b[32m" in line} == ({f"\x1b[32m{green}\x1b[0m"} if green else set())
    assert {line for line in lines if "\x1b[31m" in line} == ({f"\x1b[31m{red}\x1b[0m"} if red else set())
