"""Which git remote gives out the numbers of models."""

import os

import pytest

from dvlite.errors import DvliteError
from dvlite.repo.registered import registry_remote
from dvlite.repo.repository import open_repo
from tests.copies import copy_of, initialised
from tests.git.repositories import git


@pytest.mark.parametrize(
    ("remotes", "configured", "expected"),
    [
        ((), None, None),
        (("mine",), None, "mine"),
        (("mine", "origin"), None, "origin"),
        (("mine", "origin"), "mine", "mine"),
        (("mine", "yours"), None, "which of 2 git remotes"),
        (("mine",), "yours", "no git remote 'yours'"),
    ],
)
def test_the_git_remote_of_the_registry(tmp_path, remotes, configured, expected):
    folder = copy_of("initialised", initialised, tmp_path)
    for name in remotes:
        git(folder, "remote", "add", name, "../nowhere")
    if configured is not None:
        with (folder / ".dvlite" / "config.yaml").open("a") as config:
            config.write(f"models:\n  git_remote: {configured}\n")
    repo = open_repo(folder, os.environ)
    if expected is not None and " " in expected:
        with pytest.raises(DvliteError, match=expected):
            registry_remote(repo)
    else:
        assert registry_remote(repo) == expected
