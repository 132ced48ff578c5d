"""Delta records, before anything writes them: with bases in recipes nothing is lost, and what each rule is for."""

import pytest

from tests.model.deltas import RULES, Pack, Recipe, World, check


def pack(name, **depths):
    return Pack(name, frozenset((int(version[1:]), depth) for version, depth in depths.items()))


TWO = {
    "packs": (pack("A", v0=0), pack("B", v1=1)),
    "recipes": (Recipe(0, (("A", 0),)), Recipe(1, (("B", 1), ("A", 0)))),
    "roots": frozenset({0, 1}),
}
THREE = {
    "packs": (*TWO["packs"], pack("C", v2=2)),
    "recipes": (*TWO["recipes"], Recipe(2, (("C", 2), ("B", 1), ("A", 0)))),
    "roots": frozenset({0, 1, 2}),
}
COPIES = {  # version 1 is stored twice: against version 0 in B, and whole in W, where version 2 has its base
    "packs": (*TWO["packs"], pack("W", v1=0), pack("C", v2=1)),
    "recipes": (*TWO["recipes"], Recipe(1, (("W", 1),)), Recipe(2, (("C", 2), ("W", 1)))),
    "roots": frozenset({1, 2}),
}
WORLDS = {
    "the version of a base is dropped": World(**TWO, drops=frozenset({0})),
    "a push against a base, and a gc": World(**TWO, pushers=(2,), drops=frozenset({0, 1})),
    "a push by a note": World(**TWO, pushers=(1,), noted=frozenset({1}), drops=frozenset({0, 1})),
    "a chain of which the ends are dropped": World(**THREE, drops=frozenset({0, 1})),
    "a push against a chain that is full": World(**TWO, pushers=(2,), limit=1),
    "two copies of a base": World(**COPIES, limit=1),
}
LARGE = {
    "a push and two gcs": World(**TWO, pushers=(2,), gcs=2, condemns=1, copies=1),
    "two pushes and a gc": World(**TWO, pushers=(2, 2), drops=frozenset({0}), condemns=1),
    "a push against a push, and a gc": World(**TWO, pushers=(2, 3), drops=frozenset({0}), condemns=1),
    "two gcs and a chain": World(**THREE, gcs=2, drops=frozenset({0}), condemns=1, copies=2),
    "two gcs and two copies": World(**COPIES, gcs=2, limit=1, condemns=1, copies=2),
}
CAUGHT_IN = {
    "push": "a push against a base, and a gc",
    "note": "a push by a note",
    "walk": "the version of a base is dropped",
    "moved base": "the version of a base is dropped",
    "direct bases": "a chain of which the ends are dropped",
    "depth": "a push against a chain that is full",
    "any copy": "two copies of a base",
}


@pytest.mark.parametrize("name", WORLDS)
def test_nothing_that_was_reported_is_lost(name):
    outcome = check(WORLDS[name])
    assert not outcome.lost
    assert outcome.states > 40


@pytest.mark.long
@pytest.mark.parametrize("name", LARGE)
def test_nothing_that_was_reported_is_lost_between_more_clients(name):
    assert not check(LARGE[name]).lost


@pytest.mark.parametrize("rule", RULES)
def test_without_this_rule_data_is_lost(rule):
    assert check(WORLDS[CAUGHT_IN[rule]], broken=rule).lost, RULES[rule]
