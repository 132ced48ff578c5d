"""Condemned lists: one of a later version must stop a writer."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError, ObjectCorrupt
from dvlite.formats import condemned, strict_json
from dvlite.formats.condemned import Condemned
from dvlite.oid import Digest

GOLDEN = Path(__file__).parent.parent / "golden"
ENTRY = Condemned("0a" * 16, (Digest(bytes(32)), Digest(bytes(range(32)))), (Digest(b"\xff" * 32),))


def test_an_entry_has_exactly_these_bytes():
    golden = (GOLDEN / "condemned.json").read_bytes()
    assert condemned.dump(ENTRY) == golden
    assert condemned.parse(golden, "x") == ENTRY


digests = st.lists(st.binary(min_size=32, max_size=32).map(Digest), max_size=3).map(tuple)


@given(st.builds(Condemned, st.binary(min_size=16, max_size=16).map(bytes.hex), digests, digests))
def test_an_entry_reads_back_as_it_was(made):
    assert condemned.parse(condemned.dump(made), "x") == made


GOOD = strict_json.parse(condemned.dump(ENTRY), "x")


@pytest.mark.parametrize(
    "change",
    [
        {"dvlite_condemned": 2},
        {"dvlite_condemned": True},
        {"nonce": "0a"},
        {"nonce": None},
        {"packs": None},
        {"packs": ["../x"]},
        {"packs": ["AB" * 32]},
        {"packs": [1]},
        {"packs": {"a": 1}},
        {"purged": ["00"]},
        {"extra": 1},
    ],
)
def test_an_entry_that_is_not_understood_is_refused(change):
    with pytest.raises((FormatError, ObjectCorrupt), match="cannot read condemned/x"):
        condemned.parse(strict_json.dump(GOOD | change), "condemned/x")


def test_an_entry_may_name_every_pack_of_a_large_remote():
    many = Condemned("0a" * 16, tuple(Digest(i.to_bytes(32, "big")) for i in range(100_000)))
    assert condemned.parse(condemned.dump(many), "x") == many
