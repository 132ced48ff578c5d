"""Sends what a push plan names: builds packs, keeps as many uploads going as there are connections, publishes indexes on the way.

A bounded number of packs and of terms is in memory. An interrupted push continues: packs are indexed every few, chunks are found by kept footers.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.formats import recipe
from dvlite.formats.recipe import Part, Recipe, Term
from dvlite.oid import Digest, FileHasher, digest_bytes, each_digest, format_oid
from dvlite.progress import Progress
from dvlite.store import chunking, pack, stretches
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.pack import (
    KIND_CHUNK,
    KIND_FILE,
    KIND_MANIFEST,
    KIND_PART,
    KIND_RECIPE,
    KIND_SNAPSHOT,
    PackWriter,
)
from dvlite.store.pack_upload import PackSlot, PackUpload
from dvlite.store.push_plan import PushPlan
from dvlite.store.stretches import Piece

_KNOWN_CHUNKS = 2_000_000  # chunk places remembered at a time: about 64 GiB of data, 300 MB of memory
_AHEAD_BYTES = 8 * 1024 * 1024 * 1024  # of an earlier version, whose chunks are known before they are asked for
_FOOTERS = 64  # in memory at a time, while chunks are learned from them
_LITERAL_BYTES = 64 * 1024  # of what is new between stretches: a chunk of its own
_MANY_TERMS = 4096  # beyond it a file must have two chunks a term


class Sender:
    """Uploads what a plan names. `packs` are those that what it sent lies in: written now, or relied on for their chunks."""

    def __init__(self, catalog: Catalog, cache: Cache, progress: Progress) -> None:
        self._catalog, self._cache, self._progress = catalog, cache, progress
        self._remote = catalog.remote
        self._config = catalog.require_writable()
        self._upload = PackUpload(catalog)
        self._unfinished: set[Digest] = set()  # packs of an interrupted push, in no index yet
        self._drafts: list[_RecipeDraft] = []
        self._parts: set[Digest] = set()  # that this push has written
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
        known_packs: Collection[Digest] = (),
    ) -> None:
        """Uploads the plan, and nodes of a snapshot; returns when all of it arrived and is indexed.

        Chunks in `known_packs`, which are good, are not sent again.
        """
        if not todo.uploads and not snapshot_nodes:
            return
        self._progress.start(f"pushing {self._remote.shown}", total_bytes=todo.size_bytes, total_files=todo.files)
        for digest in each_digest(todo.small):
            self._copy(digest, KIND_FILE)
        self._unfinished = self._catalog.unfinished_packs() if todo.large else set()
        chunks = KnownChunks(self._catalog, {*self._unfinished, *known_packs})
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
                pack.unpack_view(place.record, stored)
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

    def _large(self, digest: Digest, size_bytes: int, path: str, chunks: KnownChunks, bases: Sequence[Digest]) -> None:
        """Chunks one file, uploads the chunks that the remote does not have, drafts its recipe."""
        if self._cache.has_packed(digest, (KIND_FILE,)):
            self._add(KIND_FILE, digest, self._cache.read_file(digest, size_bytes))
            return
        chunks.follow(bases)
        draft = _RecipeDraft(digest)
        whole = FileHasher()
        with (
            self._cache.open_large(digest) as descriptor,
            stretches.opened(self._catalog, self._cache, bases) as earlier,
        ):
            for chunk in chunking.chunks(descriptor, size_bytes, self._config):
                whole.update(chunk)
                chunks.reach(draft.size_bytes)
                name = digest_bytes(chunk)
                place = None if draft.fragmented else chunks.find(name)
                pieces = () if place or not earlier or draft.fragmented else earlier.pieces(chunk, draft.size_bytes)
                if pieces:
                    self._stretches(chunk, pieces, draft)
                else:
                    place = place or self._chunk(name, chunk, chunks)
                    if earlier:
                        earlier.passed(*place, draft.size_bytes)
                    draft.add(*place, len(chunk))
                if draft.is_full:
                    self._literals(draft)
                    self._cut(draft)
                self._progress.advance(size_bytes=len(chunk))
        self._literals(draft)
        if whole.digest() != digest:
            self._cache.discard(digest)
            raise ObjectCorrupt(
                f"object {format_oid('blake3', digest)} ('{path}') is damaged in the cache: its bytes are not the ones that its name promises",
                hint="to fetch a good copy: dvlite pull; to take it from the workspace: dvlite fsck --repair",
            )
        self._drafts.append(draft)
        self._progress.advance(files=1)

    def _chunk(self, name: Digest, chunk: bytes, chunks: KnownChunks) -> tuple[PackSlot, int]:
        """Sends a chunk, and returns its place."""
        writer = self._upload.writer(pack.CHUNKS)
        place = self._upload.slot(pack.CHUNKS), len(writer)
        writer.add(KIND_CHUNK, name, chunk)
        self._ship_if_full(writer)
        chunks.remember(name, *place)
        return place

    def _stretches(self, chunk: bytes, pieces: Sequence[Piece], draft: _RecipeDraft) -> None:
        """Adds a chunk as stretches of chunks that the remote has; what is new between them is sent with that of its neighbours."""
        for slot, number, skip, length, is_whole in pieces:
            if slot is None:
                if len(draft.literals) + length > _LITERAL_BYTES:
                    self._literals(draft)
                draft.add_literal(chunk[skip : skip + length])
            elif is_whole:
                draft.add(slot, number, length)
            else:
                draft.add_stretch(slot, number, skip, length)

    def _literals(self, draft: _RecipeDraft) -> None:
        """Sends what is new between stretches as a chunk."""
        if draft.literals:
            writer = self._upload.writer(pack.CHUNKS)
            draft.place_literals(self._upload.slot(pack.CHUNKS), len(writer))
            data = bytes(draft.literals)
            writer.add(KIND_CHUNK, digest_bytes(data), data)
            draft.literals.clear()
            self._ship_if_full(writer)

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
        if self._drafts:  # else nothing names a pack on its way: all go at the same time
            self._upload.ship_all(but=pack.META)
            self._add_recipes()
        for digest in nodes:
            self._copy(digest, KIND_MANIFEST)
        for digest, data in snapshot_nodes:
            self._add(KIND_SNAPSHOT, digest, data)
        self._upload.ship_all()
        self._upload.put_index()

    def _cut(self, draft: _RecipeDraft) -> None:
        """Writes the terms so far as a part: ships their last chunks and waits for them, so that a file's terms are never all in memory."""
        self._upload.ship_all(but=pack.META)
        draft.parts.append(self._add_part(draft.cut()))

    def _add_part(self, terms: Sequence[Term]) -> Part:
        """Writes a part of a recipe, unless the remote has it: a file has those of its earlier version up to where they differ."""
        self._rely_on(recipe.packs_of(terms))
        part, data = recipe.dump_part(terms)
        places = self._catalog.locations(part.digest, (KIND_PART,))
        if places:
            self._reused.add(places[0].pack)
        elif part.digest not in self._parts:
            self._parts.add(part.digest)
            self._add(KIND_PART, part.digest, data)
        return part

    def _rely_on(self, packs: Iterable[Digest]) -> None:
        """Notes packs of chunks that a recipe names; those of an interrupted push are indexed now."""
        taken_up = self._unfinished.intersection(packs)
        self._upload.take_up(taken_up)
        self._unfinished -= taken_up
        self._reused.update(packs)

    def _add_recipes(self) -> None:
        ready = [draft for draft in self._drafts if draft.ready]
        self._drafts = [draft for draft in self._drafts if not draft.ready]
        for draft in ready:
            terms = draft.cut(last=True)
            if draft.parts:
                finished = Recipe(draft.digest, draft.size_bytes, parts=(*draft.parts, self._add_part(terms)))
            else:
                finished = Recipe(draft.digest, draft.size_bytes, terms)
                self._rely_on(recipe.packs_of(terms))
            data = recipe.dump(finished)
            writer = self._upload.writer(pack.META)
            writer.add(KIND_RECIPE, finished.digest, data)
            self._upload.ship_if_full(writer)


class _RecipeDraft:
    """A recipe in the making: terms name slots, not packs. Those that were cut are a part already. `literals` are new bytes without a place."""

    __slots__ = ("_chunks", "_count", "_terms", "_waiting", "digest", "literals", "parts", "size_bytes")

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self.parts: list[Part] = []
        self.size_bytes = 0  # of what was read so far
        self.literals = bytearray()
        # first, count, repeat, length, and for a stretch, one more than what of its chunk is passed over
        self._terms: list[tuple[PackSlot, array[int]]] = []
        self._waiting: list[int] = []  # terms that are literals
        self._chunks = self._count = 0  # of the whole file: chunks, and terms, but for stretches

    @property
    def ready(self) -> bool:
        return all(slot.arrived for slot, _ in self._terms)

    @property
    def is_full(self) -> bool:
        """Returns whether one record has no room for the terms; the last one may still grow."""
        return len(self._terms) > recipe.TERMS_PER_PART

    @property
    def fragmented(self) -> bool:
        """Returns whether reuse has cut the file into so many pieces that reading it back would crawl."""
        return self._count > _MANY_TERMS and self._chunks < 2 * self._count

    def add(self, slot: PackSlot, number: int, length_bytes: int) -> None:
        self._chunks += 1
        self.size_bytes += length_bytes
        if self._terms and self._terms[-1][0] is slot and not self._terms[-1][1][4]:
            term = self._terms[-1][1]
            extends = term[2] == 1 and number == term[0] + term[1]
            if extends or (term[1] == 1 and number == term[0]):
                term[1 if extends else 2] += 1
                term[3] += length_bytes
                return
        self._count += 1
        self._terms.append((slot, array("Q", (number, 1, 1, length_bytes, 0))))

    def add_stretch(self, slot: PackSlot, number: int, skip_bytes: int, length_bytes: int) -> None:
        self.size_bytes += length_bytes
        self._terms.append((slot, array("Q", (number, 1, 1, length_bytes, skip_bytes + 1))))

    def add_literal(self, data: bytes) -> None:
        self._waiting.append(len(self._terms))
        self.add_stretch(_NO_SLOT, 0, len(self.literals), len(data))
        self.literals += data

    def place_literals(self, slot: PackSlot, number: int) -> None:
        """Gives all literals their place: a chunk of their own."""
        for i in self._waiting:
            term = self._terms[i][1]
            term[0] = number
            self._terms[i] = slot, term
        self._waiting.clear()

    def cut(self, *, last: bool = False) -> tuple[Term, ...]:
        """Returns, and drops, the terms of a full part; with `last`, all that are left."""
        end = len(self._terms) if last else recipe.TERMS_PER_PART
        terms = []
        for slot, (first, count, repeat, length, skip) in self._terms[:end]:
            assert slot.pack is not None
            terms.append(Term(slot.pack, first, count, repeat, length, skip - 1 if skip else None))
        del self._terms[:end]
        return tuple(terms)


_NO_SLOT = PackSlot()  # of literals that have no place yet


class KnownChunks:
    """Chunks that the remote has or is about to have: from footers of earlier versions, unfinished pushes, and this push."""

    def __init__(self, catalog: Catalog, unfinished: Collection[Digest]) -> None:
        self._catalog = catalog
        self._places: dict[Digest, tuple[PackSlot, int]] = {}
        self._learned: set[Digest] = set()
        self._ahead: list[tuple[int, Iterator[Term]]] = []  # of each earlier version: how far it was read, and the rest
        self._next = 0
        self._read(list(unfinished))

    def follow(self, bases: Sequence[Digest]) -> None:
        """Begins a file that has these earlier versions; a damaged one is none."""
        self._next, self._ahead = 0, []
        with contextlib.suppress(ObjectCorrupt):
            recipes = self._catalog.recipes
            self._ahead = [(0, recipes.terms(file)) for file in recipes.find(bases).values()]

    def reach(self, offset: int) -> None:
        """Reads the footers of the packs that earlier versions use up to some way beyond an offset in the file."""
        if offset < self._next or not self._ahead:
            return
        self._next = offset + _AHEAD_BYTES // 2
        names: list[Digest] = []
        for i, (known, terms) in enumerate(self._ahead):
            end = known
            while end < offset + _AHEAD_BYTES and (term := next(terms, None)) is not None:
                names.append(term.pack)
                end += term.length_bytes
            self._ahead[i] = (end, terms)
        self._read(names)

    def _read(self, names: Sequence[Digest]) -> None:
        fresh = [name for name in dict.fromkeys(names) if name not in self._learned]
        for at in range(0, len(fresh), _FOOTERS):
            for name, records in self._catalog.footers(fresh[at : at + _FOOTERS]).items():
                self._learned.add(name)
                slot = PackSlot(name)
                for number, record in enumerate(records):
                    self.remember(record.digest, slot, number)

    def find(self, name: Digest) -> tuple[PackSlot, int] | None:
        return self._places.get(name)

    def remember(self, name: Digest, slot: PackSlot, number: int) -> None:
        if len(self._places) >= _KNOWN_CHUNKS:
            for old in list(self._places)[: _KNOWN_CHUNKS // 2]:  # dicts keep order: the oldest half
                del self._places[old]
            self._learned.clear()
        self._places.setdefault(name, (slot, number))
