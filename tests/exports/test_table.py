"""Runs as tables: columns have the types of their values, and pandas reads what the index says."""

import io
import math

import pytest

from dvlite.exports import table
from dvlite.exports.table import RunValues
from dvlite.formats import parquet
from dvlite.runs.schema import RunRow
from tests.runs.recorded import oid


def row(number=0, **fields):
    made = {"oid": oid(number, "run"), "id": "x", "stage": "train", "file": "dvlite.yaml", "status": "ok"}
    made |= {"start": "2026-11-22T14:02:00.123Z", "seconds": 1.5, "exit_code": 0, "code": "c" * 40, "dirty": False}
    return RunRow(**{**made, "origin": None, "user": "ann", "host": "", **fields})


def built(*values, tags=()):
    rows = [row(number) for number in range(len(values))]
    names = [f"train-{number}" for number in range(len(values))]
    columns, part = table.of_runs(rows, names, [RunValues(params, metrics, tags) for params, metrics in values])
    return columns, dict(zip(columns, part, strict=True))


def csv_of(columns, *parts):
    out = io.BytesIO()
    table.write_csv(out, columns, parts)
    return out.getvalue().decode().splitlines()


@pytest.mark.parametrize(
    ("values", "kind", "cells"),
    [
        ([1, 2, None], "whole", [1, 2, None]),
        ([1, 0.5], "number", [1.0, 0.5]),
        ([0.5, "nan", "-inf"], "number", [0.5, math.nan, -math.inf]),
        ([True, None], "truth", [True, None]),
        ([True, 1], "text", ["true", "1"]),
        ([1, "svm", [1, 2]], "text", ["1", "svm", "[1, 2]"]),
        (["=1+1"], "text", ["=1+1"]),
    ],
)
def test_a_column_has_the_type_of_all_its_values(values, kind, cells):
    columns, found = built(*(({} if value is None else {"p.yaml:x": value}, {}) for value in values))
    assert columns["params.x"] == kind
    assert str(list(found["params.x"])) == str(cells)


def test_names_are_short_where_they_are_unique():
    columns, _ = built(({"p.yaml:lr": 1}, {"a.json:acc": 1, "b.json:acc": 2, "a.json:loss": 3}))
    assert {"params.lr", "metrics.a.json:acc", "metrics.b.json:acc", "metrics.loss"} <= set(columns)
    values = {"b:c": 1, "z:c": 2, "x:b:c": 3}
    assert {key: built((values, {}))[1][f"params.{key}"] for key in values} == {key: [n] for key, n in values.items()}


def test_a_cell_of_csv_is_exact_or_safe():
    columns, found = built(({"p:lr": -0.1, "p:kind": "=cmd()\n", "p:on": True}, {"m:acc": "nan"}), tags=("@x", "y"))
    head, line = csv_of(columns, list(found.values()))
    cells = dict(zip(head.split(","), line.split(","), strict=True))
    assert cells["params.lr"] == "-0.1"
    assert cells["params.kind"] == "'=cmd()\\n"
    assert cells["params.on"] == "true"
    assert cells["metrics.acc"] == "nan"
    assert cells["tags"] == "'@x y"
    assert cells["start"] == "2026-11-22T14:02:00.123Z"


def test_runs_that_are_called_the_same_get_more_digits():
    oids = [oid(number, "run") for number in range(3)]
    one, two, three = table.unique_names(["a-1", "a-1", "b-2"], oids)
    assert one != two
    assert one.startswith("a-")
    assert three == "b-2"


@pytest.mark.long
def test_pandas_reads_equal_values_from_csv_and_parquet(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    columns, found = built(
        ({"p:lr": 0.1, "p:kind": "svm", "p:n": 1, "p:\udc80": "=x\udc80"}, {"m:acc": 0.5}),
        ({"p:lr": 1e-9, "p:on": False}, {"m:acc": "nan"}),
    )
    with (tmp_path / "runs.parquet").open("wb") as file:
        parquet.write(file, columns, [list(found.values())])
    (tmp_path / "runs.csv").write_text("\n".join(csv_of(columns, list(found.values()))))
    frames = [pandas.read_parquet(tmp_path / "runs.parquet"), pandas.read_csv(tmp_path / "runs.csv")]
    for frame in frames:
        assert list(frame["params.lr"]) == [0.1, 1e-9]
        assert list(frame["metrics.acc"].fillna(-1)) == [0.5, -1]
        assert list(frame["params.n"].fillna(-1)) == [1, -1]
        assert frame["id"][0] == oid(0, "run")
    assert frames[0]["start"][0] == pandas.Timestamp("2026-11-22T14:02:00.123Z")
    assert list(frames[0]["params.on"]) == [None, False]
    assert frames[0]["params.?"][0] == "=x?"
