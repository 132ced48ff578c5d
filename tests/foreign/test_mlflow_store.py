"""Runs of MLflow through its client: all pages of all experiments, each with its history; one that cannot be read hides no other."""

import contextlib
import math
import os
import sqlite3
import sys
import types
from array import array

import pytest

from dvlite.errors import DvliteError, UsageError
from dvlite.exports import mlflow
from dvlite.exports.exported_run import ExportedRun
from dvlite.foreign import mlflow_store
from dvlite.foreign.foreign_run import typed
from dvlite.formats.series import Series
from tests.runs import recorded

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
                raise RuntimeError("INTERNAL_ERROR\nlong story")
            return [thing(step=step, value=step / 10, timestamp=1_767_225_600_000 + step) for step in range(3)]

        def list_artifacts(self, run_id, path):
            if run_id == "id4":
                raise OSError("no credentials")
            return [] if path else [thing(path="m.bin", is_dir=False, file_size=7), thing(path="d", is_dir=True)]

    flag = thing(set=str, is_set=bool)
    variables = thing(MLFLOW_HTTP_REQUEST_MAX_RETRIES=flag)
    monkeypatch.setitem(sys.modules, "mlflow", thing(MlflowClient=Client, environment_variables=variables))
    return Client


def read(place, experiments=(), source=None):
    return list(mlflow_store.read_runs(place, source or str(place), experiments))


SERVER = "http://mlflow.example.com"


def test_all_pages_are_read_and_what_fails_is_named(client, tmp_path):
    found = read(tmp_path, source=SERVER)
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
    assert [one.id for one in read(tmp_path, ["cats"], SERVER)] == ["id9"]
    with pytest.raises(UsageError, match="no experiment 'dogs'"):
        read(tmp_path, ["dogs"], SERVER)


def test_what_is_no_store_is_said_and_nothing_is_made_of_it(client, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read(tmp_path / "mlflow.db")
    with pytest.raises(UsageError, match="no experiment"):
        read(tmp_path)
    (tmp_path / "text.db").write_text("hello")
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute(
            "CREATE VIEW runs AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT * FROM n"
        )
    before = (tmp_path / "other.db").read_bytes()
    (tmp_path / "cut.db").write_bytes(before[:2000])
    os.mkfifo(tmp_path / "fifo")
    for name in ("text.db", "other.db", "cut.db", "fifo"):
        with pytest.raises(DvliteError):
            read(tmp_path / name)
    assert (tmp_path / "other.db").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["cut.db", "fifo", "other.db", "text.db"]


def folder(root, **files):
    """Writes a tracking folder with one run, by hand."""
    place = root / "1" / "abc"
    put = {"../meta.yaml": "experiment_id: '1'\nname: birds\nlifecycle_stage: active\n"}
    put["meta.yaml"] = "run_id: abc\nrun_name: goose\nstatus: 3\nstart_time: 1767225600000\nend_time: 1767225609000\n"
    put |= {
        "params/lr": "0.1",
        "tags/team": "vision",
        "metrics/val/loss": "1767225600000 0.5 0\n1767225601000 0.25 1\n",
    }
    put |= {"artifacts/model/m.bin": "weights"}
    for name, text in {**put, **files}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


def test_a_folder_is_read_without_the_package_and_without_following_links(tmp_path):
    place = folder(tmp_path, **{"metrics/bad": "x\n", "metrics/cut": "1767225600000 1 0\n17672"})
    (place / "params/passwd").symlink_to("/etc/passwd")
    (place / "metrics/zero").symlink_to("/dev/zero")
    (place / "artifacts/away").symlink_to("/etc")
    (run,) = read(tmp_path)
    assert (run.id, run.group, run.name, run.status, run.end_ms) == ("abc", "birds", "goose", "ok", 1_767_225_609_000)
    assert (run.params, run.tags) == ({"lr": 0.1}, {"team": "vision"})
    assert [*run.series["val/loss"].values, *run.series["cut"].values] == [0.5, 0.25, 1]
    assert [(item.path, item.size_bytes) for item in run.artifacts] == [("model/m.bin", 7)]
    assert len(run.problems) == 3
    folder(tmp_path, **{"../gone/meta.yaml": "run_id: x\nlifecycle_stage: deleted\n", "../no/meta.yaml": "[["})
    assert [getattr(one, "id", "unread") for one in read(tmp_path)] == ["abc", "unread"]


def database(path, *points):
    """Makes a database with two runs, of which the first has these points."""
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.executescript(
            "CREATE TABLE experiments(experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);"
            "CREATE TABLE runs(run_uuid TEXT, name TEXT, status TEXT, start_time BIGINT, end_time BIGINT, user_id TEXT,"
            " artifact_uri TEXT, experiment_id INTEGER, lifecycle_stage TEXT);"
            "CREATE TABLE params(key TEXT, value TEXT, run_uuid TEXT); CREATE TABLE tags(key TEXT, value TEXT, run_uuid TEXT);"
            "CREATE TABLE metrics(key, value, timestamp, run_uuid, step, is_nan);"
            "CREATE TABLE latest_metrics(key, value, is_nan, run_uuid);"
            "INSERT INTO experiments VALUES(1, 'birds', 'active'), (2, 'cats', 'deleted');"
            "INSERT INTO params VALUES('lr', '0.1', 'abc');"
        )
        for name, stage in (("abc", "active"), ("gone", "deleted"), ("other", "active")):
            row = (name, "goose", "FINISHED", 10**12, 10**12 + 9, "ann", "file:///etc", 1, stage)
            made.execute("INSERT INTO runs VALUES(?,?,?,?,?,?,?,?,?)", row)
        made.executemany("INSERT INTO metrics VALUES('acc', ?, ?, 'abc', ?, ?)", points)
        made.commit()
    return path


def test_a_database_is_read_without_the_package_and_only_read(tmp_path):
    path = database(tmp_path / "mlflow.db", (0.5, 10**12, 0, 0), (0.0, 10**12, 1, 1))
    before = path.read_bytes()
    run, other = read(path)
    assert (run.id, run.group, run.name, run.status, run.user) == ("abc", "birds", "goose", "ok", "ann")
    assert [str(value) for value in run.series["acc"].values] == ["0.5", "nan"]
    assert (run.params, run.artifacts, other.id) == ({"lr": 0.1}, (), "other")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["mlflow.db"]


@pytest.mark.parametrize("point", [("x", 1, 0, 0), (1, "x", 0, 0), (1, 1, "x", 0), (1, None, 0, 0), (b"\xff", 1, 0, 0)])
def test_a_value_of_another_kind_is_one_sentence_and_hides_no_other_run(tmp_path, point):
    odd, other = read(database(tmp_path / "mlflow.db", point))
    assert isinstance(odd, DvliteError)
    assert other.id == "other"


def test_what_export_writes_import_reads(tmp_path):
    key = "m.jsonl:loss"
    loss = Series("loss", array("q", [1, 5]), array("d", [0.5, math.nan]), array("d", [10, 11.5]))
    made = recorded.run(7, params={"params.yaml:lr": 0.01, "params.yaml:kind": "svm"})
    experiment = mlflow.experiment_folder(tmp_path, "birds")
    mlflow.write_experiment(experiment, "birds")
    mlflow.write_run(ExportedRun(made, "run:7", "train-000007", ("best",), {key: loss}), experiment)
    (run,) = read(tmp_path)
    assert run.params == {"lr": 0.01, "kind": "svm"}
    assert [str(value) for value in run.series["loss"].values] == ["0.5", "nan"]
    assert (list(run.series["loss"].steps), list(run.series["acc"].values)) == ([1, 5], [0.07])
    assert (run.tags["dvlite.run"], run.commit, run.name) == ("run:7", made.code.commit, "train-000007")


def test_without_the_package_the_hint_installs_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UsageError) as caught:
        read(tmp_path, source=SERVER)
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
    package = pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow.entities import Metric, Param

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    place = tmp_path / store
    client = package.MlflowClient(place.as_uri() if store == "mlruns" else f"sqlite:///{place}")
    experiment = client.create_experiment("birds/v 1", artifact_location=(tmp_path / "art").as_uri())
    for number in range(3):
        made = client.create_run(
            experiment, start_time=10**12 + number, run_name=f"goose-{number}", tags={"team": "a b"}
        )
        metrics = [Metric("val/loss", 1 / (step + 1), 10**12 + step, step) for step in range(40)]
        metrics += [Metric("acc", step / 7, 10**12 + step, 0) for step in range(5)]
        params = [Param("lr", str(number / 3)), Param("kind", "=cmd()")]
        client.log_batch(made.info.run_id, params=params, metrics=metrics)
        (tmp_path / "m.bin").write_bytes(b"weights")
        client.log_artifact(made.info.run_id, str(tmp_path / "m.bin"), "model")
        client.set_terminated(made.info.run_id, ("FINISHED", "FAILED", "KILLED")[number])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    found = {run.id: run for run in read(place)}
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    theirs = client.search_runs([experiment])
    assert {run.info.run_id for run in theirs} == set(found)
    for run in theirs:
        mine = found[run.info.run_id]
        assert {key: str(value) for key, value in mine.params.items()} == run.data.params
        assert {**{key: one.values[-1] for key, one in mine.series.items()}, **mine.metrics} == run.data.metrics
        assert mine.tags == {"team": "a b"}
        assert (mine.start_ms, mine.end_ms) == (run.info.start_time, run.info.end_time)
        for key in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, key)
            assert sorted(point.value for point in history) == sorted(mine.series[key].values)
            assert sorted(point.timestamp / 1000 for point in history) == list(mine.series[key].times)
        assert [item.path for item in mine.artifacts] == ["model/m.bin"] * (store == "mlflow.db")
    assert sorted(run.status for run in found.values()) == ["canceled", "failed", "ok"]
