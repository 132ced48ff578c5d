"""Recipes in parts: pushed, fetched, moved and mended as others are, with few terms in memory; hostile parts are refused."""

import os
import random

import pytest

from dvlite.errors import ObjectCorrupt
from dvlite.formats import recipe
from dvlite.formats.recipe import Part, Recipe, Term
from dvlite.oid import digest_bytes
from dvlite.store import index, pack, partial_file, push_send, recipes
from dvlite.store.catalog import Catalog
from dvlite.store.fetch import Need
from dvlite.store.pack import KIND_PART, KIND_RECIPE, Record
from dvlite.store.recipes import windows
from tests.store.collector import Collector
from tests.store.pushed import assert_complete
from tests.store.world import HookStore, Interrupted, noise

BIG = noise(150_000, 5)


@pytest.fixture(autouse=True)
def few_terms(monkeypatch):
    """Two terms a part, 8 KB a pack and 20 chunks a window: a file of 150 KB has 10 parts."""
    monkeypatch.setattr(recipe, "TERMS_PER_PART", 2)
    monkeypatch.setattr(pack, "TARGET_BYTES", 8_000)
    for module in (recipes, partial_file):
        monkeypatch.setattr(module, "WINDOW_CHUNKS", 20)


def found(world, version, name="looker"):
    catalog = Catalog(world.site(name).remote).look()
    return catalog, catalog.recipes.find([version.digest])[version.digest]


def meta_packs(store, kind):
    return {
        place.pack for segment in Collector(store).indexes().values() for place in segment if place.record.kind == kind
    }


def test_a_file_of_many_terms_is_stored_in_parts_and_comes_back(world, store):
    here = world.site("here")
    version = here.add("big", BIG)
    here.push(version)
    catalog, file = found(world, version)
    assert len(file.recipe.parts) >= 8
    assert not file.recipe.terms
    assert sum(part.length_bytes for part in file.recipe.parts) == len(BIG)
    terms = list(catalog.recipes.terms(file))
    assert sum(term.length_bytes for term in terms) == len(BIG)
    assert file.packs == recipe.packs_of(terms)
    assert file.holders == meta_packs(store, KIND_PART) | meta_packs(store, KIND_RECIPE)
    assert_complete(world, "colleague", version, BIG)


def test_an_edit_sends_no_part_before_it_again(world, store):
    here = world.site("here")
    first = here.add("big", BIG)
    here.push(first)
    store.forget()
    version = here.add("big", BIG + b"appended")
    here.push(version)
    assert store.sent_bytes < 10_000
    _, before = found(world, first)
    _, after = found(world, version)
    assert after.recipe.parts[:-2] == before.recipe.parts[: len(after.recipe.parts) - 2]
    assert_complete(world, "colleague", version, BIG + b"appended")


def test_a_push_relies_on_the_packs_of_parts_and_of_chunks_and_notes_them(world, store):
    here = world.site("here")
    version = here.add("big", BIG)
    here.push(version)
    store.forget()
    here.push(version)
    assert store.count("get", "packs/") == store.count("put", "packs/") == 0
    other = world.site("other")
    other.add("big", BIG)
    plan = other.push(version).plan
    _, file = found(world, version)
    noted = Catalog(here.remote).look().complete(version.kind, version.digest)
    assert plan.relies[version.kind, version.digest] == file.relies
    assert noted is not None
    assert noted >= file.relies


@pytest.mark.parametrize("kind", [KIND_PART, KIND_RECIPE])
def test_a_condemned_pack_of_a_part_has_the_file_sent_again(world, store, kind):
    here = world.site("here")
    version = here.add("big", BIG)
    here.push(version)
    collector = Collector(store)
    collector.condemn(meta_packs(store, kind))
    here.push(version)
    collector.delete()
    assert_complete(world, "colleague", version, BIG)


def test_moved_chunks_have_new_parts(world, store):
    here = world.site("here")
    version = here.add("big", BIG)
    here.push(version)
    Collector(store).collect(everything=True)
    _, file = found(world, version)
    assert len(file.recipe.parts) >= 8
    assert len(file.packs) == 1
    assert_complete(world, "colleague", version, BIG)


def test_a_push_that_died_between_two_parts_continues(world, store):
    def die():
        raise Interrupted

    here = world.site("here", store=HookStore(store, 12, die, lambda operation, _: operation == "put"))
    version = here.add("big", BIG)
    with pytest.raises(Interrupted):
        here.push(version)
    sent = store.sent_bytes
    store.forget()
    here.push(version)
    assert store.sent_bytes < len(BIG) - sent + 60_000
    assert_complete(world, "colleague", version, BIG)


def test_a_fetch_that_died_between_two_windows_continues(world, store):
    here = world.site("here")
    version = here.add("big", BIG)
    here.push(version)

    def die():
        raise Interrupted

    there = world.site("there", store=HookStore(store, 20, die, lambda _, name: name.startswith("packs/")))
    with pytest.raises(Interrupted):
        there.fetch(version)
    Catalog(there.remote).look().footers(found(world, version)[1].packs)
    store.forget()
    assert there.fetch(version) == []
    assert there.content(version) == BIG
    assert store.received_bytes < 0.7 * len(BIG)


@pytest.mark.parametrize("around", [1 << 30, 5_000])
def test_a_fetch_takes_chunks_of_an_earlier_version(world, store, monkeypatch, around):
    monkeypatch.setattr("dvlite.store.reuse._AROUND_BYTES", around)
    here, there = world.site("here"), world.site("there")
    first = here.add("big", BIG)
    here.push(first)
    assert there.fetch(first) == []
    edited = BIG[:50_000] + b"inserted" + BIG[50_000:]
    version = here.add("big", edited)
    here.push(version)
    store.forget()
    assert there.fetch(version, bases=(first.digest,)) == []
    assert there.content(version) == edited
    assert store.received_bytes < 60_000  # of the chunks: below 12 KB, the rest are indexes, parts and ends of packs


def test_a_push_knows_the_chunks_of_earlier_versions_as_it_gets_there(world, store, monkeypatch):
    """However many chunks there are, those of the part of the file that is read are known."""
    monkeypatch.setattr(push_send, "_AHEAD_BYTES", 40_000)
    monkeypatch.setattr(push_send, "_KNOWN_CHUNKS", 100)
    here = world.site("here")
    here.push(here.add("big", BIG))
    store.forget()
    edited = BIG[:1000] + b"x" + BIG[1000:75_000] + b"inserted" + BIG[75_000:]
    version = here.add("big", edited)
    here.push(version)
    assert store.sent_bytes < 25_000
    assert_complete(world, "colleague", version, edited)


def test_few_parts_are_read_at_a_time(world, store):
    here = world.site("here")
    version = here.add("big", BIG)
    here.push(version)
    catalog, file = found(world, version)
    catalog.remote.forget("meta", catalog.remote.remembered("meta"))
    read = []
    wanted = catalog.read_meta
    catalog.read_meta = lambda places: (read.append(len(places)), wanted(places))[1]
    terms = catalog.recipes.terms(file)
    next(terms)
    assert read == [4]
    assert len(list(terms)) > 16
    assert max(read) == 4


def test_a_draft_holds_the_terms_of_one_part(monkeypatch):
    monkeypatch.setattr(recipe, "TERMS_PER_PART", 100)
    one, two = (push_send.PackSlot(digest_bytes(name)) for name in (b"one", b"two"))
    draft, cut = push_send._RecipeDraft(digest_bytes(b"file")), []
    for number in range(5_000):
        draft.add((one, two)[number % 2], number * 2, 1000)
        assert len(draft._terms) <= 101
        if draft.is_full:
            cut.append(draft.cut())
    assert {len(terms) for terms in cut} == {100}
    assert sum(map(len, cut)) + len(draft.cut(last=True)) == 5_000
    assert draft.size_bytes == 5_000_000
    assert draft.fragmented


def test_10_tb_in_the_smallest_pieces_fits():
    """A chunk of 64 KiB a term, each in another pack than the one before."""
    terms = 10**13 // (64 * 1024)
    parts = terms // 65_536 + 1
    fullest = recipe.dump_part([Term(digest_bytes(bytes([n % 256, n >> 8])), 0, 1, 1, 65_536) for n in range(65_536)])
    assert len(fullest[1]) <= recipe.MAX_BYTES // 4
    whole = recipe.dump(Recipe(digest_bytes(b"file"), 0, parts=(fullest[0],) * parts))
    assert len(whole) < 100_000


def test_windows_divide_no_term_and_bound_the_chunks():
    draw = random.Random(1)
    terms = [Term(digest_bytes(b"x"), n, draw.randrange(1, 30), draw.randrange(1, 3), 1000) for n in range(200)]
    made = list(windows(terms))
    assert [term for window in made for term in window] == terms
    assert all(len(each) == 1 or sum(term.count * term.repeat for term in each) <= 20 for each in made)


# --- hostile and damaged parts ---


def publish(store, *records):
    """Puts records into a pack of class meta, in place of all that indexes and packs of that class named."""
    store.delete([f"packs/{name.hex()}" for kind in (KIND_RECIPE, KIND_PART) for name in meta_packs(store, kind)])
    store.delete([entry.name for entry in store.list("index/").entries])
    writer = pack.PackWriter(pack.META, os.urandom(16))
    for kind, digest, data in records:
        writer.add_stored(Record(kind, pack.RAW, 0, len(data), len(data), digest), data)
    whole = writer.finish()
    store.put(f"packs/{whole.name.hex()}", whole.data)
    rows = index.encode(index.rows_of(whole), bytes(16))
    store.put(f"index/{digest_bytes(rows).hex()}", rows)


def part_of(data, length):
    return Part(digest_bytes(data), length), data


def of_parts(version, *parts):
    return recipe.dump(Recipe(version.digest, version.size_bytes, parts=tuple(parts)))


def test_hostile_parts_are_refused_by_the_name_of_the_file(world, store):
    here = world.site("here")
    version = here.add("big", BIG)
    here.push(version)
    catalog, file = found(world, version)
    terms = list(catalog.recipes.terms(file))
    right, data = recipe.dump_part(terms)
    half, half_data = recipe.dump_part(terms[:10])
    rest = len(BIG) - half.length_bytes
    itself = of_parts(version, right)
    named = recipe.dump(Recipe(bytes(32), len(BIG), parts=(right,)))
    lies = {
        "names parts": [part_of(named, len(BIG))],
        "is the recipe itself": [part_of(itself, len(BIG))],
        "is shorter than said": [(Part(half.digest, len(BIG)), half_data)],
        "comes twice, overlapping": [(half, half_data), (Part(half.digest, rest), half_data)],
        "is not one": [part_of(b"DVLR" + bytes(200), len(BIG))],
        "has the bytes of another": [(right, half_data)],
    }
    for number, (name, parts) in enumerate(lies.items()):
        records = {part.digest: (KIND_PART, part.digest, data) for part, data in parts}
        publish(
            store, (KIND_RECIPE, version.digest, of_parts(version, *(part for part, _ in parts))), *records.values()
        )
        there = world.site(f"there{number}")
        with pytest.raises(ObjectCorrupt, match=version.digest.hex() if name != "has the bytes of another" else "."):
            there.fetch(version)
        assert not there.cache.has_file(version.digest, version.size_bytes), name
    publish(store, (KIND_RECIPE, version.digest, itself), (KIND_PART, right.digest, data))
    assert_complete(world, "colleague", version, BIG)


def test_a_part_that_is_nowhere_leaves_the_file_absent_and_has_it_sent_again(world, store):
    here = world.site("here")
    version = here.add("big", BIG)
    here.push(version)
    publish(store, (KIND_RECIPE, version.digest, of_parts(version, Part(digest_bytes(b"gone"), len(BIG)))))
    need = Need(version.digest, version.size_bytes, "big", ())
    assert world.site("there").fetch(version) == [need]
    here.push(version)
    assert_complete(world, "colleague", version, BIG)


def test_a_damaged_part_has_the_file_sent_again(world, store):
    here = world.site("here")
    version = here.add("big", BIG)
    here.push(version)
    for name in meta_packs(store, KIND_PART):
        data = bytearray(store.get(f"packs/{name.hex()}"))
        data[pack.HEADER_BYTES + pack.RECORD_BYTES + 20] ^= 1
        store.put(f"packs/{name.hex()}", bytes(data))
    other = world.site("other")
    other.add("big", BIG)
    other.push(version)
    assert_complete(world, "colleague", version, BIG)
