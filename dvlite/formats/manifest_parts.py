"""Looks at parts of a listing: the nodes that are asked for, and those that differ from what is on disk. Equal parts are never expanded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache

from dvlite.formats.manifest import (
    MAX_ENTRIES,
    MAX_LEVEL,
    Branch,
    Entries,
    Entry,
    MayHold,
    ReadNode,
    corrupt_listing,
    decode,
    encode_leaf,
    from_entries,
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
    at, last = 0, b""
    stack: list[tuple[Digest, int, bytes | None]] = [(root, MAX_LEVEL + 1, None)]
    while stack:
        digest, below, end = stack.pop()
        stop = len(entries) if end is None else bisect_right(entries.paths, end, at)
        if end is not None and stop == at and may_hold is not None and not may_hold(last, end):
            last = end
            continue
        if stop - at <= MAX_ENTRIES and digest_manifest(encode_leaf(entries, at, stop)) == digest:
            at, last = stop, end or b""
            continue
        node = decode(read(digest), digest)
        paths = node.last_paths if isinstance(node, Branch) else node.paths
        if (end is not None and (not paths or paths[-1] != end)) or (paths and last and paths[0] <= last):
            raise corrupt_listing(digest, "its paths are not in order")
        if isinstance(node, Branch):
            if node.level >= below:
                raise corrupt_listing(digest, "its level is wrong")
            children = zip(node.digests, node.last_paths, strict=True)
            stack.extend((child, node.level, path) for child, path in reversed(list(children)))
            continue
        yield at, stop, node
        at, last = stop, end or b""
    if at < len(entries):
        yield at, len(entries), from_entries(())
