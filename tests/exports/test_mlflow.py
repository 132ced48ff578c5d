"""Runs for MLflow: a folder of plain files that MLflow's own client reads with equal values, whatever keys are called."""

import os
from array import array

import pytest

from dvlite.exports import mlflow
from dvlite.exports.exported_run import ExportedRun
from dvlite.formats.series import Series
from tests.runs.recorded import run

SERIES = {"m.jsonl:val/loss": Series("val/loss", array("q", [1, 5]), array("d", [0.5, 0.25]), array("d", [10, 11.5]))}


def exported(folder, **fields):
    """Writes one run and returns its folder."""
    made = run(7, **{"params": {"params.yaml:lr": 0.01, "params.yaml:kind": "svm"}, **fields})
    experiment = mlflow.experiment_folder(folder, "birds")
    mlflow.write_experiment(experiment, "birds")
    mlflow.write_run(ExportedRun(made, "run:7", "train-000007", ("best",), SERIES), experiment)
    return experiment / made.id.replace("-", "")


def files(folder):
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_each_key_is_a_file(tmp_path):
    found = files(exported(tmp_path))
    assert found["params/lr"] == "0.01"
    assert found["metrics/val/loss"] == "10000 0.5 1\n11500 0.25 5\n"
    assert found["metrics/acc"].split()[1:] == ["0.07", "0"]
    assert found["tags/dvlite.tags"] == "best"


def test_no_key_leads_out_of_its_folder_nor_into_another_key(tmp_path):
    keys = ["../../x", "/etc/x", "a//b", "..", ".", "a", "a/b", "a/b/c", "x" * 4000, "\n\0", "ü:", "é/ü"]
    folder = exported(tmp_path, params={f"params.yaml:{key}": number for number, key in enumerate(keys)})
    values = [text for name, text in files(folder).items() if name.startswith("params/")]
    assert set(values) <= set(map(str, range(len(keys))))
    assert {"5", "6", "7"} <= set(values), "a, a/b and a/b/c"
    assert {place.name for place in tmp_path.iterdir()} == {folder.parent.name}


def test_a_second_export_takes_the_place_of_the_first(tmp_path):
    first = files(exported(tmp_path))
    assert files(exported(tmp_path)) == first
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.long
def test_mlflow_reads_parameters_metrics_over_steps_and_tags(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = pytest.importorskip("mlflow", reason="mlflow is not installed").MlflowClient(tmp_path.as_uri())
    exported(tmp_path)
    exported(tmp_path, status="failed", id="0193b3f8-0000-7000-8000-000000000001")
    found = client.search_runs([client.get_experiment_by_name("birds").experiment_id], order_by=["attributes.status"])
    assert [one.info.status for one in found] == ["FAILED", "FINISHED"]
    one = found[1]
    assert (one.info.run_name, one.data.params) == ("train-000007", {"lr": "0.01", "kind": "svm"})
    assert one.data.metrics == {"val/loss": 0.25, "acc": 0.07}
    assert [
        (point.step, point.value, point.timestamp) for point in client.get_metric_history(one.info.run_id, "val/loss")
    ] == [
        (1, 0.5, 10000),
        (5, 0.25, 11500),
    ]
    assert one.data.tags["dvlite.run"] == "run:7"
    assert [os.path.basename(file.path) for file in client.list_artifacts(one.info.run_id)] == ["dvlite-outputs.json"]
