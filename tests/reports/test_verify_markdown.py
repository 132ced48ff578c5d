"""Markdown reports: tables that stay tables whatever the names are, within the limits of the services."""

import re

import pytest

from dvlite.commands.verify import VerifyResult
from dvlite.reports.verify_markdown import markdown
from dvlite.show import Show
from dvlite.text import diff_markdown as words
from dvlite.text.markdown import COMMENT, SUMMARY, code, plain
from dvlite.verify.findings import StageCheck
from tests.reports.samples import HOSTILE, changes, hostile, many, rerun


def diff_markdown(result, **limits):
    return "\n".join(words.text(result, Show(), **limits)) + "\n"


def cells(line):
    """Splits a row as GitHub's renderer does: at each bar that no backslash stands before."""
    return re.split(r"(?<!\\)\|", line)[1:-1]


def tables(text):
    """Returns the tables of a document: how many cells each of their rows has."""
    found = []
    for part in text.split("\n\n"):
        rows = [line for line in part.splitlines() if line.startswith("|")]
        if rows:
            found.append([len(cells(row)) for row in rows])
    return found


def unfolded(text):
    """Returns a document without what stands in code, in blocks and in the titles of folded parts: there, nothing is markup."""
    return re.sub(
        r"<pre>[^<]*</pre>|(?<=<summary>)[^<]*(?:<!-- -->[^<]*)*(?=</summary>)|`[^`\n]*`|<code>[^<]*</code>",
        "",
        text,
        flags=re.DOTALL,
    )


@pytest.mark.parametrize(
    "text", [markdown(rerun()), markdown(hostile(), limit_bytes=SUMMARY), markdown(many(3)), diff_markdown(changes(40))]
)
def test_all_rows_of_a_table_have_the_same_cells(text):
    assert tables(text)
    for rows in tables(text):
        assert len(set(rows)) == 1


@pytest.mark.parametrize("text", [markdown(hostile(), limit_bytes=SUMMARY), diff_markdown(changes(40))])
def test_no_name_is_markup_a_link_or_calls_somebody(text):
    left = unfolded(text)
    assert set(re.findall(r"<[^>]*>", left)) <= {
        "<!-- dvlite verify -->",
        "<!-- dvlite diff -->",
        "<!-- -->",
        "<br>",
        "<details>",
        "<summary>",
        "</summary>",
        "</details>",
    }
    assert not re.search(r"@\w", left)
    assert "://" not in left.replace(r"\://", "")
    assert not re.search(r"(?<!\\)[\[\]]", left)
    assert left.count("<details>") == left.count("</details>") > 0


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_in_code_cannot_leave_it(name):
    shown = code(name)
    inside = re.fullmatch(r"`([^`|\n]+)`|<code>([^<>`|\n]+)</code>", shown)
    assert inside
    assert "\n" not in plain(name)


@pytest.mark.parametrize(
    "write", [lambda: markdown(rerun()), lambda: diff_markdown(changes()), lambda: diff_markdown(changes(0))]
)
def test_the_first_line_is_a_marker_that_is_always_the_same(write):
    assert write().splitlines()[0] in {"<!-- dvlite verify -->", "<!-- dvlite diff -->"}


@pytest.mark.parametrize("limit", [2_000, COMMENT, SUMMARY])
def test_it_keeps_to_the_limit_and_counts_what_it_leaves_out(limit):
    number = limit // 50  # a finding takes more
    findings = markdown(many(number), limit_bytes=limit)
    for text in (findings, diff_markdown(changes(number), limit_bytes=limit)):
        assert len(text.encode()) <= limit
        assert re.search(r"[\d,]+ more( \w+)? did not fit here", text)
        assert unfolded(text).count("<details>") == unfolded(text).count("</details>")
    shown = findings.count("not-on-remote")
    assert f"{number - shown:,} more findings did not fit here" in findings
    assert limit == 2_000 or "stage-0" in findings


def test_what_is_wrong_is_told_first_and_differences_are_folded():
    text = markdown(rerun())
    assert (
        text.splitlines()[1] == "### ❌ dvlite verify: train does not reproduce, sub:sum failed, 2 could not be checked"
    )
    assert text.index("`train`") < text.index("`prepare`")
    assert "<details><summary>model.bin</summary>" in text
    assert "- 00\n+ 01" in text


@pytest.mark.parametrize(
    ("result", "sign", "words"),
    [
        (VerifyResult(), "✅", "nothing found"),
        (VerifyResult(rerun=True), "✅", "every stage produced the same outputs"),
        (
            VerifyResult(rerun=True, stages=(StageCheck(stage="labels", verdict="frozen"),)),
            "✅",
            "every stage that was run produced the same outputs",
        ),
        (many(1), "❌", "1 finding"),
    ],
)
def test_the_headline_tells_the_outcome(result, sign, words):
    assert markdown(result).splitlines()[1] == f"### {sign} dvlite verify: {words}"


def test_a_diff_has_a_row_for_each_path_and_its_files_below():
    text = diff_markdown(changes(2))
    assert "### Data: 1 tracked path changed, `0000000` to `HEAD`" in text
    assert "| `data/images` | 2 |  |  |  | 10 B → 2.0 KiB (+2.0 KiB) |" in text
    assert text.count("\n- `+` ") == 2


def test_a_diff_without_changes_says_so():
    assert diff_markdown(changes(0)) == "<!-- dvlite diff -->\n### Data: no change, `0000000` to `HEAD`\n"
