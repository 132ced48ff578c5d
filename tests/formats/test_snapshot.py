"""Snapshots: one name for one set of versions, nodes shared between pushes, nothing accepted that is not in order."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from dvlite.errors import FormatError, LaterVersion, ObjectCorrupt
from dvlite.formats import manifest, snapshot
from dvlite.formats.snapshot import Version
from dvlite.oid import FILE, MANIFEST, Digest, digest_bytes, digest_manifest, digest_snapshot

GOLDEN = Path(__file__).parent.parent / "golden"
FEW = [
    Version("data/birds", MANIFEST, digest_bytes(b"birds"), 23),
    Version("data/birds", MANIFEST, digest_bytes(b"earlier birds"), 21),
    Version("model.pt", FILE, digest_bytes(b"model"), 5),
    Version("bin/run", FILE, digest_bytes(b"run"), 3, executable=True),
]


def many(count):
    return [Version(f"data/{i:05}", FILE, digest_bytes(b"%d" % i), i) for i in range(count)]


def read_back(tree):
    return list(snapshot.versions(tree.root, dict(tree.nodes).__getitem__))


def test_a_snapshot_has_exactly_these_bytes():
    tree = snapshot.build(FEW)
    assert tree.nodes == (
        (digest_snapshot((GOLDEN / "snapshot.bin").read_bytes()), (GOLDEN / "snapshot.bin").read_bytes()),
    )


@pytest.mark.parametrize("versions", [FEW, [], many(5000)])
def test_versions_read_back_sorted_and_counted(versions):
    tree = snapshot.build(versions)
    assert sorted(read_back(tree), key=lambda each: (each.path, each.digest)) == sorted(
        versions, key=lambda each: (each.path, each.digest)
    )
    assert tree.files == len(versions)


def test_order_and_repetition_do_not_change_the_name():
    shuffled = [*many(1000), *many(3)]
    random.Random(1).shuffle(shuffled)
    assert snapshot.build(shuffled) == snapshot.build(many(1000))


def test_a_changed_version_rewrites_one_node_of_each_level():
    versions = many(20_000)
    before = snapshot.build(versions)
    versions[7000] = replace(versions[7000], digest=digest_bytes(b"changed"))
    after = snapshot.build(versions)
    new = {digest for digest, _ in after.nodes} - {digest for digest, _ in before.nodes}
    assert len(after.nodes) > 20
    assert len(new) == 2


def test_a_snapshot_and_a_listing_are_never_each_other():
    (digest, data), *_ = snapshot.build(FEW).nodes
    assert digest_manifest(data) != digest
    with pytest.raises(ObjectCorrupt, match="not a list of files"):
        manifest.decode(data, digest)
    listing = manifest.build(manifest.from_entries([]))
    with pytest.raises(ObjectCorrupt):
        list(snapshot.versions(listing.root, dict(listing.nodes).__getitem__))


@pytest.mark.parametrize("path", ["../x", ".git/config", "a//b", "/etc/passwd", ""])
def test_a_path_that_no_clone_may_have_is_refused(path):
    with pytest.raises(FormatError):
        snapshot.build([Version(path, FILE, digest_bytes(b""), 0)])


def test_versions_out_of_order_or_twice_are_refused():
    (_, data), *_ = snapshot.build([FEW[0]]).nodes
    row = manifest.Entries([b"a", b"a"], bytes([0, 0]), manifest.array("Q", [1, 1]), bytes(64))
    twice = manifest.encode_leaf(row, 0, 2, snapshot._FORM)
    with pytest.raises(ObjectCorrupt, match="not in order"):
        list(snapshot.versions(digest_snapshot(twice), lambda _: twice))
    leaf = digest_snapshot(data)
    numbers = manifest.array("Q", [1, 1])
    branch = manifest.encode_branch(
        manifest.Branch(1, (leaf, leaf), numbers, numbers, [b"data/birds", b"data/birds"]), snapshot._FORM
    )
    nodes = {leaf: data, digest_snapshot(branch): branch}
    with pytest.raises(ObjectCorrupt, match="not in order"):  # so a few nodes cannot name a billion versions
        list(snapshot.versions(digest_snapshot(branch), nodes.__getitem__))


def test_a_node_of_a_later_version_is_not_called_damaged():
    (_, data), *_ = snapshot.build(FEW).nodes
    later = data[:4] + b"\x02" + data[5:]
    with pytest.raises(LaterVersion, match="was written by a later dvlite"):
        list(snapshot.versions(Digest(bytes(32)), lambda _: later))
