"""Brings objects from a remote into the cache: manifests first, then the wanted files that it lacks.

Everything is verified before it gets a name in the cache: each record against its oid, each large file as a whole. What arrived is kept,
so an interrupted fetch continues. Packs that are mostly needed are fetched whole, others in ranges.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from dvlite import files
from dvlite.errors import DvliteError, LaterVersion, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import Branch
from dvlite.formats.recipe import Term
from dvlite.oid import FILE, MANIFEST, Digest, digest_bytes, format_oid
from dvlite.progress import Progress
from dvlite.show import quote
from dvlite.store import index, pack, reuse
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import Catalog
from dvlite.store.index import ChosenRows, PackRows, RecordLocation, ranges, unpack_at
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, KIND_RECIPE
from dvlite.store.partial_file import PartialFile
from dvlite.store.recipes import LargeFile, windows

_ROUNDS = 4  # fresh looks while gc moves things about
_OPEN_FILES = 24  # partial files at a time: a process may be limited to 64 descriptors
_MOST_RAW = 64  # times a pack's length: what more it claims to hold is not unpacked unless it is wanted
_PLANNED = 4096  # files looked up at a time
_NODES = 1024  # of a listing in memory at a time, while they are fetched
_WHOLE_FRACTION = 0.5  # of a pack; above it, one request for all of it is cheaper than ranges


class Need(NamedTuple):
    """One file to be brought into the cache; `bases` are digests of earlier versions that may be there."""

    digest: Digest
    size_bytes: int
    path: str
    bases: tuple[Digest, ...] = ()


@dataclass(slots=True)
class FetchPlan:
    """Where each needed file comes from, each content once; `absent` are on no pack that can be relied on."""

    small: ChosenRows = field(default_factory=ChosenRows)
    large: list[tuple[Need, LargeFile]] = field(default_factory=list)
    absent: list[Need] = field(default_factory=list)
    size_bytes: int = 0
    damage: DvliteError | None = None  # the first that makes a file absent

    @property
    def files(self) -> int:
        return len(self.small) + len(self.large) + len(self.absent)


@dataclass(slots=True)
class _Arrival:
    """What happened to downloads: an object was gone, so that a new look may help; the first damage that was met."""

    gone: bool = False
    damage: DvliteError | None = None

    def add(self, other: _Arrival) -> None:
        self.gone |= other.gone
        self.damage = self.damage or other.damage


class Unfetched(NamedTuple):
    """The files that a fetch could not bring, and the first damage on the remote that is why; None: they are not there."""

    needs: list[Need]
    damage: DvliteError | None = None


def fetch_nodes(catalog: Catalog, cache: Cache, roots: Iterable[Digest]) -> dict[Digest, DvliteError]:
    """Brings whole listings into the cache, one round trip per level, or per 1,024 nodes of one; returns an error for each root that is missing or damaged in part."""
    problems: dict[Digest, DvliteError] = {}
    for root in dict.fromkeys(roots):
        try:
            _fetch_tree(catalog, cache, root)
        except (ObjectMissing, ObjectCorrupt, LaterVersion) as error:
            problems[root] = error
    return problems


def _fetch_tree(catalog: Catalog, cache: Cache, root: Digest) -> None:
    level = [root]
    with Writer(cache, durable=False) as writer:
        while level:
            children: dict[Digest, None] = {}
            for part in (level[at : at + _NODES] for at in range(0, len(level), _NODES)):
                absent = [digest for digest in part if not cache.has_node(digest)]
                fetched = fetch_level(catalog, absent) if absent else {}
                for digest in part:
                    data = fetched.get(digest)
                    node = manifest.decode(cache.read_node(digest) if data is None else data, digest)
                    if data is not None:
                        writer.put(KIND_MANIFEST, digest, data)
                    if isinstance(node, Branch):
                        below = (child for child in node.digests if node.level > 1 or not cache.has_node(child))
                        children.update(dict.fromkeys(below))
            level = list(children)
        writer.commit()


def fetch_level(catalog: Catalog, digests: Sequence[Digest]) -> dict[Digest, bytes]:
    """Reads nodes from the remote; looks again while some are missing and gc may have moved them."""
    for attempt in range(_ROUNDS):
        places = {digest: catalog.locations(digest, (KIND_MANIFEST,)) for digest in digests}
        absent = next((digest for digest, locations in places.items() if not locations), None)
        try:
            if absent is None:
                data = catalog.read_meta([locations[0] for locations in places.values()])
                absent = next((place.record.digest for place, *_ in places.values() if place not in data), None)
                if absent is None:
                    return {digest: data[locations[0]] for digest, locations in places.items()}
        except ObjectAbsent:
            absent = digests[0]
        if attempt:
            break
        catalog.look(search=True)
    raise catalog.missing(absent or digests[0], MANIFEST)


def plan(catalog: Catalog, needs: Iterable[Need]) -> FetchPlan:
    """Finds files on the remote. Of small ones that it has, only rows are kept in memory: there may be millions."""
    result = FetchPlan()
    others: dict[Digest, tuple[Need, int | None]] = {}  # with the size of a small file that is there and has another
    packs: dict[Digest, int] = {}  # beyond doubt
    waiting = iter(needs)
    while left := list(itertools.islice(waiting, _PLANNED)):
        segments = () if catalog.wrong_rows else index.likely_first(catalog.indexes().values(), left[0].digest)
        if segments and not packs:
            sound = (name for name in catalog.packs if catalog.usable(name) and name not in catalog.condemned)
            packs = {name: catalog.packs[name] for name in sound}
        for segment in segments:
            left = segment.choose(left, KIND_FILE, packs, result.small)
        for need in left:
            places = catalog.locations(need.digest, (KIND_FILE,))
            place = next((place for place in places if place.record.raw_length == need.size_bytes), None)
            if place is not None:
                result.small.add(place)
            else:
                others.setdefault(need.digest, (need, places[0].record.raw_length if places else None))
    result.size_bytes = result.small.raw_bytes + sum(need.size_bytes for need, _ in others.values())
    with_recipe = [
        need for need, size_bytes in others.values() if size_bytes is None or _has_size(need, size_bytes, result)
    ]
    there = catalog.recipes.find(need.digest for need in with_recipe if catalog.locations(need.digest, (KIND_RECIPE,)))
    for need in with_recipe:
        file = there.get(need.digest)
        if file is None:
            result.absent.append(need)
            damage = catalog.damage.get(need.digest)
            result.damage = result.damage or (damage and catalog.remote.damaged(damage))
        elif _has_size(need, file.recipe.size_bytes, result):
            result.large.append((need, file))
    return result


def _lacking(cache: Cache, needs: Iterable[Need]) -> Iterator[Need]:
    """Yields the files that the cache lacks."""
    waiting = iter(needs)
    while part := list(itertools.islice(waiting, _PLANNED)):
        lacks = cache.lacking(b"".join(need.digest for need in part), [need.size_bytes for need in part])
        yield from (part[i] for i in lacks)


def _has_size(need: Need, size_bytes: int, result: FetchPlan) -> bool:
    """Returns whether what a remote has of a name is as long as the pointer or listing says; else it is absent."""
    if need.size_bytes == size_bytes:
        return True
    result.absent.append(need)
    result.damage = result.damage or ObjectCorrupt(
        f"object {format_oid(FILE, need.digest)} has {size_bytes} bytes, but {quote(need.path)} is said to have {need.size_bytes}",
        hint="restore the pointer from git",
    )
    return False


def run(
    catalog: Catalog, cache: Cache, needs: Iterable[Need], progress: Progress, first: FetchPlan | None = None
) -> Unfetched:
    """Brings files into the cache; returns those that a fresh look at the remote did not find, or found damaged. Repeatable; continues what was interrupted.

    `needs` is gone through again after a look that was not enough. A plan for the first look may be given.
    """
    left: list[Need] | None = None
    damage: DvliteError | None = None
    for attempt in range(_ROUNDS):
        todo = first or plan(catalog, _lacking(cache, needs if left is None else left))
        first = None
        if attempt == 0:
            _start(catalog, cache, todo, progress)
        arrival = _bring(catalog, cache, todo, progress)
        damage = arrival.damage or todo.damage or damage
        if not todo.absent and not arrival.gone and arrival.damage is None:
            left = []
            break
        before = len(left or ())
        lacking = {need.digest: need for need in (needs if left is None else left) if not cache.has_file(*need[:2])}
        left = list(lacking.values())
        if arrival.damage:  # may lie in what an earlier version seemed to have: all is read from the remote now
            left = [need._replace(bases=()) for need in left]
        if not left or (attempt and len(left) == before and arrival.damage is None):
            break
        catalog.look(search=bool(todo.absent))
    progress.finish()
    return Unfetched(left or [], damage if left else None)


def _start(catalog: Catalog, cache: Cache, todo: FetchPlan, progress: Progress) -> None:
    hint = "free some space, or fetch a part: dvlite fetch PATH"
    if todo.small or todo.large:
        files.require_space(files.existing_folder(cache.folder), todo.size_bytes, "fetching", hint=hint)
    label = f"fetching from {catalog.remote.shown}"
    progress.start(label, total_bytes=todo.size_bytes, total_files=len(todo.small) + len(todo.large))


def rescue(
    catalog: Catalog, cache: Cache, nodes: Sequence[Digest], contents: Sequence[Need], progress: Progress
) -> None:
    """Copies objects into the cache from condemned packs while these still exist, so that a push can publish them again."""
    with catalog.counting_condemned():  # the new plan says what is nowhere else
        fetch_nodes(catalog, cache, nodes)
        _bring(catalog, cache, plan(catalog, _lacking(cache, contents)), progress)


def _bring(catalog: Catalog, cache: Cache, todo: FetchPlan, progress: Progress) -> _Arrival:
    """Carries out a plan; what is damaged stops nothing else."""
    with Writer(cache, progress, durable=False) as writer:
        try:
            arrival = _bring_small(catalog, writer, todo.small, progress)
        finally:
            writer.commit()  # what arrived is kept, whatever happened
        try:
            arrival.add(_bring_large(catalog, writer, todo.large, progress))
        finally:
            writer.commit()
    return arrival


# --- downloads: what a job returns runs in the calling thread ---


class _Job(NamedTuple):
    """A download, and how many bytes it has in memory."""

    size_bytes: int
    run: Callable[[], Callable[[], None] | None]


def _in_flight(catalog: Catalog, jobs: Iterable[_Job]) -> _Arrival:
    """Runs downloads, as many at once as there are connections, and as fit into a bounded memory."""
    remote = catalog.remote
    limit_bytes = pack.TARGET_BYTES * max(3, remote.jobs * 3 // 8)  # three packs with 8 connections
    flying: dict[Future[Callable[[], None] | None], int] = {}
    waiting = iter(jobs)
    upcoming = next(waiting, None)
    arrival = _Arrival()
    failure: BaseException | None = None
    while flying or (upcoming is not None and failure is None):
        while upcoming is not None and failure is None and len(flying) < remote.jobs:
            if flying and sum(flying.values()) + upcoming.size_bytes > limit_bytes:
                break
            flying[remote.submit(upcoming.run)] = upcoming.size_bytes
            upcoming = next(waiting, None)
        done = wait(flying, return_when=FIRST_COMPLETED).done
        while done:  # one at a time, and let go of: each holds what was downloaded
            future = done.pop()
            del flying[future]
            try:
                store = future.result()
                if store is not None:
                    store()
            except ObjectAbsent:
                arrival.gone = True
            except (ObjectCorrupt, LaterVersion) as error:
                arrival.add(_Arrival(damage=catalog.remote.damaged(error)))
            except Exception as error:  # raised below, once what is on its way was stored
                failure = failure or error
            del future
            store = None
    if failure is not None:
        raise failure
    return arrival


# --- small files ---


def _bring_small(catalog: Catalog, writer: Writer, chosen: ChosenRows, progress: Progress) -> _Arrival:
    def jobs() -> Iterator[_Job]:
        for group in chosen.by_pack():
            size_bytes = catalog.packs[group.pack]
            if group.stored_bytes >= _WHOLE_FRACTION * size_bytes:
                yield _Job(size_bytes, functools.partial(_download_pack, catalog, writer, group, progress))
                continue
            for part in ranges(list(group)):
                yield _Job(part[1] - part[0], functools.partial(_download_range, catalog, writer, part, progress))

    return _in_flight(catalog, jobs())


def _download_pack(catalog: Catalog, writer: Writer, group: PackRows, progress: Progress) -> Callable[[], None]:
    """Downloads a whole pack; if it is damaged, or holds far more than is wanted, only wanted records are read."""
    name = group.pack
    data = catalog.pack_bytes(name)
    limit_bytes = max(group.raw_bytes, _MOST_RAW * len(data))
    whole = pack.verify_whole(data, name, limit_bytes=limit_bytes) if digest_bytes(data) == name else None
    purged = writer.cache.purged
    if whole is None or (purged and any(record.digest in purged for record in whole.records)):
        return _verified(catalog, writer, group, data, 0, progress)

    def store() -> None:
        writer.put_pack(whole)
        progress.advance(size_bytes=group.raw_bytes, files=len(group))

    return store


def _download_range(
    catalog: Catalog, writer: Writer, part: tuple[int, int, list[RecordLocation]], progress: Progress
) -> Callable[[], None]:
    start, end, group = part
    data = catalog.remote.get(f"packs/{group[0].pack.hex()}", start=start, end=end)
    return _verified(catalog, writer, group, data, start, progress)


def _verified(
    catalog: Catalog, writer: Writer, group: Iterable[RecordLocation], data: bytes, start: int, progress: Progress
) -> Callable[[], None]:
    """Verifies the records of a group; returns what stores the sound ones and then raises for a damaged one."""
    sound: list[tuple[pack.Record, memoryview]] = []
    damaged: ObjectCorrupt | LaterVersion | None = None
    for place in group:
        try:
            sound.append((place.record, unpack_at(place, data, start)[0]))
        except LaterVersion as error:
            damaged = damaged or error
        except ObjectCorrupt as error:
            damaged = damaged or error
            catalog.doubt(place)

    def store() -> None:
        for record, stored in sound:
            writer.put_stored(record, stored)
            progress.advance(size_bytes=record.raw_length, files=1)
        if damaged is not None:
            raise damaged

    return store


# --- large files ---


def _bring_large(
    catalog: Catalog, writer: Writer, wanted: Sequence[tuple[Need, LargeFile]], progress: Progress
) -> _Arrival:
    arrival = _Arrival()
    for batch in _batches(wanted):
        partials = [PartialFile(need.digest, need.size_bytes, writer) for need, _ in batch]
        try:
            arrival.add(_bring_batch(catalog, batch, partials, writer.cache, progress))
        finally:
            for partial in partials:
                partial.close()
    return arrival


def _bring_batch(
    catalog: Catalog,
    batch: Sequence[tuple[Need, LargeFile]],
    partials: Sequence[PartialFile],
    cache: Cache,
    progress: Progress,
) -> _Arrival:
    """Fills the files window by window, and finishes those of which all arrived."""
    arrival, whole = _Arrival(), list(partials)
    of_files = (windows(catalog.recipes.terms(file)) for _, file in batch)
    steps: Iterable[tuple[Sequence[Term], ...]] = itertools.zip_longest(*of_files, fillvalue=())

    def fill() -> None:
        for step in steps:  # one, unless a file is very large: that is alone in its batch
            by_pack: dict[Digest, list[PartialFile]] = {}
            for partial, terms, (need, _) in zip(partials, step, batch, strict=True):
                partial.begin(terms)
                arrival.add(
                    _stopping_none(catalog, functools.partial(reuse.run, catalog, partial, need.bases, cache, progress))
                )
                for name in partial.packs_needed():
                    by_pack.setdefault(name, []).append(partial)
            jobs = (
                _Job(
                    min(catalog.packs[name], sum(partial.needed_bytes(name) for partial in group)),
                    functools.partial(_fill, catalog, name, group, progress),
                )
                for name, group in by_pack.items()
            )
            # small ones first: what is new in a version lies between stretches of what is old
            arrival.add(_in_flight(catalog, sorted(jobs, key=attrgetter("size_bytes"))))
            whole[:] = [partial for partial in whole if partial.end_window()]
            if not whole:
                return

    parts = _stopping_none(catalog, fill)  # the terms of a file may lie in parts
    arrival.add(parts)
    for partial in () if parts.gone or parts.damage else whole:
        arrival.add(_stopping_none(catalog, partial.finish))
        progress.advance(files=1)
    return arrival


def _stopping_none(catalog: Catalog, work: Callable[[], None]) -> _Arrival:
    """Does the work for one file; damage or absence of what it needs is noted, and stops no other file."""
    try:
        work()
    except ObjectAbsent:
        return _Arrival(gone=True)
    except (ObjectCorrupt, LaterVersion) as error:
        return _Arrival(damage=catalog.remote.damaged(error))
    return _Arrival()


def _batches(wanted: Sequence[tuple[Need, LargeFile]]) -> Iterable[list[tuple[Need, LargeFile]]]:
    """Groups files so that small ones share the download of a pack and few are open at a time."""
    batch: list[tuple[Need, LargeFile]] = []
    total = 0
    for item in wanted:
        if batch and (len(batch) >= _OPEN_FILES or total + item[0].size_bytes > 8 * pack.TARGET_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += item[0].size_bytes
    if batch:
        yield batch


def _fill(catalog: Catalog, name: Digest, group: list[PartialFile], progress: Progress) -> None:
    """Downloads what one pack holds of some files: all of it in one request if it is mostly needed, else ranges."""
    try:
        if sum(partial.needed_bytes(name) for partial in group) >= _WHOLE_FRACTION * catalog.packs[name]:
            data = catalog.pack_bytes(name)
            records = pack.open_whole(data, name)
            catalog.keep_footer(name, data)
            parts: Iterable[tuple[int, bytes]] = [(0, data)]
        else:
            records = catalog.footer(name)
            numbers = sorted({number for partial in group for number in partial.numbers(name, records)})
            wanted = ranges([RecordLocation(name, records[number]) for number in numbers])
            parts = (
                (start, catalog.remote.get(f"packs/{name.hex()}", start=start, end=end)) for start, end, _ in wanted
            )
        damaged: ObjectCorrupt | None = None
        for start, data in parts:
            for partial in group:
                try:
                    partial.write(name, records, data, start, progress)
                except ObjectCorrupt as error:  # of a chunk that others may not need
                    damaged = error
        if damaged is not None:
            raise damaged
    except ObjectCorrupt:
        catalog.distrusted.add(name)
        raise
