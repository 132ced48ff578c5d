"""A gc for tests: the protocol of docs/explanation/protocol.md without its ages and policies, free to condemn any pack at any moment."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from dvlite.formats import condemned, manifest, recipe, root, snapshot
from dvlite.formats.recipe import Part, Recipe, Term
from dvlite.oid import FILE, Digest, digest_bytes
from dvlite.store import index, pack
from dvlite.store.index import Index, RecordLocation
from dvlite.store.object_store import ObjectStore
from dvlite.store.pack import (
    KIND_CHUNK,
    KIND_FILE,
    KIND_MANIFEST,
    KIND_PART,
    KIND_RECIPE,
    KIND_SNAPSHOT,
    PackWriter,
    Record,
)

Wanted = set[tuple[int, Digest]]


@dataclass(frozen=True)
class _Parsed:
    """A recipe: its terms, by part, and all packs that it needs."""

    sections: list[tuple[Term, ...]]
    packs: set[Digest]
    has_parts: bool = False


class Collector:
    """Works on a store directly, as a client of its own would."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def collect(self, *, everything: bool, delete: bool = True) -> None:
        """Condemns packs (all, or those without an object that a root needs), copies what is needed, deletes."""
        chosen = self.packs() if everything else self.packs() - self._packs_of(self.needed())
        self.condemn(chosen)
        self.rescue()
        if delete:
            self.delete()

    def packs(self) -> set[Digest]:
        return {Digest(bytes.fromhex(entry.name[6:])) for entry in self.store.list("packs/").entries}

    def condemn(self, packs: set[Digest]) -> None:
        if packs:
            data = condemned.dump(packs, os.urandom(16))
            self.store.put(f"condemned/{digest_bytes(data).hex()}", data)

    def condemned(self) -> set[Digest]:
        names = [entry.name for entry in self.store.list("condemned/").entries]
        return {name for entry in names for name in condemned.parse(self.store.get(entry), entry)}

    def forget_roots(self) -> None:
        """Drops every root, as gc does for versions that nobody refers to any more."""
        self.store.delete([entry.name for entry in self.store.list("roots/").entries])

    def indexes(self) -> dict[str, Index]:
        return {
            entry.name: Index(self.store.get(entry.name), entry.name) for entry in self.store.list("index/").entries
        }

    def rescue(self) -> None:
        """Copies what roots need and no uncondemned pack has; repeated until nothing is missing."""
        while True:
            needed = self.needed()
            missing = self._missing(needed)
            if not missing:
                return
            self._copy(missing)

    def delete(self) -> None:
        """Replaces index objects that name condemned packs, deletes exactly those, then the packs."""
        gone = self.condemned()
        found = {name: segment for name, segment in self.indexes().items() if gone.intersection(segment.packs)}
        for segment in found.values():
            kept = [place for place in segment if place.pack not in gone]
            if kept:
                self._put_index(kept)
        self.store.delete(sorted(found))
        self.store.delete([f"packs/{name.hex()}" for name in sorted(gone & self.packs())])

    def needed(self) -> Wanted:
        """Walks all roots: listing nodes, small files, recipes."""
        wanted: Wanted = set()
        for entry in self.store.list("roots/").entries:
            name = root.parse_name(entry.name)
            if name is None:
                continue
            self._walk_snapshot(name.snapshot, wanted)
        return wanted

    def _walk_snapshot(self, digest: Digest, wanted: Wanted) -> None:
        def read(node: Digest) -> bytes:
            wanted.add((KIND_SNAPSHOT, node))
            return self.read(KIND_SNAPSHOT, node)

        with contextlib.suppress(KeyError):  # a root whose push died, or has not seen yet that its content went
            for item in snapshot.versions(digest, read):
                if item.kind == FILE:
                    wanted.add(self._kind_of(item.digest))
                else:
                    self._walk(item.digest, wanted)

    def _walk(self, digest: Digest, wanted: Wanted) -> None:
        wanted.add((KIND_MANIFEST, digest))
        try:
            node = manifest.decode(self.read(KIND_MANIFEST, digest), digest)
        except KeyError:  # a root whose push died, or has not seen yet that its content went
            return
        if isinstance(node, manifest.Branch):
            for child in node.digests:
                self._walk(child, wanted)
        else:
            wanted.update(self._kind_of(node.digest(i)) for i in range(len(node)))

    def _kind_of(self, digest: Digest) -> tuple[int, Digest]:
        kinds = {place.record.kind for place in self.places(digest)}
        return (KIND_RECIPE if KIND_RECIPE in kinds and KIND_FILE not in kinds else KIND_FILE), digest

    def places(self, digest: Digest) -> list[RecordLocation]:
        standing = self.packs()
        return [
            place
            for segment in self.indexes().values()
            for place in segment.find(digest, (KIND_FILE, KIND_MANIFEST, KIND_RECIPE, KIND_SNAPSHOT, KIND_PART))
            if place.pack in standing
        ]

    def read(self, kind: int, digest: Digest) -> bytes:
        place = next((place for place in self.places(digest) if place.record.kind == kind), None)
        if place is None:
            raise KeyError(digest)
        return pack.unpack(place.record, self._stored(place))

    def _stored(self, place: RecordLocation) -> bytes:
        start = place.record.offset
        return self.store.get(f"packs/{place.pack.hex()}", start=start, end=start + place.record.stored_length)

    def _packs_of(self, needed: Wanted) -> set[Digest]:
        used: set[Digest] = set()
        for kind, digest in needed:
            for place in self.places(digest):
                if place.record.kind == kind:
                    used.add(place.pack)
                    if kind == KIND_RECIPE:
                        used |= self._parsed(place, set()).packs
        return used

    def _parsed(self, place: RecordLocation, gone: set[Digest]) -> _Parsed:
        """Reads a recipe and its parts; these where no pack is `gone`, if there is such a place."""
        digest = place.record.digest
        made = recipe.parse(pack.unpack(place.record, self._stored(place)), digest)
        sections: list[tuple[Term, ...]] = [made.terms] if made.terms else []
        packs = {place.pack}
        for part in made.parts:
            where = sorted(self.places(part.digest), key=lambda each: each.pack in gone)
            if not where:
                return _Parsed([], {bytes(32)})
            sections.append(recipe.parse_part(pack.unpack(where[0].record, self._stored(where[0])), part, digest))
            packs.add(where[0].pack)
        return _Parsed(sections, packs | {term.pack for section in sections for term in section}, bool(made.parts))

    def _missing(self, needed: Wanted) -> Wanted:
        """Returns what is in no uncondemned pack, but still in some pack that stands."""
        gone, standing = self.condemned(), self.packs()
        missing: Wanted = set()
        for kind, digest in needed:
            usable = readable = False
            for place in self.places(digest):
                if place.record.kind != kind:
                    continue
                packs = self._parsed(place, gone).packs if kind == KIND_RECIPE else {place.pack}
                readable |= packs <= standing
                usable |= packs <= standing - gone
            if readable and not usable:
                missing.add((kind, digest))
        return missing

    def _copy(self, missing: Wanted) -> None:
        rows: list[RecordLocation] = []
        writers = {kind: PackWriter(kind, os.urandom(16)) for kind in (pack.META, pack.FILES)}
        for kind, digest in sorted(missing):
            if kind == KIND_RECIPE:
                made, parts = self._copy_chunks(digest)
                for part, data in parts:
                    writers[pack.META].add(KIND_PART, part.digest, data)
                data = recipe.dump(made)
                record = Record(KIND_RECIPE, pack.RAW, 0, len(data), len(data), digest)
                writers[pack.META].add_stored(record, data)
            else:
                place = next(place for place in self.places(digest) if place.record.kind == kind)
                writer = writers[pack.FILES if kind == KIND_FILE else pack.META]
                writer.add_stored(place.record, self._stored(place))
        for writer in writers.values():
            if len(writer):
                whole = writer.finish()
                self.store.put(f"packs/{whole.name.hex()}", whole.data)
                rows += index.rows_of(whole)
        self._put_index(rows)

    def _copy_chunks(self, digest: Digest) -> tuple[Recipe, list[tuple[Part, bytes]]]:
        """Copies the chunks of a file into a new pack; returns the new recipe, and its parts if the old one had some."""
        standing = self.packs()
        found = (self._parsed(place, set()) for place in self.places(digest) if place.record.kind == KIND_RECIPE)
        old = next(each for each in found if each.packs <= standing)
        writer = PackWriter(pack.CHUNKS, os.urandom(16))
        runs: list[tuple[int, int, int]] = []
        for section in old.sections:
            first = len(writer)
            for term in section:
                self._copy_term(term, writer)
            runs.append((first, len(writer) - first, sum(term.length_bytes for term in section)))
        whole = writer.finish()
        self.store.put(f"packs/{whole.name.hex()}", whole.data)
        terms = [Term(whole.name, first, count, 1, length) for first, count, length in runs]
        size = sum(term.length_bytes for term in terms)
        if not old.has_parts:
            return Recipe(digest, size, tuple(terms)), []
        parts = [recipe.dump_part([term]) for term in terms]
        return Recipe(digest, size, parts=tuple(part for part, _ in parts)), parts

    def _copy_term(self, term: Term, writer: PackWriter) -> None:
        data = self.store.get(f"packs/{term.pack.hex()}")
        for _ in range(term.repeat):
            for record in pack.open_whole(data, term.pack)[term.first : term.first + term.count]:
                assert record.kind == KIND_CHUNK
                stored = data[record.offset : record.offset + record.stored_length]
                if term.skip_bytes is None:
                    writer.add_stored(record, stored)
                else:
                    stretch = bytes(recipe.stretch_of(term, pack.unpack(record, stored)))
                    writer.add(KIND_CHUNK, digest_bytes(stretch), stretch)

    def _put_index(self, rows: list[RecordLocation]) -> None:
        data = index.encode(rows, os.urandom(16))
        self.store.put(f"index/{digest_bytes(data).hex()}", data)
