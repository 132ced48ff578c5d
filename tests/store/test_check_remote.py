"""What a check of a remote finds, and what it does not take for damage: interrupted pushes, collectors at work, a later dvlite."""

import os

import pytest

from dvlite.formats import condemned
from dvlite.oid import digest_bytes
from dvlite.store import check_remote
from dvlite.store.catalog import Catalog
from dvlite.store.check_remote import RemoteState
from dvlite.store.object_store import ObjectAbsent
from tests.store.collector import Collector
from tests.store.memory import RecordingStore
from tests.store.pushed import LARGE, SMALL
from tests.store.world import QUIET, HookStore


def checked(site, *, deep=True):
    """Looks as fsck does: again if a collector was at work."""
    for _ in range(4):
        check = RemoteState(Catalog(site.remote), site.cache, QUIET)
        try:
            check_remote.look(check)
            if deep:
                check_remote.read_packs(check, check.packs, ignore)
            check_remote.close(check)
            if deep:
                check_remote.read_files(check, list(check.recipes), ignore)
        except ObjectAbsent:
            continue
        if is_sound(check) or not check_remote.was_disturbed(check):
            break
    return check


def ignore(_item, *, right):  # by name
    return


def is_sound(check):
    return not check.found.damages and not check.lost and not check.lost_snapshots


@pytest.fixture
def site(world):
    made = world.site("here")
    made.push(made.add("data", SMALL), made.add("large", LARGE))
    return made


def test_a_sound_remote_has_no_findings(site):
    check = checked(site)
    assert is_sound(check)
    assert set(check.packs) == check.checked
    assert len(check.claims) == 2
    assert check_remote.given_up_at(check) == check.catalog.now  # nothing was given up


def test_a_look_without_bytes_costs_requests_by_packs_not_by_files(site, store):
    store.calls.clear()
    assert is_sound(checked(site, deep=False))
    gets = [name for operation, name, *_ in store.calls if operation == "get"]
    assert len(gets) < 25
    assert len(SMALL) == 300


def test_a_pack_that_goes_bad_on_the_way_once_is_no_damage(site, store, monkeypatch):
    real, reads, damaged = store.get, [], 0

    def get(name, **part):
        data = real(name, **part)
        if not name.startswith("packs/"):
            return data
        reads.append(name)
        return data[:-1] + bytes([data[-1] ^ 1]) if len(reads) == damaged else data

    monkeypatch.setattr(store, "get", get)
    assert is_sound(checked(site))
    for damaged in range(1, len(reads) + 1):
        reads.clear()
        check = checked(site)
        assert is_sound(check), damaged
        assert not check.catalog.distrusted


def test_a_push_that_was_interrupted_is_no_damage(site, store):
    pack_name = next(entry.name for entry in store.list("packs/").entries)
    other = os.urandom(100)
    site.push(site.add("more", other))
    for entry in store.list("roots/").entries:
        store.delete([entry.name])
    for entry in store.list("index/").entries:
        store.delete([entry.name])
    assert pack_name
    assert is_sound(checked(site))


@pytest.mark.parametrize("at", range(1, 40, 8))
def test_a_collector_at_work_is_no_damage(world, site, store, at):
    """Before call number `at` of a check, a collector moves all that is needed to new packs, and deletes the others."""
    hooked = HookStore(store, at, lambda: Collector(store).collect(everything=True))
    colleague = world.site("colleague", store=hooked)
    assert is_sound(checked(colleague))


@pytest.mark.parametrize("at", [2, 6, 9])
def test_a_push_at_work_is_no_damage(world, site, store, at):
    """Before call number `at` of a check, a push puts packs and a root."""
    other = world.site("other")
    hooked = HookStore(store, at, lambda: other.push(other.add("more", LARGE[5000:] + LARGE[:5000])))
    check = RemoteState(Catalog(world.site("colleague", store=hooked).remote), site.cache, QUIET)
    check_remote.look(check)
    check_remote.close(check)
    assert hooked.happened
    assert is_sound(check)


def test_a_damaged_list_of_condemned_packs_is_found(site, store):
    data = bytearray(condemned.dump([digest_bytes(b"gone")], bytes(16)))
    name = f"condemned/{digest_bytes(data).hex()}"
    data[-1] ^= 1
    store.put(name, bytes(data))
    assert checked(site).found.damages.keys() == {name}


def test_what_each_place_lacks_is_seen_without_reading_bytes(world, site, store):
    for name in [entry.name for entry in store.list("packs/").entries]:
        data = store.get(name)
        store.delete([name])
        check = checked(world.site(f"colleague {name[:12]}"), deep=False)
        assert f"{name}" in check.found.damages
        assert check.lost or check.lost_snapshots
        store.put(name, data)
    assert is_sound(checked(world.site("last")))
    assert isinstance(store, RecordingStore)
