"""Takes objects out of a cache that are safe elsewhere: large files one by one, packs of small files only as a whole.

First plans, then removes; the caller decides what is safe and holds the cache's lock alone. Manifests are never touched.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dvlite import files
from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.oid import Digest
from dvlite.store import pack
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE, Record

IsSafe = Callable[[Digest], bool]  # does another store have this file for certain?


@dataclass(frozen=True, slots=True)
class Pruning:
    """What can go, as paths in the cache with their size in bytes, and what stays."""

    large: tuple[tuple[Path, int], ...]
    packs: tuple[tuple[Digest, int], ...]
    kept_objects: int
    kept_bytes: int

    @property
    def freed_bytes(self) -> int:
        return sum(size for _, size in (*self.large, *self.packs))


@dataclass(frozen=True, slots=True)
class CacheContents:
    """The large files of a cache, and the records of its packs of small files."""

    large: dict[Digest, Path]
    packs: dict[Digest, list[Record]]

    def digests(self) -> Iterator[Digest]:
        """Yields the files; one in two packs twice."""
        yield from self.large
        yield from (record.digest for records in self.packs.values() for record in records)


def contents(cache: Cache) -> CacheContents:
    """Returns the files of a cache; packs without an index are read."""
    large = {
        Digest(bytes.fromhex(path.name)): path for path in _objects(cache.folder / "files", depth=1) if path.is_file()
    }
    records: dict[Digest, list[Record]] = {}
    for segment in cache.segments().values():
        for place in segment:
            records.setdefault(place.pack, []).append(place.record)
    packs = {}
    for path in _objects(cache.folder / "packs", depth=0):
        name = Digest(bytes.fromhex(path.name))
        in_pack = records.get(name)
        if in_pack is None:
            with contextlib.suppress(ObjectCorrupt, ObjectMissing):
                in_pack = pack.open_whole(memoryview(cache.map_pack(name)), name)
        if in_pack and all(record.kind == KIND_FILE for record in in_pack):
            packs[name] = in_pack
    return CacheContents(large, packs)


def plan(cache: Cache, held: CacheContents, is_safe: IsSafe) -> Pruning:
    """Divides the files that a cache holds into those that can go and those that stay."""
    gone_files, gone_packs, staying = [], [], []
    for digest, path in held.large.items():
        size = _freed(path)
        if is_safe(digest):
            gone_files.append((path, size))
        else:
            staying.append(size)
    for name, records in held.packs.items():
        size = _freed(cache.folder / "packs" / name.hex())
        if all(is_safe(record.digest) for record in records):
            gone_packs.append((name, size))
        else:
            staying.append(size)
    return Pruning(tuple(gone_files), tuple(gone_packs), len(staying), sum(staying))


def remove(cache: Cache, pruning: Pruning) -> None:
    """Removes what a plan says; index rows go before their packs, so that no row names a pack that is gone."""
    doomed = {name for name, _ in pruning.packs}
    for name, segment in list(cache.segments().items()):
        if doomed.isdisjoint(segment.packs):
            continue
        cache.write_index([place for place in segment if place.pack not in doomed])
        os.unlink(cache.folder / "index" / name)
    if doomed:
        files.sync_path(cache.folder / "index")
    cache.refresh()
    for path in (*(path for path, _ in pruning.large), *(cache.folder / "packs" / name.hex() for name in doomed)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    cache.refresh()


def _objects(folder: Path, *, depth: int) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if depth and entry.is_dir(follow_symlinks=False):
                yield from _objects(Path(entry.path), depth=depth - 1)
            elif not depth and len(entry.name) == 64 and not set(entry.name) - set("0123456789abcdef"):
                yield Path(entry.path)


def _freed(path: Path) -> int:
    """Returns what removing a file frees: nothing if the workspace has a hard link to it."""
    status = os.lstat(path)
    return status.st_size if status.st_nlink == 1 else 0
