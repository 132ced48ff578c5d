"""An open file asks for what is read, and where it is read on, for more and ahead."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from dvlite.reading.read_ahead import ReadAhead
from tests.trees import noise

CONTENT = noise(24 << 20, 1)
MIB = 1 << 20


@pytest.fixture
def opened():
    """A reader, and the ranges that it asked for."""
    asked = []

    def fetch(start, stop):
        asked.append((start, stop))
        return CONTENT[start:stop]

    with ThreadPoolExecutor(2) as threads:
        yield ReadAhead(fetch, len(CONTENT), threads.submit), asked


def test_ranges_here_and_there_are_asked_for_as_they_are(opened):
    ahead, asked = opened
    wanted = [(len(CONTENT) - 8, len(CONTENT)), (5 * MIB, 5 * MIB + 10), (2 * MIB, 3 * MIB)]
    assert [ahead._fetch(*each) for each in wanted] == [CONTENT[start:stop] for start, stop in wanted]
    assert asked == wanted


def test_reading_on_asks_for_more_each_time_and_ahead(opened):
    ahead, asked = opened
    position = 0
    while piece := ahead._fetch(position, position + 100_000):
        assert piece == CONTENT[position : position + 100_000]
        position += len(piece)
    assert position == len(CONTENT)
    asked.sort()
    assert [stop for _, stop in asked[:-1]] == [start for start, _ in asked[1:]], "nothing twice"
    assert asked[0] == (0, 128 << 10)
    assert len(asked) < 16


def test_what_was_read_ahead_and_is_not_wanted_is_forgotten(opened):
    ahead, _ = opened
    for position in range(0, 3 * MIB, MIB):
        ahead._fetch(position, position + MIB)
    assert ahead._fetch(20 * MIB, 20 * MIB + 5) == CONTENT[20 * MIB : 20 * MIB + 5]
    assert ahead._fetch(20 * MIB + 5, 20 * MIB + 9) == CONTENT[20 * MIB + 5 : 20 * MIB + 9]


def test_any_order_of_reads_gives_the_bytes(opened):
    ahead, _ = opened
    chance = random.Random(3)
    position = 0
    for _ in range(200):
        position = chance.choice([position, position, chance.randrange(len(CONTENT))])
        length = chance.choice([0, 1, 5_000, 300_000, 3 * MIB])
        assert ahead._fetch(position, position + length) == CONTENT[position : position + length]
        position = min(position + length, len(CONTENT))


def test_an_error_of_what_was_read_ahead_is_raised_where_it_is_read(opened):
    ahead, _ = opened
    fetch = ahead._read

    def failing(start, stop):
        if stop > 6 * MIB:
            raise OSError("gone")
        return fetch(start, stop)

    ahead._read = failing
    with pytest.raises(OSError, match="gone"):
        for position in range(0, 8 * MIB, 256 << 10):
            assert ahead._fetch(position, position + (256 << 10)) == CONTENT[position : position + (256 << 10)]
    assert position >= 2 * MIB
    ahead._read = fetch
    assert ahead._fetch(position, position + 9) == CONTENT[position : position + 9]
