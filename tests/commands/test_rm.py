"""`rm` stops tracking, and never takes away bytes that the cache does not have."""

import mmap
import os
import sys

import pytest

from tests.commands.project import fill, tree


def test_rm_removes_data_pointer_and_ignore_lines(project):
    fill(project, "some/data")
    project.dvlite("add", "some/data")
    project.commit()
    result = project.json("rm", "some/data")
    assert result["paths"] == ["some/data"]
    assert not project.has("some")  # as git: no empty folder is left
    assert "some/data" not in (project.root / ".git/info/exclude").read_text()
    assert project.git("diff", "--cached", "--name-status").split() == ["D", "some/.gitignore", "D", "some/data.dvlite"]
    project.commit()
    assert project.is_clean()
    project.git("checkout", "-q", "HEAD~1")
    project.dvlite("checkout")
    assert project.read("some/data/sub/b.txt") == b"beta"


def test_rm_cached_keeps_the_data(project):
    before = fill(project)
    project.dvlite("add", "data")
    project.commit()
    project.write("data/new.txt", "not in the cache")
    assert project.json("rm", "--cached", "data.dvlite")["kept"]
    assert {name: entry for name, entry in tree(project.root / "data").items() if name != "new.txt"} == before
    assert project.tracked() == []
    assert "data/" in project.git("status", "--porcelain")


def test_a_byte_that_is_not_in_the_cache_stops_everything(project):
    fill(project)
    project.write("model.pt", b"m" * 100_000)
    project.dvlite("add", "data", "model.pt")
    project.commit()
    project.write("data/sub/new.txt", "only here")
    before = tree(project.root / "data")
    done = project.dvlite("rm", "model.pt", "data", code=1)
    assert "'data/sub/new.txt'" in done.stderr
    assert "dvlite rm --cached data\n" in done.stderr
    assert project.has("model.pt")
    assert tree(project.root / "data") == before
    assert project.git("status", "--porcelain") == ""


def test_a_folder_stands_for_all_below_it(project):
    for name in ("in/a", "in/b", "out"):
        project.write(name, name)
    project.dvlite("add", "in/a", "in/b", "out")
    project.commit()
    assert project.json("rm", "in")["paths"] == ["in/a", "in/b"]
    assert project.tracked() == ["out"]


def test_rm_of_what_is_not_here_removes_the_pointer(project):
    fill(project)
    project.dvlite("add", "data")
    project.commit()
    (project.root / "data").rename(project.root.parent / "elsewhere")
    project.dvlite("rm", "data")
    assert project.tracked() == []


def test_a_version_that_was_never_committed_can_be_got_back(project):
    before = fill(project)
    project.dvlite("add", "data")
    done = project.dvlite("rm", "data")
    pointer = done.stderr.partition("dvlite get ")[2].split()[0]
    project.dvlite("get", pointer, "-o", "back")
    assert tree(project.root / "back") == before


def test_no_stage_leaves_git_alone(project):
    project.write("x", "x")
    project.dvlite("add", "x")
    project.commit()
    assert project.json("rm", "x", "--no-stage")["unstaged"] == ["x.dvlite", ".gitignore"]
    assert project.git("diff", "--cached", "--name-only") == ""


def test_files_that_dvlite_leaves_out_stay(project):
    fill(project)
    project.write("data/sub/.DS_Store", "junk")
    project.dvlite("add", "data")
    project.commit()
    assert "leaves out" in project.dvlite("rm", "data").stderr
    assert list(tree(project.root / "data")) == ["sub", "sub/.DS_Store"]


@pytest.mark.parametrize("path", ["data/sub", "nothing", "../outside"])
def test_what_is_no_tracked_path_is_refused(project, path):
    fill(project)
    project.dvlite("add", "data")
    assert "error: " in project.dvlite("rm", path, code=2).stderr
    assert project.has("data/sub/b.txt")


def test_nothing_is_removed_if_an_ignore_file_cannot_be_changed(project):
    project.write("x.bin", "1")
    project.dvlite("add", "x.bin")
    os.rename(project.root / ".gitignore", project.root / "elsewhere")
    os.symlink("elsewhere", project.root / ".gitignore")
    project.dvlite("rm", "x.bin", code=1)
    assert project.has("x.bin")
    assert project.has("x.bin.dvlite")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says who writes")
def test_bytes_written_through_a_mapping_are_not_removed(project):
    place = project.write("big", bytes(200_000))
    with open(place, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0] = 1
        project.dvlite("add", "big")
        mapped[0] = 2
        assert project.json("status")["changed"]
        project.dvlite("rm", "big", code=1)
    assert place.read_bytes()[0] == 2
