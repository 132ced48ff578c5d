"""Looks at parts of a listing: the nodes that are asked for, and those that differ from what is on disk. Equal parts are never expanded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache

from dvlite.formats.manifest import (
    MAX_ENTRIES,
    Branch,
    Entries,
    Entry,
    MayHold,
    NodePlace,
    ReadNode,
    decode,
    encode_leaf,
    walk,
)
from dvlite.oid import Digest, digest_manifest

_KEPT_NODES = 64  # of one listing, in memory


class LazyListing:
    """A listing of which only the nodes are read, and kept for a while, that are asked for."""

    def __init__(self, root: Digest, read: ReadNode) -> None:
        self._root = root
        self._node = lru_cache(_KEPT_NODES)(lambda digest: decode(read(digest), digest))

    def find(self, path: bytes) -> Entry | None:
        """Returns the entry of exactly this path."""
        leaf = self._leaf(path)
        return None if leaf is None else leaf.find(path)

    def below(self, folder: bytes) -> Iterator[bytes]:
        """Yields the paths below a folder."""
        start, end = folder + b"/", folder + b"0"  # "0" follows "/"
        while (leaf := self._leaf(start)) is not None:
            first, stop = bisect_left(leaf.paths, start), bisect_left(leaf.paths, end)
            yield from leaf.paths[first:stop]
            if stop < len(leaf):
                return
            start = leaf.paths[-1] + b"\0"

    def _leaf(self, path: bytes) -> Entries | None:
        """Returns the leaf that holds the first entry at or after a path."""
        node = self._node(self._root)
        while isinstance(node, Branch):
            i = bisect_left(node.last_paths, path)
            if i == len(node.last_paths):
                return None
            node = self._node(node.digests[i])
        return node if node.paths and node.paths[-1] >= path else None


def differences(
    root: Digest, entries: Entries, read: ReadNode, may_hold: MayHold | None = None
) -> Iterator[tuple[int, int, Entries]]:
    """Yields `(start, stop, leaf)` where these entries, `start` to `stop`, are not what a leaf of the listing holds.

    Leaves that the entries amount to are neither read nor expanded: their name says it. Without a look too go nodes in whose range there is
    no entry if `may_hold` (after this path, up to that one) says that nothing in them counts.
    """

    def passes(place: NodePlace) -> bool:
        start, stop = _span(place, entries.paths)
        if may_hold is not None and place.end is not None and start == stop and not may_hold(place.after, place.end):
            return True
        return stop - start <= MAX_ENTRIES and digest_manifest(encode_leaf(entries, start, stop)) == place.digest

    for place, leaf in walk(root, read, passes):
        if leaf is not None:
            yield *_span(place, entries.paths), leaf


def differences_from(
    other: Digest, root: Digest, paths: Sequence[bytes], read: ReadNode
) -> Iterator[tuple[int, int, Entries]]:
    """Does as `differences` for the entries of another listing, whose paths these are: of that, only branches are read, and no entry is looked at."""
    known: set[tuple[Digest, bytes, bool]] = set()

    def note(place: NodePlace) -> bool:
        known.add((place.digest, place.after, place.is_last))
        return place.below == 1

    for _ in walk(other, read, note):
        pass
    # A node that both have stands for all between its neighbours only where it follows the same entry in both.
    for place, leaf in walk(root, read, lambda place: (place.digest, place.after, place.is_last) in known):
        if leaf is not None:
            yield *_span(place, paths), leaf


def _span(place: NodePlace, paths: Sequence[bytes]) -> tuple[int, int]:
    start = bisect_right(paths, place.after) if place.after else 0
    return start, len(paths) if place.is_last else bisect_right(paths, place.end or b"", start)
