"""A repository in which dvlite is initialised."""

import os

import pytest

from dvlite.commands.init import init
from dvlite.progress import NullProgress


@pytest.fixture
def work(git_repo):
    init(git_repo, os.environ, hooks=False, progress=NullProgress())
    return git_repo
