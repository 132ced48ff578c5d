"""Runs of W&B on disk: found below a folder, read with values equal to those of W&B's own reader, whatever lies among them."""

import json
import os
import subprocess
import sys

import pytest

from dvlite.errors import DvliteError, UsageError
from dvlite.foreign import wandb_folder
from dvlite.foreign.foreign_run import ForeignRun
from tests.formats import wandb_logs
from tests.formats.wandb_logs import history


def folder(place, *records, name="offline-run-20260101_000000-abc123"):
    target = place / "wandb" / name / "run-abc123.wandb"
    target.parent.mkdir(parents=True)
    target.write_bytes(wandb_logs.log(*records))
    return target


def read(place):
    return list(wandb_folder.read_runs(place, str(place)))


def test_a_run_has_what_its_file_says(tmp_path):
    folder(
        tmp_path,
        wandb_logs.run(config={"lr": 0.1, "net": {"depth": 2, "sizes": [1, 2]}, "_wandb": {}}, project="birds"),
        *(history(n, acc=n / 10, val={"f1": n}, _step=n, _timestamp=1_767_225_600 + n, note="x") for n in range(3)),
        history(3, image={"_type": "image-file", "size": 9}, acc="NaN", _timestamp=1_767_225_604),
        wandb_logs.summary(acc=0.9, image={"_type": "image-file", "size": 9}, word='"good"', _runtime=4),
        wandb_logs.machine("train.py", "--lr", "0.1", git=("https://u:p@example.com/birds", "c" * 40)),
        wandb_logs.artifact("model:v0", ("m.bin", "Y/Tx6cVtTNn5TyWBBIBF5A==", 7, "")),
        wandb_logs.end(runtime=9),
    )
    (run,) = read(tmp_path)
    assert (run.id, run.group, run.status, run.exit_code) == ("20260101_000000-abc123", "birds", "ok", 0)
    assert run.params == {"lr": 0.1, "net.depth": 2, "net.sizes": [1, 2]}
    assert run.metrics == {"acc": 0.9, "word": "good"}
    assert list(run.series) == ["acc", "val.f1"]
    assert [str(value) for value in run.series["acc"].values] == ["0.0", "0.1", "0.2", "nan"]
    assert run.series["acc"].times[0] == 1_767_225_600
    assert (run.start_ms, run.end_ms) == (1_767_225_600_000, 1_767_225_609_000)
    assert (run.command, run.user, run.commit) == ("train.py --lr 0.1", "ann", "c" * 40)
    assert [(item.path, item.digest[:12]) for item in run.artifacts] == [("model:v0/m.bin", "md5:63f4f1e9")]


def test_how_a_run_ended_is_known_from_its_exit(tmp_path):
    for number, records in enumerate(((), [wandb_logs.end(1)], [wandb_logs.end(-9)])):
        folder(tmp_path, wandb_logs.run(), *records, name=f"run-{number}-abc123")
    assert [(run.status, run.exit_code) for run in read(tmp_path)] == [
        ("canceled", None),
        ("failed", 1),
        ("failed", -9),
    ]


def test_a_run_that_was_resumed_is_two(tmp_path):
    for start in ("20260101_000000", "20260102_000000"):
        folder(tmp_path, wandb_logs.run(), name=f"offline-run-{start}-abc123")
    assert len({run.id for run in read(tmp_path)}) == 2
    alone = tmp_path / "alone.wandb"
    alone.write_bytes(wandb_logs.log(wandb_logs.run("xyz")))
    assert [run.id for run in read(alone)] == ["xyz"]


def test_what_is_no_run_is_named_and_the_others_are_read(tmp_path):
    folder(tmp_path, wandb_logs.run())
    (tmp_path / "a.wandb").write_bytes(b"PK")
    (tmp_path / "b.wandb").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "c.wandb")
    (tmp_path / "d.wandb").mkdir()
    (tmp_path / "e.wandb").write_bytes(wandb_logs.log(history(1, acc=1)))
    found = read(tmp_path)
    assert sum(isinstance(one, ForeignRun) for one in found) == 1
    assert len([one for one in found if isinstance(one, DvliteError)]) == 4


@pytest.mark.parametrize("value", ["NaN", "1e308", "1" + "0" * 400, '"x"', "[1]", "null", "{}"])
def test_a_value_of_any_kind_ends_in_a_run_or_in_one_sentence(tmp_path, value):
    folder(
        tmp_path,
        wandb_logs.run(config={"lr": value}),
        history(0, acc=value, _timestamp=value),
        history(1, acc=1, _timestamp=value),
        wandb_logs.summary(acc=value),
    )
    (run,) = read(tmp_path)
    assert isinstance(run, DvliteError) or run.series["acc"].steps[-1] == 1


def test_a_folder_without_a_run_is_said(tmp_path):
    with pytest.raises(UsageError, match="no run of W&B"):
        read(tmp_path)


@pytest.mark.long
def test_what_wandb_wrote_is_read_as_its_own_reader_does(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true", "API_KEY": "0" * 40}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    run = wandb.init(project="birds", name="train one", config={"lr": 0.003, "net": {"depth": 2}}, tags=["best"])
    for step in range(3000):
        run.log({"acc": step / 3000, "loss": 1 / (step + 1), "val": {"f1": step}})
    run.finish()
    wandb.teardown()
    (place,) = (tmp_path / "wandb").glob("offline-run-*")
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(place)]
    lines = subprocess.run(inspect, check=True, capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()
    rows = [record["history"]["item"] for record in map(json.loads, lines) if record["type"] == "history"]
    (found,) = read(tmp_path)
    assert len(rows) == 3000
    for name in ("acc", "loss", "val.f1"):
        assert list(found.series[name].values) == [row[name] for row in rows]
        assert list(found.series[name].steps) == [row["_step"] for row in rows]
        assert list(found.series[name].times) == [row["_timestamp"] for row in rows]
    assert found.params == {"lr": 0.003, "net.depth": 2}
    assert (found.name, found.tags, found.status) == ("train one", {"best": ""}, "ok")
    assert found.metrics["acc"] == 2999 / 3000
