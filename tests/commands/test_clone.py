"""`dvlite clone`: git clone, the settings of a clone, and a pull."""

import subprocess

import pytest

from dvlite.commands.clone import folder_name
from dvlite.errors import UsageError
from dvlite.repo.repository import CLONE_SETTINGS
from tests.commands.project import Project, fill, tree


@pytest.fixture
def pushed(prepared):
    """Returns a repository with a directory, committed and pushed."""

    def build(project):
        fill(project)
        project.dvlite("add", "data")
        project.commit("Add data")
        project.dvlite("push")

    return prepared("a-pushed-directory", build)


def test_a_clone_has_the_data(pushed, invoke, tmp_path):
    found = pushed.json("clone", pushed.root, tmp_path / "copy")
    copy = Project(tmp_path / "copy", invoke)
    assert found["directory"] == str(copy.root)
    assert tree(copy.root / "data") == tree(pushed.root / "data")
    assert copy.is_clean()


def test_flags_after_dashes_are_those_of_git(pushed, tmp_path):
    pushed.git("branch", "other")
    pushed.dvlite("clone", "--no-data", pushed.root.as_uri(), tmp_path / "copy", "--", "--branch=other", "--depth=1")
    assert (tmp_path / "copy" / ".git" / "shallow").exists()
    assert (tmp_path / "copy" / ".git" / "HEAD").read_text() == "ref: refs/heads/other\n"
    pushed.dvlite("clone", "--no-data", pushed.root.as_uri(), tmp_path / "two", "-b", "other", "--depth", "1")
    assert (tmp_path / "two" / ".git" / "HEAD").read_text() == "ref: refs/heads/other\n"


def test_a_clone_without_data_is_pulled_later(pushed, invoke, tmp_path):
    pushed.dvlite("clone", "--no-data", pushed.root, tmp_path / "copy")
    copy = Project(tmp_path / "copy", invoke)
    assert not copy.has("data")
    assert copy.has("data.dvlite")
    copy.dvlite("pull")
    assert tree(copy.root / "data") == tree(pushed.root / "data")


def test_a_clone_whose_remote_is_not_approved_is_complete_but_for_its_data(pushed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other-user"))
    done = pushed.dvlite("clone", pushed.root, tmp_path / "copy", code=1)
    assert "has not approved" in done.stderr
    assert (tmp_path / "copy" / "data.dvlite").exists()
    assert not (tmp_path / "copy" / "data").exists()


def test_a_folder_that_is_not_empty_is_left_as_it_is(pushed, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").write_text("mine")
    assert pushed.dvlite("clone", pushed.root, tmp_path / "copy", code=None).returncode != 0
    assert tree(tmp_path / "copy") == {"mine": (b"mine", False)}


def test_a_clone_that_was_stopped_is_finished_by_the_commands_of_the_hint(pushed, invoke, tmp_path, on_path):
    pushed.git("clone", "-q", str(pushed.root), str(tmp_path / "copy"))
    said = pushed.dvlite("clone", pushed.root, tmp_path / "copy", code=1).stderr
    finish = said[said.index("cd ") :].strip()
    subprocess.run(["bash", "-ec", finish], check=True, capture_output=True)
    copy = Project(tmp_path / "copy", invoke)
    assert tree(copy.root / "data") == tree(pushed.root / "data")
    assert copy.is_clean()


def test_init_and_clone_set_the_driver(started, tmp_path):
    for key, value in CLONE_SETTINGS.items():
        assert started.git("config", key).strip() == value
    started.dvlite("clone", started.root, tmp_path / "clone")
    done = subprocess.run(
        ["git", "config", "merge.dvlite.driver"], cwd=tmp_path / "clone", capture_output=True, text=True
    )
    assert done.stdout.strip() == CLONE_SETTINGS["merge.dvlite.driver"]


@pytest.mark.parametrize(
    ("url", "name"),
    [("https://x.example/acme/birds.git", "birds"), ("git@x.example:acme/birds.git", "birds"), ("x.example:birds", "birds"),
     ("/srv/birds/.git", "birds"), ("../birds/", "birds"), ("file:///srv/birds.git/", "birds")],
)  # fmt: skip
def test_the_folder_of_a_clone_is_named_as_git_does(url, name):
    assert folder_name(url) == name


@pytest.mark.parametrize("url", ["", "/", "..", "x:--help"])
def test_a_url_without_a_name_needs_a_folder(url):
    with pytest.raises(UsageError, match="cannot derive a folder name"):
        folder_name(url)
