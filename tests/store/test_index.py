"""Index objects: exact bytes, exact look-ups, and rows that cannot lead astray."""

import random
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import DvliteError, LaterVersion, ObjectCorrupt
from dvlite.oid import Digest, digest_bytes
from dvlite.store import index, pack
from dvlite.store.fetch import Need
from dvlite.store.index import ChosenRows, Index, PackEntry, RecordLocation, Rows
from dvlite.store.pack import (
    FILES,
    KIND_CHUNK,
    KIND_FILE,
    KIND_MANIFEST,
    KIND_RECIPE,
    RAW,
    PackWriter,
    Record,
    table_of,
)

GOLDEN = Path(__file__).parent.parent / "golden"
PACK_A, PACK_B, PACK_C = (Digest(bytes([byte]) * 32) for byte in (0xAA, 0xBB, 0xCC))


def place(content: bytes, pack_name: Digest = PACK_A, kind: int = KIND_FILE, offset: int = 80) -> RecordLocation:
    return RecordLocation(pack_name, Record(kind, 0, offset, len(content), len(content), digest_bytes(content)))


ROWS = [place(b"a"), place(b"bb", PACK_B, KIND_MANIFEST, 100), place(b"ccc", PACK_B, KIND_RECIPE)]
ENTRIES = {PACK_A: PackEntry(pack.FILES, 200), PACK_B: PackEntry(pack.META, 300)}


def test_an_index_has_exactly_these_bytes():
    golden = (GOLDEN / "index.bin").read_bytes()
    assert index.encode(ROWS, bytes(range(16)), ENTRIES) == golden
    read = Index(golden, "x")
    assert sorted(read) == sorted(ROWS)
    assert read.packs == ENTRIES


def test_the_class_of_a_pack_is_known_from_its_rows_and_its_length_is_not():
    read = Index(index.encode(ROWS, bytes(16), {PACK_C: PackEntry(pack.CHUNKS, 99)}), "x")
    assert read.packs == {
        PACK_A: PackEntry(pack.FILES, 0),
        PACK_B: PackEntry(pack.META, 0),
        PACK_C: PackEntry(pack.CHUNKS, 99),
    }


places = st.builds(
    place,
    st.binary(max_size=2),
    st.sampled_from([PACK_A, PACK_B]),
    st.sampled_from([KIND_FILE, KIND_MANIFEST, KIND_RECIPE]),
)


@given(st.lists(places, max_size=30))
def test_every_row_is_found_and_no_other(rows):
    read = Index(index.encode(rows, bytes(16)), "x")
    for content in (b"", b"a", b"\0", b"zz", *(bytes([i]) for i in range(40))):
        digest = digest_bytes(content)
        for kinds in ((KIND_FILE,), (KIND_MANIFEST, KIND_RECIPE)):
            expected = {row for row in rows if row.record.digest == digest and row.record.kind in kinds}
            assert set(read.find(digest, kinds)) == expected


def test_few_and_many_look_ups_give_the_same():
    contents = [str(i).encode() for i in range(3000)]
    read = Index(index.encode([place(content) for content in contents], bytes(16)), "x")
    draw = random.Random(1)
    for content in draw.choices([*contents, b"absent", b"not there"], k=2500):  # a table is made after 2,000
        found = [location.record.digest for location in read.find(digest_bytes(content), (KIND_FILE,))]
        assert found == ([digest_bytes(content)] if content in contents else [])


def test_rows_do_not_depend_on_order_or_repetition():
    assert index.encode(ROWS, bytes(16)) == index.encode([*reversed(ROWS), ROWS[0]], bytes(16))


def test_two_index_objects_of_the_same_rows_have_two_names():
    assert digest_bytes(index.encode(ROWS, bytes(16))) != digest_bytes(index.encode(ROWS, b"x" * 16))


def test_chunks_have_no_rows_and_their_pack_stands_in_the_table():
    writer = PackWriter(pack.CHUNKS, bytes(16))
    writer.add(KIND_CHUNK, digest_bytes(b"a"), b"a")
    whole = writer.finish()
    entries = {whole.name: PackEntry(whole.pack_class, len(whole.data))}
    found = Index(index.encode(index.rows_of(whole), bytes(16), entries), "test")
    assert list(found) == []
    assert found.packs == entries


def test_rows_taken_from_the_tables_of_packs_are_those_of_their_records():
    rows, places, entries = index.Rows(), [], {}
    for pack_class, kind in ((pack.FILES, KIND_FILE), (pack.CHUNKS, KIND_CHUNK), (pack.META, pack.KIND_LOG)) * 2:
        writer = PackWriter(pack_class, len(entries).to_bytes(16, "big"))
        for number in range(40):
            writer.add(kind, digest_bytes(b"%d" % number), b"%d" % number * 60)
        whole = writer.finish()
        places += index.rows_of(whole)
        entries[whole.name] = PackEntry(pack_class, len(whole.data))
        rows.add(whole.name, entries[whole.name], whole.table)
    assert len(rows) == len(places) == 160
    assert rows.encode(bytes(16)) == index.encode(places, bytes(16), entries)


def test_every_flipped_byte_is_seen_by_its_name():
    data = index.encode(ROWS, bytes(16))
    name = digest_bytes(data).hex()
    index.verify_name(data, name)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 4
        with pytest.raises(ObjectCorrupt, match=f"index {name} is damaged"):
            index.verify_name(damaged, name)


def forged(packs=1, rows=1, magic=b"DVLI", version=1, row=None, extra=b"", zero=b"", pack_zero=b"") -> bytes:
    digest = digest_bytes(b"a")
    row = row or (digest, KIND_FILE, 0, 0, 0, 80, 1, 1)
    header = struct.pack("<4sB3sII16s", magic, version, zero, packs, rows, bytes(16))
    return header + struct.pack("<32sIB3s", bytes(32), 0, 2, pack_zero) + struct.pack("<32sBBHIIII", *row) + extra


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (forged(magic=b"DVLX"), ObjectCorrupt),
        (forged(version=9), LaterVersion),
        (forged(zero=b"\0\0\1"), LaterVersion),
        (forged(pack_zero=b"\0\0\1"), LaterVersion),
        (forged(packs=2**32 - 1), ObjectCorrupt),
        (forged(rows=2**32 - 1), ObjectCorrupt),
        (forged(rows=0), ObjectCorrupt),
        (forged(extra=b"x"), ObjectCorrupt),
        (b"", ObjectCorrupt),
        (b"DVLI", ObjectCorrupt),
    ],
)
def test_34_an_index_that_lies_about_its_lengths_is_refused(data, kind):
    with pytest.raises(kind):
        Index(data, "x")


@pytest.mark.parametrize(
    "row",
    [
        (digest_bytes(b"a"), KIND_FILE, 0, 0, 7, 80, 1, 1),
        (digest_bytes(b"a"), KIND_FILE, 0, 0, 0, 80, 2**32 - 1, 1),
        (digest_bytes(b"a"), KIND_FILE, 0, 0, 0, 80, 1, 2**31),
    ],
    ids=["pack number", "raw length", "stored length"],
)
def test_34_a_row_that_points_nowhere_is_passed_over(row):
    assert list(Index(forged(row=row), "x").find(digest_bytes(b"a"), (KIND_FILE,))) == []
    assert list(Index(forged(row=row), "x")) == []


LATER_ROWS = {
    "kind": (digest_bytes(b"a"), 9, 0, 0, 0, 80, 1, 1),
    "codec": (digest_bytes(b"a"), KIND_FILE, 2, 0, 0, 80, 1, 1),
    "reserved": (digest_bytes(b"a"), KIND_FILE, 0, 1, 0, 80, 1, 1),
}


@pytest.mark.parametrize("row", LATER_ROWS.values(), ids=LATER_ROWS)
def test_a_row_of_a_later_dvlite_is_no_absent_object(row):
    read = Index(forged(row=row), "x")
    with pytest.raises(LaterVersion, match="was written by a later dvlite"):
        list(read.find(digest_bytes(b"a"), (KIND_FILE,)))
    assert list(read.find(digest_bytes(b"b"), (KIND_FILE,))) == []
    assert index.known_rows(read) is None


@given(st.binary(max_size=200), st.integers(0, 120))
def test_any_bytes_are_an_index_or_an_error_of_ours(data, keep):
    for candidate in (data, forged()[:keep] + data):
        try:
            list(Index(candidate, "x"))
        except DvliteError as error:
            if "\n" in error.message:
                pytest.fail(error.message)


def test_chosen_rows_count_once_and_take_few_bytes_each():
    wanted = [Need(digest_bytes(b"%d" % number), 1, "") for number in range(4000)]
    records = [Record(KIND_FILE, RAW, 100 + at, 1, 1, need.digest) for at, need in enumerate(wanted)]
    rows, name, chosen = Rows(), digest_bytes(b"pack"), ChosenRows()
    rows.add(name, PackEntry(FILES, 5000), table_of(records))
    segment = Index(rows.encode(bytes(16)), "test")
    assert segment.choose(wanted, KIND_FILE, {name: 50}, chosen) == wanted  # the pack is shorter than the rows say
    tracemalloc.start()
    try:
        for _ in range(2):
            assert segment.choose(wanted, KIND_FILE, {name: 5000}, chosen) == []
        assert tracemalloc.get_traced_memory()[0] < 20 * len(wanted)
    finally:
        tracemalloc.stop()
    assert len(chosen) == chosen.raw_bytes == len(wanted)
    assert {place.record for group in chosen.by_pack() for place in group} == set(records)
