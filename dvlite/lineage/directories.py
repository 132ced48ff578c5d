"""Searches the listings of directory versions: which of them contain some content, and which of their contents runs know.

Listings are read node by node through one function and fetched through another where they are missing; those that cannot be read are
collected in `unread`, so that "not found" is not taken for "does not exist". Knows no cache and no remote.
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
from dvlite.runs.queries import Artefact

_FEW = 100  # artefacts looked up one by one, each reading one node per level of the listing
FetchListings = Callable[[Sequence[Digest]], None]  # makes these listings readable, as far as possible


class KnownDirectories(Protocol):
    """The directory versions to search; `provenance.Provenance` implements it."""

    def directories(self) -> Iterable[Artefact]:
        """Returns the directory versions that have a listing somewhere, once for each path, the likeliest first."""


class DirectoryVersions:
    """Answers for the known directory versions; each listing is fetched at most once."""

    def __init__(self, known: KnownDirectories, read: ReadNode, *, fetch: FetchListings | None = None) -> None:
        self._directories, self._read, self._fetch = known, read, fetch
        self._paths: dict[str, dict[Oid, Artefact]] | None = None
        self._tried: set[Oid] = set()  # listings that were fetched, or could not be
        self._answers: dict[tuple[Oid, str], Oid | None] = {}
        self.unread: set[Oid] = set()

    def holders(self, artefact: Artefact, *, every: bool = True) -> list[Artefact]:
        """Returns the known directories that have this content at this path; not `every`: those with a readable listing, if any."""
        candidates = [
            (directory, artefact.path[len(folder) + 1 :])
            for folder in ancestors(artefact.path)
            for directory in self._by_path().get(folder, {}).values()
        ]
        if not every:
            readable = [(directory, inner) for directory, inner in candidates if self._is_readable(directory.oid)]
            holders = self._holding(artefact.oid, readable)
            if holders:
                return holders
        self._fetch_missing([directory.oid for directory, _ in candidates])
        return self._holding(artefact.oid, candidates)

    def _holding(self, oid: Oid, candidates: Sequence[tuple[Artefact, str]]) -> list[Artefact]:
        return [self._sized(directory) for directory, inner in candidates if self._at(directory.oid, inner, oid) == oid]

    def parts(self, artefact: Artefact, among: Sequence[Artefact]) -> list[Artefact]:
        """Returns those of `among` that this directory contains unchanged."""
        start = artefact.path + "/"
        wanted = [part for part in among if part.path.startswith(start)]
        if not wanted or not self.can_read([artefact.oid]):
            return []
        if len(wanted) <= _FEW:
            return [part for part in wanted if self._at(artefact.oid, part.path[len(start) :], part.oid) == part.oid]
        return self._many(artefact, wanted)

    def _many(self, artefact: Artefact, wanted: Sequence[Artefact]) -> list[Artefact]:
        """Does as `parts`, in one pass over the listing, with one more for each folder."""
        names = {(os.fsencode(part.path[len(artefact.path) + 1 :]), part.oid) for part in wanted}
        paths = {path for path, _ in names}
        present: set[tuple[bytes, str]] = set()
        try:
            for leaf in manifest.leaves(parse_oid(artefact.oid)[1], self._read):
                present.update(
                    (path, format_oid(FILE, leaf.digest(i)))
                    for i, path in enumerate(leaf.paths)
                    if path in paths and leaf.flags[i] != EMPTY_DIR
                )
        except DvliteError:
            self.unread.add(artefact.oid)
        inner = len(artefact.path) + 1
        return [
            part
            for part in wanted
            if (os.fsencode(part.path[inner:]), part.oid) in present
            or (part.oid.startswith(MANIFEST) and self._at(artefact.oid, part.path[inner:], part.oid) == part.oid)
        ]

    def entry(self, artefact: Artefact, inner: str) -> Artefact | None:
        """Returns the file or folder at a path inside a directory, or None; raises ObjectMissing if its listing is missing."""
        self._fetch_missing([artefact.oid])
        root, path = parse_oid(artefact.oid)[1], f"{artefact.path}/{inner}"
        entry = manifest.find(root, os.fsencode(inner), self._read)
        if entry is not None and entry.kind != EMPTY_DIR:
            return Artefact(format_oid(FILE, entry.digest), path, entry.size_bytes)
        tree = self._folder(root, os.fsencode(inner))
        return None if tree is None else Artefact(format_oid(MANIFEST, tree.root), path, tree.size_bytes, tree.files)

    def anywhere(self, oid: Oid) -> list[Artefact]:
        """Returns the paths that known directories have this content at, each once: `data/images/a.jpg`."""
        kind, digest = parse_oid(oid)
        if kind != FILE:
            return []
        directories = [directory for versions in self._by_path().values() for directory in versions.values()]
        self._fetch_missing([directory.oid for directory in directories])
        files: dict[str, Artefact] = {}
        seen: dict[Digest, tuple[Entry, ...]] = {}
        for directory in directories:
            for entry in self._entries_with(directory, digest, seen):
                path = f"{directory.path}/{os.fsdecode(entry.path)}"
                files.setdefault(path, Artefact(oid, path, entry.size_bytes))
        return list(files.values())

    def can_read(self, oids: Sequence[Oid]) -> bool:
        """Returns whether all of these listings can be read, after fetching missing ones."""
        self._fetch_missing(oids)
        return not self.unread.intersection(oids)

    def _by_path(self) -> dict[str, dict[Oid, Artefact]]:
        if self._paths is None:
            self._paths = {}
            for directory in self._directories.directories():
                self._paths.setdefault(directory.path, {}).setdefault(directory.oid, directory)
        return self._paths

    def _sized(self, directory: Artefact) -> Artefact:
        """Returns a directory with its totals, read from its first node if they are unknown."""
        if directory.size_bytes:
            return directory
        digest = parse_oid(directory.oid)[1]
        node = manifest.decode(self._read(digest), digest)
        files = sum(node.files) if isinstance(node, Branch) else len(node) - node.flags.count(EMPTY_DIR)
        return directory._replace(size_bytes=sum(node.sizes), files=files)

    def _fetch_missing(self, oids: Iterable[Oid]) -> None:
        """Fetches listings that are not readable, all of them together, once."""
        new = [oid for oid in dict.fromkeys(oids) if oid not in self._tried and oid.startswith(MANIFEST)]
        self._tried.update(new)
        missing = [oid for oid in new if not self._is_readable(oid)]
        if missing and self._fetch is not None:
            self._fetch([parse_oid(oid)[1] for oid in missing])
            missing = [oid for oid in missing if not self._is_readable(oid)]
        self.unread.update(missing)

    def _is_readable(self, oid: Oid) -> bool:
        """Returns whether the first nodes of a listing are readable, and so most likely the rest."""
        try:
            node = manifest.decode(self._read(parse_oid(oid)[1]), parse_oid(oid)[1])
            if isinstance(node, Branch):
                self._read(node.digests[0])
        except DvliteError:
            return False
        return True

    def _at(self, root: Oid, inner: str, wanted: Oid) -> Oid | None:
        """Returns the oid that a listing has at a path: of a file, or of a folder if a folder's oid is wanted."""
        key = (root, f"{wanted.partition(':')[0]}:{inner}")
        if key not in self._answers:
            try:
                self._answers[key] = self._find(parse_oid(root)[1], os.fsencode(inner), wanted)
            except DvliteError:  # a node is missing, or a stranger's listing is malformed
                self.unread.add(root)
                self._answers[key] = None
        return self._answers[key]

    def _find(self, root: Digest, inner: bytes, wanted: Oid) -> Oid | None:
        if wanted.startswith(MANIFEST):
            tree = self._folder(root, inner)
            return None if tree is None else format_oid(MANIFEST, tree.root)
        entry = manifest.find(root, inner, self._read)
        return None if entry is None or entry.kind == EMPTY_DIR else format_oid(FILE, entry.digest)

    def _folder(self, root: Digest, inner: bytes) -> Tree | None:
        """Returns a folder inside a listing as a directory of its own."""
        rows = [entry for leaf in manifest.leaves(root, self._read) for entry in leaf.subtree(inner)]
        return manifest.build(manifest.from_entries(rows)) if rows else None

    def _entries_with(
        self, directory: Artefact, digest: Digest, seen: dict[Digest, tuple[Entry, ...]]
    ) -> Iterator[Entry]:
        """Yields the entries of a listing that have this content; a node that many versions share is read once."""
        stack, visited = [parse_oid(directory.oid)[1]], set()
        while stack:
            name = stack.pop()
            if name in visited:
                continue
            visited.add(name)
            try:
                if name not in seen:
                    node = manifest.decode(self._read(name), name)
                    if isinstance(node, Branch):
                        stack.extend(node.digests)
                        continue
                    seen[name] = tuple(_with(node, digest))
            except ObjectMissing:
                self.unread.add(directory.oid)
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
