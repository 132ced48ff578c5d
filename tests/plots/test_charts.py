"""Specifications of charts: of dvlite's templates, and of files with DVC's anchors."""

import json

import pytest

from dvlite.errors import FormatError
from dvlite.plots.charts import chart, filled
from dvlite.plots.collect import Plot, PlotCurve

HOSTILE = "</script>\x1b[31m\u202e"


def curve(revision="HEAD", file="a.csv", column="loss", x=(0, 1), y=(0.5, None), counts=()):
    return PlotCurve(revision=revision, file=file, column=column, points=len(x), x=x, y=y, counts=counts)


def plot(*curves, template="line", **settings):
    return Plot(title="t", template=template, x="step", x_label="step", curves=curves or (curve(),), **settings)


def test_sides_differ_by_colour_and_files_or_columns_by_dashes():
    both = chart(plot(curve(), curve("workspace"), curve("workspace", column="acc")))["encoding"]
    assert both["color"]["scale"]["domain"] == ["HEAD", "workspace"]
    assert both["strokeDash"]["scale"]["domain"] == ["loss", "acc"]
    assert chart(plot(curve(), curve(file="b.csv")))["encoding"]["color"]["scale"]["domain"] == ["a.csv", "b.csv"]
    assert "color" not in chart(plot())["encoding"]


def test_names_are_printable_in_every_template():
    pair = {"x": (HOSTILE, "b"), "y": (HOSTILE, "b"), "counts": (1, 2)}
    edges = {"x": (0.0, 1.0, 2.0), "y": (3.0, 4.0)}
    for template, more in (("line", {}), ("scatter", {}), ("roc", {}), ("confusion", pair), ("histogram", edges)):
        curves = [curve(HOSTILE, HOSTILE, HOSTILE, **more), curve("b", "b", "b", **more)]
        spec = chart(
            Plot(
                title=HOSTILE,
                template=template,
                x=HOSTILE,
                y=HOSTILE,
                x_label=HOSTILE,
                y_label=HOSTILE,
                curves=tuple(curves),
            )
        )
        assert not {"\x1b", "\u202e"} & set(json.dumps(spec, ensure_ascii=False))


def test_classes_are_in_the_order_of_numbers_then_words():
    labels = ["nan", "b", "10", "9", "a", "2.5"]
    confusion = chart(plot(curve(x=labels, y=labels, counts=[1] * 6), template="confusion"))
    axes = confusion["spec"]["layer"][0]["encoding"]
    assert axes["x"]["scale"]["domain"] == axes["y"]["scale"]["domain"] == ["2.5", "9", "10", "a", "b", "nan"]


def test_anchors_are_filled_in_with_their_types():
    template = {
        "title": "of <DVC_METRIC_TITLE>",
        "data": {"values": "<DVC_METRIC_DATA>"},
        "encoding": {"x": {"field": "<DVC_METRIC_X>"}, "y": {"field": "<DVC_METRIC_Y>"}, "color": "<DVC_METRIC_COLOR>"},
        "width": "<DVC_METRIC_PLOT_WIDTH>",
    }
    spec = filled(json.dumps(template).encode(), "t.json", plot(curve(column="val.loss")))
    rows = [
        {"step": 0, "val.loss": 0.5, "rev": "HEAD", "filename": "a.csv", "field": "val.loss"},
        {"step": 1, "val.loss": None, "rev": "HEAD", "filename": "a.csv", "field": "val.loss"},
    ]
    assert spec["title"] == "of t"
    assert spec["data"] == {"values": rows}
    assert spec["encoding"]["y"] == {"field": "val\\.loss"}
    assert spec["encoding"]["color"]["field"] == "rev"
    assert spec["width"] == 280
    assert filled(b'{"mark": "line"}', "t.json", plot(curve(column="val.loss")))["data"] == {"values": rows}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"data": {"url": "https://example.com/x.csv"}}, "'url'"),
        ({"layer": [{"transform": [{"lookup": "a", "from": {"data": {"url": "x.csv"}}}]}]}, "'url'"),
        ({"encoding": {"href": {"field": "x"}}}, "'href'"),
        ({"data": {"sequence": {"start": 0, "stop": 1e12}}}, "'sequence'"),
        ([], "not a JSON object"),
        ("{", "not JSON"),
    ],
)
def test_what_leads_out_or_is_no_template_is_refused(template, words):
    data = template if isinstance(template, str) else json.dumps(template)
    with pytest.raises(FormatError) as caught:
        filled(data.encode(), "t.json", plot())
    assert words in caught.value.message
