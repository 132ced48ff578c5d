"""Recipes: exact bytes, exact round trips, and no damage or lie that goes unseen."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import DvliteError, LaterVersion, ObjectCorrupt
from dvlite.formats import recipe
from dvlite.formats.recipe import Part, Recipe, Term
from dvlite.oid import Digest, digest_bytes

GOLDEN = Path(__file__).parent.parent / "golden"
FILE = Digest(bytes(range(32)))
PACK_A, PACK_B = Digest(b"\xaa" * 32), Digest(b"\xbb" * 32)
MADE = Recipe(
    FILE,
    1_000_000,
    (Term(PACK_B, 7, 20, 1, 600_000), Term(PACK_A, 0, 1, 4, 300_000), Term(PACK_B, 3, 2, 1, 100_000)),
)
STRETCHES = Recipe(
    FILE,
    500_000,
    (Term(PACK_B, 7, 20, 1, 300_000), Term(PACK_A, 3, 1, 1, 150_000, 0), Term(PACK_B, 9, 1, 1, 50_000, 77)),
)
LEAST = 32_768 * 256  # of a part that is not the last
PARTS = Recipe(FILE, LEAST + 1, parts=(Part(PACK_A, LEAST), Part(PACK_B, 1)))


def test_a_recipe_has_exactly_these_bytes():
    golden = (GOLDEN / "recipe.bin").read_bytes()
    assert recipe.dump(MADE) == golden
    assert recipe.parse(golden, FILE) == MADE


def test_a_recipe_with_stretches_has_exactly_these_bytes():
    golden = (GOLDEN / "recipe-stretches.bin").read_bytes()
    assert recipe.dump(STRETCHES) == golden
    assert recipe.parse(golden, FILE) == STRETCHES
    part, data = recipe.dump_part(STRETCHES.terms)
    assert recipe.parse_part(data, part, FILE) == STRETCHES.terms


def test_a_recipe_of_parts_has_exactly_these_bytes():
    golden = (GOLDEN / "recipe-parts.bin").read_bytes()
    assert recipe.dump(PARTS) == golden
    assert recipe.parse(golden, FILE) == PARTS


def test_a_part_has_exactly_these_bytes():
    golden = (GOLDEN / "recipe-part.bin").read_bytes()
    part, data = recipe.dump_part(MADE.terms)
    assert data == golden
    assert part == Part(digest_bytes(golden), MADE.size_bytes)
    assert recipe.parse_part(golden, part, FILE) == MADE.terms


def test_packs_are_named_once_in_order_of_use():
    assert recipe.packs_of(MADE.terms) == (PACK_B, PACK_A)


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


stretches = st.builds(
    lambda pack, first, length, skip: Term(Digest(bytes([pack]) * 32), first, 1, 1, length, skip),
    st.integers(0, 3),
    st.integers(0, 2**32 - 1),
    st.integers(256, 2**17),
    st.integers(0, 2**24 - 2**17),
)


@given(st.lists(terms | stretches, max_size=20))
def test_a_recipe_reads_back_as_it_was(found):
    made = Recipe(FILE, sum(term.length_bytes for term in found), tuple(found))
    assert recipe.parse(recipe.dump(made), FILE) == made


@pytest.mark.parametrize("made", [MADE, STRETCHES, PARTS], ids=["terms", "stretches", "parts"])
@pytest.mark.parametrize("bit", [1, 0x80])
def test_every_flipped_byte_is_seen(made, bit):
    data = recipe.dump(made)
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


def forged_parts(*parts, size=LEAST + 1, packs=0):
    header = struct.pack("<4sBBH32sQII", b"DVLR", 1, 2, 0, FILE, size, packs, len(parts))
    return sealed(header + bytes(32) * packs + b"".join(struct.pack("<32sQ", *part) for part in parts))


def forged(
    size=1_000_000,
    terms=((0, 0, 10, 1, 1_000_000),),
    packs=1,
    named=FILE,
    version=1,
    term_count=None,
    reserved=0,
    form=0,
):
    terms_said = len(terms) if term_count is None else term_count
    header = struct.pack("<4sBHB32sQII", b"DVLR", version, form, reserved, named, size, packs, terms_said)
    return sealed(
        header + bytes(32) * packs + b"".join(struct.pack("<IIIIQI"[: len(term) + 1], *term) for term in terms)
    )


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
    "a form that is reserved": (forged(form=3), LaterVersion, "was written by a later dvlite"),
    "parts that do not sum to the size": (
        forged_parts((PACK_A, LEAST), (PACK_B, 2)),
        ObjectCorrupt,
        "its parts do not add up to the file's size",
    ),
    "no parts": (forged_parts(size=0), ObjectCorrupt, "a part is impossible"),
    "a short part before the last": (forged_parts((PACK_A, 1), (PACK_B, LEAST)), ObjectCorrupt, "a part is impossible"),
    "a last part of nothing": (
        forged_parts((PACK_A, LEAST + 1), (PACK_B, 0)),
        ObjectCorrupt,
        "a part is impossible",
    ),
    "100,000 empty parts": (forged_parts(*[(PACK_A, 0)] * 100_000), ObjectCorrupt, "a part is impossible"),
    "a million parts": (forged_parts(*[(PACK_A, 0)] * 1_000_000), ObjectCorrupt, "its length is impossible"),
    "parts beside packs": (
        forged_parts((PACK_A, LEAST), (PACK_B, 1), packs=1),
        ObjectCorrupt,
        "its lengths do not add up",
    ),
    "a stretch of nothing": (
        forged(terms=((0, 0, 1, 1, 0, 5),), size=0, form=1),
        ObjectCorrupt,
        "a term is impossible",
    ),
    "a stretch of two chunks": (
        forged(terms=((0, 0, 2, 1, 1_000_000, 5),), form=1),
        ObjectCorrupt,
        "a stretch is impossible",
    ),
    "a stretch that is repeated": (
        forged(terms=((0, 0, 1, 2, 1_000_000, 5),), form=1),
        ObjectCorrupt,
        "a stretch is impossible",
    ),
    "a stretch beyond the longest record": (
        forged(terms=((0, 0, 1, 1, 1_000_000, 2**24 - 999_999),), form=1),
        ObjectCorrupt,
        "a stretch is impossible",
    ),
    "a stretch whose end overflows": (
        forged(terms=((0, 0, 1, 1, 2**64 - 1, 2**32 - 2),), size=2**64 - 1, form=1),
        ObjectCorrupt,
        "a stretch is impossible",
    ),
    "a stretch for each byte": (
        forged(terms=((0, 0, 1, 1, 1, 0),) * 5_000, size=5_000, form=1),
        ObjectCorrupt,
        "impossibly many chunks",
    ),
    "stretches that do not sum to the size": (
        forged(terms=((0, 0, 1, 1, 1_000, 0), (0, 0, 1, 1, 1_000, 0)), form=1),
        ObjectCorrupt,
        "do not add up to the file's size",
    ),
    "34 more packs than bytes": (forged(packs=0), ObjectCorrupt, "a term is impossible"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_is_refused(name):
    data, kind, said = HOSTILE[name]
    with pytest.raises(kind, match=said):
        recipe.parse(data, FILE)


PART, PART_BYTES = recipe.dump_part(MADE.terms)
HOSTILE_PARTS = {
    "a part that names parts": (
        sealed(struct.pack("<4sBBH32sQII", b"DVLR", 1, 2, 0, bytes(32), 1_000_000, 0, 1) + bytes(32) + bytes(8)),
        ObjectCorrupt,
        "a part of it names parts",
    ),
    "a part of another length": (recipe.dump_part(MADE.terms[:2])[1], ObjectCorrupt, "a part of it has another length"),
    "a recipe in place of a part": (recipe.dump(MADE), ObjectCorrupt, "it is not the recipe of this file"),
    "a part of too many chunks": (
        forged(named=bytes(32), terms=((0, 0, 1, 1_000_000, 1_000_000),)),
        ObjectCorrupt,
        "it has impossibly many chunks",
    ),
    "a cut part": (PART_BYTES[:-1], ObjectCorrupt, "its checksum is wrong"),
}


@pytest.mark.parametrize("name", HOSTILE_PARTS)
def test_a_hostile_part_is_refused_and_the_file_is_named(name):
    data, kind, said = HOSTILE_PARTS[name]
    with pytest.raises(kind, match=f"blake3:{FILE.hex()} is damaged: {said}"):
        recipe.parse_part(data, PART, FILE)


def test_a_part_in_place_of_a_recipe_is_refused():
    with pytest.raises(ObjectCorrupt, match="not the recipe of this file"):
        recipe.parse(PART_BYTES, FILE)


@given(st.binary(max_size=400))
def test_any_sealed_bytes_are_a_recipe_or_an_error_of_ours(body):
    try:
        recipe.parse(sealed(body), FILE)
    except DvliteError as error:
        if "\n" in error.message:
            pytest.fail(error.message)
