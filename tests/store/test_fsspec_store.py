"""Stores over fsspec: the contract of stores, but for the one promise that they cannot make."""

from dataclasses import replace

import fsspec
import pytest

from dvlite.progress import NullProgress
from dvlite.store.fsspec_store import FsspecOrigin, FsspecStore
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.origins import Download, download
from dvlite.store.retry import Retries, RetryBudget
from dvlite.store.url import Location
from tests.store.contract import StoreContract


class TestExperimental(StoreContract):
    """The general interface of fsspec, on its own store in memory: the places it is meant for are not here to be asked."""

    @pytest.fixture
    def store(self, s3_prefix):
        return FsspecStore(Location("memory", f"memory://{s3_prefix}", bucket=s3_prefix, experimental=True), {})

    def test_one_of_many_creators_wins(self):
        """Not promised there: a look and then a write."""


def test_files_of_others_are_listed_and_read_from_where_a_download_stands(s3_prefix, tmp_path):
    location = Location("memory", f"memory://{s3_prefix}/raw", bucket=s3_prefix, prefix="raw", experimental=True)
    memory = fsspec.filesystem("memory")
    memory.pipe({f"/{s3_prefix}/raw/A b": b"0123456789", f"/{s3_prefix}/raw/sub/c": b"c"})
    folder = FsspecOrigin(location, {})
    items = {item.name: item for item in folder.look()}
    assert {name: item.size_bytes for name, item in items.items()} == {"A b": 10, "sub/c": 1}
    into = Download(None, tmp_path / "x", NullProgress(), Retries(RetryBudget(0)))
    into.take(b"0123")
    assert download(folder, items["A b"], into, Retries(RetryBudget(0))) == items["A b"]
    into.close()
    assert (tmp_path / "x").read_bytes() == b"0123456789"
    (one,) = FsspecOrigin(replace(location, prefix="raw/sub/c"), {}).look()
    assert (one.name, one.size_bytes) == ("", 1)
    with pytest.raises(ObjectAbsent):
        FsspecOrigin(replace(location, prefix="none"), {}).look()
