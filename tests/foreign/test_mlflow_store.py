"""Runs of MLflow through its client: all pages of all experiments, each with its history; one that cannot be read hides no other."""

import sys
import types

import pytest

from dvlite.errors import DvliteError, UsageError
from dvlite.foreign import mlflow_store
from dvlite.foreign.foreign_run import typed

thing = types.SimpleNamespace


class Page(list):
    token = None


def page(items, token, size):
    start = int(token or 0)
    found = Page(items[start : start + size])
    found.token = str(start + size) if start + size < len(items) else None
    return found


def a_run(number, **fields):
    about = {"run_id": f"id{number}", "run_name": f"goose-{number}", "status": "FINISHED", "user_id": "ann"}
    about |= {"start_time": 1_767_225_600_000, "end_time": 1_767_225_609_000, "artifact_uri": "s3://k:s@bucket/art"}
    tags = {"mlflow.source.git.commit": "c" * 40, "mlflow.note.content": "a note", "team": "vision"}
    data = thing(params={"lr": "0.1", "kind": "svm"}, metrics={"acc": 0.9}, tags=tags)
    return thing(info=thing(**{**about, **fields}), data=data)


@pytest.fixture
def client(monkeypatch):
    """Stands in for the package, which most machines do not have."""

    class MlflowException(Exception):
        pass

    class Client:
        def __init__(self, tracking_uri):
            self.experiments = [thing(name="birds", experiment_id="1"), thing(name="cats", experiment_id="2")]
            self.runs = {"1": [*map(a_run, range(5))], "2": [a_run(9, status="RUNNING", end_time=None)]}

        def search_experiments(self, page_token):
            return page(self.experiments, page_token, 1)

        def search_runs(self, ids, max_results, page_token):
            return page(self.runs[ids[0]], page_token, 2)

        def get_metric_history(self, run_id, key):
            if run_id == "id3":
                raise MlflowException("INTERNAL_ERROR\nlong story")
            return [thing(step=step, value=step / 10, timestamp=1_767_225_600_000 + step) for step in range(3)]

        def list_artifacts(self, run_id, path):
            if run_id == "id4":
                raise OSError("no credentials")
            return [] if path else [thing(path="m.bin", is_dir=False, file_size=7), thing(path="d", is_dir=True)]

    flag = thing(set=str, is_set=bool)
    variables = thing(MLFLOW_ALLOW_FILE_STORE=flag, MLFLOW_HTTP_REQUEST_MAX_RETRIES=flag)
    package = thing(
        MlflowClient=Client, environment_variables=variables, exceptions=thing(MlflowException=MlflowException)
    )
    for name in ("mlflow", "mlflow.environment_variables", "mlflow.exceptions", "mlflow.tracking"):
        monkeypatch.setitem(sys.modules, name, package)
    return Client


def test_all_pages_are_read_and_what_fails_is_named(client, tmp_path):
    found = list(mlflow_store.read_runs(str(tmp_path), ()))
    assert [getattr(one, "id", None) for one in found] == ["id0", "id1", "id2", None, "id4", "id9"]
    first, failed, last = found[0], found[3], found[5]
    assert (first.group, first.status, first.user, first.commit) == ("birds", "ok", "ann", "c" * 40)
    assert (first.params, first.metrics, first.tags) == ({"lr": 0.1, "kind": "svm"}, {"acc": 0.9}, {"team": "vision"})
    assert list(first.series["acc"].values) == [0, 0.1, 0.2]
    assert [(item.path, item.size_bytes) for item in first.artifacts] == [("m.bin", 7)]
    assert isinstance(failed, DvliteError)
    assert "INTERNAL_ERROR" in failed.message
    assert len(found[4].problems) == 1
    assert (last.group, last.status, last.end_ms) == ("cats", "canceled", None)


def test_an_experiment_can_be_chosen(client, tmp_path):
    assert [one.id for one in mlflow_store.read_runs(str(tmp_path), ["cats"])] == ["id9"]
    with pytest.raises(UsageError, match="no experiment 'dogs'"):
        list(mlflow_store.read_runs(str(tmp_path), ["dogs"]))


def test_what_is_not_there_is_said_and_not_made(client, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        list(mlflow_store.read_runs(str(tmp_path / "mlflow.db"), ()))


def test_without_the_package_the_hint_installs_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UsageError) as caught:
        list(mlflow_store.read_runs(str(tmp_path), ()))
    assert caught.value.hint == "pip install 'dvlite[mlflow]'"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1e-3", 0.001),
        ("-5", -5),
        ("True", True),
        ("False", False),
        ("007", "007"),
        ("", ""),
        ("None", "None"),
        ("1e999", "1e999"),
        ("nan", "nan"),
        ("1_000", "1_000"),
        ("9" * 40, "9" * 40),
        ("٣", "٣"),
    ],
)
def test_a_text_that_is_a_number_becomes_one(text, value):
    assert typed(text) == value
    assert type(typed(text)) is type(value)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of what MLflow needs, and uses in old ways
@pytest.mark.parametrize("store", ["mlruns", "mlflow.db"])
def test_counts_and_values_are_those_of_the_client(store, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow.entities import Metric, Param

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    place = tmp_path / store
    client = mlflow.MlflowClient(place.as_uri() if store == "mlruns" else f"sqlite:///{place}")
    experiment = client.create_experiment("birds/v 1", artifact_location=(tmp_path / "art").as_uri())
    for number in range(3):
        made = client.create_run(
            experiment, start_time=10**12 + number, run_name=f"goose-{number}", tags={"team": "a b"}
        )
        metrics = [Metric("val/loss", 1 / (step + 1), 10**12 + step, step) for step in range(40)]
        metrics += [Metric("acc", step / 7, 10**12 + step, 0) for step in range(5)]
        params = [Param("lr", str(number / 3)), Param("kind", "=cmd()")]
        client.log_batch(made.info.run_id, params=params, metrics=metrics)
        client.set_terminated(made.info.run_id, ("FINISHED", "FAILED", "KILLED")[number])
    found = {run.id: run for run in mlflow_store.read_runs(str(place), ())}
    theirs = client.search_runs([experiment])
    assert {run.info.run_id for run in theirs} == set(found)
    for run in theirs:
        mine = found[run.info.run_id]
        assert {key: str(value) for key, value in mine.params.items()} == run.data.params
        assert mine.metrics == run.data.metrics
        assert mine.tags == {"team": "a b"}
        assert (mine.start_ms, mine.end_ms) == (run.info.start_time, run.info.end_time)
        for key in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, key)
            assert sorted(point.value for point in history) == sorted(mine.series[key].values)
            assert [point.timestamp / 1000 for point in history] == list(mine.series[key].times)
    assert sorted(run.status for run in found.values()) == ["canceled", "failed", "ok"]
    assert not (tmp_path / "mlartifacts").exists()
