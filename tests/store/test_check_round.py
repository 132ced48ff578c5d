"""How far a check came: rounds, samples, and a file that is damaged."""

from itertools import count

import pytest

from dvlite.oid import digest_bytes
from dvlite.store import check_round
from dvlite.store.check_round import CheckRound, Reading
from dvlite.store.pack import KIND_FILE

ITEMS = [digest_bytes(bytes([number])) for number in range(10)]


def reading(path, **how):
    return Reading(path, count(1000).__next__, **how)


def test_samples_read_everything_once_in_a_round(tmp_path):
    seen = []
    for _ in range(4):
        now = reading(tmp_path / "round", percent=25)
        chosen = now.choose(ITEMS)
        assert len(chosen) <= 3
        for item in chosen:
            now.read(item, right=True)
        now.end(ITEMS)
        seen += chosen
    assert sorted(seen) == sorted(ITEMS)
    assert check_round.load(tmp_path / "round").completed
    assert len(reading(tmp_path / "round", percent=25).choose(ITEMS)) == 3


def test_what_was_bad_comes_first_until_it_is_right_and_does_not_stop_the_round(tmp_path):
    first = reading(tmp_path / "round")
    for item in first.choose(ITEMS):
        first.read(item, right=item != ITEMS[3])
    first.end(ITEMS)
    assert check_round.load(tmp_path / "round").completed
    second = reading(tmp_path / "round", percent=1)
    assert second.choose(ITEMS) == [ITEMS[3], ITEMS[0]]
    second.read(ITEMS[3], right=True)
    second.end(ITEMS)
    assert check_round.load(tmp_path / "round").bad == set()


def test_what_is_gone_is_forgotten(tmp_path):
    now = reading(tmp_path / "round")
    for item in ITEMS[:5]:
        now.read(item, right=item != ITEMS[0])
    now.end(ITEMS[1:], proven=[])
    known = check_round.load(tmp_path / "round")
    assert (known.done, known.bad) == (set(ITEMS[1:5]), set())


@pytest.mark.parametrize("at", [0, 4, 5, 20, -1])
def test_a_damaged_file_starts_over(tmp_path, at):
    path = tmp_path / "round"
    check_round.store(path, CheckRound(1, 2, set(ITEMS)))
    assert check_round.load(path).done == set(ITEMS)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.unlink()
    path.write_bytes(data)
    assert check_round.load(path) == CheckRound()


def test_an_unfinished_repair_is_kept_until_nothing_is_left(tmp_path):
    path = tmp_path / "fsck" / "unfinished"
    assert check_round.load_unfinished(path) == set()
    check_round.store_unfinished(path, {(KIND_FILE, ITEMS[0])})
    assert check_round.load_unfinished(path) == {(KIND_FILE, ITEMS[0])}
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"a line that was cut")
    assert check_round.load_unfinished(path) == {(KIND_FILE, ITEMS[0])}
    check_round.store_unfinished(path, set())
    assert not path.exists()
