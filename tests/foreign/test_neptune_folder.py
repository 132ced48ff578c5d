"""Runs of Neptune: offline runs of its client, line by line, and what its exporter left."""

import datetime as dt
import decimal
import json

import pytest

from dvlite.errors import DvliteError, UsageError
from dvlite.foreign import neptune_folder

OPERATIONS = [
    {"type": "AssignString", "path": ["sys", "name"], "value": "first"},
    {"type": "AssignFloat", "path": ["params", "lr"], "value": 0.1},
    {"type": "AssignDatetime", "path": ["when"], "value": 1767323045000},
    {"type": "AssignInt", "path": ["gone"], "value": 1},
    {"type": "DeleteAttribute", "path": ["gone"]},
    {"type": "AddStrings", "path": ["sys", "tags"], "values": ["best", "other", "old"]},
    {"type": "RemoveStrings", "path": ["sys", "tags"], "values": ["old"]},
    {"type": "AssignString", "path": ["monitoring", "x", "hostname"], "value": "vm"},
    *(
        {"type": "LogFloats", "path": ["train", "acc"], "values": [{"value": n / 4, "step": n, "ts": 1e9 + n}]}
        for n in range(4)
    ),
    {"type": "LogFloats", "path": ["train", "loss"], "values": [{"value": 1, "step": None, "ts": 1e9}]},
    {"type": "UploadFile", "path": ["model"], "ext": "bin"},
]


def offline(folder, *parts):
    target = folder / ".neptune" / "offline" / "run__uuid__1__x"
    target.mkdir(parents=True)
    (target / "metadata.json").write_text(
        json.dumps({"containerId": "uuid", "createdAt": "2026-01-01T00:00:00+00:00", "mode": "offline"})
    )
    for number, lines in parts:
        (target / f"data-{number}.log").write_text(lines)


def line(operation):
    return json.dumps({"obj": operation, "version": 1, "at": 1.0}) + "\n"


def read(folder):
    return list(neptune_folder.read_runs(folder, str(folder)))


def test_an_offline_run_is_what_its_operations_make(tmp_path):
    lines = [*map(line, OPERATIONS)]
    offline(tmp_path, (10, "".join(lines[5:])), (2, "".join(lines[:5])))
    (run,) = read(tmp_path)
    assert (run.id, run.name, run.status, run.start_ms) == ("offline/uuid", "first", "ok", 1_767_225_600_000)
    assert run.params == {"params/lr": 0.1, "when": "2026-01-02T03:04:05+00:00"}
    assert run.tags == {"best": "", "other": ""}
    assert list(run.series["train/acc"].values) == [0, 0.25, 0.5, 0.75]
    assert list(run.series["train/loss"].steps) == [0]
    assert [item.path for item in run.artifacts] == ["model"]
    assert not run.problems


def test_lines_that_are_none_are_a_problem_but_for_the_last_that_is_cut(tmp_path):
    whole = line(OPERATIONS[1])
    offline(tmp_path / "cut", (1, whole + whole[:20]))
    assert [(run.params, run.problems) for run in read(tmp_path / "cut")] == [({"params/lr": 0.1}, ())]
    bad = ["[]", "{}", '{"obj": 1}', '{"obj": {"type": 1, "path": [1]}}', "[" * 100_000, "\x00"]
    bad += [json.dumps({"obj": {"type": "LogFloats", "path": ["a"], "values": [{"value": "x"}]}})]
    bad += [json.dumps({"obj": {"type": "AssignDatetime", "path": ["a"], "value": 1e300}})]
    offline(tmp_path / "bad", (1, "\n".join(bad) + "\n" + whole))
    (run,) = read(tmp_path / "bad")
    assert run.params == {"params/lr": 0.1}
    assert len(run.problems) == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e308", "-1e300", '"x"', "[]", "{}", "1" + "0" * 400])
def test_a_value_of_any_kind_ends_in_a_run_or_in_one_sentence(tmp_path, value):
    for number, path in enumerate((["sys", "running_time"], ["sys", "creation_time"], ["sys", "name"], ["a"])):
        lines = [
            line(OPERATIONS[1]),
            line({"type": "AssignFloat", "path": path, "value": 0}).replace("0}", f"{value}}}", 1),
        ]
        for point in (
            '{"value": X, "step": 1, "ts": 1}',
            '{"value": 1, "step": X, "ts": 1}',
            '{"value": 1, "step": 2, "ts": X}',
        ):
            log = line({"type": "LogFloats", "path": ["acc"], "values": ["POINT"]})
            lines.append(log.replace('"POINT"', point.replace("X", value)))
        offline(tmp_path / str(number), (1, "".join(lines)))
        (run,) = read(tmp_path / str(number))
        assert isinstance(run, DvliteError) or run.params["params/lr"] == 0.1


def test_a_folder_without_a_run_is_said(tmp_path):
    with pytest.raises(UsageError, match="no run of Neptune"):
        read(tmp_path)


@pytest.mark.long
def test_an_export_has_each_value_and_point(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    text = ("project_id", "run_id", "attribute_path", "attribute_type", "string_value")
    columns = {**dict.fromkeys(text, pa.string()), "step": pa.decimal128(18, 6), "timestamp": pa.timestamp("ms", "UTC")}
    columns |= {"int_value": pa.int64(), "float_value": pa.float64(), "bool_value": pa.bool_()}
    columns |= {"datetime_value": pa.timestamp("ms", "UTC"), "string_set_value": pa.list_(pa.string())}
    schema = pa.schema([*columns.items(), ("file_value", pa.struct([("path", pa.string())]))])

    def rows(run, values, points):
        common = {"project_id": "acme/birds", "run_id": run}
        for path, kind, column, value in values:
            yield {**common, "attribute_path": path, "attribute_type": kind, column: value}
        for number in range(points):
            step = {"attribute_path": "m/acc", "attribute_type": "float_series", "step": decimal.Decimal(number) / 2}
            yield {**common, **step, "timestamp": at, "float_value": number / 10}

    own = [
        ("sys/name", "string", "string_value", "goose"),
        ("sys/creation_time", "datetime", "datetime_value", at),
        ("sys/running_time", "float", "float_value", 9.5),
        ("sys/failed", "bool", "bool_value", True),
        ("sys/tags", "string_set", "string_set_value", ["best"]),
        ("lr", "float", "float_value", 0.1),
        ("n", "int", "int_value", 3),
        ("file", "file", "file_value", {"path": "birds/file.bin"}),
    ]
    folder = tmp_path / "birds_1234"
    folder.mkdir()
    for name, content in {
        "SAN-1_part_0": rows("SAN-1", own, 5),
        "SAN-1_part_1": rows("SAN-1", [], 0),
        "SAN-2_part_0": rows("SAN-2", own[5:6], 0),
    }.items():
        parquet.write_table(pa.Table.from_pylist([*content], schema), folder / f"{name}.parquet")
    (folder / "SAN-1_part_1.parquet").write_bytes(b"PAR1")
    first, broken, second = sorted(read(tmp_path), key=lambda run: str(getattr(run, "id", "acme/birds/SAN-1x")))
    assert (first.id, first.group, first.status, first.name) == ("acme/birds/SAN-1", "birds", "failed", "goose")
    assert (first.params, first.tags) == ({"lr": 0.1, "n": 3}, {"best": ""})
    assert (first.start_ms, first.end_ms) == (1_767_225_600_000, 1_767_225_609_500)
    assert list(first.series["m/acc"].values) == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert [(item.path, item.url) for item in first.artifacts] == [("file", "birds/file.bin")]
    assert "Parquet" in broken.message
    assert second.params == {"lr": 0.1}
