"""`mv` moves a tracked path whole, and loses nothing wherever it is killed."""

import os
import shutil

import pytest

from dvlite.commands import mv as module
from dvlite.commands.mv import mv
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from dvlite.workspace import hashing
from tests.commands.project import fill, tree


def no_reading(monkeypatch):
    def refuse(*_):
        raise AssertionError("a file was read")

    monkeypatch.setattr(hashing.HashOnly, "small", refuse)
    monkeypatch.setattr(hashing.HashOnly, "large", refuse)


def settle():
    """Waits until no time of a file is racy any more."""
    import time

    time.sleep(0.05)


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_mv_takes_everything_along(project, kind, monkeypatch):
    if kind == "directory":
        fill(project, "in/data")
    else:
        project.write("in/data", os.urandom(200_000)).chmod(0o755)
    settle()
    project.dvlite("add", "in/data")
    pointer = project.read("in/data.dvlite") + b"meta:\n  mine: 1\n"
    project.write("in/data.dvlite", pointer)
    project.commit()
    settle()
    project.dvlite("status")
    no_reading(monkeypatch)
    result = project.json("mv", "in/data", "out/other")
    assert (result["source"], result["target"]) == ("in/data", "out/other")
    assert not project.has("in")
    assert project.read("out/other.dvlite") == pointer
    project.commit()
    assert project.is_clean()  # nothing had to be read again
    exclude = (project.root / ".git/info/exclude").read_text()
    assert "/out/other" in exclude
    assert "/in/data" not in exclude


def test_what_the_user_moved_already_gets_its_pointer(project):
    project.write("old/a", "a")
    project.write("file", "b")
    project.dvlite("add", "old", "file")
    project.commit()
    (project.root / "old").rename(project.root / "new")
    (project.root / "file").rename(project.root / "renamed")
    assert project.json("mv", "old", "new")["target"] == "new"
    project.dvlite("mv", "file", "renamed")
    assert project.tracked() == ["new", "renamed"]
    assert project.json("status")["changed"] == []
    (project.root / "folder").mkdir()
    (project.root / "renamed").rename(project.root / "folder/renamed")
    assert project.json("mv", "renamed", "folder")["target"] == "folder/renamed"
    (project.root / "new").rename(project.root / "newer")
    assert project.json("add", "-u")["absent"] == ["new"]
    assert project.json("add", "newer")["moved"] == [["new", "newer"]]
    assert "dvlite rm new" in project.dvlite("mv", "new", "newer", code=2).stderr
    (project.root / "folder/renamed").rename(project.root / "my edits")
    project.write("my edits", "more")
    refused = project.dvlite("mv", "folder/renamed", "my edits", code=2).stderr
    assert "dvlite add 'my edits'; dvlite rm folder/renamed" in refused, "not to remove what was edited"


def test_mv_into_a_folder_and_by_pointer(project):
    project.write("x", "x")
    project.write("folder/kept", "git's")
    project.dvlite("add", "x")
    project.commit()
    assert project.json("mv", "x.dvlite", "folder")["target"] == "folder/x"
    assert project.json("mv", "folder/x.dvlite", "y.dvlite")["target"] == "y"
    assert project.json("mv", "../y", "z", cwd="folder")["target"] == "folder/z"
    assert project.tracked() == ["folder/z"]


def test_local_edits_move_along(project):
    fill(project)
    project.dvlite("add", "data")
    project.commit()
    project.write("data/a.txt", "edited")
    before = tree(project.root / "data")
    project.dvlite("mv", "data", "moved")
    assert tree(project.root / "moved") == before
    assert [row["path"] for row in project.json("status")["changed"]] == ["moved"]


def test_a_part_stays_a_part(project):
    fill(project)
    project.dvlite("add", "data")
    project.commit()
    shutil.rmtree(project.root / "data")
    project.dvlite("checkout", "data/sub")
    project.dvlite("mv", "data", "moved")
    project.commit()
    project.dvlite("checkout")
    assert [name for name in tree(project.root / "moved") if "." in name] == ["sub/b.txt", "sub/deep/c.bin"]
    assert project.is_clean()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("there.txt", "exists"),
        ("data/inside", "into itself"),
        ("other/inside", "which is tracked"),
        ("other", "which is tracked"),
        ("in_git.txt", "exists"),
        ("gone.txt", "git tracks"),
        ("name.dvlite", "the name of a pointer"),
        (".git/x", "use that name"),
        ("../out", "outside the repository"),
        ("nowhere/", "no such folder"),
        ("ignored/x", "git ignores"),
    ],
)
def test_targets_that_cannot_be_are_refused_with_nothing_done(project, target, words):
    fill(project)
    project.write("other/x", "x")
    project.write("in_git.txt", "git's")
    project.write("gone.txt", "git's")
    project.write(".gitignore", "ignored/\n")
    project.dvlite("add", "data", "other")
    project.commit()
    project.write("there.txt", "mine")
    (project.root / "gone.txt").unlink()
    before, status = tree(project.root / "data"), project.git("status", "--porcelain")
    done = project.dvlite("mv", "data", target, code=2)
    assert words in done.stderr
    assert tree(project.root / "data") == before
    assert project.git("status", "--porcelain") == status
    assert project.tracked() == ["data", "other"]


def test_only_whole_tracked_paths_move(project):
    fill(project, "in/data")
    project.dvlite("add", "in/data")
    assert "whole tracked paths" in project.dvlite("mv", "in/data/sub", "x", code=2).stderr
    assert "one by one" in project.dvlite("mv", "in", "x", code=2).stderr


class Killed(BaseException):
    pass


STEPS = {
    "write_atomic": module.files,
    "_move_data": module,
    "remember": module.Workspace,
    "forget_ignored": module.Repo,
    "forget": module.Workspace,
    "unlink": module.os,
    "stage": module.Repo,
}


def everything(project, kind):
    """Returns the bytes of all the files that the data may be in."""
    return [
        path.read_bytes() for path in project.root.glob("*/a.txt" if kind == "directory" else "*") if path.is_file()
    ]


@pytest.mark.parametrize("kind", ["directory", "file"])
@pytest.mark.parametrize("again", ["mv", "checkout"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_before_any_step_nothing_is_lost(project, monkeypatch, step, again, kind):
    if kind == "directory":
        fill(project)
    else:
        project.write("data", "bytes")
    project.dvlite("add", "data")
    project.commit()
    edited = project.write("data/a.txt" if kind == "directory" else "data", "edited, only here")

    def kill(*_args, **_kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(STEPS[step], step, kill)
        with pytest.raises(Killed):
            mv(open_repo(project.root, os.environ), "data", "moved", progress=NullProgress())
    assert b"edited, only here" in everything(project, kind)
    if again == "mv" and step != "stage":
        project.dvlite("mv", "data", "moved")
        assert project.tracked() == ["moved"]
        assert not edited.exists()
        assert project.read("moved/a.txt" if kind == "directory" else "moved") == b"edited, only here"
        assert project.git("diff", "--name-only") == ""
    else:
        project.dvlite("checkout", code=3)  # the edit is kept, and named
        assert b"edited, only here" in everything(project, kind)
        assert set(project.tracked()) & {"data", "moved"}


def test_nothing_moves_if_an_ignore_file_cannot_be_changed(project):
    project.write("a/x.bin", "1")
    project.dvlite("add", "a/x.bin")
    project.write("elsewhere", project.read("a/.gitignore"))
    (project.root / "a" / ".gitignore").unlink()
    (project.root / "a" / ".gitignore").symlink_to("../elsewhere")
    project.dvlite("mv", "a/x.bin", "b.bin", code=1)
    assert project.has("a/x.bin")
    assert project.has("a/x.bin.dvlite")
    assert not project.has("b.bin.dvlite")
