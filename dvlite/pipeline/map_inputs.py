"""What a map stage goes over: the files that a pattern matches, as one listing, relative to the fixed folder of the pattern.

Of a folder that is data, the listing follows from the folder's own; where all of that matches, it is that. Knows neither work tree nor
revision: both answer through `StageContent`. Stores nothing.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Protocol

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EXECUTABLE, FILE, KIND_MASK, Entries, Entry
from dvlite.formats.map_stage import MapInput
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, Digest, Oid, format_oid, parse_oid
from dvlite.pipeline.globs import expression, may_go_into
from dvlite.pipeline.known_data import KnownData
from dvlite.pipeline.stages import StageOver

_MOST_CHANGED = 50_000  # entries; for more, the whole listing is read


class OverContent(Protocol):
    """What belongs at paths, and the listings of data."""

    known: KnownData

    def matches(self, pattern: str) -> list[str]:
        """Returns the paths that a path or pattern stands for, sorted."""

    def expected(self, path: str) -> Locked | None:
        """Returns what belongs at a path, None if that is not known."""

    def leaves(self, path: str, version: Locked) -> Iterable[Entries]:
        """Returns the listing of a directory that is data, in parts. Raises ObjectMissing."""


@dataclass(frozen=True, slots=True)
class Within:
    """The data that the fixed folder of a pattern is or lies in, and its version; `prefix` leads from there to the fixed folder, with `/` at its end."""

    path: str
    version: Locked
    prefix: str


def within(content: OverContent, over: MapInput) -> Within | None:
    """Returns the directory of data in which all lies that a pattern can match, None if there is no single one, or it is nowhere."""
    fixed = over.fixed
    path = fixed if fixed in content.known.pointers else content.known.holder(fixed)
    version = None if path is None else content.expected(path)
    if path is None or version is None or not version.oid.startswith(MANIFEST):
        return None
    return Within(path, version, f"{fixed[len(path) + 1 :]}/" if fixed != path else "")


class KnownRows(Protocol):
    """What patterns stand for in versions of folders that were looked at before."""

    def get(self, folder: Oid, prefix: str, pattern: str) -> Locked | None:
        """Returns what a pattern stands for in a version of a folder."""

    def others(self, prefix: str, pattern: str) -> Iterator[tuple[Oid, Locked]]:
        """Yields what it stood for in other versions, the last ones first."""

    def put(self, folder: Oid, prefix: str, pattern: str, row: Locked) -> None:
        """Keeps what a pattern stands for."""

    def folders(self, row: Oid) -> Iterator[tuple[Oid, str, str]]:
        """Yields the versions of folders in which a pattern stood for this listing, with prefix and pattern."""


def compared(
    old: Oid, new: Oid, rows: KnownRows, read: manifest.ReadNode
) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Yields what differs between two listings; for those of patterns, which no store has, from the folders that they were looked up in.

    Raises ObjectMissing.
    """
    before = {(prefix, pattern): folder for folder, prefix, pattern in rows.folders(old)}
    for folder, prefix, pattern in rows.folders(new):
        earlier = before.get((prefix, pattern))
        if earlier is not None:
            over = MapInput("", pattern.rstrip("/"), pattern.endswith("/"))
            matches, cut = matcher(over), len(prefix)
            for one, other in manifest.compare(parse_oid(earlier)[1], parse_oid(folder)[1], read):
                path = os.fsdecode((one or other or NO_ENTRY).path)
                if path.startswith(prefix) and matches(path[cut:]):
                    yield one, other
            return
    yield from manifest.compare(parse_oid(old)[1], parse_oid(new)[1], read)


NO_ENTRY = Entry(b"", 0, 0, Digest(manifest.NO_DIGEST))


def row_of_known(
    content: OverContent, over: StageOver, rows: KnownRows, read: manifest.ReadNode, keep: manifest.KeepNode
) -> Locked | None:
    """Returns what `row_of` does; of a folder that was looked at before it costs nothing, and where all in it matched, what changed since."""
    place = within(content, over.spec)
    if place is None:
        return row_of(content, over, keep)
    key = place.version.oid, place.prefix, over.spec.written
    row = rows.get(*key)
    if row is None:
        row = place.version if _still_all(place, over.spec, rows, read) else row_of(content, over)
        if row is None:
            return None
        rows.put(*key, row)
    return replace(row, path=over.path)


def _still_all(place: Within, over: MapInput, rows: KnownRows, read: manifest.ReadNode) -> bool:
    """Returns whether a pattern matches all in a folder because it did before, and all that was added since matches."""
    before = next((oid for oid, row in rows.others(place.prefix, over.written) if row.oid == oid), None)
    if before is None or place.prefix:
        return False
    try:
        pairs = manifest.compare(parse_oid(before)[1], parse_oid(place.version.oid)[1], read)
        changed = [new for _, new in islice(pairs, _MOST_CHANGED)]
    except (ObjectMissing, ObjectCorrupt):
        return False
    added = manifest.from_entries(entry for entry in changed if entry is not None)
    return len(changed) < _MOST_CHANGED and len(selected(added, "", over)) == len(added)


def row_of(content: OverContent, over: StageOver, keep: manifest.KeepNode = lambda *_: None) -> Locked | None:
    """Returns what a pattern stands for as lockfile and key have it, None for nothing. Reads the whole listing.

    `keep` gets the nodes of what lies in no single directory of data: else the listing follows from that of the directory.
    """
    place = within(content, over.spec)
    if place is None:
        tree = manifest.build(gathered(content, over.spec), keep=keep)
    else:
        inside = place
        tree = _tree(content.leaves(inside.path, inside.version), inside, over.spec)
    return None if not tree.files else Locked(over.path, format_oid(MANIFEST, tree.root), tree.size_bytes, tree.files)


def _tree(leaves: Iterable[Entries], place: Within, over: MapInput) -> manifest.Tree:
    chosen, all_match = list[Entries](), not place.prefix
    for leaf in leaves:
        matching = selected(leaf, place.prefix, over)
        all_match = all_match and len(matching) == len(leaf)
        chosen.append(matching)
    if all_match:
        return manifest.Tree(parse_oid(place.version.oid)[1], place.version.size_bytes, place.version.files, ())
    return manifest.build(manifest.joined(chosen), keep=lambda *_: None)


def selected(leaf: Entries, prefix: str, over: MapInput) -> Entries:
    """Returns the entries of a run, which lie below `prefix`, that a pattern matches, relative to it."""
    paths, matches, whole = leaf.paths, matcher(over), over.folders
    cut, cut_text = len(os.fsencode(prefix)), len(prefix)
    chosen = [
        i
        for i, text in enumerate(path_texts(paths))
        if text.startswith(prefix)
        and matches(text[cut_text:] if cut else text)
        and (whole or leaf.flags[i] & KIND_MASK == FILE)
    ]
    if len(chosen) == len(paths) and not cut:
        return leaf
    sizes = array("Q", [leaf.sizes[i] for i in chosen])
    digests = b"".join([leaf.digest(i) for i in chosen])
    return Entries([paths[i][cut:] for i in chosen], bytes([leaf.flags[i] for i in chosen]), sizes, digests)


def path_texts(paths: Sequence[bytes]) -> list[str]:
    """Returns paths as texts: decoded together, in a fraction of the time of a call for each."""
    return b"\0".join(paths).decode("utf-8", "surrogateescape").split("\0") if paths else []


@lru_cache(1000)
def matcher(over: MapInput) -> Callable[[str], re.Match[str] | None]:
    """Returns what matches a path below the fixed folder of a pattern; its groups are the captures, and of folders `unit` is the folder."""
    fixed = over.fixed
    rest = over.pattern[len(fixed) + 1 :] if fixed else over.pattern
    pattern = expression(rest, captures=True).pattern
    if over.folders:
        pattern = f"(?P<unit>{pattern})/{expression('**').pattern}"
    return re.compile(pattern, re.DOTALL).fullmatch


def gathered(content: OverContent, over: MapInput) -> Entries:
    """Returns what a pattern matches in several directories of data, and in folders that are git's."""
    fixed = over.fixed
    cut = len(fixed) + 1 if fixed else 0
    chosen: list[Entry] = []
    folders = []
    for path, pointer in content.known.pointers.items():
        if pointer.kind == "directory" and may_go_into(over.glob, path):
            version = content.expected(path)
            folders.append(path + "/")
            if version is not None:
                chosen += _inside(content, path, version, over)
    starts = tuple(folders)
    matches = matcher(over)
    for name in content.matches(over.glob):
        found = None if name.startswith(starts) or not matches(name[cut:]) else content.expected(name)
        if found is not None and found.oid.startswith(FILE_OID):
            flags = FILE | EXECUTABLE if found.executable else FILE
            chosen.append(Entry(os.fsencode(name[cut:]), flags, found.size_bytes, found.pointer().digest))
    return manifest.from_entries(sorted(chosen, key=lambda entry: entry.path))


def _inside(content: OverContent, path: str, version: Locked, over: MapInput) -> Iterator[Entry]:
    fixed = over.fixed
    start = os.fsencode(path[len(fixed) + 1 :] if fixed else path) + b"/"
    for leaf in content.leaves(path, version):
        moved = selected(Entries([start + name for name in leaf.paths], leaf.flags, leaf.sizes, leaf.digests), "", over)
        yield from (moved[i] for i in range(len(moved)))


def require_nodes(root: Digest, has: Callable[[Digest], bool], read: manifest.ReadNode) -> None:
    """Raises ObjectMissing if a node of a listing is missing; reads branches only."""
    for digest in manifest.node_names(root, read):
        if not has(digest):
            raise ObjectMissing(f"the list of files {digest.hex()} is missing", hint="dvlite fetch")
