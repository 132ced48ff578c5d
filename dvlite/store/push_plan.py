"""Plans a push: compares versions with a fresh look at a remote and says what is missing there. Pure data; nothing is sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dvlite.errors import FormatError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, Branch, Entries
from dvlite.formats.snapshot import Version, VersionId
from dvlite.oid import MANIFEST, Digest, each_digest
from dvlite.show import is_or_are, quote, some
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.index import absent
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, KIND_RECIPE


@dataclass(slots=True)
class _Whole:
    """A version, or ('' as its path) what no version names: the packs on the remote with parts of it, and whether others are to be sent."""

    path: str
    relies: set[Digest]
    sends: bool = False

    def has_part(self, pack: Digest | None) -> None:
        """Notes the pack that has a part of it; None: the part is to be sent."""
        if pack is None:
            self.sends = True
        else:
            self.relies.add(pack)


@dataclass(slots=True)
class PushPlan:
    """What one push has to do. Digests appear once."""

    incomplete: list[Version] = field(default_factory=list)  # not known to be complete there
    sending: set[VersionId] = field(default_factory=set)  # those of which the remote lacks something
    small: bytearray = field(default_factory=bytearray)  # their digests, in path order
    large: list[tuple[Digest, int, str]] = field(default_factory=list)  # digest, size, path
    nodes: list[Digest] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)  # tracked path -> files that are nowhere
    purged: dict[str, Digest] = field(default_factory=dict)  # files that are neither sent nor missed
    rescue: list[tuple[Digest, int]] = field(default_factory=list)  # contents only in condemned packs, with their size
    rescue_nodes: list[Digest] = field(default_factory=list)  # manifest nodes only in condemned packs
    relies: dict[VersionId, set[Digest]] = field(default_factory=dict)  # version -> packs found on the remote
    relies_also: set[Digest] = field(default_factory=set)  # packs found on the remote with files that no version names
    files: int = 0
    size_bytes: int = 0  # of the files to upload
    missing_bytes: int = 0  # of files that are nowhere, where a tree names them

    @property
    def uploads(self) -> bool:
        return bool(self.small or self.large or self.nodes)


Bases = Callable[[Sequence[str]], Mapping[str, Sequence[VersionId]]]  # tracked paths -> earlier versions, newest first


def no_bases(_paths: Sequence[str]) -> Mapping[str, Sequence[VersionId]]:
    """Knows no earlier versions."""
    return {}


def plan(
    catalog: Catalog,
    cache: Cache,
    versions: Sequence[Version],
    bases: Bases,
    *,
    also: Sequence[tuple[Digest, int]] = (),
    may_rescue: bool = True,
) -> PushPlan:
    """Compares versions with a fresh look at the remote. Reads listings only where they are new, from the cache if it has them.

    `bases` is asked once, for the paths whose versions are not known to be complete.

    `also` are files without a version (digest, size), the logs of runs: sent if they are here and not there, never missed. What only
    condemned packs have is to be rescued, or, unless `may_rescue`, missing. Raises ObjectAbsent if gc deleted something that was just
    listed.
    """
    result = PushPlan()
    catalog.apply_damage_notes()
    planner = _Planner(catalog, cache, result, may_rescue=may_rescue)
    new = [version for version in versions if not planner.is_complete(version)]
    earlier = bases([version.path for version in new]) if new else {}
    for version in new:
        planner.version(version, earlier.get(version.path, ()))
    for digest, size_bytes in also:
        planner.unnamed(digest, size_bytes)
    planner.settle()
    return result


class _Planner:
    def __init__(self, catalog: Catalog, cache: Cache, result: PushPlan, *, may_rescue: bool) -> None:
        self._catalog, self._cache, self._plan = catalog, cache, result
        self._may_rescue = may_rescue
        self._purged = cache.purged
        self._seen: dict[Digest, Digest | None] = {}  # object -> the pack that has it, or None if it is to be uploaded
        self._large: dict[Digest, tuple[int, str, list[_Whole]]] = {}  # size, path, what it is a part of
        self._wholes: list[tuple[VersionId, _Whole]] = []

    def is_complete(self, version: Version) -> bool:
        """Notes what a version relies on if this clone knows it to be complete; returns whether it does."""
        if version.kind != MANIFEST:
            _refuse_wrong_size(self._cache, version)
        complete = self._catalog.complete(version.kind, version.digest)
        if complete is not None:
            self._plan.relies[version.id] = set(complete)
        return complete is not None

    def version(self, version: Version, bases: Sequence[VersionId]) -> None:
        """Plans a version that is not known to be complete."""
        result = self._plan
        whole = _Whole(version.path, result.relies.setdefault(version.id, set()))
        self._wholes.append((version.id, whole))
        if version.kind == MANIFEST:
            skip, from_base = self._base(bases)
            whole.relies |= from_base
            self._tree(version, skip, whole)
        else:
            self._file(version.digest, version.size_bytes, version.path, whole)
        result.incomplete.append(version)

    def unnamed(self, digest: Digest, size_bytes: int) -> None:
        """Plans a file that no version names; what is not in the cache is left out."""
        if digest in self._seen or digest in self._large or self._cache.has_file(digest, size_bytes):
            self._file(digest, size_bytes, "", _Whole("", self._plan.relies_also))

    def _base(self, bases: Sequence[VersionId]) -> tuple[set[Digest], set[Digest]]:
        """Returns the nodes of an earlier version that is complete on the remote, and its packs."""
        for kind, digest in bases:
            packs = self._catalog.complete(kind, digest) if kind == MANIFEST else None
            if packs is not None:
                try:
                    return manifest.node_names(digest, self._cache.read_node), set(packs)
                except (ObjectMissing, ObjectCorrupt):
                    continue
        return set(), set()

    def _tree(self, version: Version, skip: set[Digest], whole: _Whole) -> None:
        queue, walked = [version.digest], set(skip)
        while queue:
            digest = queue.pop()
            if digest in walked:
                continue
            walked.add(digest)
            data = self._node(digest)
            if data is None:
                self._plan.missing.setdefault(version.path, []).append(version.path)
                return
            node = manifest.decode(data, digest)
            if digest not in self._seen:
                places = self._catalog.locations(digest, (KIND_MANIFEST,))
                self._seen[digest] = places[0].pack if places else None
                if not places:
                    self._plan.nodes.append(digest)
            whole.has_part(self._seen[digest])
            if isinstance(node, Branch):
                queue.extend(reversed(node.digests))
            else:
                self._leaf(node, whole)

    def _node(self, digest: Digest) -> bytes | None:
        """Returns a node from the cache, else from the remote; None if neither has it."""
        try:
            return self._cache.read_node(digest)
        except ObjectMissing:
            places = self._catalog.locations(digest, (KIND_MANIFEST,), condemned_too=self._may_rescue)
        if not places:
            return None
        place = next((place for place in places if self._catalog.usable(place.pack)), places[0])
        if not self._catalog.usable(place.pack):
            self._plan.rescue_nodes.append(digest)
        data = self._catalog.read_meta([place]).get(place)
        if data is None:
            raise self._catalog.missing(digest, MANIFEST)
        return data

    def _leaf(self, node: Entries, whole: _Whole) -> None:
        """Plans the files of a leaf: small ones that no index of the remote names together, the others one by one."""
        seen, flags, sizes = self._seen, node.flags, node.sizes
        unseen: dict[Digest, int] = {}
        for i, digest in enumerate(each_digest(node.digests)):
            if digest in seen:
                whole.has_part(seen[digest])
            elif flags[i] != EMPTY_DIR:
                unseen.setdefault(digest, i)
        new = [] if self._purged else self._new_and_small(unseen, sizes)
        for i, digest in new:
            seen[digest] = None
            del unseen[digest]
            self._plan.small += digest
            self._plan.size_bytes += sizes[i]
        self._plan.files += len(new)
        whole.sends = whole.sends or bool(new)
        for digest, i in unseen.items():
            self._file(digest, sizes[i], f"{whole.path}/{os.fsdecode(node.paths[i])}", whole)

    def _new_and_small(self, files: Mapping[Digest, int], sizes: Sequence[int]) -> list[tuple[int, Digest]]:
        """Returns those of numbered files that are small, in a pack of the cache, and named by no index of the remote."""
        limit = self._cache.pack_below_bytes
        small = [(i, digest) for digest, i in files.items() if sizes[i] <= limit]
        new = absent(self._catalog.indexes().values(), small)
        lacking = dict(absent(self._cache.segments().values(), new, (KIND_FILE,)))
        return [one for one in new if one[0] not in lacking] if lacking else new

    def _file(self, digest: Digest, size_bytes: int, path: str, whole: _Whole) -> None:
        if digest in self._purged:
            if path:
                self._plan.purged.setdefault(path, digest)
            return
        if digest in self._large:
            self._large[digest][2].append(whole)
            return
        if digest in self._seen:
            whole.has_part(self._seen[digest])
            return
        places = self._catalog.locations(digest, (KIND_FILE,))
        if not places and (
            size_bytes > self._cache.pack_below_bytes or self._catalog.locations(digest, (KIND_RECIPE,))
        ):
            self._large[digest] = (size_bytes, path, [whole])
            return
        self._seen[digest] = places[0].pack if places else None
        whole.has_part(self._seen[digest])
        if places:
            return
        if self._cache.has_file(digest, size_bytes):
            self._plan.small += digest
            self._plan.files += 1
            self._plan.size_bytes += size_bytes
        else:
            kinds = (KIND_FILE, KIND_RECIPE)
            stands = self._may_rescue and self._catalog.locations(digest, kinds, condemned_too=True)
            self._nowhere(digest, size_bytes, path, whole.path, stands=bool(stands))

    def _nowhere(self, digest: Digest, size_bytes: int, path: str, tracked: str, *, stands: bool) -> None:
        """Notes a file that is not in the cache: taken from condemned packs while it `stands` there, else missing."""
        if stands:
            self._plan.rescue.append((digest, size_bytes))
        else:
            self._plan.missing.setdefault(tracked, []).append(path)
            self._plan.missing_bytes += size_bytes

    def settle(self) -> None:
        """Looks up the recipes of all large files at once; to a push, a damaged one is not there. Then what is sent is known."""
        result = self._plan
        there = self._catalog.recipes.find(self._large)
        gone = {
            digest
            for digest, (size_bytes, *_) in self._large.items()
            if digest not in there and not self._cache.has_file(digest, size_bytes)
        }
        stand = self._condemned(gone) if gone and self._may_rescue else set()
        for digest, (size_bytes, path, wholes) in self._large.items():
            file = there.get(digest)
            for whole in wholes:
                if file is None:
                    whole.sends = True
                else:
                    whole.relies |= file.relies
            if digest in gone:
                self._nowhere(digest, size_bytes, path, wholes[0].path, stands=digest in stand)
            elif file is None:
                result.large.append((digest, size_bytes, path))
                result.files += 1
                result.size_bytes += size_bytes
        result.sending = {version for version, whole in self._wholes if whole.sends}

    def _condemned(self, digests: Iterable[Digest]) -> set[Digest]:
        """Returns those large files that can be read while condemned packs stand: a recipe alone is not the file."""
        with self._catalog.counting_condemned():
            small = {digest for digest in digests if self._catalog.locations(digest, (KIND_FILE,))}
            return small.union(self._catalog.recipes.find(digests))


def _refuse_wrong_size(cache: Cache, version: Version) -> None:
    """Raises FormatError for a pointer to a file whose size is not that of the file: it could not be pulled."""
    places = cache.locations(version.digest, (KIND_FILE,))
    if places:
        size = places[0].record.raw_length
    elif cache.has_large(version.digest):
        size = cache.large_path(version.digest).stat().st_size
    else:
        return
    if size != version.size_bytes:
        raise FormatError(
            f"the pointer of {quote(version.path)} says {version.size_bytes} bytes, its content has {size}",
            hint="restore the pointer from git, or add the file again: dvlite add PATH",
        )


def refuse_missing(todo: PushPlan, catalog: Catalog) -> None:
    """Raises ObjectMissing, naming paths, for data that is neither in the cache nor on the remote."""
    if not todo.missing:
        return
    tracked = sorted(todo.missing)
    names = [name for path in tracked for name in todo.missing[path]]
    raise ObjectMissing(
        f"cannot push {', '.join(map(repr, tracked[:3]))}: {some([repr(name) for name in names], 1)} {is_or_are(names)} neither in the cache nor on {catalog.remote.store.label}",
        hint="where its data is: dvlite add PATH; to fetch it from a remote that has it: dvlite fetch -r NAME",
    )
