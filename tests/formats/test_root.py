"""Roots: names that say it all, bodies that never surprise gc."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError, ObjectCorrupt
from dvlite.formats import root, strict_json
from dvlite.formats.root import Root
from dvlite.oid import Digest

GOLDEN = Path(__file__).parent.parent / "golden"
DIGEST = Digest(bytes(range(32)))
CLONE = "ef" * 16
ROOT = Root("ab" * 16, CLONE, "cd" * 20, "you@exämple.com", "2026-11-22T14:02:00Z", 12)


def test_a_root_has_exactly_these_bytes():
    golden = (GOLDEN / "root.json").read_bytes()
    assert root.dump(ROOT, "x") == golden
    assert root.parse(golden, "x") == ROOT


def test_a_name_says_snapshot_clone_and_nonce():
    name = root.name(DIGEST, CLONE, bytes(16))
    assert name == f"roots/{DIGEST.hex()}-{CLONE}-{'00' * 16}"
    assert root.parse_name(name) == root.RootName(DIGEST, CLONE, "00" * 16)
    assert name.startswith(root.prefix(DIGEST, CLONE))
    assert root.prefix(DIGEST, CLONE).startswith(root.prefix(DIGEST))


@pytest.mark.parametrize(
    "name",
    [
        "roots/",
        "roots/../x",
        f"roots/blake3-{DIGEST.hex()}-{'00' * 16}",
        f"roots/{DIGEST.hex().upper()}-{CLONE}-{'00' * 16}",
        f"roots/{DIGEST.hex()}-{CLONE}-00",
        f"roots/{DIGEST.hex()}-{'00' * 16}",
        f"roots/{DIGEST.hex()}-{CLONE}-{'00' * 16}/x",
        f"roots/{DIGEST.hex()}-{CLONE}-{'00' * 16}\n",
    ],
)
def test_what_is_no_root_has_no_name(name):
    assert root.parse_name(name) is None


words = st.text(max_size=20)


@given(st.builds(Root, st.just("0f"), st.just(""), st.just("ab"), words, words, st.integers(0, 2**63)))
def test_a_root_reads_back_as_it_was(made):
    assert root.parse(root.dump(made, "x"), "x") == made


GOOD = strict_json.unseal(root.dump(ROOT, "x"), "x", "x")


@pytest.mark.parametrize(
    "change",
    [
        {"dvlite_root": 2},
        {"dvlite_root": True},
        {"count": -1},
        {"count": "12"},
        {"count": True},
        {"user": None},
        {"commit": "HEAD"},
        {"project": "../x"},
        {"clone": "../x"},
    ],
)
def test_a_root_that_is_not_understood_is_refused(change):
    with pytest.raises(FormatError, match="cannot read object roots/x"):
        root.parse(strict_json.seal(GOOD | change, "roots/x"), "roots/x")


def test_a_key_that_is_not_known_passes():
    assert root.parse(strict_json.seal(GOOD | {"later": {"than": "this"}}, "x"), "x") == ROOT


def test_only_the_version_is_needed():
    assert root.parse(strict_json.seal({"dvlite_root": 1}, "x"), "x") == Root()
    with pytest.raises(FormatError):
        root.parse(strict_json.seal({}, "x"), "x")


def test_a_root_that_was_changed_or_stands_under_another_name_is_damaged():
    data = root.dump(ROOT, "x")
    changed = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))]
    for bad in (b"", data[:-1], data + b" ", *changed):
        with pytest.raises(ObjectCorrupt, match="object x is damaged"):
            root.parse(bad, "x")
    with pytest.raises(ObjectCorrupt):
        root.parse(data, "y")
