"""Looks into listings without reading them as a whole: one path, one folder, or all below one.

The nodes on the way are read, each once, those that are needed together at the same time. The last ones stay in memory, decoded.
Thread-safe.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence

from dvlite.formats import manifest
from dvlite.formats.manifest import MAX_LEVEL, Branch, Entries, Entry, corrupt_listing
from dvlite.oid import Digest

_KEPT_NODES = 256  # in memory: about 100 KB each
_TOGETHER = 64  # nodes read at a time


class ListingReader:
    """Reads listings through `read`, which returns the verified bytes of nodes."""

    def __init__(self, read: Callable[[Sequence[Digest]], Mapping[Digest, bytes]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._nodes: OrderedDict[Digest, Entries | Branch] = OrderedDict()

    def find(self, root: Digest, path: bytes) -> Entry | None:
        """Returns the entry of exactly this path, reading one node per level."""
        for leaf in self._leaves(root, path, path):
            return leaf.find(path)
        return None

    def has_folder(self, root: Digest, folder: bytes) -> bool:
        """Returns whether anything is below a folder; '' is the listing itself."""
        return not folder or next(self.below(root, folder), None) is not None

    def children(self, root: Digest, folder: bytes) -> Iterator[Entry | bytes]:
        """Yields what is right in a folder, in order: entries, and the names of folders, whose content is passed over."""
        prefix = folder + b"/" if folder else b""
        at: bytes | None = prefix
        while at is not None:
            begin, at = at, None
            for leaf in self._leaves(root, begin, _end(prefix)):
                i = bisect_left(leaf.paths, begin)
                while i < len(leaf) and leaf.paths[i].startswith(prefix):
                    name, slash, _ = leaf.paths[i][len(prefix) :].partition(b"/")
                    if not slash:
                        yield leaf[i]
                        i += 1
                        continue
                    yield name
                    begin = prefix + name + b"0"  # the byte after '/'
                    i = bisect_left(leaf.paths, begin, i)
                    if i == len(leaf):
                        at = begin  # the leaf that follows may be far away
                if at is not None:
                    break

    def below(self, root: Digest, folder: bytes) -> Iterator[Entry]:
        """Yields all entries below a folder, in the order of their paths."""
        prefix = folder + b"/" if folder else b""
        for leaf in self._leaves(root, prefix, _end(prefix)):
            for i in range(bisect_left(leaf.paths, prefix), len(leaf)):
                if not leaf.paths[i].startswith(prefix):
                    return
                yield leaf[i]

    def _leaves(self, root: Digest, low: bytes, high: bytes | None) -> Iterator[Entries]:
        """Yields the leaves that may hold a path from `low` to `high` (None: to the end), in order."""
        (node,) = self._load([root])
        yield from [node] if isinstance(node, Entries) else self._under(root, node, low, high, MAX_LEVEL + 1)

    def _under(self, digest: Digest, node: Branch, low: bytes, high: bytes | None, above: int) -> Iterator[Entries]:
        if node.level >= above:
            raise corrupt_listing(digest, "its level is wrong")
        first = bisect_left(node.last_paths, low)
        last = len(node.digests) if high is None else bisect_left(node.last_paths, high, first) + 1
        step = 1
        while first < last and first < len(node.digests):
            children = node.digests[first : min(first + step, last)]
            for number, child in enumerate(self._load(children), first):
                paths = child.paths if isinstance(child, Entries) else child.last_paths
                if not paths or paths[-1] != node.last_paths[number]:
                    raise corrupt_listing(children[number - first], "it does not end where the node above says")
                if isinstance(child, Entries):
                    yield child
                else:
                    yield from self._under(node.digests[number], child, low, high, node.level)
            first += len(children)
            step = min(4 * step, _TOGETHER)

    def _load(self, digests: Sequence[Digest]) -> list[Entries | Branch]:
        with self._lock:
            known = {digest: self._nodes[digest] for digest in digests if digest in self._nodes}
        absent = [digest for digest in dict.fromkeys(digests) if digest not in known]
        if absent:
            read = {digest: manifest.decode(data, digest) for digest, data in self._read(absent).items()}
            known |= read
            with self._lock:
                self._nodes.update(read)
        with self._lock:
            for digest in digests:
                if digest in self._nodes:
                    self._nodes.move_to_end(digest)
            while len(self._nodes) > _KEPT_NODES:
                self._nodes.popitem(last=False)
        return [known[digest] for digest in digests]


def _end(prefix: bytes) -> bytes | None:
    """Returns a path that follows all that begin with a folder and '/'."""
    return prefix[:-1] + b"0" if prefix else None
