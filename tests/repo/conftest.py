"""A repository in which dvlite is initialised."""

import pytest

from tests.copies import copy_of, initialised


@pytest.fixture
def work(tmp_path):
    return copy_of("init", initialised, tmp_path / "repo")
