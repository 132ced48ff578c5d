"""Files of ML-Metadata are read as they are: of TFX, of Kubeflow Pipelines, of older schema versions, and from strangers."""

import base64
import sqlite3

import pytest

from dvlite.errors import DvliteError, UsageError
from dvlite.foreign import mlmd_database
from dvlite.foreign.foreign_run import ForeignRun
from dvlite.formats.protobuf import field_bytes, field_double, field_whole

NODE = "id INTEGER PRIMARY KEY, type_id INT, name TEXT, create_time_since_epoch INT, last_update_time_since_epoch INT"
VALUE = "name TEXT, is_custom_property INT, int_value INT, double_value REAL, string_value TEXT, bool_value INT"
TABLES = f"""
CREATE TABLE MLMDEnv(schema_version INT);
CREATE TABLE Type(id INTEGER PRIMARY KEY, name TEXT, type_kind INT);
CREATE TABLE Execution({NODE}, last_known_state INT);
CREATE TABLE Artifact({NODE}, uri TEXT, state INT);
CREATE TABLE Context({NODE});
CREATE TABLE ExecutionProperty(execution_id INT, {VALUE});
CREATE TABLE ArtifactProperty(artifact_id INT, {VALUE});
CREATE TABLE Event(id INTEGER PRIMARY KEY, artifact_id INT, execution_id INT, type INT);
CREATE TABLE EventPath(event_id INT, is_index_step INT, step_index INT, step_key TEXT);
CREATE TABLE Association(id INTEGER PRIMARY KEY, context_id INT, execution_id INT);
INSERT INTO Type VALUES(1, 'pipeline', 2), (2, 'pipeline_run', 2), (3, 'node', 2), (4, 'tfx.components.trainer.component.Trainer', 0),
  (5, 'Examples', 1), (6, 'Model', 1), (7, 'system.Metrics', 1), (8, 'system.ContainerExecution', 0);
INSERT INTO Context VALUES(1, 1, 'taxi', 1, 1), (2, 2, '2026-11-22', 1, 1), (3, 3, 'taxi.Trainer', 1, 1);
INSERT INTO Execution VALUES(1, 4, NULL, 1000, 3500, 3);
INSERT INTO ExecutionProperty VALUES(1, 'train_args', 1, NULL, NULL, '{{"num_steps": 100}}', NULL),
  (1, 'lr', 1, NULL, 0.5, NULL, NULL), (1, 'depth', 0, 3, NULL, NULL, NULL), (1, 'tfx_version', 0, NULL, NULL, '1.16', NULL);
INSERT INTO Artifact VALUES(1, 5, NULL, 1, 1, 's3://acme/examples', 2), (2, 6, 'model', 1, 1, 's3://acme/model/7', 2),
  (3, 7, NULL, 1, 1, '', 2);
INSERT INTO ArtifactProperty VALUES(3, 'accuracy', 1, NULL, 0.93, NULL, NULL), (3, 'name', 1, NULL, NULL, 'm', NULL);
INSERT INTO Event VALUES(1, 1, 1, 3), (2, 2, 1, 4), (3, 3, 1, 4);
INSERT INTO EventPath VALUES(1, 0, NULL, 'examples'), (1, 1, 0, NULL), (2, 0, NULL, 'model'), (3, 0, NULL, 'scores');
INSERT INTO Association VALUES(1, 1, 1), (2, 2, 1), (3, 3, 1);
"""


@pytest.fixture
def store(tmp_path):
    """Returns a function that writes a store with one execution of TFX, and more statements."""

    def store(more="", *values):
        path = tmp_path / "m.sqlite"
        with sqlite3.connect(path) as database:
            database.executescript(TABLES)
            if more:
                database.execute(more, values)
        return path

    return store


def only(path):
    (run,) = mlmd_database.read_runs(path, "m.sqlite")
    assert isinstance(run, ForeignRun), run
    return run


def struct_of(**values):
    """Returns what ML-Metadata stores of a google.protobuf.Struct."""
    entries = [field_bytes(1, field_bytes(1, key.encode()) + field_bytes(2, value)) for key, value in values.items()]
    return b"".join(entries)


def stored(data):
    return "mlmd-struct::" + base64.b64encode(data).decode()


def test_a_step_of_tfx_is_a_run_of_its_node_with_its_artifacts_by_uri(store):
    run = only(store())
    assert (run.group, run.status, run.start_ms, run.end_ms) == ("Trainer", "ok", 1000, 3500)
    assert run.params == {"depth": 3, "lr": 0.5, "train_args": '{"num_steps": 100}'}
    assert run.metrics == {"accuracy": 0.93}
    assert (run.environment["pipeline"], run.environment["pipeline_run"]) == ("taxi", "2026-11-22")
    assert run.environment["tfx_version"] == "1.16"
    found = [(item.role, item.path, item.url) for item in run.artifacts]
    assert found == [
        ("input", "examples/0", "s3://acme/examples"),
        ("output", "model", "s3://acme/model/7"),
        ("output", "scores", ""),
    ]
    assert run.id == "tfx.components.trainer.component.Trainer/1/1000"


@pytest.mark.parametrize(
    ("state", "status"),
    [(None, "canceled"), (2, "canceled"), (4, "failed"), (5, "cached"), (6, "canceled"), (99, "canceled")],
)
def test_a_state_that_says_no_end_is_none(store, state, status):
    assert only(store("UPDATE Execution SET last_known_state = ?", state)).status == status


def test_parameters_of_kubeflow_pipelines_are_read_out_of_their_struct(store):
    nested = field_bytes(5, struct_of(depth=field_double(2, 3.0), on=field_whole(4, 1)))
    items = field_bytes(6, field_bytes(1, field_bytes(3, b"a")) + field_bytes(1, field_double(2, 1.5)))
    inputs = stored(struct_of(rate=field_double(2, 0.25), net=nested, names=items, none=field_whole(1, 0)))
    path = store("INSERT INTO ExecutionProperty VALUES(1, 'inputs', 1, NULL, NULL, ?, NULL)", inputs)
    params = only(path).params
    assert {key: params[key] for key in ("rate", "net", "names", "none")} == {
        "rate": 0.25,
        "net": {"depth": 3.0, "on": True},
        "names": ["a", 1.5],
        "none": None,
    }


@pytest.mark.parametrize("damage", [b"\xff", field_bytes(1, b"\x0a\xff"), b"\x0a\x05ab", b"\x09\x01"])
def test_a_struct_that_is_none_stays_a_text(store, damage):
    text = stored(damage)
    path = store("INSERT INTO ExecutionProperty VALUES(1, 'inputs', 1, NULL, NULL, ?, NULL)", text)
    assert only(path).params["inputs"] == text


def test_a_struct_without_end_costs_one_value_at_most(store):
    deep = field_double(2, 1.0)
    for _ in range(3000):
        deep = field_bytes(5, struct_of(a=deep))
    path = store("INSERT INTO ExecutionProperty VALUES(1, 'inputs', 1, NULL, NULL, ?, NULL)", stored(struct_of(a=deep)))
    assert isinstance(only(path).params["inputs"], str)


def test_one_execution_that_cannot_be_read_does_not_stop_the_others(store):
    path = store("INSERT INTO Execution VALUES(2, 8, 'x', 'no time', 1, 3)")
    good, bad = mlmd_database.read_runs(path, "m.sqlite")
    assert isinstance(good, ForeignRun)
    assert isinstance(bad, DvliteError)


def test_a_file_of_another_kind_is_refused(store, tmp_path):
    (tmp_path / "text").write_text("no database at all")
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE runs(id)")
        database.execute(
            "CREATE VIEW Execution AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        )
    torn = store().read_bytes()
    (tmp_path / "torn").write_bytes(torn[: len(torn) // 2])
    for name in ("text", "other.db", "torn"):
        with pytest.raises(UsageError, match=name):
            list(mlmd_database.read_runs(tmp_path / name, name))
    (tmp_path / "empty").write_bytes(b"")
    mlmd_database.require_store(tmp_path / "empty", "empty")
