"""A look at a remote: always fresh, and never believing what it finds there."""

import os
import shutil

import pytest

from dvlite.errors import LaterVersion, ObjectCorrupt, ObjectMissing
from dvlite.formats import condemned
from dvlite.oid import FILE, Digest, digest_bytes
from dvlite.progress import NullProgress
from dvlite.store import index, pack, push_protocol
from dvlite.store.catalog import Catalog
from dvlite.store.index import RecordLocation, ranges
from dvlite.store.pack import KIND_FILE, PackWriter, Record
from dvlite.store.remote import Remote
from tests.store.collector import Collector
from tests.store.memory import MemoryStore, RecordingStore
from tests.store.world import World, noise

CONTENT = {f"{i:03d}": noise(300, i) for i in range(50)}
A = digest_bytes(CONTENT["000"])


@pytest.fixture
def store():
    return RecordingStore(MemoryStore())


@pytest.fixture
def world(tmp_path, store):
    made = World(tmp_path, store)
    yield made
    made.close()


@pytest.fixture
def site(world):
    made = world.site("here")
    made.push(made.add("data", CONTENT))
    return made


def look(site) -> Catalog:
    return Catalog(site.remote).look()


def test_a_look_lists_everything_and_reads_what_it_has_seen_before_from_disk(site, store):
    look(site).indexes()
    store.forget()
    catalog = look(site)
    assert catalog.locations(A, (KIND_FILE,))
    assert sorted(store.calls) == [("get", "config"), ("list", "condemned/"), ("list", "index/"), ("list", "packs/")]


def test_what_others_did_since_is_seen(site, world):
    catalog = look(site)
    other = world.site("other")
    other.push(other.add("more", {"x": b"new"}))
    assert not catalog.locations(digest_bytes(b"new"), (KIND_FILE,))
    assert catalog.look().locations(digest_bytes(b"new"), (KIND_FILE,))


def test_a_condemned_pack_does_not_count(site, store):
    Collector(store).condemn(Collector(store).packs())
    catalog = look(site)
    assert catalog.locations(A, (KIND_FILE,)) == []
    assert catalog.locations(A, (KIND_FILE,), condemned_too=True)


def test_a_second_look_says_what_was_condemned_meanwhile(site, store):
    catalog = look(site)
    assert catalog.look_at_condemned() == frozenset()
    packs = Collector(store).packs()
    Collector(store).condemn(packs)
    assert catalog.look_at_condemned() == packs
    assert catalog.look_at_condemned() == frozenset()


def test_36_an_index_that_names_an_absent_pack_is_harmless(site, store):
    lie = RecordLocation(Digest(b"\xee" * 32), Record(KIND_FILE, 0, 100, 5, 5, digest_bytes(b"hello")))
    data = index.encode([lie], bytes(16))
    store.put(f"index/{digest_bytes(data).hex()}", data)
    assert look(site).locations(digest_bytes(b"hello"), (KIND_FILE,)) == []


def test_38_a_condemned_list_that_names_everything_is_believed(site, store):
    everything = condemned.dump(Collector(store).packs(), bytes(16))
    store.put(f"condemned/{digest_bytes(everything).hex()}", everything)
    catalog = look(site)
    assert not any(catalog.usable(name) for name in catalog.packs)


@pytest.mark.parametrize("data", [b"", b"junk", b"{}"])
def test_39_a_condemned_list_that_is_none_is_left_out_with_a_warning(site, store, data):
    store.put(f"condemned/{digest_bytes(data).hex()}", data)
    warned = Warned()
    assert Catalog(site.remote, warned).look().locations(A, (KIND_FILE,))
    assert len(warned.messages) == 1


def test_a_condemned_list_of_a_later_version_stops_the_look(site, store):
    data = condemned.dump([], bytes(16)).replace(b"DVLC\1", b"DVLC\2")
    store.put(f"condemned/{digest_bytes(data).hex()}", data)
    with pytest.raises(LaterVersion, match="condemned/"):
        look(site)


def test_a_pack_that_is_not_as_long_as_its_index_says_is_sent_again_and_pulled_from(site, store):
    (place,) = look(site).locations(A, (KIND_FILE,))
    name = f"packs/{place.pack.hex()}"
    store.put(name, store.get(name)[:-10])
    catalog = look(site)
    assert catalog.locations(A, (KIND_FILE,)) == [place]
    assert not catalog.is_whole(place.pack)
    catalog.apply_damage_notes()
    assert catalog.locations(A, (KIND_FILE,)) == []


def test_many_condemned_lists_are_merged_and_all_they_name_stays_condemned(site, store):
    for number in range(condemned.MERGE_ABOVE + 1):
        Collector(store).condemn({Digest(bytes([number]) * 32)})
    catalog = look(site)
    push_protocol.merge_condemned(catalog)
    assert len(store.list("condemned/").entries) == 1
    assert catalog.look_at_condemned() == frozenset()
    assert len(catalog.condemned) == condemned.MERGE_ABOVE + 1


def test_lists_that_are_merged_while_they_are_read_are_listed_again(site, store, monkeypatch):
    packs = Collector(store).packs()
    for _ in range(condemned.MERGE_ABOVE + 1):
        Collector(store).condemn(packs)
    other, catalog = look(site), look(site)
    site.remote.forget("condemned", site.remote.remembered("condemned"))
    get = site.remote.get

    def merged_first(name, **bounds):
        push_protocol.merge_condemned(other)
        return get(name, **bounds)

    monkeypatch.setattr(site.remote, "get", merged_first)
    catalog.look_at_condemned()
    assert catalog.condemned == packs


@pytest.mark.parametrize("prefix", ["index", "condemned"])
def test_an_object_whose_bytes_are_not_its_name_s_costs_nothing_but_a_warning(site, store, prefix):
    store.put(f"{prefix}/{'ab' * 32}", b"junk")
    warned = Warned()
    catalog = Catalog(site.remote, warned).look()
    assert catalog.locations(A, (KIND_FILE,))
    assert list(catalog.damaged) == [f"{prefix}/{'ab' * 32}"]
    assert len(warned.messages) == 1


def damage(store, name: str, at: int = -1) -> None:
    data = bytearray(store.get(name))
    data[at] ^= 1
    store.put(name, data)


def index_names(store) -> list[str]:
    return [entry.name for entry in store.list("index/").entries]


@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_packs_of_a_damaged_index_object_are_found_by_their_footers(world, site, store, how):
    (name,) = index_names(store)
    data = store.get(name)
    store.put(name, {"flipped": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:100], "empty": b""}[how])
    colleague = world.site("colleague")
    version = site.versions["data"][0]
    assert colleague.fetch(version) == []
    assert colleague.content(version) == CONTENT
    large = site.add("large", noise(60_000, 5))
    site.push(large)
    assert world.site("third").fetch(large) == []


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_push_mends_a_damaged_index_object(world, site, store, how, kept):
    (name,) = index_names(store)
    data = store.get(name)
    store.put(name, data[:-1] + bytes([data[-1] ^ 1]) if how == "flipped" else data[:100])
    if not kept or how == "flipped":  # a flip is seen only where the object is read
        assert look(site).misnamed() == [name]
        site.remote.forget("index", {name[6:]})
    site.push(site.versions["data"][0])
    assert all(digest_bytes(store.get(left)).hex() == left[6:] for left in index_names(store))
    assert list(look(world.site("third")).damaged) == []
    assert world.site("third").fetch(site.versions["data"][0]) == []


def test_a_bad_index_object_stays_while_a_pack_that_it_may_name_cannot_be_read(world, site, store):
    (name,) = index_names(store)
    damage(store, name)
    pushed = [Digest(bytes.fromhex(entry.name[6:])) for entry in store.list("packs/").entries]
    catalog = look(world.site("third"))
    catalog.pack_bytes = lambda _: b""  # type: ignore[method-assign]
    catalog.read_footer = fail  # type: ignore[method-assign]
    push_protocol.mend_indexes(catalog)
    assert index_names(store) == [name]
    assert set(pushed) == set(catalog.packs)


def fail(*_: object) -> None:
    raise ObjectCorrupt("cut short")


class Warned(NullProgress):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def warn(self, message: str) -> None:
        self.messages.append(message)


@pytest.mark.parametrize(
    "name", ["packs/x", f"packs/{'AB' * 32}".lower()[:-1], f"packs/{'ab' * 32}/x", "index/readme", "index/00"]
)
def test_40_foreign_keys_are_passed_over(site, store, name):
    store.put(name, b"")
    assert look(site).locations(A, (KIND_FILE,))


def test_what_is_kept_of_a_remote_may_be_lost_or_damaged(site):
    catalog = look(site)
    catalog.indexes()
    for path in [path for path in site.remote.folder.rglob("*") if path.is_file()]:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert look(site).locations(A, (KIND_FILE,))
    for path in [path for path in site.remote.folder.rglob("*") if path.is_file()]:
        path.unlink()
    assert look(site).locations(A, (KIND_FILE,))
    version = site.versions["data"][0]
    site.push(version)
    assert site.fetch(version) == []


def test_complete_means_that_every_pack_still_counts(site, store):
    version = site.versions["data"][0]
    assert look(site).complete(version.kind, version.digest)
    Collector(store).condemn({next(iter(Collector(store).packs()))})
    assert look(site).complete(version.kind, version.digest) is None


def test_a_note_under_another_name_or_from_another_remote_is_not_believed(world, site):
    version = site.versions["data"][0]
    other = site.add("other", noise(60_000, 9))
    notes = site.remote.folder / "complete"
    (note,) = notes.iterdir()
    shutil.copy(note, notes / f"{other.kind}-{other.digest.hex()}")
    catalog = look(site)
    assert catalog.complete(version.kind, version.digest)
    assert catalog.complete(other.kind, other.digest) is None
    elsewhere = Remote(site.remote.store, site.cache, "elsewhere", jobs=1)
    shutil.copytree(site.remote.folder, elsewhere.folder)
    assert Catalog(elsewhere).look().complete(version.kind, version.digest) is None
    elsewhere.__exit__(None)


@pytest.mark.parametrize("kind", ["distrusted", "unfinished", "roots", "complete", "footers", "index"])
def test_a_file_that_is_no_note_is_passed_over(site, kind):
    (site.remote.folder / kind).mkdir(exist_ok=True)
    for name in ("x", "zz" * 32, "AB" * 32):
        (site.remote.folder / kind / name).write_bytes(b"\xff")
    for note in (site.remote.folder / kind).iterdir():
        note.chmod(0o644)
        note.write_bytes(b"\xff\n")
    site.push(site.add("other", noise(60_000, 9)), site.versions["data"][0])


# --- footers ---


def chunk_pack(store, count: int = 300) -> pack.Pack:
    writer = PackWriter(pack.CHUNKS, os.urandom(16))
    for i in range(count):
        writer.add(pack.KIND_CHUNK, digest_bytes(noise(300, i)), noise(300, i))
    whole = writer.finish()
    store.put(f"packs/{whole.name.hex()}", whole.data)
    return whole


def test_a_footer_costs_two_requests_at_most_and_none_the_second_time(site, store):
    whole = chunk_pack(store)
    store.forget()
    catalog = look(site)
    assert catalog.footers([whole.name]) == {whole.name: whole.records}
    assert 1 <= store.count("get", "packs/") <= 2
    assert store.received_bytes < 0.4 * len(whole.data)
    store.forget()
    assert look(site).footers([whole.name]) == {whole.name: whole.records}
    assert store.count("get", "packs/") == 0


def test_a_damaged_footer_is_rebuilt_from_the_pack(site, store):
    whole = chunk_pack(store)
    for at in (1, 20, 40, 5000):
        damaged = bytearray(whole.data)
        damaged[-at] ^= 1
        store.put(f"packs/{whole.name.hex()}", damaged)
        for path in site.remote.folder.glob("footers/*"):
            path.unlink()
        assert look(site).footer(whole.name)[: len(whole.records)] == whole.records


def test_the_footer_of_an_absent_pack_is_missing_by_name(site):
    with pytest.raises(ObjectMissing, match="ee" * 32):
        look(site).footer(Digest(b"\xee" * 32))


def test_a_table_rebuilt_from_an_answer_that_was_cut_is_not_kept(site, store):
    whole = chunk_pack(store)
    catalog = look(site)
    catalog.keep_footer(whole.name, whole.data[:5000])
    catalog.pack_bytes = lambda _: whole.data[:5000]  # type: ignore[method-assign]
    catalog.read_footer = fail  # type: ignore[method-assign]
    assert 0 < len(catalog.footer(whole.name)) < len(whole.records)
    assert look(site).footer(whole.name) == whole.records


# --- ranges ---


def at(offset: int, length: int) -> RecordLocation:
    return RecordLocation(A, Record(KIND_FILE, 0, offset, length, length, A))


def test_ranges_join_what_is_close_and_keep_what_is_far_apart():
    places = [at(5_000_000, 10), at(100, 50), at(200, 50), at(40_000, 10)]
    assert [(start, end, len(group)) for start, end, group in ranges(places)] == [
        (100, 40_010, 3),
        (5_000_000, 5_000_010, 1),
    ]


def test_ranges_are_bounded():
    places = [at(i * 1000, 1000) for i in range(100)]
    found = ranges(places, limit_bytes=10_000)
    assert max(end - start for start, end, _ in found) <= 10_000
    assert sum(len(group) for *_, group in found) == 100


def test_a_remote_with_many_packs_is_listed_in_parts(site, store, monkeypatch):
    from dvlite.store import catalog as module

    monkeypatch.setattr(module, "_MANY", 2)
    first = look(site)
    store.forget()
    second = look(site)
    assert second.packs == first.packs
    assert store.count("list", "packs/") == 16


# --- what indexes say, and what is so


def publish(store, places) -> None:
    data = index.encode(places, os.urandom(16))
    store.put(f"index/{digest_bytes(data).hex()}", data)


def test_a_row_that_is_wrong_gives_way_to_another_one_for_the_same_object(site, store):
    (place,) = look(site).locations(A, (KIND_FILE,))
    publish(store, [RecordLocation(place.pack, place.record._replace(offset=offset)) for offset in (33, 34, 35)])
    catalog = look(site)
    assert len(catalog.locations(A, (KIND_FILE,))) == 4
    read = catalog.read_meta(catalog.locations(A, (KIND_FILE,)))
    assert set(read.values()) == {CONTENT["000"]}
    assert catalog.locations(A, (KIND_FILE,)) == [place]
    assert catalog.usable(place.pack)


def test_any_number_of_wrong_rows_ends_in_an_error_of_ours(site, store):
    (place,) = look(site).locations(A, (KIND_FILE,))
    data = bytearray(store.get(f"packs/{place.pack.hex()}"))
    data[place.record.offset + 3] ^= 1
    store.put(f"packs/{place.pack.hex()}", data)
    publish(store, [RecordLocation(place.pack, place.record._replace(offset=33 + i)) for i in range(2000)])
    catalog = look(site)
    assert catalog.read_meta(catalog.locations(A, (KIND_FILE,))[:1]) == {}
    assert isinstance(catalog.missing(A, FILE), ObjectCorrupt)


def test_a_pack_is_damaged_if_no_row_finds_the_object_in_it(site, store):
    (place,) = look(site).locations(A, (KIND_FILE,))
    data = bytearray(store.get(f"packs/{place.pack.hex()}"))
    data[place.record.offset + 3] ^= 1
    store.put(f"packs/{place.pack.hex()}", data)
    publish(store, [RecordLocation(place.pack, place.record._replace(offset=33))])
    catalog = look(site)
    assert catalog.read_meta(catalog.locations(A, (KIND_FILE,))[:1]) == {}
    assert isinstance(catalog.missing(A, FILE), ObjectCorrupt)
    assert catalog.usable(place.pack)  # to a pull: its other objects are sound
    catalog.apply_damage_notes()
    assert not catalog.usable(place.pack)  # to a push


def test_a_note_of_a_damaged_pack_counts_for_plans_until_the_pack_is_gone(site, store):
    (place,) = look(site).locations(A, (KIND_FILE,))
    look(site).note_damaged(place.pack)
    catalog = look(site)
    assert catalog.usable(place.pack)
    catalog.apply_damage_notes()
    assert not catalog.usable(place.pack)
    store.delete([f"packs/{place.pack.hex()}"])
    look(site).apply_damage_notes()
    assert site.remote.remembered("distrusted") == set()


def test_an_unfinished_pack_of_a_later_dvlite_is_not_relied_on_and_stops_nothing(site, store):
    writer = pack.PackWriter(pack.CHUNKS, bytes(16))
    writer.add_stored(Record(pack.KIND_CHUNK, 2, 0, 9, 5, digest_bytes(b"x")), b"delta")
    whole = writer.finish()
    store.put(f"packs/{whole.name.hex()}", whole.data)
    site.remote.remember("unfinished", whole.name.hex(), b"")
    assert look(site).unfinished_packs() == set()
