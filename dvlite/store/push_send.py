"""Sends what a push plan names: builds packs, keeps as many uploads going as there are connections, publishes indexes on the way.

A bounded number of packs is in memory. An interrupted push continues: packs are indexed every few, chunks are found by kept footers.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence

from dvlite.errors import FormatError, ObjectCorrupt, ObjectMissing
from dvlite.formats import recipe
from dvlite.formats.recipe import Recipe, Term
from dvlite.oid import Digest, FileHasher, digest_bytes, format_oid
from dvlite.progress import Progress
from dvlite.show import quote, size_text
from dvlite.store import chunking, pack
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_CHUNK, KIND_FILE, KIND_MANIFEST, KIND_RECIPE, KIND_SNAPSHOT, PackWriter, Record
from dvlite.store.pack_upload import PackSlot, PackUpload
from dvlite.store.push_plan import PushPlan

_KNOWN_CHUNKS = 2_000_000  # chunk places remembered at a time: about 64 GiB of data, 300 MB of memory
_MANY_TERMS = 4096


class Sender:
    """Uploads what a plan names. `packs` are those that what it sent lies in: written now, or relied on for their chunks."""

    def __init__(self, catalog: Catalog, cache: Cache, progress: Progress) -> None:
        self._catalog, self._cache, self._progress = catalog, cache, progress
        self._remote = catalog.remote
        self._config = catalog.require_writable()
        self._upload = PackUpload(catalog)
        self._unfinished: set[Digest] = set()  # packs of an interrupted push, in no index yet
        self._drafts: list[_RecipeDraft] = []
        self._reused: set[Digest] = set()  # packs whose chunks new recipes name too

    @property
    def packs(self) -> set[Digest]:
        return self._upload.packs | self._reused

    @property
    def sent(self) -> dict[str, int]:
        """Packs and index objects written, with their sizes in bytes."""
        return self._upload.sent

    def send(
        self,
        todo: PushPlan,
        chunk_bases: Callable[[str], Sequence[Digest]],
        snapshot_nodes: Sequence[tuple[Digest, bytes]] = (),
    ) -> None:
        """Uploads the plan, and nodes of a snapshot; returns when all of it arrived and is indexed."""
        if not todo.uploads and not snapshot_nodes:
            return
        for _, size_bytes, path in todo.large:
            if recipe.size_of_new(size_bytes) + recipe.size_of(_MANY_TERMS, _MANY_TERMS) > recipe.MAX_BYTES:
                raise FormatError(
                    f"cannot push {quote(path)}: a file of {size_text(size_bytes)} is larger than its recipe can describe",
                    hint="split it into files of a few TiB; nothing was sent",
                )
        self._progress.start(f"pushing {self._remote.store.label}", total_bytes=todo.size_bytes, total_files=todo.files)
        for digest in todo.small:
            self._copy(digest, KIND_FILE)
        self._unfinished = self._catalog.unfinished_packs() if todo.large else set()
        chunks = _KnownChunks(self._catalog, self._unfinished)
        for digest, size_bytes, path in todo.large:
            self._large(digest, size_bytes, path, chunks, chunk_bases(path))
        self._finish(todo.nodes, snapshot_nodes)
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
            writer = self._upload.writer(pack.FILES if kind == KIND_FILE else pack.META)
            writer.add_stored(place.record, stored)
            self._ship_if_full(writer)
            if kind == KIND_FILE:
                self._progress.advance(size_bytes=place.record.raw_length, files=1)
            return
        if damaged is not None:
            self._cache.discard(digest, (kind,))  # so that adding it again stores it again
            raise damaged
        raise ObjectMissing(
            f"object {format_oid('blake3', digest)} vanished from the cache", hint="run dvlite push again"
        )

    def _add(self, kind: int, digest: Digest, raw: bytes) -> None:
        writer = self._upload.writer(pack.FILES if kind == KIND_FILE else pack.META)
        writer.add(kind, digest, raw)
        self._ship_if_full(writer)
        if kind == KIND_FILE:
            self._progress.advance(size_bytes=len(raw), files=1)

    def _large(self, digest: Digest, size_bytes: int, path: str, chunks: _KnownChunks, bases: Sequence[Digest]) -> None:
        """Chunks one file, uploads the chunks that the remote does not have, drafts its recipe."""
        if self._cache.has_packed(digest, (KIND_FILE,)):
            self._add(KIND_FILE, digest, self._cache.read_file(digest, size_bytes))
            return
        chunks.learn(bases)
        draft = _RecipeDraft(digest, size_bytes)
        whole = FileHasher()
        with self._cache.open_large(digest) as descriptor:
            for chunk in chunking.chunks(descriptor, size_bytes, self._config):
                whole.update(chunk)
                name = digest_bytes(chunk)
                place = None if draft.fragmented else chunks.find(name)
                if place is None:
                    writer = self._upload.writer(pack.CHUNKS)
                    place = (self._upload.slot(pack.CHUNKS), len(writer))
                    writer.add(KIND_CHUNK, name, chunk)
                    self._ship_if_full(writer)
                    chunks.remember(name, *place)
                draft.add(*place, len(chunk))
                self._progress.advance(size_bytes=len(chunk))
        if whole.digest() != digest:
            self._cache.discard(digest)
            raise ObjectCorrupt(
                f"object {format_oid('blake3', digest)} ('{path}') is damaged in the cache: its bytes are not the ones that its name promises",
                hint="dvlite add the file again, or dvlite pull a good copy",
            )
        self._drafts.append(draft)
        self._progress.advance(files=1)

    def _ship_if_full(self, writer: PackWriter) -> None:
        if self._upload.ship_if_full(writer) and self._upload.is_index_due and writer.pack_class != pack.META:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Publishes what arrived so far, while other packs are on their way: recipes whose chunks are there, and an index."""
        self._add_recipes()
        self._upload.ship(pack.META)
        self._upload.put_index()

    def _finish(self, nodes: Sequence[Digest], snapshot_nodes: Sequence[tuple[Digest, bytes]]) -> None:
        """Ships everything, the listings with the last recipes, and waits until all of it arrived and is indexed."""
        self._upload.ship_all(but=pack.META)
        self._add_recipes()
        for digest in nodes:
            self._copy(digest, KIND_MANIFEST)
        for digest, data in snapshot_nodes:
            self._add(KIND_SNAPSHOT, digest, data)
        self._upload.ship_all()
        self._upload.put_index()

    def _add_recipes(self) -> None:
        ready = [draft for draft in self._drafts if draft.ready]
        self._drafts = [draft for draft in self._drafts if not draft.ready]
        for draft in ready:
            finished = draft.recipe()
            taken_up = self._unfinished.intersection(finished.packs)
            self._upload.take_up(taken_up)
            self._unfinished -= taken_up
            self._reused.update(finished.packs)
            data = recipe.dump(finished)
            writer = self._upload.writer(pack.META)
            writer.add_stored(Record(KIND_RECIPE, pack.RAW, 0, len(data), len(data), finished.digest), data)
            self._upload.ship_if_full(writer)


class _RecipeDraft:
    """A recipe in the making: terms name slots, not packs."""

    __slots__ = ("_chunks", "_digest", "_size", "_slots", "_terms", "_unread")

    def __init__(self, digest: Digest, size_bytes: int) -> None:
        self._digest, self._size = digest, size_bytes
        self._terms: list[tuple[PackSlot, array[int]]] = []  # first, count, repeat, length
        self._slots: set[PackSlot] = set()
        self._chunks = 0
        self._unread = size_bytes

    @property
    def ready(self) -> bool:
        return all(slot.arrived for slot, _ in self._terms)

    @property
    def fragmented(self) -> bool:
        """Returns whether reuse has cut the file into so many pieces that reading it back would crawl, or that no more fit into a recipe."""
        if len(self._terms) <= _MANY_TERMS:
            return False
        rest = recipe.size_of_new(self._unread)
        return (
            self._chunks < 2 * len(self._terms)
            or rest + recipe.size_of(len(self._slots) + 1, len(self._terms) + 1) > recipe.MAX_BYTES
        )

    def add(self, slot: PackSlot, number: int, length_bytes: int) -> None:
        self._chunks += 1
        self._unread -= length_bytes
        if self._terms and self._terms[-1][0] is slot:
            term = self._terms[-1][1]
            extends = term[2] == 1 and number == term[0] + term[1]
            if extends or (term[1] == 1 and number == term[0]):
                term[1 if extends else 2] += 1
                term[3] += length_bytes
                return
        self._slots.add(slot)
        self._terms.append((slot, array("Q", (number, 1, 1, length_bytes))))

    def recipe(self) -> Recipe:
        terms = []
        for slot, (first, count, repeat, length) in self._terms:
            assert slot.pack is not None
            terms.append(Term(slot.pack, first, count, repeat, length))
        return Recipe(self._digest, self._size, tuple(terms))


class _KnownChunks:
    """Chunks that the remote has or is about to have: from footers of earlier versions, unfinished pushes, and this push."""

    def __init__(self, catalog: Catalog, unfinished: Collection[Digest]) -> None:
        self._catalog = catalog
        self._places: dict[Digest, tuple[PackSlot, int]] = {}
        self._learned: set[Digest] = set()
        self._read(unfinished)

    def learn(self, bases: Sequence[Digest]) -> None:
        """Reads the footers of the packs that earlier versions of a file use."""
        self._read([name for recipe in self._catalog.recipes(bases).values() for name in recipe.packs])

    def _read(self, names: Iterable[Digest]) -> None:
        fresh = [name for name in dict.fromkeys(names) if name not in self._learned]
        self._learned.update(fresh)
        for name, records in self._catalog.footers(fresh).items():
            slot = PackSlot(name)
            for number, record in enumerate(records):
                self.remember(record.digest, slot, number)

    def find(self, name: Digest) -> tuple[PackSlot, int] | None:
        return self._places.get(name)

    def remember(self, name: Digest, slot: PackSlot, number: int) -> None:
        if len(self._places) >= _KNOWN_CHUNKS:
            for old in list(self._places)[: _KNOWN_CHUNKS // 2]:  # dicts keep order: the oldest half
                del self._places[old]
        self._places.setdefault(name, (slot, number))
