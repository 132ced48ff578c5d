"""The protocol of docs/explanation/protocol.md, explored exhaustively: whole it loses nothing; without any one rule it does."""

import pytest

from tests.model import indexes, protocol
from tests.model.protocol import RULES, Pack

A, B, AB = frozenset("a"), frozenset("b"), frozenset("ab")
SITUATIONS = {  # the largest last: a broken rule is looked for until it is caught
    "a push that relies on a pack, a gc, a root that is dropped": (
        ([A], 1, [Pack("X", A)], [Pack("r0", A)]),
        {"forget": True},
    ),
    "a pack of which half is needed": (([B], 1, [Pack("X", AB)], [Pack("r0", A)]), {"forget": True}),
    "a push, a gc, and a client that merges condemned lists": (([A], 1, [Pack("X", A)], []), {"mergers": 1}),
    "a reader, a gc, and a day that passes": (
        ([], 1, [Pack("X", AB)], [Pack("r0", A), Pack("r1", B)]),
        {"days": 1, "readers": [A], "forget": True},
    ),
    "a push, a root and a purge": (([AB], 0, [Pack("X", AB)], [Pack("r0", B)]), {"purges": A}),
    "a gc, a root and a purge": (([], 1, [Pack("X", AB)], [Pack("r0", AB)]), {"purges": A}),
    "two pushes and a gc": (([A, A], 1, [Pack("Xa", A)], []), {}),
    "two gcs, and a day that passes": (([], 2, [Pack("X", A)], [Pack("r0", A)]), {"days": 1}),
    "two gcs and two copies": (([], 2, [Pack("X", A), Pack("Y", A)], [Pack("r0", A)]), {}),
}
LARGER = {  # 1,300,000 states
    "a push and two gcs": (([A], 2, [Pack("X", A)], []), {}),
    "a push, two gcs and a merger": (([A], 2, [Pack("X", A)], []), {"mergers": 1}),
    "a push, two gcs and a day": (([A], 2, [Pack("X", A)], []), {"days": 1}),
    "a reader, two gcs and a day": (([], 2, [Pack("X", A)], [Pack("r0", A)]), {"days": 1, "readers": [A]}),
    "a push, a gc and a purge": (([AB], 1, [Pack("X", AB)], [Pack("r0", B)]), {"purges": A}),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_that_was_reported_is_lost(situation):
    arguments, options = SITUATIONS[situation]
    found = protocol.check(*arguments, **options)
    assert not found.lost
    assert found.states > 400


@pytest.mark.long
@pytest.mark.parametrize("situation", LARGER)
def test_nothing_that_was_reported_is_lost_among_more_clients(situation):
    arguments, options = LARGER[situation]
    assert not protocol.check(*arguments, **options).lost


def test_entries_that_stay_protect_even_a_name_that_is_used_twice():
    """It costs progress (such a pack can never be relied on again), not data."""
    for arguments, options in SITUATIONS.values():
        assert not protocol.check(*arguments, **options, fresh_names=False).lost


@pytest.mark.parametrize("rule", RULES)
def test_without_this_rule_data_is_lost(rule):
    found = (protocol.check(*arguments, **options, broken=rule).lost for arguments, options in SITUATIONS.values())
    assert any(found), RULES[rule]


@pytest.mark.parametrize("merge", [True, False])
def test_replacing_exactly_what_was_listed_keeps_every_row(merge):
    assert not indexes.check(replace=True, merge=merge)


@pytest.mark.parametrize("fresh_look", [True, False])
def test_deleting_every_index_that_names_a_condemned_pack_loses_rows(fresh_look):
    assert indexes.check(replace=False, fresh_look=fresh_look)
