"""Repositories for the tests of verbs."""

import pytest

from tests.commands.hooked import Hooked, with_hooks
from tests.commands.pipelines import Pipeline
from tests.commands.project import Project
from tests.copies import copy_of, first_commit


def start_project(folder, invoke):
    """Returns a repository in which dvlite is initialised and committed."""

    def build(folder):
        first_commit(folder)
        project = Project(folder, invoke)
        project.dvlite("init")
        project.commit("Use dvlite")

    return Project(copy_of("project", build, folder), invoke)


@pytest.fixture
def project(tmp_path, invoke):
    """Returns a repository in which dvlite is initialised and committed."""

    return start_project(tmp_path / "repo", invoke)


@pytest.fixture
def shared(project, tmp_path):
    """Returns the repository with an empty folder remote, outside of it."""
    project.dvlite("remote", "add", tmp_path / "store")
    project.commit("Add a remote")
    return project


@pytest.fixture
def colleague(invoke, tmp_path, monkeypatch):
    """Returns a maker of clones of a user who approved nothing yet; by git alone, nothing is pulled."""

    def clone(project, name="colleague"):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / f"config-of-{name}"))
        project.git("clone", "-q", str(project.root), str(tmp_path / name))
        return Project(tmp_path / name, invoke)

    return clone


@pytest.fixture
def pipeline(project, tmp_path, monkeypatch):
    """Returns the repository to write a pipeline in; its commands tell that they ran in the file that $RAN names."""
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    return Pipeline(project, tmp_path / "ran")


@pytest.fixture
def hooked(tmp_path, invoke, on_path):
    """Returns a repository with dvlite and its hooks, committed, without a remote."""
    return Hooked(copy_of("hooked", lambda folder: with_hooks(folder, invoke), tmp_path / "repo"), invoke)


@pytest.fixture
def team(tmp_path, invoke, on_path):
    """Returns it with three files in `data`, a folder remote, and a bare git repository as `origin`; all pushed."""

    def build(base):
        (base / "repo").mkdir()
        with_hooks(base / "repo", invoke)
        made = Hooked(base / "repo", invoke)
        for name in ("one", "two", "three"):
            made.write(f"data/{name}.txt", name)
        made.dvlite("add", "data")
        made.dvlite("remote", "add", "../store")
        made.commit("Track data")
        made.git("init", "-q", "--bare", "../bare.git")
        made.git("remote", "add", "origin", "../bare.git")
        made.does("push", "-q", "-u", "origin", "main")

    copy_of("team", build, tmp_path)
    made = Hooked(tmp_path / "repo", invoke)
    made.write(".git/config", made.read(".git/config").replace(b"../bare.git", bytes(tmp_path / "bare.git")))
    made.dvlite("remote", "trust", tmp_path / "store")
    return made
