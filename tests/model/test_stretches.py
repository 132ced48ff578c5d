"""Stretches of chunks in recipes: nothing is lost, nothing that was purged is left, and what each rule is for."""

import pytest

from tests.model.stretches import RULES, Pack, Piece, Recipe, World, check


def pack(name, letters):
    return Pack(name, frozenset(letters))


def recipe(version, **taken):
    return Recipe(version, frozenset(Piece(name, frozenset(letters)) for name, letters in taken.items()))


FILES = {0: "ax", 1: "bx", 2: "cbx"}  # versions share x; 1 and 2 share b
TWO = {
    "files": FILES,
    "packs": (pack("A", "ax"), pack("B", "b")),
    "recipes": (recipe(0, A="ax"), recipe(1, A="x", B="b")),
    "roots": frozenset({0, 1}),
}
FREE = {0: "ax", 1: "bx", 2: "cx"}  # 1 has b alone
PURGED = {**TWO, "files": FREE, "gcs": 0, "purges": (1,)}
WHOLE = {"files": FREE, "packs": (pack("B", "bx"), pack("C", "c")), "gcs": 0, "purges": (1,)}
WORLDS = {
    "the version of the bytes is dropped": World(**TWO, drops=frozenset({0})),
    "a push of stretches, and a gc": World(**TWO, pushers=(2,), drops=frozenset({0, 1}), condemns=2),
    "a copy of the bytes elsewhere": World(
        **{**TWO, "packs": (*TWO["packs"], pack("X", "x"))}, drops=frozenset({0}), condemns=2
    ),
    "a purge, and a push of stretches": World(**PURGED, pushers=(2,)),
    "a purge of what others take stretches of": World(
        **WHOLE, recipes=(recipe(1, B="bx"), recipe(2, B="x", C="c")), roots=frozenset({1, 2})
    ),
    "a purge of what was pushed twice": World(
        **{**PURGED, "packs": (*TWO["packs"], pack("W", "bx")), "recipes": (*TWO["recipes"], recipe(1, W="bx"))}
    ),
    "a purge after a push that died": World(**{**PURGED, "packs": (*TWO["packs"], pack("W", "bx"))}),
}
CAUGHT_IN = {
    "push": "a push of stretches, and a gc",
    "walk": "the version of the bytes is dropped",
    "same bytes": "a copy of the bytes elsewhere",
    "cut": "a purge of what others take stretches of",
    "leftovers": "a purge of what was pushed twice",
}


@pytest.mark.parametrize("name", WORLDS)
def test_nothing_is_lost_and_nothing_purged_is_left(name):
    assert not check(WORLDS[name]).lost


@pytest.mark.parametrize("rule", RULES)
def test_without_this_rule_data_is_lost_or_left(rule):
    assert check(WORLDS[CAUGHT_IN[rule]], broken=rule).lost, RULES[rule]


def test_a_purge_by_the_chunks_of_a_recipe_leaves_what_a_push_that_died_sent():
    assert check(WORLDS["a purge after a push that died"], broken="leftovers").lost
