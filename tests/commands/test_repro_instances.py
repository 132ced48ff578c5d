"""Stages with `foreach` and `matrix` from `repro` to `verify`: each instance is a stage of its own. Timeouts, retries and mutexes."""

import pytest

TEXT = """\
vars: [conf/grid.yaml]
stages:
  prepare: {cmd: tr a-z A-Z < raw.txt > clean.txt; echo prepare >> "$RAN", deps: [raw.txt], outs: [clean.txt]}
  train:
    matrix: {lr: "${lrs}", model: [svm]}
    cmd: echo ${item.lr} ${epochs} | cat clean.txt - > ${key}.pt; echo ${key} >> "$RAN"
    deps: [clean.txt]
    outs: ["${key}.pt"]
  score:
    foreach: {low: 0.1, high: 0.5}
    do: {cmd: 'wc -c < lr${item}-svm.pt > ${key}.txt; echo ${key} >> "$RAN"', deps: ["lr${item}-svm.pt"], outs: ["${key}.txt"]}
"""
ALL = ["prepare", "train@lr0.1-svm", "train@lr0.5-svm", "score@low", "score@high"]


@pytest.fixture
def grid(pipeline):
    """Two instances of each of two templates, run once and committed."""
    pipeline.write("dvlite.yaml", TEXT)
    pipeline.write("conf/grid.yaml", "lrs: [0.1, 0.5]\n")
    pipeline.write("params.yaml", "epochs: 3\n")
    pipeline.write("raw.txt", "some data\n")
    assert pipeline.states() == dict.fromkeys(ALL, "ok")
    pipeline.commit("Run")
    pipeline.ran()
    return pipeline


def test_a_new_value_runs_its_instance_alone_and_the_others_stay_fresh(grid):
    grid.edit("conf/grid.yaml", "0.5]", "0.5, 0.9]")
    assert grid.states("train") == {**dict.fromkeys(["prepare", *ALL[1:3]], "up to date"), "train@lr0.9-svm": "ok"}
    assert grid.ran() == ["lr0.9-svm"]
    assert grid.locked("train@lr0.9-svm").facts.cmd.startswith("echo 0.9 3 | cat")
    grid.commit("One more")
    grid.edit("conf/grid.yaml", "0.9]", "0.9, 1]")
    grid.commit("Forgot to run")
    grid.write("conf/grid.yaml", "lrs: [0.1, 0.5, 0.9\n")
    grid.commit("Broken")
    grid.write("conf/grid.yaml", "lrs: [0.1, 0.5, 0.9]\n")
    grid.commit("Mended")
    found = grid.json("verify", "--range", "HEAD~4..HEAD", code=1)["findings"]
    assert [(one["kind"], one["line"]) for one in found] == [("stage-not-locked", 4), ("pipeline-malformed", 1)]
    (run,) = grid.records("train@lr0.9-svm")
    assert [item.path for item in run.outputs] == ["lr0.9-svm.pt"]


def test_instances_are_named_one_by_one_by_pattern_or_all(grid):
    assert list(grid.states("score@low")) == ["prepare", "train@lr0.1-svm", "score@low"]
    assert list(grid.states("--single", "train@*")) == list(grid.states("--single", "train")) == ALL[1:3]
    assert [row["stage"] for row in grid.json("dag", "score@high")["stages"]] == [
        "prepare",
        "train@lr0.5-svm",
        "score@high",
    ]
    for word, stages in {"score": {*ALL[3:]}, "score@h*": {"score@high"}, "prepare": {"prepare"}}.items():
        assert {run["stage"] for run in grid.json("runs", "-s", word)["runs"]} == stages
    for word, number in {"score": 2, "train@*": 2, "score@low": 1, "prepare": 1}.items():
        assert len(grid.json("verify", word)["stages"]) == number
    assert "did you mean score@high?" in grid.dvlite("repro", "score@hihg", code=2).stderr


def test_the_values_of_a_matrix_are_columns_of_its_runs_and_of_no_run_after_them(grid):
    listed = grid.json("runs", "--sort", "lr")
    lr = next(column for column in listed["columns"] if column["title"] == "lr")
    assert (lr["key"], lr["differs"]) == ("dvlite.yaml:lr", True)
    values = {run["stage"]: (run["params"] | run["upstream_params"]).get("dvlite.yaml:lr") for run in listed["runs"]}
    assert values == {
        "prepare": None,
        "train@lr0.1-svm": 0.1,
        "train@lr0.5-svm": 0.5,
        "score@low": None,
        "score@high": None,
    }
    assert [run["stage"] for run in grid.json("runs", "-s", "train", "-p", "lr>0.2")["runs"]] == ["train@lr0.5-svm"]
    changes = grid.json("runs", "diff", "last:train@lr0.1-svm", "last:train@lr0.5-svm")["params"]
    assert [(change["key"], change["old"], change["new"]) for change in changes] == [("dvlite.yaml:lr", 0.1, 0.5)]


def test_a_parameter_that_is_filled_in_can_be_set(grid):
    states = grid.states("-n", "-S", "epochs=4", code=1)
    assert states == {
        "prepare": "up to date",
        **dict.fromkeys(ALL[1:3], "would run"),
        **dict.fromkeys(ALL[3:], "may run"),
    }
    assert grid.read("params.yaml") == b"epochs: 3\n"
    assert grid.states("-S", "epochs=4", "train@lr0.1-svm")["train@lr0.1-svm"] == "ok"
    assert (grid.read("lr0.1-svm.pt"), grid.read("params.yaml")) == (b"SOME DATA\n0.1 4\n", b"epochs: 4\n")
    finding = grid.json("verify", code=1)["findings"][0]
    assert (finding["kind"], finding["stage"], finding["fix"]) == (
        *("cmd-changed", "train@lr0.5-svm"),
        "dvlite repro train@lr0.5-svm",
    )


def test_templates_are_frozen_renamed_and_removed_as_a_whole(grid):
    assert "name them all: train" in grid.dvlite("stage", "freeze", "train@lr0.1-svm", code=2).stderr
    grid.dvlite("stage", "freeze", "train", "score")
    assert list(grid.states("-n").values()) == ["up to date", *["frozen"] * 4]
    grid.dvlite("stage", "thaw", "score", "train")
    assert grid.read("dvlite.yaml").decode() == TEXT
    grid.dvlite("stage", "rename", "train", "fit")
    assert grid.states() == dict.fromkeys(["prepare", "fit@lr0.1-svm", "fit@lr0.5-svm", *ALL[3:]], "up to date")
    assert "makes several stages" in grid.dvlite("stage", "add", "-f", "fit", "-o", "x", "--", "echo", code=2).stderr
    grid.dvlite("stage", "remove", "fit")
    assert [row["stage"] for row in grid.json("stage", "list")["stages"]] == ["prepare", *ALL[3:]]
    assert grid.locked("fit@lr0.1-svm") is None


def test_a_stage_runs_again_as_often_as_it_says_and_each_try_is_recorded(pipeline):
    pipeline.write(
        "dvlite.yaml",
        "stages:\n"
        '  late: {cmd: "test -e $RAN || { echo 1 >> $RAN; exit 3; }; echo > a", outs: [a], retries: 2}\n'
        "  never: {cmd: exit 4, retries: 1}\n"
        "  slow: {cmd: sleep 10000, timeout: 1s}\n",
    )
    done = pipeline.repro("-k", code=4)
    assert [run["state"] for run in done.values()] == ["ok", "failed", "failed"]
    assert [run["problem"] for run in done.values()][1:] == [
        "exit 4, like 1 try before",
        "timed out: it may run for 1.0 s",
    ]
    assert [(run.status, run.retry, run.exit_code) for run in pipeline.records("late")] == [
        ("failed", 0, 3),
        ("ok", 1, 0),
    ]
    assert [(run.status, run.retry) for run in pipeline.records("never")] == [("failed", 0), ("failed", 1)]
    assert [(run.timed_out, run.key) for run in pipeline.records("slow")] == [(True, pipeline.records("slow")[0].key)]
    key = pipeline.locked("late").key
    pipeline.edit("dvlite.yaml", "retries: 2", "retries: 5, timeout: 1h, mutex: a, resources: {cpu: 2}")
    assert pipeline.states("late") == {"late": "up to date"}  # how it runs is not what it is
    assert pipeline.locked("late").key == key


def test_stages_with_a_mutex_in_common_do_not_meet_and_gpus_are_handed_out(pipeline, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    script = "mkdir lock; echo $CUDA_VISIBLE_DEVICES > ${key}; rmdir lock"
    limits = "mutex: [lock], resources: {gpu: 1}"
    pipeline.write(
        "dvlite.yaml", f"stages: {{s: {{foreach: [a, b, c], do: {{cmd: '{script}', outs: ['${{key}}'], {limits}}}}}}}\n"
    )
    assert set(pipeline.states("-j", "3").values()) == {"ok"}
    assert {pipeline.read(name) for name in "abc"} == {b"5\n"}
    pipeline.edit("dvlite.yaml", "gpu: 1", "gpu: 3")
    assert "needs 3 GPUs, and 2 can be used" in pipeline.refused("-f")
