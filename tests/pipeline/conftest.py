"""A repository for the tests of the pipeline, and what works in it."""

import os
from dataclasses import dataclass

import pytest

from dvlite.pipeline.content import Contents
from dvlite.pipeline.outputs import Outputs
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_cache, open_repo
from dvlite.workspace.workspace import Workspace
from tests.copies import copy_of, initialised
from tests.pipeline.stages_of import stages_of


@dataclass
class Place:
    """A work tree with its cache."""

    work: Workspace
    contents: Contents
    outputs: Outputs

    @property
    def repo(self):
        return self.work.repo

    @property
    def root(self):
        return self.work.repo.root

    def write(self, path, text, *, executable=False):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755 if executable else 0o644)
        return target

    def stage(self, text, file="dvlite.yaml"):
        (made,) = stages_of(text, file)
        return made

    def take(self, path):
        return self.outputs.take(path)


@pytest.fixture
def place(tmp_path):
    """Returns an initialised repository, looked at from its root."""
    repo = open_repo(copy_of("init", initialised, tmp_path / "repo"), os.environ)
    work = Workspace(repo, open_cache(repo), NullProgress())
    contents = Contents(work, [])
    return Place(work, contents, Outputs(work, contents, lambda _oid: False))
