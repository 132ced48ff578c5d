"""A `dvc.yaml` as a `dvlite.yaml`: what is kept, what is written out, what is named as lost."""

import pytest

from dvlite.errors import FormatError
from dvlite.formats import pipeline
from dvlite.formats.dvc_pipeline import convert

PARAMS = b"lr: 0.1\nname: a b\nnet: {depth: 3, kind: mlp, fast: true}\n"


def converted(text):
    """Returns the stages by name, and the notes."""

    def read(name):
        return PARAMS if name == "params.yaml" else None

    result = convert(text.encode(), "dvc.yaml", read)
    return {stage.name: stage for stage in pipeline.parse(result.data, "dvlite.yaml", read).stages}, result


def test_templates_that_mean_the_same_are_kept():
    text = "stages:\n  a:\n    matrix: {m: [x, y], n: [1]}\n    cmd: run ${item.m} ${item.n} ${lr} \\${HOME}\n    always_changed: true\n"
    stages, result = converted(text)
    assert [stage.cmd for stage in stages.values()] == ["run x 1 0.1 ${HOME}", "run y 1 0.1 ${HOME}"]
    assert b"${item.m}" in result.data
    assert all(stage.always for stage in stages.values())
    assert not result.notes


def test_values_that_dvlite_would_quote_are_written_out():
    stages, result = converted(
        "stages:\n  a:\n    foreach: [u]\n    do:\n      cmd: run ${net} ${name} ${item} \\${HOME}\n"
    )
    assert stages["a-u"].cmd == "run --depth 3 --kind mlp --fast a b u ${HOME}"
    assert "written out" in result.notes[0]


def test_outputs_metrics_plots_and_parameters_keep_their_flags():
    text = """\
stages:
  a:
    cmd: run
    wdir: w
    deps: [in, 's3://bucket/x']
    params: [lr, {conf.py: [x]}, {other.json: }]
    outs: [model: {persist: true, push: false, desc: it}]
    metrics: [m.json: {cache: false}]
    plots:
      - roc.csv: {x: fpr, y: tpr, template: simple, title: ROC}
      - tree.html
artifacts: {x: {path: model}}
metrics: [all.json]
params: [params.yaml]
"""
    stages, result = converted(text)
    stage = stages["a"]
    outs = [(out.path, out.cache, out.persist, out.push, out.metric) for out in stage.outs]
    assert outs[0] == ("model", True, True, False, False)
    assert outs[-1] == ("m.json", False, False, True, True)
    assert [dep.path for dep in stage.deps] == ["in", "conf.py"]
    assert [(param.file, param.keys) for param in stage.params] == [("params.yaml", ("lr",)), ("other.json", ())]
    assert b"path: w/roc.csv" in result.data
    assert [
        word for word in ("s3://bucket/x", "conf.py", "artifacts", "tree.html") if word not in str(result.notes)
    ] == []


@pytest.mark.parametrize(
    "text",
    ["stages: [a]\n", "stages:\n  a:\n    cmd: ${nothing}\n", "stages:\n  a:\n    deps: [x]\n", "stages: &a {b: *a}\n"],
)
def test_what_has_no_counterpart_is_an_error_with_its_place(text):
    with pytest.raises(FormatError, match=r"dvc\.yaml"):
        converted(text)
