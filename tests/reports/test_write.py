"""`verify` writes the reports that are asked for, where they belong, whatever it found; `diff --md` prints its own."""

import json
import os
from xml.etree import ElementTree as ET

import pytest

from dvlite.text.markdown import SUMMARY

MARKER = "<!-- dvlite verify -->"


def tamper(project):
    project.write("params.yaml", "lr: 0.2\n")


def test_files_are_written_and_the_result_is_still_printed(project, tmp_path):
    done = project.dvlite("verify", "--junit", "out/v.xml", "--html", tmp_path / "v.html", "--md", "out/deep/v.md")
    assert "Verified" in done.stdout
    assert ET.fromstring(project.read("out/v.xml")).get("failures") == "0"
    assert (tmp_path / "v.html").read_text().startswith("<!doctype html>")
    assert project.read("out/deep/v.md").decode().startswith(MARKER)


def test_files_are_written_too_when_something_is_found_and_replace_older_ones(project):
    project.dvlite("verify", "--junit", "v.xml", "--html", "v.html")
    tamper(project)
    project.dvlite("verify", "--junit", "v.xml", "--html", "v.html", code=1)
    assert ET.fromstring(project.read("v.xml")).get("failures") == "1"
    assert b"param-changed" in project.read("v.html")


def test_a_rerun_is_reported(project):
    project.dvlite("verify", "--rerun", "--junit", "v.xml", "--html", "v.html")
    cases = [case.get("name") for case in ET.fromstring(project.read("v.xml")).iter("testcase")]
    assert cases == ["sort", "sort: sorted.txt", "count", "count: count.txt", "3 tracked paths"]
    assert project.read("v.html").count(b"<rect ") == 2


def test_markdown_is_printed_in_place_of_the_result(project):
    for args in (("--md",), ("--md", "-")):
        done = project.dvlite("verify", *args)
        assert done.stdout.startswith(MARKER)
        assert "Verified" not in done.stdout


def test_markdown_goes_into_the_job_summary_after_what_is_there(project, tmp_path, monkeypatch):
    summary = tmp_path / "summary"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    tamper(project)
    assert "finding" in project.dvlite("verify", "--md", code=1).stdout
    assert summary.read_text().startswith(f"before\n{MARKER}\n### ❌")
    json.loads(project.dvlite("verify", "--json", "--md", code=1).stdout)
    assert summary.read_text().count(MARKER) == 2
    project.dvlite("verify", "--md", "v.md", code=1)
    project.dvlite("verify", code=1)
    assert summary.read_text().count(MARKER) == 2


def test_the_job_summary_never_grows_over_its_limit(project, tmp_path, monkeypatch):
    summary = tmp_path / "summary"
    summary.write_bytes(b"x" * (SUMMARY - 900))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    project.dvlite("verify", "--md")
    assert SUMMARY - 900 < summary.stat().st_size <= SUMMARY


def test_annotations_are_printed_in_github_actions_and_where_asked_for(project, monkeypatch):
    tamper(project)
    line = "::error file=dvlite.lock,line="
    assert line not in project.dvlite("verify", code=1).stderr
    assert line in project.dvlite("verify", "--annotations", code=1).stderr
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = project.dvlite("verify", "--json", code=1)
    assert line in done.stderr
    assert json.loads(done.stdout)["findings"]
    assert line not in project.dvlite("verify", "--no-annotations", code=1).stderr


@pytest.mark.parametrize("name", ["sorted.txt", "sort", "data"])
def test_a_path_after_md_is_not_overwritten(project, name):
    before = project.read("sorted.txt")
    done = project.dvlite("verify", "--md", name, code=2)
    assert "whose name ends in .md" in done.stderr
    assert project.read("sorted.txt") == before
    assert not project.has("sort")


def test_places_that_cannot_be_written_are_told_before_anything_runs(project):
    done = project.dvlite("verify", "--rerun", "--html", "data", code=2)
    assert "'data' is a folder" in done.stderr
    assert "running" not in done.stderr
    done = project.dvlite("verify", "--junit", "params.yaml/v.xml", code=1)
    assert "cannot write 'params.yaml/v.xml'" in done.stderr

    done = project.dvlite("verify", "--junit", "new/", code=2)
    assert "'new/' is a folder" in done.stderr
    done = project.dvlite("verify", "--html", "", code=2)
    assert "--html is empty" in done.stderr


def test_a_folder_that_takes_no_files_is_told_before_anything_runs(project):
    done = project.dvlite("verify", "--rerun", "--junit", "/proc/v.xml", code=1)
    assert "cannot write '/proc/v.xml'" in done.stderr
    assert "running" not in done.stderr


@pytest.mark.parametrize("flag", ["--junit", "--html", "--md"])
def test_each_writer_makes_the_folders_of_its_file_and_leaves_nothing_else_there(project, flag):
    project.dvlite("verify", flag, "new/deep/report.md")
    assert [path.name for path in (project.root / "new/deep").iterdir()] == ["report.md"]


def test_one_report_can_take_the_place_of_the_result(project):
    assert ET.fromstring(project.dvlite("verify", "--junit", "-").stdout).get("name") == "dvlite verify"
    assert project.dvlite("verify", "--html", "-", "--md", "v.md").stdout.startswith("<!doctype html>")
    assert not project.has("-")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--json", "--md"), "--md and --json"),
        (("--json", "--junit", "-"), "--junit and --json"),
        (("--html", "-", "--md", "-"), "--html and --md"),
    ],
)
def test_only_one_can_have_standard_output(project, args, words):
    told = project.dvlite("verify", *args, code=2).stderr
    assert f"{words} both write to standard output" in told
    assert "give a file" in told


def test_two_reports_cannot_have_one_file(project):
    done = project.dvlite("verify", "--junit", "out/v.md", "--md", "out/../out/v.md", code=2)
    assert "--junit and --md both write 'out/../out/v.md'" in done.stderr


def test_a_link_stays_a_link_and_a_pipe_a_pipe(project, tmp_path):
    project.write("real.html", "before")
    (project.root / "link.html").symlink_to("real.html")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    project.dvlite("verify", "--html", "link.html", "--junit", tmp_path / "pipe")
    assert (project.root / "link.html").is_symlink()
    assert project.read("real.html").startswith(b"<!doctype html>")
    assert (tmp_path / "pipe").is_fifo()
    assert os.read(reader, 100).startswith(b"<?xml")
    os.close(reader)


def test_a_frozen_stage_passes_and_every_report_tells_it_apart(project):
    text = project.read("dvlite.yaml").decode()
    project.write(
        "dvlite.yaml", text.replace("sort -n data/raw.txt > sorted.txt", "sort -rn data/raw.txt > sorted.txt")
    )
    project.dvlite("verify", code=1)
    project.write(
        "dvlite.yaml",
        text.replace("sort -n data/raw.txt > sorted.txt", "sort data/raw.txt > sorted.txt\n    frozen: true"),
    )
    done = project.dvlite("verify", "--junit", "v.xml", "--html", "v.html", "--md", "v.md")
    assert "Verified: 2 stages (1 frozen) and 3 tracked paths." in done.stdout
    assert [check["verdict"] for check in project.json("verify")["stages"]] == ["frozen", "ok"]
    root = ET.fromstring(project.read("v.xml"))
    assert (root.get("skipped"), root.get("failures"), root.get("errors")) == ("1", "0", "0")
    skipped = root.find(".//testcase[@name='sort']/skipped")
    assert skipped.get("message") == "frozen: not compared with its command, dependencies and parameters"
    assert "| ❄️ | `sort` | frozen |" in project.read("v.md").decode()
    shown = project.read("v.html").decode()
    assert '<g class="frozen" ' in shown
    assert '<span class="frozen">❄ frozen, not compared</span>' in shown
    assert shown.split("<h1>")[1].startswith("✓ nothing found")


def test_a_frozen_stage_whose_entry_was_edited_is_a_finding(project):
    text = project.read("dvlite.yaml").decode()
    project.write("dvlite.yaml", text.replace("  sort:\n", "  sort:\n    frozen: true\n"))
    lock = project.read("dvlite.lock").decode()
    project.write("dvlite.lock", lock.replace("sort -n data", "sort -u data"))
    assert [check["verdict"] for check in project.json("verify", code=1)["stages"]] == ["finding", "ok"]


def test_a_diff_is_printed_as_markdown(project):
    project.write("data/raw.txt", "3\n1\n2\n4\n")
    done = project.dvlite("diff", "--md", "--exit-code", code=1)
    assert done.stdout.startswith("<!-- dvlite diff -->\n### Data: 1 tracked path changed, `pointers` to `workspace`\n")
    assert "| `data/raw.txt` |  |  | 1 |  | 6 B → 8 B (+2 B) |" in done.stdout
    project.dvlite("checkout", "--force")
    assert "no change" in project.dvlite("diff", "--md", "HEAD").stdout
