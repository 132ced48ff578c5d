"""The cache: verified reading, durable adding, and repair that never deletes."""

import os

import pytest

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, FILE, Entry
from dvlite.oid import Digest, digest_bytes
from dvlite.store import index
from tests.store.cached import LARGE, flip, put, put_large, read, reopened
from tests.store.world import noise


def test_small_files_come_back(cache):
    put(cache, b"", b"a", b"b" * 1000)
    for content in (b"", b"a", b"b" * 1000):
        assert reopened(cache).has_file(digest_bytes(content), len(content))
        assert read(reopened(cache), content) == content


def test_a_reader_sees_what_another_process_added_and_merged(cache):
    put(cache, b"first")
    other = reopened(cache)
    assert read(other, b"first") == b"first"
    for i in range(index.MERGE_ABOVE + 2):
        put(cache, str(i).encode())
    assert len(os.listdir(cache.folder / "index")) <= index.MERGE_ABOVE
    assert read(other, b"first") == b"first"
    assert read(other, b"17") == b"17"


def test_a_damaged_large_file_is_named_and_never_given(cache, tmp_path):
    digest = put_large(cache, tmp_path)
    flip(cache.large_path(digest), 100_000)
    with pytest.raises(ObjectCorrupt, match=f"blake3:{digest.hex()} is damaged"):
        read(cache, LARGE)


def test_a_damaged_small_file_is_named_and_never_given(cache):
    put(cache, noise(900, 1), b"other")
    (path,) = (cache.folder / "packs").iterdir()
    flip(path, 400)
    with pytest.raises(ObjectCorrupt, match=f"blake3:{digest_bytes(noise(900, 1)).hex()} is damaged"):
        read(reopened(cache), noise(900, 1))
    assert read(reopened(cache), b"other") == b"other"


@pytest.mark.parametrize("damage", ["flip", "empty", "cut", "device", "fifo"])
def test_a_damaged_index_is_made_again_from_the_packs(cache, damage):
    put(cache, b"a", b"b")
    put(cache, b"c")
    victim = min((cache.folder / "index").iterdir())
    if damage == "flip":
        flip(victim, 60)
    elif damage == "device":
        victim.unlink()
        victim.symlink_to("/dev/zero")
    elif damage == "fifo":
        victim.unlink()
        os.mkfifo(victim)
    else:
        victim.chmod(0o644)
        victim.write_bytes(b"" if damage == "empty" else victim.read_bytes()[:-1])
    fresh = reopened(cache)
    for content in (b"a", b"b", b"c"):
        assert read(fresh, content) == content
    (kept,) = os.listdir(cache.folder / "quarantine")
    assert kept.startswith(f"index-{victim.name}-")
    assert read(reopened(cache), b"c") == b"c"


def test_sound_records_of_a_pack_with_a_damaged_header_are_indexed_again(cache):
    put(cache, b"a", b"b")
    (packed,) = (cache.folder / "packs").iterdir()
    flip(packed, 3)
    for path in (cache.folder / "index").iterdir():
        path.unlink()
    assert read(reopened(cache), b"b") == b"b"
    assert os.listdir(cache.folder / "quarantine") == []


def test_a_pack_of_a_later_dvlite_is_not_set_aside(cache):
    put(cache, b"a")
    (packed,) = (cache.folder / "packs").iterdir()
    data = packed.read_bytes()
    later = data[:9] + b"\1" + data[10:]
    (cache.folder / "packs" / digest_bytes(later).hex()).write_bytes(later)
    assert read(reopened(cache), b"a") == b"a"
    assert os.listdir(cache.folder / "quarantine") == []


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


def test_a_symlink_in_the_place_of_a_large_file_is_not_followed(cache, tmp_path):
    digest = put_large(cache, tmp_path)
    path = cache.large_path(digest)
    path.unlink()
    path.symlink_to(tmp_path / "source")
    with pytest.raises(DvliteError), cache.open_verified(digest, len(LARGE)):
        pass


def test_a_fifo_in_the_place_of_an_object_is_not_waited_for(cache, tmp_path):
    digest = put_large(cache, tmp_path)
    put(cache, b"a")
    for path in (cache.large_path(digest), *(cache.folder / "packs").iterdir()):
        path.unlink()
        os.mkfifo(path)
    with pytest.raises(ObjectCorrupt), reopened(cache).open_verified(digest, len(LARGE)):
        pass
    with pytest.raises(ObjectCorrupt):
        read(reopened(cache), b"a")


def test_what_is_missing_of_a_listing_is_named_by_position(cache):
    put(cache, b"here")
    here, gone = digest_bytes(b"here"), digest_bytes(b"gone")
    rows = [Entry(b"a", FILE, 4, here), Entry(b"b", FILE, 4, gone), Entry(b"c", FILE, 4, gone)]
    entries = manifest.from_entries([*rows, Entry(b"d", EMPTY_DIR, 0, Digest(bytes(32)))])
    assert list(cache.missing(entries)) == [1, 2]
    assert list(cache.missing(entries, lambda path: path == b"c")) == [2]
    assert not cache.has_all(entries)
    assert cache.has_all(entries, lambda path: path in {b"a", b"d"})


def test_a_fifo_in_place_of_a_large_file_or_of_a_note_is_named(cache, tmp_path):
    digest = put_large(cache, tmp_path)
    cache.large_path(digest).unlink()
    os.mkfifo(cache.large_path(digest))
    with pytest.raises(ObjectCorrupt):
        cache.read_file(digest, len(LARGE))
    (cache.folder / "projects").mkdir()
    os.mkfifo(cache.folder / "projects" / ("ab" * 32))
    with pytest.raises(DvliteError, match="abab"):
        cache.projects()


def test_files_read_in_the_order_in_which_they_were_added_need_one_look_up(cache, monkeypatch):
    contents = [b"file %d" % number for number in range(200)]
    put(cache, *contents)
    read_by = reopened(cache)
    looked_up = []
    find = read_by.locations
    monkeypatch.setattr(read_by, "locations", lambda digest, kinds: (looked_up.append(digest), find(digest, kinds))[1])
    for content in (*contents, contents[3]):
        assert bytes(read_by.read_in_order(digest_bytes(content), len(content))) == content
    assert looked_up == [digest_bytes(contents[0]), digest_bytes(contents[3])]


def test_a_damaged_file_is_named_where_the_one_before_it_was_read(cache):
    first, second = b"one" * 50, noise(150, 2)
    put(cache, first, second)
    place = next((cache.folder / "packs").iterdir())
    flip(place, place.read_bytes().index(second))
    read_by = reopened(cache)
    read_by.read_in_order(digest_bytes(first), len(first))
    with pytest.raises(ObjectCorrupt, match=digest_bytes(second).hex()):
        read_by.read_in_order(digest_bytes(second), len(second))
