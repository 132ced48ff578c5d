"""Writing into the cache: packs, whole large files, and nothing that shows before it is complete."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from dvlite.errors import DvliteError, ObjectMissing
from dvlite.oid import digest_bytes, digest_manifest
from dvlite.store import pack
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from tests.store.cached import LARGE, flip, put, put_large, read, reopened
from tests.store.world import noise


def test_many_small_files_are_a_handful_of_files(cache):
    put(cache, *(str(i).encode() for i in range(5000)))
    assert len([path for path in cache.folder.rglob("*") if path.is_file()]) < 8


def test_nothing_is_stored_twice(cache):
    with Writer(cache) as writer:
        assert writer.put(KIND_FILE, digest_bytes(b"a"), b"a")
        assert not writer.put(KIND_FILE, digest_bytes(b"a"), b"a")
        writer.commit()
        assert not writer.put(KIND_FILE, digest_bytes(b"a"), b"a")
    with Writer(reopened(cache)) as writer:
        assert not writer.put(KIND_FILE, digest_bytes(b"a"), b"a")
        assert writer.stored_bytes == 0


def test_a_manifest_and_a_file_of_the_same_bytes_are_two_objects(cache):
    with Writer(cache) as writer:
        writer.put(KIND_MANIFEST, digest_manifest(b"x"), b"x")
        writer.commit()
    assert cache.has_node(digest_manifest(b"x"))
    assert not cache.has_file(digest_bytes(b"x"), 1)
    with pytest.raises(ObjectMissing, match=f"blake3:{digest_bytes(b'x').hex()} is not in the cache"):
        read(cache, b"x")


def test_a_large_file_is_whole_and_read_only(cache, tmp_path):
    digest = put_large(cache, tmp_path)
    path = cache.large_path(digest)
    assert path.read_bytes() == LARGE
    assert path.stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "source").read_bytes() == LARGE


def test_a_large_file_that_another_process_stored_after_the_last_look_is_there(cache, tmp_path):
    assert not cache.has_large(digest_bytes(LARGE))
    put_large(reopened(cache), tmp_path)
    assert cache.has_large(put_large(cache, tmp_path))


def test_large_files_are_synced_many_at_a_time_each_before_it_has_its_name(cache, tmp_path, monkeypatch):
    cache.create()
    many = 12
    events, together, real_sync, real_rename = [], threading.Barrier(many), os.fsync, os.rename

    def sync(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if "/tmp/.dvl-" in path:
            together.wait(20)  # breaks unless all are on their way at once
        real_sync(descriptor)
        events.append(("sync", os.path.basename(path)))

    def rename(source, target):
        events.append(("rename", os.path.basename(source)))
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", rename)
    with Writer(cache) as writer:
        digests = []
        for number in range(many):
            (tmp_path / "source").write_bytes(noise(5000, number))
            with (tmp_path / "source").open("rb") as file:
                digests.append(writer.put_large(file.fileno(), "source"))
        writer.commit()
    assert all(cache.large_path(digest).exists() for digest in digests)
    renamed = [name for what, name in events if what == "rename"]
    assert len(renamed) == many
    assert all(events.index(("sync", name)) < events.index(("rename", name)) for name in renamed)
    shards = {digest.hex()[:2] for digest in digests}
    assert sum(what == "sync" for what, _ in events) <= many + len(shards) + 1  # each folder once, and the one above


def test_what_a_remote_has_still_is_not_synced_nor_are_its_folders(cache, tmp_path, monkeypatch):
    cache.create()
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with Writer(cache, durable=False) as writer:
        for number in range(3):
            (tmp_path / "source").write_bytes(noise(5000, number))
            with (tmp_path / "source").open("rb") as file:
                writer.put_large(file.fileno(), "source")
        writer.commit()
    assert synced == []


def test_a_large_file_that_cannot_be_synced_gets_no_name(cache, tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    cache.create()
    (tmp_path / "source").write_bytes(LARGE)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DvliteError, match="cannot store 'source'"), Writer(cache) as writer:
        with (tmp_path / "source").open("rb") as file:
            writer.put_large(file.fileno(), "source")
        writer.commit()
    assert [path for name in ("files", "tmp") for path in (cache.folder / name).rglob("*") if path.is_file()] == []


def test_a_sparse_file_stays_sparse(cache, tmp_path):
    source = tmp_path / "sparse"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"middle")
    with Writer(cache) as writer, source.open("rb") as file:
        digest = writer.put_large(file.fileno(), "sparse")
        writer.commit()
    assert cache.large_path(digest).stat().st_blocks * 512 < 8 << 20
    assert cache.large_path(digest).read_bytes() == source.read_bytes()


def test_nothing_shows_before_the_commit(cache):
    with Writer(cache) as writer:
        writer.put(KIND_FILE, digest_bytes(b"a"), b"a")
        assert not reopened(cache).has_file(digest_bytes(b"a"), 1)
    assert not reopened(cache).has_file(digest_bytes(b"a"), 1)


def test_writers_at_the_same_time_lose_nothing(cache):
    def work(number):
        mine = reopened(cache)
        for i in range(12):
            put(mine, f"{number} {i}".encode())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fresh = reopened(cache)
    for number in range(4):
        for i in range(12):
            assert read(fresh, f"{number} {i}".encode()) == f"{number} {i}".encode()


def test_adding_the_file_again_replaces_a_damaged_copy(cache, tmp_path):
    digest = put_large(cache, tmp_path)
    flip(cache.large_path(digest), 100_000)
    put_large(cache, tmp_path)
    assert read(cache, LARGE) == LARGE


def test_what_was_discarded_can_be_stored_again(cache, tmp_path):
    put(cache, noise(900, 1), b"other")
    digest = put_large(cache, tmp_path)
    for content in (noise(900, 1), LARGE):
        cache.discard(digest_bytes(content))
        assert not cache.has_file(digest_bytes(content), len(content))
    put(cache, noise(900, 1))
    put_large(cache, tmp_path)
    assert read(cache, noise(900, 1)) == noise(900, 1)
    assert read(cache, LARGE) == LARGE
    assert read(cache, b"other") == b"other"
    assert any(digest.hex() in name for name in os.listdir(cache.folder / "quarantine"))


def test_packs_stay_near_their_target(cache, monkeypatch):
    monkeypatch.setattr(pack, "TARGET_BYTES", 20_000)
    put(cache, *(noise(1000, i) for i in range(100)))
    sizes = [path.stat().st_size for path in (cache.folder / "packs").iterdir()]
    assert len(sizes) >= 5
    assert max(sizes) < 22_000


def test_a_shared_cache_is_writable_for_the_group(tmp_path):
    shared = Cache(tmp_path / "shared", pack_below_bytes=1024, group=True)
    put(shared, b"a")
    put_large(shared, tmp_path)
    for folder in (path for path in (tmp_path / "shared").rglob("*") if path.is_dir()):
        assert folder.stat().st_mode & 0o2020 == 0o2020, folder


def test_memory_does_not_grow_with_the_size_of_a_file(tmp_path):
    """A file of 256 MiB is stored and read with less than 100 MB."""
    code = """
import sys
from pathlib import Path
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
folder = Path(sys.argv[1])
with open(folder / "big", "wb") as file:
    for i in range(256):
        file.write(bytes([i]) * (1 << 20))
cache = Cache(folder / "cache")
with Writer(cache) as writer, open(folder / "big", "rb") as file:
    digest = writer.put_large(file.fileno(), "big")
    writer.commit()
with open("/proc/self/status") as lines:
    print(next(line for line in lines if line.startswith("RssAnon")))
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1]) < 100_000
