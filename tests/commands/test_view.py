"""`dvlite view` and `dvlite runs --html`: which runs a page has, with what, and that nothing in it can run."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from dvlite.commands import view as verb
from dvlite.formats.record import Input, MapFailure, MapRun, Output, RuleOutcome
from dvlite.formats.series import Series, SeriesFile
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from dvlite.reports import runs_page
from dvlite.runs.options import RunsOptions
from dvlite.runs.records import Records
from dvlite.text.markdown import legal
from tests.runs import recorded
from tests.runs.recorded import name, oid

PROJECT = Path(__file__).parent.parent.parent
REPORTS = PROJECT / "dvlite" / "reports"
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\u202e\x1b[31m"

ID = "019aabcd-0000-7000-8000-00000000000{}"


@pytest.fixture
def records(project):
    return Records(project.root / ".git" / "dvlite" / "runs")


def content(file):
    """Returns the runs of a page, as its program reads them."""
    text = Path(file).read_text(encoding="utf-8")
    (block,) = re.findall(r'<script type="application/json" id="runs">(.*?)</script>', text, re.DOTALL)
    return json.loads(block)


def decoded(column):
    return column["v"] if "v" in column else [None if code < 0 else column["u"][code] for code in column["c"]]


def column(page, key):
    (found,) = [decoded(one) for one in page["columns"] if one["key"] == key]
    return found


def short(run):
    return f"{run.stage}-{name(run)[4:10]}"


def test_the_page_has_the_runs_that_match_and_those_before_them(project, records):
    prepared = Output(path="data/prepared", oid=oid("prepared", "manifest"), size_bytes=90, files=9)
    first = recorded.run(0, stage="prepare", outputs=(prepared,), params={"params.yaml:size": 28}, metrics={})
    read = (Input(path="data/prepared", oid=prepared.oid, size_bytes=90, files=9),)
    runs = [
        recorded.run(number, inputs=read, metrics={"m.json:acc": number / 10, "m.json:gap": float("nan")})
        for number in (1, 2, 3)
    ]
    for one in (first, *runs, recorded.note(runs[2], "tag", "best"), recorded.note(runs[2], "note", "good")):
        records.put(one, durable=False)
    project.write("dvlite.yaml", "stages: {train: {cmd: x, metrics: [{path: m.json, better: {acc: higher}}]}}\n")
    result = project.json("runs", "--html", "out/page.html", "-m", "acc>=0.2", "--sort", "-acc")
    assert (result["runs"], result["known"], result["opened"]) == (2, 4, None)
    page = content(project.root / "out" / "page.html")
    assert (page["listed"], page["known"]) == (2, 4)
    assert decoded(page["fields"]["name"]) == [short(runs[2]), short(runs[1]), short(first)]
    assert column(page, "m.json:acc")[:2] == [0.3, 0.2]
    assert {one["key"]: one["better"] for one in page["columns"] if "better" in one} == {"m.json:acc": "higher"}
    assert column(page, "m.json:gap")[:2] == ["nan", "nan"]
    assert column(page, "params.yaml:size") == [None, None, 28]
    assert page["makers"] == [[2], [2], 0]
    assert (page["tags"], page["notes"]["0"][0][0]) == ({"0": ["best"]}, "good")
    assert page["details"]["0"]["cmd"] == "python src/train.py"
    assert project.json("runs", "--html", "page.html", "-n", "1")["runs"] == 1
    assert project.dvlite("view", "--stage", "prepare").stdout.startswith("Wrote ")
    assert content(project.root / ".git" / "dvlite" / "view" / "runs.html")["listed"] == 1


def test_nothing_in_a_record_can_run_or_ask_a_host(project, records):
    records.put(
        recorded.run(
            1,
            params={HOSTILE: HOSTILE, "params.yaml:lr": 1},
            metrics={HOSTILE: 1},
            cmd=HOSTILE,
            environment={HOSTILE: HOSTILE},
            user=HOSTILE.replace("\x1b", ""),
            outputs=(Output(path="<b>.png", oid=oid("x"), size_bytes=9),),
        )
    )
    project.dvlite("runs", "--html", "page.html")
    text = project.read("page.html").decode()
    page = content(project.root / "page.html")
    assert HOSTILE in {one["key"] for one in page["columns"]}
    assert page["files"]["0"] == [{"path": "<b>.png", "kind": "image/png", "problem": "not in the cache"}]
    assert len(re.findall("<script", text)) == 2
    assert not re.search(
        r"<(?!/?(?:html|head|meta|title|style|body|div|noscript|script|!doctype)\b)[a-z!]", outer(text)
    )
    assert "<!--" not in text
    policy = re.search('http-equiv="Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for kind, part in (("script", re.findall("<script>(.*?)</script>", text, re.DOTALL)[-1]), ("style", style(text))):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_a_run_of_a_map_stage_has_its_datums_and_those_that_failed(project, records):
    failures = (MapFailure(name=HOSTILE, problem="exit 1"),)
    mapped = MapRun(base="ef" * 32, datums=9, ran=4, reused=2, failed=1, failures=failures)
    records.put(recorded.run(1, status="failed", mapped=mapped), durable=False)
    records.put(recorded.run(2, mapped=replace(mapped, ran=7, failed=0, failures=())), durable=False)
    records.put(recorded.run(3), durable=False)
    project.dvlite("runs", "--html", "page.html")
    assert "<img" not in (project.root / "page.html").read_text(encoding="utf-8").split("<script")[-2]
    details = content(project.root / "page.html")["details"]
    assert "datums" not in details["0"]
    counts = {"total": 9, "ran": 7, "reused": 2, "failed": 0, "not_run": 0, "failures": []}
    assert details["1"]["datums"] == counts
    failed = details["2"]["datums"]
    assert failed == {**counts, "ran": 4, "failed": 1, "not_run": 2, "failures": [[legal(HOSTILE), "exit 1"]]}
    assert "\x1b" not in failed["failures"][0][0]


def style(text):
    return re.search("<style>(.*?)</style>", text, re.DOTALL)[1]


def outer(text):
    """Returns the document without what stands in script and style elements."""
    return re.sub(r"(<(script|style)[^>]*>).*?</\2>", r"\1", text, flags=re.DOTALL)


def test_a_content_has_the_newest_result_of_each_check_with_the_reasons(project, records):
    written, rules = (
        oid("model 1"),
        [RuleOutcome(rule=f"unique: {key}", passed=key == "a", detail=HOSTILE[:-5]) for key in "abcdefgh"],
    )
    results = (
        recorded.check(written, check="ids", id=ID.format(1)),
        recorded.check(written, check="ids", id=ID.format(2), status="failed", rules=tuple(rules)),
        recorded.check(written, check="fresh", expires="2026-11-23T00:00:00.000Z"),
        recorded.check(oid("model 2")),
    )
    for one in (recorded.run(1), recorded.run(2), recorded.run(3), *results):
        records.put(one, durable=False)
    project.dvlite("runs", "--html", "page.html")
    contents = content(project.root / "page.html")["contents"]
    shown = dict(
        zip(zip(contents["run"], decoded(contents["path"]), strict=True), decoded(contents["checks"]), strict=True)
    )
    fresh, ids = shown[2, "model.pt"]
    assert (fresh[:2], ids[:2]) == (["fresh", "expired"], ["ids", "failed"])
    assert (len(ids[2]), ids[2][0]) == (5, f"unique: b: {legal(HOSTILE[:-5])}")
    assert (shown[1, "model.pt"], shown[0, "model.pt"]) == ([["good", "passed", []]], None)


def test_series_are_thinned_and_a_value_that_is_not_finite_is_a_gap(project, records, monkeypatch):
    records.put(recorded.run(1))
    values = array("d", [0.5]) * 100_000
    values[4321], values[0] = 9.0, float("nan")
    steps = array("q", range(100_000))
    whole = Series("loss", steps, values, array("d", steps))
    monkeypatch.setattr(
        verb, "_series", lambda *_: {0: SeriesFile({"log.jsonl:loss": whole}, ("line 3: it is not JSON",))}
    )
    repo = open_repo(project.root, os.environ)
    file = str(project.root / "page.html")
    verb.view(repo, RunsOptions(), file, write=runs_page.write, now_ns=time.time_ns(), progress=NullProgress())
    page = content(file)
    assert page["unread"] == {"0": ["line 3: it is not JSON"]}
    (series,) = page["series"]
    assert (series["name"], series["run"], series["points"]) == ("log.jsonl:loss", 0, 100_000)
    assert len(series["values"]) == len(series["steps"]) == len(series["times"]) <= 2000
    assert series["values"][0] is None
    assert 9.0 in series["values"]


def test_curves_and_logs_of_runs_that_no_commit_names_come_from_the_remote(project, tmp_path):
    project.write(
        "dvlite.yaml",
        "stages: {s: {cmd: 'echo said; echo {\\\"a\\\": 0.$RANDOM} > l.jsonl', metrics: [l.jsonl], always: true}}\n",
    )
    project.dvlite("remote", "add", tmp_path / "store")
    for _ in range(2):
        project.dvlite("repro", "-q")
    project.commit("A pipeline, and the second run")
    project.dvlite("push")
    shutil.rmtree(project.root / ".git" / "dvlite" / "cache")
    assert project.json("view")["absent"] == 3  # what is said is the same
    assert "dvlite view --fetch" in project.dvlite("view").stdout
    project.dvlite("remote", "remove", "origin")
    assert "no remote" in project.dvlite("view", "--fetch", code=2).stderr
    project.dvlite("remote", "add", tmp_path / "store")
    assert project.json("view", "--fetch")["absent"] == 0
    page = content(project.root / ".git" / "dvlite" / "view" / "runs.html")
    assert (page["unread"], sorted(series["run"] for series in page["series"])) == ({}, [0, 1])
    assert {detail["log"]["text"] for detail in page["details"].values()} == {"said\n"}


def test_the_page_opens_in_the_users_browser(project, records, monkeypatch, tmp_path):
    records.put(recorded.run(1))
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" >"$0.opened"\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    assert project.json("view")["opened"] is True
    opened = (tmp_path / "browser.opened").read_text().strip()
    assert opened == (project.root / ".git" / "dvlite" / "view" / "runs.html").as_uri()
    for variable in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    assert "No browser opens here" in project.dvlite("runs", "--html", "p.html", "--open").stdout


@pytest.mark.parametrize("args", [("--open",), ("--html", "."), ("--html", "p.html", "--csv"), ("--html", "x/")])
def test_what_cannot_be_a_page_is_refused(project, records, args):
    records.put(recorded.run(1))
    assert "error: " in project.dvlite("runs", *args, code=2).stderr


def test_without_a_run_the_page_says_so(project):
    assert project.json("runs", "--html", "page.html")["runs"] == 0
    assert content(project.root / "page.html")["fields"]["name"] == {"v": []}


# --- what `make web` builds


def test_the_built_program_is_small_ends_no_element_and_names_its_licences():
    script, sheet = ((REPORTS / name).read_text(encoding="utf-8") for name in (runs_page.SCRIPT, runs_page.STYLE))
    assert len(script) + len(sheet) < 150_000
    assert not re.search("</(script|style)|<!--", script + sheet, re.IGNORECASE)
    locked = json.loads((PROJECT / "web" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for package in ("preact", "@preact/signals", "@preact/signals-core", "uplot"):
        assert f"\n{package} {locked[f'node_modules/{package}']['version']}\n" in script
    assert script.count("Permission is hereby granted") == 4


def test_the_program_writes_text_and_no_markup():
    source = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "web" / "src").glob("*.ts*"))
    assert source
    assert not re.findall(
        r"\w*(?:innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|import\()", source, re.IGNORECASE
    )


@pytest.mark.long
def test_the_program_is_what_make_web_builds_from_its_source(tmp_path):
    web = PROJECT / "web"
    if shutil.which("node") is None or not (web / "node_modules" / "esbuild").is_dir():
        pytest.skip("node and the packages of web/ are not there: make web installs these")
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=web, check=True)
    for built in (runs_page.SCRIPT, runs_page.STYLE):
        assert (tmp_path / built).read_bytes() == (REPORTS / built).read_bytes()
