"""What versions need, and what of it a remote provably has; strangers write to the same remote."""

import pytest

from dvlite.errors import ObjectMissing
from dvlite.formats import root
from dvlite.oid import MANIFEST, Digest, digest_bytes
from dvlite.store import reachable
from dvlite.store.catalog import Catalog
from dvlite.store.reachable import prove
from tests.store.memory import MemoryStore, RecordingStore
from tests.store.world import SIGNER, HookStore, World, noise

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


def proof_of(site, *versions, project=SIGNER.project, also=()):
    return prove(Catalog(site.remote).look(), site.cache, [identity(each) for each in versions], project, also=also)


def put_root(store, version, nonce, body):
    name = root.name(version.kind, version.digest, bytes([nonce] * 16))
    store.put(name, body)
    return name


def forget_own_roots(site):
    site.remote.forget("roots", site.remote.remembered("roots"))


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


def test_a_version_without_a_root_of_this_project_is_not_proven(world):
    here = world.site("here")
    version = here.add("data", SMALL)
    here.push(version)
    forget_own_roots(here)
    assert proof_of(here, version).proven
    assert proof_of(here, version, project="cd" * 16).proven == set()


def test_a_file_whose_pack_is_gone_proves_nothing(world, store):
    here = world.site("here")
    version = here.add("big", LARGE)
    here.push(version)
    store.delete([entry.name for entry in store.list("packs/").entries])
    assert proof_of(here, version).proven == set()


def test_a_root_without_end_costs_no_more_than_a_root_may_have(world, store):
    here = world.site("here")
    version = here.add("data", SMALL)
    here.push(version)
    forget_own_roots(here)
    put_root(store, version, 1, bytes(50 << 20))
    store.forget()
    assert proof_of(here, version).proven
    assert store.received_bytes < 1 << 20


def test_a_root_that_goes_between_listing_and_reading_does_not_stand_for_ours(world, store, tmp_path):
    here = world.site("here")
    version = here.add("data", SMALL)
    here.push(version)
    forget_own_roots(here)
    names = [entry.name for entry in store.list(root.FOLDER).entries]
    hook = HookStore(
        store, 1, lambda: store.delete(names), lambda operation, name: (operation, name[:6]) == ("get", root.FOLDER)
    )
    watched = World(tmp_path / "watched", hook)
    there = watched.site("there")
    there.add("data", SMALL)
    assert proof_of(there, version).proven == set()
    assert hook.happened
    watched.close()


def test_a_malformed_root_is_of_no_project(world, store):
    here = world.site("here")
    version = here.add("data", SMALL)
    name = put_root(store, version, 1, b"junk")
    assert reachable.read_root(here.remote, name) is None
    assert reachable.kept_versions(here.remote, [identity(version)], "") == set()
