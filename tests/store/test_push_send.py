"""What a push sends: each content once, what changed of it, and no more after an interruption."""

import pytest

from dvlite.errors import ObjectCorrupt, RemoteError
from dvlite.oid import digest_bytes
from dvlite.store import pack
from tests.store.pushed import EDITED, LARGE, SMALL, assert_complete
from tests.store.world import SIGNER, HookStore, Interrupted, noise


def test_many_small_files_make_a_handful_of_objects(world, store):
    here = world.site("here")
    store.forget()
    here.push(here.add("small", SMALL))
    assert store.count("put") == 4  # files, listings, index, root


def test_an_edit_uploads_what_changed(world, store):
    here = world.site("here")
    here.push(here.add("data", SMALL))
    store.forget()
    version = here.add("data", SMALL | {"d3/0003": b"edited"})
    here.push(version)
    assert store.sent_bytes < 13_000  # one file, one leaf and the branch above it
    assert_complete(world, "colleague", version, SMALL | {"d3/0003": b"edited"})


def test_an_insertion_in_a_large_file_uploads_the_chunks_around_it(world, store):
    here = world.site("here")
    here.push(here.add("big", LARGE))
    store.forget()
    version = here.add("big", EDITED)
    here.push(version)
    assert store.sent_bytes < 12_000
    assert_complete(world, "colleague", version, EDITED)


def test_equal_content_is_stored_once(world, store):
    here = world.site("here")
    version = here.add("data", {"a": LARGE, "b": LARGE, "c": LARGE, "d": b"x", "e": b"x"})
    here.push(version)
    assert store.sent_bytes < 70_000
    assert_complete(world, "colleague", version, {"a": LARGE, "b": LARGE, "c": LARGE, "d": b"x", "e": b"x"})


def test_a_file_of_one_repeated_byte_is_a_few_terms(world, store):
    here = world.site("here")
    version = here.add("zeros", bytes(3_000_000))
    here.push(version)
    assert store.sent_bytes < 20_000
    assert_complete(world, "colleague", version, bytes(3_000_000))


@pytest.mark.parametrize("content", [{"a": LARGE}, {"a": b"small"}], ids=["large", "small"])
def test_damage_in_the_cache_is_not_pushed(world, store, content):
    here = world.site("here")
    version = here.add("data", content)
    large = here.cache.large_path(digest_bytes(LARGE))
    damaged = (
        large
        if large.exists()
        else next(path for path in (here.cache.folder / "packs").iterdir() if path.read_bytes()[8] == pack.FILES)
    )
    data = bytearray(damaged.read_bytes())
    data[60 if damaged != large else 5000] ^= 1
    data[82] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(data)
    with pytest.raises(ObjectCorrupt, match=digest_bytes(content["a"]).hex()):
        here.push(version)
    assert store.list("roots/").entries == ()


@pytest.fixture
def small_packs(monkeypatch):
    monkeypatch.setattr(pack, "TARGET_BYTES", 8_000)


def test_an_interrupted_push_of_a_large_file_continues(world, store, small_packs):
    """Chunks in packs that arrived are found again, though no recipe and no index names them."""
    big = noise(300_000, 5)

    def die():
        raise Interrupted

    here = world.site("here", store=HookStore(store, 30, die, lambda operation, _: operation == "put"))
    version = here.add("big", big)
    with pytest.raises(Interrupted):
        here.push(version)
    sent = store.sent_bytes
    assert sent > 150_000
    store.forget()
    here.push(version)
    assert store.sent_bytes < 300_000 - sent + 60_000
    assert_complete(world, "colleague", version, big)


def test_an_interrupted_push_of_small_files_continues(world, store, small_packs):
    content = {f"{i:04d}": noise(800, i) for i in range(300)}

    def die():
        raise Interrupted

    here = world.site("here", store=HookStore(store, 25, die, lambda operation, _: operation == "put"))
    version = here.add("data", content)
    with pytest.raises(Interrupted):
        here.push(version)
    assert len(store.list("index/").entries) >= 2  # every eight packs
    store.forget()
    here.push(version)
    assert store.sent_bytes < 200_000  # of 300,000
    assert_complete(world, "colleague", version, content)


def test_one_failed_upload_fails_the_push(world, store):
    def refuse():
        raise RemoteError("cannot write 'packs/x': denied")

    here = world.site(
        "here", store=HookStore(store, 1, refuse, lambda operation, name: operation == "put" and "packs/" in name)
    )
    version = here.add("data", SMALL | {"big": LARGE})
    with pytest.raises(RemoteError, match="denied"):
        here.push(version)
    assert store.list("roots/").entries == ()
    assert SIGNER.project
