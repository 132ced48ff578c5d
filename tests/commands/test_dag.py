"""`dvlite dag`: the stages and which needs which."""

import pytest


@pytest.fixture
def line(pipeline):
    return pipeline.line()


def test_tree_shows_what_each_stage_is_made_from(line):
    assert line.dvlite("dag").stdout == (
        "report  -> report.txt\n"
        "└── train  -> model.pt, metrics.json\n"
        "    ├── prepare  -> clean.txt\n"
        "    │   └── raw.txt\n"
        "    └── train.sh\n"
    )


def test_stage_that_several_need_is_shown_in_full_once(pipeline):
    pipeline.write(
        "dvlite.yaml",
        "stages:\n  a: {cmd: x, deps: [in], outs: [a]}\n  b: {cmd: x, deps: [a], outs: [b]}\n"
        "  c: {cmd: x, deps: [a, b], outs: [c]}\n",
    )
    assert pipeline.dvlite("dag").stdout.count("in") == 1
    assert "a  -> a  (as above)" in pipeline.dvlite("dag").stdout


def test_target_is_shown_with_what_it_needs_or_what_needs_it(line):
    assert [each["stage"] for each in line.json("dag", "train")["stages"]] == ["prepare", "train"]
    assert [each["stage"] for each in line.json("dag", "train", "--downstream")["stages"]] == ["train", "report"]
    assert [each["stage"] for each in line.json("dag", "model.pt")["stages"]] == ["prepare", "train"]


def test_json_has_dependencies_outputs_and_edges(line):
    train = line.json("dag")["stages"][1]
    assert train["after"] == ["prepare"]
    assert train["deps"] == ["train.sh", "clean.txt"]
    assert train["outs"] == ["model.pt", "metrics.json"]


def test_mermaid_and_dot_have_every_edge(line):
    assert line.dvlite("dag", "--mermaid").stdout.splitlines() == [
        "flowchart TD",
        '    s0["prepare"]',
        '    s1["train"]',
        '    s2["report"]',
        "    s0 --> s1",
        "    s1 --> s2",
    ]
    assert '    "prepare" -> "train";' in line.dvlite("dag", "--dot").stdout


def test_paths_are_shown_from_the_current_folder(pipeline):
    pipeline.write("sub/dvlite.yaml", "stages: {one: {cmd: x, deps: [in], outs: [out]}}")
    assert pipeline.dvlite("dag", cwd="sub").stdout == "sub:one  -> out\n└── in\n"
    assert pipeline.dvlite("dag").stdout == "sub:one  -> sub/out\n└── sub/in\n"


def test_circle_and_a_missing_pipeline_are_one_line(pipeline):
    assert "there is no pipeline here" in pipeline.dvlite("dag", code=2).stderr
    pipeline.write("dvlite.yaml", "stages: {a: {cmd: x, deps: [b], outs: [a]}, b: {cmd: x, deps: [a], outs: [b]}}")
    assert "in a circle: a <- b <- a" in pipeline.dvlite("dag", code=1).stderr


def test_broken_file_is_warned_of(line):
    line.write("sub/dvlite.yaml", "stages: 5")
    done = line.dvlite("dag")
    assert "warning: cannot read 'sub/dvlite.yaml' line 1" in done.stderr
    assert "train" in done.stdout
