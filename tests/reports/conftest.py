"""A repository with a pipeline that was run and pushed, for reports of what becomes of it."""

import pytest

from tests.commands.project import Project
from tests.copies import copy_of, first_commit

PIPELINE = """\
stages:
  sort:
    cmd: sort -n data/raw.txt > sorted.txt
    deps: [data/raw.txt]
    params: [lr]
    outs: [sorted.txt]
  count:
    cmd: wc -l < sorted.txt > count.txt
    deps: [sorted.txt]
    outs: [count.txt]
"""


@pytest.fixture
def project(invoke, tmp_path, monkeypatch):
    """Returns a repository whose last commit is as it must be, here and on its remote."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def build(folder):
        (folder / "repo").mkdir()
        first_commit(folder / "repo")
        made = Project(folder / "repo", invoke)
        made.dvlite("init", "--no-hooks")
        made.dvlite("remote", "add", "../store")
        made.write("data/raw.txt", "3\n1\n2\n")
        made.dvlite("add", "data/raw.txt")
        made.write("dvlite.yaml", PIPELINE)
        made.write("params.yaml", "lr: 0.1\n")
        made.dvlite("repro")
        made.commit("A run")
        made.dvlite("push")

    folder = copy_of("reported", build, tmp_path)
    monkeypatch.setenv("DVLITE_TRUST", str(folder / "store"))
    return Project(folder / "repo", invoke)
