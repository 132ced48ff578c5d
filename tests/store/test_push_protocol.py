"""Push: what it sends, what it never sends twice, and what it survives: interruptions, lost answers, and a gc at any moment."""

import itertools
from dataclasses import replace

import pytest

from dvlite.errors import FormatError, ObjectMissing, RemoteError
from dvlite.formats import root, snapshot, store_config, strict_json
from dvlite.oid import Digest, digest_bytes
from dvlite.store import index, push_protocol
from dvlite.store.catalog import Catalog
from dvlite.store.index import Index
from tests.store.collector import Collector
from tests.store.memory import MemoryStore, RecordingStore
from tests.store.pushed import EDITED, LARGE, SMALL, assert_complete
from tests.store.world import HookStore, Interrupted, World, noise


def test_a_colleague_gets_what_was_pushed(world):
    here = world.site("here")
    for path, content in (("small", SMALL), ("large", LARGE), ("tiny", b"x"), ("empty", b""), ("none", {})):
        version = here.add(path, content)
        here.push(version)
        assert_complete(world, f"colleague-{path}", version, content)


def test_second_push_looks_and_uploads_nothing(world, store):
    here = world.site("here")
    version = here.add("small", SMALL)
    here.push(version)
    store.forget()
    here.push(version)
    assert store.count("put") == store.count("delete") == 0
    assert store.count("list") == 5  # packs, index, condemned, roots of the version, condemned again
    assert store.count("get") <= 1  # config


def written(store):
    return [name.split("/")[0] for operation, name in store.calls if operation == "put"]


def test_a_second_clone_pushes_nothing_but_its_own_root(world, store):
    here, there = world.site("here"), world.site("there")
    here.push(here.add("data", SMALL | {"big": LARGE}))
    version = there.add("data", SMALL | {"big": LARGE})
    store.forget()
    there.push(version)
    assert written(store) == ["roots"]


def test_a_push_of_many_paths_costs_one_root_and_the_next_one_six_requests_and_what_differs(world, store):
    here = world.site("here")
    versions = here.add_all({f"data/{number}": b"%d" % number for number in range(1000)})
    store.forget()
    here.push(*versions)
    assert written(store) == ["packs", "packs", "index", "roots"]
    store.forget()
    here.push(*versions)
    assert len(store.calls) == 6  # config, packs, index, condemned; own roots of the snapshot; condemned again
    before = size_of_packs(store)
    here.push(*versions, here.add("data/one", b"more"))
    assert size_of_packs(store) - before < before / 3, "all but a node or two of the snapshot are shared"


def size_of_packs(store) -> int:
    return sum(len(data) for name, data in store.store.objects.items() if name.startswith("packs/"))


def test_an_old_root_is_renewed(world, store):
    here = world.site("here")
    version = here.add("data", SMALL)
    here.push(version)
    memory = store.store
    for name in memory.modified:
        memory.modified[name] -= 8 * 24 * 3600
    old = [entry.name for entry in store.list("roots/").entries]
    store.forget()
    here.push(version)
    assert written(store) == ["roots"]
    assert {*old} < {entry.name for entry in store.list("roots/").entries}, "a push deletes no root"


def test_a_clone_that_pulls_shows_once_in_30_days_that_it_is_there(world, store):
    here = world.site("here")
    version = here.add("data", SMALL)
    here.push(version)
    store.forget()
    push_protocol.stay_awake(Catalog(here.remote).look())
    assert written(store) == []
    assert store.count("list") == 3
    pushed = store.list("").now
    for days in (31, 32):
        store.store.clock = pushed + days * 24 * 3600
        push_protocol.stay_awake(Catalog(here.remote).look())
    assert written(store) == ["roots"]
    assert len(store.list(root.prefix(snapshot.build([version]).root, here.remote.clone)).entries) == 2


def test_a_root_of_another_clone_does_not_stand_for_ours(world, store):
    here = world.site("here")
    version = here.add("data", SMALL)
    tree = snapshot.build([version])
    name = root.name(tree.root, "cd" * 16, bytes(16))
    store.put(name, root.dump(root.Root(clone="cd" * 16), name))
    here.push(version)
    assert len(store.list(root.prefix(tree.root)).entries) == 2


def test_a_root_is_no_proof_that_data_is_there(world, store):
    """That of a push that died, or failed at its second look, names what was never there."""
    here = world.site("here")
    version = here.add("data", SMALL)
    tree = snapshot.build([version])
    name = root.name(tree.root, here.remote.clone, bytes(16))
    store.put(name, root.dump(root.Root(clone=here.remote.clone), name))
    here.push(version)
    assert_complete(world, "colleague", version, SMALL)


def test_a_note_of_another_clone_or_version_is_not_trusted(world):
    here = world.site("here")
    version, other = here.add("data", SMALL), here.add("other", b"never pushed")
    here.push(version)
    catalog = Catalog(here.remote).look()
    (note,) = (here.remote.folder / "complete").iterdir()
    assert catalog.complete(version.kind, version.digest)
    note.with_name(f"{other.kind}-{other.digest.hex()}-{here.remote.clone}").write_bytes(note.read_bytes())
    assert catalog.complete(other.kind, other.digest) is None
    note.with_name(note.name.replace(here.remote.clone, "cd" * 16)).write_bytes(note.read_bytes())
    here.remote.clone = "cd" * 16
    assert catalog.complete(version.kind, version.digest) is None


def test_records_go_out_after_data_and_before_the_root(world, store):
    here = world.site("here")
    version = here.add("data", SMALL)
    store.forget()
    here.push(version, send_records=lambda: store.put("runs/x", b"records"))
    assert written(store) == ["packs", "packs", "index", "runs", "roots"]
    assert store.calls[-1] == ("list", "condemned/")


def test_a_log_in_a_pack_condemned_meanwhile_is_sent_again(world, store):
    """The records that name it are out by then: a push must not report them without it."""
    here, there = world.site("here"), world.site("there")
    log = there.add("log", b"what it printed")
    there.push(log)
    collector = Collector(store.store)
    collector.forget_roots()
    here.add("log", b"what it printed")
    records = []

    def send():
        records.append(1)
        collector.condemn(collector.packs())

    here.push(also=[(log.digest, log.size_bytes)], send_records=send)
    assert records == [1], "records are sent once"
    assert any(place.pack not in collector.condemned() for place in collector.places(log.digest))


def test_the_root_is_written_after_everything_else(world, store):
    here = world.site("here")
    here.push(here.add("data", SMALL | {"big": LARGE}))
    kinds = [name.partition("/")[0] for operation, name in store.calls if operation == "put"]
    assert kinds == sorted(kinds, key=["config", "packs", "index", "roots"].index)
    last_root = max(i for i, (operation, name) in enumerate(store.calls) if operation == "put")
    assert ("list", "condemned/") in store.calls[last_root:]


def test_data_that_is_nowhere_is_named_and_nothing_is_published(world, store):
    here = world.site("here")
    version = here.add("data", {"a": b"kept", "b": LARGE})
    here.cache.large_path(digest_bytes(LARGE)).unlink()
    with pytest.raises(ObjectMissing, match="'data/b' is neither in the cache nor on memory") as caught:
        here.push(version)
    assert caught.value.exit_code == 12
    assert store.list("packs/").entries == store.list("roots/").entries == ()


def test_data_that_only_the_remote_has_is_complete(world):
    """A clone that never pulled can push: whatever its cache lacks, listings too, is on the remote already."""
    here, there = world.site("here"), world.site("there")
    version = here.add("data", SMALL | {"big": LARGE})
    here.push(version)
    there.push(version)


def test_a_remote_with_features_of_the_future_is_not_written(world, store):
    here = world.site("here")
    store.put("config", store_config.dump(store_config.StoreConfig(256, 1024, 4096, ("zstd-base",))))
    store.forget()
    with pytest.raises(FormatError, match="'zstd-base', which this dvlite does not know"):
        here.push(here.add("data", b"x"))
    assert store.count("put") == 0


def test_a_remote_of_a_later_version_is_not_written(world, store):
    store.put("config", strict_json.seal({"dvlite_store": 2}))
    store.forget()
    here = world.site("here")
    with pytest.raises(FormatError, match="was written by a later dvlite"):
        here.push(here.add("data", b"x"))
    assert store.count("put") == 0


def test_two_clients_that_create_a_remote_at_once_agree(tmp_path):
    store = MemoryStore()
    World(tmp_path, store)
    store.delete(["config"])
    one, two = World(tmp_path, store), None
    store.delete(["config"])
    here, two = one.site("a"), one.site("b")
    here.push(here.add("x", b"1"))
    two.push(two.add("x", b"2"))
    assert store.objects["config"] == store_config.dump(store_config.DEFAULT)
    one.close()


def test_a_remote_that_requires_what_is_not_known_is_not_read(world, store):
    here = world.site("here")
    version = here.add("data", SMALL)
    here.push(version)
    store.put("config", store_config.dump(store_config.StoreConfig(256, 1024, 4096, requires=("encryption",))))
    with pytest.raises(FormatError, match="requires 'encryption', which this dvlite does not know"):
        world.site("there").fetch(version)


@pytest.mark.parametrize("left", [None, b"", b"{}", b"not ours"])
def test_a_config_that_is_gone_or_damaged_stops_no_reader_and_is_put_back_by_a_clone_that_knows_it(world, store, left):
    here, there = world.site("here"), world.site("there")
    version = here.add("data", SMALL)
    here.push(version)
    whole = store.store.objects["config"]
    store.delete(["config"])
    if left is not None:
        store.put("config", left)
    assert_complete(world, "colleague", version, SMALL)
    with pytest.raises(RemoteError, match="this clone never saw it"):
        there.push(there.add("other", b"x"))
    assert store.store.objects.get("config") == left
    with pytest.raises(RemoteError, match="its config is"):
        Catalog(here.remote).look().require_writable(writes=False)
    here.remote.clone = "cd" * 16  # it was moved
    here.push(here.add("data", SMALL | {"new": b"x"}))
    assert store.store.objects["config"] == whole
    there.push(there.add("other", b"x"))


def test_what_stands_in_the_place_of_the_config_of_an_empty_remote_is_not_overwritten(tmp_path):
    store = MemoryStore(objects={"config": b"[core]"})
    here = World(tmp_path, store).site("here")
    with pytest.raises(RemoteError, match="its config is damaged"):
        here.push(here.add("data", b"x"))
    assert store.objects == {"config": b"[core]"}


@pytest.mark.parametrize("kept_bytes", [None, 0, 50])
def test_a_config_that_a_store_acknowledged_and_lost_is_written_again(tmp_path, kept_bytes):
    store = MemoryStore()
    world = World(tmp_path, store)
    store.delete(["config"])
    here = world.site("here", store=LossyStore(store, "config", 1, kept_bytes))
    here.push(here.add("data", b"x"))
    assert store.objects["config"] == store_config.dump(store_config.DEFAULT)
    world.close()


def test_a_store_that_does_not_keep_its_config_gets_no_data(tmp_path):
    store = MemoryStore()
    world = World(tmp_path, store)
    store.delete(["config"])
    here = world.site("here", store=LossyStore(store, "config", 100, None))
    with pytest.raises(RemoteError, match="took the config and does not have it"):
        here.push(here.add("data", b"x"))
    assert not store.objects
    world.close()


def test_a_config_that_another_first_push_wrote_meanwhile_is_used(tmp_path):
    store = MemoryStore()
    World(tmp_path, store)
    store.delete(["config"])
    world = World(tmp_path, store)
    store.delete(["config"])

    def another():
        there = world.site("there")
        there.push(there.add("x", b"1"))

    here = world.site("here", store=HookStore(store, 1, another, lambda _, name: name == "packs/"))
    here.push(here.add("y", b"2"))
    world.close()


# --- interruption ---
def test_a_push_that_dies_at_any_request_is_completed_by_the_next(tmp_path):
    content = SMALL | {"big": LARGE}
    for at in itertools.count(1):
        store = MemoryStore()
        world = World(tmp_path / str(at), store)

        def die():
            raise Interrupted

        hook = HookStore(store, at, die)
        here = world.site("here", store=hook)
        version = here.add("data", content)
        try:
            here.push(version)
        except Interrupted:
            here.push(version)
        assert_complete(world, "colleague", version, content)
        world.close()
        if not hook.happened:
            break
    assert at > 10


# --- merging index objects ---
def test_many_small_index_objects_become_one(world, store):
    here = world.site("here")
    contents = {f"p{i}": {"f": noise(200, i)} for i in range(20)}
    versions = {path: here.add(path, content) for path, content in contents.items()}
    for version in versions.values():
        here.push(version)
    assert len(store.list("index/").entries) <= index.MERGE_ABOVE
    assert store.count("delete", "index/") >= index.MERGE_ABOVE
    for path, version in versions.items():
        assert_complete(world, f"colleague-{path}", version, contents[path])


class LossyStore(HookStore):
    """Acknowledges the first `times` uploads under a prefix and stores nothing, or the first bytes of them."""

    def __init__(self, store, prefix, times, kept_bytes):
        super().__init__(store, 0, lambda: None)
        self.prefix, self.times, self.kept_bytes = prefix, times, kept_bytes

    def put(self, name, data, *, only_if_absent=False):
        if name.startswith(self.prefix) and self.times > 0:
            self.times -= 1
            return self.kept_bytes is None or self.store.put(name, bytes(data)[: self.kept_bytes])
        return self.store.put(name, data, only_if_absent=only_if_absent)


@pytest.mark.parametrize("kept_bytes", [None, 0, 150])
@pytest.mark.parametrize("prefix", ["packs/", "index/", "roots/"])
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_what_a_store_acknowledged_and_lost_is_sent_again(world, store, content, prefix, kept_bytes):
    here = world.site("here", store=LossyStore(store, prefix, 1, kept_bytes))
    version = here.add("data", content)
    here.push(version)
    assert_complete(world, "colleague", version, content)
    assert [
        root.parse(store.store.objects[entry.name], entry.name).count for entry in store.list("roots/").entries
    ] == [1]


def test_a_push_whose_root_a_store_does_not_keep_is_no_success(world, store):
    here = world.site("here", store=LossyStore(store, "roots/", 100, None))
    with pytest.raises(RemoteError, match="took the root of this push and does not have it"):
        here.push(here.add("data", SMALL))


def test_a_store_that_keeps_nothing_is_an_error_and_gets_no_root(world, store):
    here = world.site("here", store=LossyStore(store, "packs/", 100, None))
    with pytest.raises(RemoteError, match="disappearing"):
        here.push(here.add("data", SMALL))
    assert not store.list("roots/").entries


def test_a_merge_that_dies_before_it_deletes_loses_nothing(world, store):
    def die():
        raise Interrupted

    here = world.site(
        "here",
        store=HookStore(store, 1, die, lambda operation, name: operation == "delete" and name.startswith("index/")),
    )
    contents = {f"p{i}": {"f": noise(200, i)} for i in range(20)}
    versions = {path: here.add(path, content) for path, content in contents.items()}
    for version in versions.values():
        try:
            here.push(version)
        except Interrupted:
            here.push(version)
    for path, version in versions.items():
        assert_complete(world, f"colleague-{path}", version, contents[path])


def test_a_store_that_deletes_nothing_takes_every_push_and_is_not_merged(world, store):
    """Else each push would add a merged index to all those that stay."""

    def refuse():
        raise RemoteError("access denied")

    for i in range(index.MERGE_ABOVE + 3):
        here = world.site("here", store=HookStore(store, 1, refuse, lambda operation, _: operation == "delete"))
        here.push(here.add(f"p{i}", {"f": noise(200, i)}))
    assert len(store.list("index/").entries) == index.MERGE_ABOVE + 3


def test_merging_keeps_every_row(world, store):
    here = world.site("here")
    before: set = set()
    for i in range(index.MERGE_ABOVE + 1):
        here.push(here.add(f"p{i}", {"f": noise(200, i)}))
        rows = {
            (place.record.digest, place.pack)
            for entry in store.list("index/").entries
            for place in Index(store.get(entry.name), entry.name)
        }
        assert before <= rows
        before = rows
    assert len(store.list("index/").entries) <= 2


def test_a_merge_leaves_large_index_objects_alone(world, store, monkeypatch):
    monkeypatch.setattr(index, "MERGE_BELOW_BYTES", 1000)
    here = world.site("here")
    version = here.add("many", SMALL)
    here.push(version)
    (large,) = (entry.name for entry in store.list("index/").entries)
    for i in range(index.MERGE_ABOVE + 2):
        here.push(here.add(f"p{i}", {"f": noise(200, i)}))
    assert store.count("delete", "index/") > index.MERGE_ABOVE
    assert large in [entry.name for entry in store.list("index/").entries]
    assert_complete(world, "colleague", version, SMALL)


def test_a_merge_drops_rows_of_packs_that_are_gone_from_large_index_objects_too(world, store, monkeypatch):
    monkeypatch.setattr(index, "MERGE_BELOW_BYTES", 1000)
    here = world.site("here")
    here.push(here.add("many", SMALL))
    gone = Collector(store).packs()
    store.delete([f"packs/{name.hex()}" for name in gone])
    versions = [here.add(f"p{i}", {"f": noise(200, i)}) for i in range(index.MERGE_ABOVE + 2)]
    for version in versions:
        here.push(version)
    named = {name for segment in Collector(store).indexes().values() for name in segment.packs}
    assert named == Collector(store).packs()
    assert not named & gone
    for i, version in enumerate(versions):
        assert_complete(world, "colleague", version, {"f": noise(200, i)})


def test_a_merge_leaves_rows_of_a_later_dvlite_where_they_are(world, store):
    here = world.site("here")
    here.push(here.add("first", {"f": b"first"}))
    place = next(iter(Collector(store).indexes().values()))
    row = next(iter(place))
    later = index.encode([row._replace(record=row.record._replace(codec=2, digest=Digest(bytes(32))))], bytes(16))
    name = f"index/{digest_bytes(later).hex()}"
    store.put(name, later)
    for i in range(index.MERGE_ABOVE + 2):
        here.push(here.add(f"p{i}", {"f": noise(200, i)}))
    assert store.count("delete", "index/") >= index.MERGE_ABOVE
    assert store.get(name) == later


# --- a gc at any moment ---
FEW = dict(itertools.islice(SMALL.items(), 50)) | {"big": LARGE[:15_000]}  # as many calls as all of them, in less time


def scenario_fresh(world, hook):
    here = world.site("here", store=hook)
    return here, here.add("data", FEW), FEW


def scenario_shared(world, hook):
    """Content that is on the remote already, of a version that nobody refers to any more: any gc may take it away."""
    there = world.site("there")
    there.push(there.add("data", FEW))
    Collector(world.store).forget_roots()
    here = world.site("here", store=hook)
    return here, here.add("data", FEW | {"new": b"new"}), FEW | {"new": b"new"}


def scenario_shared_not_cached(world, hook):
    """As above, but the pusher's cache lacks it: only the remote has it."""
    there = world.site("there")
    version = there.add("data", FEW)
    there.push(version)
    Collector(world.store).forget_roots()
    return world.site("here", store=hook), version, FEW


def scenario_chunks(world, hook):
    """A new version of a large file that reuses chunks of the one before."""
    here = world.site("here", store=hook)
    quiet = here.remote.store
    here.remote.store = world.store
    here.push(here.add("big", LARGE))
    here.remote.store = quiet
    Collector(world.store).forget_roots()
    return here, here.add("big", EDITED), EDITED


SCENARIOS = [scenario_fresh, scenario_shared, scenario_shared_not_cached, scenario_chunks]


@pytest.mark.parametrize(
    ("everything", "delete"),
    [
        pytest.param(True, True, id="condemns all and deletes"),
        pytest.param(False, False, id="condemns garbage and dies"),
        pytest.param(True, False, id="condemns all and dies", marks=pytest.mark.long),
        pytest.param(False, True, id="condemns garbage and deletes", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_gc_at_any_moment_of_a_push_loses_nothing_that_was_reported(tmp_path, scenario, everything, delete):
    reported = 0
    for at in itertools.count(1):
        store = MemoryStore()
        world = World(tmp_path / str(at), store)
        collector = Collector(store)
        hook = HookStore(store, at, lambda gc=collector: gc.collect(everything=everything, delete=delete))
        here, version, content = scenario(world, hook)
        try:
            here.push(version)
        except (ObjectMissing, RemoteError):
            assert scenario is scenario_shared_not_cached, "what the cache has can always be pushed"
        else:
            reported += 1
            collector.collect(everything=False)  # another one takes nothing of it either
            assert_complete(world, "colleague", version, content)
        world.close()
        if not hook.happened:
            break
    assert at > 4
    assert reported >= 2


def test_a_gc_that_condemns_at_every_look_stops_the_push(world, store):
    """No success is reported while what the push relies on keeps being condemned."""
    collector = Collector(store.store)

    class Hostile(RecordingStore):
        def list(self, prefix):
            if prefix == "condemned/":
                collector.condemn(collector.packs())
            return super().list(prefix)

    here = world.site("here", store=Hostile(store.store))
    with pytest.raises(RemoteError, match="keeps disappearing"):
        here.push(here.add("data", SMALL))


def test_a_listing_that_a_merge_of_condemned_lists_leaves_without_both_is_not_trusted(world, store):
    """A list is merged into a new one while it is listed: the pack that they name must not be relied on."""
    here = world.site("here")
    collector = Collector(store.store)
    collector.condemn({Digest(bytes(32))})
    version = here.add("data", SMALL)

    class Merging(RecordingStore):
        def list(self, prefix):
            listing = super().list(prefix)
            if prefix == "condemned/" and self.count("put", "roots/") == 1 and not self.blind:
                self.blind = True
                collector.condemn(collector.packs())
                return replace(listing, entries=())
            return listing

    merging = Merging(store.store)
    merging.blind = False
    there = world.site("there", store=merging)
    there.add("data", SMALL)
    there.push(version)
    assert collector.packs() - collector.condemned(), "sent again, into packs that are not condemned"


def test_what_only_a_condemned_pack_has_is_copied_while_it_stands(world, store):
    here, there = world.site("here"), world.site("there")
    version = here.add("data", {"a": b"small", "b": LARGE})
    here.push(version)
    collector = Collector(store.store)
    collector.condemn(collector.packs())
    there.push(version)
    collector.collect(everything=False)
    assert collector.packs() - collector.condemned()
    assert_complete(world, "colleague", version, {"a": b"small", "b": LARGE})


def test_what_a_condemned_pack_had_and_lost_is_missing(world, store):
    """The pack goes between the look and the copy: the push must not report success."""
    here = world.site("here")
    version = here.add("data", {"a": b"small", "b": LARGE})
    here.push(version)
    collector = Collector(store.store)
    collector.condemn(collector.packs())
    collector.forget_roots()
    hook = HookStore(store.store, 1, collector.delete, lambda operation, name: operation == "get" and "packs/" in name)
    there = world.site("there", store=hook)
    with pytest.raises(ObjectMissing):
        there.push(version)
    assert store.list("roots/").entries == ()


def test_an_index_of_a_pack_that_is_not_there_is_not_relied_on(world, store):
    here, there = world.site("here"), world.site("there")
    version = here.add("data", SMALL)
    here.push(version)
    store.delete([entry.name for entry in store.list("packs/").entries])
    there.add("data", SMALL)
    there.push(version)
    assert_complete(world, "colleague", version, SMALL)
