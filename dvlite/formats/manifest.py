"""The listing of a tracked directory: a tree of nodes, each named by the hash of its bytes (docs/reference/formats/manifest.md).

Entries are sorted by the bytes of their path and cut into nodes where the hash of a path says so (content-defined, after Dolt's prolly
trees and lakeFS's ranges), so the same directory always has the same name, an edit rewrites one node per level and a comparison never
reads equal nodes. Columns rather than rows: a node of a million-entry listing decodes at memory speed.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import le, lt
from typing import NamedTuple

from dvlite.errors import FormatError, LaterVersion, ObjectCorrupt
from dvlite.oid import DIGEST_BYTES, Digest, digest_manifest, short, split_hash
from dvlite.paths import check_paths, refuse_files_used_as_folders

VERSION = 1
FILE, SYMLINK, EMPTY_DIR = 0, 1, 2  # the kind, in the low bits of an entry's flags
KIND_MASK = 0x0F
EXECUTABLE = 0x10
NODE_LIMIT_BYTES = 16 * 1024 * 1024
MIN_ENTRIES, MAX_ENTRIES, SPLIT = 128, 2048, 384
MAX_LEVEL = 8
MAX_SIZE = 2**63 - 1  # bytes of one file
NO_DIGEST = bytes(DIGEST_BYTES)  # of an empty directory
_HEADER = struct.Struct("<4sBBHII")  # magic, version, level, 0, entries, bytes of paths


@dataclass(frozen=True, slots=True)
class Form:
    """What tells one kind of tree from another. With `repeats`, a path may have several entries, in no order that is checked here."""

    magic: bytes
    digest: Callable[[bytes], Digest]
    flags: frozenset[int]
    repeats: bool = False


LISTING = Form(b"DVLM", digest_manifest, frozenset({FILE, FILE | EXECUTABLE, SYMLINK, EMPTY_DIR}))


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, symlink or empty directory. A symlink's digest and size are those of its target text."""

    path: bytes  # relative to the tracked directory
    flags: int
    size_bytes: int
    digest: Digest

    @property
    def kind(self) -> int:
        return self.flags & KIND_MASK


@dataclass(frozen=True, slots=True)
class Entries:
    """A run of entries in path order, one column per field; column i of each describes entry i."""

    paths: list[bytes]
    flags: bytes
    sizes: array[int]  # 'Q', bytes
    digests: bytes  # 32 bytes each

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Entry:
        return Entry(self.paths[i], self.flags[i], self.sizes[i], self.digest(i))

    def digest(self, i: int) -> Digest:
        return Digest(self.digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES])

    def find(self, path: bytes) -> Entry | None:
        """Returns the entry of exactly this path; binary search."""
        i = bisect_left(self.paths, path)
        return self[i] if i < len(self.paths) and self.paths[i] == path else None

    def subtree(self, folder: bytes) -> list[Entry]:
        """Returns the entries below a folder, with paths relative to it; binary search."""
        start, paths = folder + b"/", self.paths
        cut = len(start)
        first, last = bisect_left(paths, start), bisect_left(paths, folder + b"0")  # "0" follows "/"
        return [Entry(paths[i][cut:], self.flags[i], self.sizes[i], self.digest(i)) for i in range(first, last)]


@dataclass(frozen=True, slots=True)
class Branch:
    """A node above the leaves: per child its digest, the totals below it, and the last path it holds."""

    level: int
    digests: tuple[Digest, ...]
    files: array[int]
    sizes: array[int]
    last_paths: list[bytes]


@dataclass(frozen=True, slots=True)
class Tree:
    """A built listing: its root, its totals, and every node as `(digest, canonical bytes)`, leaves first."""

    root: Digest
    size_bytes: int
    files: int
    nodes: tuple[tuple[Digest, bytes], ...]


ReadNode = Callable[[Digest], bytes]  # returns the verified bytes of a node
KeepNode = Callable[[Digest, bytes], object]
IsSettled = Callable[[bytes, Sequence[int]], bool]  # (digests, sizes): is there nothing to do about these files?
MayHold = Callable[[bytes, bytes], bool]  # (a, b) -> may a path after a, and no later than b, be one that counts?


def from_entries(entries: Iterable[Entry]) -> Entries:
    """Returns the columns of entries given in path order."""
    rows = list(entries)
    sizes = array("Q", (row.size_bytes for row in rows))
    digests = b"".join(row.digest for row in rows)
    return Entries([row.path for row in rows], bytes(row.flags for row in rows), sizes, digests)


def build(entries: Entries, form: Form = LISTING, keep: KeepNode | None = None) -> Tree:
    """Cuts sorted entries into nodes, level by level, until one node is left; refuses what `load` would refuse.

    With `keep`, each node is handed over when it is complete, and the tree has none: those of a million files take 60 MB.
    """
    if not form.repeats:
        refuse_files_used_as_folders(entries.paths)
    columns = _Columns(keep)
    for start, stop in _cuts(entries.paths, 0):
        columns.add_leaf(entries, start, stop, form)
    return columns.tree(form)


class _Columns:
    """The leaves of a listing that grows, with what the node above says of each; `nodes` are those that are not there yet."""

    __slots__ = ("digests", "files", "keep", "last_paths", "nodes", "sizes")

    def __init__(self, keep: KeepNode | None = None) -> None:
        self.nodes: list[tuple[Digest, bytes]] = []
        self.keep = keep or (lambda *node: self.nodes.append(node))
        self.digests: list[Digest] = []
        self.files, self.sizes = array("Q"), list[int]()
        self.last_paths: list[bytes] = []

    def add(self, digest: Digest, files: int, size_bytes: int, last_path: bytes) -> None:
        self.digests.append(digest)
        self.files.append(files)
        self.sizes.append(size_bytes)
        self.last_paths.append(last_path)

    def add_leaf(self, entries: Entries, start: int, stop: int, form: Form) -> None:
        data = encode_leaf(entries, start, stop, form)
        digest = form.digest(data)
        self.keep(digest, data)
        number = stop - start - entries.flags.count(EMPTY_DIR, start, stop)
        self.add(digest, number, sum(entries.sizes[start:stop]), entries.paths[stop - 1] if stop else b"")

    def tree(self, form: Form = LISTING) -> Tree:
        """Builds the levels above, until one node is left. Raises FormatError if the files have more bytes than a size can say."""
        if sum(self.sizes) > MAX_SIZE:
            raise FormatError("the directory has an impossible size", hint="a version that it is made of is not sound")
        digests, files, sizes, last_paths = self.digests, self.files, array("Q", self.sizes), self.last_paths
        level = 0
        while len(digests) > 1:
            level += 1
            whole = Branch(level, tuple(digests), files, sizes, last_paths)
            digests, files, sizes, last_paths = _build_level(whole, self.keep, form)
        return Tree(digests[0], sizes[0], files[0], tuple(self.nodes))


def _build_level(whole: Branch, keep: KeepNode, form: Form) -> tuple[list[Digest], array[int], array[int], list[bytes]]:
    """Cuts one level, given as a single branch, into nodes; returns the columns of the level above."""
    up_digests: list[Digest] = []
    up_files, up_sizes = array("Q"), array("Q")
    up_paths: list[bytes] = []
    for start, stop in _cuts(whole.last_paths, whole.level):
        part = slice(start, stop)
        branch = Branch(whole.level, whole.digests[part], whole.files[part], whole.sizes[part], whole.last_paths[part])
        data = encode_branch(branch, form)
        up_digests.append(form.digest(data))
        keep(up_digests[-1], data)
        up_files.append(sum(branch.files))
        up_sizes.append(sum(branch.sizes))
        up_paths.append(branch.last_paths[-1])
    return up_digests, up_files, up_sizes, up_paths


def _cuts(paths: Sequence[bytes], level: int) -> Iterator[tuple[int, int]]:
    """Yields `(start, stop)` of each node; one empty node for an empty listing."""
    start = 0
    while (stop := _cut(paths, start, level)) is not None:
        yield start, stop
        start = stop
    if start < len(paths) or not paths:
        yield start, len(paths)


def _cut(paths: Sequence[bytes], start: int, level: int) -> int | None:
    """Returns where a node that begins at `start` ends whatever follows, None if that depends on more paths."""
    latest = min(start + MAX_ENTRIES, len(paths))
    for i in range(start + MIN_ENTRIES - 1, latest):
        if split_hash(paths[i], level) % SPLIT == 0:
            return i + 1
    return latest if latest - start == MAX_ENTRIES else None


def encode_leaf(entries: Entries, start: int, stop: int, form: Form = LISTING) -> bytes:
    """Returns the canonical bytes of the leaf that holds entries `start` to `stop`."""
    paths = b"\0".join(entries.paths[start:stop])
    header = _HEADER.pack(form.magic, VERSION, 0, 0, stop - start, len(paths))
    digests = entries.digests[start * DIGEST_BYTES : stop * DIGEST_BYTES]
    return b"".join((header, entries.flags[start:stop], _little(entries.sizes[start:stop]), digests, paths))


def encode_branch(branch: Branch, form: Form = LISTING) -> bytes:
    """Returns the canonical bytes of a node above the leaves."""
    paths = b"\0".join(branch.last_paths)
    header = _HEADER.pack(form.magic, VERSION, branch.level, 0, len(branch.digests), len(paths))
    return b"".join((header, _little(branch.files), _little(branch.sizes), b"".join(branch.digests), paths))


def decode(data: bytes, digest: Digest, form: Form = LISTING) -> Entries | Branch:
    """Reads one node and checks everything that can be checked about it alone; `digest` is for errors.

    Raises ObjectCorrupt if it is not well formed and FormatError if it holds a path that is refused.
    """
    if len(data) < _HEADER.size or len(data) > NODE_LIMIT_BYTES:
        raise corrupt_listing(digest, "its length is impossible")
    magic, version, level, zero, count, paths_bytes = _HEADER.unpack_from(data)
    if magic != form.magic:
        raise corrupt_listing(digest, "it is not a list of files")
    if version != VERSION or zero:
        raise LaterVersion(f"list of files {short(digest)}")
    row_bytes = 8 + 8 + DIGEST_BYTES if level else 1 + 8 + DIGEST_BYTES
    if level > MAX_LEVEL or count > MAX_ENTRIES or len(data) != _HEADER.size + count * row_bytes + paths_bytes:
        raise corrupt_listing(digest, "its lengths do not add up")
    paths = data[len(data) - paths_bytes :].split(b"\0") if paths_bytes else []
    if len(paths) != count:
        raise corrupt_listing(digest, "its count of paths is wrong")
    check_paths(paths)
    if not all(map(le if form.repeats else lt, paths, islice(paths, 1, None))):
        raise corrupt_listing(digest, "its paths are not in order")
    return _decode_branch(data, digest, level, paths) if level else _decode_leaf(data, digest, paths, form)


def _decode_leaf(data: bytes, digest: Digest, paths: list[bytes], form: Form) -> Entries:
    count = len(paths)
    flags = data[_HEADER.size : _HEADER.size + count]
    if not form.flags.issuperset(flags):
        raise LaterVersion(f"list of files {short(digest)}")
    at = _HEADER.size + count
    sizes = _array(data[at : at + 8 * count])
    if count and max(sizes) > MAX_SIZE:
        raise corrupt_listing(digest, "an entry has an impossible size")
    at += 8 * count
    return Entries(paths, flags, sizes, data[at : at + DIGEST_BYTES * count])


def _decode_branch(data: bytes, digest: Digest, level: int, paths: list[bytes]) -> Branch:
    count = len(paths)
    if count < 1:
        raise corrupt_listing(digest, "a branch has no children")
    at = _HEADER.size
    files, sizes = _array(data[at : at + 8 * count]), _array(data[at + 8 * count : at + 16 * count])
    at += 16 * count
    digests = tuple(Digest(data[at + i * DIGEST_BYTES : at + (i + 1) * DIGEST_BYTES]) for i in range(count))
    return Branch(level, digests, files, sizes, paths)


class NodePlace(NamedTuple):
    """A node of a listing as the one above names it: between which paths it lies, and what it holds. Of the root no more than its digest is known."""

    digest: Digest
    below: int  # its level is less than this
    after: bytes
    end: bytes | None
    files: int
    size_bytes: int
    is_last: bool  # nothing in the listing comes after it


def walk(
    root: Digest,
    read: ReadNode,
    passes: Callable[[NodePlace], bool],
    form: Form = LISTING,
    is_settled: IsSettled | None = None,
) -> Iterator[tuple[NodePlace, Entries | None]]:
    """Yields the leaves of a listing in path order, each checked to follow the one before, and the nodes that were passed over, with None.

    Every node must end where its parent says: so no node can stand in a listing twice, and a few bytes cannot list a billion entries. Nodes are passed
    over if `passes` says so before they are read, and leaves whose content `is_settled` before their paths are.
    """
    stack = [NodePlace(root, MAX_LEVEL + 1, b"", None, 0, 0, is_last=True)]
    while stack:
        place = stack.pop()
        if passes(place):
            yield place, None
            continue
        data = read(place.digest)
        if is_settled is not None and place.end is not None and (content := _content(data)) and is_settled(*content):
            yield place, None
            continue
        node = decode(data, place.digest, form)
        paths = node.last_paths if isinstance(node, Branch) else node.paths
        if place.end is not None and (not paths or paths[-1] != place.end):
            raise corrupt_listing(place.digest, "it does not end where the node above says")
        if paths and place.after and (paths[0] < place.after or (paths[0] == place.after and not form.repeats)):
            raise corrupt_listing(place.digest, "its paths are not in order")
        if not isinstance(node, Branch):
            yield place, node
        elif node.level >= place.below:
            raise corrupt_listing(place.digest, "its level is wrong")
        else:
            rows = zip(
                node.digests, node.files, node.sizes, [place.after, *node.last_paths], node.last_paths, strict=False
            )
            below = [
                NodePlace(digest, node.level, after, end, files, size_bytes, is_last=False)
                for digest, files, size_bytes, after, end in rows
            ]
            below[-1] = below[-1]._replace(is_last=place.is_last)
            stack.extend(reversed(below))


def leaves(
    root: Digest,
    read: ReadNode,
    form: Form = LISTING,
    *,
    may_hold: MayHold | None = None,
    is_settled: IsSettled | None = None,
) -> Iterator[Entries]:
    """Yields the leaves of a listing in path order, as `walk` does, but for nodes in which nothing counts by `may_hold`."""

    def passes(place: NodePlace) -> bool:
        return may_hold is not None and place.end is not None and not may_hold(place.after, place.end)

    return (leaf for _, leaf in walk(root, read, passes, form, is_settled) if leaf is not None)


def _content(data: bytes) -> tuple[bytes, array[int]] | None:
    """Returns the digests and sizes that a leaf holds, without a look at its paths; None for what is none."""
    if len(data) < _HEADER.size:
        return None
    magic, version, level, zero, count, paths_bytes = _HEADER.unpack_from(data)
    start = _HEADER.size + count
    end = start + (8 + DIGEST_BYTES) * count
    if (magic, version, level, zero, len(data)) != (LISTING.magic, VERSION, 0, 0, end + paths_bytes):
        return None
    return data[start + 8 * count : end], _array(data[start : start + 8 * count])


def load(root: Digest, read: ReadNode) -> Entries:
    """Returns the whole listing; also refuses a path that is both a file and a folder."""
    whole = joined(leaves(root, read))
    refuse_files_used_as_folders(whole.paths)
    return whole


def totals(root: Digest, read: ReadNode) -> tuple[int, int]:
    """Returns the bytes and the files of a listing, as its root has them. Raises what `decode` and `read` raise."""
    node = decode(read(root), root)
    files = sum(node.files) if isinstance(node, Branch) else len(node) - node.flags.count(EMPTY_DIR)
    return sum(node.sizes), files


def node_names(root: Digest, read: ReadNode) -> set[Digest]:
    """Returns the digests of all nodes of a listing; reads the branches only."""
    names = {root}
    level = [root]
    while level:
        nodes = [decode(read(digest), digest) for digest in level]
        branches = [node for node in nodes if isinstance(node, Branch)]
        below = {child for branch in branches if branch.level > 1 for child in branch.digests}
        level = list(below - names)  # a hostile listing may name a node many times
        names.update(child for branch in branches for child in branch.digests)
    return names


def find(root: Digest, path: bytes, read: ReadNode) -> Entry | None:
    """Returns the entry of exactly this path, reading one node per level."""
    node = decode(read(root), root)
    while isinstance(node, Branch):
        i = bisect_left(node.last_paths, path)
        if i == len(node.last_paths):
            return None
        node = decode(read(node.digests[i]), node.digests[i])
    return node.find(path)


def compare(old: Digest | None, new: Digest | None, read: ReadNode) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Yields `(old entry, new entry)` of every path that differs, in path order; nodes that both have are never read.

    A node's bytes hold whole paths, so a node found in both listings stands for the same entries in both.
    """
    left, right = _only(old, new, read), _only(new, old, read)
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.path < b.path):
            yield a, None
            a = next(left, None)
        elif a is None or b.path < a.path:
            yield None, b
            b = next(right, None)
        else:
            if (a.flags, a.size_bytes, a.digest) != (b.flags, b.size_bytes, b.digest):
                yield a, b
            a, b = next(left, None), next(right, None)


def edit(root: Digest, edits: Mapping[bytes, Entry | None], read: ReadNode) -> Tree:
    """Returns a listing with entries replaced, added and (None) removed; its nodes are those that the old one may lack.

    Costs the branches, and the leaves that change. The result is that of `build`, but only in leaves that change is a path refused that is
    both a file and a folder: for others, the caller sees to it.
    """
    columns, paths, at = _Columns(), sorted(edits), 0
    rest = from_entries(())  # entries of leaves that changed, whose end is not known yet
    for place, node in walk(root, read, lambda place: place.below == 1):
        digest, end = place.digest, place.end
        stop = len(paths) if place.is_last or end is None else bisect_right(paths, end, at)
        if stop == at and not rest.paths and end is not None:
            columns.add(digest, place.files, place.size_bytes, end)
            continue
        leaf = decode(read(digest), digest) if node is None else node
        if isinstance(leaf, Branch):
            raise corrupt_listing(digest, "its level is wrong")
        rest = joined([rest, edited(leaf, {path: edits[path] for path in paths[at:stop]})])
        refuse_files_used_as_folders(rest.paths)
        at, start = stop, 0
        while (cut := _cut(rest.paths, start, 0)) is not None:
            columns.add_leaf(rest, start, cut, LISTING)
            start = cut
        rest = _slice(rest, start, len(rest))
    if rest.paths or not columns.digests:
        columns.add_leaf(rest, 0, len(rest), LISTING)
    return columns.tree()


def edited(entries: Entries, edits: Mapping[bytes, Entry | None]) -> Entries:
    """Returns entries with some replaced, added, and (None) removed; costs copies of the columns, not of the rows."""
    paths: list[bytes] = []
    flags, digests, sizes = bytearray(), bytearray(), entries.sizes[:0]
    at = 0
    for path in [*sorted(edits), None]:
        stop = len(entries) if path is None else bisect_left(entries.paths, path, at)
        paths.extend(entries.paths[at:stop])
        flags.extend(entries.flags[at:stop])
        sizes.extend(entries.sizes[at:stop])
        digests.extend(entries.digests[at * DIGEST_BYTES : stop * DIGEST_BYTES])
        if path is None:
            break
        at = stop + (entries.paths[stop : stop + 1] == [path])
        entry = edits[path]
        if entry is not None:
            paths.append(path)
            flags.append(entry.flags)
            sizes.append(entry.size_bytes)
            digests.extend(entry.digest)
    return Entries(paths, bytes(flags), sizes, bytes(digests))


def _slice(entries: Entries, start: int, stop: int) -> Entries:
    digests = entries.digests[start * DIGEST_BYTES : stop * DIGEST_BYTES]
    return Entries(entries.paths[start:stop], entries.flags[start:stop], entries.sizes[start:stop], digests)


def joined(parts: Iterable[Entries]) -> Entries:
    """Returns runs of entries, each of which follows the one before, as one; only the whole is in memory, and one run."""
    paths: list[bytes] = []
    flags, sizes, digests = bytearray(), array("Q"), bytearray()
    for part in parts:
        paths += part.paths
        flags += part.flags
        sizes += part.sizes
        digests += part.digests
    return Entries(paths, bytes(flags), sizes, bytes(digests))


def _only(mine: Digest | None, theirs: Digest | None, read: ReadNode) -> Iterator[Entry]:
    """Yields the entries of `mine` that are in leaves which `theirs` does not have."""
    for digest in _leaf_digests_only_in(mine, theirs, read):
        node = decode(read(digest), digest)
        if isinstance(node, Branch):
            raise corrupt_listing(digest, "its level is wrong")
        for i in range(len(node)):
            yield node[i]


def _leaf_digests_only_in(mine: Digest | None, theirs: Digest | None, read: ReadNode) -> list[Digest]:
    here = [] if mine is None else [mine]
    there = [] if theirs is None else [theirs]
    level_here, level_there = _level(mine, read), _level(theirs, read)
    while True:
        if level_here == level_there:
            common = set(here).intersection(there)
            here = [digest for digest in here if digest not in common]
            there = [digest for digest in there if digest not in common]
            if not level_here or not here:
                return here
        if level_there >= level_here:
            there = _below(there, read)
            level_there -= 1
        if level_here > level_there:
            here = _below(here, read)
            level_here -= 1


def _level(digest: Digest | None, read: ReadNode) -> int:
    if digest is None:
        return 0
    node = decode(read(digest), digest)
    return node.level if isinstance(node, Branch) else 0


def _below(digests: Sequence[Digest], read: ReadNode) -> list[Digest]:
    """Returns the children of nodes in order, each once: a hostile listing may name one many times."""
    return list(dict.fromkeys(child for digest in digests for child in _named_in(digest, read)))


def _named_in(digest: Digest, read: ReadNode) -> tuple[Digest, ...]:
    node = decode(read(digest), digest)
    if not isinstance(node, Branch):
        raise corrupt_listing(digest, "its level is wrong")
    return node.digests


def corrupt_listing(digest: Digest, reason: str) -> ObjectCorrupt:
    """Returns the error for a node that is not what it should be."""
    return ObjectCorrupt(
        f"the list of files {digest.hex()} is damaged: {reason}",
        hint="to see what is damaged: dvlite fsck --remote; to mend it from a clone that has it: dvlite fsck --remote --repair",
    )


def _little(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _array(data: bytes) -> array[int]:
    column = array("Q")
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column
