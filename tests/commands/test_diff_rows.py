"""`dvlite diff --rows` and merges of tables, as a person uses them."""

import csv
import io
import shutil
import sys

import pytest

from tests.commands.merging import Merging

BIRDS = "id,name,mass\n1,wren,9.0\n2,robin,18.0\n3,gull,900\n"
EDITED = "id,name,mass\n1,wren,9.5\n2,robin,18.0\n4,tit,11\n"


@pytest.fixture
def birds(prepared):
    def build(project):
        project.write("data/birds.csv", BIRDS)
        project.write("data/a.bin", "a")
        project.write("dvlite.yaml", "tables:\n  data/*.csv: id\n")
        project.dvlite("add", "data")
        project.commit("Birds")
        project.dvlite("push")

    return prepared("birds", build)


@pytest.fixture
def engine():
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def test_without_the_engine_the_message_is_what_to_install(birds, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    birds.write("data/birds.csv", EDITED)
    said = birds.dvlite("diff", "--rows", "data/birds.csv", code=2).stderr
    assert "hint: pip install 'dvlite[tables]'" in said
    said = birds.dvlite("diff", "--key", "id", code=2).stderr
    assert "--key, --columns and --limit are for --rows" in said


@pytest.mark.long
def test_rows_of_the_workspace_of_revisions_and_of_a_folder(birds, engine):
    assert "No row of data/birds.csv differs" in birds.dvlite("diff", "--rows", "data/birds.csv").stdout
    birds.write("data/birds.csv", EDITED)
    birds.write("data/a.bin", "b")
    lines = birds.dvlite("diff", "--rows", "data/birds.csv").stdout.splitlines()
    assert lines == [
        "data/birds.csv  +1 -1 ~1 rows  (by id)",
        "  ~ id=1  mass: 9.0 -> 9.5",
        "  - id=3  name=gull, mass=900",
        "  + id=4  name=tit, mass=11",
    ]
    birds.dvlite("add", "data")
    birds.commit("Edit")
    found = birds.json("diff", "--rows", "data", "HEAD~1", "HEAD", "--limit", "1", "--exit-code", code=1)
    (diff,) = found["paths"][0]["tables"]
    assert (found["others"], diff["key_from"], diff["added"], len(diff["rows"])) == (1, "declared", 1, 1)
    assert "all with --limit 0" in birds.dvlite("diff", "--rows", "data", "HEAD~1", "--limit", "1").stdout
    assert "is not a table" in birds.dvlite("diff", "--rows", "data/a.bin", "HEAD~1", code=2).stderr
    birds.write("data/birds.csv", "id\n1,2,3\n")
    assert "cannot compare the rows of 'data/birds.csv'" in birds.dvlite("diff", "--rows", "data", code=1).stderr


@pytest.mark.long
def test_a_version_that_is_not_in_the_cache_is_fetched(birds, engine):
    birds.write("data/birds.csv", EDITED)
    shutil.rmtree(birds.cache)
    assert "~ id=1" in birds.dvlite("diff", "--rows", "data/birds.csv").stdout


def branches(project, ours, theirs):
    """Makes a branch `other` with one version of the table, and the other version on main."""
    project.git("checkout", "-qb", "other")
    project.write("data/birds.csv", theirs)
    project.dvlite("add", "data")
    project.commit("Theirs")
    project.git("checkout", "-q", "main")
    project.dvlite("checkout")
    project.write("data/birds.csv", ours)
    project.dvlite("add", "data")
    project.commit("Ours")


@pytest.fixture
def merging(birds, engine, on_path, invoke):
    return Merging(birds.root, invoke)


@pytest.mark.long
def test_git_merges_the_rows_of_a_table_in_a_tracked_folder(merging):
    branches(merging, BIRDS.replace("wren", "Wren"), EDITED)
    code, said = merging.try_git("merge", "-q", "other")
    assert code == 0, said
    merging.dvlite("checkout")
    assert merging.read("data/birds.csv").decode() == "id,name,mass\n1,Wren,9.5\n2,robin,18.0\n4,tit,11\n"
    assert merging.is_clean()
    assert not merging.has("data.conflicts.csv")


@pytest.mark.long
def test_cells_in_conflict_are_listed_and_settled_row_by_row(merging):
    branches(merging, BIRDS.replace("9.0", "=8").replace("gull", "Gull"), EDITED)
    code, said = merging.try_git("merge", "other")
    assert code == 1
    assert "cannot merge 'data': 2 cells changed on both sides: birds.csv" in said
    rows = list(csv.DictReader(io.StringIO(merging.read("data.conflicts.csv").decode())))
    assert [(row["file"], row["key"], row["column"], row["ours"], row["theirs"], row["reason"]) for row in rows] == [
        ("birds.csv", "1", "mass", "'=8", "9.5", "changed on both sides"),  # not run by a spreadsheet
        ("birds.csv", "3", "", "", "", "removed by theirs"),
    ]
    said = merging.dvlite("resolve", "data", "--ours", "--row", "7", code=2).stderr
    assert "no row '7' of 'data' is in conflict\nhint: rows in conflict: 1, 3" in said
    assert "1 cell changed" in merging.dvlite("resolve", "data", "--ours", "--row", "1", code=1).stdout
    listed = merging.read("data.conflicts.csv").decode()
    assert listed.count(",ours\n") == 1
    merging.write("data.conflicts.csv", listed.replace("removed by theirs,", "removed by theirs,both"))
    assert "'both' under 'take'" in merging.dvlite("resolve", code=1).stderr
    merging.write("data.conflicts.csv", listed.replace("removed by theirs,", "removed by theirs,theirs"))
    merging.dvlite("resolve")
    merging.git("commit", "-qm", "Merge")
    merging.dvlite("checkout")
    assert merging.read("data/birds.csv").decode() == "id,name,mass\n1,wren,=8\n2,robin,18.0\n4,tit,11\n"
    assert merging.is_clean()


@pytest.mark.long
def test_a_merge_downloads_no_more_than_it_may_and_resolve_does(merging):
    branches(merging, BIRDS.replace("wren", "Wren"), EDITED)
    merging.dvlite("push", "--all-branches")
    shutil.rmtree(merging.cache)
    merging.dvlite("config", "--user", "hooks.fetch_limit", "10B")
    code, said = merging.try_git("merge", "other")
    assert code == 1
    assert "to download is more than hooks.fetch_limit; dvlite resolve data)" in said
    assert not merging.has("data.conflicts.csv")
    merging.dvlite("resolve", "data")
    merging.dvlite("checkout")
    assert b"1,Wren,9.5" in merging.read("data/birds.csv")


@pytest.mark.long
def test_without_a_key_a_table_is_a_file(merging):
    merging.write("dvlite.yaml", "tables:\n  data/*.csv: {ignore: mass}\n")
    merging.commit("No key")
    branches(merging, BIRDS.replace("wren", "Wren"), EDITED)
    code, said = merging.try_git("merge", "other")
    assert code == 1
    assert "cannot merge 'data': changed on both sides: birds.csv" in said


@pytest.mark.long
def test_the_list_of_conflicts_overwrites_no_other_file(merging):
    branches(merging, BIRDS.replace("9.0", "8"), EDITED)
    merging.write("data.conflicts.csv", "mine\n")
    code, said = merging.try_git("merge", "other")
    assert code == 1
    assert "cannot list the cells in conflict in 'data.conflicts.csv': another file has that name" in said
    assert merging.read("data.conflicts.csv") == b"mine\n"
    merging.dvlite("resolve", "data", "--theirs")
    assert merging.read("data.conflicts.csv") == b"mine\n"


@pytest.mark.long
def test_log_p_shows_the_rows_that_each_version_changed_and_fetches_nothing(birds, engine):
    birds.write("data/birds.csv", EDITED)
    birds.write("data/a.bin", "b")
    birds.dvlite("add", "data")
    birds.commit("Edit")
    lines = birds.dvlite("log", "-p", "data", "--limit", "2").stdout.splitlines()
    assert [line for line in lines if line.startswith(" ")] == [
        "  data/birds.csv  +1 -1 ~1 rows  (by id)",
        "    ~ id=1  mass: 9.0 -> 9.5",
        "    - id=3  name=gull, mass=900",
        "    1 more row; all with --limit 0",
        "  ~ a.bin  1 B",
    ]
    said = birds.dvlite("diff", "HEAD~1", "HEAD", "--md").stdout
    assert "### Rows: 1 table changed" in said
    assert "| `data/birds.csv` | id | 1 | 1 | 1 | mass 1 |" in said
    assert "| \\~ | 1 | mass | `9.0` | `9.5` |" in said
    (newer, older) = birds.json("log", "-p", "data/birds.csv")["versions"]
    assert (newer["changes"]["rows"][0]["tables"][0]["added"], older["changes"]) == (1, None)
    assert "--limit is for -p" in birds.dvlite("log", "data", "--limit", "2", code=2).stderr
    birds.dvlite("push")
    shutil.rmtree(birds.cache)
    assert "### Rows" not in birds.dvlite("diff", "HEAD~1", "HEAD", "--md").stdout
    said = birds.dvlite("log", "-p", "data/birds.csv").stdout
    assert "not all of its data is in the cache: dvlite fetch --all-commits data/birds.csv" in said
    birds.dvlite("fetch", "--all-commits", "data/birds.csv")
    assert "~ id=1" in birds.dvlite("log", "-p", "data/birds.csv").stdout


def test_log_p_without_the_engine_shows_files(birds, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    birds.write("data/birds.csv", EDITED)
    birds.dvlite("add", "data")
    birds.commit("Edit")
    said = birds.dvlite("log", "-p", "data").stdout
    assert "### Rows" not in birds.dvlite("diff", "HEAD~1", "HEAD", "--md").stdout
    assert "\n  ~ birds.csv  " in said
    assert "\n  rows are not compared: pip install 'dvlite[tables]'" in said


@pytest.mark.long
def test_a_checkout_removes_the_list_of_a_merge_that_is_over(merging):
    branches(merging, BIRDS.replace("9.0", "8"), EDITED)
    merging.try_git("merge", "other")
    merging.dvlite("checkout", code=3)
    assert merging.has("data.conflicts.csv")
    merging.git("merge", "--abort")
    assert "'data.conflicts.csv' was removed" in merging.dvlite("checkout").stderr
    assert merging.is_clean()
    merging.write("data.conflicts.csv", "mine\n")
    merging.dvlite("checkout")
    assert merging.read("data.conflicts.csv") == b"mine\n"
