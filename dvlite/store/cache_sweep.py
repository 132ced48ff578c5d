"""Takes out of a cache what is not needed there: large files one by one, small files and listings by copying the rest of their packs.

First plans, then removes; the caller decides what is needed, and holds the cache's lock alone while it removes. Of packs, stored records
are copied as they are, each checked before. Whatever is cut short is completed by the next run: new packs and their index are durable
before an old index goes, and that before its packs. What cannot be read stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dvlite import files
from dvlite.errors import LaterVersion, ObjectCorrupt, ObjectMissing
from dvlite.oid import Digest
from dvlite.store import index, pack
from dvlite.store.cache import Cache
from dvlite.store.index import RecordLocation, rows_of
from dvlite.store.pack import KIND_FILE, Pack, PackWriter, Record

YOUNG = "stored just now"
PURGED = "purged"  # goes whatever its age, and however little of its pack it is
TWICE = "stored twice"
UNFINISHED = "unfinished downloads"
TEMPORARY = "temporary files"
NOTES = "notes about remotes that are not configured"
UNREADABLE = "in packs that cannot be read"
_MOST_WASTE = 0.05  # of a pack, before it is written again
_MANY_SMALL = 16  # packs below a quarter of their usual size, before they are joined
_SMALL_BYTES = pack.TARGET_BYTES // 4
_RECORD_BYTES = pack.RECORD_BYTES + pack.ROW_BYTES  # that a pack has for each record, besides what is stored
_PACK_BYTES = pack.HEADER_BYTES + pack.TRAILER_BYTES

Verdict = tuple[bool, str]  # is it needed, and by what: or why it goes
Judge = Callable[[int, Digest], Verdict]  # of an object by its kind and digest


@dataclass(slots=True)
class Amount:
    """So many objects, and their bytes on the disk."""

    objects: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        self.objects += 1
        self.size_bytes += size_bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sweep may touch: nothing that changed at `oldest_ns` or later; with `tidies`, small packs are joined, and leftovers go."""

    oldest_ns: int | None = None
    tidies: bool = False
    notes: tuple[Path, ...] = ()  # folders that nothing needs


@dataclass(slots=True)
class Sweep:
    """What goes: large files, packs (what is needed of them is copied first) and leftovers; and how much, by reason."""

    large: list[Path] = field(default_factory=list)
    packs: list[Digest] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    gone: dict[str, Amount] = field(default_factory=dict)
    kept: dict[str, Amount] = field(default_factory=dict)
    freed_bytes: int = 0
    copied_bytes: int = 0  # written before packs go
    unreadable: int = 0  # packs

    def count(self, verdict: Verdict, size_bytes: int) -> None:
        is_kept, reason = verdict
        (self.kept if is_kept else self.gone).setdefault(reason, Amount()).add(size_bytes)


def file_digests(cache: Cache) -> Iterator[Digest]:
    """Yields the files of a cache; one in two packs twice."""
    yield from (Digest(bytes.fromhex(path.name)) for path in _large(cache))
    for name in _packs(cache):
        with contextlib.suppress(ObjectCorrupt, ObjectMissing, LaterVersion):
            yield from (record.digest for record in _records(cache, name) if record.kind == KIND_FILE)


def now_ns(cache: Cache) -> int:
    """Returns the time by the clock of the cache's disk, which its files have their times from."""
    probe = cache.folder / "tmp" / files.temporary_name()
    cache.make_folder(probe.parent)
    try:
        probe.touch()
        return probe.stat().st_mtime_ns
    except OSError as error:
        raise files.os_error(error, "write", probe) from error
    finally:
        probe.unlink(missing_ok=True)


def quarantined(cache: Cache) -> Amount:
    """Returns what is in quarantine, which no sweep touches."""
    amount = Amount()
    for path in _entries(cache.folder / "quarantine"):
        amount.add(path.lstat().st_size)
    return amount


# --- the plan ---


def plan(cache: Cache, judge: Judge, limits: Limits) -> Sweep:
    """Divides what a cache holds into what goes and what stays. Reads the footers of all packs, no content."""
    sweep = Sweep()
    for path in _large(cache):
        verdict = judge(KIND_FILE, Digest(bytes.fromhex(path.name)))
        status = os.lstat(path)
        if not verdict[0] and verdict[1] != PURGED and _is_young(status, limits):
            verdict = True, YOUNG
        freed = status.st_size if status.st_nlink == 1 else 0  # the workspace may have a hard link to it
        sweep.count(verdict, status.st_size if verdict[0] else freed)
        if not verdict[0]:
            sweep.large.append(path)
            sweep.freed_bytes += freed
    _plan_packs(cache, judge, limits, sweep)
    for path, reason in _leftovers(cache, limits):
        size = sum(os.lstat(each).st_blocks * 512 for each in (path, *path.rglob("*")))
        sweep.leftovers.append(path)
        sweep.count((False, reason), size)
        sweep.freed_bytes += size
    return sweep


@dataclass(frozen=True, slots=True)
class _PackPlan:
    """One pack: its size, and the lengths of the records in it that are needed and in no pack before it."""

    name: Digest
    pack_class: int
    size_bytes: int
    live: array[int]
    is_young: bool
    holds_purged: bool

    @property
    def is_wasteful(self) -> bool:
        wanted = _PACK_BYTES + sum(self.live) if self.live else 0
        return self.size_bytes - wanted > _MOST_WASTE * self.size_bytes


def _plan_packs(cache: Cache, judge: Judge, limits: Limits, sweep: Sweep) -> None:
    """Plans packs: young ones first, then the largest, so that of a record in two packs the copy in the smaller one is the spare one."""
    indexed = {name for segment in cache.segments().values() for name in segment.packs}
    found = []
    for name in _packs(cache):
        status = os.lstat(cache.folder / "packs" / name.hex())
        found.append((not _is_young(status, limits), -status.st_size, name))
    # of objects in several packs, the kinds that one before has
    repeated = {Digest(digest): set[int]() for digest in index.repeated(cache.segments().values())}
    plans = []
    for is_old, size, name in sorted(found):
        try:
            if name not in indexed:
                raise ObjectMissing(name.hex())  # of a killed process: indexed by the next command that reads the cache
            plans.append(_plan_pack(cache, judge, sweep, (name, -size, not is_old), repeated))
        except (ObjectCorrupt, ObjectMissing, LaterVersion):
            sweep.unreadable += 1
            sweep.count((True, UNREADABLE), -size)
    for pack_class in (pack.FILES, pack.META, pack.CHUNKS):
        old = [one for one in plans if one.pack_class == pack_class and (one.holds_purged or not one.is_young)]
        small = [one for one in old if one.live and one.size_bytes < _SMALL_BYTES]
        joined = {one.name for one in small} if limits.tidies and len(small) > _MANY_SMALL else set()
        doomed = [one for one in old if one.holds_purged or one.is_wasteful or one.name in joined]
        sweep.packs += [one.name for one in doomed]
        copied = sum(_layout(length for one in doomed for length in one.live))
        sweep.copied_bytes += copied
        sweep.freed_bytes += sum(one.size_bytes for one in doomed) - copied


def _plan_pack(
    cache: Cache, judge: Judge, sweep: Sweep, which: tuple[Digest, int, bool], repeated: Mapping[Digest, set[int]]
) -> _PackPlan:
    name, size_bytes, is_young = which
    pack_class = pack.class_of(memoryview(cache.map_pack(name)), name)
    live = array("I")
    holds_purged = False
    for record in _records(cache, name):
        verdict = judge(record.kind, record.digest)
        length = record.stored_length + _RECORD_BYTES
        if verdict[0] and record.kind in repeated.get(record.digest, ()):
            verdict = False, TWICE
        elif verdict[0]:
            repeated.get(record.digest, set()).add(record.kind)
            live.append(length)
        is_purged = verdict == (False, PURGED)
        holds_purged |= is_purged
        sweep.count((True, YOUNG) if is_young and not verdict[0] and not is_purged else verdict, length)
    return _PackPlan(name, pack_class, size_bytes, live, is_young, holds_purged)


def _layout(lengths: Iterable[int]) -> Iterator[int]:
    """Yields the sizes of the packs that records of these lengths fill, as `_Copies` fills them."""
    size = _PACK_BYTES
    for length in lengths:
        size += length
        if size >= pack.TARGET_BYTES:
            yield size
            size = _PACK_BYTES
    if size > _PACK_BYTES:
        yield size


def _leftovers(cache: Cache, limits: Limits) -> Iterator[tuple[Path, str]]:
    """Yields what killed commands left, and notes that nothing needs, if all of it is old enough."""
    if not limits.tidies:
        return
    for path in _entries(cache.folder / "partial"):
        if not _is_young(os.lstat(path), limits):
            yield path, UNFINISHED
    for folder in ("tmp", "index", "projects"):
        for path in _entries(cache.folder / folder):
            if files.is_temporary_name(os.fsencode(path.name)) and not _is_young(os.lstat(path), limits):
                yield path, TEMPORARY
    for notes in limits.notes:
        if not any(_is_young(os.lstat(path), limits) for path in notes.rglob("*")):
            yield notes, NOTES


# --- carrying it out ---


def apply(cache: Cache, sweep: Sweep, judge: Judge) -> int:
    """Removes what a plan says; returns how many needed objects are damaged, whose packs stay.

    Files that need no copy go first, so that a full disk has room for the copies. Raises NoSpace if it has not.
    """
    for path in (*sweep.large, *sweep.leftovers):
        _unlink(path)
    empty = [
        name for name in sweep.packs if not any(judge(each.kind, each.digest)[0] for each in _records(cache, name))
    ]
    _remove_packs(cache, set(empty))
    doomed = set(sweep.packs) - set(empty)
    if not doomed:
        return 0
    files.require_space(cache.folder, sweep.copied_bytes, "copying what is needed of old packs")
    copies = _Copies(cache)
    damaged: dict[tuple[int, Digest], set[Digest]] = {}
    for name in (name for name in sweep.packs if name in doomed):
        for record in _records(cache, name):
            which = record.kind, record.digest
            if which in copies.done or not judge(*which)[0] or _is_elsewhere(cache, record, doomed):
                continue
            try:
                copies.add(RecordLocation(name, record))
            except ObjectCorrupt:
                damaged.setdefault(which, set()).add(name)
    copies.finish()
    lost = {which: names for which, names in damaged.items() if which not in copies.done}
    _remove_packs(cache, doomed.difference(*lost.values()))
    return len(lost)


class _Copies:
    """New packs of records that were checked; visible, and durable, after `finish`."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._open: dict[int, PackWriter] = {}
        self._rows: list[RecordLocation] = []
        self.done: set[tuple[int, Digest]] = set()

    def add(self, place: RecordLocation) -> None:
        """Copies a record. Raises ObjectCorrupt if its bytes are not what its name promises."""
        record, stored = place.record, self._cache.stored(place)
        pack.unpack(record, stored)
        pack_class = index.class_of(record.kind)
        writer = self._open.get(pack_class)
        if writer is None:
            writer = self._open[pack_class] = PackWriter(pack_class, os.urandom(pack.NONCE_BYTES))
        writer.add_stored(record, stored)
        self.done.add((record.kind, record.digest))
        if writer.size_bytes >= pack.TARGET_BYTES:
            self._store(self._open.pop(pack_class).finish())

    def finish(self) -> None:
        for writer in self._open.values():
            self._store(writer.finish())
        self._open.clear()
        if self._rows:
            files.sync_path(self._cache.folder / "packs")
            self._cache.write_index(self._rows)

    def _store(self, whole: Pack) -> None:
        target = self._cache.folder / "packs" / whole.name.hex()
        files.write_atomic(target, whole.data, mode=0o444, aside=self._cache.folder / "tmp")
        self._cache.open_to_group(target, 0o444)
        self._rows += rows_of(whole)


def _is_elsewhere(cache: Cache, record: Record, doomed: set[Digest]) -> bool:
    """Returns whether a pack that stays has a sound copy."""
    for place in cache.locations(record.digest, (record.kind,)):
        if place.pack not in doomed:
            with contextlib.suppress(ObjectCorrupt, ObjectMissing):
                pack.unpack(place.record, cache.stored(place))
                return True
    return False


def _remove_packs(cache: Cache, doomed: set[Digest]) -> None:
    """Removes packs; index rows go before them, so that no row names a pack that is gone."""
    segments = {name: each for name, each in cache.segments().items() if not doomed.isdisjoint(each.packs)}
    rows = {name: index.known_rows(segment) for name, segment in segments.items()}
    doomed = doomed.difference(
        *(segments[name].packs for name, known in rows.items() if known is None)
    )  # a later dvlite's
    for name, known in rows.items():
        if known is not None and not doomed.isdisjoint(segments[name].packs):
            cache.write_index([place for place in known if place.pack not in doomed])
            _unlink(cache.folder / "index" / name)
    if doomed:
        files.sync_path(cache.folder / "index")
    cache.refresh()
    for pack_name in doomed:
        _unlink(cache.folder / "packs" / pack_name.hex())
        cache.forget_map(pack_name)
    cache.refresh()


# --- the folder ---


def _records(cache: Cache, name: Digest) -> list[Record]:
    """Returns what is in a pack, by its footer: what is found without one may not be all. Raises ObjectCorrupt, ObjectMissing, LaterVersion."""
    view = memoryview(cache.map_pack(name))
    length = pack.footer_length(view[-pack.TRAILER_BYTES :], name)
    return pack.decode_footer(view[len(view) - length :], name, len(view))


def _large(cache: Cache) -> Iterator[Path]:
    for folder in _entries(cache.folder / "files", folders=True):
        yield from (path for path in _entries(folder) if _is_object(path.name))


def _packs(cache: Cache) -> Iterator[Digest]:
    return (Digest(bytes.fromhex(path.name)) for path in _entries(cache.folder / "packs") if _is_object(path.name))


def _entries(folder: Path, *, folders: bool = False) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False) if folders else entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _is_object(name: str) -> bool:
    return len(name) == 64 and not set(name) - set("0123456789abcdef")


def _is_young(status: os.stat_result, limits: Limits) -> bool:
    newest = max(status.st_mtime_ns, status.st_ctime_ns)
    return limits.oldest_ns is not None and newest >= limits.oldest_ns


def _unlink(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            os.unlink(path)
