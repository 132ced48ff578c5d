"""What versions consist of, and what of it a remote provably has. Proof is a fresh look, never what is remembered of an earlier one.

What may be deleted anywhere rests on this: `cache prune` deletes here what is proven there. Reads only; decides nothing. In memory are
the digests of the files asked about, each about 100 bytes, and one version at a time; nodes, recipes and roots are read within the limits
of their formats, whatever a remote holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dvlite.errors import FormatError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, Branch, ReadNode
from dvlite.formats.snapshot import VersionId
from dvlite.oid import MANIFEST, Digest
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.file_marks import FileMarks
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, KIND_RECIPE
from dvlite.store.snapshots import claimed, claims


@dataclass(frozen=True, slots=True)
class Reachable:
    """What a version consists of: the nodes of its listing (none for a single file) and the content of its files, each once."""

    nodes: set[Digest]
    files: set[Digest]


def reachable(version: VersionId, read_node: ReadNode) -> Reachable:
    """Returns all that a version needs. Raises what `read_node` raises, and ObjectCorrupt for a listing that is not sound."""
    kind, digest = version
    if kind != MANIFEST:
        return Reachable(set(), {digest})
    found = Reachable(set(), set())

    def read(node: Digest) -> bytes:
        found.nodes.add(node)
        return read_node(node)

    for leaf in manifest.leaves(digest, read):
        found.files.update(leaf.digest(i) for i, flags in enumerate(leaf.flags) if flags != EMPTY_DIR)
    return found


class Marks:
    """Which nodes and files of a cache are needed, and by which of several reasons, numbered from 0 and given in their order: the first counts.

    Nodes that several versions share are read once.
    """

    __slots__ = ("_read_node", "absent", "files", "nodes")

    def __init__(self, cache: Cache) -> None:
        self._read_node = cache.read_node
        self.nodes: dict[Digest, int] = {}
        self.files = FileMarks(cache)
        self.absent: set[Digest] = set()  # nodes that could not be read: what they list is not known

    def add(self, version: VersionId, reason: int) -> None:
        """Marks a version and all that is in it, as far as its nodes are there. Raises ObjectCorrupt for a node that is damaged."""
        kind, digest = version
        if kind != MANIFEST:
            self.files.add(digest, reason)
            return
        pending = [digest]
        while pending:
            digest = pending.pop()
            if digest in self.nodes:
                continue
            self.nodes[digest] = reason
            try:
                node = manifest.decode(self._read_node(digest), digest)
            except ObjectMissing:
                self.absent.add(digest)
                continue
            if isinstance(node, Branch):
                pending += reversed(node.digests)
            else:
                kept = (node.digest(i) for i, flags in enumerate(node.flags) if flags != EMPTY_DIR)
                self.files.add(b"".join(kept) if EMPTY_DIR in node.flags else node.digests, reason)


@dataclass(slots=True)
class Proof:
    """What a look at a remote proved: files of versions that are proven, files of others, and all those asked about that are there."""

    proven: set[Digest] = field(default_factory=set)
    unproven: set[Digest] = field(default_factory=set)
    present: set[Digest] = field(default_factory=set)
    claimed: set[Digest] = field(
        default_factory=set
    )  # of the files `also`: those of other versions that this clone claims, and there

    def covers(self, digest: Digest, *, strangers: bool) -> bool:
        """Returns whether a file is safe there; with `strangers`, also one of another version that this clone claims."""
        return digest in self.proven or (strangers and digest in self.claimed and digest not in self.unproven)


def prove(catalog: Catalog, cache: Cache, versions: Sequence[VersionId], *, also: Iterable[Digest] = ()) -> Proof:
    """Compares versions with the last look of `catalog`, and the files `also`, which may be of no version.

    A version is proven if everything of it is there and this clone claims it: roots of others go when these need it no more. One whose
    listing is not in the cache is neither proven nor unproven. Costs a listing of the roots and one request for each recipe and pack; with files of no version asked about, the snapshots that this clone claims too.
    """
    also = set(also)
    wanted = set(also)
    for version in versions:
        whole = _in_cache(version, cache)
        wanted |= whole.files if whole is not None else set()
    proof = Proof(present=present(catalog, wanted))
    kept = claimed(catalog, versions, catalog.remote.clone)
    for version in versions:  # listed again: of many versions, only one is in memory
        whole = _in_cache(version, cache)
        if whole is not None:
            is_proven = version in kept and whole.files <= proof.present and _has_nodes(catalog, whole)
            (proof.proven if is_proven else proof.unproven).update(whole.files)
    left = proof.present.intersection(also) - proof.proven - proof.unproven
    others = claims(catalog, catalog.remote.clone)
    while left and (other := next(others, None)) is not None:
        whole = _in_cache(other, cache)
        if whole is not None:
            proof.claimed |= left & whole.files
            left -= whole.files
    return proof


def present(catalog: Catalog, wanted: Iterable[Digest]) -> set[Digest]:
    """Returns those files that lie whole in packs which stand, by the last look; the end of each of these packs is read now."""
    found: set[Digest] = set()
    packs: set[Digest] = set()
    with_recipe: list[Digest] = []
    for digest in wanted:
        names = [place.pack for place in catalog.locations(digest, (KIND_FILE,)) if catalog.is_whole(place.pack)]
        if names:
            found.add(digest)
            packs.update(names)
        elif catalog.locations(digest, (KIND_RECIPE,)):
            with_recipe.append(digest)
    large = catalog.recipes.find(with_recipe)
    sound = catalog.sound_packs(packs.union(*(file.relies for file in large.values())))
    if not packs <= sound:
        found = {
            digest for digest in found if any(place.pack in sound for place in catalog.locations(digest, (KIND_FILE,)))
        }
    return found | {digest for digest, file in large.items() if sound.issuperset(file.relies)}


def files_of(versions: Iterable[VersionId], cache: Cache) -> set[Digest]:
    """Returns the files that versions need, as far as their listings are in the cache: without a listing, no file of it is known to be here."""
    return {
        digest for version in versions if (whole := _in_cache(version, cache)) is not None for digest in whole.files
    }


def _in_cache(version: VersionId, cache: Cache) -> Reachable | None:
    """Returns what a version needs but for what was purged, None if its listing cannot be read here."""
    try:
        whole = reachable(version, cache.read_node)
        whole.files.difference_update(cache.purged)
        return whole
    except (ObjectMissing, ObjectCorrupt, FormatError):
        return None


def _has_nodes(catalog: Catalog, whole: Reachable) -> bool:
    return all(catalog.locations(digest, (KIND_MANIFEST,)) for digest in whole.nodes)
