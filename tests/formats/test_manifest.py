"""Listings: the same directory has the same name, comparing is exact and lazy, and hostile listings are refused whole."""

import contextlib
import struct
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvlite.errors import DvliteError, FormatError, LaterVersion, ObjectCorrupt
from dvlite.formats import manifest
from dvlite.formats.manifest import (
    EMPTY_DIR,
    EXECUTABLE,
    FILE,
    MAX_ENTRIES,
    MIN_ENTRIES,
    SYMLINK,
    Branch,
)
from dvlite.formats.manifest_parts import LazyListing
from dvlite.oid import Digest, digest_bytes, digest_manifest
from dvlite.paths import is_reserved
from tests.formats.listings import START, build, edited, entry, listing, rows

GOLDEN = Path(__file__).parent.parent / "golden"


LEAF = [
    entry(b"a", b"hello\n"),
    entry(b"bin/tool", b"#!/bin/sh\n", FILE | EXECUTABLE),
    entry(b"empty", flags=EMPTY_DIR),
    entry(b"link", b"a", SYMLINK),
    entry("ü\n\xff".encode("utf-8", "surrogateescape"), b""),
]
MANY = [entry(f"{i:05d}".encode(), str(i).encode()) for i in range(5000)]


def test_a_leaf_has_exactly_these_bytes():
    tree, nodes = build(LEAF)
    golden = (GOLDEN / "manifest-leaf.bin").read_bytes()
    assert nodes[tree.root] == golden
    assert rows(manifest.decode(golden, tree.root)) == LEAF
    assert (tree.files, tree.size_bytes) == (4, 17)


def test_a_large_directory_has_exactly_this_name_and_top():
    tree, nodes = build(MANY)
    golden = (GOLDEN / "manifest-branch.bin").read_bytes()
    assert nodes[tree.root] == golden
    assert tree.root == digest_manifest(golden)
    assert rows(manifest.load(tree.root, nodes.__getitem__)) == MANY


def test_an_empty_directory_is_a_listing_too():
    tree, nodes = build([])
    assert (tree.files, tree.size_bytes, len(nodes)) == (0, 0, 1)
    assert len(manifest.load(tree.root, nodes.__getitem__)) == 0


def test_nodes_keep_their_bounds():
    tree, nodes = build(MANY)
    leaves = list(manifest.leaves(tree.root, nodes.__getitem__))
    assert all(MIN_ENTRIES <= len(leaf) <= MAX_ENTRIES for leaf in leaves[:-1])
    assert 5 < len(leaves) < 25


names = st.binary(min_size=1, max_size=6).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..") and not is_reserved(name)
)
flags = st.sampled_from([FILE, FILE | EXECUTABLE, SYMLINK, EMPTY_DIR])
directories = st.dictionaries(names, st.tuples(flags, st.binary(max_size=3)), max_size=30)


@given(directories)
def test_a_listing_reads_back_as_it_was(found):
    made = sorted((entry(path, content, kind) for path, (kind, content) in found.items()), key=lambda e: e.path)
    tree, nodes = build(made)
    assert rows(manifest.load(tree.root, nodes.__getitem__)) == made
    for row in made:
        assert manifest.find(tree.root, row.path, nodes.__getitem__) == row
    assert manifest.find(tree.root, b"no such path", nodes.__getitem__) is None


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_the_name_of_a_directory_does_not_depend_on_its_history(seed, edits):
    target = edited(START, seed, edits)
    back = dict(reversed(list(target.items())))
    assert listing(target)[0] == listing(back)[0]
    detour = edited(target, seed + 1, 10) | target
    for path in set(detour) - set(target):
        del detour[path]
    assert listing(detour)[0].root == listing(target)[0].root


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_comparing_finds_what_brute_force_finds(seed, edits):
    target = edited(START, seed, edits)
    (old, nodes), (new, more) = listing(START), listing(target)
    found = list(manifest.compare(old.root, new.root, (nodes | more).__getitem__))
    expected = [
        (entry(path, START[path]) if path in START else None, entry(path, target[path]) if path in target else None)
        for path in sorted(START.keys() | target.keys())
        if START.get(path) != target.get(path)
    ]
    assert found == expected


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 60), st.sampled_from([0, 1, 100, 3000]))
def test_an_edited_listing_is_the_one_that_is_built_and_costs_what_changed(seed, edits, size):
    start = dict(list(START.items())[:size])
    target = edited(start, seed, edits)
    (old, nodes), (new, more) = listing(start), listing(target)
    changes = {
        path: entry(path, target[path]) if path in target else None
        for path in start.keys() | target.keys()
        if start.get(path) != target.get(path)
    }
    read: list[Digest] = []
    tree = manifest.edit(old.root, changes, lambda digest: (read.append(digest), nodes[digest])[1])
    assert (tree.root, tree.files, tree.size_bytes) == (new.root, new.files, new.size_bytes)
    assert more.items() <= (nodes | dict(tree.nodes)).items()
    assert len(read) <= 1 + 2 * max(len(changes), 1)
    look = LazyListing(new.root, more.__getitem__)
    assert [look.find(path) for path in sorted(changes)] == [changes[path] for path in sorted(changes)]


@given(directories, directories)
def test_comparing_small_listings_finds_what_brute_force_finds(one, two):
    sides = [{path: entry(path, content, kind) for path, (kind, content) in side.items()} for side in (one, two)]
    built = [build(sorted(side.values(), key=lambda e: e.path)) for side in sides]
    read = (built[0][1] | built[1][1]).__getitem__
    expected = [
        (sides[0].get(path), sides[1].get(path))
        for path in sorted(sides[0].keys() | sides[1].keys())
        if sides[0].get(path) != sides[1].get(path)
    ]
    assert list(manifest.compare(built[0][0].root, built[1][0].root, read)) == expected


def test_comparing_with_nothing_gives_everything():
    tree, nodes = build(MANY)
    assert [new for _, new in manifest.compare(None, tree.root, nodes.__getitem__)] == MANY
    assert [old for old, _ in manifest.compare(tree.root, None, nodes.__getitem__)] == MANY


def test_an_edit_rewrites_and_reads_one_node_per_level():
    (old, nodes), (new, more) = build(MANY), build([*MANY[:2500], entry(b"02500", b"changed"), *MANY[2501:]])
    assert len(set(more) - set(nodes)) == 2
    read: list[Digest] = []

    def reading(digest):
        read.append(digest)
        return (nodes | more)[digest]

    assert [new.path for _, new in manifest.compare(old.root, new.root, reading)] == [b"02500"]
    assert len(set(read)) == 4


def test_nodes_of_a_listing_are_named_from_its_branches_alone():
    tree, nodes = build(MANY)
    branches = {tree.root}
    assert manifest.node_names(tree.root, {digest: nodes[digest] for digest in branches}.__getitem__) == set(nodes)


# --- hostile listings ---

LONG = b"a" * 256
REFUSED = {
    "1 climbing": b"../../x",
    "2 climbing inside": b"a/../../x",
    "3 absolute": b"/etc/cron.d/x",
    "6 dot": b".",
    "6 dot-dot": b"..",
    "6 double slash": b"a//b",
    "6 final slash": b"a/",
    "6 dot inside": b"a/./b",
    "7 a hook of git": b".git/hooks/post-checkout",
    "7 inside": b"a/.git/config",
    "8 upper case": b".GIT/config",
    "8 HFS ignores it": ".g\u200cit/x".encode(),
    "8 HFS ignores it in front": "\u200e.git/x".encode(),
    "8 short name": b"git~1/x",
    "8 trailing dot and space": b".git. /x",
    "8 a stream": b".git::$INDEX_ALLOCATION/x",
    "8 HFS ignores it at the end": ".git\ufeff/x".encode(),
    "9 our own config": b".dvlite/config.local",
    "9 our own, upper case": b"x/.DVLITE",
    "9 our short name": b"DVLITE~1",
    "19 a name of 256 bytes": b"x/" + LONG,
    "19 a path of 5,000 bytes": b"/".join([b"a" * 99] * 50),
    "19 5,000 folders deep": b"/".join([b"a"] * 1000),
}


def leaf_bytes(paths: list[bytes], flags: bytes | None = None, sizes: list[int] | None = None) -> bytes:
    count = len(paths)
    joined = b"\0".join(paths)
    header = struct.pack("<4sBBHII", b"DVLM", 1, 0, 0, count, len(joined))
    return header + (flags or bytes(count)) + array("Q", sizes or [0] * count).tobytes() + bytes(32) * count + joined


@pytest.mark.parametrize("name", REFUSED)
def test_a_listing_with_a_refused_path_is_refused_whole(name):
    paths = sorted([b"good", REFUSED[name], b"zz"])
    data = leaf_bytes(paths)
    with pytest.raises(FormatError, match="refused path") as caught:
        manifest.load(digest_manifest(data), lambda _: data)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "path",
    [
        b"C:\\x",
        b"\\\\host\\s",
        b"a\\..\\x",
        b"CON",
        b"nul.txt",
        b"a.",
        b"a ",
        b"x:y",
        b"-rf",
        b"--help",
        b"a\nb",
        b"a\rb",
        b"\x1b]0;x\x07",
        "\u202egnp.exe".encode(),
        b"\xff\xfe",
        b".gitignore",
        b".gitattributes",
        b"...",
        b"git",
        b"a" * 255,
        "日本語/ファイル".encode(),
    ],
)
def test_any_other_name_that_a_file_system_gives_is_data(path):
    data = leaf_bytes([path])
    assert manifest.load(digest_manifest(data), lambda _: data).paths == [path]


@pytest.mark.parametrize(
    ("paths", "kind", "said"),
    [
        ([b"a", b"a"], ObjectCorrupt, "not in order"),  # 15: twice
        ([b"b", b"a"], ObjectCorrupt, "not in order"),
        ([b"a", b"a/b"], FormatError, "both a file and a folder"),  # 13, 16
        ([b"a", b"a-b", b"a/b/c"], FormatError, "both a file and a folder"),
        ([b"a/b", b"a/b.c", b"a/b/c/d"], FormatError, "both a file and a folder"),
    ],
)
def test_paths_that_contradict_each_other_are_refused(paths, kind, said):
    data = leaf_bytes(paths)
    with pytest.raises(kind, match=said):
        manifest.load(digest_manifest(data), lambda _: data)


@pytest.mark.parametrize("mode", [0x03, 0x0F, 0x20, 0x40, 0xFF, SYMLINK | EXECUTABLE, EMPTY_DIR | EXECUTABLE])
def test_a_kind_of_entry_that_is_not_known_is_of_a_later_dvlite(mode):
    with pytest.raises(LaterVersion):
        manifest.decode(leaf_bytes([b"a"], bytes([mode])), Digest(bytes(32)))


def test_a_size_that_no_file_can_have_is_refused():
    with pytest.raises(ObjectCorrupt, match="size"):
        manifest.decode(leaf_bytes([b"a"], sizes=[2**63]), Digest(bytes(32)))


def test_a_node_that_lies_about_its_lengths_is_refused():
    good = leaf_bytes([b"a", b"b"])
    for length in range(len(good)):
        with pytest.raises(ObjectCorrupt):
            manifest.decode(good[:length], Digest(bytes(32)))
    for count in (0, 1, 3, 2**31):
        with pytest.raises(ObjectCorrupt):
            manifest.decode(good[:8] + struct.pack("<I", count) + good[12:], Digest(bytes(32)))
    for later in (good[:4] + b"\x02" + good[5:], good[:7] + b"\x01" + good[8:]):
        with pytest.raises(LaterVersion, match="was written by a later dvlite"):
            manifest.decode(later, Digest(bytes(32)))
    with pytest.raises(ObjectCorrupt):
        manifest.decode(good[:5] + b"\x09" + good[6:], Digest(bytes(32)))


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: leaf_bytes([b"a", b"b"])[:20] + tail))
def test_any_bytes_are_a_node_or_an_error_of_ours(data):
    try:
        manifest.decode(data, Digest(bytes(32)))
    except DvliteError as error:
        if "\n" in error.message:
            pytest.fail(error.message)


def branch_bytes(level: int, children: list[Digest], last: list[bytes]) -> bytes:
    zeros = array("Q", bytes(8 * len(children)))
    return manifest.encode_branch(Branch(level, tuple(children), zeros, zeros, last))


def bomb(leaf: bytes, width: int = 40) -> tuple[Digest, dict[Digest, bytes]]:
    """Returns a listing of eight levels whose every branch names the same node `width` times: 40^8 leaves in a few KB."""
    nodes = {digest_manifest(leaf): leaf}
    child = digest_manifest(leaf)
    for level in range(1, 9):
        data = branch_bytes(level, [child] * width, [f"{i:04d}".encode() for i in range(width)])
        child = digest_manifest(data)
        nodes[child] = data
    return child, nodes


@pytest.mark.parametrize("leaf", [leaf_bytes([]), leaf_bytes([b"a"])], ids=["of nothing", "of one file"])
def test_31_a_billion_entries_in_a_few_kilobytes_are_refused_at_once(leaf):
    root, nodes = bomb(leaf)
    reads = 0

    def read(digest):
        nonlocal reads
        reads += 1
        assert reads < 5000, "the listing is being unrolled"
        return nodes[digest]

    with pytest.raises(ObjectCorrupt):
        manifest.load(root, read)
    other = build(MANY)
    nodes.update(other[1])
    for walk in (
        lambda: manifest.node_names(root, read),
        lambda: list(manifest.compare(root, other[0].root, read)),
        lambda: list(manifest.compare(other[0].root, root, read)),
    ):
        reads = 0
        with contextlib.suppress(ObjectCorrupt):
            walk()


def test_31_levels_must_descend():
    leaf = leaf_bytes([b"a"])
    low = branch_bytes(1, [digest_manifest(leaf)], [b"a"])
    high = branch_bytes(1, [digest_manifest(low)], [b"a"])
    nodes = {digest_manifest(data): data for data in (leaf, low, high)}
    with pytest.raises(ObjectCorrupt, match="level"):
        manifest.load(digest_manifest(high), nodes.__getitem__)


def test_a_branch_that_misnames_its_children_is_refused():
    leaf = leaf_bytes([b"a", b"b"])
    top = branch_bytes(1, [digest_manifest(leaf)], [b"z"])
    nodes = {digest_manifest(data): data for data in (leaf, top)}
    with pytest.raises(ObjectCorrupt):
        manifest.load(digest_manifest(top), nodes.__getitem__)


def test_a_subtree_has_the_entries_below_a_folder_relative_to_it():
    names = (b"a", b"a-b/x", b"a/b", b"a/c/d", b"a0", b"b/e")
    entries = manifest.from_entries(manifest.Entry(name, FILE, 1, digest_bytes(name)) for name in names)
    assert [entry.path for entry in entries.subtree(b"a")] == [b"b", b"c/d"]
    assert [entry.digest for entry in entries.subtree(b"a/c")] == [digest_bytes(b"a/c/d")]
    assert entries.subtree(b"c") == []
