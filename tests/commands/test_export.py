"""`dvlite export`: runs go to a folder of event files; what of their series cannot be read is named, and the rest is written."""

import pytest

from dvlite.formats import event_file

PIPELINE = """stages:
  train:
    cmd: sh train.sh
    params: [lr]
    metrics: [m.jsonl]
"""


@pytest.fixture
def trained(project):
    project.write("train.sh", 'for step in 1 2 3; do echo "{\\"step\\": $step, \\"loss\\": 0.$step}"; done >m.jsonl\n')
    project.write("params.yaml", "lr: 0.1\n")
    project.write("dvlite.yaml", PIPELINE)
    for lr in ("0.1", "0.2"):
        project.dvlite("repro", "-S", f"lr={lr}")
    return project


def tags(folder):
    return {
        run.name: [(one.tag, one.step) for file in run.iterdir() for one in event_file.scalars(file.read_bytes())]
        for run in folder.iterdir()
    }


def test_each_run_that_matches_is_a_folder(trained, tmp_path):
    done = trained.json("export", "tensorboard", str(tmp_path / "tb"), "--param", "lr=0.2")
    assert (done["runs"], done["points"]) == (1, 3)
    assert list(tags(tmp_path / "tb").values()) == [[("loss", 1), ("loss", 2), ("loss", 3)]]
    assert "tensorboard --logdir tb" in trained.dvlite("export", "tensorboard", "tb").stdout
    assert len(tags(trained.root / "tb")) == 2
    assert trained.json("export", "mlflow", "mlruns")["points"] == 6
    assert len(list((trained.root / "mlruns").glob("*/*/metrics/loss"))) == 2


def test_series_that_are_not_here_are_named_and_all_else_is_written(trained):
    for store in (trained.cache / "packs", trained.cache / "objects"):
        for place in store.rglob("*") if store.exists() else ():
            if place.is_file():
                place.unlink()
    done = trained.dvlite("export", "tensorboard", "tb", code=3)
    assert "m.jsonl" in done.stderr
    assert all(found == [("loss", 0)] for found in tags(trained.root / "tb").values())


def test_nothing_to_export_is_said(trained):
    assert "no run matches" in trained.dvlite("export", "tensorboard", "tb", "--param", "lr=7", code=2).stderr
    assert "is a file" in trained.dvlite("export", "tensorboard", "dvlite.yaml", code=2).stderr
    assert not trained.has("tb")
