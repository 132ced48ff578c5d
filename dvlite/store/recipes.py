"""How large files lie on a remote: which of their recipes can be relied on, and the terms of these, read part by part.

All that walks recipes comes by this module. A few parts are in memory at a time, never all terms of a file that has parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from dvlite.errors import DvliteError, LaterVersion, ObjectCorrupt
from dvlite.formats import recipe
from dvlite.formats.recipe import Part, Recipe, Term
from dvlite.oid import FILE, Digest, format_oid
from dvlite.store.index import RecordLocation
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_PART, KIND_RECIPE, Record

WINDOW_CHUNKS = 1 << 20  # of a file that are looked at together: 32 GiB, and about 350 MB if each is looked up
_PARTS = 4  # read at a time, of at most 16 MiB


class Look(Protocol):
    """What a look at a remote knows: a store.catalog.Catalog. `damage` are objects that were read and are nowhere sound."""

    damage: dict[Digest, DvliteError]

    condemned: frozenset[Digest]

    def usable(self, name: Digest) -> bool: ...

    def is_whole(self, name: Digest) -> bool: ...

    def locations(self, digest: Digest, kinds: tuple[int, ...]) -> list[RecordLocation]: ...

    def read_meta(self, places: Sequence[RecordLocation]) -> dict[RecordLocation, bytes]: ...

    def doubt(self, place: RecordLocation) -> None: ...


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A large file on a remote: the packs of its chunks, in order of first use, and the records of its recipe and its parts, each once.

    `relies` are all packs without which the file is lost.
    """

    recipe: Recipe
    packs: tuple[Digest, ...]
    records: tuple[RecordLocation, ...]
    relies: frozenset[Digest]

    @property
    def holders(self) -> set[Digest]:
        """The packs of its recipe and its parts."""
        return {place.pack for place in self.records}


class Recipes:
    """The recipes that one look at a remote gives; another look has others."""

    def __init__(self, look: Look, label: str) -> None:
        self._look, self._label = look, label
        self._known: dict[Digest, LargeFile | None] = {}

    def find(self, digests: Iterable[Digest]) -> dict[Digest, LargeFile]:
        """Returns the large files that can be relied on: every pack they need stands. Batched; reads the parts too.

        One whose recipe, or a part of it, is damaged is left out; the look's `damage` says why.
        """
        digests = list(dict.fromkeys(digests))
        known, stands = self._known, self._look.usable
        wanted = [
            digest
            for digest in digests
            if digest not in known or ((file := known[digest]) is not None and not all(map(stands, file.relies)))
        ]
        places = {digest: self._look.locations(digest, (KIND_RECIPE,)) for digest in wanted}
        bytes_of = self._look.read_meta([place for locations in places.values() for place in locations])
        for digest, locations in places.items():
            known.pop(digest, None)
            known[digest] = self._first_reliable(
                digest, [(place, bytes_of[place]) for place in locations if place in bytes_of]
            )
        return {digest: file for digest in digests if (file := known[digest]) is not None}

    def terms(self, file: LargeFile) -> Iterator[Term]:
        """Yields the terms of a file in order. Raises ObjectAbsent for a part that is gone since, and ObjectCorrupt."""
        return itertools.chain.from_iterable(self.sections(file))

    def sections(self, file: LargeFile) -> Iterator[tuple[Term, ...]]:
        """Yields the terms of each part in order, or all of a recipe without parts; raises as `terms` does."""
        if not file.recipe.parts:
            yield file.recipe.terms
            return
        for _, terms in self._parts(file.recipe, file.recipe.parts):
            yield terms

    def part(self, file: LargeFile, number: int) -> tuple[Term, ...]:
        """Returns the terms of one part; raises as `terms` does."""
        ((_, terms),) = self._parts(file.recipe, [file.recipe.parts[number]])
        return terms

    def _first_reliable(self, digest: Digest, candidates: Sequence[tuple[RecordLocation, bytes]]) -> LargeFile | None:
        """Returns the first that can be relied on: rather one that needs no condemned pack, then one whose packs have their full length.

        Notes the damage of others.
        """
        leaving: LargeFile | None = None
        cut: LargeFile | None = None
        for place, data in candidates:
            try:
                parsed = recipe.parse(data, digest)
            except ObjectCorrupt as error:
                self._look.doubt(place)
                self._look.damage[digest] = error
                continue
            try:
                file = self._opened(parsed, place)
            except (ObjectCorrupt, LaterVersion) as error:
                self._look.damage[digest] = error
                continue
            if file is None or not all(map(self._look.usable, file.packs)):
                continue
            if not all(map(self._look.is_whole, file.packs)):
                cut = cut or file
            elif self._look.condemned.isdisjoint(file.relies):
                return file
            else:
                leaving = leaving or file
        return leaving or cut

    def _opened(self, parsed: Recipe, place: RecordLocation) -> LargeFile | None:
        """Returns a file with all packs that its recipe and its parts name, None if a part is nowhere."""
        packs = dict.fromkeys(recipe.packs_of(parsed.terms))
        records = [place]
        parts = list(dict.fromkeys(parsed.parts))
        if not all(self._look.locations(part.digest, (KIND_PART,)) for part in parts):
            return None
        for part_place, terms in self._parts(parsed, parts) if parts else ():
            records.append(part_place)
            packs |= dict.fromkeys(recipe.packs_of(terms))
        relies = frozenset(packs) | {record.pack for record in records}
        return LargeFile(parsed, tuple(packs), tuple(records), relies)

    def _parts(self, parsed: Recipe, parts: Sequence[Part]) -> Iterator[tuple[RecordLocation, tuple[Term, ...]]]:
        """Yields where each part lies, and its terms."""
        for at in range(0, len(parts), _PARTS):
            batch = parts[at : at + _PARTS]
            places = [self._look.locations(part.digest, (KIND_PART,)) for part in batch]
            for part, locations in zip(batch, places, strict=True):
                if not locations:
                    raise ObjectAbsent(f"part {part.digest.hex()} of a recipe", self._label)
            bytes_of = self._look.read_meta([locations[0] for locations in places])
            for part, locations in zip(batch, places, strict=True):
                if locations[0] not in bytes_of:
                    raise self._look.damage[part.digest]
                try:
                    terms = recipe.parse_part(bytes_of[locations[0]], part, parsed.digest)
                except ObjectCorrupt:
                    self._look.doubt(locations[0])
                    raise
                yield locations[0], terms


def windows(terms: Iterable[Term]) -> Iterator[tuple[Term, ...]]:
    """Groups terms so that no more than so many chunks are looked at together; a term is never divided."""
    window: list[Term] = []
    chunks = 0
    for term in terms:
        count = term.count * term.repeat
        if window and chunks + count > WINDOW_CHUNKS:
            yield tuple(window)
            window, chunks = [], 0
        window.append(term)
        chunks += count
    if window:
        yield tuple(window)


def fits(term: Term, records: Sequence[Record]) -> bool:
    """Returns whether a pack has the chunks of a term, and they its length."""
    run = records[term.first : term.first + term.count]
    length = sum(record.raw_length for record in run)
    if len(run) != term.count:
        return False
    if term.skip_bytes is None:
        return length * term.repeat == term.length_bytes
    return term.skip_bytes + term.length_bytes <= length


def unfit(digest: Digest, name: Digest) -> ObjectCorrupt:
    """Returns the error for a recipe of `digest` that names what pack `name` does not have."""
    return ObjectCorrupt(
        f"the recipe of {format_oid(FILE, digest)} is damaged: it does not fit pack {name.hex()}",
        hint="push the file again from a clone that has it",
    )
