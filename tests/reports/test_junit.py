"""The JUnit report: well formed whatever the names are, and read as what it means."""

import re
from xml.etree import ElementTree as ET

from dvlite.commands.verify import VerifyResult
from dvlite.reports.junit import junit
from dvlite.verify.findings import Finding, StageCheck, Unchecked
from tests.reports.samples import HOSTILE, hostile, many, rerun


def cases(result):
    """Returns how each case ended, by its name."""
    root = ET.fromstring(junit(result))
    return {
        case.get("name"): next((part.tag for part in case if part.tag != "system-out"), None)
        for case in root.iter("testcase")
    }


def test_each_verdict_is_a_case_that_ended_so():
    assert cases(rerun()) == {
        "prepare": None,
        "train": "failure",
        "train: model.bin": "failure",
        "train: same.txt": None,
        "train: close.json": None,
        "train: gone.txt": "failure",
        "train: new.txt": "failure",
        "sub:sum": "failure",
        "evaluate": "skipped",
        "other": "error",
        "2 tracked paths": None,
    }


def test_each_pipeline_file_is_a_suite_with_its_totals():
    root = ET.fromstring(junit(rerun()))
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in root] == [
        ("dvlite.yaml", "9", "4"),
        ("sub/dvlite.yaml", "1", "1"),
        ("tracked data", "1", "0"),
    ]
    totals = {key: int(root.get(key)) for key in ("tests", "failures", "errors", "skipped")}
    assert totals == {"tests": 11, "failures": 5, "errors": 1, "skipped": 1}
    assert totals == {key: sum(int(suite.get(key)) for suite in root) for key in totals}
    assert root.get("time") == "75.000"


def test_a_failure_tells_the_difference_and_a_failed_stage_its_log():
    root = ET.fromstring(junit(rerun()))
    by_name = {case.get("name"): case for case in root.iter("testcase")}
    failure = by_name["train: model.bin"].find("failure")
    assert failure.get("message") == "byte 3 is the first that differs"
    assert failure.text.splitlines()[-2:] == ["- 00", "+ 01"]
    assert by_name["sub:sum"].findtext("system-out") == "no"
    assert (by_name["train"].get("file"), by_name["train"].get("line"), by_name["train"].get("time")) == (
        "dvlite.yaml",
        "5",
        "60.000",
    )


def test_findings_of_a_stage_are_in_its_case_and_others_have_their_own():
    found = VerifyResult(
        findings=(
            Finding(
                kind="param-changed", message="lr is 1", file="dvlite.lock", line=7, stage="train", fix="dvlite repro"
            ),
            Finding(
                kind="not-on-remote",
                message="not on origin",
                file="data.dvlite",
                line=3,
                path="data",
                commit="abcdef0123",
            ),
        ),
        stages=(StageCheck(stage="train", verdict="finding", file="dvlite.yaml"),),
        unchecked=(Unchecked(what="the record of a run", why="offline"),),
    )
    assert cases(found) == {
        "train": "failure",
        "abcdef0: not-on-remote: data": "failure",
        "the record of a run": "error",
    }
    failure = ET.fromstring(junit(found)).find(".//failure[@type='param-changed']")
    assert failure.text == "dvlite.lock:7: lr is 1\nfix: dvlite repro"


def test_every_case_that_did_not_pass_says_why():
    unchecked = (Unchecked(what="the runs of one, two", why="--offline was given"),)
    stages = tuple(
        StageCheck(stage=name, verdict=verdict) for name, verdict in (("one", "unchecked"), ("two", "finding"))
    )
    root = ET.fromstring(junit(VerifyResult(stages=stages, unchecked=unchecked)))
    ended = [part for case in root.iter("testcase") for part in case]
    assert [part.get("message") for part in ended] == [
        "something that it needs could not be checked: see the errors",
        "its lockfile, pipeline file or a file of parameters cannot be used: see the findings",
        "the runs of one, two: --offline was given",
    ]
    assert all(part.text for part in ended)


def test_hostile_names_leave_it_well_formed_and_are_told_apart():
    document = junit(hostile())
    root = ET.fromstring(document)
    assert not re.search(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", document.decode())
    assert len({(case.get("classname"), case.get("name")) for case in root.iter("testcase")}) == len(
        list(root.iter("testcase"))
    )
    assert not [element.tag for element in root.iter() if element.tag in {"script", "img", "b"}]
    assert len([each for each in root.iter("testcase") if each.find("failure") is not None]) >= 2 * len(HOSTILE)


def test_it_is_not_cut_off():
    assert len(cases(many(3000))) == 6000
