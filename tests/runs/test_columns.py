"""Which columns a listing of runs has, where there are many values."""

import time

from dvlite.runs import columns
from dvlite.runs.columns import RunSummary


def summary(number, **fields):
    return RunSummary(
        run=f"run:{number}",
        name=f"one-{number}",
        stage="one",
        file="dvlite.yaml",
        status="ok",
        start="",
        seconds=0.0,
        **fields,
    )


def test_of_very_many_values_those_that_differ_and_metrics_have_columns():
    params = {f"params.yaml:p{number}": number for number in range(200)}
    runs = [
        summary(number, params={**params, "params.yaml:p150": number}, metrics={"m.json:acc": 1}) for number in (1, 2)
    ]
    found = [column.key for column in columns.default(runs) if column.space != "run"]
    assert len(found) == columns.MOST
    assert {"params.yaml:p150", "m.json:acc"} <= set(found)
    assert sum(column.space == "param" for column in columns.requested(["all"], runs)) == 200


def test_columns_of_many_thousand_values_are_found_at_once():
    runs = [summary(number, params={f"params.yaml:p{key}": key + number for key in range(20_000)}) for number in (1, 2)]
    begun = time.monotonic()
    assert len(columns.requested(["all"], runs)) > 20_000
    columns.default(runs)
    assert time.monotonic() - begun < 10


def test_titles_that_two_files_share_are_whole():
    runs = [summary(1, params={"a.yaml:lr": 1, "b.yaml:lr": 2, "a.yaml:seed": 3})]
    titles = [column.title for column in columns.default(runs) if column.space == "param"]
    assert titles == ["a.yaml:lr", "b.yaml:lr", "seed"]
