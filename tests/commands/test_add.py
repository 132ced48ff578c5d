"""`dvlite add`: git ignores data before it is tracked, whatever goes wrong on the way."""

import os

import pytest

from dvlite import files


def staged(project):
    """Returns the files that `git add` takes of all that is there."""
    project.git("add", "-A")
    return project.git("ls-files").split()


def test_nothing_is_written_if_an_ignore_file_cannot_be_changed(project):
    project.write("data/x.bin", "1")
    project.write("other/y.bin", "2")
    os.symlink("../v", project.root / "data" / ".gitignore")
    done = project.dvlite("add", "other/y.bin", "data/x.bin", code=1)
    assert ".gitignore" in done.stderr
    for name in ("data/x.bin.dvlite", "other/y.bin.dvlite", "other/.gitignore"):
        assert not project.has(name)
    assert not (project.cache / "packs").exists() or not os.listdir(project.cache / "packs")


def test_an_add_that_dies_at_the_pointer_leaves_data_that_git_ignores(project, monkeypatch):
    project.write("data/x.bin", "1")
    write = files.write_atomic

    def die(path, *args, **named):
        if path.name.endswith(".dvlite"):
            raise KeyboardInterrupt
        write(path, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomic", die)
        project.dvlite("add", "data/x.bin", code=None)
    assert not project.has("data/x.bin.dvlite")
    assert "data/x.bin" not in staged(project)
    project.dvlite("add", "data/x.bin")
    assert "data/x.bin.dvlite" in staged(project)


@pytest.mark.parametrize("again", [("data/x.bin",), ("-u",)], ids=["by name", "-u"])
def test_add_mends_the_ignore_file_of_a_path_that_did_not_change(project, again):
    project.write("data/x.bin", "1")
    project.dvlite("add", "data/x.bin")
    project.commit()
    for name in ("data/.gitignore", ".git/info/exclude"):
        (project.root / name).unlink()
    result = project.json("add", *again)
    assert result["staged"] == ["data/.gitignore"]
    assert "data/x.bin" not in staged(project)
    assert project.json("add", *again)["staged"] == []


def test_an_ignore_file_with_a_merge_conflict_is_not_staged(project):
    project.write("x.bin", "1")
    project.write(".gitignore", "<<<<<<< HEAD\n/a\n=======\n/b\n>>>>>>> other\n")
    before = project.read(".gitignore")
    done = project.dvlite("add", "x.bin", code=1)
    assert "merge conflict" in done.stderr
    assert project.read(".gitignore") == before
    assert not project.has("x.bin.dvlite")
