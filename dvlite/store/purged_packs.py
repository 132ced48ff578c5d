"""Where purged content lies on a remote: which packs have to go for it, and which of its chunks are part of files that stay."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from dvlite.oid import Digest
from dvlite.store import pack
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_FILE, KIND_RECIPE
from dvlite.store.recipes import LargeFile
from dvlite.store.usage import Usage, join, note_run, places_of


@dataclass(slots=True)
class Held:
    """What usable packs have of purged files: the packs, the stored bytes that go, all chunks of them, and those that stay."""

    packs: set[Digest] = field(default_factory=set)
    size_bytes: int = 0
    chunks: int = 0
    shared: int = 0


def look(catalog: Catalog, purged: Collection[Digest], used: Usage) -> Held:
    """Compares purged files with the last look and with what is needed.

    With a large file among them, costs a request for each pack of chunks whose footer this clone has not seen, and all packs of chunks go
    that hold more than is needed: what a push sends between stretches depends on what it compared with, so other pushes of the file, or
    those that died, sent chunks that none of its recipes names (tests/model/stretches.py).
    """
    held = Held()
    large: list[Digest] = []
    for digest in purged:
        for place in catalog.locations(digest, (KIND_FILE,)):
            held.packs.add(place.pack)
            held.size_bytes += place.record.stored_length
        recipes = catalog.locations(digest, (KIND_RECIPE,))
        held.packs.update(place.pack for place in recipes)
        large += [digest] if recipes else []
    if large:
        _look_at_chunks(catalog, catalog.recipes.find(large).values(), used, held)
    return held


def _look_at_chunks(catalog: Catalog, files: Iterable[LargeFile], used: Usage, held: Held) -> None:
    runs: dict[Digest, list[tuple[int, int]]] = {}
    for file in files:
        for term in catalog.recipes.terms(file):
            note_run(runs, term)
    chunks: set[Digest] = set()
    shared: set[Digest] = set()
    for name, records in catalog.each_footer(runs):
        chunks.update(place.record.digest for place in places_of(records, name, runs[name]))
    of_class = (entry for segment in catalog.indexes().values() for entry in segment.packs.items())
    names = dict.fromkeys(name for name, entry in of_class if entry.pack_class == pack.CHUNKS and catalog.usable(name))
    for name, records in catalog.each_footer(names):
        # of others that are needed a collector copies what is needed, and leaves out what only the purged file had
        needed = {place.record.digest for place in places_of(records, name, used.whole.get(name, ()))}
        shared |= needed & chunks
    held.chunks, held.shared = len(chunks), len(shared)
    leaving = chunks - shared
    for name, records in catalog.each_footer(names):
        kept = sum(end - first for first, end in join(used.whole.get(name, ())))
        if kept < len(records):
            held.packs.add(name)
            held.size_bytes += sum(record.stored_length for record in records if record.digest in leaving)
