"""Copies objects between packs, of one remote or from one to another, as they are stored: nothing is compressed again.

Every record is verified on its way. Large files keep their chunks; a recipe is written new for each file whose chunks moved. Of a chunk of
which only stretches are needed, a collector keeps just these: what else it holds may have been purged.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from dvlite.errors import DvliteError, LaterVersion, ObjectCorrupt
from dvlite.formats import recipe
from dvlite.formats.recipe import Part, Recipe, Term
from dvlite.oid import Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.store import pack, usage
from dvlite.store.catalog import Catalog
from dvlite.store.index import RecordLocation, class_of, ranges, unpack_at
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_CHUNK, KIND_FILE, KIND_PART, KIND_RECIPE, PackWriter, Record
from dvlite.store.pack_upload import PackSlot, PackUpload
from dvlite.store.push_send import KnownChunks
from dvlite.store.recipes import LargeFile

_MOST_PACKS = 256  # whose footers are in memory at a time: 65 MB, and 8 GiB of chunks
_PACKS_AT_ONCE = 2  # that are read, and as many are sent: memory
PACKS_SENT_AT_ONCE = 2
_WHOLE = -1  # in place of the number of a chunk: all of a pack
_WHOLE_FRACTION = 0.5  # of a pack; above it, one request for all of it is cheaper than ranges

Stored = tuple[RecordLocation, memoryview | ObjectCorrupt]  # a record as it is stored, or why no pack has it whole


@dataclass(slots=True)
class Copied:
    """What a copy moved: records and their stored bytes; what stands nowhere, by kind; and what is damaged wherever it stands."""

    records: int = 0
    stored_bytes: int = 0
    nowhere: dict[int, set[Digest]] = field(default_factory=dict)
    damaged: dict[Digest, DvliteError] = field(default_factory=dict)  # large files as files
    reused: set[Digest] = field(default_factory=set)  # packs whose chunks new recipes name, and that were there

    def count(self, record: Record) -> None:
        self.records += 1
        self.stored_bytes += record.stored_length


@dataclass(frozen=True, slots=True)
class _Moved:
    """A run of chunks that moved: from number `first` up to `end`, to a slot, from number `at` there."""

    first: int
    end: int
    slot: PackSlot
    at: int


@dataclass(frozen=True, slots=True)
class _Squeezed:
    """A chunk of which some stretches, (start, end) in order, are now chunk `at` of a slot."""

    slot: PackSlot
    at: int
    kept: tuple[tuple[int, int], ...]

    @property
    def length_bytes(self) -> int:
        return sum(end - start for start, end in self.kept)

    def find(self, start: int, end: int) -> int | None:
        """Returns where a stretch of the old chunk begins in the new one."""
        before = 0
        for first, last in self.kept:
            if first <= start and end <= last:
                return before + start - first
            before += last - first
        return None


@dataclass(slots=True)
class CopyPlan:
    """What a copy reads: small objects by the pack that they are read from, and large files; and what stands nowhere, by kind."""

    small: dict[Digest, list[tuple[int, Digest]]] = field(default_factory=dict)
    large: list[LargeFile] = field(default_factory=list)
    nowhere: dict[int, set[Digest]] = field(default_factory=dict)
    records: int = 0  # small objects
    stored_bytes: int = 0  # of these

    @property
    def size_bytes(self) -> int:
        """Small objects as they are stored, and large files whole: chunks that need no copy count too."""
        return self.stored_bytes + sum(file.recipe.size_bytes for file in self.large)


def plan(source: Catalog, wanted: Mapping[int, Iterable[Digest]]) -> CopyPlan:
    """Looks up objects, given by kind (large files as files), by the last look at a remote; reads the recipes of large files."""
    todo = CopyPlan()
    large: list[Digest] = []
    for kind, digests in wanted.items():
        for digest in digests:
            found = source.locations(digest, (kind,))
            if found:
                todo.small.setdefault(found[0].pack, []).append((kind, digest))
                todo.records += 1
                todo.stored_bytes += found[0].record.stored_length
            elif kind == KIND_FILE and source.locations(digest, (KIND_RECIPE,)):
                large.append(digest)
            else:
                todo.nowhere.setdefault(kind, set()).add(digest)
    files = source.recipes.find(large)
    todo.large = list(files.values())
    if lost := set(large) - files.keys():
        todo.nowhere.setdefault(KIND_FILE, set()).update(lost)
    return todo


def run(
    source: Catalog,
    upload: PackUpload,
    todo: CopyPlan,
    leaving: Container[Digest],
    progress: Progress,
    *,
    known: KnownChunks | None = None,
) -> Copied:
    """Copies what a plan names into new packs, which arrive and are indexed.

    Chunks are copied out of packs that are `leaving`; others stay where they are. Those that are `known` where the copies go are not copied.
    What is damaged is left out and named in the result. Raises ObjectAbsent for a pack that is gone since the last look.
    """
    result = Copied(nowhere=todo.nowhere)
    progress.start(f"copying to {upload.catalog.remote.shown}", total_bytes=todo.size_bytes)
    groups = (_places(source, name, objects) for name, objects in todo.small.items())
    for place, stored in _read(source, groups):
        if isinstance(stored, ObjectCorrupt):
            result.damaged[place.record.digest] = source.remote.damaged(stored)
            continue
        writer = upload.writer(class_of(place.record.kind))
        writer.add_stored(place.record, stored)
        _ship_if_full(upload, writer)
        result.count(place.record)
        progress.advance(size_bytes=place.record.stored_length)
    chunks = _Chunks(source, upload, leaving, known, result)
    for files in _groups(todo.large):
        chunks.bring((term for file in files for term in source.recipes.terms(file)), progress)
        upload.ship_all(but=pack.META)
        for file in files:
            damage = chunks.damage(source.recipes.terms(file))
            if damage is not None:
                result.damaged[file.recipe.digest] = source.remote.damaged(damage)
                continue
            sections = (chunks.moved(terms) for terms in source.recipes.sections(file))
            _add_recipe(
                upload,
                file.recipe,
                sections,
                lambda part: any(place.pack not in leaving for place in upload.catalog.locations(part, (KIND_PART,))),
            )
        progress.advance(size_bytes=sum(file.recipe.size_bytes for file in files) - chunks.take_advanced())
    result.reused = chunks.reused
    upload.ship_all()
    upload.put_index()
    progress.finish()
    return result


def _ship_if_full(upload: PackUpload, writer: PackWriter) -> None:
    if upload.ship_if_full(writer) and upload.is_index_due:
        upload.put_index()


def _places(source: Catalog, name: Digest, objects: Iterable[tuple[int, Digest]]) -> list[RecordLocation]:
    """Returns where objects lie in a pack, else in another one: the pack may have been found damaged since they were looked up."""
    places = []
    for kind, digest in objects:
        those = source.locations(digest, (kind,))
        if not those:
            raise ObjectAbsent(f"packs/{name.hex()}", source.remote.store.label)
        places.append(next((place for place in those if place.pack == name), those[0]))
    return places


def _groups(files: Iterable[LargeFile]) -> Iterator[list[LargeFile]]:
    """Yields files whose chunks lie in a limited number of packs together, or single ones: their recipes are written before the next."""
    group: list[LargeFile] = []
    packs: set[Digest] = set()
    for file in files:
        if group and len(packs.union(file.packs)) > _MOST_PACKS:
            yield group
            group, packs = [], set()
        group.append(file)
        packs.update(file.packs)
    if group:
        yield group


class _Chunks:
    """Copies chunks, each once, and remembers where they are now; the footers of a limited number of packs are in memory."""

    def __init__(
        self,
        source: Catalog,
        upload: PackUpload,
        leaving: Container[Digest],
        known: KnownChunks | None,
        result: Copied,
    ) -> None:
        self._source, self._upload, self._leaving = source, upload, leaving
        self._known, self._result = known, result
        self._moved: dict[Digest, list[_Moved]] = {}
        self._squeezed: dict[tuple[Digest, int], _Squeezed] = {}
        # not from one remote to another: the next version is to find these chunks there
        self._squeezes = known is None or (source.config is not None and source.config.has_tombstones)
        # pack -> number of a chunk; _WHOLE: none of it can be read
        self._damaged: dict[Digest, dict[int, ObjectCorrupt]] = {}
        self._advanced = 0
        self.reused: set[Digest] = set()  # packs that had chunks already

    def take_advanced(self) -> int:
        """Returns by how many bytes the progress advanced since it was asked last."""
        advanced, self._advanced = self._advanced, 0
        return advanced

    def bring(self, terms: Iterable[Term], progress: Progress) -> None:
        """Copies the chunks of terms that did not move yet, those of a limited number of packs at a time."""
        runs: dict[Digest, list[tuple[int, int]]] = {}
        stretches: dict[Digest, dict[int, list[tuple[int, int]]]] = {}
        for term in terms:
            if term.pack not in self._leaving:
                continue
            if term.pack not in runs and len(runs) >= _MOST_PACKS:
                self._copy(runs, stretches, progress)
                runs, stretches = {}, {}
            if term.skip_bytes is None or not self._squeezes:
                usage.note_run(runs, term)
            else:
                runs.setdefault(term.pack, [])
                spans = stretches.setdefault(term.pack, {}).setdefault(term.first, [])
                spans.append((term.skip_bytes, term.skip_bytes + term.length_bytes))
        self._copy(runs, stretches, progress)

    def _copy(
        self,
        runs: Mapping[Digest, list[tuple[int, int]]],
        stretches: Mapping[Digest, Mapping[int, list[tuple[int, int]]]],
        progress: Progress,
    ) -> None:
        footers = self._footers(runs)
        numbers: dict[Digest, dict[int, int]] = {}  # pack -> where a chunk begins -> its number
        cuts: dict[tuple[Digest, int], list[tuple[int, int]]] = {}  # chunks of which only stretches are copied
        for name, spans in runs.items():
            if name not in footers:
                continue
            moved, wanted = self._moved.setdefault(name, []), numbers.setdefault(name, {})
            done = {number for run in moved for number in range(run.first, run.end)}
            for number in (number for first, end in usage.join(spans) for number in range(first, end)):
                if number >= len(footers[name]):
                    self._note(name, _WHOLE, ObjectCorrupt(f"pack {name.hex()} has fewer chunks than a file needs"))
                    break
                record = footers[name][number]
                if number not in done and not self._is_known(moved, number, record):
                    wanted[record.offset] = number
                done.add(number)
            for number, parts in stretches.get(name, {}).items():
                if number >= len(footers[name]):
                    self._note(name, _WHOLE, ObjectCorrupt(f"pack {name.hex()} has fewer chunks than a file needs"))
                    break
                record, old = footers[name][number], self._squeezed.get((name, number))
                if number in done or (old and all(old.find(*part) is not None for part in parts)):
                    continue
                if not self._is_known(moved, number, record):
                    wanted[record.offset] = number
                    kept = usage.join([*parts, *(old.kept if old else ())])
                    if kept != [(0, record.raw_length)]:
                        cuts[name, number] = kept
        places = (
            [RecordLocation(name, footers[name][number]) for number in those.values()]
            for name, those in numbers.items()
            if those
        )
        for place, stored in _read(self._source, places):
            number, moved = numbers[place.pack][place.record.offset], self._moved[place.pack]
            if isinstance(stored, ObjectCorrupt):
                self._note(place.pack, number, stored)
            elif kept := cuts.get((place.pack, number), []):
                self._squeeze(place, number, stored, kept)
            elif not self._is_known(moved, number, place.record):  # it stood in two packs
                self._add(moved, number, place.record, stored)
            progress.advance(size_bytes=place.record.raw_length)
            self._advanced += place.record.raw_length
        for name in footers:
            self._moved[name].sort(key=lambda run: run.first)

    def _footers(self, names: Iterable[Digest]) -> dict[Digest, list[Record]]:
        """Returns the records of packs, but for those that are too damaged to tell."""
        with contextlib.suppress(ObjectCorrupt):
            return self._source.footers(names)
        read: dict[Digest, list[Record]] = {}
        for name in names:
            try:
                read |= self._source.footers([name])
            except ObjectCorrupt as error:
                self._note(name, _WHOLE, error)
        return read

    def _note(self, name: Digest, number: int, error: ObjectCorrupt) -> None:
        self._damaged.setdefault(name, {})[number] = error

    def damage(self, terms: Iterable[Term]) -> ObjectCorrupt | None:
        """Returns why the chunks of terms did not all arrive; None: they did."""
        for term in terms if self._damaged else ():
            for number, error in self._damaged.get(term.pack, {}).items():
                if number == _WHOLE or term.first <= number < term.first + term.count:
                    return error
        return None

    def _is_known(self, moved: list[_Moved], number: int, record: Record) -> bool:
        place = None if self._known is None else self._known.find(record.digest)
        if place is None:
            return False
        _note_moved(moved, number, *place)
        if place[0].arrived and place[0].pack is not None:
            self.reused.add(place[0].pack)
        return True

    def _add(self, moved: list[_Moved], number: int, record: Record, stored: bytes) -> None:
        writer = self._upload.writer(pack.CHUNKS)
        slot, at = self._upload.slot(pack.CHUNKS), len(writer)
        _note_moved(moved, number, slot, at)
        writer.add_stored(record, stored)
        if self._known is not None:
            self._known.remember(record.digest, slot, at)
        _ship_if_full(self._upload, writer)
        self._result.count(record)

    def _squeeze(self, place: RecordLocation, number: int, stored: bytes, kept: Sequence[tuple[int, int]]) -> None:
        """Writes a chunk of what is needed of one."""
        chunk = pack.unpack(place.record, stored)
        data = b"".join(chunk[start:end] for start, end in kept)
        writer = self._upload.writer(pack.CHUNKS)
        self._squeezed[place.pack, number] = _Squeezed(self._upload.slot(pack.CHUNKS), len(writer), tuple(kept))
        codec, squeezed = pack.compress(data)
        record = Record(KIND_CHUNK, codec, 0, len(data), len(squeezed), digest_bytes(data))
        writer.add_stored(record, squeezed)
        self._result.count(record)
        _ship_if_full(self._upload, writer)

    def moved(self, terms: Sequence[Term]) -> list[Term]:
        """Returns terms of the same chunks where they are now; all of these arrived."""
        moved: list[Term] = []
        for term in terms:
            runs = self._moved.get(term.pack)
            squeezed = self._squeezed.get((term.pack, term.first)) if term.skip_bytes is not None else None
            if squeezed and not any(run.first <= term.first < run.end for run in runs or ()):
                moved.append(_squeezed_term(term, squeezed))
                continue
            moved += [term] if runs is None else _moved_term(term, runs, self._source.footers([term.pack])[term.pack])
        return moved


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
    writer.add(KIND_RECIPE, made.digest, data)
    upload.ship_if_full(writer)


def _note_moved(runs: list[_Moved], number: int, slot: PackSlot, at: int) -> None:
    if runs and runs[-1].slot is slot and runs[-1].end == number and runs[-1].at + number - runs[-1].first == at:
        runs[-1] = _Moved(runs[-1].first, number + 1, slot, runs[-1].at)
    else:
        runs.append(_Moved(number, number + 1, slot, at))


def _moved_term(term: Term, runs: Iterable[_Moved], records: list[Record]) -> list[Term]:
    """Returns the chunks of a term where they are now."""
    parts = [
        (
            run.slot,
            run.at + max(term.first, run.first) - run.first,
            max(term.first, run.first),
            min(term.first + term.count, run.end),
        )
        for run in runs
        if run.first < term.first + term.count and run.end > term.first
    ]
    repeat = term.repeat if len(parts) == 1 else 1
    terms = []
    for slot, at, first, end in parts * (term.repeat // repeat):
        assert slot.pack is not None
        length = repeat * sum(record.raw_length for record in records[first:end])
        if term.skip_bytes is not None:
            length = term.length_bytes
        terms.append(Term(slot.pack, at, end - first, repeat, length, term.skip_bytes))
    return terms


def _squeezed_term(term: Term, squeezed: _Squeezed) -> Term:
    """Returns a stretch, where it is now: maybe all of a chunk."""
    assert squeezed.slot.pack is not None
    assert term.skip_bytes is not None
    skip = squeezed.find(term.skip_bytes, term.skip_bytes + term.length_bytes)
    is_whole = term.length_bytes == squeezed.length_bytes
    return Term(squeezed.slot.pack, squeezed.at, 1, 1, term.length_bytes, None if is_whole else skip)


def _read(
    source: Catalog, groups: Iterable[list[RecordLocation]]
) -> Iterator[tuple[RecordLocation, bytes | ObjectCorrupt]]:
    """Yields records with their verified stored bytes, given by pack, those of one pack in order; a few packs are read ahead."""
    reading: list[Future[list[Stored]]] = []
    waiting = iter(groups)
    ahead = min(_PACKS_AT_ONCE, source.remote.jobs)
    while True:
        for group in itertools.islice(waiting, ahead - len(reading)):
            reading.append(source.remote.submit(lambda group=group: _read_group(source, group)))  # type: ignore[misc]
        if not reading:
            return
        yield from _copies(reading.pop(0).result())


def _copies(records: Iterable[Stored]) -> Iterator[tuple[RecordLocation, bytes | ObjectCorrupt]]:
    """Yields records with bytes of their own: a view in an open pack would keep all that was read with it."""
    for place, stored in records:
        yield place, stored if isinstance(stored, ObjectCorrupt) else bytes(stored)


def _read_group(source: Catalog, places: list[RecordLocation]) -> list[Stored]:
    """Reads records, nearly always of one pack."""
    groups: dict[Digest, list[RecordLocation]] = {}
    for place in places:
        groups.setdefault(place.pack, []).append(place)
    return [stored for group in groups.values() for stored in _read_pack(source, group)]


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
    """Returns a record as it is stored; where it is damaged, as another pack has it, else the damage."""
    try:
        return place, unpack_at(place, data, start)[0]
    except LaterVersion:
        raise
    except ObjectCorrupt as error:
        source.doubt(place)
        if place.record.kind == KIND_CHUNK:
            return place, error.with_traceback(None)  # which holds the bytes of the pack
        for other in source.locations(place.record.digest, (place.record.kind,)):
            end = other.record.offset + other.record.stored_length
            data = source.remote.get(f"packs/{other.pack.hex()}", start=other.record.offset, end=end)
            try:
                return other, unpack_at(other, data, other.record.offset)[0]
            except ObjectCorrupt:
                source.doubt(other)
        return place, error.with_traceback(None)  # which holds the bytes of the pack
