"""What keeps a pushed version alive, explored: commits, amends, branches, worktrees, forks and backups in several clones.

A rule that is changed loses data within a few thousand states; each is caught in the small world named beside it.
"""

import pytest

from tests.model.roots import RULES, World, check

PLAIN = World()
SHARED = World(shared=True, commits=1)
WORLDS = {  # with the depth that is explored, and the states that are found at least
    "two clones": (PLAIN, 9, 15_000),
    "a pushed commit": (SHARED, 9, 3_000),
    "three clones": (World(clones=3, shared=True, commits=1), 7, 5_000),
    "two versions, pushed together or in parts": (World(versions=2, shared=True), 5, 5_000),
    "worktrees": (World(worktrees=2, shared=True, commits=1), 7, 5_000),
    "a fork": (World(fork=True, shared=True), 7, 2_000),
    "backups that are put back": (World(backups=True, shared=True, commits=1), 7, 5_000),
}
DEEP = {
    "two clones": (PLAIN, 12),
    "three clones": (World(clones=3, shared=True), 7),
    "two versions, pushed together or in parts": (World(versions=2, shared=True), 7),
    "worktrees": (World(worktrees=2, shared=True), 7),
    "a fork": (World(fork=True, shared=True), 10),
    "backups that are put back": (World(backups=True, shared=True), 7),
}
CAUGHT_IN = {
    "roots of others suffice": (PLAIN, 10),
    "others after 14 days": (PLAIN, 9),
    "push drops too": (World(versions=2, shared=True, commits=1), 8),
    "no renewal": (SHARED, 7),
    "each root": (World(versions=2, shared=True, commits=1), 7),
    "one worktree": (World(worktrees=2, commits=1), 4),
    "one git server": (World(fork=True), 8),
}


@pytest.mark.parametrize("name", WORLDS)
def test_what_was_reported_and_is_needed_is_kept(name):
    world, depth, least = WORLDS[name]
    outcome = check(world, depth)
    assert not outcome.lost, outcome
    assert outcome.states > least


@pytest.mark.long
@pytest.mark.parametrize("name", DEEP)
def test_what_was_reported_and_is_needed_is_kept_many_steps_on(name):
    world, depth = DEEP[name]
    outcome = check(world, depth)
    assert not outcome.lost, outcome


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_is_changed_loses_data(rule):
    world, depth = CAUGHT_IN.get(rule, (PLAIN, 8))
    assert check(world, depth, broken=rule).lost, RULES[rule]
