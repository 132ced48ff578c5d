"""gc of a remote: what goes, what stays, and what it survives."""

import itertools
import shutil

import pytest

from dvlite.errors import ObjectCorrupt, ObjectMissing, RemoteError
from dvlite.formats import recipe, snapshot
from dvlite.formats.snapshot import Version
from dvlite.store import claims, collect, pack, push_protocol
from dvlite.store.catalog import Catalog
from dvlite.store.claims import Claims, Owner
from dvlite.store.collect import RunNeeds
from dvlite.store.pack import KIND_MANIFEST
from dvlite.store.push_plan import no_bases
from tests.store.memory import MemoryStore
from tests.store.pushed import EDITED, LARGE, SMALL, assert_complete
from tests.store.world import QUIET, SIGNER, HookStore, Interrupted, World, noise

DAY = 24 * 3600.0


def gc(site, kept: list[Version] = (), *, named: list[Version] = (), grace: float = 0.0, **how):
    """Collects as a clone that keeps these versions, with `apply`, `gone` and `given_up`; returns the plan and what was done."""
    apply, gone, given_up = how.get("apply", True), how.get("gone", ()), how.get("given_up", ())
    catalog = Catalog(site.remote)
    roots = collect.look(catalog)
    ids = {version.id for version in kept}

    def divide(own):
        by = Owner(
            clone=site.remote.clone,
            project=SIGNER.project,
            kept=ids,
            named=ids | {version.id for version in named},
            known_commits=lambda commits: commits,
            claimed=snapshot.build(own).root if own else None,
            covered={version.id for version in own},
            own_seconds=min(grace, claims.OWN_SECONDS),
            gone=gone,
        )
        return claims.judge(catalog, roots, by)

    runs = RunNeeds(given_up=given_up)
    todo = collect.plan(catalog, site.cache, divide, runs, list(kept), young_seconds=grace)
    if not apply:
        return todo, None
    if todo.own:
        push_protocol.run(catalog, site.cache, todo.own, no_bases, lambda _: (), SIGNER, QUIET)
        collect.look(catalog)
    return todo, collect.run(catalog, site.cache, todo, lambda: runs, QUIET, young_seconds=grace)


def stored(store, prefix="packs/"):
    return sum(entry.size_bytes for entry in store.list(prefix).entries)


def test_versions_that_nothing_names_go_and_kept_ones_stay(world, store):
    here = world.site("here")
    old = [here.add("data", SMALL | {"extra": noise(500, seed)}) for seed in range(5)]
    for version in old:
        here.push(version)
    kept_content = SMALL | {"big": LARGE}
    kept = here.add("data", kept_content)
    here.push(kept)
    gc(here, [kept])
    fresh = World(world.folder / "fresh", MemoryStore())
    there = fresh.site("there")
    there.push(there.add("data", kept_content))
    assert_complete(world, "colleague", kept, kept_content)
    assert stored(store) <= 1.05 * stored(fresh.store)
    assert not store.list("roots/").entries[1:]
    fresh.close()


def test_what_roots_claim_is_read_together_and_once(world, store, monkeypatch):
    here, there = world.site("here"), world.site("there")
    pushes = 6
    for seed in range(pushes):
        here.push(here.add("data", {"a": noise(100, seed)}))
    together, run_all = [], there.remote.run_all
    monkeypatch.setattr(
        there.remote, "run_all", lambda work, names: together.append(len(names)) or run_all(work, names)
    )
    store.forget()
    gc(there, apply=False)
    assert (
        store.count("get", "packs/") == pushes
    )  # each snapshot lies in the pack of its push, as the listing beside it
    assert max(together) == pushes
    store.forget()
    gc(there, apply=False)
    assert store.count("get") == 1  # the config


def test_chunks_that_two_versions_share_are_copied_once_and_recipes_follow(world, store):
    here = world.site("here")
    first = here.add("big", LARGE)
    here.push(first)
    second = here.add("big", EDITED)
    here.push(second)
    gc(here, [second])
    assert_complete(world, "colleague", second, EDITED)
    third = here.add("big", EDITED + b"more")
    store.forget()
    here.push(third)
    assert store.sent_bytes < 12_000  # the chunks that moved are used again
    assert_complete(world, "colleague 2", third, EDITED + b"more")


def test_nothing_goes_before_its_time(world, store):
    here = world.site("here")
    here.push(here.add("data", SMALL))
    before = sorted(entry.name for entry in store.list("packs/").entries)
    todo, done = gc(here, grace=DAY)
    assert (todo.garbage, done.deleted_packs, done.roots) == ({}, 0, 0)
    assert sorted(entry.name for entry in store.list("packs/").entries) == before
    memory = store.store
    for name in memory.modified:
        memory.modified[name] -= 15 * DAY
    _, done = gc(here, grace=DAY)
    assert (done.deleted_packs, done.condemned_packs) == (0, 2)
    for name in memory.modified:
        memory.modified[name] -= 2 * DAY
    _, done = gc(here, grace=DAY)
    assert done.deleted_packs == 2
    assert store.list("packs/").entries == ()


def test_roots_of_other_clones_keep_what_they_name(world, store):
    here, there = world.site("here"), world.site("there")
    version = there.add("theirs", SMALL)
    there.push(version)
    here.push(here.add("mine", LARGE))
    gc(here)
    assert_complete(world, "colleague", version, SMALL)
    gc(here, named=[version], gone={there.remote.clone})
    assert_complete(world, "colleague 2", version, SMALL)
    gc(here, gone={there.remote.clone})
    assert store.list("packs/").entries == ()


def test_what_a_collector_condemned_and_did_not_copy_is_finished_by_the_next(world, store):
    here = world.site("here")
    versions = [here.add("data", SMALL | {"extra": noise(500, seed)}) for seed in range(2)]
    for version in versions:
        here.push(version)
    catalog = Catalog(here.remote)
    collect.look(catalog)
    collect.condemn(catalog, catalog.packs)  # and died
    assert gc(here, versions, apply=False)[0].absent == 0
    gc(here, versions[:1])
    assert_complete(world, "colleague", versions[0], SMALL | {"extra": noise(500, 0)})


def test_a_claim_whose_list_is_lost_stops_others_until_its_clone_ends_it_or_is_forgotten(world, store):
    here, there = world.site("here"), world.site("there")
    here.push(here.add("mine", LARGE))
    packs = {entry.name for entry in store.list("packs/").entries}
    theirs = there.add("theirs", SMALL)
    there.push(theirs)
    store.delete([entry.name for entry in store.list("packs/").entries if entry.name not in packs])
    with pytest.raises(ObjectMissing, match="cannot collect") as caught:
        gc(here)
    assert f"--forget-clone {there.remote.clone[:12]}" in caught.value.hint
    todo, _ = gc(here, gone={there.remote.clone}, apply=False)
    assert [claim.clone for claim, _ in todo.claims.falling if claim.clone != here.remote.clone] == [there.remote.clone]
    todo, _ = gc(there, grace=DAY, apply=False)
    assert [claim.clone for claim, _ in todo.claims.falling] == [there.remote.clone]
    root = next(entry.name for entry in store.list("roots/").entries if there.remote.clone in entry.name)
    body = store.store.objects[root]
    store.store.objects[root] = b"junk"
    here.remote.forget("roots", {root[6:]})
    assert gc(here, gone={there.remote.clone}, apply=False)[0].claims.falling
    store.store.objects[root] = body
    there.push(theirs)
    assert gc(here, apply=False)[0].absent == 0
    assert_complete(world, "colleague", theirs, SMALL)


def lose_list(store, site, version):
    place = Catalog(site.remote).look().locations(version.digest, (KIND_MANIFEST,))[0]
    store.delete([f"packs/{place.pack.hex()}"])


def test_a_version_whose_list_of_files_is_lost_stops_it_until_it_is_given_up(world, store):
    here, there = world.site("here"), world.site("there")
    lost, kept = here.add("data", SMALL), here.add("big", LARGE)
    here.push(lost)
    here.push(lost, kept)
    lose_list(store, here, lost)
    how = {"named": [lost, kept], "gone": {here.remote.clone}}
    with pytest.raises(ObjectMissing, match="'data'") as caught:
        gc(there, **how)
    flag, digits = caught.value.hint.split()[-2:]
    assert (flag, lost.digest.hex().startswith(digits)) == ("--forget-version", True)
    gc(there, given_up=(digits,), **how)
    assert_complete(world, "colleague", kept, LARGE)


def test_what_is_left_of_a_version_stays_if_its_list_of_files_is_here(world, store):
    here = world.site("here")
    version = here.add("data", SMALL)
    here.push(version)
    lose_list(store, here, version)
    gc(here, [version])
    store.forget()
    here.push(version)
    assert store.sent_bytes < 30_000  # no file
    assert_complete(world, "colleague", version, SMALL)


def test_a_version_of_this_clone_that_only_condemned_packs_have_is_brought_back(world, store):
    here = world.site("here")
    version = here.add("data", SMALL | {"big": LARGE})
    here.push(version)
    collect.condemn(catalog := Catalog(here.remote).look(), catalog.packs)
    store.delete([entry.name for entry in store.list("roots/").entries])
    shutil.rmtree(here.cache.folder / "packs")
    gc(here, [version])
    assert_complete(world, "colleague", version, SMALL | {"big": LARGE})


def test_a_claim_that_falls_meanwhile_stops_no_collection(world, store, monkeypatch):
    here, there = world.site("here"), world.site("there")
    kept = here.add("mine", LARGE)
    here.push(kept)
    packs = {entry.name for entry in store.list("packs/").entries}
    roots = {entry.name for entry in store.list("roots/").entries}
    there.push(there.add("theirs", SMALL))
    listed = claims.listed

    def fall_after(catalog):
        standing = listed(catalog)
        store.delete([each.name for each in store.list("roots/").entries if each.name not in roots])
        store.delete([each.name for each in store.list("packs/").entries if each.name not in packs])
        return standing

    catalog = Catalog(here.remote)
    monkeypatch.setattr(claims, "listed", fall_after)
    standing = collect.look(catalog)
    monkeypatch.setattr(claims, "listed", listed)
    todo = collect.plan(catalog, here.cache, lambda _: Claims(standing=standing), RunNeeds(), young_seconds=0)
    assert todo.live
    assert not todo.absent


def test_a_remote_that_cannot_be_read_loses_nothing(world, store):
    here = world.site("here")
    version = here.add("data", SMALL)
    here.push(version)
    name = next(entry.name for entry in store.list("index/").entries)
    store.store.objects[name] = store.store.objects[name][:-1]
    here.remote.forget("index", {name[6:]})
    with pytest.raises(ObjectCorrupt, match="cannot collect"):
        gc(here)


def test_a_damaged_condemned_list_that_nothing_can_write_again_is_named(world, store):
    here = world.site("here")
    here.push(here.add("data", SMALL))
    name = f"condemned/{'a' * 64}"
    store.put(name, b"junk")
    with pytest.raises(ObjectCorrupt) as caught:
        gc(here)
    assert caught.value.hint.endswith(name)


def test_a_collection_whose_list_of_what_goes_is_not_listed_fails_and_deletes_no_data(world, store, monkeypatch):
    here = world.site("here")
    here.push(here.add("data", SMALL))
    before = stored(store)
    monkeypatch.setattr(collect, "condemn", lambda *_: None)  # acknowledged, and not there
    with pytest.raises(RemoteError, match="does not have it"):
        gc(here)
    assert stored(store) == before


def test_packs_whose_index_object_was_lost_are_kept_and_indexed_again(world, store):
    here = world.site("here")
    version = here.add("data", SMALL | {"big": LARGE})
    here.push(version)
    store.delete([entry.name for entry in store.list("index/").entries])
    gc(here, [version])
    assert_complete(world, "colleague", version, SMALL | {"big": LARGE})


@pytest.fixture
def small_packs(monkeypatch):
    monkeypatch.setattr(pack, "TARGET_BYTES", 8_000)


@pytest.mark.parametrize("terms_per_part", [65_536, 2])
def test_large_files_are_read_after_their_chunks_moved_to_several_packs(
    world, small_packs, monkeypatch, terms_per_part
):
    monkeypatch.setattr(recipe, "TERMS_PER_PART", terms_per_part)
    monkeypatch.setattr(collect, "_MOST_WASTE", 0.0)
    here = world.site("here")
    contents = [noise(50_000, 7) + LARGE, LARGE + noise(9_000, 8), LARGE[10_000:]]
    versions = [here.add("big", content) for content in contents]
    for version in versions:
        here.push(version)
    todo, done = gc(here, versions[1:])
    assert todo.repacked
    assert done.copied
    for i in (1, 2):
        assert_complete(world, f"colleague {i}", versions[i], contents[i])


def test_parts_of_recipes_stay_where_no_chunk_of_theirs_moves(world, store, small_packs, monkeypatch):
    monkeypatch.setattr(recipe, "TERMS_PER_PART", 2)
    monkeypatch.setattr(collect, "_MANY_SMALL", 1000)
    here = world.site("here")
    start, end = noise(60_000, 7), noise(30_000, 8)
    old = here.add("big", start + end)
    here.push(old)
    kept = here.add("big", start + noise(30_000, 9))
    here.push(kept)
    before = Catalog(here.remote).look().recipes.find([kept.digest])[kept.digest]
    _, done = gc(here, [kept])
    assert done.deleted_packs
    after = Catalog(here.remote).look().recipes.find([kept.digest])[kept.digest]
    assert len(before.recipe.parts) > 4
    assert after.recipe.parts[:3] == before.recipe.parts[:3]
    assert_complete(world, "colleague", kept, start + noise(30_000, 9))


@pytest.mark.parametrize("action", ["push the old version", "push anew", "collect", "die"])
def test_whatever_happens_at_any_request_of_a_collection_nothing_needed_goes(
    tmp_path, action, small_packs, monkeypatch
):
    if action in ("push the old version", "die"):
        monkeypatch.setattr(recipe, "TERMS_PER_PART", 2)  # the large file has two parts
    content, other = {f"f{i}": noise(300, i) for i in range(40)} | {"big": noise(20_000, 3)}, {"o": noise(900, 99)}
    for at in itertools.count(1, 4):
        memory = MemoryStore()
        world = World(tmp_path / f"{at}", memory)
        here, there = world.site("here"), world.site("there")
        old, kept = here.add("data", content), here.add("kept", content | {"f1": b"edited"})
        here.push(old)
        here.push(kept)
        pushed = []

        def act(there=there, here=here, kept=kept, pushed=pushed):
            if action == "die":
                raise Interrupted
            if action == "collect":
                gc(there, [])
                return
            version = there.add("data", content if action == "push the old version" else other)
            there.push(version)
            pushed.append(version)

        hook = HookStore(memory, at, act)
        collector = world.site("collector", store=hook)
        collector.remote.clone = here.remote.clone
        try:
            gc(collector, [kept])
        except Interrupted:
            gc(here, [kept])
        assert_complete(world, "colleague", kept, content | {"f1": b"edited"})
        for version in pushed:
            assert_complete(world, "colleague 2", version, content if action == "push the old version" else other)
        world.close()
        if not hook.happened:
            break
