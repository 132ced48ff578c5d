"""Annotations: escaped so that GitHub reads back what was meant, and within its limits."""

import pytest

from dvlite.commands.verify import VerifyResult
from dvlite.reports.annotations import annotate
from dvlite.verify.findings import Finding, Unchecked
from tests.reports.samples import hostile, many, rerun


def finding(**parts):
    return Finding(**{"kind": "dep-changed", "message": "changed", "file": "a.txt", "line": 4} | parts)


def read(line):
    """Reads a line as GitHub's runner does (actions/runner, ActionCommand.TryParseV2): level, properties, message."""
    assert line.startswith("::")
    assert "\n" not in line
    head, _, message = line[2:].partition("::")
    level, _, rest = head.partition(" ")
    properties = dict(part.split("=", 1) for part in rest.split(",") if part)
    for mark, meant in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        properties = {key: value.replace(mark, meant) for key, value in properties.items()}
        message = message if mark in {"%3A", "%2C"} else message.replace(mark, meant)
    return level, properties, message


@pytest.mark.parametrize(
    ("file", "message", "line"),
    [
        ("a.txt", "changed", "::error file=a.txt,line=4,title=dvlite%3A dep-changed::changed"),
        ("a,b:c.txt", "changed", "::error file=a%2Cb%3Ac.txt,line=4,title=dvlite%3A dep-changed::changed"),
        ("a.txt", "100%, a:b", "::error file=a.txt,line=4,title=dvlite%3A dep-changed::100%25, a:b"),
        ("a%2C.txt", "x%0Ay", "::error file=a%252C.txt,line=4,title=dvlite%3A dep-changed::x%250Ay"),
        ("a.txt", "two\nlines\r\n", "::error file=a.txt,line=4,title=dvlite%3A dep-changed::two%0Alines%0A%0A"),
        ("a\nb", "x", "::error file=a\\nb,line=4,title=dvlite%3A dep-changed::x"),
        ("a.txt", "\x1b[31m\x00", "::error file=a.txt,line=4,title=dvlite%3A dep-changed::\\x1b[31m\\x00"),
    ],
)
def test_what_means_something_to_github_is_escaped(file, message, line):
    assert list(annotate(VerifyResult(findings=(finding(file=file, message=message),)))) == [line]


def test_hostile_names_are_read_back_as_one_annotation_each():
    for line in annotate(hostile()):
        level, properties, _ = read(line)
        assert level in {"error", "warning"}
        assert properties.keys() <= {"file", "line", "title"}


def test_fix_commit_and_how_often_are_told():
    found = finding(fix="dvlite push", commit="abcdef0123", also=2)
    [line] = annotate(VerifyResult(findings=(found,)))
    assert read(line)[2] == "in abcdef0: changed (and in 2 commits after it)\nfix: dvlite push"


def test_ten_are_shown_and_the_last_counts_the_rest():
    lines = list(annotate(many(25)))
    assert len(lines) == 10
    assert read(lines[8])[1]["file"] == "data/8.dvlite"
    assert read(lines[9])[1:] == (
        {"title": "16 more"},
        "16 more in 16 files; all are in the log and the job summary of this step",
    )
    assert len(list(annotate(many(10)))) == 10
    assert not any("more" in line for line in annotate(many(10)))


def test_errors_and_warnings_are_counted_apart():
    unchecked = tuple(Unchecked(what=f"{at}", why="offline") for at in range(12))
    lines = list(annotate(VerifyResult(findings=many(12).findings, unchecked=unchecked)))
    assert [read(line)[0] for line in lines] == ["error"] * 10 + ["warning"] * 10


def test_stages_that_do_not_reproduce_are_marked_where_they_are_declared():
    found = [read(line) for line in annotate(rerun())]
    assert [(level, parts["file"], parts["line"], parts["title"]) for level, parts, _ in found] == [
        ("error", "dvlite.yaml", "5", "dvlite: train different"),
        ("error", "sub/dvlite.yaml", "1", "dvlite: sub:sum failed"),
        ("warning", "dvlite.yaml", "1", "dvlite: other inconclusive"),
    ]
    assert "model.bin: byte 3 is the first that differs" in found[0][2]
