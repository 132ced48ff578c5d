"""git's sparse checkout: settings, pointers and lockfiles that git leaves out count as in its index; their data is not asked for."""

import pytest

from tests.commands.hooked import Hooked, said
from tests.commands.project import Project
from tests.copies import copy_of

PIPELINE = """\
stages:
  code: {cmd: cat code/c.py > code/o, deps: [code/c.py], outs: [code/o]}
  team: {cmd: cat team/t.py > team/o, deps: [team/t.py], outs: [team/o]}
"""


@pytest.fixture
def cone(tmp_path, invoke, on_path, monkeypatch):
    """Returns a clone of which git checked out the folders `code` and `data`, without dvlite's own folder."""

    def build(base):
        made = Project(base / "repo", invoke)
        made.root.mkdir()
        made.git("init", "-q", "-b", "main")
        made.dvlite("init", "--no-hooks")
        for name, content in {
            "code/c.py": "c",
            "team/t.py": "t",
            "data/a": "1",
            "in/b": "2",
            "dvlite.yaml": PIPELINE,
        }.items():
            made.write(name, content)
        made.dvlite("add", "data/a", "in/b")
        made.dvlite("repro", "-q")
        made.dvlite("remote", "add", "../store")
        made.commit("Start")
        made.dvlite("push")

    base = copy_of("cone", build, tmp_path)
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    Project(base / "repo", invoke).git("clone", "-q", "--sparse", ".", "../sparse")
    made = Hooked(tmp_path / "sparse", invoke)
    made.git("sparse-checkout", "set", "code", "data")
    return made


def test_what_is_checked_out_is_worked_with_and_the_rest_is_not_asked_for(cone):
    assert not (cone.root / ".dvlite").exists()
    cone.dvlite("pull")
    assert cone.listing("data") == [".gitignore", "a", "a.dvlite"]
    assert (cone.root / "code" / "o").exists()
    status = cone.json("status")
    assert (status["clean"], status["tracked"], status["left_out"], status["stale"]) == (True, 2, 1, [])
    assert "Clean: 2 tracked paths, 1 left out by the sparse checkout." in cone.dvlite("status").stdout
    assert len(cone.json("push")["paths"]) == 2
    assert cone.json("verify")["tracked"] == 4
    assert "outside of this sparse checkout" in cone.dvlite("pull", "in/b", code=1).stderr


def test_init_leaves_the_settings_that_git_has_alone_and_the_guards_are_on(cone):
    cone.dvlite("init")
    assert cone.git("status", "--porcelain") == ""
    cone.dvlite("pull")
    cone.write("data/new", "new")
    cone.dvlite("add", "data/new")
    (cone.root / "data" / "new").write_text("other")
    assert said(cone.refuses("commit", "-qm", "New"))[0].startswith("blocked: data/new.dvlite")
    cone.dvlite("add", "data/new")
    cone.does("commit", "-qm", "New")
    assert said(cone.does("push", "-q", "origin", "HEAD:new"))[0].startswith("pushed 1 file")


def test_stages_whose_files_are_left_out_are_not_looked_at(cone):
    cone.dvlite("pull")
    done = cone.dvlite("repro")
    assert "code  up to date" in done.stdout
    assert "team: the sparse checkout leaves out 'team/t.py'" in done.stderr
    assert "git sparse-checkout add team" in cone.dvlite("repro", "team", code=2).stderr


def test_files_outside_are_refused_with_the_way_to_include_them(cone):
    for words, folder in ((("add", "out/x"), "out"), (("config", "gc.keep_last", "3"), ".dvlite")):
        cone.write("out/x", "x")
        hint = cone.dvlite(*words, code=1).stderr.splitlines()[-1]
        assert hint == f"hint: git sparse-checkout add {folder}"
        cone.git("sparse-checkout", "add", folder)
        cone.dvlite(*words)
    assert sorted(cone.git("diff", "--cached", "--name-only").split()) == [
        ".dvlite/config.yaml",
        "out/.gitignore",
        "out/x.dvlite",
    ]


def test_patterns_that_leave_out_all_data_are_no_reason_to_begin_anew(cone):
    cone.git("sparse-checkout", "set", "--no-cone", "/nothing/")
    assert cone.dvlite("status").stdout == "Clean: 0 tracked paths, 2 left out by the sparse checkout.\n"
    cone.dvlite("init", "--no-hooks")
    assert cone.git("status", "--porcelain") == ""
    assert cone.dvlite("ls").stdout == ""


def test_data_whose_pointer_is_here_needs_no_ignore_file_beside_it(cone):
    cone.git("sparse-checkout", "set", "--no-cone", "/data/a.dvlite")
    assert cone.dvlite("ls").stdout == "data/a\n"
    cone.dvlite("pull")
    assert cone.dvlite("status").stdout == "Clean: 1 tracked path, 1 left out by the sparse checkout.\n"
    assert cone.listing("data") == ["a", "a.dvlite"]
    assert cone.git("status", "--porcelain") == ""
