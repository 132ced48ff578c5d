"""Listings that are read in part: where they differ from others, and what lies below a folder."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dvlite.formats import manifest
from dvlite.formats.manifest_parts import LazyListing, differences, differences_from
from dvlite.oid import Digest
from tests.formats.listings import START, build, edited, entry, listing, rows


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(0, 60), st.booleans())
def test_entries_and_a_listing_differ_in_the_leaves_that_brute_force_finds(seed, edits, in_part):
    old, nodes = listing(START)
    target = edited(START, seed, edits)
    low, high = b"3", b"5"  # only what lies between these counts, if only a part does
    if in_part:
        target = {path: content for path, content in target.items() if low < path <= high}
    may_hold = (lambda after, last: after < high and low < last) if in_part else None
    entries = manifest.from_entries(entry(path, content) for path, content in sorted(target.items()))
    read: list[Digest] = []
    at, told = 0, {}
    for start, stop, leaf in differences(
        old.root, entries, lambda digest: (read.append(digest), nodes[digest])[1], may_hold
    ):
        assert start >= at
        at = stop
        mine = {entries.paths[i]: entries[i] for i in range(start, stop)}
        theirs = {one.path: one for one in rows(leaf)}
        told |= {path: mine.get(path) for path in mine.keys() | theirs.keys() if mine.get(path) != theirs.get(path)}
    expected = {
        path: entry(path, target[path]) if path in target else None
        for path in START.keys() | target.keys()
        if START.get(path) != target.get(path) and (not in_part or low < path <= high)
    }
    assert {path: new for path, new in told.items() if not in_part or low < path <= high} == expected
    assert len(read) <= 1 + (len(expected) if not in_part else len(nodes) // 2)


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_two_listings_differ_in_leaves_that_make_the_one_out_of_the_other(seed, edits):
    old, nodes = listing(START)
    target = edited(START, seed, edits)
    if seed % 3 == 0:  # whole leaves go, at the end too
        target = {path: content for path, content in target.items() if not b"3" < path < b"5" and path < b"8"}
    new, more = listing(target)
    paths, read = sorted(START), []
    parts = list(differences_from(old.root, new.root, paths, lambda d: (read.append(d), (nodes | more)[d])[1]))
    mine, at = [], 0
    for start, stop, leaf in parts:
        mine += [entry(path, START[path]) for path in paths[at:start]]
        mine += rows(leaf)
        at = stop
    mine += [entry(path, START[path]) for path in paths[at:]]
    assert mine == [entry(path, content) for path, content in sorted(target.items())]
    assert len(read) <= 2 + sum(1 for _ in parts) + 2  # the branches of both, and the leaves that differ
    assert edits or seed % 3 == 0 or parts == []


def test_what_lies_below_a_folder_is_found_without_the_rest():
    names = [f"{folder}/{number:04d}".encode() for folder in ("a", "b", "b-c", "c") for number in range(1500)]
    tree, nodes = build([entry(name) for name in sorted([*names, b"b.txt"])])
    look = LazyListing(tree.root, nodes.__getitem__)
    assert list(look.below(b"b")) == [name for name in sorted(names) if name.startswith(b"b/")]
    assert list(look.below(b"b.txt")) == list(look.below(b"d")) == []
