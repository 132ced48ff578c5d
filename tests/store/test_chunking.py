"""Chunks: cut by content, the same on every machine, and never losing a byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvlite.formats.store_config import DEFAULT, StoreConfig
from dvlite.oid import digest_bytes
from dvlite.store import chunking
from tests.store.world import CHUNKS, noise

GOLDEN_LENGTHS = [91119, 30460, 56796, 16806]
GOLDEN_DIGEST = "4a360d29be6c312d"


@pytest.fixture
def cut(tmp_path):
    def cut(data: bytes, config: StoreConfig = CHUNKS) -> list[bytes]:
        path = tmp_path / "file"
        path.write_bytes(data)
        with path.open("rb") as file:
            return list(chunking.chunks(file.fileno(), len(data), config))

    return cut


def test_cut_points_are_those_of_the_format(cut):
    """A release of pyfastcdc that cuts elsewhere would end all reuse of what is stored."""
    chunks = cut(noise(1_000_000, 7), DEFAULT)
    assert [len(chunk) for chunk in chunks][:4] == GOLDEN_LENGTHS
    assert digest_bytes(b"".join(digest_bytes(chunk) for chunk in chunks)).hex()[:16] == GOLDEN_DIGEST


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 4095, 4096, 4097, 100_000])
def test_chunks_make_up_the_file_and_keep_their_bounds(cut, size):
    data = noise(size, size)
    chunks = cut(data)
    assert b"".join(chunks) == data
    assert all(CHUNKS.min_bytes <= len(chunk) <= CHUNKS.max_bytes for chunk in chunks[:-1])
    assert all(chunks)


def test_where_a_block_ends_makes_no_difference(cut, monkeypatch):
    data = noise(300_000, 1)
    whole = cut(data)
    for block in (4096, 5000, 65_536, 299_999):
        monkeypatch.setattr(chunking, "_BLOCK_BYTES", block)
        assert cut(data) == whole


@settings(max_examples=10)
@given(st.integers(0, 200_000), st.binary(min_size=1, max_size=500))
def test_an_insertion_changes_the_chunks_around_it_alone(at, inserted):
    import os
    import tempfile

    data = noise(200_000, 3)
    sets = []
    for content in (data, data[:at] + inserted + data[at:]):
        with tempfile.TemporaryFile() as file:
            os.pwrite(file.fileno(), content, 0)
            sets.append(
                {digest_bytes(chunk): len(chunk) for chunk in chunking.chunks(file.fileno(), len(content), CHUNKS)}
            )
    assert sum(length for digest, length in sets[1].items() if digest not in sets[0]) < 12 * CHUNKS.max_bytes // 2


def test_a_file_that_shrank_ends_early(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(noise(10_000, 1))
    with path.open("rb") as file:
        assert sum(map(len, chunking.chunks(file.fileno(), 50_000, CHUNKS))) == 10_000
