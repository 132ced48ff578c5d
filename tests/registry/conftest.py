import subprocess

import pytest

from tests.copies import copy_of
from tests.git import repositories
from tests.registry.clones import RegistryClone


def build(base):
    """A bare server with two commits, and two clones of it."""
    subprocess.run(["git", "init", "-q", "--bare", base / "server.git"], check=True)
    repositories.git(base, "init", "-q", "-b", "main", "here")
    for text in ("one", "two"):
        repositories.commit(base / "here", {"code": text}, text)
    repositories.git(base / "here", "push", "-q", "../server.git", "HEAD:refs/heads/main")
    repositories.git(base / "server.git", "symbolic-ref", "HEAD", "refs/heads/main")
    repositories.git(base / "here", "remote", "add", "origin", "nowhere")
    subprocess.run(["cp", "-a", base / "here", base / "other"], check=True)


@pytest.fixture
def here(tmp_path):
    copy_of("registry-clones", build, tmp_path)
    for clone in ("here", "other"):
        repositories.git(tmp_path / clone, "remote", "set-url", "origin", (tmp_path / "server.git").as_uri())
    return RegistryClone(tmp_path / "here")


@pytest.fixture
def other(here, tmp_path):
    """A colleague's clone."""
    return RegistryClone(tmp_path / "other")
