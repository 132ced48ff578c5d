"""Fills a large file that is on its way with what is here already: an unfinished download, or earlier versions in the cache.

Chunks are known by their oids. A stretch of a chunk is not, but the recipe of an earlier version says where in it the same stretch lies.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from dvlite import files
from dvlite.formats.store_config import DEFAULT
from dvlite.oid import Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.store import chunking
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.pack import Record
from dvlite.store.partial_file import PartialFile
from dvlite.store.recipes import WINDOW_CHUNKS, LargeFile, fits

_FOOTERS = 64  # in memory at a time, while the chunks they name are noted
_AROUND_BYTES = 1024 * 1024 * 1024  # of an earlier version, before and after where a window of a very large file lies

# pack, chunk -> bytes passed over, length, offset in a file
Places = dict[tuple[Digest, int], list[tuple[int, int, int]]]


def run(catalog: Catalog, partial: PartialFile, bases: Sequence[Digest], cache: Cache, progress: Progress) -> None:
    """Takes what it can; `bases` are earlier versions, newest first. Costs a request for each footer that this clone has not seen."""
    cached = [base for base in bases if cache.large_path(base).exists()]
    if not partial.resumed and not cached:
        return
    for at in range(0, len(partial.packs), _FOOTERS):
        partial.expand(catalog.footers(partial.packs[at : at + _FOOTERS]))
    if partial.resumed:
        partial.keep_what_is_right(progress)
    recipes = catalog.recipes.find(cached) if partial.has_stretches else {}
    for base in cached:
        if not partial.packs_needed():
            return
        with open(os.open(cache.large_path(base), files.READ), "rb") as file:
            if base in recipes:
                _take_stretches(catalog, partial, recipes[base], file.fileno(), progress)
            else:
                _take_chunks(catalog, partial, file.fileno(), progress)


def _take_chunks(catalog: Catalog, partial: PartialFile, file: int, progress: Progress) -> None:
    size = os.fstat(file).st_size
    end = size if partial.is_last else min(size, partial.end_bytes + _AROUND_BYTES)
    start = max(0, partial.start_bytes - _AROUND_BYTES)
    for chunk in chunking.chunks(file, end, catalog.config or DEFAULT, start_bytes=start):
        for place in partial.places(digest_bytes(chunk)):
            partial.fill(place, chunk, progress)


def _take_stretches(catalog: Catalog, partial: PartialFile, base: LargeFile, file: int, progress: Progress) -> None:
    """Takes what the recipe of an earlier version says that it has of the same chunks; the finished file is hashed, as any."""
    places = _places(catalog, base, set(partial.packs))
    for name, number, place in partial.all_places():
        for skip, length, offset in places.get((name, number), ()):
            ahead = place.skip_bytes - skip
            if 0 <= ahead <= length - place.length_bytes:
                piece = files.read_at(file, place.length_bytes, offset + ahead)
                if len(piece) == place.length_bytes:
                    partial.put(place, piece, progress)
                break


def _places(catalog: Catalog, base: LargeFile, packs: set[Digest]) -> Places:
    """Returns where a file has chunks of some packs, or stretches of them; of a very large file, of its beginning."""
    places: Places = {}
    offset = 0
    footers: dict[Digest, list[Record]] = {}
    for term in catalog.recipes.terms(base):
        records = footers.get(term.pack, []) if term.pack in packs else []
        if term.pack in packs and not records:
            if len(footers) >= _FOOTERS:
                footers.clear()
            records = footers[term.pack] = catalog.footers([term.pack])[term.pack]
        at = offset
        for number in range(term.first, term.first + term.count) if fits(term, records) else ():
            length = records[number].raw_length if term.skip_bytes is None else term.length_bytes
            places.setdefault((term.pack, number), []).append((term.skip_bytes or 0, length, at))
            at += length
        offset += term.length_bytes
        if len(places) > WINDOW_CHUNKS:
            break
    return places
