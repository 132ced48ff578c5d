"""Repositories for the tests of verbs."""

import shutil
import subprocess

import pytest

from tests.clones import Clone, start
from tests.commands.hooked import Hooked, with_hooks
from tests.commands.merging import BASE, Merging
from tests.commands.pipelines import Pipeline
from tests.commands.project import Project
from tests.copies import copy_of, first_commit
from tests.trees import noise, put


def start_project(folder, invoke):
    """Returns a repository in which dvlite is initialised and committed."""

    def build(folder):
        first_commit(folder)
        project = Project(folder, invoke)
        project.dvlite("init", "--no-hooks")
        project.commit("Use dvlite")

    return Project(copy_of("project", build, folder), invoke)


@pytest.fixture
def project(tmp_path, invoke):
    """Returns a repository in which dvlite is initialised and committed."""

    return start_project(tmp_path / "repo", invoke)


@pytest.fixture
def prepared(tmp_path, invoke, monkeypatch):
    """Returns a function that copies a repository in which `build` did something, the first time that `name` is asked for.

    With `remote`, its folder remote is `../store`, which is copied too, and is one that the user approved.
    """

    def prepared(name, build=None, *, remote=True):
        def whole(base):
            with monkeypatch.context() as patch:
                patch.setenv("XDG_CONFIG_HOME", f"{base}-config")  # the user of the test approved nothing
                patch.setenv("RAN", str(base / "ran"))
                project = start_project(base / "repo", invoke)
                if remote:
                    project.dvlite("remote", "add", "../store")
                    project.commit("Add a remote")
                if build is not None:
                    build(project)

        assert not (tmp_path / "repo").exists(), "a test has one prepared repository"
        project = Project(copy_of(name, whole, tmp_path) / "repo", invoke)
        if remote:
            project.dvlite("remote", "trust", tmp_path / "store")
        return project

    return prepared


@pytest.fixture
def shared(prepared):
    """Returns the repository with an empty folder remote, `../store`, outside of it."""
    return prepared("shared")


@pytest.fixture
def colleague(invoke, tmp_path, monkeypatch):
    """Returns a maker of clones of a user who approved nothing yet; by git alone, nothing is pulled."""

    def clone(project, name="colleague"):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / f"config-of-{name}"))
        project.git("clone", "-q", str(project.root), str(tmp_path / name))
        return Project(tmp_path / name, invoke)

    return clone


@pytest.fixture
def prepared_pipeline(prepared, tmp_path, monkeypatch):
    """Returns `prepared` for a repository with a pipeline, which is what `build` is given."""

    def prepared_pipeline(name, build, *, remote=False):
        monkeypatch.setenv("RAN", str(tmp_path / "ran"))
        made = prepared(name, lambda project: build(Pipeline(project, project.root.parent / "ran")), remote=remote)
        return Pipeline(made, tmp_path / "ran")

    return prepared_pipeline


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


@pytest.fixture
def here(tmp_path, invoke, monkeypatch) -> Clone:
    def build(base):
        made = start(base / "here", invoke, "../store")
        put(made.path / "data" / "file", b"x")
        put(made.path / "new", b"y")
        made.dv("add", "data")
        made.commit()

    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    return Clone(copy_of("bad_input", build, tmp_path) / "here", invoke)


@pytest.fixture
def world(tmp_path, invoke):
    """A pushed repository with small files, large ones, links and folders; returns it and its remote."""
    here = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    for number in range(8):
        put(here.path / "data" / f"d{number % 2}" / str(number), noise(300, number))
    put(here.path / "data" / "large", noise(120_000, 50))
    put(here.path / "data" / "text", b"the same line again and again\n" * 5000)
    (here.path / "data" / "link").symlink_to("large")
    (here.path / "data" / "empty").mkdir()
    put(here.path / "model.bin", noise(90_000, 60))
    here.dv("add", "data", "model.bin")
    here.commit()
    here.dv("push")
    return here, tmp_path / "store"


@pytest.fixture
def tracked(prepared):
    """A tracked directory, committed."""

    def build(project):
        for name in ("a", "b", "c"):
            project.write(f"data/{name}", name)
        project.dvlite("add", "data")
        project.commit("data")

    return prepared("tracked", build, remote=False)


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 8 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "dvlite-test", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"cannot mount a small disk here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def started(prepared, invoke, on_path):
    """Returns a project with a directory to merge, committed."""

    def build(project):
        for name, content in BASE.items():
            project.write(f"data/{name}", content)
        project.dvlite("add", "data")
        project.commit("Add data")

    return Merging(prepared("to-merge", build, remote=False).root, invoke)


@pytest.fixture
def real_dvc(monkeypatch):
    """Lets a test run the program `dvc`; skips it where that is not installed."""
    if shutil.which("dvc") is None:
        pytest.skip("dvc is not installed; make test-long installs it")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # what was compiled once saves half of each start
