"""Clients of all kinds request by request, in many orders, with crashes: what was reported and is needed is there at the end, what was purged is not."""

from collections import Counter
from functools import partial
from types import SimpleNamespace

import pytest

from dvlite.share import collect_remote, copy_versions
from dvlite.store import (
    check_remote,
    claims,
    collect,
    config_object,
    copy_protocol,
    purged_packs,
    push_protocol,
    snapshots,
    usage,
)
from dvlite.store.catalog import Catalog
from dvlite.store.claims import Claims
from dvlite.store.purged_packs import Held
from tests.store import actors, schedule
from tests.store.schedule import play


@pytest.fixture(autouse=True)
def prepared(monkeypatch):
    for owner, name, value in schedule.SETTINGS:
        monkeypatch.setattr(owner, name, value)


@pytest.mark.parametrize("seeds", [range(20, 32), pytest.param(range(1000, 1300), marks=pytest.mark.long)], ids=len)
def test_nothing_is_lost_in_any_order(tmp_path, seeds):
    outcomes = [play(seed, tmp_path / str(seed)) for seed in seeds]
    assert [text for outcome in outcomes for text in (*outcome.lost, *outcome.errors)] == []
    counts = sum((Counter(outcome.counts) for outcome in outcomes), Counter())
    assert counts["deleted_packs"] > 20
    assert counts["pushed"] > 20
    assert min(counts[name] for name in ("synced", "purged", "wiped", "fsck")) > 0


# Three collections under three looks of a check; a purge that only the second look of a copy saw.
@pytest.mark.parametrize("seed", [1025815, 3006492])
def test_what_went_wrong_in_this_order_does_no_more(tmp_path, seed):
    outcome = play(seed, tmp_path)
    assert (*outcome.lost, *outcome.errors) == ()


def with_roots_of_the_plan(monkeypatch):
    """The collector deletes what its plan says, without looking at roots after it condemned."""

    def secure(catalog, *_):
        catalog.look()
        return catalog.condemned

    monkeypatch.setattr(collect, "_secure", secure)


def with_packs_condemned_since(monkeypatch):
    """The collector deletes packs too that others condemned after it had listed the roots."""
    real = collect._secure

    def secure(catalog, *rest):
        real(catalog, *rest)
        catalog.look()
        return catalog.condemned

    monkeypatch.setattr(collect, "_secure", secure)


def with_claims_that_fall(monkeypatch):
    """The collector drops the claims of other clones, however young."""
    monkeypatch.setattr(claims, "judge", lambda _catalog, roots, _owner: Claims(falling=[(each, "") for each in roots]))


def without_second_look(monkeypatch):
    """A push reports success without looking at what was condemned meanwhile."""
    real = push_protocol.run

    def run(catalog, *rest, **how):
        look = catalog.look_at_condemned
        catalog.look_at_condemned = lambda: look() and frozenset()
        return real(catalog, *rest, **how)

    monkeypatch.setattr(push_protocol, "run", run)


def without_a_root(monkeypatch):
    """A push reports success without having claimed anything."""
    monkeypatch.setattr(push_protocol, "_publish", lambda *_: None)


def with_condemned_packs(monkeypatch):
    """A push relies on packs that are condemned, as a reader may."""
    monkeypatch.setattr(actors, "Catalog", partial(Catalog, to_read=True))


def without_second_look_of_a_sync(monkeypatch):
    """A sync reports success without looking at what was condemned meanwhile on its target."""

    def settle(target, sent, _, publish):
        return push_protocol.settle(target, sent, set(), publish)

    monkeypatch.setattr(copy_protocol, "push_protocol", SimpleNamespace(**vars(push_protocol) | {"settle": settle}))


def with_condemned_packs_of_the_target(monkeypatch):
    """A sync takes what lies in condemned packs of its target for there."""
    monkeypatch.setattr(copy_versions, "Catalog", partial(Catalog, to_read=True))


def with_small_files_only(monkeypatch):
    """A sync copies no large files."""
    real = copy_protocol.copy_objects.plan

    def plan(source, wanted):
        todo = real(source, wanted)
        todo.large.clear()
        return todo

    monkeypatch.setattr(
        copy_protocol, "copy_objects", SimpleNamespace(**vars(copy_protocol.copy_objects) | {"plan": plan})
    )


def with_tombstones_kept_here(monkeypatch):
    """A purge puts no tombstone on the remote."""
    monkeypatch.setattr(push_protocol, "send_tombstones", lambda *_: None)


def without_a_feature(monkeypatch):
    """A purge puts its tombstone without a word of it in the config, so that nobody looks for it."""
    monkeypatch.setattr(config_object.ConfigObject, "require", lambda *_: None)


def with_packs_that_stay(monkeypatch):
    """A purge, and every collection after it, condemns no pack for what was purged."""
    monkeypatch.setattr(purged_packs, "look", lambda *_: Held())


def with_all_that_lies_beside(monkeypatch):
    """A purge deletes packs without copying what else is in them."""
    real = collect_remote.collect.run

    def run(catalog, cache, todo, *rest, **how):
        with pytest.MonkeyPatch.context() as patch:
            if cache.purged:
                patch.setattr(collect, "_secure", lambda catalog, *_: catalog.look().condemned)
            return real(catalog, cache, todo, *rest, **how)

    monkeypatch.setattr(collect, "run", run)


def with_purged_files_that_count(monkeypatch):
    """A collector copies what was purged along with the rest."""
    real = usage._files_of

    def files_of(cache, needed, part, parts):
        return real(SimpleNamespace(read_node=cache.read_node, purged=()), needed, part, parts)

    monkeypatch.setattr(usage, "_files_of", files_of)


def without_chunks(monkeypatch):
    """fsck takes a large file for whole if it has a recipe."""
    monkeypatch.setattr(check_remote.RemoteHolder, "without_chunks", lambda _: set())


def with_packs_unread(monkeypatch):
    """fsck reads no packs."""
    monkeypatch.setattr(check_remote, "read_packs", lambda *_: None)


def with_claims_listed_last(monkeypatch):
    """fsck lists the claims after all else, and takes what others put or moved meanwhile for lost."""
    real = check_remote._roots

    def roots(check):
        check.claimed_by = snapshots.listed(check.catalog.remote)
        real(check)

    monkeypatch.setattr(check_remote, "_roots", roots)
    monkeypatch.setattr(check_remote, "was_disturbed", lambda _: False)


BROKEN = (
    with_roots_of_the_plan,
    with_packs_condemned_since,
    with_claims_that_fall,
    without_second_look,
    without_a_root,
    with_condemned_packs,
    without_second_look_of_a_sync,
    with_condemned_packs_of_the_target,
    with_small_files_only,
    with_tombstones_kept_here,
    without_a_feature,
    with_packs_that_stay,
    with_all_that_lies_beside,
    with_purged_files_that_count,
    without_chunks,
    with_packs_unread,
    with_claims_listed_last,
)


@pytest.mark.long
@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__)
def test_a_broken_client_is_caught(tmp_path, monkeypatch, breaks):
    breaks(monkeypatch)
    outcomes = (play(seed, tmp_path / str(seed)) for seed in range(2000, 3000))
    assert any(outcome.lost for outcome in outcomes), breaks.__doc__
