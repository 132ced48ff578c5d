"""Which commands the walk of the hints (tests/hints.py) finds in what dvlite prints; the walk itself is `make hints`."""

import json

import pytest

from tests.hints import commands, main


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("hint: dvlite add x, or dvlite rm x", ["dvlite add x", "dvlite rm x"]),
        ("hint: run dvlite add x, then: dvlite push", ["dvlite add x; dvlite push"]),
        ("hint: dvlite rm x   or restore it: dvlite checkout", ["dvlite rm x", "dvlite checkout"]),
        (
            "hint: to have it: dvlite pull; if no remote has it: dvlite fsck --repair",
            ["dvlite pull", "dvlite fsck --repair"],
        ),
        ("hint: keep one: git rm --cached 'a, or b'", ["git rm --cached 'a, or b'"]),
        ("hint: dvlite remote add NAME URL; then dvlite push", []),
        ("hint: download it: curl -fL https://example.com/x | dvlite add - -o x", []),
        ("dvlite: if it is lost: DVLITE_ALLOW_MISSING=1 git push", ["DVLITE_ALLOW_MISSING=1 git push"]),
        ("hint: dvlite pull fetches a remote's copy", ["dvlite pull"]),
        ("hint: dvlite stage add x ... -- python script.py", []),
        ("hint: dvlite add $'a\\', or b' or c", ["dvlite add $'a\\', or b'"]),
        ("hint: give a URL that git clone takes", []),
        ("git would keep it; dvlite tracks that", []),
        ("hint: dvlite wrnog", ["dvlite wrnog"]),
        ("next: cd clone; dvlite pull", ["cd clone; dvlite pull"]),
        ("1 finding in 1 stage, 1 s     fix: rm x && git checkout -- x", ["rm x && git checkout -- x"]),
        ("Not added     (dvlite add -u, or undo: dvlite checkout x)", ["dvlite add -u", "dvlite checkout x"]),
        ("dvlite: git checkout -- x    dvlite add x", ["git checkout -- x", "dvlite add x"]),
        ('{"hint":"dvlite a\\nor: dvlite b","rows":[{"fix":"dvlite c"}]}', ["dvlite a", "dvlite b", "dvlite c"]),
        ("git help and dvlite is not initialised", []),
    ],
)
def test_commands_are_read_from_what_is_printed(said, named):
    assert commands(said) == named


def test_counts_are_printed_and_one_that_failed_fails_the_whole(tmp_path, capsys):
    rows = [
        {"argv": ["dvlite", "x"], "error": f"error: no {n}", "command": "dvlite x", "problem": n, "said": ""}
        for n in ("", "exit 2")
    ]
    (tmp_path / "good").write_text(json.dumps(rows[0]) + "\n")
    (tmp_path / "bad").write_text("".join(json.dumps(row) + "\n" for row in rows))
    codes = [main(str(tmp_path / name)) for name in ("good", "bad", "none")]
    assert codes == [0, 1, 1]
    counts = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" failed")]
    assert counts == [f"{n} hints of {n} kinds walked, {bad} failed" for n, bad in ((1, 0), (2, 1), (0, 0))]
