"""`dvlite try`: variants run beside the workspace, each stage once for all that share it, and the sweep can be resumed."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvlite.repo.repository import open_repo
from dvlite.sweep import side_tree
from dvlite.sweep.state import Saved, SweepPlan
from dvlite.workspace import running_outputs

PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture
def line(pipeline):
    pipeline.line()
    pipeline.dvlite("add", "raw.txt")
    pipeline.commit("Add a pipeline")
    return pipeline


def files_of(pipeline):
    """Returns all that a sweep must not touch."""
    names = (name for name in pipeline.git("ls-files", "-co", "--exclude-standard").split() if pipeline.has(name))
    return {name: pipeline.read(name) for name in names} | {"": pipeline.read(".git/index")}


def trees(pipeline):
    return pipeline.git("worktree", "list").splitlines()[1:]


def test_variants_leave_the_workspace_alone_and_share_what_is_equal(line):
    line.edit("train.sh", "lr=", "# edited\nlr=")
    line.write("raw.txt", "edited data\n")
    line.write("new.sh", "true\n")
    before = files_of(line)
    swept = line.json("try", "train", "-S", "lr=3,5,2", "-j", "2", "--name", "grid")
    assert files_of(line) == before
    assert [(each["settings"], each["state"]) for each in swept["variants"]] == [({"lr": lr}, "ok") for lr in (3, 5, 2)]
    assert [each["metrics"]["metrics.json:acc"] for each in swept["variants"]] == [0.3, 0.5, 0.2]
    assert sorted(line.ran()) == ["prepare", "train", "train", "train"]
    assert trees(line) == []
    assert not (line.project.root / ".git/dvlite/try/grid").exists()
    assert line.git("for-each-ref", "refs/dvlite") == ""
    runs = line.json("runs", "--sweep", "grid")["runs"]
    assert sorted((run["stage"], run["status"]) for run in runs) == [
        *[("prepare", "cached")] * 2,
        ("prepare", "ok"),
        *[("train", "ok")] * 3,
    ]
    assert {run["sweep"] for run in runs} == {"grid"}
    dirty = line.json("runs", "show", "last:train")["record"]["code"]["dirty"]
    assert dirty == ["new.sh", "params.yaml", "train.sh"]  # as they were: what a variant sets, edits, new files


def test_variants_fill_in_their_values_and_wait_for_the_mutex_and_the_gpus_of_each_other(line, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    script = 'mkdir "$RAN.lock"; echo ${lr} $CUDA_VISIBLE_DEVICES > ${item}; sleep 0.1; rmdir "$RAN.lock"'
    once = f"do: {{cmd: '{script}', outs: [{{path: '${{item}}', cache: false}}], resources: {{gpu: 1}}, mutex: lock}}"
    line.write("dvlite.yaml", f"stages: {{s: {{foreach: [a, b], {once}}}}}\n")
    swept = line.json("try", "-S", "lr=1,2", "-j", "2", "--name", "grid")
    assert [each["stages"] for each in swept["variants"]] == [{"s@a": "ok", "s@b": "ok"}] * 2
    assert {run["stage"] for run in line.json("runs", "--sweep", "grid", "-s", "s")["runs"]} == {"s@a", "s@b"}


def test_what_is_up_to_date_is_not_run_again_and_is_in_the_sweep_all_the_same(line):
    line.repro("train")
    line.ran()
    swept = line.json("try", "train", "-S", "lr=1", "--name", "same")
    assert [set(each["stages"].values()) for each in swept["variants"]] == [{"cached"}]
    assert swept["variants"][0]["metrics"] == {"metrics.json:acc": 0.1}
    assert line.ran() == []


def test_a_failed_variant_ends_the_sweep_which_goes_on_with_what_is_left(line):
    line.edit("train.sh", "{ cat", 'test "$lr" != 2 || exit 1\n{ cat')
    swept = line.json("try", "train", "-S", "lr=1,2,3", "--name", "some", code=4)
    assert [each["state"] for each in swept["variants"]] == ["ok", "failed", "not run"]
    line.edit("train.sh", "cat clean.txt", "cat nothing")  # the sweep has the script as it was
    assert "not over" in line.dvlite("try", "-S", "lr=1", "--name", "some", code=2).stderr
    line.ran()
    swept = line.json("try", "--resume", "-k", code=4)
    assert [each["state"] for each in swept["variants"]] == ["ok", "failed", "ok"]
    assert line.ran() == ["train"]
    assert "as it began" in line.dvlite("try", "--resume", "some", "-S", "lr=9", code=2).stderr
    assert "no unfinished sweep" in line.dvlite("try", "--resume", "other", code=2).stderr


def test_what_fails_once_fails_for_all_that_share_it(line):
    line.edit("dvlite.yaml", "tr a-z A-Z < raw.txt > clean.txt;", "")
    line.edit("dvlite.yaml", 'echo prepare >> "$RAN"', 'echo prepare >> "$RAN"; false')
    swept = line.json("try", "-S", "lr=1,2", "-k", code=4)
    assert [each["state"] for each in swept["variants"]] == ["failed", "failed"]
    assert "in another variant" in swept["variants"][1]["problem"]
    assert line.ran() == ["prepare"]


def test_an_interrupted_sweep_is_tidy_and_resumed(line):
    stop = 'test "$lr" != 2 || test -e "$RAN.2" || { touch "$RAN.2"; kill -INT $(ps -o ppid= -p $PPID); sleep 60; }'
    line.edit("train.sh", "{ cat", stop + "\n{ cat")
    line.write("raw.txt", "of the sweep alone\n")
    done = line.dvlite("try", "train", "-S", "lr=1,2,3", "--name", "cut", code=130)
    assert "dvlite try --resume cut" in done.stderr
    assert trees(line) == []
    assert line.json("status")["sweeps"] == [{"name": "cut", "variants": 3, "done": 1, "running": False}]
    shown = line.dvlite("status").stdout
    assert "dvlite try --resume cut" in shown
    assert "without other flags" in line.dvlite("runs", "--watch", "-s", "train", code=2).stderr
    assert line.dvlite("runs", "--watch").stdout.splitlines() == [
        "No stage runs here now.",
        "cut: 1 of 3 variants done, stopped: dvlite try --resume cut",
    ]
    line.dvlite("checkout", "--force")
    shutil.rmtree(line.project.root / ".git" / "dvlite" / "saved")
    line.dvlite("gc", "--grace", "0s", "--yes")
    assert [each["state"] for each in line.json("try", "-n", "--resume")["variants"]] == ["ok", "not run", "not run"]
    swept = line.json("try", "--resume", "cut")
    assert [each["state"] for each in swept["variants"]] == ["ok"] * 3
    assert line.json("status")["sweeps"] == []


def test_what_runs_in_a_sweep_is_watched_with_the_last_values_that_it_wrote(line):
    repo = open_repo(line.project.root, os.environ)
    head = repo.git.resolve("HEAD")
    Saved(repo, "grid").write(SweepPlan("grid", (), ".", ((("lr", "1"),), (("lr", "0.5"),)), head, f"{head}^{{tree}}"))
    (side_tree.folder_of(repo, "grid") / "done-1").write_text("torn by a power cut")
    with side_tree.held(repo, "grid"):
        tree = side_tree.open_tree(repo, "grid", 1, head, os.environ)
        side_tree.note_variant(tree, 2)
        paths = ["log.jsonl", "log.csv", "later.csv", "a.tfevents"]
        running_outputs.note(tree, {"train": (time.time_ns() - 5 * 10**9, ["model.pt", *paths], paths)})
        rows = "".join(f'{{"step": {step}, "loss": {1 / (step + 1)}}}\n' for step in range(9000))
        (tree.root / "log.jsonl").write_text(rows + '{"step": 9000, "lo')
        (tree.root / "log.csv").write_text("epoch,acc\n" + "".join(f"{step},0.5\n" for step in range(20_000)))
        os.mkfifo(tree.root / "a.tfevents")
        watched = line.json("runs", "--watch")
        shown = line.dvlite("runs", "--watch").stdout.splitlines()
    (train,) = watched["stages"]
    assert (train["stage"], train["sweep"], train["variant"], train["settings"]) == ("train", "grid", 2, {"lr": 0.5})
    assert train["metrics"] == {"log.jsonl:loss": 1 / 9000, "log.csv:acc": 0.5}
    assert (train["step"], train["seconds"] >= 5) == (19_999, True)
    assert watched["sweeps"] == [{"name": "grid", "variants": 2, "done": 0, "running": True}]
    assert shown[0].split() == ["STAGE", "VARIANT", "FOR", "STEP", "loss", "acc"]
    assert shown[1].split()[:3] == ["train", "2", "lr=0.5"]


@pytest.mark.long
def test_the_recipe_for_optuna_does_what_it_says(line, on_path, monkeypatch):
    optuna = pytest.importorskip("optuna", reason="optuna is not installed: pip install dvlite[outside]")
    (recipe,) = re.findall(
        "```python\n(.*?)```", (PROJECT / "docs/how-to/optuna.md").read_text(encoding="utf-8"), re.DOTALL
    )
    line.edit("dvlite.yaml", "metrics: [metrics.json]", "metrics: [{path: metrics.json, better: {error: lower}}]")
    line.edit("dvlite.yaml", "params: [lr]", "params: [keep]")
    line.write(
        "train.sh",
        'keep=$(sed -n \'s/keep: //p\' params.yaml)\necho $keep > model.pt\necho "{\\"error\\": $keep}" > metrics.json\n',
    )
    line.write("params.yaml", "keep: 1\n")
    line.write("optimise.py", recipe)
    done = subprocess.run([sys.executable, "optimise.py"], cwd=line.project.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    study = optuna.load_study(study_name="keep", storage=f"sqlite:///{line.project.root}/optuna.db")
    assert len(study.trials) == 20
    best = line.json("runs", "best", "error", "--sweep", "optuna-*")
    assert best["value"] == study.best_value == study.best_params["keep"]
    assert line.ran().count("prepare") == 1


def test_trees_that_a_killed_command_left_go_with_the_next_one(line):
    repo = open_repo(line.project.root, os.environ)
    head = repo.git.resolve("HEAD")
    (side_tree.folder_of(repo, "dead")).mkdir(parents=True)
    side_tree.open_tree(repo, "dead", 1, head, os.environ)
    with side_tree.held(repo, "alive"):
        side_tree.open_tree(repo, "alive", 1, head, os.environ)
        line.dvlite("try", "-n", "-S", "lr=1")
        assert [tree.split()[0].rpartition("try/")[2] for tree in trees(line)] == ["alive/tree-1"]
    assert trees(line) == []
    assert not Saved(repo, "alive").exists


def test_nothing_is_tried_that_could_not_be(line):
    assert "nothing to try" in line.dvlite("try", code=2).stderr
    assert "there is no 'lx'" in line.dvlite("try", "-S", "lx=1,2", code=2).stderr
    assert "cannot be the name" in line.dvlite("try", "-S", "lr=1", "--name", "a/b", code=2).stderr
    assert line.json("runs")["known"] == 0
    listed = line.json("try", "-n", "-S", "lr=1,2", "--file", line.write("v.json", json.dumps([{"a": 1}, {"a": 2}])))
    assert len(listed["variants"]) == 4
