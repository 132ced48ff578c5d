"""`plots show` and `plots diff`: from disk, git, the cache and runs; bad files; the page, and charts beside `diff --md`."""

import json
import re

import pytest

LOG = '{{"step": 0, "loss": {0}, "val": {{"acc": 0.5}}}}\n{{"step": 2, "loss": 0.5}}\n'
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HOSTILE = "</script><b>\x1b[31m"
FAKE = """\
import html
import os
def vegalite_to_svg(spec, allowed_base_urls):
    assert allowed_base_urls == []
    name = spec["encoding"]["y"]["title"]
    if name == "crash":
        os._exit(3)
    if name == "wrong":
        raise ValueError("it is\\nwrong")
    return f"<svg>{html.escape(name)}</svg>"
"""


@pytest.fixture
def drawing(tmp_path, monkeypatch):
    """Puts a vl-convert in the place of any other."""

    def drawing(source):
        (tmp_path / "fake").mkdir()
        (tmp_path / "fake" / "vl_convert.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))

    return drawing


def declared(project, *plots, metrics="[]"):
    text = "".join(f"  - {json.dumps(plot)}\n" for plot in plots)
    stages = f"stages:\n  s: {{cmd: x, metrics: {metrics}}}\n"
    project.write("dvlite.yaml", stages + (f"plots:\n{text}" if text else ""))


def curves(project, *words, code=0):
    """Returns the points of each curve by title, side and column."""
    found = project.json("plots", *words, code=code)["plots"]
    return {
        (plot["title"], curve["revision"], curve["column"]): list(zip(curve["x"], curve["y"], strict=False))
        for plot in found
        for curve in plot["curves"]
    }


def test_series_are_plots_unless_one_is_declared(project):
    declared(project, metrics="[{path: log.jsonl, cache: false}]")
    project.write("log.jsonl", LOG.format(1))
    assert curves(project, "show") == {
        ("log.jsonl: loss", "workspace", "loss"): [(0, 1.0), (2, 0.5)],
        ("log.jsonl: val.acc", "workspace", "val.acc"): [(0, 0.5)],
    }
    project.commit()
    project.write("log.jsonl", LOG.format(3))
    lines = project.dvlite("plots", "diff").stdout.splitlines()
    assert lines[0] == "log.jsonl: loss"
    assert [line.split()[0] for line in lines[1:3]] == ["HEAD", "workspace"]
    assert lines[2].endswith("0.5 to 3  2 points")
    project.write("log.jsonl", LOG.format(3).replace('"loss": 0.5', '"loss": 0.25'))
    assert project.dvlite("metrics", "diff").stdout.endswith("next: dvlite plots diff HEAD workspace\n")
    declared(project, {"path": "log.jsonl", "y": "loss", "title": "L"}, metrics="[{path: log.jsonl, cache: false}]")
    assert {title for title, *_ in curves(project, "show")} == {"L"}
    assert "is no plot" in project.dvlite("plots", "show", "M", code=2).stderr
    project.write("deep/own.csv", "a\n1\n2\n")
    assert {title for title, *_ in curves(project, "show", "deep")} == {"deep/own.csv: a"}
    assert project.dvlite("plots", "show", "L", "--terminal").stdout.splitlines()[1].startswith("     3 █")


def test_columns_of_several_files_and_templates(project):
    project.write("a.csv", "epoch,loss,kind,guess\n2,0.5,cat,cat\n1,1,cat,dog\n")
    project.write("b.json", '{"note": 1, "rows": [{"epoch": "one", "loss": 3}, {"epoch": "two", "loss": 4}]}')
    declared(
        project,
        {"title": "by epoch", "x": "epoch", "y": {"a.csv": "loss", "b.json": "loss"}},
        {"title": "C", "path": "a.csv", "x": "kind", "y": "guess", "template": "confusion"},
        {"title": "H", "path": "b.json", "y": "loss", "template": "histogram"},
        {"path": "a.csv", "x": "epoch"},
        {"title": "own", "path": "a.csv", "x": "kind", "y": "guess", "template": "own.json"},
    )
    plots = project.json("plots", "show")["plots"]
    assert [(curve["file"], curve["x"], curve["y"]) for curve in plots[0]["curves"]] == [
        ("a.csv", [1, 2], [1, 0.5]),
        ("b.json", ["one", "two"], [3, 4]),
    ]
    (confusion,), (histogram,), (every,), (own,) = (plot["curves"] for plot in plots[1:])
    assert (plots[3]["title"], every["x"], every["y"]) == ("a.csv: loss", [1, 2], [1, 0.5])
    assert (own["x"], own["y"]) == (["cat", "cat"], ["cat", "dog"])
    assert (confusion["x"], confusion["y"], confusion["counts"]) == (["cat", "cat"], ["cat", "dog"], [1, 1])
    assert (histogram["x"][0], histogram["x"][-1], sum(histogram["y"])) == (3, 4, 2)
    assert "guess / kind  cat  dog\n" in project.dvlite("plots", "show", "--terminal").stdout


def test_data_at_revisions_comes_from_the_cache_and_runs_are_sides(pipeline):
    pipeline.write("dvlite.yaml", "stages:\n  t: {cmd: cp lr.jsonl log.jsonl, deps: [lr.jsonl], metrics: [log.jsonl]}\n"
                   "plots: [{path: logs/, y: loss}]\n")  # fmt: skip
    for number in (1, 2):
        pipeline.write("lr.jsonl", LOG.format(number))
        pipeline.write("logs/deep/a.jsonl", LOG.format(number * 10))
        pipeline.dvlite("add", "-q", "logs")
        pipeline.repro()
        if number == 1:
            pipeline.dvlite("runs", "tag", "last:t", "first")
            pipeline.commit()
    found = curves(pipeline, "diff", "HEAD", "workspace", "first")
    first = {side: points[0][1] for (title, side, _), points in found.items() if title == "log.jsonl: loss"}
    assert first == {"HEAD": 1, "workspace": 2, "first": 1}
    assert [points[0][1] for (title, *_), points in found.items() if title == "logs"] == [10, 20]
    (pipeline.root / "log.jsonl").unlink()
    done = pipeline.dvlite("plots", "show", "log.jsonl", code=3)
    assert "'log.jsonl' is not on disk; dvlite checkout log.jsonl" in done.stderr


def test_what_cannot_be_read_is_one_line_of_its_plot(project, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.csv").write_text("a\n1\n2\n")
    (project.root / "out").symlink_to(tmp_path / "outside")
    project.write("a.csv", "loss,words\nnan,x\n1,y\n-inf,z\n")
    project.write("map.png", "no picture")
    project.write("bad.jsonl", "{\n[]\n")
    project.write("bad.json", "[1]")
    (project.root / "link.csv").symlink_to("/etc/passwd")
    declared(
        project,
        {"path": "a.csv", "y": ["los", "loss", "words"], "x": "words"},
        *["map.png", "gone.csv", "bad.jsonl", "bad.json", "link.csv", "out/a.csv"],
        {"path": "a.csv", "x": HOSTILE, "y": HOSTILE, "template": "confusion", "title": HOSTILE},
    )
    done = project.dvlite("plots", "show", code=3)
    warnings = done.stderr.splitlines()
    assert all(re.match("warning: |error: |hint: ", line) for line in warnings)
    for words in (
        "'a.csv': there is no column 'los'; did you mean 'loss'?",
        "'a.csv': the column 'words' has no numbers",
        "'map.png': not the image that its name says (image/png)",
        "there is no 'gone.csv' in workspace",
        "bad.jsonl",
        "'bad.json': it has no list of mappings",
        "link.csv",
        "'out/a.csv': a link in its path leads out of the repository",
        r"there is no column '</script><b>\x1b[31m'",
    ):
        assert any(words in line for line in warnings), words
    assert "\x1b" not in done.stdout + done.stderr
    assert "1 to 1  3 points, 2 not finite\n" in done.stdout
    assert curves(project, "show", "a.csv", code=3)["a.csv", "workspace", "loss"] == [
        ("x", None),
        ("y", 1),
        ("z", None),
    ]


def test_a_peak_among_many_points_stays(project):
    rows = [f"{x},{x % 7}" for x in range(12_000)]
    rows[7_123] = "7123,99"
    project.write("a.csv", "x,y\n" + "\n".join(rows) + "\n")
    declared(project, {"path": "a.csv", "x": "x", "y": "y", "template": "scatter"})
    (points,) = curves(project, "show").values()
    assert (7_123, 99) in points
    assert len(points) <= 2000


def test_the_page_has_images_and_runs_nothing(project):
    project.write(f"{HOSTILE[10:]}.svg", SVG)
    declared(project, {"path": f"{HOSTILE[10:]}.svg", "title": HOSTILE})
    result = project.json(
        "plots",
        "diff",
        "--html",
        "out/p.html",
    )
    page = (project.root / "out" / "p.html").read_text()
    assert result["size_bytes"] == len(page.encode())
    assert "<script" not in page
    assert "<svg" not in page
    assert "\x1b" not in page
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert "data:image/svg+xml;base64," in page


def test_charts_are_drawn_in_a_process_that_may_fail(project, drawing):
    drawing(FAKE)
    project.write("vl_convert.py", "raise SystemExit('code of the repository ran')")
    project.write("a.csv", "loss\n1\n2\n")
    project.write("t.json", '{"data": {"url": "https://example.com"}}')
    titles = ("one", "crash", "wrong", HOSTILE)
    declared(project, *[{"path": "a.csv", "y": "loss", "title": title, "y_label": title} for title in titles],
             {"path": "a.csv", "y": "loss", "title": "leads out", "template": "t.json"})  # fmt: skip
    done = project.dvlite("plots", "show", "--html", "p.html", code=3)
    for words in (
        "crash: its drawing failed",
        "wrong: it is wrong",
        "leads out: cannot draw by 't.json': it has 'url'",
    ):
        assert any(line.startswith(f"warning: {words}") for line in done.stderr.splitlines()), done.stderr
    page = (project.root / "p.html").read_text()
    assert page.count("data:image/svg+xml") == 2
    assert "its drawing failed" in page


def test_without_vl_convert_the_command_to_install_it_is_named(project, drawing):
    drawing("raise ImportError")
    project.write("a.csv", "loss\n1\n2\n")
    declared(project, "a.csv")
    assert "pip install 'dvlite[plots]'" in project.dvlite("plots", "show", "--html", "p.html", code=2).stderr
    assert "--terminal and --html" in project.dvlite("plots", "show", "--html", "p", "--terminal", code=2).stderr


def test_a_comment_on_a_pull_request_has_metrics_plots_and_charts(project, drawing):
    drawing(FAKE)
    declared(project, "same.csv", metrics="[{path: log.jsonl, cache: false}]")
    project.write("same.csv", "loss\n1\n2\n")
    project.write("log.jsonl", LOG.format(1))
    project.commit()
    project.write("log.jsonl", LOG.format(3).replace('"loss": 0.5', '"loss": 0.25'))
    lines = project.dvlite("diff", "HEAD", "--md", "--charts", "out").stdout.splitlines()
    assert lines[1] == "### Data: no change, `HEAD` to `workspace`"
    assert "| log.jsonl | loss | 0.5 | 0.25 | -0.25 (-50.00%) |  |" in lines
    assert "### Plots: 1 change" in lines
    assert "| log.jsonl: loss | `█▁` `0.5 to 1` | `█▁` `0.25 to 3` | `log.jsonl-loss.svg` |" in lines
    assert [path.name for path in (project.root / "out").iterdir()] == ["log.jsonl-loss.svg"]
    assert "--md" in project.dvlite("diff", "HEAD", "--charts", "out", code=2).stderr
