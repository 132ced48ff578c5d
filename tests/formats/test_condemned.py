"""Condemned lists: one of a later version must stop readers and writers, one that is no list is damage."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import LaterVersion, ObjectCorrupt
from dvlite.formats import condemned
from dvlite.oid import Digest

GOLDEN = Path(__file__).parent.parent / "golden"
PACKS = [Digest(bytes(32)), Digest(bytes(range(32)))]
GOOD = condemned.dump(PACKS, b"\x0a" * 16)


def test_a_list_has_exactly_these_bytes():
    golden = (GOLDEN / "condemned.bin").read_bytes()
    assert golden == GOOD
    assert condemned.parse(golden, "x") == PACKS


digests = st.lists(st.binary(min_size=32, max_size=32).map(Digest), max_size=3)


@given(digests, st.binary(min_size=16, max_size=16))
def test_a_list_reads_back_sorted_each_pack_once(packs, nonce):
    assert condemned.parse(condemned.dump([*packs, *packs], nonce), "x") == sorted(set(packs))


@pytest.mark.parametrize("at", [4, 5, 7, 12, 15])
def test_a_list_with_another_version_or_a_reserved_byte_that_is_set_is_of_a_later_dvlite(at):
    data = bytearray(GOOD)
    data[at] ^= 2
    with pytest.raises(LaterVersion, match="condemned/x was written by a later dvlite"):
        condemned.parse(bytes(data), "condemned/x")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        b"{}",
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:-32],
        GOOD[:32] + GOOD[64:] + GOOD[32:64],
        GOOD[:64] + GOOD[32:64],
    ],
    ids=["empty", "junk", "json", "cut", "longer", "a pack less", "out of order", "twice"],
)
def test_what_is_no_list_is_damaged(data):
    with pytest.raises(ObjectCorrupt, match="cannot read condemned/x"):
        condemned.parse(data, "condemned/x")


def test_a_list_may_name_every_pack_of_a_large_remote():
    many = [Digest(i.to_bytes(32, "big")) for i in range(100_000)]
    assert condemned.parse(condemned.dump(many, bytes(16)), "x") == many
