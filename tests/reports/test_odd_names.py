"""Names that mean something to a shell, to XML, to Markdown or to GitHub, through a real `verify` into each report."""

import os
import re
from xml.etree import ElementTree as ET

import pytest

from dvlite.commands.verify import VerifyResult
from dvlite.show import Show
from dvlite.text.verify import text
from dvlite.verify.findings import StageCheck, Unchecked
from tests.reports.test_annotations import read as read_annotation
from tests.reports.test_verify_markdown import tables

NAMES = (
    "sp ace",
    "quo'te",
    'dou"ble',
    "new\nline",
    "100%0A",
    "::error::x",
    "a<b>|c",
    "\N{GRINNING FACE}",
    "\udcffd",
    "`t` *b*",
)


@pytest.fixture
def lost(project, tmp_path):
    """Returns a repository that tracks files with such names, none of which is on the remote."""
    for name in NAMES:
        (project.root / "odd").mkdir(exist_ok=True)
        (project.root / "odd" / name).write_bytes(os.fsencode(name))
    project.dvlite("add", *(f"odd/{name}" for name in NAMES))
    project.commit("Odd names")
    return project


def test_each_report_names_each_of_them_and_stays_whole(lost):
    done = lost.dvlite(
        "verify", "--remote", "--annotations", "--junit", "v.xml", "--md", "v.md", "--html", "v.html", code=1
    )
    lines = [line for line in done.stdout.splitlines() if "is not on origin" in line]
    assert len(lines) == len(NAMES)
    assert all(line.isprintable() for line in lines)
    failures = ET.fromstring(lost.read("v.xml")).iter("failure")
    assert len([each for each in failures if each.get("type") == "not-on-remote"]) == len(NAMES)
    document = lost.read("v.md").decode()
    assert tables(document)[0] == [4] * (2 + len(NAMES))
    assert lost.read("v.html").decode().count(">not-on-remote</span>") == len(NAMES)
    shown = [read_annotation(line) for line in done.stderr.splitlines() if line.startswith("::")]
    assert len(shown) == min(10, len(NAMES))
    assert {parts["file"] for _, parts, _ in shown if "file" in parts} >= {
        "odd/::error::x.dvlite",
        "odd/100%0A.dvlite",
        "odd/quo'te.dvlite",
    }


def test_a_message_with_quotes_is_printed_as_it_is():
    why = "cannot read 'it\\'s': no such file"
    checks = (StageCheck(stage="train", verdict="inconclusive", problem=why),)
    result = VerifyResult(rerun=True, stages=checks, unchecked=(Unchecked(what="'data'", why=why),))
    told = list(text(result, Show()))
    assert told[0] == f"not checked: 'data': {why}"
    assert told[1] == f"train  inconclusive  {why}"
    assert result.failure(Show()).message == f"could not check train: {why}"


def test_the_log_of_a_stage_that_failed_is_shown_as_it_was_written():
    tail = ('  File "a.py", line 1', "KeyError: 'lr'", "C:\\x\ty\x1b[2J")
    check = StageCheck(stage="train", verdict="failed", problem="exit 1", log_tail=tail)
    result = VerifyResult(rerun=True, stages=(check,))
    told = list(text(result, Show()))
    assert told[1:4] == ['  |   File "a.py", line 1', "  | KeyError: 'lr'", "  | C:\\x    y\\x1b[2J"]
    assert not re.search(r"[\x00-\x1f]", "".join(told))
    assert "\n" not in result.failure(Show()).hint
