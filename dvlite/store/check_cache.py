"""What is wrong in a cache: large files against their names, packs against indexes, notes, and what lies there and is not ours.

Reads only: other than a command that uses the cache, it sets nothing aside and indexes nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, FormatError, LaterVersion, ObjectCorrupt, ObjectMissing
from dvlite.formats import tombstone
from dvlite.oid import Digest, digest_bytes, digest_path
from dvlite.progress import Progress
from dvlite.store import index, pack
from dvlite.store.cache import Cache
from dvlite.store.check import AT_ONCE, CheckedPack, Found, IndexRows, Read, ahead, check_pack, compare
from dvlite.store.index import Index
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, Record

_NAME = re.compile(r"[0-9a-f]{64}")
_FOLDERS = ("files", "packs", "index", "partial", "tmp", "quarantine", "projects", "purged", "remote")
_FILES = ("lock",)
_WRONG_BYTES = "its bytes are not the ones that its name promises"


@dataclass(slots=True)
class CacheState:
    """What a look at a cache found. `damaged` are objects whose bytes are wrong or gone, by kind."""

    cache: Cache
    progress: Progress
    is_over: Callable[[], bool] = lambda: False
    found: Found = field(default_factory=Found)
    large: dict[Digest, int] = field(default_factory=dict)  # the sizes of large files, in bytes
    packs: dict[Digest, int] = field(default_factory=dict)
    damaged: set[tuple[int, Digest]] = field(default_factory=set)
    bad_files: set[Digest] = field(default_factory=set)
    misplaced: dict[Digest, Digest] = field(
        default_factory=dict
    )  # what bad files are, and under which name each stands
    bad_records: set[tuple[Digest, Digest]] = field(default_factory=set)  # pack and object
    strange: list[Path] = field(default_factory=list)  # what is not ours, or has no sound content: to be set aside

    def aside(self, path: Path, name: str, reason: str) -> None:
        self.strange.append(path)
        self.found.note(name, "foreign", reason)

    def bad_file(self, digest: Digest, reason: str) -> None:
        self.bad_files.add(digest)
        self.damaged.add((KIND_FILE, digest))
        self.found.note(f"files/{digest.hex()[:2]}/{digest.hex()}", "damaged", reason)


def look(check: CacheState) -> None:
    """Compares names, kinds of files, indexes and the tables of packs."""
    check.progress.start("checking the cache")
    _top(check)
    _tombstones(check)
    _large(check)
    segments = _segments(check)
    rows = IndexRows(segments)
    for path, name in _objects(check, "packs"):
        check.packs[name] = os.lstat(path).st_size
    for name in sorted(check.packs):
        _pack(check, rows, name)
        if check.is_over():
            check.found.stopped = True
            break
    for name, named_by in rows.naming(lambda name: name not in check.packs).items():
        check.found.note(f"packs/{name.hex()}", "missing", "an index names it, and it is not there")
        for each in named_by:
            check.damaged.update(
                (place.record.kind, place.record.digest) for place in segments[each] if place.pack == name
            )
            rows.correct(check.found, each, name, ())
    standing = dict(segments)
    for each, right in check.found.replaced.items():
        standing[each] = Index(index.encode(right, bytes(16)), each)
    if check.found.unindexed:  # the next command indexes them
        places = [place for of_pack in check.found.unindexed.values() for place in of_pack]
        standing[""] = Index(index.encode(places, bytes(16)), "of packs in no index")
    check.cache.look_through(standing)
    check.progress.finish()


def _top(check: CacheState) -> None:
    """Looks at what lies in the cache's own folder, and at the clones that it belongs to."""
    folder = check.cache.folder
    for entry in _scan(folder):
        is_folder = entry.is_dir(follow_symlinks=False)
        known = entry.name in _FOLDERS if is_folder else entry.name in _FILES
        if not known:
            check.aside(Path(entry.path), entry.name, "dvlite writes no such name")
    for entry in _scan(folder / "projects"):
        note = files.read_own(Path(entry.path)) or b""
        if digest_bytes(note.split(b"\n")[0]).hex() != entry.name:
            check.aside(Path(entry.path), f"projects/{entry.name}", _WRONG_BYTES)


def _tombstones(check: CacheState) -> None:
    """Looks at what says which contents were purged: a damaged one counts for nothing, and stays until a remote has it."""
    for path, name in _objects(check, "purged"):
        if path.name not in check.cache.tombstones:
            check.found.note(f"{tombstone.FOLDER}{name.hex()}", "damaged", _WRONG_BYTES)


def _large(check: CacheState) -> None:
    for shard in _scan(check.cache.folder / "files"):
        if not shard.is_dir(follow_symlinks=False):
            check.aside(Path(shard.path), f"files/{shard.name}", "dvlite writes no such name")
            continue
        for entry in _scan(Path(shard.path)):
            name = f"files/{shard.name}/{entry.name}"
            if _NAME.fullmatch(entry.name) is None or entry.name[:2] != shard.name:
                check.aside(Path(entry.path), name, "dvlite writes no such name")
            elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                check.aside(Path(entry.path), name, "it is not an ordinary file")
                check.damaged.add((KIND_FILE, Digest(bytes.fromhex(entry.name))))
            else:
                check.large[Digest(bytes.fromhex(entry.name))] = entry.stat(follow_symlinks=False).st_size


def _objects(check: CacheState, folder: str) -> Iterator[tuple[Path, Digest]]:
    for entry in _scan(check.cache.folder / folder):
        path = Path(entry.path)
        if files.is_temporary_name(os.fsencode(entry.name)):
            continue
        if _NAME.fullmatch(entry.name) is None:
            check.aside(path, f"{folder}/{entry.name}", "dvlite writes no such name")
        elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            check.aside(path, f"{folder}/{entry.name}", "it is not an ordinary file")
        else:
            yield path, Digest(bytes.fromhex(entry.name))


def _segments(check: CacheState) -> dict[str, Index]:
    segments = {}
    for path, _ in _objects(check, "index"):
        data = files.read_own(path, index.MAX_BYTES)
        if data is None and not os.path.lexists(path):  # merged since
            continue
        try:
            index.verify_name(data or b"", path.name)
            segments[path.name] = Index(data or b"", path.name)
        except LaterVersion as error:
            check.found.later.add(error.message)
        except ObjectCorrupt:
            check.strange.append(path)
            check.found.note(f"index/{path.name}", "damaged", _WRONG_BYTES)
    return segments


def _pack(check: CacheState, rows: IndexRows, name: Digest) -> None:
    """Compares the table of a pack with the rows of it."""
    try:
        compare(check.found, rows, name, _table(check, name), partial(_bytes_of, check, name))
    except LaterVersion as error:
        check.found.later.add(error.message)
    except ObjectMissing:  # pruned since
        check.packs.pop(name)
    except ObjectCorrupt as error:
        check.found.bad(name, error.message)
    if name in check.found.bad_packs:
        _bad_pack(check, name, _whole(check, name), rows)


def _bad_pack(check: CacheState, name: Digest, content: CheckedPack | None, rows: IndexRows | None) -> None:
    """Notes what of a bad pack is lost: its records that are not right, and what indexes place in it and it does not have."""
    sound: set[tuple[int, Digest]] = set()
    if content is not None:
        sound = {(record.kind, record.digest) for record in content.records if record.digest not in content.damaged}
        check.found.unindexed.pop(name, None)
    named: set[tuple[int, Digest]] = set()
    with contextlib.suppress(LaterVersion):
        if rows is None:
            rows = IndexRows(check.cache.segments())
        of_pack = rows.of_pack(name).values()
        named = {(place.record.kind, place.record.digest) for known in of_pack for place in known if place is not None}
    if content is not None:
        named |= {(record.kind, record.digest) for record in content.records}
    check.damaged |= named - sound
    check.bad_records |= {(name, digest) for _, digest in named - sound}


def _whole(check: CacheState, name: Digest) -> CheckedPack | None:
    try:
        return check_pack(_bytes_of(check, name), name)
    except (ObjectMissing, ObjectCorrupt, FormatError):
        return None


def _table(check: CacheState, name: Digest) -> list[Record]:
    """Returns what the end of a pack says that it holds. Raises ObjectMissing, ObjectCorrupt, LaterVersion."""
    path, size = check.cache.folder / "packs" / name.hex(), check.packs[name]
    try:
        with open(os.open(path, files.READ | files.NO_FOLLOW), "rb") as file:
            tail = files.read_at(file.fileno(), pack.TRAILER_BYTES, max(0, size - pack.TRAILER_BYTES))
            length = min(pack.footer_length(tail, name), size)
            footer = files.read_at(file.fileno(), length, size - length)
    except FileNotFoundError:
        raise ObjectMissing("pruned since") from None
    except OSError as error:
        raise ObjectCorrupt(f"it cannot be read: {error.strerror}") from error
    return pack.decode_footer(footer, name, size)


def _bytes_of(check: CacheState, name: Digest) -> memoryview:
    """Returns the bytes of a pack; read, not mapped: a mapping on a disk with bad sectors kills the process."""
    path = check.cache.folder / "packs" / name.hex()
    data = files.read_own(path, pack.MAX_PACK_BYTES)
    if data is not None:
        return memoryview(data)
    if os.path.lexists(path):
        raise ObjectCorrupt("it cannot be read")
    raise ObjectMissing("pruned since")


# --- bytes ---


def read_objects(check: CacheState, names: Sequence[Digest], read: Read, *, jobs: int) -> None:
    """Hashes packs, all in them, and large files, as they are named; calls `read` for each. Stops when the time is over."""
    sizes = check.packs | check.large
    names = [name for name in names if name in sizes and name not in check.found.bad_packs]
    check.progress.start("reading the cache", total_bytes=sum(sizes[name] for name in names))
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for name, future in ahead(pool.submit, partial(_read, check), names, min(AT_ONCE, jobs + 1)):
            try:
                problem = future.result()
            except LaterVersion as error:
                check.found.later.add(error.message)
                continue
            except ObjectMissing:
                continue
            if problem and name in check.large:
                check.bad_file(name, problem)
            elif problem:
                check.found.bad(name, problem)
                _bad_pack(check, name, _whole(check, name), None)
            read(name, right=not problem)
            if check.is_over():
                check.found.stopped = True
                break
    check.progress.finish()


def _read(check: CacheState, name: Digest) -> str:
    """Says what is wrong with a pack or large file, or nothing. Raises ObjectMissing, LaterVersion."""
    if name not in check.large:
        try:
            data = _bytes_of(check, name)
        except ObjectCorrupt as error:
            return error.message
        check.progress.advance(size_bytes=len(data))
        return check_pack(data, name).problem
    try:
        digest, size = digest_path(check.cache.large_path(name))
    except FileNotFoundError:
        raise ObjectMissing("pruned since") from None
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    check.progress.advance(size_bytes=size)
    if digest != name:
        check.misplaced[digest] = name
    return "" if digest == name else _WRONG_BYTES


class CacheHolder:
    """A cache, asked for what versions need: sound copies only, as far as the check knows."""

    def __init__(self, check: CacheState) -> None:
        self._check, self._cache = check, check.cache

    def read_nodes(self, digests: Sequence[Digest]) -> dict[Digest, bytes]:
        read = {}
        for digest in digests:
            with contextlib.suppress(ObjectMissing, ObjectCorrupt, LaterVersion):
                read[digest] = self._cache.read(digest, (KIND_MANIFEST,))
        return read

    def lacking(self, wanted: Sequence[tuple[Digest, int]]) -> set[Digest]:
        purged = self._cache.purged
        return {digest for digest, size_bytes in wanted if digest not in purged and not self._has(digest, size_bytes)}

    def _has(self, digest: Digest, size_bytes: int) -> bool:
        size = self._check.large.get(digest)
        if size is not None and digest not in self._check.bad_files:
            if size_bytes in (size, -1) or not _read(self._check, digest):  # -1: not known; or the listing is wrong
                return True
            self._check.bad_file(digest, f"it has {size:,} bytes, and its listing says {size_bytes:,}")
        bad = self._check.bad_records
        return any((place.pack, digest) not in bad for place in self._cache.locations(digest, (KIND_FILE,)))


def sound_records(data: memoryview, name: Digest) -> list[Record]:
    """Returns the records of a bad pack that are right."""
    with contextlib.suppress(DvliteError):
        content = check_pack(data, name)
        return [record for record in content.records if record.digest not in content.damaged]
    return []


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
