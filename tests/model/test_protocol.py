"""The protocol of docs/explanation/protocol.md, explored exhaustively: whole it loses nothing; without any one rule it does."""

import pytest

from tests.model import indexes, protocol
from tests.model.protocol import RULES, Pack

A, B, AB = frozenset("a"), frozenset("b"), frozenset("ab")
SITUATIONS = {
    "a push that relies on a pack, a gc, a root that is dropped": (
        ([A], 1, [Pack("X", A)], [Pack("r0", A)]),
        {"forget": True},
    ),
    "two pushes and a gc": (([A, A], 1, [Pack("Xa", A)], []), {}),
    "a pack of which half is needed": (([B], 1, [Pack("X", AB)], [Pack("r0", A)]), {"forget": True}),
    "two gcs and two copies": (([], 2, [Pack("X", A), Pack("Y", A)], [Pack("r0", A)]), {}),
}
LARGE = (([A], 2, [Pack("X", A)], []), {})  # one push and two gcs: 100,000 states


@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_that_was_reported_is_lost(situation):
    arguments, options = SITUATIONS[situation]
    found = protocol.check(*arguments, **options)
    assert not found.lost
    assert found.states > 500


@pytest.mark.long
def test_nothing_that_was_reported_is_lost_between_a_push_and_two_gcs():
    arguments, options = LARGE
    assert not protocol.check(*arguments, **options).lost


def test_entries_that_stay_protect_even_a_name_that_is_used_twice():
    """It costs progress (such a pack can never be relied on again), not data."""
    for arguments, options in SITUATIONS.values():
        assert not protocol.check(*arguments, **options, fresh_names=False).lost


@pytest.mark.parametrize("rule", RULES)
def test_without_this_rule_data_is_lost(rule):
    found = [protocol.check(*arguments, **options, broken=rule).lost for arguments, options in SITUATIONS.values()]
    if not any(found):
        arguments, options = LARGE
        found.append(protocol.check(*arguments, **options, broken=rule).lost)
    assert any(found), RULES[rule]


@pytest.mark.parametrize("merge", [True, False])
def test_replacing_exactly_what_was_listed_keeps_every_row(merge):
    assert not indexes.check(replace=True, merge=merge)


@pytest.mark.parametrize("fresh_look", [True, False])
def test_deleting_every_index_that_names_a_condemned_pack_loses_rows(fresh_look):
    assert indexes.check(replace=False, fresh_look=fresh_look)
