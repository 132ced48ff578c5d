"""Recipes: exact bytes, exact round trips, and no damage or lie that goes unseen."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import DvliteError, LaterVersion, ObjectCorrupt
from dvlite.formats import recipe
from dvlite.formats.recipe import Recipe, Term
from dvlite.oid import Digest, digest_bytes

GOLDEN = Path(__file__).parent.parent / "golden"
FILE = Digest(bytes(range(32)))
PACK_A, PACK_B = Digest(b"\xaa" * 32), Digest(b"\xbb" * 32)
MADE = Recipe(
    FILE,
    1_000_000,
    (Term(PACK_B, 7, 20, 1, 600_000), Term(PACK_A, 0, 1, 4, 300_000), Term(PACK_B, 3, 2, 1, 100_000)),
)
HEADER = 56  # magic, version, oid, size, packs, terms


def test_a_recipe_has_exactly_these_bytes():
    golden = (GOLDEN / "recipe.bin").read_bytes()
    assert recipe.dump(MADE) == golden
    assert recipe.parse(golden, FILE) == MADE


def test_packs_are_named_once_in_order_of_use():
    assert MADE.packs == (PACK_B, PACK_A)


terms = st.builds(
    lambda pack, first, count, repeat, each: Term(
        Digest(bytes([pack]) * 32), first, count, repeat, count * repeat * each
    ),
    st.integers(0, 3),
    st.integers(0, 2**32 - 1),
    st.integers(1, 50),
    st.integers(1, 9),
    st.integers(256, 2**17),
)


@given(st.lists(terms, max_size=20))
def test_a_recipe_reads_back_as_it_was(found):
    made = Recipe(FILE, sum(term.length_bytes for term in found), tuple(found))
    assert recipe.parse(recipe.dump(made), FILE) == made


@pytest.mark.parametrize("bit", [1, 0x80])
def test_every_flipped_byte_is_seen(bit):
    data = recipe.dump(MADE)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= bit
        with pytest.raises(ObjectCorrupt, match=f"recipe of blake3:{FILE.hex()} is damaged"):
            recipe.parse(bytes(damaged), FILE)


def test_every_cut_is_seen():
    data = recipe.dump(MADE)
    for length in range(len(data)):
        with pytest.raises(ObjectCorrupt):
            recipe.parse(data[:length], FILE)
    with pytest.raises(ObjectCorrupt):
        recipe.parse(data + b"\0", FILE)


def sealed(body: bytes) -> bytes:
    """Returns a body with the checksum that a stranger can compute as well as we can."""
    return body + digest_bytes(body)[:16]


def forged(
    size=1_000_000, terms=((0, 0, 10, 1, 1_000_000),), packs=1, named=FILE, version=1, term_count=None, reserved=0
):
    terms_said = len(terms) if term_count is None else term_count
    header = struct.pack("<4sBHB32sQII", b"DVLR", version, 0, reserved, named, size, packs, terms_said)
    return sealed(header + bytes(32) * packs + b"".join(struct.pack("<IIIIQ", *term) for term in terms))


HOSTILE = {
    "22 unknown version": (forged(version=2), LaterVersion, "was written by a later dvlite"),
    "a reserved byte that is set": (forged(reserved=1), LaterVersion, "was written by a later dvlite"),
    "another file's recipe": (forged(named=PACK_A), ObjectCorrupt, "not the recipe of this file"),
    "32 lengths that do not sum to the size": (forged(size=999_999), ObjectCorrupt, "do not add up to the file's size"),
    "32 2^40 zero-length chunks": (
        forged(terms=((0, 0, 2**20, 2**20, 0),), size=0),
        ObjectCorrupt,
        "a term is impossible",
    ),
    "32 2^32 chunks in a small file": (
        forged(terms=((0, 0, 1, 1_000_000, 1_000_000),)),
        ObjectCorrupt,
        "impossibly many chunks",
    ),
    "32 no chunks": (forged(terms=((0, 0, 0, 1, 1_000_000),)), ObjectCorrupt, "a term is impossible"),
    "32 no repetition": (forged(terms=((0, 0, 10, 0, 1_000_000),)), ObjectCorrupt, "a term is impossible"),
    "32 a length that is no multiple": (
        forged(terms=((0, 0, 10, 3, 1_000_000),)),
        ObjectCorrupt,
        "a term is impossible",
    ),
    "32 a pack that is not listed": (forged(terms=((1, 0, 10, 1, 1_000_000),)), ObjectCorrupt, "a term is impossible"),
    "31 more terms than bytes": (forged(term_count=2**32 - 1), ObjectCorrupt, "its lengths do not add up"),
    "34 more packs than bytes": (forged(packs=0), ObjectCorrupt, "a term is impossible"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_is_refused(name):
    data, kind, said = HOSTILE[name]
    with pytest.raises(kind, match=said):
        recipe.parse(data, FILE)


@given(st.binary(max_size=400))
def test_any_sealed_bytes_are_a_recipe_or_an_error_of_ours(body):
    try:
        recipe.parse(sealed(body), FILE)
    except DvliteError as error:
        if "\n" in error.message:
            pytest.fail(error.message)
