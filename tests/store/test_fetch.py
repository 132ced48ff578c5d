"""Fetch: only what is needed, nothing unverified, and continuing where it stopped."""

import itertools
import re
import shutil
import struct
from dataclasses import replace

import pytest

from dvlite.errors import DvliteError, LaterVersion, NoSpace, ObjectCorrupt, ObjectMissing
from dvlite.formats import recipe
from dvlite.oid import digest_bytes
from dvlite.store import fetch, index, pack
from dvlite.store.catalog import Catalog
from dvlite.store.fetch import Need
from dvlite.store.index import Index
from dvlite.store.pack import KIND_RECIPE
from tests.store.collector import Collector
from tests.store.memory import MemoryStore
from tests.store.world import QUIET, HookStore, Interrupted, World, noise

NAME = re.compile(r"[0-9a-f]{64}")
SMALL = {f"d{i % 7}/{i:04d}": noise(300 + i % 50, i) for i in range(300)}
LARGE = noise(80_000, 1)
EDITED = LARGE[:30_000] + b"inserted" + LARGE[30_000:]


@pytest.fixture
def pushed(world):
    def pushed(path, content):
        here = world.site("pusher")
        version = here.add(path, content)
        here.push(version)
        return version

    return pushed


def test_a_fetch_moves_each_byte_once(world, store, pushed):
    version = pushed("data", SMALL | {"big": LARGE})
    there = world.site("there")
    store.forget()
    assert there.fetch(version) == []
    assert there.content(version) == SMALL | {"big": LARGE}
    total = sum(map(len, SMALL.values())) + len(LARGE)
    assert total < store.received_bytes < total * 1.4  # listings, the index, 100 bytes around each small file
    assert store.count("put") == store.count("delete") == 0


def test_a_second_fetch_reads_nothing_but_the_listing_of_the_remote(world, store, pushed):
    version = pushed("data", SMALL | {"big": LARGE})
    there = world.site("there")
    there.fetch(version)
    store.forget()
    assert there.fetch(version) == []
    assert store.count("get", "packs/") == 0


def test_a_few_files_of_many_are_read_in_ranges(world, store, pushed):
    many = {f"{i:05d}": noise(900, i) for i in range(2000)}
    version = pushed("data", many)
    there = world.site("there")
    catalog = Catalog(there.remote).look()
    store.forget()
    needs = [Need(digest_bytes(many[name]), 900, name) for name in ("00003", "01500")]
    assert fetch.run(catalog, there.cache, needs, QUIET).needs == []
    assert store.received_bytes < 250_000  # the index, two ranges
    assert there.cache.read_file(digest_bytes(many["01500"]), 900) == many["01500"]
    assert version.size_bytes == 2000 * 900


def test_chunks_of_a_cached_version_are_not_downloaded(world, store, pushed):
    old = pushed("big", LARGE)
    there = world.site("there")
    there.fetch(old)
    new = pushed("big", EDITED)
    store.forget()
    assert there.fetch(new, bases=(old.digest,)) == []
    assert there.content(new) == EDITED
    assert store.received_bytes < 30_000


def test_a_hole_in_a_file_is_a_hole_again(world, pushed):
    content = b"start" + bytes(2_000_000) + b"end"
    version = pushed("sparse", content)
    there = world.site("there")
    there.fetch(version)
    assert there.content(version) == content
    assert there.cache.large_path(version.digest).stat().st_blocks * 512 < 1_000_000


def test_data_that_no_fresh_look_finds_is_returned_by_name(world, store, pushed):
    version = pushed("data", {"a": b"small", "b": LARGE})
    store.delete([entry.name for entry in store.list("packs/").entries])
    there = world.site("there")
    with pytest.raises(ObjectMissing, match=version.digest.hex()) as caught:
        there.fetch(version)
    assert caught.value.exit_code == 12


def test_condemned_packs_are_read_while_they_stand(world, store, pushed):
    """A collector condemns before it copies, and may die in between."""
    version = pushed("data", {"a": b"small", "b": LARGE})
    Collector(store).condemn(Collector(store).packs())
    there = world.site("there")
    assert there.fetch(version) == []
    assert there.content(version) == {"a": b"small", "b": LARGE}


def test_what_is_there_is_fetched_though_something_is_missing(world, store, pushed):
    kept, lost = pushed("kept", {"a": b"kept"}), pushed("lost", b"x" * 3000)
    there = world.site("there")
    packs_of_lost = {
        place.pack
        for entry in store.list("index/").entries
        for place in Index(store.get(entry.name), entry.name)
        if place.record.digest == lost.digest
    }
    store.delete([f"packs/{name.hex()}" for name in packs_of_lost])
    assert [need.path for need in there.fetch(lost)] == ["lost"]
    assert there.fetch(kept) == []


def test_the_disk_is_asked_before_anything_is_written(world, pushed, monkeypatch):
    version = pushed("big", LARGE)
    there = world.site("there")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(NoSpace, match=r"needs 78\.1 KiB, 1000 B is free"):
        there.fetch(version)
    assert not list((there.cache.folder / "partial").iterdir())


def test_a_fetch_that_dies_at_any_request_is_completed_by_the_next(tmp_path):
    content = SMALL | {"big": LARGE}
    store = MemoryStore()
    world = World(tmp_path / "pushing", store)
    here = world.site("here")
    version = here.add("data", content)
    here.push(version)

    def die():
        raise Interrupted

    for at in itertools.count(1):
        hook = HookStore(store, at, die)
        there = World(tmp_path / str(at), store).site("there", store=hook)
        try:
            there.fetch(version)
        except Interrupted:
            assert there.fetch(version) == []
        assert there.content(version) == content
        if not hook.happened:
            break
    assert at > 6


def test_an_interrupted_fetch_of_a_large_file_continues(world, store, pushed, monkeypatch):
    monkeypatch.setattr(pack, "TARGET_BYTES", 8_000)
    big = noise(200_000, 9)
    version = pushed("big", big)

    def die():
        raise Interrupted

    there = world.site(
        "there",
        store=HookStore(store, 20, die, lambda operation, name: "packs/" in name and operation == "get"),
        jobs=1,
    )
    with pytest.raises(Interrupted):
        there.fetch(version)
    received = store.received_bytes
    assert received > 100_000
    store.forget()
    assert there.fetch(version) == []
    assert there.content(version) == big
    assert store.received_bytes < 200_000 * 1.3 - received + 40_000


@pytest.mark.parametrize("everything", [True, False], ids=["condemns all", "condemns garbage"])
def test_a_gc_at_any_moment_of_a_fetch_hides_nothing_that_a_root_holds(tmp_path, everything):
    content = dict(itertools.islice(SMALL.items(), 40)) | {"big": LARGE}
    for at in itertools.count(1):
        store = MemoryStore()
        world = World(tmp_path / str(at), store)
        here = world.site("here")
        version = here.add("data", content)
        here.push(version)
        collector = Collector(store)
        hook = HookStore(store, at, lambda collector=collector: collector.collect(everything=everything))
        there = world.site("there", store=hook)
        assert there.fetch(version) == []
        assert there.content(version) == content
        world.close()
        if not hook.happened:
            break
    assert at > 6


# --- what a hostile or broken remote holds ---


def flipped(data: bytes, at: int) -> bytes:
    damaged = bytearray(data)
    damaged[at % len(damaged)] ^= 0x04
    return bytes(damaged)


def test_a_flipped_byte_anywhere_on_the_remote_gives_an_error_or_the_right_bytes(tmp_path):
    content = {f"{i}": noise(200, i) for i in range(12)} | {"big": noise(20_000, 3)}
    store = MemoryStore()
    world = World(tmp_path / "here", store)
    here = world.site("here")
    version = here.add("data", content)
    here.push(version)
    right = dict(store.objects)
    outcomes = {"right": 0, "corrupt": 0}
    for number, (name, data) in enumerate(right.items()):
        if name.startswith("roots/") or name == "config":
            continue
        for at in {
            0,
            9,
            20,
            33,
            50,
            70,
            90,
            len(data) // 3,
            len(data) // 2,
            len(data) - 40,
            len(data) - 20,
            len(data) - 1,
        }:
            store.objects[name] = flipped(data, at)
            there = World(tmp_path / f"{number}-{at}", store).site("there")
            try:
                assert there.fetch(version) == []
                assert there.content(version) == content
                outcomes["right"] += 1
            except ObjectCorrupt as error:
                if not NAME.search(error.message):
                    pytest.fail(error.message)
                outcomes["corrupt"] += 1
            store.objects[name] = data
            assert there.fetch(version) == [], "a healthy remote heals"
            assert there.content(version) == content
    assert outcomes["right"] > 3
    assert outcomes["corrupt"] > 5


def test_33_a_pack_whose_bytes_hash_to_other_ids_is_refused(world, store, pushed):
    version = pushed("x", b"good bytes")
    name = next(entry.name for entry in store.list("packs/").entries)
    store.put(name, store.get(name).replace(b"good bytes", b"evil bytes"))
    with pytest.raises(ObjectCorrupt, match=version.digest.hex()):
        world.site("there").fetch(version)


def test_a_good_copy_is_used_though_another_is_damaged(world, store, pushed):
    version = pushed("x", b"good bytes")
    first = next(entry.name for entry in store.list("packs/").entries)
    writer = pack.PackWriter(pack.FILES, bytes(16))
    writer.add(pack.KIND_FILE, version.digest, b"good bytes")
    second = writer.finish()
    store.put(f"packs/{second.name.hex()}", second.data)
    data = index.encode(index.rows_of(second), bytes(16))
    store.put(f"index/{digest_bytes(data).hex()}", data)
    for name in (first, f"packs/{second.name.hex()}"):
        whole = store.get(name)
        store.put(name, whole.replace(b"good bytes", b"evil bytes"))
        there = world.site(f"there-{name[6:10]}")
        assert there.fetch(version) == []
        assert there.content(version) == b"good bytes"
        store.put(name, whole)


def forge_index(store, row: tuple) -> None:
    for entry in store.list("index/").entries:
        store.delete([entry.name])
    (name,) = (entry.name for entry in store.list("packs/").entries if b"good bytes" in store.get(entry.name))
    header = struct.pack("<4sB3xII16s", b"DVLI", 1, 1, 1, bytes(16))
    data = header + bytes.fromhex(name[6:]) + struct.pack("<IB3x", 0, 2) + struct.pack("<32sBBHIIII", *row)
    store.put(f"index/{digest_bytes(data).hex()}", data)


@pytest.mark.parametrize(
    ("offset", "raw", "stored"),
    [(2**32 - 1, 10, 10), (0, 10, 10), (80, 2**24, 2**24), (80, 2**24, 1), (80, 5, 5), (80, 10, 0)],
)
def test_34_an_index_row_that_points_elsewhere_never_gives_other_bytes(world, store, pushed, offset, raw, stored):
    version = pushed("x", b"good bytes")
    forge_index(store, (version.digest, 1, 0, 0, 0, offset, raw, stored))
    with pytest.raises(DvliteError, match=version.digest.hex()[:8]):
        there = world.site("there")
        if there.fetch(version) or there.content(version) == b"good bytes":
            raise ObjectMissing(version.digest.hex())


def later_codec(whole: bytes) -> bytes:
    """Returns a pack in which the first record has codec 2, as a later dvlite would write it."""
    records = pack.open_whole(whole, digest_bytes(whole))
    writer = pack.PackWriter(whole[8], bytes(16))
    for number, record in enumerate(records):
        stored = whole[record.offset : record.offset + record.stored_length]
        writer.add_stored(record if number else record._replace(codec=2), stored)
    return bytes(writer.finish().data)


LATER_PACKS = {
    "codec": later_codec,
    "magic": lambda whole: whole[:7] + b"2" + whole[8:],
    "cipher": lambda whole: whole[:9] + b"\1" + whole[10:],
}


@pytest.mark.parametrize("change", LATER_PACKS.values(), ids=LATER_PACKS)
def test_a_pack_of_a_later_dvlite_is_reported_as_that_and_never_distrusted_or_sent_again(world, store, pushed, change):
    version = pushed("data", {"a": noise(300, 1), "b": noise(300, 2)})
    segments = Collector(store).indexes()
    store.delete([entry.name for entry in store.list("index/").entries])
    rows, entries = [], {}
    for segment in segments.values():
        for old, entry in segment.packs.items():
            places = [place for place in segment if place.pack == old]
            whole = store.get(f"packs/{old.hex()}")
            name = old
            if entry.pack_class == pack.FILES:
                whole = change(whole)
                store.delete([f"packs/{old.hex()}"])
                name = digest_bytes(whole)
                store.put(f"packs/{name.hex()}", whole)
                places[0] = places[0]._replace(record=places[0].record._replace(codec=2 * (change is later_codec)))
            rows += [place._replace(pack=name) for place in places]
            entries[name] = index.PackEntry(entry.pack_class, len(whole))
    data = index.encode(rows, bytes(16), entries)
    store.put(f"index/{digest_bytes(data).hex()}", data)
    there = world.site("there")
    with pytest.raises(LaterVersion, match="was written by a later dvlite"):
        there.fetch(version)
    pusher = world.site("pusher")
    for site in (there, pusher):
        assert site.remote.remembered("distrusted") == set()
    before = {entry.name for entry in store.list("packs/").entries}
    try:
        pusher.push(version)
    except LaterVersion:
        assert change is later_codec
    assert {entry.name for entry in store.list("packs/").entries} == before
    assert Catalog(pusher.remote).look().distrusted == set()


def test_37_many_tiny_index_objects_are_read_all_the_same(world, store, pushed):
    version = pushed("x", b"good bytes")
    for i in range(1000):
        data = index.encode([], i.to_bytes(16, "big"))
        store.put(f"index/{digest_bytes(data).hex()}", data)
    assert world.site("there").fetch(version) == []


def test_32_a_recipe_that_does_not_fit_its_packs_is_refused_by_name(world, store, pushed):
    version = pushed("big", LARGE)
    collector = Collector(store)
    right = recipe.parse(collector.read(KIND_RECIPE, version.digest), version.digest)
    assert len(right.terms) == 1
    (term,) = right.terms
    wrong = [
        recipe.Term(term.pack, term.first + 1, term.count, 1, term.length_bytes),
        recipe.Term(term.pack, term.first, term.count - 1, 1, term.length_bytes),
        recipe.Term(term.pack, 2**31, 5, 1, term.length_bytes),
    ]
    for number, bad in enumerate(wrong):
        store.delete([entry.name for entry in store.list("index/").entries])
        data = recipe.dump(recipe.Recipe(version.digest, right.size_bytes, (bad,)))
        writer = pack.PackWriter(pack.META, number.to_bytes(16, "big"))
        writer.add_stored(pack.Record(KIND_RECIPE, pack.RAW, 0, len(data), len(data), version.digest), data)
        whole = writer.finish()
        store.put(f"packs/{whole.name.hex()}", whole.data)
        rows = index.encode(index.rows_of(whole), bytes(16))
        store.put(f"index/{digest_bytes(rows).hex()}", rows)
        there = world.site(f"there{number}")
        with pytest.raises(ObjectCorrupt, match=version.digest.hex()):
            there.fetch(version)
        assert not there.cache.has_file(version.digest, version.size_bytes)


def test_a_recipe_of_the_wrong_file_is_refused(world, store, pushed):
    """Its chunks are all sound, but together they are another file than the name promises."""
    version, other = pushed("big", LARGE), pushed("other", noise(80_000, 2))
    lie = recipe.parse(Collector(store).read(KIND_RECIPE, other.digest), other.digest)
    store.delete([entry.name for entry in store.list("index/").entries])
    data = recipe.dump(recipe.Recipe(version.digest, lie.size_bytes, lie.terms))
    writer = pack.PackWriter(pack.META, bytes(16))
    writer.add_stored(pack.Record(KIND_RECIPE, pack.RAW, 0, len(data), len(data), version.digest), data)
    whole = writer.finish()
    store.put(f"packs/{whole.name.hex()}", whole.data)
    rows = index.encode(index.rows_of(whole), bytes(16))
    store.put(f"index/{digest_bytes(rows).hex()}", rows)
    there = world.site("there")
    with pytest.raises(ObjectCorrupt, match=version.digest.hex()):
        there.fetch(version)
    assert not there.cache.has_file(version.digest, version.size_bytes)


def test_23_a_pointer_with_the_wrong_size_gets_no_bytes(world, pushed):
    version = pushed("big", LARGE)
    for size in (0, 1, len(LARGE) - 1, len(LARGE) + 1, 2**40):
        there = world.site(f"there{size}")
        with pytest.raises(DvliteError):
            if there.fetch(replace(version, size_bytes=size)):
                raise ObjectMissing("not there")
            there.content(replace(version, size_bytes=size))
            if there.cache.large_path(version.digest).stat().st_size != size:
                raise ObjectCorrupt("another size")


def test_of_a_pack_that_claims_to_hold_far_more_than_its_length_only_wanted_records_are_read(world, store, monkeypatch):
    writer = pack.PackWriter(pack.FILES, bytes(16))
    wanted = noise(10_000, 1)
    writer.add(pack.KIND_FILE, digest_bytes(wanted), wanted)
    for number in range(4):
        zeros = bytes(1_000_000 + number)
        writer.add(pack.KIND_FILE, digest_bytes(zeros), zeros)
    made = writer.finish()
    store.put(f"packs/{made.name.hex()}", made.data)
    data = index.encode(index.rows_of(made), bytes(16))
    store.put(f"index/{digest_bytes(data).hex()}", data)
    read = []
    unpack = pack.unpack
    monkeypatch.setattr(pack, "unpack", lambda record, stored: read.append(record) or unpack(record, stored))
    monkeypatch.setattr(index, "unpack", pack.unpack)
    site = world.site("here")
    assert (
        fetch.run(Catalog(site.remote).look(), site.cache, [Need(digest_bytes(wanted), 10_000, "x")], QUIET).needs == []
    )
    assert {record.digest for record in read} == {digest_bytes(wanted)}
