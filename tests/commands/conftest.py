"""Repositories for the tests of verbs."""

import pytest

from tests.commands.pipelines import Pipeline
from tests.commands.project import Project


@pytest.fixture
def project(git_repo, invoke):
    """Returns a repository in which dvlite is initialised and committed."""
    made = Project(git_repo, invoke)
    made.dvlite("init")
    made.commit("Use dvlite")
    return made


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
