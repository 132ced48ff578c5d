"""The page of plots, drawn by vl-convert, in a real browser: every chart and image shows; nothing runs, nothing is asked for."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dvlite.plots import draw
from dvlite.plots.charts import chart, filled
from dvlite.plots.collect import Plot, PlotCurve
from dvlite.plots.draw import drawn
from tests.browsers import BROWSER, in_a_browser

pytest.importorskip("vl_convert", reason="vl-convert is not installed: pip install dvlite[plots]")
pytestmark = pytest.mark.long

AXE = Path(__file__).parent.parent.parent / "web" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = "</script><script>document.title='ran'</script>\x1b[31m\u202e&amp;"
SVG = f"<svg xmlns='http://www.w3.org/2000/svg' width='30' height='30'>{HOSTILE[9:46]}<image href='http://localhost:9/x.png'/></svg>"
AREA = {
    "mark": "area",
    "encoding": {
        "x": {"field": "<DVC_METRIC_X>", "type": "quantitative"},
        "y": {"field": "<DVC_METRIC_Y>", "type": "quantitative"},
        "color": "<DVC_METRIC_COLOR>",
    },
}
TEMPLATES = {
    "line": {"path": "log.jsonl", "y": "val.loss"},
    "scatter": {"path": "a.csv", "x": "kind", "y": "score"},
    "roc": {"path": "a.csv", "x": "score", "y": "score"},
    "confusion": {"path": "a.csv", "x": "kind", "y": "guess"},
    "histogram": {"path": "a.csv", "y": "score"},
    "area.json": {"path": "log.jsonl", "y": "val.loss"},
}


def with_plots(project):
    plots = [
        {**plot, "template": name, "title": f"{name} {HOSTILE}", "x_label": HOSTILE} for name, plot in TEMPLATES.items()
    ]
    text = "".join(f"  - {json.dumps(plot)}\n" for plot in [*plots, {"path": "a.svg", "title": HOSTILE}, "gone.csv"])
    project.write("dvlite.yaml", f"plots:\n{text}")
    project.write("area.json", json.dumps(AREA))
    for number in (1, 2):
        rows = [
            {"step": step, "val": {"loss": float("nan") if step == 3 else number / (step + 1)}} for step in range(9)
        ]
        project.write("log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        project.write("a.csv", f"kind,guess,score\ncat,cat,0.{number}\n{HOSTILE},cat,0.5\ncat,dog,0.9\n")
        project.write("a.svg", SVG.replace("30", str(30 * number)))
        if number == 1:
            project.commit()


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_and_image_shows_and_nothing_runs_or_leaves(project, scheme):
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install dvlite[outside]"
    )
    with_plots(project)
    project.dvlite("plots", "diff", "--html", "plots.html", code=3)
    errors = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_context(color_scheme=scheme, bypass_csp=False).new_page()
        url = (project.root / "plots.html").as_uri()
        page.on("console", lambda message: errors.append(message.text))
        page.on("request", lambda asked: None if asked.url.startswith((url, "data:")) else errors.append(asked.url))
        page.goto(url)
        page.wait_for_function("[...document.images].every(image => image.complete)")
        widths = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
        headings = page.locator("h2").all_inner_texts()
        problems = page.locator(".bad").all_inner_texts()
        found = []
        if AXE.is_file():
            checked = browser.new_context(color_scheme=scheme, bypass_csp=True).new_page()
            checked.goto(url)
            checked.evaluate(AXE.read_text(encoding="utf-8"))
            found = checked.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        assert "ran" not in page.title()
        browser.close()
    assert len(widths) == len(TEMPLATES) + 2
    assert min(widths[:-2]) > 200
    assert widths[-2:] == [30, 60]
    assert len(headings) == len(TEMPLATES) + 2
    assert problems == ["there is no 'gone.csv' in HEAD, workspace"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == []
    assert errors == []


def test_a_chart_is_xml_that_leads_nowhere_whatever_names_are():
    curves = tuple(
        PlotCurve(revision=name, file=name, column=name, points=2, x=(0.0, 1.0), y=(0.5, None))
        for name in (HOSTILE, "x.[]'\"\\y")
    )
    plot = Plot(title=HOSTILE, template="line", x=HOSTILE, y="", x_label=HOSTILE, curves=curves)
    for drawing in drawn([chart(plot, titled=True)]):
        assert drawing.problem == ""
        root = ET.fromstring(drawing.svg)
        names = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not {"script", "image", "a", "foreignObject", "use"} & names
        assert "http" not in drawing.svg.replace("http://www.w3.org/", "")


def test_a_template_that_has_no_end_spoils_no_other_chart(monkeypatch):
    monkeypatch.setattr(draw, "_SECONDS", 6)
    curve = PlotCurve(revision="HEAD", file="a", column="loss", points=2, x=(0.0, 1.0), y=(0.5, 1.0))
    plot = Plot(title="t", template="line", x="step", y="loss", curves=(curve,))
    endless = {**AREA, "transform": [{"calculate": "length(sequence(0, 1e9))", "as": "q"}]}
    drawings = drawn([filled(json.dumps(endless).encode(), "t.json", plot), chart(plot)])
    assert [bool(drawing.problem) for drawing in drawings] == [True, False]
    assert drawn([{**chart(plot), "title": "\x1b"}])[0].problem
