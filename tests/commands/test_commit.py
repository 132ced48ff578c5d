"""Outputs that the user vouches for: locked without a run, and said to be that wherever they are shown."""

import json
import os
import shutil
import subprocess

import pytest


@pytest.fixture
def line(prepared_pipeline):
    """The three stages, run once and committed; then the model comes from elsewhere, and its script has a new comment."""

    def build(pipeline):
        pipeline.line().dvlite("repro")
        pipeline.commit("Run")
        pipeline.ran()
        pipeline.write("train.sh", pipeline.read("train.sh").decode() + "# a comment\n")
        pipeline.write("model.pt", "made on a cluster")

    return prepared_pipeline("a-model-from-elsewhere", build)


def test_accepted_outputs_are_locked_without_a_run_and_shown_as_asserted(line):
    said = line.json("commit", "train")
    assert [(run["stage"], run["state"]) for run in said["stages"]] == [("train", "asserted")]
    assert line.ran() == []
    record = line.records("train")[-1]
    assert (record.status, record.exit_code, record.environment) == ("asserted", None, {})
    assert record.metrics == {"metrics.json:acc": 0.1}
    assert {**line.locked("train").facts.params} == {"params.yaml:lr": 1}
    assert set(line.reasons()) == {"report"}, "what reads the model is out of date"
    line.dvlite("repro")
    line.commit("Take the model")
    assert "status asserted" in line.dvlite("lineage", "model.pt").stdout
    assert len(line.json("runs", "--status", "asserted")["runs"]) == 1
    line.dvlite("verify")
    assert line.json("commit")["lockfiles"] == [], "accepting twice changes nothing"


def test_rerun_says_that_different_outputs_were_accepted(line):
    assert line.dvlite("commit", "train").stdout.endswith("git commit; dvlite verify --rerun train\n")
    line.dvlite("repro")
    line.commit("Take the model")
    checks = {check["stage"]: check for check in line.json("verify", "--rerun", "train", code=1)["stages"]}
    check = checks["train"]
    assert check["verdict"] == "different"
    assert "accepted by dvlite commit" in check["problem"]


def test_stage_without_its_outputs_is_left_out_and_refused_if_it_is_named(line):
    (line.root / "report.txt").unlink()
    said = {run["stage"]: run["state"] for run in line.json("commit")["stages"]}
    assert said == {"prepare": "up to date", "train": "asserted", "report": "not run"}
    before = line.lock()
    assert "'report.txt' of report is not there" in line.dvlite("commit", "train", "report", code=1).stderr
    assert line.lock() == before


def test_accepted_outputs_are_reused_when_their_inputs_come_back(line):
    line.dvlite("commit", "train")
    line.edit("params.yaml", "1", "2")
    line.dvlite("repro")
    line.edit("params.yaml", "2", "1")
    assert line.states()["train"] == "cached"
    assert line.read("model.pt") == b"made on a cluster"


def test_run_without_its_command_may_be_tried(line):
    tried = line.json("repro", "-n", "-S", "lr=5", code=1)
    assert tried["params_set"][0]["new"] == 5
    assert [why["name"] for why in tried["stages"][1]["reasons"]] == ["train.sh", "params.yaml:lr", "model.pt"]
    assert line.read("params.yaml") == b"lr: 1\n"


def test_links_of_an_output_stay_inside_it_and_what_cannot_be_taken_is_not_lost(pipeline):
    links = "mkdir -p ck/in; echo 1 > ck/e1; ln -s $PWD/ck/e1 ck/in/last; ln -s ck/e1 best"
    pipeline.write("dvlite.yaml", f"stages: {{s: {{cmd: '{links}', outs: [ck, best]}}}}")
    assert pipeline.states() == {"s": "ok"}
    assert not (pipeline.root / "best").is_symlink(), "an output is content"
    assert pipeline.is_up_to_date()
    shutil.rmtree(pipeline.root / "ck")
    pipeline.dvlite("checkout")
    assert os.readlink(pipeline.root / "ck/in/last") == "../e1"
    assert pipeline.is_up_to_date()
    pipeline.edit("dvlite.yaml", "ln -s ck/e1 best", "echo 2 > best; ln -s /etc ck/etc")
    hint = json.loads(pipeline.dvlite("--json", "repro", code=4).stdout)["stages"][0]["hint"]
    move = hint.split(", ")[1]
    (etc,) = (pipeline.root / ".git/dvlite/repro/failed").glob("*/*/ck/etc")
    etc.unlink()
    subprocess.run(["bash", "-c", move], cwd=pipeline.root, check=True)
    pipeline.dvlite("commit", "s")
    assert pipeline.read("best") == b"2\n"
    assert pipeline.is_up_to_date()
