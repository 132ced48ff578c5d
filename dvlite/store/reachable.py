"""What versions consist of, and what of it a remote provably has. Proof is a fresh look, never what is remembered of an earlier one.

What may be deleted anywhere rests on this: `cache prune` deletes here what is proven there. Reads only; decides nothing. In memory are
the digests of the files asked about, each about 100 bytes, and one version at a time; nodes, recipes and roots are read within the limits
of their formats, whatever a remote holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dvlite.errors import FormatError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest, root
from dvlite.formats.manifest import EMPTY_DIR, ReadNode
from dvlite.formats.root import Root
from dvlite.oid import MANIFEST, Digest
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, KIND_RECIPE
from dvlite.store.remote import Remote

VersionId = tuple[str, Digest]  # kind and digest, as in an oid


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


@dataclass(slots=True)
class Proof:
    """What a look at a remote proved: files of versions that are proven, files of others, and all those asked about that are there."""

    proven: set[Digest] = field(default_factory=set)
    unproven: set[Digest] = field(default_factory=set)
    present: set[Digest] = field(default_factory=set)

    def covers(self, digest: Digest, *, strangers: bool) -> bool:
        """Returns whether a file is safe there; with `strangers`, one of no version that was asked about too, if it is there at all."""
        return digest in self.proven or (strangers and digest in self.present and digest not in self.unproven)


def prove(
    catalog: Catalog, cache: Cache, versions: Sequence[VersionId], project: str, *, also: Iterable[Digest] = ()
) -> Proof:
    """Compares versions with the last look of `catalog`, and the files `also`, which may be of no version.

    A version is proven if everything of it is there and this project keeps it (a root); one whose listing is not in the cache is neither
    proven nor unproven. Costs a listing of the roots and one request for each root of another clone, recipe and pack with a recipe's chunks.
    """
    wanted = set(also)
    for version in versions:
        whole = _in_cache(version, cache)
        wanted |= whole.files if whole is not None else set()
    proof = Proof(present=present(catalog, wanted))
    kept = kept_versions(catalog.remote, versions, project)
    for version in versions:  # listed again: of many versions, only one is in memory
        whole = _in_cache(version, cache)
        if whole is not None:
            is_proven = version in kept and whole.files <= proof.present and _has_nodes(catalog, whole)
            (proof.proven if is_proven else proof.unproven).update(whole.files)
    return proof


def present(catalog: Catalog, wanted: Iterable[Digest]) -> set[Digest]:
    """Returns those files that lie whole in packs which stand, by the last look; the packs of large files are looked at again now."""
    found: set[Digest] = set()
    with_recipe: list[Digest] = []
    for digest in wanted:
        if catalog.locations(digest, (KIND_FILE,)):
            found.add(digest)
        elif catalog.locations(digest, (KIND_RECIPE,)):
            with_recipe.append(digest)
    recipes = catalog.recipes(with_recipe)
    sound = catalog.sound_packs(name for recipe in recipes.values() for name in recipe.packs)
    return found | {digest for digest, recipe in recipes.items() if sound.issuperset(recipe.packs)}


def kept_versions(remote: Remote, versions: Iterable[VersionId], project: str) -> set[VersionId]:
    """Returns those versions that this project keeps on the remote: a root of this clone stands there, or one that names the project."""
    wanted = set(versions)
    names: dict[str, tuple[VersionId, list[str]]] = {}
    for entry in remote.store.list(root.FOLDER).entries:
        parsed = root.parse_name(entry.name)
        if parsed is not None and (version := (parsed.kind, parsed.digest)) in wanted:
            names.setdefault(root_key(version), (version, []))[1].append(entry.name)

    def is_kept(key: str) -> bool:
        own = own_root(remote, names[key][0])
        return own in names[key][1] or any(is_of_project(remote, name, project) for name in names[key][1])

    keys = list(names)
    return {names[key][0] for key, kept in zip(keys, remote.run_all(is_kept, keys), strict=True) if kept}


def root_key(version: VersionId) -> str:
    """Returns the name under which a clone remembers the root that it made of a version."""
    return f"{version[0]}-{version[1].hex()}"


def own_root(remote: Remote, version: VersionId) -> str:
    """Returns the name of the last root of a version that this clone made, '' if there is none; whether it still stands, a listing says."""
    return (remote.recall("roots", root_key(version)) or b"").decode("ascii", "replace")


def is_of_project(remote: Remote, name: str, project: str) -> bool:
    """Returns whether a root that was listed is one of this project; one request."""
    body = read_root(remote, name)
    return body is not None and body.project == project


def read_root(remote: Remote, name: str) -> Root | None:
    """Returns the body of a root that was listed; None for one that is malformed or too long, and for one that is gone. One request."""
    try:
        return root.parse(remote.get(name, end=root.MAX_BYTES + 1), name)
    except (FormatError, ObjectAbsent):
        return None


def _in_cache(version: VersionId, cache: Cache) -> Reachable | None:
    """Returns what a version needs, None if its listing cannot be read here."""
    try:
        return reachable(version, cache.read_node)
    except (ObjectMissing, ObjectCorrupt, FormatError):
        return None


def _has_nodes(catalog: Catalog, whole: Reachable) -> bool:
    return all(catalog.locations(digest, (KIND_MANIFEST,)) for digest in whole.nodes)
