"""Reads any ranges of any files, without a checkout: from the cache where it has them, else from a remote, and no more than is needed.

Of a remote, the records that hold the ranges travel: of small files their own, of large ones the chunks that the recipe names. Neighbours
share a request, many requests run at once, and no byte is returned before its record was checked against its oid. Nothing goes into the
cache; what was cut off at the ends of ranges is kept in memory, for the next range often begins there. Thread-safe.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from dvlite import files
from dvlite.errors import DvliteError, LaterVersion, ObjectCorrupt, ObjectMissing
from dvlite.formats.recipe import Term
from dvlite.formats.tombstone import Tombstone
from dvlite.oid import EMPTY_FILE, FILE, Buffer, Digest, digest_bytes, digest_file, format_oid
from dvlite.store import fetch
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.index import RecordLocation, ranges
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_CHUNK, KIND_FILE, KIND_RECIPE, Record, unpack_view
from dvlite.store.recipes import LargeFile, unfit
from dvlite.store.remote import MEND, Traffic

_ROUNDS = 4  # looks at the remote while gc moves things about
_REQUEST_BYTES = 4 << 20  # of one pack in one request: larger ones would leave connections idle
_KEPT_BYTES = 16 << 20  # of records that were cut by a range, in memory
_KEPT_FOOTERS = 64  # in memory: about 300 KB each
_KEPT_SECTIONS = 8  # in memory: at most 20 MB each
_FILE_KINDS = (KIND_FILE,)


class Span(NamedTuple):
    """The bytes of a file from `start` up to but not including `end`, both within its size."""

    digest: Digest
    size_bytes: int
    start: int
    end: int


class _Piece(NamedTuple):
    """Bytes `start` to `stop` of a record, which belong at `at` in the result for a span."""

    span: int
    at: int
    start: int
    stop: int


class _Footer(NamedTuple):
    """The records of a pack of chunks; `ends[n]` is the length of the first n of them, as they were."""

    records: list[Record]
    ends: list[int]


class _Section(NamedTuple):
    """Consecutive terms of a file; `ends[n]` is where in the file term n ends."""

    start: int
    terms: Sequence[Term]
    ends: list[int]


class _Plan(NamedTuple):
    """What is read from where. `large`: spans of files that have a recipe; `absent`: those that nothing has, with what is known of why."""

    pieces: dict[RecordLocation, list[_Piece]]
    large: dict[int, Span]
    absent: dict[int, DvliteError | None]


class RangedReader:
    """Reads files of one cache and, with what `look` returns, of one remote; that is asked for when the cache lacks something."""

    def __init__(self, cache: Cache, look: Callable[[], Catalog]) -> None:
        self.cache = cache
        self._look = look
        self._catalog: Catalog | None = None
        self._is_doubtful = False  # what the catalog distrusts may have been mended since
        self._lock = threading.RLock()  # for whatever is no download
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._footers: OrderedDict[Digest, _Footer] = OrderedDict()
        self._sections: OrderedDict[tuple[Digest, int], _Section] = OrderedDict()
        # large files of the cache, as they were when they were read as a whole
        self._hashed: dict[Digest, tuple[int, ...]] = {}

    @property
    def traffic(self) -> Traffic:
        """What came from the remote."""
        return Traffic() if self._catalog is None else self._catalog.remote.traffic

    def tombstone(self, digest: Digest) -> Tombstone | None:
        """Returns why a file must not be read, as far as the cache and the remote say; None for any other."""
        also = {} if self._catalog is None else self._catalog.remote.cache.purged
        return self.cache.purged.get(digest) or also.get(digest)

    def read(self, span: Span) -> bytes:
        """Returns the bytes of one span; raises what `read_each` would return."""
        (result,) = self.read_each([span])
        if isinstance(result, DvliteError):
            raise result
        return result

    def read_each(self, spans: Sequence[Span]) -> list[bytes | DvliteError]:
        """Returns the bytes of each span, or why they cannot be had: ObjectMissing, ObjectCorrupt, RemoteError and others.

        What holds several spans travels once. Holds the results, and what a few requests bring, in memory.
        """
        results: list[bytes | DvliteError | None] = [None] * len(spans)
        with self._lock:
            self.cache.refresh_if_changed()
        for number, span in enumerate(spans):
            try:
                results[number] = self._cached(span)
            except DvliteError as error:
                results[number] = error
        left = {number: span for number, span in enumerate(spans) if not isinstance(results[number], bytes)}
        left = {number: span for number, span in left.items() if span.digest not in self.cache.purged}
        if left:
            for number, result in self._fetched(left).items():
                kept = results[number]
                is_better = not (isinstance(kept, ObjectCorrupt) and isinstance(result, ObjectMissing))
                results[number] = result if is_better else kept
        return [_purged(span) if result is None else result for span, result in zip(spans, results, strict=True)]

    def size_of(self, digest: Digest) -> int:
        """Returns the size of a file of which no more than its digest is known. Raises ObjectMissing."""
        with self._lock:
            for place in self.cache.locations(digest, _FILE_KINDS):
                return place.record.raw_length
            if self.cache.has_large(digest):
                return os.stat(self.cache.large_path(digest)).st_size
            for attempt in range(_ROUNDS):
                catalog = self._looked(again=attempt > 0)
                for place in catalog.locations(digest, _FILE_KINDS):
                    return place.record.raw_length
                with contextlib.suppress(ObjectAbsent):
                    file = catalog.recipes.find([digest]).get(digest)
                    if file is not None:
                        return file.recipe.size_bytes
                    if attempt:
                        break
            self._is_doubtful = True
            raise catalog.missing(digest, FILE)

    def read_nodes(self, digests: Sequence[Digest]) -> dict[Digest, bytes]:
        """Returns nodes of listings. Raises ObjectMissing, ObjectCorrupt and RemoteError."""
        nodes: dict[Digest, bytes] = {}
        with self._lock:
            for digest in digests:
                if self.cache.has_node(digest):
                    nodes[digest] = self.cache.read_node(digest)
            absent = [digest for digest in digests if digest not in nodes]
            if absent:
                try:
                    nodes |= fetch.fetch_level(self._looked(), absent)
                except ObjectCorrupt:
                    self._is_doubtful = True
                    raise
        return nodes

    # --- the cache ---

    def _cached(self, span: Span) -> bytes | None:
        """Returns the bytes of a span if the cache has the file. Raises ObjectCorrupt."""
        digest, size_bytes, start, end = span
        cache = self.cache
        if digest in cache.purged:
            return None
        if start >= end and (size_bytes or digest == EMPTY_FILE):
            return b""
        with self._lock:
            if cache.has_packed(digest, _FILE_KINDS):
                data = self._kept.get(digest) or cache.read(digest, _FILE_KINDS)
                if len(data) != size_bytes:
                    raise _wrong_size(digest, len(data), size_bytes)
                if end - start < size_bytes:
                    self._keep(digest, data)
                return data[start:end]
            if not cache.has_large(digest, size_bytes):
                return None
        try:
            with cache.open_large(digest) as descriptor:
                state = _state(descriptor)
                if self._hashed.get(digest) != state and digest_file(descriptor, size_bytes) != digest:
                    raise ObjectCorrupt(
                        f"object {format_oid(FILE, digest)} is damaged in the cache",
                        hint="to fetch a good copy: dvlite pull",
                    )
                self._hashed[digest] = state
                data = files.read_at(descriptor, end - start, start)
                return data if _state(descriptor) == state else None
        except ObjectMissing:
            return None

    # --- a remote ---

    def _looked(self, *, again: bool = False) -> Catalog:
        """Returns what the remote holds by the first look, or by a new one."""
        if self._catalog is None:
            self._catalog = self._look()
        elif self._is_doubtful:
            self._catalog = Catalog(self._catalog.remote, to_read=True).look()
            self._footers.clear()
            self._sections.clear()
        elif again:
            self._catalog.look(search=True)
            self._sections.clear()
        self._is_doubtful = False
        return self._catalog

    def _fetched(self, left: dict[int, Span]) -> dict[int, bytes | DvliteError]:
        """Returns the spans as a remote has them; looks again while some are missing, and gc may have moved them."""
        results: dict[int, bytes | DvliteError] = {}
        damage: dict[int, DvliteError] = {}
        try:
            for attempt in range(_ROUNDS):
                with self._lock:
                    catalog = self._looked(again=attempt > 0)
                    purged = [number for number, span in left.items() if self.tombstone(span.digest)]
                    results |= {number: _purged(left.pop(number)) for number in purged}
                    plan = self._plan(catalog, left)
                rooms = {number: _room(span) for number, span in left.items() if number not in plan.absent}
                failed = plan.absent | self._download(catalog, plan.pieces, rooms)
                for number, room in rooms.items():
                    if number not in failed:
                        results[number] = _whole(left[number], room.getvalue(), is_large=number in plan.large)
                damage |= {number: error for number, error in failed.items() if error is not None}
                before, left = len(left), {number: left[number] for number in failed}
                is_over = attempt and len(left) == before and not any(failed.values())
                if is_over or all(error and not isinstance(error, ObjectCorrupt) for error in failed.values()):
                    break
            for number, span in left.items():
                results[number] = damage.get(number) or catalog.missing(span.digest, FILE)
        except DvliteError as error:  # of the look itself
            results |= dict.fromkeys(left, error)
        self._is_doubtful |= bool(damage)
        return results

    def _plan(self, catalog: Catalog, wanted: Mapping[int, Span]) -> _Plan:
        """Finds the records that hold spans, and which part of each goes where."""
        plan = _Plan({}, {}, {})
        try:
            self._add_to(plan, catalog, wanted)
        except ObjectAbsent:  # of recipes, or parts of one
            return _Plan({}, {}, dict.fromkeys(wanted))
        return plan

    def _add_to(self, plan: _Plan, catalog: Catalog, wanted: Mapping[int, Span]) -> None:
        of_files = {
            digest: catalog.locations(digest, _FILE_KINDS) for digest in {span.digest for span in wanted.values()}
        }
        with_recipe = {digest for digest in of_files if catalog.locations(digest, (KIND_RECIPE,))}
        for number, span in wanted.items():
            places = of_files[span.digest]
            place = next((place for place in places if place.record.raw_length == span.size_bytes), None)
            if place is not None:
                plan.pieces.setdefault(place, []).append(_Piece(number, 0, span.start, span.end))
            elif span.digest in with_recipe:
                plan.large[number] = span
            else:
                size_bytes = places[0].record.raw_length if places else None
                plan.absent[number] = (
                    None if size_bytes is None else _wrong_size(span.digest, size_bytes, span.size_bytes)
                )
        there = catalog.recipes.find(span.digest for span in plan.large.values())
        chunks: list[tuple[int, Span, int, Term]] = []
        for number, span in plan.large.items():
            file = there.get(span.digest)
            try:
                if file is None:
                    damage = catalog.damage.get(span.digest)
                    plan.absent[number] = damage and catalog.remote.damaged(damage)
                elif file.recipe.size_bytes != span.size_bytes:
                    plan.absent[number] = _wrong_size(span.digest, file.recipe.size_bytes, span.size_bytes)
                else:
                    chunks += [(number, span, start, term) for start, term in self._terms(catalog, file, span)]
            except (ObjectCorrupt, LaterVersion) as error:
                plan.absent[number] = catalog.remote.damaged(error)
        self._plan_chunks(catalog, chunks, plan)

    def _terms(self, catalog: Catalog, file: LargeFile, span: Span) -> Iterator[tuple[int, Term]]:
        """Yields the terms that hold a span, each with where in the file it begins; reads those parts of a recipe only."""
        parts = file.recipe.parts
        ends = list(accumulate(part.length_bytes for part in parts)) if parts else [file.recipe.size_bytes]
        for number in range(bisect_right(ends, span.start), len(ends)):
            start = ends[number - 1] if number else 0
            if start >= span.end:
                return
            section = self._sections.get((span.digest, number))
            if section is None:
                terms = catalog.recipes.part(file, number) if parts else file.recipe.terms
                section = _Section(
                    start, terms, list(accumulate((term.length_bytes for term in terms), initial=start))[1:]
                )
                self._sections[span.digest, number] = section
                if len(self._sections) > _KEPT_SECTIONS:
                    self._sections.popitem(last=False)
            for i in range(bisect_right(section.ends, span.start), len(section.terms)):
                begin = section.ends[i - 1] if i else section.start
                if begin >= span.end:
                    break
                yield begin, section.terms[i]

    def _plan_chunks(self, catalog: Catalog, chunks: Sequence[tuple[int, Span, int, Term]], plan: _Plan) -> None:
        """Adds the chunks of terms that hold spans. A span that cannot be read is among the absent."""
        footers, problems = self._footers_of(catalog, {term.pack for *_, term in chunks})
        for number, span, begin, term in chunks:
            if number in plan.absent:
                continue
            if term.pack in problems:
                plan.absent[number] = problems[term.pack]
                continue
            if not _fits(term, footers[term.pack]):
                plan.absent[number] = catalog.remote.damaged(unfit(span.digest, term.pack))
                continue
            for place, piece in _chunks(term, footers[term.pack], begin, span):
                plan.pieces.setdefault(place, []).append(piece._replace(span=number))

    def _footers_of(
        self, catalog: Catalog, names: Iterable[Digest]
    ) -> tuple[dict[Digest, _Footer], dict[Digest, DvliteError | None]]:
        """Returns the footers of packs, those that were not read before all at the same time, and those that cannot be read."""
        footers: dict[Digest, _Footer] = {}
        problems: dict[Digest, DvliteError | None] = {}
        unknown: dict[Digest, Future[list[Record]]] = {}
        for name in names:
            if name in self._footers:
                footers[name] = self._footers[name]
                self._footers.move_to_end(name)
            else:
                unknown[name] = catalog.remote.submit(partial(catalog.footer, name))
        wait(unknown.values())
        for name, future in unknown.items():
            try:
                records = future.result()
            except (ObjectAbsent, ObjectMissing):
                problems[name] = None
            except DvliteError as error:
                problems[name] = catalog.remote.damaged(error)
            else:
                ends = list(accumulate((record.raw_length for record in records), initial=0))
                footers[name] = self._footers[name] = _Footer(records, ends)
        while len(self._footers) > _KEPT_FOOTERS:
            self._footers.popitem(last=False)
        return footers, problems

    # --- downloads ---

    def _download(
        self,
        catalog: Catalog,
        pieces: Mapping[RecordLocation, list[_Piece]],
        rooms: Mapping[int, io.BytesIO],
    ) -> dict[int, DvliteError | None]:
        """Fills the results with what records hold, as many requests at once as there are connections; returns the spans that failed."""
        views = {number: room.getbuffer() for number, room in rooms.items()}
        by_pack: dict[Digest, list[RecordLocation]] = {}
        for place, of_place in pieces.items():
            with self._lock:
                kept = self._kept.get(place.record.digest)
            if kept is None:
                by_pack.setdefault(place.pack, []).append(place)
            else:
                _fill(views, kept, of_place)
        failed: dict[int, DvliteError | None] = {}
        bring = partial(self._bring, catalog, pieces, views)
        flying = {
            catalog.remote.submit(partial(bring, start, end, group)): group
            for places in by_pack.values()
            for start, end, group in ranges(places, limit_bytes=_REQUEST_BYTES)
        }
        try:
            wait(flying)  # nothing is cancelled: other spans may be in the same requests
            for future, group in flying.items():
                damaged = _damage_of(future, group)
                for place, error in damaged.items():
                    failed |= {piece.span: error and catalog.remote.damaged(error) for piece in pieces[place]}
                    if isinstance(error, ObjectCorrupt) and place.record.kind == KIND_CHUNK:
                        catalog.distrusted.add(place.pack)
                    elif isinstance(error, ObjectCorrupt):
                        with self._lock:
                            catalog.doubt(place)
        finally:
            for view in views.values():
                view.release()
        return failed

    def _bring(
        self,
        catalog: Catalog,
        pieces: Mapping[RecordLocation, list[_Piece]],
        views: Mapping[int, memoryview],
        start: int,
        end: int,
        group: Sequence[RecordLocation],
    ) -> dict[RecordLocation, DvliteError]:
        """Requests a range of a pack and fills the results with its records; returns those that are damaged. One that went bad on the way is requested again."""
        name = f"packs/{group[0].pack.hex()}"
        damaged: dict[RecordLocation, DvliteError] = {}
        for _ in range(2):
            data = catalog.remote.get(name, start=start, end=end)
            left, damaged = damaged or group, {}
            for place in left:
                try:
                    content = _content(place.record, data, start)
                except (ObjectCorrupt, LaterVersion) as error:
                    damaged[place] = error
                    continue
                _fill(views, content, pieces[place])
                if any(piece.stop - piece.start < len(content) for piece in pieces[place]):
                    self._keep(place.record.digest, bytes(content))
            if not damaged:
                break
        return damaged

    def _keep(self, digest: Digest, content: bytes) -> None:
        """Keeps a record in memory that was cut by a range."""
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
                return
            self._kept[digest] = content
            self._kept_bytes += len(content)
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])


def _room(span: Span) -> io.BytesIO:
    """Returns the memory for the bytes of a span, which become one object without being copied."""
    room = io.BytesIO()
    if span.end > span.start:
        room.seek(span.end - span.start - 1)
        room.write(b"\0")
    return room


def _whole(span: Span, content: bytes, *, is_large: bool) -> bytes | DvliteError:
    """Returns what was read; all of a large file is checked against its name, which chunks and recipe do not prove."""
    if not is_large or len(content) < span.size_bytes or digest_bytes(content) == span.digest:
        return content
    name = format_oid(FILE, span.digest)
    return ObjectCorrupt(f"object {name} is damaged: its chunks do not make the file that its name promises", hint=MEND)


def _purged(span: Span) -> DvliteError:
    return ObjectMissing(
        f"object {format_oid(FILE, span.digest)} was purged", hint="what was purged: dvlite purge --list"
    )


def _content(record: Record, data: bytes, start: int) -> Buffer:
    """Returns what a record holds, checked against its oid, from a range of its pack that begins at `start`: not copied where it is not compressed."""
    offset = record.offset - start
    return unpack_view(record, memoryview(data)[offset : offset + record.stored_length])


def _fill(views: Mapping[int, memoryview], content: Buffer, pieces: Iterable[_Piece]) -> None:
    for piece in pieces:
        if piece.span in views:
            view = views[piece.span]
            view[piece.at : piece.at + piece.stop - piece.start] = content[piece.start : piece.stop]


def _damage_of(
    future: Future[dict[RecordLocation, DvliteError]], group: Sequence[RecordLocation]
) -> Mapping[RecordLocation, DvliteError | None]:
    """Returns which records of a request did not come, and why; None: their pack is gone, and another look may help."""
    try:
        return future.result()
    except ObjectAbsent:
        return dict.fromkeys(group, None)
    except DvliteError as error:
        return dict.fromkeys(group, error)


def _fits(term: Term, footer: _Footer) -> bool:
    """Returns whether a pack has the chunks of a term, and these have its length."""
    if term.first + term.count > len(footer.records):
        return False
    length = footer.ends[term.first + term.count] - footer.ends[term.first]
    if term.skip_bytes is not None:
        return term.skip_bytes + term.length_bytes <= length
    return length * term.repeat == term.length_bytes


def _chunks(term: Term, footer: _Footer, begin: int, span: Span) -> Iterator[tuple[RecordLocation, _Piece]]:
    """Yields the chunks of a term, which begins at `begin` in the file, that hold a span."""
    period, base = term.length_bytes // term.repeat, footer.ends[term.first]
    first, last = max(0, span.start - begin), min(term.length_bytes, span.end - begin)
    if term.skip_bytes is not None:
        place = RecordLocation(term.pack, footer.records[term.first])
        yield place, _Piece(0, begin + first - span.start, term.skip_bytes + first, term.skip_bytes + last)
        return
    for turn in range(first // period, -(-last // period)):
        at = begin + turn * period  # of this repetition, in the file
        low, high = max(0, span.start - at), min(period, span.end - at)
        number = bisect_right(footer.ends, base + low, term.first, term.first + term.count) - 1
        while number < term.first + term.count and footer.ends[number] - base < high:
            record, position = footer.records[number], footer.ends[number] - base
            start, stop = max(0, low - position), min(record.raw_length, high - position)
            if stop > start:
                yield RecordLocation(term.pack, record), _Piece(0, at + position + start - span.start, start, stop)
            number += 1


def _state(descriptor: int) -> tuple[int, ...]:
    status = os.fstat(descriptor)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _wrong_size(digest: Digest, size_bytes: int, said: int) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"object {format_oid(FILE, digest)} has {size_bytes} bytes, and is said to have {said}",
        hint="restore the pointer from git",
    )
