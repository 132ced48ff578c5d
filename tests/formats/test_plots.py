"""`plots:` of a pipeline file: what it may say, and that what it may not has its line."""

import pytest

from dvlite.errors import FormatError
from dvlite.formats import pipeline
from dvlite.formats.plots import PlotSpec


def plots(text):
    loose = pipeline.parse(f"plots:\n{text}".encode(), "dvlite.yaml").loose
    return () if loose is None else loose.plots


def test_a_path_is_a_plot_and_a_mapping_says_more():
    assert plots("  - ./logs//train.jsonl\n  - {path: [a.csv, b.csv], y: [loss, acc], x: epoch, y_label: nats}\n") == (
        PlotSpec(2, {"logs/train.jsonl": ()}),
        PlotSpec(3, {"a.csv": ("loss", "acc"), "b.csv": ("loss", "acc")}, x="epoch", labels={"y": "nats"}),
    )
    (both,) = plots("  - {title: loss, y: {a.csv: loss, b.tsv: [loss, ema]}}\n")
    assert (both.title, both.columns) == ("loss", {"a.csv": ("loss",), "b.tsv": ("loss", "ema")})
    (own,) = plots("  - {path: logs/, template: charts/area.json}\n")
    assert own.template == "charts/area.json"
    assert plots("  []\n") == ()


def test_values_are_filled_in():
    text = b"vars: [{logs: out, y: [loss]}]\nplots: [{path: '${logs}/a.csv', y: '${y}'}]\n"
    assert pipeline.parse(text, "dvlite.yaml").loose.plots[0].columns == {"out/a.csv": ("loss",)}


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("{path: a.csv, colour: red}", "'colour' is not known in a plot"),
        ("{path: a.csv, tilte: red}", "did you mean 'title'?"),
        ("{x: a}", "a plot without a path"),
        ("{path: a.csv, y: {b.csv: loss}}", "leave out 'path'"),
        ("{path: a.csv, template: scater, x: a, y: b}", "did you mean 'scatter'?"),
        ("{path: a.csv, template: confusion, y: b}", "needs 'x'"),
        ("{path: a.csv, template: histogram, x: a, y: b}", "a histogram has no 'x'"),
        ("{path: a.png, y: b}", "an image has no columns"),
        ("{path: a.csv, y: 7}", "names columns, not '7'"),
        ("{path: a.csv, y: ['']}", "names columns"),
        ("{path: a.csv, title: [a]}", "'title' must be text"),
        ("model.bin", "'model.bin' cannot be plotted"),
        ("/etc/passwd.csv", "it is absolute"),
        ("{path: a.csv, template: ~/area.json}", "'~' is not expanded"),
        ("7", "expected text"),
    ],
)
def test_what_is_wrong_has_its_line(item, words):
    with pytest.raises(FormatError) as caught:
        plots(f"  - a.csv\n  - {item}\n")
    assert "'dvlite.yaml' line 3" in caught.value.message
    assert words in caught.value.message
