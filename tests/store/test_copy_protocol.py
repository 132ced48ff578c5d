"""Copies from one remote to another: what is copied, what is not, and what that survives."""

import itertools
from dataclasses import replace

import pytest

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.formats import store_config, tombstone
from dvlite.formats.store_config import StoreConfig
from dvlite.oid import Digest, digest_bytes
from dvlite.store import copy_objects, copy_protocol, pack, stretches
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.copy_protocol import Wanted
from dvlite.store.pack import KIND_CHUNK, KIND_FILE, KIND_MANIFEST, KIND_RECIPE
from dvlite.store.remote import Remote
from tests.store.collector import Collector
from tests.store.memory import MemoryStore, RecordingStore
from tests.store.pushed import EDITED, LARGE, SMALL, assert_complete
from tests.store.world import CHUNKS, PACK_BELOW, QUIET, SIGNER, HookStore, Interrupted, World, noise


@pytest.fixture
def backup(tmp_path):
    """A second remote, with other chunks."""
    store = RecordingStore(MemoryStore())
    store.put(store_config.NAME, store_config.dump(StoreConfig(512, 2048, 8192)))
    made = World(tmp_path / "second", store)
    yield made
    made.close()


def copy(world, backup, *versions, name="copier", origin=None, store=None, bases=()):
    """Copies as a clone with an empty cache; returns the outcome and the traffic of the target."""
    cache = Cache(world.folder / name, pack_below_bytes=PACK_BELOW)
    cache.create()
    clone = digest_bytes(b"copier").hex()[:32]
    with (
        Remote(origin or world.store, cache, "one", jobs=2, clone=clone) as one,
        Remote(store or backup.store, cache, "two", jobs=2, clone=clone) as two,
    ):
        source, target = Catalog(one, to_read=True).look(), Catalog(two).look()
        wanted = Wanted(versions, bases=[version.id for version in bases])
        outcome = copy_protocol.run(source, target, cache, wanted, SIGNER, QUIET)
        assert not [path for path in (cache.folder / "files").rglob("*") if path.is_file()]
        return outcome, two.traffic


def test_everything_of_a_version_is_copied_and_the_second_copy_writes_nothing(world, backup):
    here = world.site("here")
    content = SMALL | {"big": LARGE, "same": LARGE}
    version = here.add("data", content)
    here.push(version)
    outcome, _ = copy(world, backup, version)
    assert outcome.files == len(set(content.values()))
    assert_complete(backup, "colleague", version, content)
    outcome, traffic = copy(world, backup, version, name="another")
    assert (outcome.files, outcome.records, traffic.objects_written) == (0, 0, 0)


def test_versions_that_share_chunks_are_copied_once(world, backup):
    here = world.site("here")
    first = here.add("big", LARGE)
    here.push(first)
    second = here.add("big", EDITED)
    here.push(second)
    copy(world, backup, first, second)
    assert sum(entry.size_bytes for entry in backup.store.list("packs/").entries) < 1.2 * len(EDITED)
    assert_complete(backup, "colleague", first, LARGE)
    assert_complete(backup, "colleague 2", second, EDITED)


def test_chunks_of_an_earlier_version_are_not_copied_again(world, backup):
    here = world.site("here")
    first = here.add("big", LARGE)
    here.push(first)
    copy(world, backup, first)
    second = here.add("big", EDITED)
    here.push(second)
    _, traffic = copy(world, backup, second, name="later", bases=[first])
    assert traffic.bytes_written < 12_000
    assert_complete(backup, "colleague", second, EDITED)


@pytest.mark.parametrize("purged", [False, True])
def test_versions_of_stretches_are_copied(world, backup, monkeypatch, purged):
    monkeypatch.setattr(stretches, "_BYTES_PER_PIECE", 32)
    here = world.site("here")
    contents = [noise(60_000, 9)]
    for at in range(500, 60_000, 9_000):
        contents.append(contents[-1][:at] + b"edited" + contents[-1][at:])
    versions = [here.add("big", content) for content in contents]
    for version in versions:
        here.push(version)
    if purged:  # there, a chunk may hold what no version may have any more
        world.store.put(store_config.NAME, store_config.dump(replace(CHUNKS, requires=(tombstone.FEATURE,))))
    copy(world, backup, *versions[:3])
    copy(world, backup, *versions[3:], name="later", bases=versions[:3])
    size = sum(entry.size_bytes for entry in backup.store.list("packs/").entries)
    assert size < (3.2 if purged else 1.2) * len(contents[0])
    for number in (1, 3, 6):
        assert_complete(backup, f"colleague {number}", versions[number], contents[number])


def test_few_packs_in_memory_at_a_time_give_the_same(world, backup, monkeypatch):
    monkeypatch.setattr(copy_objects, "_MOST_PACKS", 1)
    here = world.site("here")
    contents = [noise(60_000, 9)]
    for seed in range(4):
        contents.append(contents[-1][:40_000] + noise(500, seed) + contents[-1][40_000:])
    versions = [here.add("big", content) for content in contents]
    for version in versions:
        here.push(version)
    copy(world, backup, *reversed(versions))
    assert sum(entry.size_bytes for entry in backup.store.list("packs/").entries) < 150_000
    for number, (version, content) in enumerate(zip(versions, contents, strict=True)):
        assert_complete(backup, f"colleague {number}", version, content)


def test_what_neither_has_is_left_out_and_named(world, backup):
    here = world.site("here")
    version, lost = here.add("data", SMALL), here.add("lost", {"x": b"nowhere"})
    here.push(version)
    outcome, _ = copy(world, backup, version, lost)
    assert [(each, type(error)) for each, gone in outcome.lacking.items() for error in gone.values()] == [
        (lost, ObjectMissing)
    ]
    assert_complete(backup, "colleague", version, SMALL)


def damage(store, names, kind):
    """Damages the last record of a kind in some packs (None: the end of a pack of chunks); returns what puts it right."""
    for name in names:
        data = bytearray(store.get(name))
        records = pack.open_whole(bytes(data), Digest(bytes.fromhex(name[6:])))
        those = [each for each in records if each.kind == (KIND_CHUNK if kind is None else kind)]
        if those:
            whole = bytes(data)
            data[-14 if kind is None else those[-1].offset + those[-1].stored_length - 1] ^= 8
            if kind is None:  # nor can its records be followed
                data[those[-1].offset - pack.RECORD_BYTES] ^= 8
            store.put(name, bytes(data))
            return lambda: store.put(name, whole)
    raise AssertionError


@pytest.mark.parametrize("kind", [KIND_FILE, KIND_MANIFEST, KIND_CHUNK, KIND_RECIPE, None])
def test_what_is_damaged_keeps_no_other_version_from_being_copied(world, backup, kind):
    here = world.site("here")
    content, other = SMALL | {"big": LARGE}, {"small": noise(300, 50), "big": noise(60_000, 51)}
    version, bad = here.add("data", content), here.add("other", other)
    here.push(version)
    before = {entry.name for entry in world.store.list("packs/").entries}
    here.push(bad)
    mend = damage(world.store, [e.name for e in world.store.list("packs/").entries if e.name not in before], kind)
    outcome, _ = copy(world, backup, bad, version)
    assert [(each, type(error)) for each, gone in outcome.lacking.items() for error in gone.values()] == [
        (bad, ObjectCorrupt)
    ]
    assert_complete(backup, "colleague", version, content)
    assert len(backup.store.list("roots/").entries) == 1
    mend()
    outcome, _ = copy(world, backup, bad, version, name="another")
    assert not outcome.lacking
    assert_complete(backup, "colleague 2", bad, other)


def test_a_damaged_recipe_on_the_target_is_written_again(world, backup):
    here = world.site("here")
    version = here.add("big", LARGE)
    here.push(version)
    copy(world, backup, version)
    damage(backup.store, [entry.name for entry in backup.store.list("packs/").entries], KIND_RECIPE)
    copy(world, backup, version, name="another")
    assert_complete(backup, "colleague", version, LARGE)


def test_a_copy_that_was_interrupted_anywhere_is_finished_by_the_next(world, backup):
    here = world.site("here")
    content = SMALL | {"big": LARGE}
    version = here.add("data", content)
    here.push(version)

    def stop():
        raise Interrupted

    for at in itertools.count(1):
        fresh = World(world.folder / f"second {at}", MemoryStore())
        hook = HookStore(fresh.store, at, stop)
        try:
            copy(world, fresh, version, name=f"copier {at}", store=hook)
            break
        except Interrupted:
            pass
        copy(world, fresh, version, name=f"copier {at}")
        assert_complete(fresh, "colleague", version, content)
        fresh.close()
    assert at > 8


@pytest.mark.parametrize("of", ["source", "target"])
def test_a_collector_at_any_request_loses_nothing_of_a_copy(tmp_path, of):
    content = {f"{i}": noise(300, i) for i in range(30)} | {"big": LARGE[:30_000]}
    for at in itertools.count(1):
        world, fresh = (World(tmp_path / f"{name} {at}", MemoryStore()) for name in ("first", "second"))
        here = world.site("here")
        version = here.add("data", content)
        here.push(version)
        collected = world.store if of == "source" else fresh.store
        hook = HookStore(collected, at, lambda store=collected: Collector(store).collect(everything=True))
        copy(world, fresh, version, **({"origin": hook} if of == "source" else {"store": hook}))
        assert_complete(fresh, "colleague", version, content)
        fresh.close()
        world.close()
        if not hook.happened:
            break
    assert at > 8
