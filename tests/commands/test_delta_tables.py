"""Delta tables in tracked folders: what add, status, diff, log, get and merges make of their logs."""

import json
import os

import pytest

from dvlite.errors import UsageError
from dvlite.formats import parquet
from dvlite.workspace import delta_scan
from dvlite.workspace.scan import scan
from tests.commands.project import tree
from tests.delta import DeltaTable, add_action, schema_text


@pytest.fixture
def lake(project):
    """Returns a project that tracks `data`, with a Delta table at version 2 in `data/t`, and the table."""
    table = DeltaTable(project.root / "data/t").append("a.parquet", 100).append("p=x%20y/b.parquet", 20)
    project.dvlite("add", "data")
    project.commit("One")
    return project, table


def grow(table):
    return (
        table.append("c.parquet", 1000)
        .replace("a.parquet", "d.parquet", 97, num_copied_rows=97)
        .commit({"metaData": {"schemaString": schema_text([("id", "long"), ("zip", "integer")])}}, operation="ALTER")
    )


def test_what_the_log_does_not_name_is_no_part_of_the_table(lake):
    project, _table = lake
    project.write("data/t/half-written.parquet", "x")
    project.write("data/t/_delta_log/.commit.tmp", "x")
    assert project.json("status")["clean"]
    project.write("data/t/README.md", "about")
    found = project.json("add", "data")["paths"][0]
    assert (found["left_out"], found["counts"]["added"]) == ({"not in the Delta log": 2}, 1)
    assert found["tables"] == [{"path": "t", "format": "delta", "version": 2}]
    assert not [entry for entry in project.json("ls", "-R", "data")["entries"] if "half" in entry["path"]]
    project.commit("Notes")
    assert project.json("status")["clean"]
    project.dvlite("checkout", "--force")
    assert project.has("data/t/half-written.parquet")


TORN = {
    "a file is not there": lambda table: (table.folder / "a.parquet").unlink(),
    "a file is shorter": lambda table: (table.folder / "a.parquet").write_bytes(b""),
    "a gap": lambda table: table.log(1).unlink(),
    "a commit is cut short": lambda table: table.log(2).write_bytes(table.log(2).read_bytes()[:-9]),
    "a path leads out": lambda table: table.commit(add_action("../../../etc/passwd\x1b[31m", 1, 1)),
    "a link in the log": lambda table: (table.log(2).unlink(), table.log(2).symlink_to("00000000000000000001.json")),
    "no checkpoint": lambda table: (table.log(2).parent / "_last_checkpoint").write_text('{"version": 1}'),
}


@pytest.mark.parametrize("case", TORN)
def test_a_table_that_is_not_whole_is_refused(lake, case):
    project, table = lake
    TORN[case](table)
    before = project.read("data.dvlite")
    done = project.dvlite("add", "data", code=2)
    assert "cannot add 'data/t': " in done.stderr
    assert "\x1b" not in done.stderr
    assert project.read("data.dvlite") == before
    project.dvlite("status")
    assert "is added as it is" in project.dvlite("add", "--force", "data").stderr


def test_a_part_of_a_table_is_no_version_of_it(lake):
    project, table = lake
    table.append("c.parquet", 1)
    assert "cannot add a part of 'data/t'" in project.dvlite("add", "data/t/_delta_log", code=2).stderr
    project.dvlite("add", "data/t")
    assert project.json("status", "data")["changed"] == []


def test_status_diff_and_log_speak_of_versions(lake):
    project, table = lake
    grow(table)
    summary = "version 2 -> 5, +1,000 -3 rows, +2 -1 files"
    assert f"t: {summary}: WRITE (Append), DELETE, ALTER" in project.dvlite("status").stdout
    shown = project.dvlite("diff").stdout
    assert f"Delta table t: {summary}\n" in shown
    assert "column zip added, integer" in shown
    assert "c.parquet" not in shown
    assert "c.parquet" in project.dvlite("diff", "-v").stdout
    assert summary in project.dvlite("diff", "--stat").stdout
    assert "Delta table, version 2" in project.dvlite("diff", "HEAD", "--md").stdout
    project.dvlite("add", "data")
    project.commit("Two")
    (change,) = project.json("diff", "HEAD", "HEAD~1")["paths"][0]["tables"]
    assert (change["old_version"], change["version"], change["rows_added"], change["rows_removed"]) == (5, 2, 3, 1000)
    assert all(commit["undone"] for commit in change["commits"])
    versions = [version["table"] for version in project.json("log", "data/t")["versions"]]
    assert [(v["version"], v["rows_added"], v["rows_removed"]) for v in versions] == [(5, 1000, 3), (2, 120, 0)]
    assert "version 5, +1,000 -3 rows, WRITE (Append), DELETE, ALTER" in project.dvlite("log", "data/t").stdout


def test_get_cuts_the_log_and_takes_what_is_live(lake):
    project, table = lake
    grow(table)
    project.dvlite("add", "data")
    project.commit("Two")
    project.dvlite("get", "data/t", "--delta-version", "3", "-o", "three")
    assert {name for name, found in tree(project.root / "three").items() if found} == {
        *(f"_delta_log/{n:020}.json" for n in range(4)),
        *("a.parquet", "c.parquet", "p=x%20y/b.parquet"),
    }
    assert (
        "there is no version 9: the newest is 5"
        in project.dvlite("get", "data/t", "--delta-version", "9", "-o", "no", code=2).stderr
    )
    assert (
        "there is no Delta table 'data'"
        in project.dvlite("get", "data", "--delta-version", "1", "-o", "no", code=2).stderr
    )
    (project.root / "data/t/a.parquet").unlink()  # vacuumed
    project.dvlite("add", "data")
    assert (
        "'a.parquet' is not in it any more"
        in project.dvlite("get", "data/t", "--delta-version", "3", "-o", "no", code=2).stderr
    )
    project.dvlite("get", "HEAD:data/t", "--delta-version", "3", "-o", "again")


def test_a_clone_without_data_asks_for_logs_only(shared, tmp_path, colleague):
    table = DeltaTable(shared.root / "t").append("a.parquet", 10, os.urandom(100_000))
    shared.dvlite("add", "t")
    shared.commit("One")
    table.append("b.parquet", 5, os.urandom(100_000)).replace("a.parquet", "c.parquet", 9, num_copied_rows=9)
    shared.dvlite("add", "t")
    shared.commit("Two")
    shared.dvlite("push", "--all-commits")
    other = colleague(shared)
    other.dvlite("remote", "trust", tmp_path / "store")
    (change,) = other.json("diff", "HEAD~1", "HEAD")["paths"][0]["tables"]
    assert (change["rows_added"], change["rows_removed"], change["version"]) == (5, 1, 3)
    other.dvlite("get", "t", "--delta-version", "1", "-o", "one")
    large = [path for path in (other.root / ".git/dvlite/cache/files").rglob("*") if path.is_file()]
    assert len(large) == 1


def test_branches_that_both_wrote_are_a_conflict_of_the_table(lake):
    project, table = lake
    project.git("checkout", "-qb", "side")
    table.append("side.parquet", 1).append("side2.parquet", 1)
    project.dvlite("add", "data")
    project.commit("Side")
    project.git("checkout", "-q", "main")
    project.dvlite("checkout")
    table.version = 2
    table.append("main.parquet", 1)
    project.write("data/notes", "also")
    project.dvlite("add", "data")
    project.commit("Main")
    project.dvlite("install")
    with pytest.raises(Exception, match="git"):
        project.git("merge", "side")
    (path,) = project.json("resolve", code=1)["paths"]
    assert path["conflicts"] == [
        {"path": "data/t", "stage": None, "reason": "two histories", "cells": 0, "problem": None}
    ]
    assert "two logs cannot be mixed" in project.dvlite("resolve", "--union", code=2).stderr
    project.dvlite("resolve", "--theirs")
    project.dvlite("checkout")
    assert {path.name for path in (project.root / "data/t").iterdir()} >= {"side.parquet", "side2.parquet"}
    assert not project.has("data/t/main.parquet")
    assert project.has("data/notes")


def test_a_log_with_commits_of_two_histories_is_refused(lake):
    project, table = lake
    table.append("mine.parquet", 1).append("mine2.parquet", 1)
    project.dvlite("add", "data")
    table.log(3).write_text(json.dumps(add_action("b.parquet", 1, 1)))
    project.write("data/t/b.parquet", "x")
    assert "two histories of the table are mixed: version 3" in project.dvlite("add", "data", code=2).stderr


def test_other_tables_are_recognised(project):
    for name in (
        "ice/metadata/v1.metadata.json",
        "ice/data/x.parquet",
        "lance/_versions/1.manifest",
        "lance/data/x.lance",
    ):
        project.write(f"data/{name}", name)
    project.write("data/metadata/notes.json", "no table")
    done = project.json("add", "data")
    assert [(item["path"], item["format"]) for item in done["paths"][0]["tables"]] == [
        ("ice", "iceberg"),
        ("lance", "lance"),
    ]
    assert "Iceberg table" in done["warnings"][0]


def test_a_file_that_is_named_after_the_folder_was_listed_is_there(tmp_path, monkeypatch):
    """A writer commits between the listing of a folder and that of its log."""
    table = DeltaTable(tmp_path / "t").append("a.parquet")
    listed = os.scandir

    def writing(path):
        found = list(listed(path))
        if len(calls) < 3:
            calls.append(path)
            table.append(f"b{len(calls)}.parquet")
        return Listing(found)

    class Listing(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    calls = []
    monkeypatch.setattr(os, "scandir", writing)
    seen = delta_scan.named_only(scan(tmp_path / "t", "t", None, frozenset(), None))
    assert seen.tables[b""].absent == ()
    assert seen.tables[b""].version == 2  # as it was when its log was listed
    assert seen.left_out == {delta_scan.UNNAMED: 1}


def test_a_checkpoint_without_the_package_that_reads_it_leaves_all_files(tmp_path, monkeypatch):
    def absent():
        raise UsageError("Parquet needs the package pyarrow", hint="pip install pyarrow")

    monkeypatch.setattr(parquet, "_packages", absent)
    table = DeltaTable(tmp_path / "t").append("a.parquet")
    for version in range(2):
        table.log(version).unlink()
    (table.folder / "_delta_log/00000000000000000001.checkpoint.parquet").write_bytes(b"PAR1")
    (table.folder / "orphan.parquet").write_bytes(b"")
    seen = delta_scan.named_only(scan(tmp_path / "t", "t", None, frozenset(), None))
    assert seen.tables[b""].unread == "pip install pyarrow"
    assert b"orphan.parquet" in seen.paths
