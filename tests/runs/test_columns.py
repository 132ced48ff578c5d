"""Which columns a listing of runs has, where there are many values."""

from dvlite.runs import columns
from dvlite.runs.columns import RunSummary
from tests.counting import grows_linearly


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


class Key(str):
    """A key whose comparisons are calls, so that they are counted."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        return str.__eq__(self, other)


def test_four_times_the_values_take_four_times_the_work():
    def runs(count):
        return [summary(n, params={Key(f"params.yaml:p{key}"): key + n for key in range(count)}) for n in (1, 2)]

    assert len(columns.requested(["all"], runs(800))) > 800
    assert grows_linearly(lambda runs: columns.requested(["all"], runs), runs(200), runs(800), times=4)
    assert grows_linearly(columns.default, runs(200), runs(800), times=4)


def test_metrics_of_which_the_pipeline_says_what_is_better_come_first():
    runs = [summary(1, params={"p:x": 1}, metrics={"m:a": 1, "m:b": 2, "m:c": 3})]
    listed = columns.default(runs)
    keys = [column.key for column in columns.judged(listed, {"m:c": "lower", "p:x": "higher"}) if column.space != "run"]
    assert keys == ["p:x", "m:c", "m:a", "m:b"]
    assert [column.better for column in columns.judged(listed, {"m:c": "lower"}, in_order=True)][4:7] == [
        None,
        None,
        "lower",
    ]


def test_titles_that_two_files_share_are_whole():
    runs = [summary(1, params={"a.yaml:lr": 1, "b.yaml:lr": 2, "a.yaml:seed": 3})]
    titles = [column.title for column in columns.default(runs) if column.space == "param"]
    assert titles == ["a.yaml:lr", "b.yaml:lr", "seed"]
