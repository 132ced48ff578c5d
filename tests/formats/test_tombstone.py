"""Tombstones: what one says is never read as less, and one that is not understood stops."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import strict_json, tombstone
from dvlite.formats.tombstone import MAX_BYTES, MOST_FILES, Tombstone
from dvlite.oid import Digest

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = (Digest(bytes(range(32))), Digest(bytes(range(32, 64))))
STONE = Tombstone(
    FILES,
    "data/people.csv",
    "ada@example.com",
    "2026-11-22T14:02:00Z",
    "erasure request 17",
    "00112233445566778899aabbccddeeff",
    "0.1.0",
)
GOOD = strict_json.parse(tombstone.dump(STONE), "x")


def test_a_tombstone_has_exactly_these_bytes():
    golden = (GOLDEN / "tombstone.json").read_bytes()
    assert tombstone.dump(STONE) == golden
    assert tombstone.parse(golden, "x") == STONE


digests = st.sets(st.binary(min_size=32, max_size=32).map(Digest), min_size=1, max_size=3)
words = st.text(max_size=20)


@given(digests, words, words)
def test_a_tombstone_reads_back_as_it_was(files, path, reason):
    stone = Tombstone(tuple(sorted(files)), path, reason=reason)
    assert tombstone.parse(tombstone.dump(stone), "x") == stone


def test_a_name_that_is_not_utf_8_reads_back():
    stone = Tombstone(FILES, "data/\udcff")
    assert tombstone.parse(tombstone.dump(stone), "x") == stone


@pytest.mark.parametrize(
    "change",
    [
        {"dvlite_tombstone": 2},
        {"dvlite_tombstone": True},
        {"files": []},
        {"files": "00" * 32},
        {"files": ["00" * 31]},
        {"files": ["0" * 63 + "g"]},
        {"files": ["AB" * 32]},
        {"files": ["11" * 32, "00" * 32]},
        {"files": ["11" * 32, "11" * 32]},
        {"files": [1]},
        {"reason": None},
        {"path": "\ud800"},
    ],
)
def test_a_tombstone_that_is_not_understood_is_refused(change):
    with pytest.raises(FormatError, match="cannot read purged/x"):
        tombstone.parse(strict_json.dump(GOOD | change), "purged/x")


def test_only_version_and_files_are_needed_and_other_keys_pass():
    assert tombstone.parse(strict_json.dump({"dvlite_tombstone": 1, "files": ["00" * 32]}), "x") == Tombstone(
        (Digest(bytes(32)),)
    )
    assert tombstone.parse(strict_json.dump(GOOD | {"later": 1}), "x") == STONE
    with pytest.raises(FormatError):
        tombstone.parse(strict_json.dump({"dvlite_tombstone": 1}), "x")


def test_many_files_take_several_tombstones_which_are_small_enough():
    files = tuple(Digest(number.to_bytes(32, "big")) for number in range(MOST_FILES + 1))
    parts = list(Tombstone(files, reason="x" * 1000).parts())
    assert [len(part.files) for part in parts] == [MOST_FILES, 1]
    assert len(tombstone.dump(parts[0])) < MAX_BYTES
