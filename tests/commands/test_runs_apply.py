"""`dvlite runs apply`: a run comes back as it was, into the workspace or onto a branch, or nothing is written."""

import pytest


@pytest.fixture
def swept(pipeline):
    """Returns a pipeline, committed as it ran, with a sweep over edited code and data."""
    pipeline.line()
    pipeline.dvlite("add", "raw.txt")
    pipeline.commit("Add a pipeline")
    pipeline.repro("train")
    pipeline.commit("Run it")
    pipeline.edit("train.sh", "lr=", "# edited\nlr=")
    pipeline.json("try", "train", "-S", "lr=2,3", "--name", "grid")
    return pipeline


def states(pipeline):
    return {each["stage"]: each["state"] for each in pipeline.json("repro", "-n", "train", code=None)["stages"]}


def best(pipeline):
    return pipeline.dvlite("-q", "runs", "best", "acc", "--higher", "--sweep", "grid").stdout.strip()


def test_a_run_comes_into_the_workspace_with_edits_and_all_is_up_to_date(swept):
    swept.git("checkout", "-q", "--", "train.sh")
    swept.ran()
    done = swept.json("runs", "apply", best(swept))
    assert [(change["old"], change["new"]) for change in done["params_set"]] == [(1, 3)]
    assert "train.sh" in done["edits"]
    assert swept.read("params.yaml") == b"lr: 3\n"
    assert swept.read("train.sh").startswith(b"# edited")
    assert swept.read("model.pt").endswith(b"3\n")
    assert states(swept) == {"prepare": "up to date", "train": "up to date"}
    assert swept.git("diff", "--name-only").split() == []
    assert swept.ran() == []
    assert swept.json("runs", "apply", best(swept))["params_set"] == []


def test_what_does_not_fit_or_would_be_lost_is_refused_before_anything_is_written(swept):
    swept.write("train.sh", "other\n")
    run, before = best(swept), {name: swept.read(name) for name in ("params.yaml", "dvlite.lock", "model.pt")}
    refused = swept.dvlite("runs", "apply", run, code=2)
    assert "'train.sh' is not as it was" in refused.stderr
    assert "--branch" in refused.stderr
    swept.git("checkout", "-q", "--", "train.sh")
    swept.write("model.pt", "mine\n")
    assert "'model.pt' was edited" in swept.dvlite("runs", "apply", run, code=2).stderr
    before["model.pt"] = b"mine\n"
    assert {name: swept.read(name) for name in before} == before
    swept.dvlite("runs", "apply", run, "--force")
    assert states(swept) == {"prepare": "up to date", "train": "up to date"}


def test_a_branch_has_the_run_as_it_was_and_the_workspace_stays(swept):
    swept.write("raw.txt", "new data\n")
    swept.json("try", "train", "-S", "lr=9", "--name", "data")
    swept.write("train.sh", "other\n")
    swept.write("raw.txt", "some data\n")
    status, index = swept.git("status", "--porcelain"), swept.read(".git/index")
    run = swept.dvlite("-q", "runs", "best", "acc", "--higher", "--sweep", "data").stdout.strip()
    done = swept.json("runs", "apply", run, "--branch", "best")
    assert (swept.git("status", "--porcelain"), swept.read(".git/index")) == (status, index)
    assert done["data"] == ["raw.txt"]
    assert swept.git("rev-list", "--count", "main..best").strip() == "1"
    assert "exists already" in swept.dvlite("runs", "apply", run, "--branch", "best", code=2).stderr
    swept.git("stash", "-q")
    swept.git("switch", "-q", "best")
    swept.dvlite("checkout")
    assert swept.read("raw.txt") == b"new data\n"
    assert states(swept) == {"prepare": "up to date", "train": "up to date"}


def test_a_run_that_reads_a_file_of_an_output_brings_the_run_that_made_it(pipeline):
    pipeline.write(
        "dvlite.yaml",
        "stages:\n"
        "  split: {cmd: mkdir parts; echo a > parts/a; echo b > parts/b, outs: [parts]}\n"
        "  train: {cmd: cat parts/a params.yaml > model.pt, deps: [parts/a], params: [lr], outs: [model.pt]}\n",
    )
    pipeline.write("params.yaml", "lr: 1\n")
    pipeline.commit("A pipeline")
    swept = pipeline.json("try", "-S", "lr=1,2")["variants"]
    run = swept[1]["runs"]["train"]  # the output of the other stage was in the work tree already
    assert pipeline.json("runs", "apply", run)["outputs"] == ["parts", "model.pt"]
    assert states(pipeline) == {"split": "up to date", "train": "up to date"}


def test_values_that_the_pipeline_file_fills_in_are_those_of_the_run(pipeline):
    pipeline.write(
        "dvlite.yaml",
        'vars: [params.yaml]\nstages:\n  train: {cmd: "echo ${lr} > model.pt", params: [lr], outs: [model.pt]}\n',
    )
    pipeline.write("params.yaml", "lr: 1\n")
    pipeline.commit("A pipeline")
    runs = [variant["runs"]["train"] for variant in pipeline.json("try", "-S", "lr=2,3", "-j", "2")["variants"]]
    pipeline.dvlite("runs", "apply", runs[1])
    assert pipeline.read("model.pt") == b"3\n"
    assert states(pipeline) == {"train": "up to date"}


def test_a_run_without_outputs_is_refused(swept):
    swept.edit("train.sh", "{ cat", "exit 1; { cat")
    swept.json("try", "train", "-S", "lr=5", code=4)
    failed = swept.json("runs", "--status", "failed")["runs"][0]["name"]
    assert "is failed" in swept.dvlite("runs", "apply", failed, code=2).stderr
