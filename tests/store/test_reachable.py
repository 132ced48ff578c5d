"""What versions need, and what of it a remote provably has; strangers write to the same remote."""

import pytest

from dvlite.errors import ObjectMissing
from dvlite.oid import MANIFEST, Digest, digest_bytes
from dvlite.store import reachable
from dvlite.store.catalog import Catalog
from dvlite.store.reachable import prove
from tests.store.memory import MemoryStore, RecordingStore
from tests.store.world import World, noise

SMALL = {f"{number:03}": noise(100, number) for number in range(20)}
LARGE = noise(20_000, 99)


@pytest.fixture
def store():
    return RecordingStore(MemoryStore())


@pytest.fixture
def world(tmp_path, store):
    made = World(tmp_path, store)
    yield made
    made.close()


def identity(version):
    return version.kind, version.digest


def proof_of(site, *versions, also=()):
    return prove(Catalog(site.remote).look(), site.cache, [identity(each) for each in versions], also=also)


def test_a_version_reaches_the_nodes_of_its_listing_and_each_content_once(world):
    here = world.site("here")
    version = here.add("data", {"a": b"same", "b": b"same", "c/d": b"other"})
    found = reachable.reachable(identity(version), here.cache.read_node)
    assert found.nodes == {version.digest}
    assert found.files == {digest_bytes(b"same"), digest_bytes(b"other")}
    file = here.add("file", b"same")
    assert reachable.reachable(identity(file), here.cache.read_node) == reachable.Reachable(set(), {file.digest})


def test_a_listing_that_is_not_there_is_an_error(world):
    with pytest.raises(ObjectMissing):
        reachable.reachable((MANIFEST, Digest(bytes(32))), world.site("here").cache.read_node)


def test_what_was_pushed_is_proven_and_what_was_not_is_unproven(world):
    here = world.site("here")
    pushed, other = here.add("data", SMALL | {"big": LARGE}), here.add("other", {"x": b"new"})
    here.push(pushed)
    proof = proof_of(here, pushed, other)
    assert proof.proven == {digest_bytes(data) for data in (*SMALL.values(), LARGE)}
    assert proof.unproven == {digest_bytes(b"new")}
    assert not proof.covers(digest_bytes(b"new"), strangers=True)


def test_a_file_of_no_known_version_is_covered_only_with_strangers(world):
    here = world.site("here")
    here.push(here.add("data", SMALL))
    digest = digest_bytes(SMALL["000"])
    proof = proof_of(here, also=[digest])
    assert proof.covers(digest, strangers=True)
    assert not proof.covers(digest, strangers=False)


def test_a_file_of_no_known_version_that_merely_lies_in_a_pack_is_not_covered(world):
    """Nothing keeps it there: gc may take the pack."""
    here, there = world.site("here"), world.site("there")
    there.push(there.add("data", SMALL))
    here.add("data", SMALL)
    digest = digest_bytes(SMALL["000"])
    proof = proof_of(here, also=[digest])
    assert digest in proof.present
    assert not proof.covers(digest, strangers=True)


def test_a_version_that_only_another_clone_claims_is_not_proven(world):
    """Its root goes when that clone needs it no more, whatever is reachable here."""
    here, there = world.site("here"), world.site("there")
    there.push(there.add("data", SMALL))
    version = here.add("data", SMALL)
    assert proof_of(here, version).proven == set()
    here.push(version)
    assert proof_of(here, version).proven


def test_a_version_of_an_earlier_snapshot_of_this_clone_is_proven(world):
    here = world.site("here")
    version, other = here.add("data", SMALL), here.add("other", {"x": b"new"})
    here.push(version, other)
    here.push(here.add("data", {"y": b"later"}))
    assert proof_of(here, version).proven


def test_a_file_whose_pack_is_gone_proves_nothing(world, store):
    here = world.site("here")
    version = here.add("big", LARGE)
    here.push(version)
    store.delete([entry.name for entry in store.list("packs/").entries])
    assert proof_of(here, version).proven == set()
