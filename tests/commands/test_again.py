"""A command that was stopped at its end, run again, does all that it would have done: what was written is staged too."""

import os

import pytest

from dvlite import files


@pytest.fixture
def two(prepared):
    """Two tracked files in a folder, with two versions each; committed."""

    def build(project):
        for text in ("1", "2"):
            for name in ("a", "b"):
                project.write(f"data/{name}", text)
            project.dvlite("add", "data/a", "data/b")
            project.commit(text)

    return prepared("two-files-two-versions", build, remote=False)


def state(project):
    return project.git("status", "--porcelain").splitlines()


def test_add_stages_pointers_and_ignore_files(project):
    project.write("data/a", "1")
    project.dvlite("add", "data/a")
    whole = state(project)
    project.git("reset", "-q")
    assert state(project) != whole
    project.dvlite("add", "data/a")
    assert state(project) == whole


def test_init_stages_its_files(project):
    project.git("rm", "-rq", "--cached", ".dvlite", ".gitattributes", ".dvliteignore")
    project.dvlite("init", "--no-hooks")
    assert state(project) == []


def test_checkout_of_a_revision_stages_the_pointer(two):
    two.dvlite("checkout", "--rev", "HEAD~1", "data/a")
    assert state(two) == ["M  data/a.dvlite"]
    two.git("reset", "-q")
    two.dvlite("checkout", "--rev", "HEAD~1", "data/a")
    assert state(two) == ["M  data/a.dvlite"]


@pytest.mark.parametrize("undone", [("data",), ("data/a.dvlite",)])
def test_mv_stages_both_names(two, undone):
    two.dvlite("mv", "data/a", "c")
    whole = state(two)
    two.git("reset", "-q", "--", *undone)
    two.dvlite("mv", "data/a", "c")
    assert state(two) == whole


def test_mv_stages_the_ignore_file_that_a_stopped_run_wrote(two):
    two.write("new/.gitignore", "/a\n")
    two.dvlite("mv", "data/a", "new/a")
    assert "A  new/.gitignore" in state(two)


def test_rm_passes_over_what_is_gone(two):
    for name in ("a", "a.dvlite"):
        (two.root / "data" / name).unlink()
    done = two.json("rm", "data/a", "data/b")
    assert done["paths"] == ["data/a", "data/b"]
    assert sorted(state(two)) == ["D  data/.gitignore", "D  data/a.dvlite", "D  data/b.dvlite"]


def test_rm_removes_what_a_killed_rm_moved_aside(project):
    project.write("data/sub/a", "1")
    project.dvlite("add", "data")
    (project.root / "data" / "sub" / "a").rename(project.root / "data" / "sub" / files.temporary_name())
    project.dvlite("rm", "data")
    assert not project.has("data")


def test_rm_of_a_path_whose_pointer_alone_is_gone_is_refused(two):
    (two.root / "data" / "a.dvlite").unlink()
    two.dvlite("rm", "data/a", code=2)
    assert two.read("data/a") == b"2"


def test_git_sees_no_temporary_file_and_every_other_one(project):
    for folder in ("", ".dvlite/", "data/"):
        project.write(folder + files.temporary_name(), "secret")
        project.write(folder + ".dvl-0123456789abcdef", "the user's")
    assert len(project.git("status", "--porcelain", "-uall").splitlines()) == 3


def test_a_local_secret_is_never_in_a_temporary_file_that_git_sees(project, monkeypatch):
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **named: opened.append(str(path)) or real(path, *rest, **named))
    files.write_atomic(project.root / "x", b"secret", aside=project.root / ".git")
    assert [path for path in opened if ".dvl-" in path and "/.git/" not in path] == []
    assert project.read("x") == b"secret"
