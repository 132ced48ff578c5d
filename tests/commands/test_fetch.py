"""`dvlite fetch`: data comes into the cache; the work tree stays as it is."""

import shutil

import pytest

from tests.commands.project import fill, tree


@pytest.fixture
def clone(prepared, colleague, monkeypatch, tmp_path):
    """Returns a clone without data of a repository with two paths, pushed; and the repository."""

    def build(project):
        fill(project)
        project.write("model.pt", b"m" * 100_000)
        project.dvlite("add", "data", "model.pt")
        project.commit("Add data")
        project.dvlite("push")

    pushed = prepared("two-pushed-paths", build)
    made = colleague(pushed)
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    return made, pushed


def test_what_was_fetched_is_checked_out_without_the_remote(clone, tmp_path):
    made, origin = clone
    made.dvlite("fetch")
    assert not made.has("data")
    assert not made.has("model.pt")
    shutil.rmtree(tmp_path / "store")
    made.dvlite("checkout")
    assert tree(made.root / "data") == tree(origin.root / "data")
    assert made.read("model.pt") == origin.read("model.pt")


def test_a_second_fetch_brings_no_file(clone):
    made, _ = clone
    assert made.json("fetch")["files"] > 0
    assert made.json("fetch")["files"] == 0


def test_a_part_comes_alone(clone):
    made, origin = clone
    made.dvlite("fetch", "data/sub")
    made.dvlite("checkout", "data/sub")
    assert tree(made.root / "data" / "sub") == tree(origin.root / "data" / "sub")
    made.dvlite("checkout", "model.pt", code=12)
    assert not made.has("model.pt")


def test_an_edit_stays(clone):
    made, _ = clone
    made.write("model.pt", "an edit")
    made.dvlite("fetch")
    assert made.read("model.pt") == b"an edit"
