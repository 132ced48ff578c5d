"""Copies objects between packs, of one remote or from one to another, as they are stored: nothing is compressed again.

Every record is verified on its way. Large files keep their chunks; a recipe is written new for each file whose chunks moved.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from dvlite.errors import LaterVersion, ObjectCorrupt
from dvlite.formats import recipe
from dvlite.formats.recipe import Part, Recipe, Term
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.store import pack, usage
from dvlite.store.catalog import Catalog
from dvlite.store.index import RecordLocation, class_of, ranges, unpack_at
from dvlite.store.pack import KIND_CHUNK, KIND_FILE, KIND_PART, KIND_RECIPE, Record
from dvlite.store.pack_upload import PackSlot, PackUpload

_PACKS_AT_ONCE = 3  # that are read ahead: memory
_WHOLE_FRACTION = 0.5  # of a pack; above it, one request for all of it is cheaper than ranges

Stored = tuple[RecordLocation, memoryview]


@dataclass(slots=True)
class Copied:
    """What a copy moved: records and their stored bytes; and what stands nowhere, by kind."""

    records: int = 0
    stored_bytes: int = 0
    nowhere: dict[int, set[Digest]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Moved:
    """A run of chunks that moved: from number `first` up to `end`, to a slot, from number `at` there."""

    first: int
    end: int
    slot: PackSlot
    at: int


def run(
    source: Catalog,
    upload: PackUpload,
    wanted: Mapping[int, Iterable[Digest]],
    leaving: Container[Digest],
    progress: Progress,
) -> Copied:
    """Copies objects, given by kind (large files as files), into new packs, which arrive and are indexed.

    Chunks are copied out of packs that are `leaving`; others stay where they are. Raises ObjectCorrupt if no sound copy of an object that stands is left.
    """
    result = Copied()
    places: list[RecordLocation] = []
    large: list[Digest] = []
    for kind, digests in wanted.items():
        for digest in digests:
            found = source.locations(digest, (kind,))
            if found:
                places.append(found[0])
            elif kind == KIND_FILE and source.locations(digest, (KIND_RECIPE,)):
                large.append(digest)
            else:
                result.nowhere.setdefault(kind, set()).add(digest)
    large_files = source.recipes.find(large)
    if lost := set(large) - large_files.keys():
        result.nowhere.setdefault(KIND_FILE, set()).update(lost)
    runs: dict[Digest, list[tuple[int, int]]] = {}
    for term in (term for file in large_files.values() for term in source.recipes.terms(file) if term.pack in leaving):
        usage.note_run(runs, term)
    footers = source.footers(runs)
    chunks = [place for name, each in runs.items() for place in usage.places_of(footers[name], name, usage.join(each))]
    total_bytes = sum(place.record.stored_length for place in (*places, *chunks))
    progress.start(f"copying within {source.remote.store.label}", total_bytes=total_bytes)
    numbers = {name: {record.offset: number for number, record in enumerate(footers[name])} for name in runs}
    moved: dict[Digest, list[_Moved]] = {}
    for place, stored in _read(source, (*places, *chunks)):
        writer = upload.writer(class_of(place.record.kind))
        if place.record.kind == KIND_CHUNK:
            number = numbers[place.pack][place.record.offset]
            _note(moved.setdefault(place.pack, []), number, upload.slot(pack.CHUNKS), len(writer))
        writer.add_stored(place.record, stored)
        if upload.ship_if_full(writer) and upload.is_index_due:
            upload.put_index()
        result.records += 1
        result.stored_bytes += place.record.stored_length
        progress.advance(size_bytes=place.record.stored_length)
    upload.ship_all(but=pack.META)
    for file in large_files.values():
        sections = (_moved_terms(terms, moved, footers) for terms in source.recipes.sections(file))
        _add_recipe(
            upload,
            file.recipe,
            sections,
            lambda part: any(place.pack not in leaving for place in source.locations(part, (KIND_PART,))),
        )
    upload.ship_all()
    upload.put_index()
    progress.finish()
    return result


def _add_recipe(
    upload: PackUpload, old: Recipe, sections: Iterable[Sequence[Term]], stays: Callable[[Digest], bool]
) -> None:
    """Writes a recipe of moved terms, and those of its parts that no pack has which stays."""
    pieces = (piece for terms in sections for piece in recipe.cut(terms))
    first, second = next(pieces, ()), next(pieces, None)
    made = Recipe(old.digest, old.size_bytes, tuple(first))
    if second is not None:
        parts: list[Part] = []
        for piece in itertools.chain((first, second), pieces):
            part, data = recipe.dump_part(piece)
            if part not in parts[-1:] and not stays(part.digest):
                writer = upload.writer(pack.META)
                writer.add(KIND_PART, part.digest, data)
                upload.ship_if_full(writer)
            parts.append(part)
        made = Recipe(old.digest, old.size_bytes, parts=tuple(parts))
    data = recipe.dump(made)
    writer = upload.writer(pack.META)
    writer.add_stored(Record(KIND_RECIPE, pack.RAW, 0, len(data), len(data), made.digest), data)
    upload.ship_if_full(writer)


def _note(runs: list[_Moved], number: int, slot: PackSlot, at: int) -> None:
    if runs and runs[-1].slot is slot and runs[-1].end == number and runs[-1].at + number - runs[-1].first == at:
        runs[-1] = _Moved(runs[-1].first, number + 1, slot, runs[-1].at)
    else:
        runs.append(_Moved(number, number + 1, slot, at))


def _moved_terms(
    old: Iterable[Term], moved: Mapping[Digest, list[_Moved]], footers: Mapping[Digest, list[Record]]
) -> list[Term]:
    """Returns terms of the same chunks where they are now."""
    terms: list[Term] = []
    for term in old:
        runs = moved.get(term.pack)
        if runs is None:
            terms.append(term)
            continue
        records = footers[term.pack]
        parts = [
            (
                part.slot,
                part.at + max(term.first, part.first) - part.first,
                max(term.first, part.first),
                min(term.first + term.count, part.end),
            )
            for part in runs
            if part.first < term.first + term.count and part.end > term.first
        ]
        repeat = term.repeat if len(parts) == 1 else 1
        for slot, at, first, end in parts * (term.repeat // repeat):
            assert slot.pack is not None
            length = repeat * sum(record.raw_length for record in records[first:end])
            terms.append(Term(slot.pack, at, end - first, repeat, length))
    return terms


def _read(source: Catalog, places: Iterable[RecordLocation]) -> Iterator[Stored]:
    """Yields records with their verified stored bytes, those of one pack together and in order; a few packs are read ahead."""
    groups: dict[Digest, list[RecordLocation]] = {}
    for place in places:
        groups.setdefault(place.pack, []).append(place)
    reading: list[Future[list[Stored]]] = []
    waiting = list(reversed(groups.values()))
    while waiting or reading:
        while waiting and len(reading) < min(_PACKS_AT_ONCE, source.remote.jobs):
            group = waiting.pop()
            reading.append(source.remote.submit(lambda group=group: _read_pack(source, group)))  # type: ignore[misc]
        yield from reading.pop(0).result()


def _read_pack(source: Catalog, group: list[RecordLocation]) -> list[Stored]:
    name = group[0].pack
    if sum(place.record.stored_length for place in group) >= _WHOLE_FRACTION * source.packs[name]:
        parts = [(0, source.packs[name], sorted(group, key=lambda place: place.record.offset))]
    else:
        parts = ranges(group)
    result: list[Stored] = []
    for start, end, places in parts:
        data = source.remote.get(f"packs/{name.hex()}", start=start, end=end)
        result.extend(_verified(source, place, data, start) for place in places)
    return result


def _verified(source: Catalog, place: RecordLocation, data: bytes, start: int) -> Stored:
    """Returns a record as it is stored; where it is damaged, as another pack has it."""
    try:
        return place, unpack_at(place, data, start)[0]
    except LaterVersion:
        raise
    except ObjectCorrupt:
        source.doubt(place)
        if place.record.kind == KIND_CHUNK:
            raise
        for other in source.locations(place.record.digest, (place.record.kind,)):
            end = other.record.offset + other.record.stored_length
            data = source.remote.get(f"packs/{other.pack.hex()}", start=other.record.offset, end=end)
            try:
                return other, unpack_at(other, data, other.record.offset)[0]
            except ObjectCorrupt:
                source.doubt(other)
        raise
