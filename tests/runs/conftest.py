"""A repository for the modules that need one."""

import pytest

from tests.commands.conftest import start_project


@pytest.fixture
def project(tmp_path, invoke):
    """Returns a repository in which dvlite is initialised and committed."""
    return start_project(tmp_path / "repo", invoke)
