"""Packs: exact bytes, records that speak for themselves, and nothing a hostile bucket can make of them."""

import struct
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import DvliteError, LaterVersion, ObjectCorrupt
from dvlite.oid import Digest, digest_bytes, digest_manifest
from dvlite.store import pack
from dvlite.store.pack import KIND_CHUNK, KIND_FILE, KIND_MANIFEST, KIND_RECIPE, RAW, ZSTD, PackWriter, Record
from tests.store.world import noise

GOLDEN = Path(__file__).parent.parent / "golden"
NONCE = bytes(range(16))
CONTENTS = [b"", b"a", noise(500, 1), noise(3000, 2)]


def written(contents=CONTENTS, kind=KIND_FILE, pack_class=pack.FILES) -> pack.Pack:
    writer = PackWriter(pack_class, NONCE)
    for content in contents:
        writer.add(kind, digest_bytes(content), content)
    return writer.finish()


def contents_of(data, records) -> list[bytes]:
    return [pack.unpack(record, data[record.offset : record.offset + record.stored_length]) for record in records]


def test_a_pack_has_exactly_these_bytes():
    golden = (GOLDEN / "pack.bin").read_bytes()
    made = written()
    assert bytes(made.data) == golden
    assert made.name == digest_bytes(golden)
    assert contents_of(golden, pack.open_whole(golden, made.name)) == CONTENTS


@given(st.lists(st.binary(max_size=300), max_size=12))
def test_what_goes_in_comes_out(contents):
    made = written(contents)
    data = bytes(made.data)
    assert len(data) == len(made.data)
    assert contents_of(data, made.records) == contents
    if contents:
        assert pack.open_whole(data, made.name) == made.records


def test_a_writer_knows_the_size_of_the_pack_it_makes():
    writer = PackWriter(pack.FILES, NONCE)
    for content in CONTENTS:
        writer.add(KIND_FILE, digest_bytes(content), content)
    expected = writer.size_bytes
    assert len(writer.finish().data) == expected


def test_equal_contents_in_two_packs_have_two_names():
    one, two = PackWriter(pack.FILES, b"1" * 16), PackWriter(pack.FILES, b"2" * 16)
    assert one.finish().name != two.finish().name


def test_text_is_compressed_and_noise_is_not():
    text = b"the same line again\n" * 500
    codec, stored = pack.compress(text)
    assert (codec, len(stored) < 200) == (ZSTD, True)
    assert pack.compress(noise(5000, 3))[0] == RAW


def test_in_a_run_of_noise_one_record_in_eight_is_tried_and_what_compresses_ends_the_run(monkeypatch):
    tried = []
    compress = pack.compress
    monkeypatch.setattr(pack, "compress", lambda raw: (tried.append(raw), compress(raw))[1])
    writer = pack.PackWriter(pack.CHUNKS, bytes(16))
    for number in range(400):
        raw = noise(2000, number)
        writer.add(pack.KIND_CHUNK, digest_bytes(raw), raw)
    assert len(tried) == 16 + (400 - 16) // 8
    text = b"one of eight " * 200
    for _ in range(20):
        writer.add(pack.KIND_CHUNK, digest_bytes(text), text)
    codecs = [record.codec for record in writer.finish().records]
    noisy, codecs = set(codecs[:400]), codecs[400:]
    assert noisy == {RAW}
    assert codecs.index(pack.ZSTD) < 8
    assert set(codecs[codecs.index(pack.ZSTD) :]) == {pack.ZSTD}


def test_the_footer_is_rebuilt_from_the_records():
    made = written()
    data = bytearray(made.data)
    for at in range(made.records[-1].offset + made.records[-1].stored_length, len(data)):
        damaged = data.copy()
        damaged[at] ^= 0xFF
        assert contents_of(bytes(damaged), pack.open_whole(damaged, made.name))[: len(CONTENTS)] == CONTENTS


def test_a_pack_without_its_end_still_gives_its_records():
    made = written()
    for cut in range(made.records[-1].offset + made.records[-1].stored_length, len(made.data)):
        assert contents_of(bytes(made.data), pack.open_whole(bytes(made.data[:cut]), made.name)) == CONTENTS


def test_a_scan_goes_on_after_a_record_that_makes_no_sense():
    made = written()
    damaged = bytearray(made.data)
    damaged[made.records[2].offset - pack.RECORD_BYTES] ^= 1
    assert pack.scan(damaged, made.name) == [*made.records[:2], made.records[3]]


def test_a_scan_lists_no_chunks_after_a_gap_for_recipes_count_them():
    made = written(kind=KIND_CHUNK, pack_class=pack.CHUNKS)
    damaged = bytearray(made.data)
    damaged[made.records[2].offset - pack.RECORD_BYTES] ^= 1
    assert pack.scan(damaged, made.name) == made.records[:2]


@pytest.mark.parametrize("footer", [True, False], ids=["sound footer", "no footer"])
@pytest.mark.parametrize("start", [b"", b"\0" * pack.HEADER_BYTES, b"DVr1" * 40], ids=["none", "zeros", "longer"])
def test_a_damaged_header_costs_no_record(start, footer):
    made = written()
    end = len(made.data) if footer and len(start) == pack.HEADER_BYTES else -pack.TRAILER_BYTES
    damaged = start + bytes(made.data[pack.HEADER_BYTES : end])
    assert contents_of(damaged, pack.open_whole(damaged, made.name)) == CONTENTS


LATER = {"magic": (7, ord("2")), "class": (8, 4), "cipher": (9, 1), "last reserved byte": (15, 1)}


@pytest.mark.parametrize("change", LATER.values(), ids=LATER)
def test_a_header_that_is_whole_and_not_known_is_of_a_later_dvlite(change):
    data = bytearray(written().data)
    data[change[0]] = change[1]
    for reads in (pack.open_whole, pack.verify_whole):
        with pytest.raises(LaterVersion, match="was written by a later dvlite"):
            reads(bytes(data), digest_bytes(bytes(data)))
    assert contents_of(data, pack.open_whole(data, written().name)) == CONTENTS  # damage, by its name


@pytest.mark.parametrize(
    "row", [(77, RAW, 0), (KIND_FILE, 2, 0), (KIND_FILE, RAW, 1)], ids=["kind", "codec", "reserved"]
)
def test_a_footer_with_a_row_that_is_not_known_is_of_a_later_dvlite(row):
    data = with_table([(*row, 100, 1, 1, NAME)])
    length = pack.footer_length(data[-32:], NAME)
    with pytest.raises(LaterVersion):
        pack.decode_footer(data[-length:], NAME, len(data))


def test_a_codec_that_is_not_known_is_not_decoded_as_another():
    with pytest.raises(LaterVersion):
        pack.unpack(Record(KIND_FILE, 2, 0, 1, 1, NAME), b"a")


def test_every_flipped_byte_is_seen_or_harmless():
    made = written()
    for at in range(len(made.data)):
        damaged = bytearray(made.data)
        damaged[at] ^= 0x10
        try:
            found = contents_of(bytes(damaged), pack.open_whole(damaged, made.name))
        except ObjectCorrupt:
            continue
        assert found == CONTENTS[: len(found)]


def test_a_manifest_cannot_be_read_as_a_file_with_the_same_bytes():
    raw = b"some bytes"
    as_manifest = Record(KIND_MANIFEST, RAW, 0, len(raw), len(raw), digest_manifest(raw))
    assert pack.unpack(as_manifest, raw) == raw
    for kind in (KIND_FILE, KIND_CHUNK):
        with pytest.raises(ObjectCorrupt, match="not the ones that its name promises"):
            pack.unpack(as_manifest._replace(kind=kind), raw)


def test_33_bytes_that_hash_to_another_id_are_refused_by_name():
    wrong = digest_bytes(b"other")
    with pytest.raises(ObjectCorrupt, match=f"blake3:{wrong.hex()} is damaged") as caught:
        pack.unpack(Record(KIND_FILE, RAW, 0, 5, 5, wrong), b"bytes")
    assert caught.value.exit_code == 13


# --- 34: a table that points elsewhere ---


def with_table(rows: list[tuple]) -> bytes:
    made = written()
    body = bytes(made.data[: made.records[-1].offset + made.records[-1].stored_length])
    table = b"".join(struct.pack("<BBHIII32s", *row) for row in rows)
    seal = digest_bytes(table)[:16]
    return body + table + struct.pack("<16sII8s", seal, len(rows), len(table) + 32, b"DVLPEND1")


NAME = digest_bytes(b"a")
BAD_ROWS = {
    "offset beyond the pack": (KIND_FILE, RAW, 0, 2**32 - 1, 1, 1, NAME),
    "offset in the header": (KIND_FILE, RAW, 0, 3, 1, 1, NAME),
    "length beyond the pack": (KIND_FILE, RAW, 0, 100, 2**24, 2**24, NAME),
    "lengths that differ though raw": (KIND_FILE, RAW, 0, 100, 2, 1, NAME),
    "compressed to more than it was": (KIND_FILE, ZSTD, 0, 100, 1, 2, NAME),
    "compressed to nothing": (KIND_FILE, ZSTD, 0, 100, 1, 0, NAME),
    "a record above 16 MiB": (KIND_FILE, ZSTD, 0, 100, 2**24 + 1, 1, NAME),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_34_a_footer_that_points_outside_is_not_believed(name):
    data = with_table([BAD_ROWS[name]])
    length = pack.footer_length(data[-32:], NAME)
    with pytest.raises(ObjectCorrupt, match="points outside of it"):
        pack.decode_footer(data[-length:], NAME, len(data))


def test_34_overlapping_records_are_not_believed():
    rows = [(KIND_FILE, RAW, 0, 100, 50, 50, NAME), (KIND_FILE, RAW, 0, 120, 50, 50, NAME)]
    data = with_table(rows)
    length = pack.footer_length(data[-32:], NAME)
    with pytest.raises(ObjectCorrupt):
        pack.decode_footer(data[-length:], NAME, len(data))


@pytest.mark.parametrize("rows", [0, 5, 2**32 - 1])
def test_34_a_footer_that_lies_about_its_length_is_not_believed(rows):
    tail = struct.pack("<16sII8s", bytes(16), rows, 2**31, b"DVLPEND1")
    with pytest.raises(ObjectCorrupt):
        pack.footer_length(tail, NAME)


# --- 35: zstd ---


def unpacks_to(stored: bytes, raw_length: int) -> bytes:
    return pack.unpack(Record(KIND_FILE, ZSTD, 0, raw_length, len(stored), NAME), stored)


def frame(data: bytes, **options) -> bytes:
    return zstandard.ZstdCompressor(level=19, **options).compress(data)


EXABYTE = b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", 2**60) + b"\x01\x00\x00"
DICTIONARY = zstandard.ZstdCompressionDict(b"some words for a dictionary " * 40)
BOMBS = {
    "1 GB declared as 1 KB": (frame(bytes(2**30)), 1024),
    "1 GB declared as what it is": (frame(bytes(2**30)), 2**30),
    "an exabyte declared": (EXABYTE, 2**60),
    "an exabyte declared, 1 KB promised": (EXABYTE, 1024),
    "no length declared": (frame(bytes(1000), write_content_size=False), 1000),
    "a dictionary": (frame(b"some words " * 90, dict_data=DICTIONARY), 990),
    "two frames": (frame(bytes(500)) + frame(bytes(500)), 1000),
    "two frames, the first promised": (frame(bytes(500)) + frame(bytes(500)), 500),
    "a skippable frame": (b"\x50\x2a\x4d\x18" + struct.pack("<I", 8) + bytes(8), 8),
    "a skippable frame in front": (b"\x50\x2a\x4d\x18" + struct.pack("<I", 8) + bytes(8) + frame(bytes(100)), 100),
    "cut short": (frame(noise(5000, 1))[:-10], 5000),
    "no frame": (b"hello world", 100),
    "nothing": (b"", 100),
}


@pytest.mark.parametrize("name", BOMBS)
def test_35_a_hostile_frame_costs_no_memory(name):
    stored, declared = BOMBS[name]
    tracemalloc.start()
    with pytest.raises(ObjectCorrupt):
        unpacks_to(stored, declared)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@given(st.binary(max_size=400), st.integers(0, 500))
def test_any_bytes_are_a_pack_or_an_error_of_ours(data, keep):
    for candidate in (data, bytes(written().data[:keep]) + data):
        try:
            contents_of(candidate, pack.open_whole(candidate, Digest(bytes(32))))
        except DvliteError as error:
            if "\n" in error.message:
                pytest.fail(error.message)


def test_a_recipe_is_not_checked_by_the_hash_of_its_bytes():
    """It is stored under the oid of the file it makes; formats.recipe checks it."""
    assert pack.unpack(Record(KIND_RECIPE, RAW, 0, 3, 3, NAME), b"xyz") == b"xyz"
