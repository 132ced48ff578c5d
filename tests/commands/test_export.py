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


def test_a_second_export_reads_no_series_of_what_the_first_wrote_whole(trained):
    for to in ("tensorboard", "mlflow"):
        trained.dvlite("export", to, to, "--param", "lr=0.2")
        again = trained.json("export", to, to)
        assert (again["runs"], again["unchanged"], again["points"]) == (2, 1, 3)
    trained.dvlite("runs", "tag", "last", "best")
    assert trained.json("export", "mlflow", "mlflow")["unchanged"] == 2
    assert [one.read_text() for one in (trained.root / "mlflow").glob("*/*/tags/dvlite.tags")] == ["best"]


def test_runs_are_rows_of_a_table_and_points_rows_of_another(trained):
    head, *rows = trained.dvlite("export", "csv", "-").stdout.splitlines()
    assert head.endswith(",params.lr,metrics.loss")
    assert {row.rpartition(",")[0].rpartition(",")[2] for row in rows} == {"0.1", "0.2"}
    assert trained.json("export", "csv", "runs.csv")["runs"] == 2
    assert trained.read("runs.csv").decode().splitlines() == [head, *rows]
    points = trained.dvlite("export", "csv", "-", "--series", "--param", "lr=0.2").stdout.splitlines()
    assert [line.split(",")[1:3] for line in points] == [["metric", "step"], *(["loss", str(n)] for n in (1, 2, 3))]
    for words in (["-", "--json"], ["no/such/folder.csv"], ["."], ["runs.csv", "--param", "lr=7"]):
        trained.dvlite("export", "csv", *words, code=1 if "/" in words[0] else 2)
    assert trained.read("runs.csv").decode().splitlines() == [head, *rows]


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
