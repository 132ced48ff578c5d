"""Stores over fsspec: the contract of stores, but for the one promise that they cannot make."""

import pytest

from dvlite.store.fsspec_store import FsspecStore
from dvlite.store.url import Location
from tests.store.contract import StoreContract


class TestExperimental(StoreContract):
    """The general interface of fsspec, on its own store in memory: the places it is meant for are not here to be asked."""

    @pytest.fixture
    def store(self, s3_prefix):
        return FsspecStore(Location("memory", f"memory://{s3_prefix}", bucket=s3_prefix, experimental=True), {})

    def test_one_of_many_creators_wins(self):
        """Not promised there: a look and then a write."""
