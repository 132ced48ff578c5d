"""A remote describes itself: what was pushed can be listed and copied out without git."""

import shutil

import pytest

from tests.commands.project import Project, fill, tree


@pytest.fixture
def outside(prepared, tmp_path, invoke):
    """A folder that is no repository, beside a remote with two snapshots whose repository is gone but for its data."""

    def build(project):
        fill(project, "in/data")
        project.write("model.pt", b"m" * 100_000)
        project.dvlite("add", "in/data", "model.pt")
        project.commit("First")
        project.dvlite("push")
        project.write("model.pt", b"n" * 100_000)
        project.dvlite("add", "-u")
        project.dvlite("push", "model.pt")

    shutil.rmtree(prepared("two-snapshots", build).root / ".git")
    (tmp_path / "outside").mkdir()
    return Project(tmp_path / "outside", invoke)


def snapshot_of(outside, store, count):
    found = outside.json("ls", "--remote", store)["snapshots"]
    return next(entry for entry in found if entry["count"] == count)


def test_snapshots_are_listed_and_copied_out(outside, tmp_path):
    store = str(tmp_path / "store")
    lines = outside.dvlite("ls", "--remote", store).stdout.splitlines()
    assert len(lines) == 2
    both, one = snapshot_of(outside, store, 2), snapshot_of(outside, store, 1)
    assert len(both["commit"]) == 40
    assert one["commit"] == ""  # no commit names exactly this
    inside = outside.json("ls", "--remote", store, both["snapshot"][:8])["entries"]
    assert [(entry["path"], entry["kind"]) for entry in inside] == [("in/data", "directory"), ("model.pt", "file")]
    outside.dvlite("get", "--remote", store, f"{both['snapshot'][:8]}:in/data", "-o", "here")
    assert tree(outside.root / "here") == tree(tmp_path / "repo" / "in/data")
    outside.dvlite("get", "--remote", store, f"{one['snapshot'][:8]}:model.pt")
    assert outside.read("model.pt") == b"n" * 100_000
    outside.dvlite("get", "--remote", store, both["snapshot"], "-o", "all")
    assert outside.read("all/model.pt") == b"m" * 100_000
    outside.dvlite("get", "--remote", store, f"{both['snapshot']}:in/data/sub/b.txt", "-o", "b")
    assert outside.read("b") == b"beta"


@pytest.mark.parametrize("name", ["abc", "0123456789", "../x"])
def test_a_name_of_no_snapshot_is_refused_with_the_way_to_one(outside, tmp_path, name):
    done = outside.dvlite("get", "--remote", tmp_path / "store", name, "-o", "x", code=2)
    assert "dvlite ls --remote" in done.stderr


def test_an_empty_remote_lists_nothing_with_an_error(outside, tmp_path):
    (tmp_path / "empty").mkdir()
    done = outside.dvlite("ls", "--remote", tmp_path / "empty", code=1)
    assert "is empty or not there" in done.stderr
