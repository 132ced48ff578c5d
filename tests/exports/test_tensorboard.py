"""Runs for TensorBoard: what is written is read back with equal values, by our reader and by TensorBoard's own."""

import math
from array import array

import pytest

from dvlite.exports import tensorboard
from dvlite.exports.exported_run import ExportedRun
from dvlite.formats import event_file
from dvlite.formats.series import Series
from tests.runs.recorded import run

PARAMS = {"params.yaml:lr": 0.01, "params.yaml:net": {"depth": 3}, "params.yaml:fast": True, "params.yaml:kind": "svm"}
METRICS = {"metrics.json:acc": 0.5, "m.jsonl:loss": 0.25, "metrics.json:note": "none"}


def series(*values, times=()):
    return Series("loss", array("q", range(1, len(values) + 1)), array("d", values), array("d", times))


def written(folder, found, **fields):
    """Writes one run and returns its event file."""
    made = run(7, **{"params": PARAMS, "metrics": METRICS, **fields})
    points = tensorboard.write_run(ExportedRun(made, "run:7", "train-000007", (), {"m.jsonl:loss": found}), folder)
    (file,) = (folder / "train-000007").iterdir()
    assert len(list(event_file.scalars(file.read_bytes()))) == points
    return file


def exported(folder, **fields):
    return written(folder, series(0.5, 0.25), **fields)


def test_points_are_read_back(tmp_path):
    scalars = list(event_file.scalars(exported(tmp_path).read_bytes()))
    assert [(one.tag, one.step, one.value) for one in scalars] == [("loss", 1, 0.5), ("loss", 2, 0.25), ("acc", 0, 0.5)]


def test_times_are_those_of_the_points(tmp_path):
    file = written(tmp_path, series(1, 2, times=(10, 11.5)), metrics={})
    assert [one.time for one in event_file.scalars(file.read_bytes())] == [10, 11.5]


def test_metrics_of_two_files_that_have_one_name_keep_that_of_their_file(tmp_path):
    file = exported(tmp_path, metrics={"a.json:acc": 1, "b.json:acc": 2})
    assert {one.tag for one in event_file.scalars(file.read_bytes())} == {"loss", "a.json:acc", "b.json:acc"}


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, -1e300])
def test_a_number_of_any_size_can_be_written(tmp_path, value):
    (one,) = event_file.scalars(written(tmp_path, series(value), metrics={}).read_bytes())
    assert math.isnan(one.value) if math.isnan(value) else one.value == math.copysign(math.inf, value)


def test_a_second_export_takes_the_place_of_the_first(tmp_path):
    first = exported(tmp_path).read_bytes()
    assert exported(tmp_path).read_bytes() == first


@pytest.mark.long
def test_tensorboard_reads_series_metrics_and_hyperparameters(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    exported(tmp_path)
    exported(tmp_path / "failed", status="failed")
    found = accumulator.EventAccumulator(str(tmp_path / "train-000007")).Reload()
    scalars = {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert scalars == {"loss": [(1, 0.5), (2, 0.25)], "acc": [(0, 0.5)]}
    contents = found.PluginTagToContent("hparams")
    began = plugin_data_pb2.HParamsPluginData.FromString(contents[metadata.SESSION_START_INFO_TAG]).session_start_info
    assert began.group_name == "train-000007"
    kept = {name: getattr(value, value.WhichOneof("kind")) for name, value in began.hparams.items()}
    assert kept == {"lr": 0.01, "fast": True, "kind": "svm", "net": "{'depth': 3}"}
    ended = accumulator.EventAccumulator(str(tmp_path / "failed" / "train-000007")).Reload()
    content = ended.PluginTagToContent("hparams")[metadata.SESSION_END_INFO_TAG]
    assert plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info.status == 2
