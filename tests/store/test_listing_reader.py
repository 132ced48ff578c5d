"""Parts of listings: what is on the way is read, and nothing beside it."""

import random

import pytest

from dvlite.errors import ObjectCorrupt
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, FILE, Branch, Entry
from dvlite.oid import digest_bytes
from dvlite.store.listing_reader import ListingReader

PATHS = sorted(
    [b"a/%05d" % i for i in range(6_000)]
    + [b"deep/%d/%03d" % (i % 9, i) for i in range(900)]
    + [b"empty", b"m.txt", b"z/last"]
)


@pytest.fixture(scope="module")
def tree():
    entries = [Entry(path, EMPTY_DIR if path == b"empty" else FILE, 1, digest_bytes(path)) for path in PATHS]
    return manifest.build(manifest.from_entries(entries))


@pytest.fixture
def listing(tree):
    """A reader, the digests that it reads, in order, and the root."""
    nodes, read = dict(tree.nodes), []

    def read_nodes(digests):
        read.extend(digests)
        return {digest: nodes[digest] for digest in digests}

    return ListingReader(read_nodes), read, tree.root


def test_one_path_costs_one_node_for_each_level_and_then_none(listing):
    reader, read, root = listing
    for path in (b"a/03000", b"m.txt", b"z/last"):
        assert reader.find(root, path).digest == digest_bytes(path)
    assert len(read) <= 1 + 3
    assert [reader.find(root, path) for path in (b"a", b"a/03000x", b"", b"zz")] == [None] * 4
    read.clear()
    assert reader.find(root, b"a/03001") is not None
    assert read == []


def test_the_children_of_a_folder_skip_what_is_in_its_folders(listing):
    reader, read, root = listing
    names = [child if isinstance(child, bytes) else child.path for child in reader.children(root, b"")]
    assert names == [b"a", b"deep", b"empty", b"m.txt", b"z"]
    assert len(read) < 12  # of 20 nodes
    assert [child.path for child in reader.children(root, b"a")] == PATHS[:6_000]
    assert list(reader.children(root, b"deep")) == [b"%d" % i for i in range(9)]
    assert list(reader.children(root, b"nowhere")) == []


def test_what_is_below_a_folder_is_what_a_whole_listing_says(listing):
    reader, read, root = listing
    for folder in (b"", b"a", b"deep", b"deep/4", b"z", b"dee", b"deep/4/004"):
        prefix = folder + b"/" if folder else b""
        assert [entry.path for entry in reader.below(root, folder)] == [p for p in PATHS if p.startswith(prefix)]
        assert reader.has_folder(root, folder) == any(p.startswith(prefix) for p in PATHS)
    assert len(read) == len(set(read)), "each node once"


def test_a_node_that_is_not_what_its_parent_says_is_refused(tree):
    nodes = dict(tree.nodes)
    root = manifest.decode(nodes[tree.root], tree.root)
    assert isinstance(root, Branch)
    chance = random.Random(1).sample(range(len(root.digests)), 2)
    swapped = list(root.digests)
    swapped[chance[0]], swapped[chance[1]] = swapped[chance[1]], swapped[chance[0]]
    data = manifest.encode_branch(Branch(root.level, tuple(swapped), root.files, root.sizes, root.last_paths))
    hostile = ListingReader(lambda digests: {d: nodes.get(d, data) for d in digests})
    with pytest.raises(ObjectCorrupt, match="does not end where"):
        list(hostile.below(digest_bytes(data), b""))
