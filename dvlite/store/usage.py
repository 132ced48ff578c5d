"""How much of each pack on a remote is needed: what gc decides by. Reads only.

First all listings that are needed are brought into the cache, then the rows of the indexes are compared with the files that they name: a
part of all digests at a time, so that memory is bounded whatever there is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest, snapshot
from dvlite.formats.manifest import EMPTY_DIR, MAX_LEVEL, Branch
from dvlite.formats.recipe import Term
from dvlite.formats.snapshot import VersionId
from dvlite.oid import DIGEST_BYTES, FILE, MANIFEST, Digest
from dvlite.store import fetch, snapshots
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import Catalog
from dvlite.store.index import RecordLocation
from dvlite.store.pack import (
    HEADER_BYTES,
    KIND_FILE,
    KIND_MANIFEST,
    KIND_RECIPE,
    KIND_SNAPSHOT,
    RECORD_BYTES,
    ROW_BYTES,
    TRAILER_BYTES,
    Record,
)
from dvlite.store.recipes import LargeFile, Recipes

_PART_ROWS = 1_000_000  # files compared at a time: about 125 MB of memory
_RECIPES_AT_ONCE = 20_000  # 30 MB if most are of one chunk
_NODES_AT_ONCE = 1000  # 20 MB
_MOST_RUNS = 4096  # of a pack before they are joined: a pack has about 1,000 chunks
OVERHEAD_BYTES = RECORD_BYTES + ROW_BYTES  # of a record in a pack
EMPTY_BYTES = HEADER_BYTES + TRAILER_BYTES  # of a pack


@dataclass(slots=True)
class Needed:
    """What has to stay: nodes of snapshots and of listings, single files, and the leaves of the listings, which name the other files."""

    snapshots: set[Digest] = field(default_factory=set)
    manifests: set[Digest] = field(default_factory=set)
    leaves: list[Digest] = field(default_factory=list)
    files: set[Digest] = field(default_factory=set)
    versions: set[VersionId] = field(default_factory=set)


@dataclass(slots=True)
class Usage:
    """What is needed of each pack, in bytes with its overhead; which recipes are in use; and what no usable pack has.

    `runs` are the chunks of packs that are needed, as (first, end) in order.
    """

    live: dict[Digest, int] = field(default_factory=dict)
    runs: dict[Digest, list[tuple[int, int]]] = field(default_factory=dict)
    whole: dict[Digest, list[tuple[int, int]]] = field(default_factory=dict)  # those of which some file needs all
    parts: set[RecordLocation] = field(default_factory=set)  # of recipes, which large files may share
    absent: dict[int, set[Digest]] = field(default_factory=dict)  # kind -> digests; large files count as files

    def lacks(self) -> bool:
        return any(self.absent.values())

    def count(self, pack: Digest, record: Record) -> None:
        """Adds a record of a pack."""
        self.live[pack] = self.live.get(pack, 0) + record.stored_length + OVERHEAD_BYTES


def gather(
    catalog: Catalog,
    cache: Cache,
    claimed: Iterable[Digest],
    versions: Iterable[VersionId],
    files: Iterable[Digest] = (),
    *,
    but: Collection[VersionId] = (),
) -> Needed:
    """Walks snapshots, versions and single files, but for some versions; listings come into the cache.

    Raises ObjectMissing, ObjectCorrupt, FormatError or LaterVersion for a snapshot or listing that cannot be read: what it needs is not
    known then.
    """
    needed = Needed(files=set(files))
    claimed = list(claimed)
    read = snapshots.reader(catalog, claimed)
    stack = [(digest, MAX_LEVEL + 1) for digest in reversed(claimed)]
    while stack:
        digest, below = stack.pop()
        if digest in needed.snapshots:
            continue
        needed.snapshots.add(digest)
        level, children, named = snapshot.node(digest, read(digest), below)
        stack.extend((child, level) for child in children)
        needed.versions.update(version.id for version in named)
    needed.versions.update(versions)
    needed.versions.difference_update(but)
    needed.files.update(digest for kind, digest in needed.versions if kind != MANIFEST)
    _walk(catalog, cache, [digest for kind, digest in needed.versions if kind == MANIFEST], needed)
    return needed


def _walk(catalog: Catalog, cache: Cache, roots: list[Digest], needed: Needed) -> None:
    """Brings listings into the cache, each node once, with one batch of requests for many nodes of a level."""
    level = roots
    with Writer(cache, durable=False) as writer:
        while level:
            below: list[Digest] = []
            fresh = [digest for digest in dict.fromkeys(level) if digest not in needed.manifests]
            for start in range(0, len(fresh), _NODES_AT_ONCE):
                batch = fresh[start : start + _NODES_AT_ONCE]
                needed.manifests.update(batch)
                for digest, data in _nodes(catalog, cache, writer, batch):
                    node = manifest.decode(data, digest)
                    if isinstance(node, Branch):
                        below.extend(node.digests)
                    else:
                        needed.leaves.append(digest)
            level = below
        writer.commit()


def _nodes(catalog: Catalog, cache: Cache, writer: Writer, digests: list[Digest]) -> Iterator[tuple[Digest, bytes]]:
    absent = []
    for digest in digests:
        try:
            yield digest, cache.read_node(digest)
        except (ObjectMissing, ObjectCorrupt):
            absent.append(digest)
    if absent:
        for digest, data in fetch.fetch_level(catalog, absent).items():
            writer.put(KIND_MANIFEST, digest, data)
            yield digest, data


def survey(catalog: Catalog, cache: Cache, needed: Needed, *, weighs: bool = True) -> Usage:
    """Compares what is needed with the last look: each object counts in one usable pack that has it.

    Unless it `weighs`, it looks into no pack of chunks, and a large file whose recipe is damaged is absent, where it otherwise raises
    ObjectCorrupt.
    """
    usage = Usage()
    segments = sorted(catalog.indexes().values(), key=lambda segment: -segment.rows)
    parts = sum(segment.rows for segment in segments) // _PART_ROWS + 1
    manifests, nodes = set(needed.manifests), set(needed.snapshots)
    absent: set[Digest] = set()
    for part in range(parts):
        files = _files_of(cache, needed, part, parts)
        kinds: dict[int, set[Digest]] = {KIND_FILE: files}
        if not part:
            kinds |= {KIND_MANIFEST: manifests, KIND_SNAPSHOT: nodes}
        for segment in segments:
            for place in segment:
                left = kinds.get(place.record.kind)
                if left is not None and place.record.digest in left and catalog.holds(place):
                    left.discard(place.record.digest)
                    usage.count(place.pack, place.record)
        _take_large(catalog, usage, files, weighs=weighs)
        absent |= files
    usage.absent = {KIND_FILE: absent, KIND_MANIFEST: manifests, KIND_SNAPSHOT: nodes}
    if weighs:
        _count_chunks(catalog, usage)
    return usage


def _files_of(cache: Cache, needed: Needed, part: int, parts: int) -> set[Digest]:
    """Returns the files that are needed and not purged, those of one part of all digests."""
    files = {digest for digest in needed.files if digest[0] % parts == part}
    for leaf in needed.leaves:
        node = manifest.decode(cache.read_node(leaf), leaf)
        assert not isinstance(node, Branch)
        data, flags = node.digests, node.flags
        slices = (Digest(data[at : at + DIGEST_BYTES]) for at in range(0, len(data), DIGEST_BYTES))
        files.update(
            digest
            for digest, flag in zip(slices, flags, strict=True)
            if flag != EMPTY_DIR and (parts == 1 or digest[0] % parts == part)
        )
    return files.difference(cache.purged)


def _take_large(catalog: Catalog, usage: Usage, files: set[Digest], *, weighs: bool) -> None:
    """Counts those files that are large, and takes them out; a limited number of recipes is in memory, read in the order of the packs."""
    places = ((digest, catalog.locations(digest, (KIND_RECIPE,))) for digest in files)
    wanted = sorted((found[0].pack, found[0].record.offset, digest) for digest, found in places if found)
    for start in range(0, len(wanted), _RECIPES_AT_ONCE):
        batch = [digest for _, _, digest in wanted[start : start + _RECIPES_AT_ONCE]]
        recipes = Recipes(catalog, catalog.remote.store.label)
        large = recipes.find(batch)
        for digest in batch:
            if weighs and digest not in large and digest in catalog.damage:
                raise catalog.missing(digest, FILE)  # which packs it needs is not known
        files.difference_update(large)
        for each in large.values():
            _count_large(recipes, usage, each)


def _count_large(recipes: Recipes, usage: Usage, file: LargeFile) -> None:
    """Counts a large file: its recipe, parts that no other has counted, and its chunks."""
    for place in file.records:
        if place not in usage.parts:
            usage.count(place.pack, place.record)
    usage.parts.update(file.records[1:])
    for term in recipes.terms(file):
        note_run(usage.runs, term)
        if term.skip_bytes is None:
            note_run(usage.whole, term)


def _count_chunks(catalog: Catalog, usage: Usage) -> None:
    for name, records in catalog.each_footer(usage.runs):
        usage.runs[name] = joined = join(usage.runs[name])
        usage.live[name] = sum(
            record.stored_length + OVERHEAD_BYTES for first, end in joined for record in records[first:end]
        )


def note_run(runs: dict[Digest, list[tuple[int, int]]], term: Term) -> None:
    """Adds the chunks of a term to the runs of its pack, which stay few."""
    of_pack = runs.setdefault(term.pack, [])
    if of_pack and of_pack[-1][1] == term.first:
        of_pack[-1] = (of_pack[-1][0], term.first + term.count)
    else:
        of_pack.append((term.first, term.first + term.count))
    if len(of_pack) > _MOST_RUNS:
        of_pack[:] = join(of_pack)


def join(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns runs of numbers, sorted and without overlaps."""
    joined: list[tuple[int, int]] = []
    for first, end in sorted(runs):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined


def places_of(records: list[Record], name: Digest, runs: Iterable[tuple[int, int]]) -> list[RecordLocation]:
    """Returns where the chunks of some runs lie in a pack."""
    return [RecordLocation(name, record) for first, end in runs for record in records[first:end]]
