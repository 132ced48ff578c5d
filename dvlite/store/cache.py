"""The store in the clone: large files whole, small files and listings in packs, found through index objects.

Layout (docs/reference/formats/cache.md): `files/ab/<oid>`, `packs/<name>`, `index/<name>`, `partial/` (unfinished downloads), `tmp/`,
`quarantine/`, `remote/` (what is known of remotes). Objects are write-once and appear only complete; readers never wait. Knows nothing of
pointers or workspaces.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import Self

from dvlite import files
from dvlite.errors import FileChanged, ObjectCorrupt, ObjectMissing
from dvlite.oid import Digest, digest_bytes, digest_file
from dvlite.store import index, pack
from dvlite.store.index import Index, Location
from dvlite.store.large import missing_object, open_verified
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, Pack

PACK_BELOW_BYTES = 64 * 1024
_FILE_KINDS = (KIND_FILE,)
_INDEX_ROWS = 250_000  # rows of an index object: bounds the memory of an add of millions of files
_MAX_MAPS = 16  # packs mapped at a time: a map holds a file descriptor
_FOLDERS = ("files", "packs", "index", "partial", "tmp", "quarantine", "remote")
_REPAIR = "dvlite pull fetches a good copy if a remote has one"


class Cache:
    """Reads objects; verified, from any thread that does not write. Use `writer()` to add."""

    def __init__(self, folder: Path, *, pack_below_bytes: int = PACK_BELOW_BYTES, group: bool = False) -> None:
        self.folder = folder
        self.pack_below_bytes = pack_below_bytes
        self.group = group
        self._segments: dict[str, Index] | None = None
        self._files = f"{folder}/files/"
        self._shards: set[str] | None = None  # folders of large files: most look-ups end here, without a system call
        self.just_verified: set[Digest] = set()  # large files that this process hashed as it stored them
        self._maps: OrderedDict[Digest, mmap.mmap] = OrderedDict()

    def create(self) -> None:
        """Makes the folders; idempotent."""
        for name in _FOLDERS:
            self.make_folder(self.folder / name)

    def make_folder(self, path: Path) -> None:
        """Makes one folder inside the cache, writable for the group if the cache is shared."""
        if path.is_dir():
            return
        path.mkdir(parents=True, exist_ok=True)
        if self.group:
            os.chmod(path, 0o2775)  # noqa: S103  # the user asked for a cache that the group writes

    def writer(self) -> Writer:
        """Returns a session that adds objects; a context manager."""
        return Writer(self)

    # --- finding ---

    def segments(self) -> dict[str, Index]:
        """Returns the index objects by name, read once."""
        if self._segments is None:
            self._segments = self._read_segments()
        return self._segments

    def refresh(self) -> None:
        """Forgets what is known, so that what other processes added is seen."""
        self._segments = None
        self._shards = None

    def locations(self, digest: Digest, kinds: tuple[int, ...]) -> list[Location]:
        """Returns where an object lies in packs; empty if nowhere."""
        return [place for segment in self.segments().values() for place in segment.find(digest, kinds)]

    def has_packed(self, digest: Digest, kinds: tuple[int, ...]) -> bool:
        for segment in self.segments().values():  # noqa: SIM110  # runs once per file: no generator
            if segment.has(digest, kinds):
                return True
        return False

    def has_file(self, digest: Digest, size_bytes: int) -> bool:
        """Says whether a file's bytes are here; the size says where to look first."""
        if size_bytes <= self.pack_below_bytes:
            return self.has_packed(digest, _FILE_KINDS) or self.has_large(digest)
        return self.has_large(digest) or self.has_packed(digest, _FILE_KINDS)

    def has_large(self, digest: Digest) -> bool:
        """Says whether a file is here as a whole, outside of packs."""
        text = digest.hex()
        if self._shards is None:
            self._shards = set(_listed(self.folder / "files"))
        return text[:2] in self._shards and os.path.exists(f"{self._files}{text[:2]}/{text}")

    def has_node(self, digest: Digest) -> bool:
        return self.has_packed(digest, (KIND_MANIFEST,))

    def large_path(self, digest: Digest) -> Path:
        """Returns where a file too large for packs is, or would be."""
        text = digest.hex()
        return self.folder / "files" / text[:2] / text

    def added_large(self, shard: str) -> None:
        """Takes note of a folder of large files that may be new."""
        if self._shards is not None:
            self._shards.add(shard)

    def partial_path(self, digest: Digest) -> Path:
        """Returns where an unfinished download of a large file grows."""
        return self.folder / "partial" / digest.hex()

    # --- reading ---

    def read(self, digest: Digest, kinds: tuple[int, ...]) -> bytes:
        """Returns the verified bytes of a packed object; raises ObjectMissing or ObjectCorrupt."""
        damaged: ObjectCorrupt | None = None
        for place in self._found(digest, kinds):
            try:
                return pack.unpack(place.record, self.stored(place))
            except ObjectCorrupt as error:
                damaged = error
        raise damaged or missing_object(digest, kinds)

    def read_node(self, digest: Digest) -> bytes:
        """Returns the verified bytes of a listing's node."""
        return self.read(digest, (KIND_MANIFEST,))

    def read_file(self, digest: Digest, size_bytes: int) -> bytes:
        """Returns the verified bytes of a file small enough for memory."""
        if self.has_packed(digest, (KIND_FILE,)) or not self.large_path(digest).exists():
            return self.read(digest, (KIND_FILE,))
        data = self.large_path(digest).read_bytes()
        with open_verified(self.large_path(digest), digest, len(data)):
            return data

    def stored(self, place: Location) -> memoryview:
        """Returns an object's stored bytes, as the pack has them, not verified."""
        view = memoryview(self.map_pack(place.pack))
        record = place.record
        if record.offset + record.stored_length > len(view):
            raise pack.corrupt_object(record, f"pack {place.pack.hex()} is cut short")
        return view[record.offset : record.offset + record.stored_length]

    def _found(self, digest: Digest, kinds: tuple[int, ...]) -> list[Location]:
        places = self.locations(digest, kinds)
        if not places:  # another process may have added it, or merged the index, since
            self.refresh()
            places = self.locations(digest, kinds)
        return places

    def map_pack(self, name: Digest) -> mmap.mmap:
        mapped = self._maps.get(name)
        if mapped is None:
            mapped = self._open_map(name)
            self._maps[name] = mapped
            if len(self._maps) > _MAX_MAPS:
                self._maps.popitem(last=False)  # closed when its last view goes
        else:
            self._maps.move_to_end(name)
        return mapped

    def _open_map(self, name: Digest) -> mmap.mmap:
        path = self.folder / "packs" / name.hex()
        try:
            with open(path, "rb") as file:
                return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except FileNotFoundError:
            raise ObjectMissing(f"pack {name.hex()} is gone from the cache", hint=_REPAIR) from None
        except (OSError, ValueError) as error:
            raise ObjectCorrupt(f"pack {name.hex()} in the cache cannot be read: {error}", hint=_REPAIR) from error

    def _read_segments(self) -> dict[str, Index]:
        folder = self.folder / "index"
        segments: dict[str, Index] = {}
        damaged = False
        for name in _names(folder):
            try:
                with open(folder / name, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                    data = bytes(mapped) if len(mapped) < 1 << 16 else None
                    if data is None:
                        segments[name] = _mapped_index(file.fileno(), name)
                        continue
                index.verify_name(data, name)
                segments[name] = Index(data, name)
            except FileNotFoundError:  # merged by another process: its rows are in a newer one
                return self._read_segments()
            except (ObjectCorrupt, ValueError):
                self.set_aside(folder / name)
                damaged = True
        if damaged:  # everything in an index can be read from the packs again
            segments = self._adopt(segments)
        return segments

    def _adopt(self, segments: dict[str, Index]) -> dict[str, Index]:
        with self.writer() as session:
            session.adopt_packs({name for segment in segments.values() for name in segment.packs})
        return self._segments or segments

    def set_aside(self, path: Path) -> None:
        """Moves a damaged object out of the way; repair never deletes."""
        self.make_folder(self.folder / "quarantine")
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, self.folder / "quarantine" / f"{path.name}-{os.urandom(4).hex()}")

    def discard(self, digest: Digest, kinds: tuple[int, ...] = (KIND_FILE, KIND_MANIFEST)) -> None:
        """Forgets the damaged copies of an object, so that a good one can be stored: files are set aside, index rows dropped."""
        large = self.large_path(digest)
        if large.exists():
            self.set_aside(large)
        for name, segment in list(self.segments().items()):
            if next(segment.find(digest, kinds), None) is None:
                continue
            kept = [place for place in segment if place.record.digest != digest or place.record.kind not in kinds]
            self.write_index(kept)
            os.unlink(self.folder / "index" / name)
        self.refresh()

    def write_index(self, locations: list[Location]) -> None:
        """Stores index rows durably; does nothing for none."""
        if not locations:
            return
        data = index.encode(locations, os.urandom(16))
        name = digest_bytes(data).hex()
        files.write_atomic(self.folder / "index" / name, data, mode=0o444)
        if self._segments is not None:
            self._segments[name] = Index(data, name)

    def merge_indexes(self) -> None:
        """Merges many small index objects into one; readers meanwhile see the old, the new, or both."""
        small = {name: seg for name, seg in self.segments().items() if seg.size_bytes < index.MERGE_BELOW_BYTES}
        if len(small) <= index.MERGE_ABOVE:
            return
        self.write_index([place for segment in small.values() for place in segment])
        for name in small:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.folder / "index" / name)
            self.segments().pop(name, None)


class Writer:
    """Adds objects; they are durable and visible once `commit` returns. Leaving the context without it keeps only finished packs.

    A process killed in between loses nothing that was there: packs without an index are adopted by the next writer.
    """

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._open: dict[int, pack.PackWriter] = {}
        self._rows: list[Location] = []
        self._new: set[tuple[int, Digest]] = set()
        self._folders: set[Path] = set()
        self.stored_bytes = 0  # what this session added to the disk
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.cache.create()
        self._stack.enter_context(files.lock(self.cache.folder / "lock", shared=True))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def adopt_packs(self, known: set[Digest]) -> None:
        """Indexes packs that a killed process left without an index."""
        for name in _names(self.cache.folder / "packs"):
            digest = Digest(bytes.fromhex(name))
            if digest in known:
                continue
            with contextlib.suppress(ObjectCorrupt, ObjectMissing):
                mapped = self.cache.map_pack(digest)
                records = pack.open_whole(memoryview(mapped), digest)
                self._rows.extend(Location(digest, record) for record in records if record.kind != pack.KIND_CHUNK)
        self.commit()

    def put(self, kind: int, digest: Digest, raw: bytes) -> bool:
        """Adds a small file or a node; returns False if the cache has it already."""
        if (kind, digest) in self._new or self.cache.has_packed(digest, (kind,)):
            return False
        self._new.add((kind, digest))
        self._writer(kind).add(kind, digest, raw)
        self._ship_if_full(kind)
        return True

    def put_stored(self, record: pack.Record, stored: bytes | memoryview) -> None:
        """Adds a verified record as another pack stored it."""
        if (record.kind, record.digest) in self._new or self.cache.has_packed(record.digest, (record.kind,)):
            return
        self._new.add((record.kind, record.digest))
        self._writer(record.kind).add_stored(record, stored)
        self._ship_if_full(record.kind)

    def put_pack(self, whole: Pack) -> None:
        """Adds a pack that came from a remote and whose records were verified."""
        self._write_pack(whole)
        self._rows.extend(index.rows_of(whole))

    def put_large(self, source: int, name: str) -> Digest:
        """Adds a large file: shares its blocks or copies it, then hashes the copy. Raises FileChanged if it changed meanwhile."""
        before = os.fstat(source)
        temporary = self.temporary()
        try:
            with open(temporary, "w+b", buffering=0) as copy:
                if not files.share_blocks(source, copy.fileno()):
                    files.copy_range(source, copy.fileno(), before.st_size)
                after = os.fstat(source)
                if _times(before) != _times(after) or os.fstat(copy.fileno()).st_size != before.st_size:
                    raise FileChanged(
                        f"cannot add {files.quote(name)}: it changed while it was read",
                        hint="run dvlite add again when nothing writes to it",
                    )
                digest = digest_file(copy.fileno(), before.st_size)
            self.adopt_file(temporary, digest, before.st_size)
        except OSError as error:
            raise files.os_error(error, "store", name) from error
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    def adopt_file(self, temporary: Path, digest: Digest, size_bytes: int, *, sync: bool = True) -> None:
        """Moves a verified file on the cache's disk to its place; drops it if the place is taken."""
        target = self.cache.large_path(digest)
        with contextlib.suppress(FileNotFoundError):
            if target.stat().st_size == size_bytes:
                temporary.unlink()
                return
        self.cache.make_folder(target.parent)
        if sync:
            files.sync_path(temporary)
        os.chmod(temporary, 0o444)
        os.rename(temporary, target)
        self.cache.added_large(target.parent.name)
        self._folders.add(target.parent)
        self.stored_bytes += size_bytes

    def temporary(self) -> Path:
        """Returns the path of a new temporary file on the cache's disk."""
        return self.cache.folder / "tmp" / files.temporary_name()

    def flush(self) -> None:
        """Finishes the open packs."""
        for pack_class in list(self._open):
            self._finish(pack_class)

    def commit(self) -> None:
        """Makes everything added so far durable and visible."""
        self.flush()
        for folder in self._folders:
            files.sync_path(folder)
        if self._folders:
            files.sync_path(self.cache.folder / "files")
        self._folders.clear()
        self._publish()
        self.cache.merge_indexes()

    def _publish(self) -> None:
        """Indexes the finished packs; what is in open ones is still only known to this session."""
        if not self._rows:
            return
        files.sync_path(self.cache.folder / "packs")
        self.cache.segments()
        self.cache.write_index(self._rows)
        for place in self._rows:
            self._new.discard((place.record.kind, place.record.digest))
        self._rows = []

    def _writer(self, kind: int) -> pack.PackWriter:
        pack_class = _class_of(kind)
        writer = self._open.get(pack_class)
        if writer is None:
            writer = self._open[pack_class] = pack.PackWriter(pack_class, os.urandom(pack.NONCE_BYTES))
        return writer

    def _ship_if_full(self, kind: int) -> None:
        if self._open[_class_of(kind)].size_bytes >= pack.TARGET_BYTES:
            self._finish(_class_of(kind))

    def _finish(self, pack_class: int) -> None:
        whole = self._open.pop(pack_class).finish()
        self._write_pack(whole)
        self._rows.extend(index.rows_of(whole))
        if len(self._rows) >= _INDEX_ROWS:
            self._publish()

    def _write_pack(self, whole: Pack) -> None:
        temporary = self.temporary()
        target = self.cache.folder / "packs" / whole.name.hex()
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            try:
                files.write_all(descriptor, whole.data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise files.os_error(error, "write", target) from error
        self.stored_bytes += len(whole.data)


def _class_of(kind: int) -> int:
    return pack.FILES if kind == KIND_FILE else pack.META


def _mapped_index(descriptor: int, name: str) -> Index:
    mapped = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    view = memoryview(mapped)
    index.verify_name(view, name)
    return Index(view, name)


def _times(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _names(folder: Path) -> list[str]:
    """Returns the names in a folder of the cache that are names of objects."""
    return sorted(name for name in _listed(folder) if len(name) == 64 and not set(name) - set("0123456789abcdef"))


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
