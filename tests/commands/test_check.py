"""Checks of data: made once for each content, kept as records that travel, and asked by pushes, merges and verify."""

import json

import pytest

import dvlite
from tests.commands.hooked import said

LOOK = (
    'echo looked >> "${RAN:-/dev/null}"\ngrep -q bad data/one.txt && printf "it is \\033[31mbad\\n" && exit 1\nexit 0\n'
)
CHECKS = "checks:\n  good: {path: data, cmd: sh look.sh, deps: [look.sh]}\n"


def declare(project, text=CHECKS):
    project.write("look.sh", LOOK)
    project.write("dvlite.yaml", text)


@pytest.fixture
def declared(tracked, tmp_path, monkeypatch):
    """A repository with three files in `data`, and a check that was never made."""
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    tracked.write("data/one.txt", "one")
    declare(tracked)
    return tracked


@pytest.fixture
def checked(team, tmp_path, monkeypatch):
    """The repository with hooks, its data checked, pushed."""
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    declare(team)
    team.dvlite("check")
    team.save("Check data")
    team.does("push", "-q")
    return team


def times_looked(tmp_path):
    return (tmp_path / "ran").read_text().count("looked")


def test_a_result_is_made_once_for_each_content_and_check(declared, tmp_path):
    assert "good  passed  data " in declared.dvlite("check").stdout
    declared.write("data/one.txt", "other")
    assert declared.json("check")["checks"][0]["ran"]  # of what is on disk, added or not
    declared.write("data/one.txt", "one")
    (known,) = declared.json("check", "data/b")["checks"]  # a path that it reads
    assert (known["state"], known["ran"], known["path"], known["line"]) == ("passed", False, "data", 2)
    assert times_looked(tmp_path) == 2
    assert dvlite.Repo(declared.root).check(force=True).checks[0].ran
    declare(declared, CHECKS.replace("good", "renamed").replace("}", ", on: ci}"))  # the same demand
    declared.dvlite("check")
    assert times_looked(tmp_path) == 3
    declared.write("look.sh", LOOK + "# more\n")
    assert declared.json("check", "-n", code=3)["checks"][0]["state"] == "not checked"


def test_a_failure_is_explained_and_made_again(declared, tmp_path):
    declared.write("data/one.txt", "bad")
    done = declared.dvlite("check", code=1)
    assert done.stdout.splitlines()[1].strip() == "cmd: it is \\x1b[31mbad (exit 1)"
    assert done.stdout.splitlines()[2].startswith("1 check: 1 failed. ")
    declared.dvlite("check", "good", code=1)
    assert times_looked(tmp_path) == 2
    declare(declared, CHECKS.replace("}", ", on: {ci: warn}}"))  # a failure that only warns
    assert "; it only warns" in declared.dvlite("check").stdout


def test_a_push_waits_for_a_result(checked, tmp_path):
    checked.write("data/one.txt", "bad")
    checked.save("Bad")
    refused = said(checked.refuses("push"))
    assert refused[0].startswith("blocked: 'data' ")
    assert refused[0].endswith(" has no result of the check good")
    checked.dvlite("check", code=1)
    assert "it is \\x1b[31mbad (exit 1)" in said(checked.refuses("push"))[0]
    done = checked.dvlite("push", code=1)
    assert "nothing is pushed: 'data' " in done.stderr
    (found,) = checked.json("verify", code=1)["findings"]
    assert (found["kind"], found["fix"]) == ("check-failed", "correct data, then: dvlite check good")
    checked.write("data/one.txt", "fine")
    checked.save("Good")
    assert "has no result" in checked.dvlite("push", "--rev", "HEAD", code=1).stderr
    checked.dvlite("check")
    checked.does("push", "-q")
    shown = checked.dvlite("log", "data").stdout
    assert [line.count("1 passed") + 2 * line.count("failed: good") for line in shown.splitlines()] == [0, 1, 2, 1]
    checked.write("code.py", "1")
    declare(checked, CHECKS.replace("sh look.sh", "sh ./look.sh"))
    checked.save("Code alone")
    checked.does("push", "-q")  # brings no data that the check reads


def test_a_clone_without_data_knows_the_result(checked, colleague, tmp_path, monkeypatch):
    clone = colleague(checked)
    assert "no result is here" in clone.json("verify", "--offline", code=3)["unchecked"][0]["why"]
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    assert "checked before, and passed: good on data at " in clone.dvlite("verify").stdout
    (verdict,) = clone.json("verify", "--rev", "HEAD", "--offline")["checks"]
    assert (verdict["state"], verdict["on"], clone.has("data")) == ("passed", {"ci": "block"}, False)
    assert clone.json("check")["checks"][0]["state"] == "passed"
    assert times_looked(tmp_path) == 1
    clone.write("look.sh", LOOK + "# more\n")
    assert clone.json("verify", code=1)["findings"][0]["kind"] == "check-missing"
    assert "'data' is not here" in clone.dvlite("check", code=3).stderr
    clone.dvlite("verify", "--junit", "v.xml", "--md", "v.md", "--html", "v.html", code=1)
    assert b"<code>good</code></td><td>" in clone.read("v.html")
    assert b'name="check good: data"' in clone.read("v.xml")
    assert b"not checked" in clone.read("v.md")
    clone.write("dvlite.yaml", CHECKS.replace("}", ", on: {ci: warn}}"))
    assert "warning: 'data' " in clone.dvlite("verify").stderr


def test_the_commit_of_a_merge_waits_for_a_result(checked):
    checked.git("checkout", "-q", "-b", "topic")
    checked.write("data/new.txt", "theirs")
    checked.save("Theirs")
    checked.git("checkout", "-q", "main")
    checked.write("data/three.txt", "ours")
    checked.save("Ours")
    refused = said(checked.refuses("merge", "-q", "topic"))
    assert refused[0].startswith("blocked: the merge is not committed: 'data' ")
    assert "dvlite checkout data && dvlite check good && git commit --no-edit" in refused[1]
    assert said(checked.refuses("commit", "-q", "--no-edit"))[1:] == refused
    checked.dvlite("checkout", "data")
    checked.dvlite("check", "good")
    checked.does("commit", "-q", "--no-edit")
    assert len(checked.git("log", "-1", "--format=%P").split()) == 2
    assert checked.dvlite("verify")


def test_reports_have_each_check(declared):
    text = CHECKS + "  other: {path: look.sh, cmd: 'false', on: {push: warn}}\n  gone: {path: gone.csv, cmd: 'true'}\n"
    declare(declared, text)
    declared.dvlite("check", "--junit", "c.xml", "--md", "c.md", code=3)
    xml = declared.read("c.xml").decode()
    assert (xml.count("<testcase"), xml.count("<error"), xml.count("<skipped"), xml.count("<failure")) == (3, 1, 1, 0)
    lines = declared.read("c.md").decode().splitlines()
    assert lines[1] == "### ⚠️ dvlite check: 2 checks of 3 not passed"
    assert any(line.startswith("| ❌ | `other` | failed (only warns)") for line in lines)
    assert declared.dvlite("check", "--md", code=3).stdout.startswith("<!-- dvlite check -->")


def test_what_cannot_be_meant(project):
    assert "there are no checks here" in project.dvlite("check", code=2).stderr
    declare(project)
    assert "no check is called 'nothing'" in project.dvlite("check", "nothing", code=2).stderr
    project.write("dvlite.yaml", "checks: {a: {path: x}}\n")
    assert "a check that demands nothing" in project.dvlite("check", code=1).stderr
    assert json.loads(project.dvlite("verify", "--json", code=1).stdout)["findings"][0]["kind"] == "pipeline-malformed"


def test_a_table_behind_a_link_out_of_the_repository_is_not_read(project, tmp_path):
    """Its cells would be printed, and pushed with the result."""
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.csv").write_text("id\nsecret\n")
    (project.root / "file.csv").symlink_to(tmp_path / "outside" / "secret.csv")
    (project.root / "folder").symlink_to(tmp_path / "outside")
    project.write("table.csv", "id\nsecret\n")
    (project.root / "inside.csv").symlink_to("table.csv")
    names = ("file.csv", "folder/secret.csv", "'f*.csv'", "inside.csv")
    lines = (f"  c{i}: {{path: {name}, allowed: {{id: [x]}}}}\n" for i, name in enumerate(names))
    project.write("dvlite.yaml", "checks:\n" + "".join(lines))
    checks = project.json("check", code=None)["checks"]
    assert [check["state"] for check in checks] == ["unknown", "unknown", "unknown", "failed"]
    assert all("leads out of the repository" in check["problems"][0] for check in checks[:3])


def test_data_that_changes_while_it_is_checked_has_no_result(project):
    project.write("x.csv", "a\n1\n")
    project.write("dvlite.yaml", "checks: {a: {path: x.csv, cmd: echo 2 >> x.csv}}\n")
    assert "changed while a ran" in project.dvlite("check", code=3).stderr
    assert project.json("check", "-n", code=3)["checks"][0]["state"] == "not checked"


SHOP = """\
checks:
  sales:
    path: sales.csv
    columns: {id: integer, shop: text, price: number}
    unique: id
    references: {shop: {path: shops.csv, column: name}}
    drift: {against: v1, changed: 5%, mean: 10%, quantile: 20%}
"""


@pytest.mark.long
def test_rules_of_tables_and_drift_from_a_revision(shared):
    pytest.importorskip("duckdb", reason="the table engine is not installed: pip install 'dvlite[tables]'")
    rows = [f"{number},{'ab'[number % 2]},{number % 10}" for number in range(100)]

    def put(rows):
        shared.write("sales.csv", "id,shop,price\n" + "\n".join(rows) + "\n")
        shared.dvlite("add", "-q", "sales.csv")

    put(rows)
    shared.write("shops.csv", "name\na\nb\n")
    shared.write("dvlite.yaml", SHOP)
    shared.commit("Sales")
    shared.git("tag", "v1")
    assert shared.json("check")["checks"][0]["state"] == "passed"
    put([*rows[:90], *(row.replace(",", ",a,", 1).rsplit(",", 2)[0] + ",90" for row in rows[90:])])
    (found,) = shared.json("check", code=1)["checks"]
    drifted = (
        "drift from v1: 10.00% of the rows are not in v1, at most 5.00% may differ;"
        " the mean of price moved by 190.0% from v1: 4.5 -> 13.05;"
        " the 95% quantile of price moved by 900.0% of its width from v1"
    )
    assert found["problems"] == [drifted]
    put([*rows, "100,c,5"])
    (found,) = shared.json("check", code=1)["checks"]
    assert found["problems"] == ["references: shop: 1 of 101 rows are not in shops.csv: c"]
    shared.write("shops.csv", "name\na\nb\nc\n")
    (found,) = shared.json("check")["checks"]  # the other table is part of what was checked
    assert (found["state"], found["ran"]) == ("passed", True)
    assert shared.json("check")["checks"][0]["ran"] is False
    shared.write("dvlite.yaml", SHOP.replace("v1", "v0"))
    assert "v0" in shared.dvlite("check", code=3).stderr
