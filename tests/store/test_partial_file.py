"""Unfinished downloads: filled in any order, taken up again, never trusted."""

import random

import pytest

from dvlite.errors import ObjectCorrupt
from dvlite.formats.recipe import Term
from dvlite.oid import digest_bytes
from dvlite.store import pack
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_CHUNK, PackWriter
from dvlite.store.partial_file import PartialFile
from tests.store.world import QUIET, noise

PIECES = [noise(300 + i, i) for i in range(40)]


def packed(pieces, seed):
    writer = PackWriter(pack.CHUNKS, bytes([seed]) * 16)
    for piece in pieces:
        writer.add(KIND_CHUNK, digest_bytes(piece), piece)
    return writer.finish()


ONE, TWO = packed(PIECES[:20], 1), packed(PIECES[20:], 2)


def term(whole, first, count, repeat=1):
    length = sum(record.raw_length for record in whole.records[first : first + count]) * repeat
    return Term(whole.name, first, count, repeat, length)


TERMS = (term(TWO, 3, 5), term(ONE, 0, 20), term(TWO, 0, 2, 3), term(ONE, 7, 1, 4), term(TWO, 3, 5))
CONTENT = b"".join(
    b"".join((PIECES[:20] if t.pack == ONE.name else PIECES[20:])[t.first : t.first + t.count]) * t.repeat
    for t in TERMS
)
DIGEST = digest_bytes(CONTENT)
FOOTERS = {ONE.name: ONE.records, TWO.name: TWO.records}


@pytest.fixture
def cache(tmp_path):
    made = Cache(tmp_path, pack_below_bytes=100)
    made.create()
    return made


def opened(writer, terms=TERMS):
    made = PartialFile(DIGEST, len(CONTENT), writer)
    made.begin(terms)
    return made


@pytest.fixture
def partial(cache):
    with Writer(cache) as writer:
        made = opened(writer)
        yield made
        made.close()


def fill(partial, whole, start=0, end=None):
    partial.write(whole.name, whole.records, bytes(whole.data[start:end]), start, QUIET)


def test_whole_packs_in_any_order_make_the_file(cache, partial):
    assert set(partial.packs_needed()) == {ONE.name, TWO.name}
    fill(partial, TWO)
    assert partial.packs_needed() == [ONE.name]
    fill(partial, ONE)
    assert partial.packs_needed() == []
    partial.finish()
    assert cache.large_path(DIGEST).read_bytes() == CONTENT
    assert not list((cache.folder / "partial").iterdir())


def test_ranges_in_any_order_make_the_file(cache, partial):
    draw = random.Random(1)
    ranges = [
        (whole, record.offset, record.offset + record.stored_length) for whole in (ONE, TWO) for record in whole.records
    ]
    draw.shuffle(ranges)
    for whole, start, end in ranges:
        fill(partial, whole, start, end)
    assert partial.needed_bytes(ONE.name) == partial.needed_bytes(TWO.name) == 0
    partial.finish()
    assert cache.large_path(DIGEST).read_bytes() == CONTENT


def test_chunks_found_elsewhere_are_not_needed(partial):
    partial.expand(FOOTERS)
    for piece in PIECES[5:15]:
        for place in partial.places(digest_bytes(piece)):
            partial.fill(place, piece, QUIET)
    needed = set(partial.numbers(ONE.name, ONE.records))
    assert needed == set(range(20)) - set(range(5, 15))
    assert partial.needed_bytes(ONE.name) < sum(len(piece) for piece in PIECES[:20])


def test_what_an_interrupted_download_left_is_kept_if_it_is_right(cache):
    with Writer(cache) as writer:
        first = opened(writer)
        fill(first, TWO)
        first.close()
        path = cache.partial_path(DIGEST)
        with path.open("r+b") as file:  # one byte of it went bad meanwhile
            file.seek(5)
            file.write(b"\xff")
        second = opened(writer)
        assert second.resumed
        second.expand(FOOTERS)
        second.keep_what_is_right(QUIET)
        assert set(second.numbers(TWO.name, TWO.records)) == {3}
        fill(second, ONE)
        fill(second, TWO)
        second.finish()
        second.close()
    assert cache.large_path(DIGEST).read_bytes() == CONTENT


def test_windows_one_after_the_other_make_the_file(cache):
    with Writer(cache) as writer:
        made = PartialFile(DIGEST, len(CONTENT), writer)
        for window in (TERMS[:2], TERMS[2:3], TERMS[3:]):
            made.begin(window)
            for whole in (ONE, TWO):
                if whole.name in made.packs_needed():
                    fill(made, whole)
        assert made.is_last
        made.finish()
        made.close()
    assert cache.large_path(DIGEST).read_bytes() == CONTENT


def test_a_chunk_that_is_not_what_its_name_promises_is_not_written(partial):
    data = bytearray(ONE.data)
    data[ONE.records[4].offset] ^= 1
    with pytest.raises(ObjectCorrupt, match=ONE.records[4].digest.hex()):
        partial.write(ONE.name, ONE.records, bytes(data), 0, QUIET)


def test_chunks_that_do_not_make_the_file_are_refused_and_removed(cache):
    with Writer(cache) as writer:
        made = opened(writer, tuple(reversed(TERMS)))
        fill(made, ONE)
        fill(made, TWO)
        with pytest.raises(ObjectCorrupt, match=f"blake3:{DIGEST.hex()} is damaged"):
            made.finish()
        made.close()
    assert not cache.large_path(DIGEST).exists()
    assert not cache.partial_path(DIGEST).exists()


def test_two_downloads_of_one_file_do_not_mix(cache):
    with Writer(cache) as one, Writer(cache) as two:
        first, second = (opened(writer) for writer in (one, two))
        for whole in (ONE, TWO):
            fill(first, whole)
        first.finish()
        for whole in (TWO, ONE):
            fill(second, whole)
        second.finish()
        first.close()
        second.close()
    assert cache.large_path(DIGEST).read_bytes() == CONTENT
    assert not list((cache.folder / "tmp").iterdir())


def test_a_partial_file_of_another_size_is_not_continued(cache):
    cache.partial_path(DIGEST).write_bytes(b"x" * 77)
    with Writer(cache) as writer:
        made = opened(writer)
        assert not made.resumed
        for whole in (ONE, TWO):
            fill(made, whole)
        made.finish()
        made.close()
    assert cache.large_path(DIGEST).read_bytes() == CONTENT


def test_a_symlink_in_the_place_of_a_partial_file_is_not_followed(cache, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    cache.partial_path(DIGEST).symlink_to(victim)
    with Writer(cache) as writer, pytest.raises((OSError, Exception)):
        opened(writer)
    assert victim.read_bytes() == b"precious"
