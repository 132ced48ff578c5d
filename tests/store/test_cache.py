"""The cache: verified reading, durable adding, and repair that never deletes."""

import os
import subprocess
import sys
import threading

import pytest

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, FILE, Entry
from dvlite.oid import Digest, digest_bytes, digest_manifest
from dvlite.store import index, pack
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from tests.store.world import noise

LARGE = noise(200_000, 1)


@pytest.fixture
def cache(tmp_path):
    made = Cache(tmp_path / "cache", pack_below_bytes=1024)
    made.create()
    return made


def put(cache: Cache, *contents: bytes) -> None:
    with Writer(cache) as writer:
        for content in contents:
            writer.put(KIND_FILE, digest_bytes(content), content)
        writer.commit()


def put_large(cache: Cache, tmp_path, content: bytes = LARGE):
    source = tmp_path / "source"
    source.write_bytes(content)
    with Writer(cache) as writer, source.open("rb") as file:
        digest = writer.put_large(file.fileno(), "source")
        writer.commit()
    return digest


def reopened(cache: Cache) -> Cache:
    return Cache(cache.folder, pack_below_bytes=cache.pack_below_bytes)


def read(cache: Cache, content: bytes) -> bytes:
    return cache.read_file(digest_bytes(content), len(content))


def test_small_files_come_back(cache):
    put(cache, b"", b"a", b"b" * 1000)
    for content in (b"", b"a", b"b" * 1000):
        assert reopened(cache).has_file(digest_bytes(content), len(content))
        assert read(reopened(cache), content) == content


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


def test_a_reader_sees_what_another_process_added_and_merged(cache):
    put(cache, b"first")
    other = reopened(cache)
    assert read(other, b"first") == b"first"
    for i in range(index.MERGE_ABOVE + 2):
        put(cache, str(i).encode())
    assert len(os.listdir(cache.folder / "index")) <= index.MERGE_ABOVE
    assert read(other, b"first") == b"first"
    assert read(other, b"17") == b"17"


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


def flip(path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x20
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_damaged_large_file_is_named_and_never_given(cache, tmp_path):
    digest = put_large(cache, tmp_path)
    flip(cache.large_path(digest), 100_000)
    with pytest.raises(ObjectCorrupt, match=f"blake3:{digest.hex()} is damaged"):
        read(cache, LARGE)


def test_adding_the_file_again_replaces_a_damaged_copy(cache, tmp_path):
    digest = put_large(cache, tmp_path)
    flip(cache.large_path(digest), 100_000)
    put_large(cache, tmp_path)
    assert read(cache, LARGE) == LARGE


def test_a_damaged_small_file_is_named_and_never_given(cache):
    put(cache, noise(900, 1), b"other")
    (path,) = (cache.folder / "packs").iterdir()
    flip(path, 400)
    with pytest.raises(ObjectCorrupt, match=f"blake3:{digest_bytes(noise(900, 1)).hex()} is damaged"):
        read(reopened(cache), noise(900, 1))
    assert read(reopened(cache), b"other") == b"other"


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


@pytest.mark.parametrize("damage", ["flip", "empty", "cut"])
def test_a_damaged_index_is_made_again_from_the_packs(cache, damage):
    put(cache, b"a", b"b")
    put(cache, b"c")
    victim = min((cache.folder / "index").iterdir())
    if damage == "flip":
        flip(victim, 60)
    else:
        victim.chmod(0o644)
        victim.write_bytes(b"" if damage == "empty" else victim.read_bytes()[:-1])
    fresh = reopened(cache)
    for content in (b"a", b"b", b"c"):
        assert read(fresh, content) == content
    assert len(os.listdir(cache.folder / "quarantine")) == 1
    assert read(reopened(cache), b"c") == b"c"


def test_a_lost_pack_is_missing_not_wrong(cache):
    put(cache, b"a")
    for path in (cache.folder / "packs").iterdir():
        path.unlink()
    with pytest.raises((ObjectMissing, ObjectCorrupt)):
        read(reopened(cache), b"a")


@pytest.mark.parametrize("size", [0, 10])
def test_a_pack_torn_by_a_power_cut_is_corrupt_not_wrong(cache, size):
    put(cache, b"a")
    for path in (cache.folder / "packs").iterdir():
        path.chmod(0o644)
        os.truncate(path, size)
    with pytest.raises(ObjectCorrupt):
        read(reopened(cache), b"a")


def test_foreign_files_in_the_cache_are_passed_over(cache):
    put(cache, b"a")
    for folder in ("index", "packs", "files"):
        (cache.folder / folder / "README").write_text("x")
        (cache.folder / folder / ("AB" * 32)).write_text("x")
    assert read(reopened(cache), b"a") == b"a"


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


def test_a_symlink_in_the_place_of_a_large_file_is_not_followed(cache, tmp_path):
    digest = put_large(cache, tmp_path)
    path = cache.large_path(digest)
    path.unlink()
    path.symlink_to(tmp_path / "source")
    with pytest.raises(DvliteError), cache.open_verified(digest, len(LARGE)):
        pass


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


def test_what_is_missing_of_a_listing_is_named_by_position(cache):
    put(cache, b"here")
    here, gone = digest_bytes(b"here"), digest_bytes(b"gone")
    rows = [Entry(b"a", FILE, 4, here), Entry(b"b", FILE, 4, gone), Entry(b"c", FILE, 4, gone)]
    entries = manifest.from_entries([*rows, Entry(b"d", EMPTY_DIR, 0, Digest(bytes(32)))])
    assert list(cache.missing(entries)) == [1, 2]
    assert list(cache.missing(entries, lambda path: path == b"c")) == [2]
    assert not cache.has_all(entries)
    assert cache.has_all(entries, lambda path: path in {b"a", b"d"})
