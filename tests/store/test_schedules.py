"""Pushes, pulls and collections request by request, in many orders, with crashes: what a push reported, and is needed, is there at the end."""

import os
from functools import partial

import pytest

from dvlite.formats import recipe
from dvlite.store import claims, collect, pack, push_protocol
from dvlite.store.catalog import Catalog
from dvlite.store.claims import Claims
from tests.store import schedule, world
from tests.store.schedule import play


@pytest.fixture(autouse=True)
def small_packs(monkeypatch):
    monkeypatch.setattr(pack, "TARGET_BYTES", 4_000)
    monkeypatch.setattr(recipe, "TERMS_PER_PART", 2)  # the large file has two parts
    monkeypatch.setattr(os, "urandom", os.urandom)  # put back: a schedule draws its nonces from the seed


def played(tmp_path, seeds, run_gc=None):
    return [play(seed, tmp_path / str(seed), run_gc) for seed in seeds]


@pytest.mark.parametrize("seeds", [range(12), pytest.param(range(1000, 1200), marks=pytest.mark.long)], ids=len)
def test_nothing_is_lost_in_any_order(tmp_path, seeds):
    outcomes = played(tmp_path, seeds)
    assert [text for outcome in outcomes for text in (*outcome.lost, *outcome.errors)] == []
    assert sum(outcome.deleted for outcome in outcomes) > 20
    assert sum(outcome.reported for outcome in outcomes) > 20


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
    monkeypatch.setattr(world, "Catalog", partial(Catalog, to_read=True))


BROKEN = (
    with_roots_of_the_plan,
    with_packs_condemned_since,
    with_claims_that_fall,
    without_second_look,
    without_a_root,
    with_condemned_packs,
)


@pytest.mark.long
@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__)
def test_a_broken_collector_or_push_is_caught(tmp_path, monkeypatch, breaks):
    breaks(monkeypatch)
    outcomes = (play(seed, tmp_path / str(seed)) for seed in range(2000, 2600))
    assert any(outcome.lost for outcome in outcomes), schedule.__doc__
