"""Roots: names that say it all, bodies that never surprise gc."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import root, strict_json
from dvlite.formats.root import Root
from dvlite.oid import Digest

GOLDEN = Path(__file__).parent.parent / "golden"
DIGEST = Digest(bytes(range(32)))
ROOT = Root("data/é", 12, "ab" * 16, "cd" * 20, "you@example.com", "2026-11-22T14:02:00Z")


def test_a_root_has_exactly_these_bytes():
    golden = (GOLDEN / "root.json").read_bytes()
    assert root.dump(ROOT) == golden
    assert root.parse(golden, "x") == ROOT


def test_a_name_says_kind_content_and_nonce():
    name = root.name("manifest", DIGEST, bytes(16))
    assert name == f"roots/manifest-{DIGEST.hex()}-{'00' * 16}"
    assert root.parse_name(name) == root.RootName("manifest", DIGEST, "00" * 16)
    assert name.startswith(root.prefix("manifest", DIGEST))


@pytest.mark.parametrize(
    "name",
    [
        "roots/",
        "roots/../x",
        f"roots/md5-{DIGEST.hex()}-{'00' * 16}",
        f"roots/blake3-{DIGEST.hex().upper()}-{'00' * 16}",
        f"roots/blake3-{DIGEST.hex()}-00",
        f"roots/blake3-{DIGEST.hex()}-{'00' * 16}/x",
        f"roots/blake3-{DIGEST.hex()}-{'00' * 16}\n",
    ],
)
def test_what_is_no_root_has_no_name(name):
    assert root.parse_name(name) is None


words = st.text(max_size=20)


@given(st.builds(Root, words, st.integers(0, 2**63), st.just("0f"), st.just(""), words, words))
def test_a_root_reads_back_as_it_was(made):
    assert root.parse(root.dump(made), "x") == made


GOOD = strict_json.parse(root.dump(ROOT), "x")


@pytest.mark.parametrize(
    "change",
    [
        {"dvlite_root": 2},
        {"dvlite_root": True},
        {"size": -1},
        {"size": "12"},
        {"size": True},
        {"path": None},
        {"commit": "HEAD"},
        {"project": "../x"},
        {"extra": 1},
    ],
)
def test_a_root_that_is_not_understood_is_refused(change):
    with pytest.raises(FormatError, match="cannot read roots/x"):
        root.parse(strict_json.dump(GOOD | change), "roots/x")


@pytest.mark.parametrize("missing", GOOD)
def test_every_field_of_a_root_is_needed(missing):
    with pytest.raises(FormatError):
        root.parse(strict_json.dump({key: value for key, value in GOOD.items() if key != missing}), "roots/x")
