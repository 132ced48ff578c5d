"""The metrics of an evaluation are results of the model that it read, also of a folder; for find, lineage and log."""

import shutil

import pytest

STAGES = """\
stages:
  train:
    cmd: mkdir model; cat params.yaml > model/model.bin; echo x > model/other; cat params.yaml > single
    params: [lr]
    outs: [model, single]
  evaluate:
    cmd: 'echo "{\\"acc\\": 0.$(sed s/[^0-9]*//g model/model.bin)}" > metrics.json'
    deps: [model/model.bin]
    metrics: [{path: metrics.json, cache: false}]
  inspect:
    cmd: 'echo "f1: 0.5" > f1.yaml'
    deps: [single]
    metrics: [f1.yaml]
"""


@pytest.fixture
def tried(prepared_pipeline):
    """A model in a folder, trained with three parameters; the second and its cached double are in no commit."""

    def build(pipeline):
        pipeline.write("dvlite.yaml", STAGES)
        pipeline.write("params.yaml", "lr: 1\n")
        pipeline.dvlite("repro")
        pipeline.commit("1")
        for lr in ("7", "9"):
            pipeline.dvlite("repro", "-S", f"lr={lr}")
        pipeline.commit("9")
        pipeline.dvlite("repro", "-S", "lr=7")

    return prepared_pipeline("three-parameters", build)


def hits(pipeline, *terms):
    return {
        (hit["path"], hit["values"].get("acc"), hit["edits"])
        for hit in pipeline.json("lineage", "find", *terms)["found"]
    }


def test_model_is_found_by_the_metrics_of_what_reads_it(tried):
    assert hits(tried, "acc>0.5", "path=model") == {("model", 0.7, True), ("model", 0.9, False)}
    assert hits(tried, "acc>0.5", "lr=7", "path=single") == {("single", 0.7, True)}
    assert hits(tried, "acc>0.5") == {("metrics.json", 0.7, True), ("metrics.json", 0.9, False)}
    assert len(tried.json("lineage", "find", "lr=7", "path=model")["found"]) == 1, "a reused output is listed once"


def test_results_of_later_stages_are_shown_for_folders_and_in_the_log(tried):
    served = tried.root.parent / "served"
    shutil.copytree(tried.root / "model", served)
    for model in ("model", served):
        assert "result  acc=0.7" in tried.dvlite("lineage", model).stdout
    versions = tried.json("log", "model")["versions"]
    assert [version["metrics"] for version in versions] == [{"metrics.json:acc": 0.9}, {"metrics.json:acc": 0.1}]
    assert tried.json("log", "single")["versions"][0]["metrics"] == {"f1.yaml:f1": 0.5}


def test_experiments_follow_each_other_without_a_warning_and_compare_as_what_they_were(tried):
    for lr in ("9", "7"):
        assert "warning" not in tried.dvlite("repro", "-S", f"lr={lr}").stderr, "a run made what it replaces"
    runs = tried.json("runs", "--stage", "evaluate")["runs"]
    assert [run["status"] for run in runs[:3]] == ["cached"] * 3
    ok = next(run["run"] for run in runs if run["status"] == "ok" and run["metrics"]["metrics.json:acc"] == 0.1)
    changes = tried.json("runs", "diff", runs[0]["run"], ok)
    assert changes["environment"] == tried.json("lineage", "diff", runs[0]["run"], ok)["environment"] == []
    assert [change["key"] for change in changes["params"]] == ["params.yaml:lr"], "of the stage before"
    tried.dvlite("runs", "tag", "last:train", "best")
    assert tried.json("lineage", "best")["subject"]["kind"] == "run"
