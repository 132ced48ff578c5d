"""An experiment that was never committed comes back by its run, and goes along with push once it has a tag."""

import shutil

import pytest


@pytest.fixture
def tried(prepared_pipeline, tmp_path, monkeypatch):
    """Trained with 1 and committed, with 2 and tagged, with 4, and with 3 and committed."""

    def build(pipeline):
        stage = "train: {cmd: 'mkdir m; cp params.yaml m/x; cp params.yaml one', params: [lr], outs: [m, one]}"
        pipeline.write("dvlite.yaml", f"stages: {{{stage}}}")
        pipeline.write("params.yaml", "lr: 1\n")
        pipeline.dvlite("repro")
        pipeline.commit("1")
        pipeline.dvlite("repro", "-S", "lr=2")
        pipeline.dvlite("runs", "tag", "last:train", "best")
        for lr in ("4", "3"):
            pipeline.dvlite("repro", "-S", f"lr={lr}")
        pipeline.commit("3")

    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    return prepared_pipeline("tried-four-times", build, remote=True)


def test_a_tag_of_two_stages_names_the_outputs_of_both(pipeline):
    pipeline.write(
        "dvlite.yaml",
        'stages: {a: {cmd: "echo 1 >x", outs: [x]}, b: {cmd: "cp x y; echo 2 >>y", deps: [x], outs: [y]}}',
    )
    pipeline.dvlite("repro")
    for stage in ("a", "b"):
        pipeline.dvlite("runs", "tag", f"last:{stage}", "best")
    assert pipeline.dvlite("cat", "best:x").stdout == "1\n"
    assert pipeline.dvlite("cat", "best:y").stdout == "1\n2\n"
    assert pipeline.dvlite("ls", "best:").stdout.split() == ["x", "y"]
    pipeline.dvlite("repro", "--force", "a")
    pipeline.dvlite("runs", "tag", "last:a", "best")  # two versions of x: a stage has to be named
    assert "one of" in pipeline.dvlite("cat", "best:x", code=2).stderr
    assert "'best:a' may be any of 2 runs" in pipeline.dvlite("lineage", "diff", "best:a", "last", code=2).stderr


def test_outputs_of_a_run_are_copied_out(tried, tmp_path):
    assert tried.dvlite("get", "best:one", "-o", "-").stdout == "lr: 2\n"
    assert tried.dvlite("get", ".", "m/x", "--rev", "best", "-o", "-").stdout == "lr: 2\n"
    tried.dvlite("get", "best:m", "-o", tmp_path / "out")
    assert (tmp_path / "out/x").read_text() == "lr: 2\n"
    assert tried.dvlite("get", "last:train:one", "-o", "-").stdout == "lr: 3\n"
    for words in (("best:no",), ("worst:one",), (".", "one", "--rev", "worst")):
        tried.dvlite("get", *words, "-o", "-", code=2)


def test_a_run_is_a_revision_to_cat_ls_diff_and_lineage(tried):
    assert tried.dvlite("cat", "best:m/x").stdout == "lr: 2\n"
    assert tried.dvlite("cat", "best:train:one").stdout == "lr: 2\n"
    assert tried.dvlite("ls", "best:m").stdout == "m/x\n"
    assert [row["path"] for row in tried.json("diff", "best")["paths"]] == ["m", "one"]
    assert [row["path"] for row in tried.json("diff", "best", "last:train", "--", "m")["paths"]] == ["m"]
    assert tried.json("diff", "HEAD", "last:train")["paths"] == []
    assert "no data differs" in tried.dvlite("diff", "last").stdout.lower()
    assert "is not a commit" in tried.dvlite("diff", "worst", code=2).stderr
    assert "what is there: dvlite ls . --rev best" in tried.dvlite("cat", "best:dvlite.yaml", code=2).stderr
    assert tried.json("lineage", "best:train:one")["subject"]["path"] == "one"
    assert tried.json("lineage", "diff", "best:train", "last")["params"]


def test_push_takes_the_outputs_of_tagged_runs_along(tried, colleague):
    sent = [row["oid"] for row in tried.json("push")["paths"]]
    assert len(sent) == len(set(sent)) == 4, "of the commit and of the tagged run, not of the one between"
    assert len(tried.json("push")["paths"]) == 2
    other = type(tried)(colleague(tried), tried._ran)
    other.dvlite("fetch")
    shutil.rmtree(tried.root / ".git/dvlite/cache")
    assert other.dvlite("get", "best:one", "-o", "-").stdout == "lr: 2\n"
    assert other.states("-S", "lr=2", "--pull") == {"train": "cached"}
