"""What every store must do: one set of facts, run by test_remote.py on memory, a folder and a real S3 server."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dvlite.errors import FormatError
from dvlite.store.object_store import ObjectAbsent

BAD_NAMES = [
    "",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    "a..b",
    ".a",
    "a/.b",
    "A",
    "a b",
    "a\n",
    "a\\b",
    "é",
    "-a",
    "a" * 513,
]
RANGES = [
    *((0, 4), (2, 5), (5, None), (None, 3), (9, 10), (3, 3)),
    *((4, 2), (8, 99), (10, 12), (50, 60), (0, None), (0, 0)),
]


class StoreContract:
    """The facts; a subclass gives the fixture `store`, empty at first."""

    def test_bytes_come_back(self, store):
        data = bytes(range(256)) * 1000
        assert store.put("packs/ab12", data)
        assert store.get("packs/ab12") == data

    def test_an_empty_object_is_an_object(self, store):
        store.put("empty", b"")
        assert store.get("empty") == b""
        assert [entry.size_bytes for entry in store.list("").entries] == [0]

    def test_any_buffer_can_be_put(self, store):
        for kind in (bytes, bytearray, memoryview):
            store.put(kind.__name__, kind(b"some bytes"))
            assert store.get(kind.__name__) == b"some bytes"

    def test_a_range_is_what_a_slice_is(self, store):
        """One test, not one for each: a client of S3 takes 0.2 s to be made."""
        data = b"0123456789"
        store.put("packs/x", data)
        for start, end in RANGES:
            assert store.get("packs/x", start=start, end=end) == data[start:end], (start, end)

    def test_an_absent_object_has_its_own_error(self, store):
        store.put("packs/a", b"1")
        for name in ("packs/b", "packs", "packs/a/b", "none/at/all"):
            with pytest.raises(ObjectAbsent) as caught:
                store.get(name)
            assert caught.value.name == name

    def test_put_again_is_safe(self, store):
        assert store.put("a", b"same")
        assert store.put("a", b"same")
        assert store.get("a") == b"same"

    def test_only_if_absent_never_overwrites(self, store):
        assert store.put("config", b"first", only_if_absent=True)
        assert not store.put("config", b"second", only_if_absent=True)
        assert store.get("config") == b"first"

    def test_only_if_absent_takes_equal_bytes_for_success(self, store):
        assert store.put("config", b"first", only_if_absent=True)
        assert store.put("config", b"first", only_if_absent=True)

    def test_one_of_many_creators_wins(self, store):
        barrier = threading.Barrier(6)

        def create(number):
            barrier.wait()
            return store.put("config", b"%d" % number, only_if_absent=True)

        with ThreadPoolExecutor(6) as pool:
            won = list(pool.map(create, range(6)))
        assert won.count(True) == 1
        assert store.get("config") == b"%d" % won.index(True)

    def test_a_listing_has_names_sizes_and_times_by_the_stores_clock(self, store):
        store.put("packs/a", b"123")
        store.put("packs/b", b"12345")
        store.put("index/c", b"")
        listing = store.list("packs/")
        assert sorted((entry.name, entry.size_bytes) for entry in listing.entries) == [("packs/a", 3), ("packs/b", 5)]
        assert abs(listing.now - time.time()) < 60
        assert all(-2 <= listing.now - entry.modified < 60 for entry in listing.entries)

    def test_a_prefix_need_not_end_at_a_slash(self, store):
        for name in ("packs/ab", "packs/a/c", "packs/ba", "packsa"):
            store.put(name, b"x")
        assert sorted(entry.name for entry in store.list("packs/a").entries) == ["packs/a/c", "packs/ab"]
        assert sorted(entry.name for entry in store.list("packs").entries) == [
            "packs/a/c",
            "packs/ab",
            "packs/ba",
            "packsa",
        ]
        assert len(store.list("").entries) == 4

    def test_an_empty_store_lists_nothing(self, store):
        assert store.list("").entries == ()
        assert store.list("packs/").entries == ()

    def test_a_listing_is_fresh(self, store):
        assert store.list("roots/").entries == ()
        store.put("roots/a", b"x")
        assert [entry.name for entry in store.list("roots/").entries] == ["roots/a"]
        store.delete(["roots/a"])
        assert store.list("roots/").entries == ()

    def test_delete_takes_many_and_minds_no_absence(self, store):
        names = [f"index/{number}" for number in range(5)]
        for name in names:
            store.put(name, b"x")
        store.delete([*names[:4], "index/never", "never/there"])
        store.delete(names[:4])
        store.delete([])
        assert [entry.name for entry in store.list("").entries] == ["index/4"]

    def test_threads_do_not_mix_answers(self, store):
        def both_ways(number):
            data = bytes([number]) * (10_000 + number)
            store.put(f"packs/{number}", data)
            return store.get(f"packs/{number}") == data

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(both_ways, range(40)))
        assert len(store.list("packs/").entries) == 40

    def test_bad_names_are_refused(self, store):
        for name in BAD_NAMES:
            for attempt in (store.get, lambda name: store.put(name, b"x"), lambda name: store.delete([name])):
                with pytest.raises(FormatError):
                    attempt(name)

    def test_bad_prefixes_are_refused(self, store):
        for prefix in ("../", "/", "a//", "A", "a/../b"):
            with pytest.raises(FormatError):
                store.list(prefix)

    def test_close_can_be_repeated(self, store):
        store.put("a", b"x")
        store.close()
        store.close()
