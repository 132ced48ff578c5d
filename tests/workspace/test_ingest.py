"""Reading workspace files into the cache: what the disk must hold is asked first."""

import shutil

import pytest

from dvlite import files
from dvlite.errors import NoSpace
from dvlite.files import can_share_blocks
from dvlite.oid import digest_bytes
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.workspace.ingest import CachingReader
from tests.trees import noise, put


@pytest.fixture
def cache(tmp_path):
    made = Cache(tmp_path / "cache", pack_below_bytes=1000)
    made.create()
    return made


@pytest.fixture
def near(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_small_and_large_files_are_stored(cache, near):
    put(near / "large", noise(50_000, 1))
    with Writer(cache) as writer:
        reader = CachingReader(cache, writer, near, "data")
        assert reader.small(b"small") == digest_bytes(b"small")
        with (near / "large").open("rb") as file:
            assert reader.large(file.fileno(), "large", lambda _: None) == digest_bytes(noise(50_000, 1))
        writer.commit()
    assert cache.has_file(digest_bytes(b"small"), 5)
    assert cache.has_file(digest_bytes(noise(50_000, 1)), 50_000)
    assert reader.limit_bytes == 1000


def test_a_disk_that_is_too_small_is_refused_with_both_sizes_and_a_way_out(cache, near, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 40_000))
    monkeypatch.setattr(files, "share_blocks", lambda _source, _target: False)
    with Writer(cache) as writer:
        reader = CachingReader(cache, writer, near, "data/images")
        reader.expect([500] * 50)
        with pytest.raises(
            NoSpace, match=r"data/images'? needs 73.2 KiB.*39.1 KiB is free.*nothing was written"
        ) as caught:
            reader.expect([500] * 50 + [50_000])
    assert "cache.dir" in caught.value.hint


def test_shared_blocks_need_no_space(cache, near, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 40_000))
    monkeypatch.setattr(files, "share_blocks", lambda _source, _target: True)
    with Writer(cache) as writer:
        reader = CachingReader(cache, writer, near, "data")
        reader.expect([50_000_000])
    assert reader.shares_blocks


def test_trying_to_share_blocks_leaves_nothing(cache, near):
    can_share_blocks(near, cache.folder)
    assert list(near.iterdir()) == list((cache.folder / "tmp").iterdir()) == []


def test_a_read_only_work_tree_shares_nothing(cache, tmp_path):
    assert not can_share_blocks(tmp_path / "absent", cache.folder)
