"""Brings versions from the cache to a remote by the protocol 'publish, then look' (DESIGN section 5, docs/explanation/protocol.md).

Order: packs, index, root; then a second look at what was condemned meanwhile; only then success. No locks, no leases, no clocks in the
safety argument. First a plan (pure data), then its execution with a bounded number of packs in memory.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from dvlite.errors import ObjectCorrupt, ObjectMissing, RemoteError
from dvlite.formats import manifest, recipe, root
from dvlite.formats.manifest import EMPTY_DIR, Branch, Entries
from dvlite.formats.recipe import Recipe, Term
from dvlite.oid import DIGEST_BYTES, MANIFEST, Digest, FileHasher, digest_bytes, format_oid
from dvlite.progress import Progress
from dvlite.store import chunking, download, index, pack
from dvlite.store.cache import Cache, open_large
from dvlite.store.catalog import Catalog, Remote
from dvlite.store.index import Location
from dvlite.store.pack import KIND_CHUNK, KIND_FILE, KIND_MANIFEST, KIND_RECIPE, PackWriter, Record

_ROOT_YOUNG_SECONDS = 7 * 24 * 3600
_CHECKPOINT_PACKS = 8  # an index object at least this often, so that an interrupted push continues
_ROUNDS = 5  # times that a gc may get in the way before the push gives up
_KNOWN_CHUNKS = 2_000_000  # chunk places remembered at a time: about 64 GiB of data, 300 MB of memory
_MANY_TERMS = 4096


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a tracked path that a remote is to hold."""

    path: str
    kind: str  # of its oid: blake3 or manifest
    digest: Digest
    size_bytes: int
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Signer:
    """What roots say of who made them; `time` is RFC 3339."""

    project: str
    user: str
    time: str


@dataclass(slots=True)
class Plan:
    """What one push has to do. Digests appear once."""

    present: list[Version] = field(default_factory=list)  # complete already
    incomplete: list[Version] = field(default_factory=list)
    small: list[Digest] = field(default_factory=list)  # in path order
    large: list[tuple[Digest, int, str]] = field(default_factory=list)  # digest, size, path
    nodes: list[Digest] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)  # tracked path -> files that are nowhere
    rescue: list[Location] = field(default_factory=list)  # only in a condemned pack that still stands
    relies: dict[tuple[str, Digest], set[Digest]] = field(default_factory=dict)  # version -> packs found on the remote
    files: int = 0
    size_bytes: int = 0  # of the files to upload

    @property
    def uploads(self) -> bool:
        return bool(self.small or self.large or self.nodes)


Bases = Mapping[str, Sequence[tuple[str, Digest]]]  # tracked path -> (kind, digest) of earlier versions, newest first


def plan(catalog: Catalog, cache: Cache, versions: Sequence[Version], bases: Bases) -> Plan:
    """Compares versions with a fresh look at the remote. Reads listings from the cache only where they are new."""
    made = Plan()
    planner = _Planner(catalog, cache, made)
    for version in versions:
        planner.version(version, bases.get(version.path, ()))
    planner.settle_large()
    return made


class _Planner:
    def __init__(self, catalog: Catalog, cache: Cache, made: Plan) -> None:
        self._catalog, self._cache, self._made = catalog, cache, made
        self._seen: dict[Digest, Digest | None] = {}  # object -> the pack that has it, or None if it is to be uploaded
        self._large: dict[
            Digest, tuple[int, str, list[set[Digest]], str]
        ] = {}  # size, path, who relies on it, tracked path

    def version(self, version: Version, bases: Sequence[tuple[str, Digest]]) -> None:
        catalog, made = self._catalog, self._made
        complete = catalog.complete(version.kind, version.digest)
        key = (version.kind, version.digest)
        if complete is not None:
            made.present.append(version)
            made.relies[key] = set(complete)
            return
        relies = made.relies.setdefault(key, set())
        if version.kind == MANIFEST:
            skip, from_base = self._base(bases)
            relies |= from_base
            self._tree(version, skip, relies)
        else:
            self._file(version.digest, version.size_bytes, version.path, version.path, relies)
        made.incomplete.append(version)

    def _base(self, bases: Sequence[tuple[str, Digest]]) -> tuple[set[Digest], set[Digest]]:
        """Returns the nodes of an earlier version that is complete on the remote, and its packs."""
        for kind, digest in bases:
            packs = self._catalog.complete(kind, digest) if kind == MANIFEST else None
            if packs is not None:
                try:
                    return manifest.node_names(digest, self._cache.read_node), set(packs)
                except (ObjectMissing, ObjectCorrupt):
                    continue
        return set(), set()

    def _tree(self, version: Version, skip: set[Digest], relies: set[Digest]) -> None:
        queue = [version.digest]
        while queue:
            digest = queue.pop()
            if digest in skip:
                continue
            try:
                node = manifest.decode(self._cache.read_node(digest), digest)
            except ObjectMissing:
                self._made.missing.setdefault(version.path, []).append(version.path)
                return
            self._object(digest, KIND_MANIFEST, relies)
            if isinstance(node, Branch):
                queue.extend(reversed(node.digests))
            else:
                self._leaf(node, version, relies)

    def _leaf(self, node: Entries, version: Version, relies: set[Digest]) -> None:
        seen = self._seen
        digests, sizes = node.digests, node.sizes
        for i, flags in enumerate(node.flags):
            if flags == EMPTY_DIR:
                continue
            digest = Digest(digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES])
            name = seen.get(digest)
            if name is not None:
                relies.add(name)
            elif digest not in seen or digest in self._large:
                self._file(digest, sizes[i], f"{version.path}/{os.fsdecode(node.paths[i])}", version.path, relies)

    def _file(self, digest: Digest, size_bytes: int, path: str, tracked: str, relies: set[Digest]) -> None:
        if digest in self._large:
            self._large[digest][2].append(relies)
            return
        places = self._catalog.locations(digest, (KIND_FILE,))
        if places:
            self._rely(digest, places[0].pack, relies)
        elif size_bytes > self._cache.pack_below_bytes or self._catalog.locations(digest, (KIND_RECIPE,)):
            self._seen[digest] = None
            self._large[digest] = (size_bytes, path, [relies], tracked)
        else:
            self._seen[digest] = None
            if self._cache.has_file(digest, size_bytes):
                self._made.small.append(digest)
                self._made.files += 1
                self._made.size_bytes += size_bytes
            else:
                self._nowhere(digest, path, tracked)

    def _object(self, digest: Digest, kind: int, relies: set[Digest]) -> None:
        places = self._catalog.locations(digest, (kind,))
        if places:
            self._rely(digest, places[0].pack, relies)
        elif digest not in self._seen:
            self._seen[digest] = None
            self._made.nodes.append(digest)

    def _rely(self, digest: Digest, name: Digest, relies: set[Digest]) -> None:
        self._seen[digest] = name
        relies.add(name)

    def _nowhere(self, digest: Digest, path: str, tracked: str) -> None:
        """Notes a file that is not in the cache: taken from a condemned pack while one stands, else missing."""
        standing = self._catalog.locations(digest, (KIND_FILE, KIND_RECIPE), condemned_too=True)
        if standing:
            self._made.rescue.extend(standing[:1])
        else:
            self._made.missing.setdefault(tracked, []).append(path)

    def settle_large(self) -> None:
        """Looks up the recipes of all large files at once."""
        made = self._made
        recipes = self._catalog.recipes(self._large)
        for digest, (size_bytes, path, relies, tracked) in self._large.items():
            found = recipes.get(digest)
            if found is not None:
                packs = {*found.packs, self._catalog.recipe_pack(digest)}
                for waiting in relies:
                    waiting.update(packs)
            elif self._cache.has_file(digest, size_bytes):
                made.large.append((digest, size_bytes, path))
                made.files += 1
                made.size_bytes += size_bytes
            else:
                self._nowhere(digest, path, tracked)


# --- execution ---


@dataclass(frozen=True, slots=True)
class Done:
    """What a push did."""

    files: int
    size_bytes: int
    plan: Plan


def run(
    catalog: Catalog,
    cache: Cache,
    versions: Sequence[Version],
    bases: Bases,
    chunk_bases: Callable[[str], Sequence[Digest]],
    signer: Signer,
    progress: Progress,
    first: Plan | None = None,
) -> Done:
    """Pushes versions; returns only when all of them are complete on the remote and the second look found nothing in the way.

    `chunk_bases` gives, for the path of a large file, the digests of earlier versions of it. Raises ObjectMissing naming paths if
    something is neither in the cache nor on the remote; nothing was published then.
    """
    files = size_bytes = 0
    for _ in range(_ROUNDS):
        made = first or plan(catalog, cache, versions, bases)
        first = None
        if made.rescue:
            download.rescue(catalog, cache, made.rescue, progress)
            made = plan(catalog, cache, versions, bases)
        refuse_missing(made, catalog)
        files += made.files
        size_bytes += made.size_bytes
        catalog.require_writable()
        sender = _Sender(catalog, cache, progress)
        sender.send(made, chunk_bases)
        merge_indexes(catalog, sender.written_indexes)
        relied = {name for names in made.relies.values() for name in names} | sender.packs
        _publish(catalog, [*made.present, *made.incomplete], signer)
        if not (catalog.look_at_condemned() & relied):
            for version in made.incomplete:
                catalog.keep_complete(
                    version.kind, version.digest, made.relies[version.kind, version.digest] | sender.packs
                )
            return Done(files, size_bytes, made)
        catalog.look()
    raise RemoteError(
        f"cannot push to {catalog.remote.store.label}: gc there kept deleting what this push relied on",
        hint="run dvlite push again; nothing was lost",
    )


def refuse_missing(made: Plan, catalog: Catalog) -> None:
    """Raises ObjectMissing, naming paths, for data that is neither in the cache nor on the remote."""
    if not made.missing:
        return
    tracked = sorted(made.missing)
    count = sum(len(paths) for paths in made.missing.values())
    example = made.missing[tracked[0]][0]
    more = f" and {count - 1} more" if count > 1 else ""
    raise ObjectMissing(
        f"cannot push {', '.join(map(repr, tracked[:3]))}: '{example}'{more} is neither in the cache nor on {catalog.remote.store.label}",
        hint="dvlite add the path again where its data is, or fetch it from a remote that has it: dvlite fetch -r NAME",
    )


def _publish(catalog: Catalog, versions: Sequence[Version], signer: Signer) -> None:
    """Puts a root for each version, unless this project put one lately; the commit point."""
    remote = catalog.remote
    unique = list({(version.kind, version.digest): version for version in versions}.values())
    keys = {f"{version.kind}-{version.digest.hex()}": version for version in unique}

    def one(key: str) -> None:
        version = keys[key]
        mine = (remote.kept("roots", key) or b"").decode()
        for entry, age in catalog.roots(version.kind, version.digest):
            if age < _ROOT_YOUNG_SECONDS and (entry.name == mine or _is_ours(remote, entry.name, signer.project)):
                return
        body = root.Root(version.path, version.size_bytes, signer.project, version.commit, signer.user, signer.time)
        name = root.name(version.kind, version.digest, os.urandom(16))
        remote.put(name, root.dump(body))
        remote.keep("roots", key, name.encode())

    remote.each(one, list(keys))


def _is_ours(remote: Remote, name: str, project: str) -> bool:
    return root.parse(remote.get(name), name).project == project


class _Sender:
    """Uploads what a plan names. `packs` are those it wrote and was acknowledged for."""

    def __init__(self, catalog: Catalog, cache: Cache, progress: Progress) -> None:
        self._catalog, self._cache, self._progress = catalog, cache, progress
        self._remote = catalog.remote
        self._config = catalog.require_writable()
        self._open: dict[int, PackWriter] = {}
        self._slots: dict[int, _Slot] = {}
        self._flying: list[Future[None]] = []
        self._rows: list[Location] = []
        self._drafts: list[_Draft] = []
        self._since_index = 0
        self.packs: set[Digest] = set()
        self.written_indexes: list[tuple[str, int]] = []

    def send(self, made: Plan, chunk_bases: Callable[[str], Sequence[Digest]]) -> None:
        if not made.uploads:
            return
        self._progress.start(f"pushing {self._remote.store.label}", total_bytes=made.size_bytes, total_files=made.files)
        for digest in made.small:
            self._copy(digest, KIND_FILE)
        known = _KnownChunks(self._catalog)
        for digest, size_bytes, path in made.large:
            self._large(digest, size_bytes, path, known, chunk_bases(path))
        self._checkpoint(made.nodes)
        self._remote.forget("unfinished", {name.hex() for name in self.packs})
        self._progress.finish()

    def _copy(self, digest: Digest, kind: int) -> None:
        """Copies a record from the cache as it is stored there, after checking what it holds."""
        damaged: ObjectCorrupt | None = None
        places = self._cache.locations(digest, (kind,))
        if not places and kind == KIND_FILE:  # a small file that is whole in the cache: the limit was changed since
            self._add(KIND_FILE, digest, self._cache.read_file(digest, 0))
            return
        for place in places:
            stored = self._cache.stored(place)
            try:
                pack.unpack(place.record, stored)
            except ObjectCorrupt as error:
                damaged = error
                continue
            writer = self._writer(pack.FILES if kind == KIND_FILE else pack.META)
            writer.add_stored(place.record, stored)
            self._full(writer)
            if kind == KIND_FILE:
                self._progress.advance(size_bytes=place.record.raw_length, files=1)
            return
        raise damaged or ObjectMissing(
            f"object {format_oid('blake3', digest)} vanished from the cache", hint="run dvlite push again"
        )

    def _add(self, kind: int, digest: Digest, raw: bytes) -> None:
        writer = self._writer(pack.FILES if kind == KIND_FILE else pack.META)
        writer.add(kind, digest, raw)
        self._full(writer)
        if kind == KIND_FILE:
            self._progress.advance(size_bytes=len(raw), files=1)

    def _large(self, digest: Digest, size_bytes: int, path: str, known: _KnownChunks, bases: Sequence[Digest]) -> None:
        """Chunks one file, uploads the chunks that the remote does not have, drafts its recipe."""
        if self._cache.has_packed(digest, (KIND_FILE,)):
            self._add(KIND_FILE, digest, self._cache.read_file(digest, size_bytes))
            return
        known.learn(bases)
        draft = _Draft(digest, size_bytes)
        whole = FileHasher()
        with open_large(self._cache.large_path(digest), digest) as descriptor:
            for chunk in chunking.chunks(descriptor, size_bytes, self._config):
                whole.update(chunk)
                name = digest_bytes(chunk)
                place = None if draft.fragmented else known.find(name)
                if place is None:
                    slot, number = self._chunk(name, chunk)
                    known.remember(name, slot, number)
                    place = (slot, number)
                draft.add(*place, len(chunk))
                self._progress.advance(size_bytes=len(chunk))
        if whole.digest() != digest:
            raise ObjectCorrupt(
                f"object {format_oid('blake3', digest)} ('{path}') is damaged in the cache: its bytes are not the ones that its name promises",
                hint="dvlite add the file again, or dvlite pull a good copy",
            )
        self._drafts.append(draft)
        self._progress.advance(files=1)

    def _chunk(self, name: Digest, chunk: bytes) -> tuple[_Slot, int]:
        writer = self._writer(pack.CHUNKS)
        slot = self._slots.setdefault(pack.CHUNKS, _Slot())
        number = len(writer)
        writer.add(KIND_CHUNK, name, chunk)
        self._full(writer)
        return slot, number

    def _writer(self, pack_class: int) -> PackWriter:
        writer = self._open.get(pack_class)
        if writer is None:
            writer = self._open[pack_class] = PackWriter(pack_class, os.urandom(pack.NONCE_BYTES))
        return writer

    def _full(self, writer: PackWriter) -> None:
        if writer.size_bytes >= pack.TARGET_BYTES:
            self._ship(writer.pack_class)
            if self._since_index >= _CHECKPOINT_PACKS and writer.pack_class != pack.META:
                self._checkpoint()

    def _ship(self, pack_class: int) -> None:
        """Hands a pack to the upload threads; waits if as many as there are connections are on their way."""
        writer = self._open.pop(pack_class, None)
        slot = self._slots.pop(pack_class, None)
        if writer is None:
            return
        finished = writer.finish()
        if slot is not None:
            slot.pack = finished.name
        while len(self._flying) >= self._remote.jobs:
            self._flying.pop(0).result()
        name = f"packs/{finished.name.hex()}"
        self._flying.append(self._remote.submit(lambda: self._remote.put(name, finished.data)))
        self._rows.extend(index.rows_of(finished))
        self._since_index += 1
        self._shipped(finished)

    def _shipped(self, finished: pack.Pack) -> None:
        self.packs.add(finished.name)
        self._catalog.packs[finished.name] = len(finished.data)
        if finished.pack_class == pack.CHUNKS:
            self._catalog.keep_footer(finished.name, finished.records)
            self._remote.keep("unfinished", finished.name.hex(), b"")
        elif finished.pack_class == pack.META and len(finished.data) < 1 << 20:
            self._remote.keep("meta", finished.name.hex(), bytes(finished.data))

    def _checkpoint(self, nodes: Sequence[Digest] | None = None) -> None:
        """Waits for the packs on their way, then publishes recipes that are ready and an index of all that arrived.

        With `nodes` it is the last one: everything is shipped, the listings with the recipes.
        """
        if nodes is not None:
            for pack_class in [pack_class for pack_class in self._open if pack_class != pack.META]:
                self._ship(pack_class)
        self._land()
        ready = [draft for draft in self._drafts if draft.ready]
        self._drafts = [draft for draft in self._drafts if not draft.ready]
        for draft in ready:
            made = draft.recipe()
            data = recipe.dump(made)
            record = Record(KIND_RECIPE, pack.RAW, 0, len(data), len(data), made.digest)
            writer = self._writer(pack.META)
            writer.add_stored(record, data)
            if writer.size_bytes >= pack.TARGET_BYTES:
                self._ship(pack.META)
        for digest in nodes or ():
            self._copy(digest, KIND_MANIFEST)
        self._ship(pack.META)
        self._land()
        if self._rows:
            data = index.encode(self._rows, os.urandom(16))
            name = digest_bytes(data).hex()
            self._remote.put(f"index/{name}", data)
            self._remote.keep("index", name, data)
            self.written_indexes.append((f"index/{name}", len(data)))
            self._rows = []
        self._since_index = 0

    def _land(self) -> None:
        while self._flying:
            self._flying.pop(0).result()


class _Slot:
    """A pack that has no name before it is finished."""

    __slots__ = ("pack",)

    def __init__(self, name: Digest | None = None) -> None:
        self.pack = name


class _Draft:
    """A recipe in the making: terms name slots, not packs."""

    __slots__ = ("_chunks", "_digest", "_size", "_terms")

    def __init__(self, digest: Digest, size_bytes: int) -> None:
        self._digest, self._size = digest, size_bytes
        self._terms: list[tuple[_Slot, array[int]]] = []  # first, count, repeat, length
        self._chunks = 0

    @property
    def ready(self) -> bool:
        return all(slot.pack is not None for slot, _ in self._terms)

    @property
    def fragmented(self) -> bool:
        """Says whether reuse has cut the file into so many pieces that reading it back would crawl."""
        return len(self._terms) > _MANY_TERMS and self._chunks < 2 * len(self._terms)

    def add(self, slot: _Slot, number: int, length_bytes: int) -> None:
        self._chunks += 1
        if self._terms and self._terms[-1][0] is slot:
            term = self._terms[-1][1]
            extends = term[2] == 1 and number == term[0] + term[1]
            if extends or (term[1] == 1 and number == term[0]):
                term[1 if extends else 2] += 1
                term[3] += length_bytes
                return
        self._terms.append((slot, array("Q", (number, 1, 1, length_bytes))))

    def recipe(self) -> Recipe:
        terms = []
        for slot, (first, count, repeat, length) in self._terms:
            assert slot.pack is not None
            terms.append(Term(slot.pack, first, count, repeat, length))
        return Recipe(self._digest, self._size, tuple(terms))


class _KnownChunks:
    """Chunks that the remote has or is about to have: from footers of earlier versions, unfinished pushes, and this push."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._places: dict[Digest, tuple[_Slot, int]] = {}
        self._learned: set[Digest] = set()

    def learn(self, bases: Sequence[Digest]) -> None:
        """Reads the footers of the packs that earlier versions of a file use."""
        recipes = self._catalog.recipes(bases)
        names = [name for found in recipes.values() for name in found.packs]
        names += self._catalog.unfinished_packs()
        fresh = [name for name in dict.fromkeys(names) if name not in self._learned]
        self._learned.update(fresh)
        for name, records in self._catalog.footers(fresh).items():
            slot = _Slot(name)
            for number, record in enumerate(records):
                self.remember(record.digest, slot, number)

    def find(self, name: Digest) -> tuple[_Slot, int] | None:
        return self._places.get(name)

    def remember(self, name: Digest, slot: _Slot, number: int) -> None:
        if len(self._places) >= _KNOWN_CHUNKS:
            for old in list(self._places)[: _KNOWN_CHUNKS // 2]:  # dicts keep order: the oldest half
                del self._places[old]
        self._places.setdefault(name, (slot, number))


def merge_indexes(catalog: Catalog, written: Sequence[tuple[str, int]]) -> None:
    """Merges many small index objects into one; deletes exactly those whose rows the acknowledged new one holds."""
    sizes = catalog.index_sizes() | dict(written)
    small = [name for name, size in sizes.items() if size < index.MERGE_BELOW_BYTES]
    if len(small) <= index.MERGE_ABOVE:
        return
    remote = catalog.remote
    segments = {name: segment for name in small if (segment := catalog.read_index(name)) is not None}
    rows = [place for segment in segments.values() for place in segment]
    data = index.encode(rows, os.urandom(16))
    remote.put(f"index/{digest_bytes(data).hex()}", data)
    remote.keep("index", digest_bytes(data).hex(), data)
    remote.store.delete(sorted(segments))
