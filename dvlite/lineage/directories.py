"""Which directory versions hold some content, and what of a directory version runs know: answers from listings, node by node.

Listings are read through a function that is given, and brought through another one where they are not at hand; what cannot be had is
counted in `unread`, so that nobody takes "not found" for "not there". Knows no cache and no remote.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from dvlite.errors import DvliteError, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, Branch, Entries, Entry, ReadNode, Tree
from dvlite.oid import DIGEST_BYTES, FILE, MANIFEST, Digest, Oid, format_oid, parse_oid
from dvlite.paths import ancestors
from dvlite.runs.queries import Node

_FEW = 100  # things that are looked for one by one, each in a node of the listing for each level
Bring = Callable[[Sequence[Digest]], None]  # makes the listings of these names readable, as far as they can be had


class Known(Protocol):
    """What is known of directories, as far as it is asked here; `sources.Sources` answers it."""

    def directories(self) -> Iterable[Node]:
        """Returns the directory versions that have a listing somewhere, once for each path, the likeliest first."""


class Membership:
    """Answers for the directory versions that are known."""

    def __init__(self, known: Known, read: ReadNode, *, bring: Bring | None = None) -> None:
        self._known, self._read, self._bring = known, read, bring
        self._paths: dict[str, dict[Oid, Node]] | None = None
        self._asked: set[Oid] = set()  # listings that were brought, or could not be
        self._answers: dict[tuple[Oid, str], Oid | None] = {}
        self.unread: set[Oid] = set()

    def holders(self, thing: Node, *, every: bool = True) -> list[Node]:
        """Returns the known directories that have this content at this path; not `every`: those at hand will do, if there are any."""
        candidates = [
            (known, thing.path[len(folder) + 1 :])
            for folder in ancestors(thing.path)
            for known in self._by_path().get(folder, {}).values()
        ]
        if not every:
            at_hand = self._holding(thing.oid, [found for found in candidates if self._is_readable(found[0].oid)])
            if at_hand:
                return at_hand
        self._have([known.oid for known, _ in candidates])
        return self._holding(thing.oid, candidates)

    def _holding(self, oid: Oid, candidates: Sequence[tuple[Node, str]]) -> list[Node]:
        return [self._sized(known) for known, inner in candidates if self._at(known.oid, inner, oid) == oid]

    def parts(self, thing: Node, among: Sequence[Node]) -> list[Node]:
        """Returns those of `among` that lie in this directory as they are."""
        start = thing.path + "/"
        wanted = [part for part in among if part.path.startswith(start)]
        if not wanted or not self.can_read([thing.oid]):
            return []
        if len(wanted) <= _FEW:
            return [part for part in wanted if self._at(thing.oid, part.path[len(start) :], part.oid) == part.oid]
        return self._many(thing, wanted)

    def _many(self, thing: Node, wanted: Sequence[Node]) -> list[Node]:
        """Returns the same from one pass over the listing; of folders, one after the other."""
        names = {(os.fsencode(part.path[len(thing.path) + 1 :]), part.oid) for part in wanted}
        paths = {path for path, _ in names}
        found: set[tuple[bytes, str]] = set()
        try:
            for leaf in manifest.leaves(parse_oid(thing.oid)[1], self._read):
                found.update(
                    (path, format_oid(FILE, leaf.digest(i)))
                    for i, path in enumerate(leaf.paths)
                    if path in paths and leaf.flags[i] != EMPTY_DIR
                )
        except DvliteError:
            self.unread.add(thing.oid)
        inner = len(thing.path) + 1
        return [
            part
            for part in wanted
            if (os.fsencode(part.path[inner:]), part.oid) in found
            or (part.oid.startswith(MANIFEST) and self._at(thing.oid, part.path[inner:], part.oid) == part.oid)
        ]

    def entry(self, thing: Node, inner: str) -> Node | None:
        """Returns the file or folder at a path inside a directory, or None for nothing; raises ObjectMissing without its listing."""
        self._have([thing.oid])
        root, path = parse_oid(thing.oid)[1], f"{thing.path}/{inner}"
        found = manifest.find(root, os.fsencode(inner), self._read)
        if found is not None and found.kind != EMPTY_DIR:
            return Node(format_oid(FILE, found.digest), path, found.size_bytes)
        tree = self._folder(root, os.fsencode(inner))
        return None if tree is None else Node(format_oid(MANIFEST, tree.root), path, tree.size_bytes, tree.files)

    def anywhere(self, oid: Oid) -> list[Node]:
        """Returns what known directories call this content, whatever its path: `data/images/a.jpg`, once for each path."""
        kind, digest = parse_oid(oid)
        if kind != FILE:
            return []
        known = [thing for things in self._by_path().values() for thing in things.values()]
        self._have([thing.oid for thing in known])
        found: dict[str, Node] = {}
        seen: dict[Digest, tuple[Entry, ...]] = {}
        for thing in known:
            for entry in self._entries_with(thing, digest, seen):
                path = f"{thing.path}/{os.fsdecode(entry.path)}"
                found.setdefault(path, Node(oid, path, entry.size_bytes))
        return list(found.values())

    def can_read(self, oids: Sequence[Oid]) -> bool:
        """Says whether listings can be read, having brought them if need be."""
        self._have(oids)
        return not self.unread.intersection(oids)

    def _by_path(self) -> dict[str, dict[Oid, Node]]:
        if self._paths is None:
            self._paths = {}
            for thing in self._known.directories():
                self._paths.setdefault(thing.path, {}).setdefault(thing.oid, thing)
        return self._paths

    def _sized(self, thing: Node) -> Node:
        """Returns a directory with its totals, which its first node has: not everyone who names it knows them."""
        if thing.size_bytes:
            return thing
        digest = parse_oid(thing.oid)[1]
        node = manifest.decode(self._read(digest), digest)
        files = sum(node.files) if isinstance(node, Branch) else len(node) - node.flags.count(EMPTY_DIR)
        return thing._replace(size_bytes=sum(node.sizes), files=files)

    def _have(self, oids: Iterable[Oid]) -> None:
        """Brings listings that are not readable, all of them in one go, once."""
        wanted = [oid for oid in dict.fromkeys(oids) if oid not in self._asked and oid.startswith(MANIFEST)]
        self._asked.update(wanted)
        missing = [oid for oid in wanted if not self._is_readable(oid)]
        if missing and self._bring is not None:
            self._bring([parse_oid(oid)[1] for oid in missing])
            missing = [oid for oid in missing if not self._is_readable(oid)]
        self.unread.update(missing)

    def _is_readable(self, oid: Oid) -> bool:
        """Says whether all nodes of a listing that the look-ups here need are there: the branches, and so most likely the rest."""
        try:
            node = manifest.decode(self._read(parse_oid(oid)[1]), parse_oid(oid)[1])
            if isinstance(node, Branch):
                self._read(node.digests[0])
        except DvliteError:
            return False
        return True

    def _at(self, root: Oid, inner: str, wanted: Oid) -> Oid | None:
        """Returns what a listing has at a path: a file's oid, or that of a folder's own listing if such a one is wanted."""
        key = (root, f"{wanted.partition(':')[0]}:{inner}")
        if key not in self._answers:
            try:
                self._answers[key] = self._look(parse_oid(root)[1], os.fsencode(inner), wanted)
            except DvliteError:  # a part of it is missing, or a stranger's listing is malformed
                self.unread.add(root)
                self._answers[key] = None
        return self._answers[key]

    def _look(self, root: Digest, inner: bytes, wanted: Oid) -> Oid | None:
        if wanted.startswith(MANIFEST):
            tree = self._folder(root, inner)
            return None if tree is None else format_oid(MANIFEST, tree.root)
        entry = manifest.find(root, inner, self._read)
        return None if entry is None or entry.kind == EMPTY_DIR else format_oid(FILE, entry.digest)

    def _folder(self, root: Digest, inner: bytes) -> Tree | None:
        """Returns a folder inside a listing as a directory of its own."""
        start = inner + b"/"
        rows = [
            Entry(path[len(start) :], leaf.flags[i], leaf.sizes[i], leaf.digest(i))
            for leaf in manifest.leaves(root, self._read)
            for i, path in enumerate(leaf.paths)
            if path.startswith(start)
        ]
        return manifest.build(manifest.from_entries(rows)) if rows else None

    def _entries_with(self, thing: Node, digest: Digest, seen: dict[Digest, tuple[Entry, ...]]) -> Iterator[Entry]:
        """Yields the entries of a listing that have this content; a node that many versions share is read once."""
        waiting, visited = [parse_oid(thing.oid)[1]], set()
        while waiting:
            name = waiting.pop()
            if name in visited:
                continue
            visited.add(name)
            try:
                if name not in seen:
                    node = manifest.decode(self._read(name), name)
                    if isinstance(node, Branch):
                        waiting.extend(node.digests)
                        continue
                    seen[name] = tuple(_with(node, digest))
            except ObjectMissing:
                self.unread.add(thing.oid)
                continue
            except DvliteError:
                continue
            yield from seen[name]


def _with(leaf: Entries, digest: Digest) -> Iterator[Entry]:
    at = leaf.digests.find(digest)
    while at >= 0:
        if at % DIGEST_BYTES == 0 and leaf.flags[at // DIGEST_BYTES] != EMPTY_DIR:
            yield leaf[at // DIGEST_BYTES]
        at = leaf.digests.find(digest, at + 1)
