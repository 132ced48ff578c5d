"""An edit of a chunk is stored as what is new and stretches of what is there; that holds through fetch, gc, purge, fsck and damage."""

import random

import pytest

from dvlite.errors import ObjectCorrupt
from dvlite.formats import recipe, tombstone
from dvlite.formats.tombstone import Tombstone
from dvlite.oid import digest_bytes
from dvlite.store import collect, index, pack, partial_file, stretches
from dvlite.store.catalog import Catalog
from dvlite.store.pack import CHUNKS, KIND_RECIPE
from dvlite.store.partial_file import PartialFile
from dvlite.store.ranged_reader import RangedReader, Span
from tests.store.collector import Collector
from tests.store.pushed import assert_complete
from tests.store.test_check_remote import checked, is_sound
from tests.store.test_collect import gc, stored
from tests.store.world import SIGNER, HookStore, Interrupted, noise

FIRST = noise(60_000, 1)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Chunks are of 1 KiB here."""
    monkeypatch.setattr(stretches, "_BYTES_PER_PIECE", 32)
    monkeypatch.setattr(stretches, "_LEAST_BYTES", 64)
    monkeypatch.setattr(recipe, "LEAST_BYTES", 16)


def edited(content, seed, edits=25):
    """Returns a content with scattered cells changed and a row removed."""
    chance = random.Random(seed)
    changed = bytearray(content)
    for _ in range(edits):
        at = chance.randrange(len(changed))
        changed[at : at + 7] = chance.randbytes(chance.choice([5, 7, 9]))
    at = chance.randrange(len(changed))
    del changed[at : at + 30]
    return bytes(changed)


def versions_of(count):
    contents = [FIRST]
    for seed in range(count - 1):
        contents.append(edited(contents[-1], seed))
    return contents


def pushed(site, contents):
    versions = []
    for content in contents:
        versions.append(site.add("big", content))
        site.push(versions[-1])
    return versions


def chunk_bytes(store):
    """Returns all that chunks on a remote hold."""
    packs = {entry.name: store.get(entry.name) for entry in store.list("packs/").entries}
    opened = [(data, pack.open_whole(data, digest_bytes(data))) for data in packs.values()]
    return [
        pack.unpack(record, data[record.offset : record.offset + record.stored_length])
        for data, records in opened
        if pack.class_of(data, digest_bytes(data)) == CHUNKS
        for record in records
    ]


def test_scattered_edits_upload_what_is_new_and_every_version_is_read(world, store):
    here = world.site("here")
    contents = versions_of(8)
    versions = pushed(here, contents[:1])
    before = stored(store)
    versions += pushed(here, contents[1:])
    assert stored(store) - before < 0.55 * 7 * 25 * 1024  # a chunk of 1 KiB for each edit
    for i in (0, 3, 7):
        assert_complete(world, f"colleague {i}", versions[i], contents[i])


def test_stretches_lie_in_whole_chunks_however_many_versions_there_were(world):
    here = world.site("here")
    versions = pushed(here, versions_of(6))
    catalog = Catalog(here.remote).look()
    for file in catalog.recipes.find(version.digest for version in versions).values():
        for term in catalog.recipes.terms(file):
            record = catalog.footers([term.pack])[term.pack][term.first]
            assert record.codec in (pack.RAW, pack.ZSTD)
            if term.skip_bytes is not None:
                assert (term.count, term.repeat) == (1, 1)
                assert term.skip_bytes + term.length_bytes <= record.raw_length


def test_a_fetch_takes_stretches_of_an_earlier_version(world, store):
    here = world.site("here")
    contents = versions_of(6)
    versions = pushed(here, contents)
    colleague = world.site("colleague")
    assert colleague.fetch(versions[4]) == []
    store.forget()
    assert colleague.fetch(versions[5], bases=(versions[4].digest,)) == []
    assert colleague.content(versions[5]) == contents[5]
    assert store.received_bytes < 30_000  # a tenth of it tables and recipes


def test_what_an_earlier_version_seems_to_have_is_fetched_if_it_does_not_make_the_file(world, monkeypatch):
    here = world.site("here")
    contents = versions_of(3)
    versions = pushed(here, contents)
    colleague = world.site("colleague")
    colleague.fetch(versions[1])
    true, swaps = recipe.parse, []

    def swapped(data, digest):
        """The recipe of the earlier version, which someone else wrote, has two stretches in each other's place."""
        made = true(data, digest)
        at = [i for i, term in enumerate(made.terms) if term.skip_bytes is not None][:2]
        if digest != versions[1].digest or len(at) < 2:
            return made
        terms = list(made.terms)
        terms[at[0]], terms[at[1]] = terms[at[1]], terms[at[0]]
        swaps.append(at)
        return recipe.Recipe(digest, made.size_bytes, tuple(terms))

    monkeypatch.setattr(recipe, "parse", swapped)
    assert colleague.fetch(versions[2], bases=(versions[1].digest,)) == []
    assert swaps
    assert colleague.content(versions[2]) == contents[2]


def test_a_damaged_earlier_version_in_the_cache_is_not_compared_with(world):
    """It would show what the remote does not have: at worst the bytes of the new version."""
    here = world.site("here")
    contents = versions_of(2)
    pushed(here, contents[:1])
    path = here.cache.large_path(digest_bytes(FIRST))
    path.chmod(0o644)
    path.write_bytes((contents[1] + FIRST)[: len(FIRST)])
    (version,) = pushed(here, contents[1:])
    assert_complete(world, "colleague", version, contents[1])


@pytest.mark.parametrize("at", [1, 2])
def test_a_push_relies_on_what_its_stretches_lie_in(world, store, at):
    """Of the earlier version nothing but stretches is taken; its only pack is condemned while a push of the next is under way."""
    here = world.site("here")
    first = noise(1_200, 3)
    following = b"edited".join(first[begin : begin + 150] for begin in range(0, len(first), 150))
    pushed(here, [first])
    collector = Collector(store)
    collector.forget_roots()
    hook = HookStore(store, at, lambda: collector.collect(everything=True), lambda call, _name: call == "put")
    hooked = world.site("here", store=hook)
    hooked.versions = here.versions
    (version,) = pushed(hooked, [following])
    assert hook.happened
    assert_complete(world, "colleague", version, following)


def forged(monkeypatch, digest, change):
    """Has every reader see a recipe as someone else, who can compute its checksum too, would have written it."""
    true = recipe.parse

    def parse(data, name):
        read = true(data, name)
        if name != digest:
            return read
        return recipe.Recipe(digest, read.size_bytes, tuple(change(term) for term in read.terms))

    monkeypatch.setattr(recipe, "parse", parse)


BEYOND = {
    "its chunk": lambda term: term if term.skip_bytes is None else term._replace(skip_bytes=term.skip_bytes + 2**20),
    "its pack": lambda term: term._replace(first=term.first + 2**31),
}


@pytest.mark.parametrize("beyond", BEYOND)
def test_a_stretch_beyond_is_damage_to_readers_and_no_base_to_a_push(world, store, monkeypatch, beyond):
    here = world.site("here")
    contents = versions_of(3)
    versions = pushed(here, contents[:2])
    forged(monkeypatch, versions[1].digest, BEYOND[beyond])
    with pytest.raises(ObjectCorrupt, match="does not fit pack"):
        world.site("colleague").fetch(versions[1])
    with pytest.raises(ObjectCorrupt, match="does not fit pack"):
        RangedReader(world.site("reader").cache, lambda: Catalog(here.remote, to_read=True).look()).read(
            Span(versions[1].digest, len(contents[1]), 0, len(contents[1]))
        )
    assert not is_sound(checked(here))
    (following,) = pushed(here, contents[2:])
    assert_complete(world, "another", following, contents[2])


def test_a_chunk_is_unpacked_once_for_all_its_stretches(world, monkeypatch):
    here = world.site("here")
    versions = pushed(here, versions_of(2))
    unpacked = []
    true = pack.unpack_view
    monkeypatch.setattr(pack, "unpack_view", lambda record, data: unpacked.append(record) or true(record, data))
    colleague = world.site("colleague")
    assert colleague.fetch(versions[1]) == []
    chunks = [record for record in unpacked if record.kind == pack.KIND_CHUNK]
    file = Catalog(here.remote).look().recipes.find([versions[1].digest])[versions[1].digest]
    assert sum(term.count for term in file.recipe.terms) > len(chunks)
    assert len(set(chunks)) == len(chunks)


@pytest.mark.parametrize("kept_bytes", [0, 20_000, 1_000_000])
def test_stretches_that_meet_are_written_together_as_far_as_memory_allows(world, monkeypatch, kept_bytes):
    monkeypatch.setattr(partial_file, "_KEPT_BYTES", kept_bytes)
    here = world.site("here")
    contents = versions_of(6)
    version = pushed(here, contents)[-1]
    written = []
    true = PartialFile._write_run
    monkeypatch.setattr(PartialFile, "_write_run", lambda self, *run: written.append(run) or true(self, *run))
    assert_complete(world, "colleague", version, contents[-1])
    (file,) = Catalog(here.remote).look().recipes.find([version.digest]).values()
    assert kept_bytes < len(contents[-1]) or len(written) < len(file.recipe.terms) / 4


def test_where_nothing_is_in_common_few_chunks_are_compared(world, monkeypatch):
    here = world.site("here")
    compared = []
    true = stretches._common
    monkeypatch.setattr(stretches, "_common", lambda *texts: compared.append(texts) or true(*texts))
    pushed(here, [FIRST, noise(len(FIRST), 2)])
    assert 0 < len(compared) <= 15  # of 60


def test_an_edit_in_every_chunk_gives_few_pieces_and_little_more_is_read(world, monkeypatch):
    monkeypatch.setattr(stretches, "_PIECES_AT_FIRST", 32)
    monkeypatch.setattr(stretches, "_READ_AT_FIRST", 4_096)
    here = world.site("here")
    contents = [FIRST]
    for seed in range(6):
        contents.append(edited(contents[-1], seed, edits=400))
    versions = pushed(here, contents)
    catalog = Catalog(here.remote).look()
    for file in catalog.recipes.find(version.digest for version in versions[1:]).values():
        taken = [term for term in catalog.recipes.terms(file) if term.skip_bytes is not None]
        assert 16 <= len(taken) <= 32 + len(FIRST) // stretches._BYTES_PER_PIECE_OF_FILE
        chunks = {
            (term.pack, n) for term in catalog.recipes.terms(file) for n in range(term.first, term.first + term.count)
        }
        read = sum(catalog.footers([name])[name][number].raw_length for name, number in chunks)
        assert read <= 4_096 + 1.25 * file.recipe.size_bytes
    assert_complete(world, "colleague", versions[-1], contents[-1])


@pytest.mark.parametrize(
    ("new", "old", "most"),
    [
        (FIRST[:1000], FIRST[:1000], [(0, 0, 1000)]),
        (b"x" + FIRST[:1000], FIRST[:1000], [(1, 0, 1000)]),
        (FIRST[:500] + b"new" + FIRST[510:1000], FIRST[:1000], [(0, 0, 500), (503, 510, 490)]),
        (FIRST[:20] + FIRST[5_000:6_000], FIRST[:9_000], [(20, 5_000, 1_000)]),
        (FIRST[:1000], FIRST[1000:3000], []),
        (bytes(1000), bytes(3000), [(0, 10, 1000)]),
        (b"", FIRST, []),
        (FIRST[:1000], b"", []),
    ],
)
def test_what_two_texts_have_in_common(new, old, most):
    there = 10 if new == bytes(1000) else 0
    assert stretches._common(new, old, there, 100) == most


def test_what_two_texts_have_in_common_is_in_both_and_in_order():
    chance = random.Random(1)
    for _ in range(200):
        old = bytes(chance.choices(b"ab", k=chance.randrange(3_000)))
        new = edited(old, chance.random(), edits=3) if len(old) > 40 else old
        end = 0
        for at, there, length in stretches._common(new, old, chance.randrange(-50, 4_000), 50):
            assert at >= end
            assert length >= 64
            assert new[at : at + length] == old[there : there + length]
            assert there >= 0
            end = at + length
        assert end <= len(new)


def test_an_interrupted_fetch_of_stretches_continues(world, store, monkeypatch):
    monkeypatch.setattr(pack, "TARGET_BYTES", 64_000)
    here = world.site("here")
    first = noise(600_000, 3)
    (_, version) = pushed(here, [first, edited(first, 4, edits=60)])
    store.forget()
    assert world.site("fresh").fetch(version) == []
    whole_bytes = store.received_bytes
    for calls in (7, 10):
        name = f"colleague {calls}"
        broken = HookStore(store, calls, lambda: (_ for _ in ()).throw(Interrupted()), lambda _, of: "packs/" in of)
        store.forget()
        with pytest.raises(Interrupted):
            world.site(name, store=broken, jobs=1).fetch(version)
        assert 0.2 * whole_bytes < store.received_bytes < 0.9 * whole_bytes
        colleague = world.site(name)
        assert colleague.fetch(version) == []
        assert store.received_bytes < 1.1 * whole_bytes
        assert colleague.content(version) == edited(first, 4, edits=60)


def test_stretches_that_were_left_wrong_are_fetched_again_and_nothing_else(world, store, monkeypatch):
    monkeypatch.setattr(index, "GAP_BYTES", 1000)
    here = world.site("here")
    content = edited(noise(400_000, 3), 4, edits=20)
    (_, version) = pushed(here, [noise(400_000, 3), content])
    catalog = Catalog(here.remote).look()
    (file,) = catalog.recipes.find([version.digest]).values()
    torn, at = bytearray(content), 0
    for term in catalog.recipes.terms(file):
        if term.skip_bytes is not None:
            torn[at + term.length_bytes // 2] ^= 0x55
        at += term.length_bytes
    for left, most_bytes in ((torn, 0.5 * len(content)), (content[:200_000] + noise(200_000, 99), 10 * len(content))):
        colleague = world.site(f"colleague {most_bytes}")
        colleague.cache.partial_path(version.digest).write_bytes(left)
        store.forget()
        assert colleague.fetch(version) == []
        assert colleague.content(version) == content
        assert store.received_bytes < most_bytes


@pytest.mark.parametrize("terms_per_part", [65_536, 8])
def test_a_collection_keeps_what_is_needed_of_a_chunk_and_nothing_else(world, store, monkeypatch, terms_per_part):
    monkeypatch.setattr(recipe, "TERMS_PER_PART", terms_per_part)
    monkeypatch.setattr(pack, "TARGET_BYTES", 8_000)
    monkeypatch.setattr(collect, "_MOST_WASTE", 0.0)
    here = world.site("here")
    contents = versions_of(5)
    versions = pushed(here, contents)
    gc(here, versions[3:])
    for i in (3, 4):
        assert_complete(world, f"colleague {i}", versions[i], contents[i])
    following = edited(contents[4], 77)
    (version,) = pushed(here, [following])
    gc(here, [version])
    assert_complete(world, "another", version, following)
    assert sum(map(len, chunk_bytes(store))) < 1.25 * len(following)


def test_what_only_a_purged_version_had_of_a_chunk_is_in_no_pack(world, store):
    here = world.site("here")
    secret = b"the secret of one cell"
    old = FIRST[:30_000] + secret + FIRST[30_000:]
    contents = [old, FIRST, edited(FIRST, 5)]
    versions = pushed(here, contents)
    assert any(secret in chunk for chunk in chunk_bytes(store))
    here.cache.bury(tombstone.dump(Tombstone((versions[0].digest,), path="big", project=SIGNER.project)))
    gc(here, versions[1:])
    assert not any(secret in chunk for chunk in chunk_bytes(store))
    for i in (1, 2):
        assert_complete(world, f"colleague {i}", versions[i], contents[i])


def test_what_two_pushes_of_a_purged_version_sent_is_in_no_pack(world, store):
    """One had an earlier version to compare with, the other none: they send different chunks, and a purge finds one recipe."""
    here, other = world.site("here"), world.site("other")
    secret = b"the secret of one cell"
    pushed(here, [FIRST])
    old = FIRST[:30_000] + secret + FIRST[30_000:]
    version = here.add("big", old)
    hook = HookStore(store, 1, lambda: other.push(other.add("big", old)), lambda call, _name: call == "put")
    hooked = world.site("here", store=hook)
    hooked.versions = here.versions
    hooked.push(version)
    assert hook.happened
    assert len({chunk for chunk in chunk_bytes(store) if secret in chunk}) == 2
    (following,) = pushed(here, [edited(FIRST, 5)])
    here.cache.bury(tombstone.dump(Tombstone((version.digest,), path="big", project=SIGNER.project)))
    todo, _ = gc(here, [following], grace=3600.0, apply=False)
    for entry in store.list("packs/").entries:
        data = store.get(entry.name)
        name = digest_bytes(data)
        records = pack.open_whole(data, name)
        chunks = (pack.unpack(each, data[each.offset : each.offset + each.stored_length]) for each in records)
        assert name in todo.held.packs or not any(secret in chunk for chunk in chunks)
    gc(here, [following])
    assert not any(secret in chunk for chunk in chunk_bytes(store))
    assert_complete(world, "colleague", following, edited(FIRST, 5))


def test_recipes_of_stretches_are_stored_compressed(world, store):
    here = world.site("here")
    version = pushed(here, versions_of(4))[-1]
    catalog = Catalog(here.remote).look()
    place = catalog.locations(version.digest, (KIND_RECIPE,))[0]
    assert place.record.codec == pack.ZSTD
    assert index.class_of(place.record.kind) == pack.META
