"""Ranges of files: only the records that hold them travel, together, and no byte is returned unverified."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats import recipe
from dvlite.oid import digest_bytes
from dvlite.store import pack, recipes, stretches
from dvlite.store.catalog import Catalog
from dvlite.store.ranged_reader import RangedReader, Span
from tests.store.cached import flip
from tests.store.collector import Collector
from tests.store.memory import MemoryStore
from tests.store.world import HookStore, World, noise

SMALL = {f"d{i % 7}/{i:04d}": noise(300 + i % 50, i) for i in range(300)}
LARGE = noise(120_000, 1)
EDITED = b"edited".join(LARGE[begin : begin + 3_000] for begin in range(0, len(LARGE), 3_000))
HOLES = noise(10_000, 2) + bytes(300_000) + noise(10_000, 3) * 3


def reader_of(site):
    return RangedReader(site.cache, lambda: Catalog(site.remote, to_read=True).look())


def span(content, start=0, end=None):
    return Span(digest_bytes(content), len(content), *slice(start, end).indices(len(content))[:2])


@pytest.fixture
def pushed(world, monkeypatch):
    """A maker of readers of a colleague who has nothing, once all of it is on the remote; the edited file in stretches."""
    monkeypatch.setattr(stretches, "_BYTES_PER_PIECE", 32)
    monkeypatch.setattr(stretches, "_LEAST_BYTES", 64)
    here = world.site("here")
    here.push(*here.add_all({"small": SMALL, "large": LARGE, "holes": HOLES}))
    edited = here.add("large", EDITED)
    here.push(edited)
    (file,) = Catalog(here.remote).look().recipes.find([edited.digest]).values()
    assert sum(term.skip_bytes is not None for term in file.recipe.terms) > 80

    def pushed(name="there", **how):
        return reader_of(world.site(name, **how))

    return pushed


def test_any_range_of_any_file_is_what_a_slice_of_it_is(pushed):
    reader, chance = pushed(), random.Random(1)
    asked = []
    for content in (LARGE, EDITED, HOLES, *list(SMALL.values())[:20]):
        asked += [(content, 0, len(content)), (content, 0, 0), (content, len(content), len(content))]
        asked += [(content, *sorted(chance.choices(range(len(content) + 1), k=2))) for _ in range(20)]
    results = reader.read_each([span(*each) for each in asked])
    assert results == [content[start:end] for content, start, end in asked]
    assert [reader.read(span(*each)) for each in asked[:30]] == results[:30]


def test_only_the_records_that_hold_a_range_travel_and_those_it_cuts_are_kept(pushed, store):
    reader = pushed()
    reader.read(span(LARGE, 0, 1))
    store.forget()
    assert reader.read(span(LARGE, 60_000, 60_100)) == LARGE[60_000:60_100]
    assert store.received_bytes < 2 * 4096  # of 117 KiB
    assert reader.read(span(LARGE, 60_050, 60_100)) == LARGE[60_050:60_100]
    assert len(store.calls) == 1
    assert not list(reader.cache.folder.glob("packs/*"))
    assert not list(reader.cache.folder.glob("files/*"))


def test_neighbours_come_with_one_request_and_each_record_once(pushed, store):
    reader = pushed()
    reader.read(span(LARGE, 0, 1))
    store.forget()
    spans = [span(content) for content in SMALL.values()]
    assert reader.read_each(spans + spans) == 2 * list(SMALL.values())
    assert len(store.calls) <= 2  # the packs that hold them
    assert store.received_bytes < 1.4 * sum(map(len, SMALL.values()))


def test_what_the_cache_has_is_not_requested(world, store):
    here = world.site("here")
    here.add_all({"small": SMALL, "large": LARGE})
    reader = reader_of(here)
    store.forget()
    assert reader.read(span(LARGE, 5, 50)) == LARGE[5:50]
    assert reader.read(span(SMALL["d0/0000"], 5, 50)) == SMALL["d0/0000"][5:50]
    assert store.calls == []


def test_a_damaged_file_of_the_cache_is_read_from_the_remote_and_else_reported(world, pushed):
    reader = reader_of(world.site("here"))
    flip(reader.cache.large_path(digest_bytes(LARGE)), 70_000)
    assert reader.read(span(LARGE, 5, 50)) == LARGE[5:50]
    alone = RangedReader(reader.cache, lambda: (_ for _ in ()).throw(ObjectMissing("no remote")))
    with pytest.raises(ObjectCorrupt):
        alone.read(span(LARGE, 5, 50))


def test_of_a_recipe_in_parts_only_those_that_hold_a_range_are_used(world, monkeypatch):
    monkeypatch.setattr(recipe, "TERMS_PER_PART", 2)
    monkeypatch.setattr(recipe, "LEAST_BYTES", 1)
    monkeypatch.setattr(pack, "TARGET_BYTES", 8_000)
    here = world.site("here")
    here.push(here.add("large", LARGE))
    reader, used = reader_of(world.site("there")), []
    part = recipes.Recipes.part
    monkeypatch.setattr(recipes.Recipes, "part", lambda self, file, i: (used.append(i), part(self, file, i))[1])
    for start in (0, 50_000, 50_001, 119_000):
        assert reader.read(span(LARGE, start, start + 500)) == LARGE[start : start + 500]
    assert len(used) <= 4
    assert reader.read(span(LARGE)) == LARGE


def test_a_gc_at_any_moment_of_a_read_hides_nothing(tmp_path):
    content = dict(itertools.islice(SMALL.items(), 20))
    spans = [span(LARGE, 1_000, 90_000), span(LARGE, 3, 9), *(span(each, 1, 200) for each in content.values())]
    right = [LARGE[1_000:90_000], LARGE[3:9], *(each[1:200] for each in content.values())]
    for at in itertools.count(1):
        store = MemoryStore()
        world = World(tmp_path / str(at), store)
        here = world.site("here")
        here.push(*here.add_all({"small": content, "large": LARGE}))
        collector = Collector(store)
        hook = HookStore(store, at, lambda collector=collector: collector.collect(everything=True))
        reader = reader_of(world.site("there", store=hook))
        assert reader.read_each(spans[:1]) + reader.read_each(spans[1:]) == right
        world.close()
        if not hook.happened:
            break
    assert at > 6


def test_a_flipped_byte_anywhere_on_the_remote_gives_an_error_or_the_right_bytes(tmp_path):
    content, big = {f"{i}": noise(200, i) for i in range(6)}, noise(20_000, 3)
    store = MemoryStore()
    here = World(tmp_path / "here", store).site("here")
    here.push(*here.add_all({"small": content, "big": big}))
    spans = [span(big, 5_000, 5_100), span(big), *(span(each, 3, 9) for each in content.values())]
    right = [big[5_000:5_100], big, *(each[3:9] for each in content.values())]
    outcomes = {"right": 0, "wrong": 0}
    for number, (name, data) in enumerate(dict(store.objects).items()):
        for at in range(0, len(data), max(1, len(data) // 9)) if name.startswith("packs/") else ():
            store.objects[name] = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
            reader = reader_of(World(tmp_path / f"{number}-{at}", store).site("there"))
            for result, expected in zip(reader.read_each(spans), right, strict=True):
                assert isinstance(result, DvliteError) or result == expected
                outcomes["right" if result == expected else "wrong"] += 1
            store.objects[name] = data
            assert reader.read_each(spans) == right, "a healthy remote is read again"
    assert min(outcomes.values()) > 10


def test_what_one_pack_lacks_fails_its_own_files_only(pushed, store):
    reader = pushed()
    reader.read(span(LARGE, 0, 1))
    lost = next(entry.name for entry in store.list("packs/").entries if store.get(entry.name)[8] == pack.CHUNKS)
    store.delete([lost])
    results = reader.read_each([span(LARGE), span(SMALL["d0/0000"])])
    assert isinstance(results[0], ObjectMissing)
    assert results[1] == SMALL["d0/0000"]


def test_a_size_that_is_not_that_of_the_file_is_refused_before_memory_is_taken(pushed):
    reader = pushed()
    for content in (LARGE, SMALL["d0/0000"]):
        with pytest.raises(ObjectCorrupt, match="said to have"):
            reader.read(Span(digest_bytes(content), 1 << 60, 0, 1 << 60))


def test_the_size_of_a_file_is_known_by_its_name(world, pushed):
    for reader in (pushed(), reader_of(world.site("here"))):
        assert [reader.size_of(digest_bytes(each)) for each in (LARGE, SMALL["d0/0000"])] == [len(LARGE), 300]
        with pytest.raises(ObjectMissing):
            reader.size_of(digest_bytes(b"nowhere"))


def test_threads_share_a_reader(pushed):
    reader = pushed(jobs=4)
    starts = [random.Random(seed).randrange(100_000) for seed in range(60)]
    with ThreadPoolExecutor(6) as threads:
        read = list(threads.map(lambda start: reader.read(span(LARGE, start, start + 5_000)), starts))
    assert read == [LARGE[start : start + 5_000] for start in starts]
