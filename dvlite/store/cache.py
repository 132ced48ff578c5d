"""The store in the clone: large files whole, small files and listings in packs, found through index objects.

Layout (docs/reference/formats/cache.md): `files/ab/<oid>`, `packs/<name>`, `index/<name>`, `partial/` (unfinished downloads), `tmp/`,
`quarantine/`, `purged/` (tombstones), `remote/` (what is known of remotes). Objects are write-once and appear only complete; readers never wait. Knows nothing of
pointers or workspaces.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dvlite import files
from dvlite.errors import Busy, DvliteError, LaterVersion, ObjectCorrupt, ObjectMissing, reason_of
from dvlite.formats import tombstone
from dvlite.formats.manifest import EMPTY_DIR, Entries
from dvlite.formats.tombstone import Tombstone
from dvlite.oid import DIGEST_BYTES, Buffer, Digest, digest_bytes, digest_file, each_digest
from dvlite.show import quote, word
from dvlite.store import index, pack
from dvlite.store.index import Index, RecordLocation
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, Record
from dvlite.store.pack_order import PackOrder

PACK_BELOW_BYTES = 64 * 1024
_FILE_KINDS = (KIND_FILE,)
_TOGETHER = 4096  # files looked up at a time
_MAX_MAPS = 16  # packs mapped at a time: a map holds a file descriptor
_LOCK = "lock"
_FOLDERS = ("files", "packs", "index", "partial", "tmp", "quarantine")
_REPAIR = "to fetch a good copy: dvlite pull; if no remote has one: dvlite fsck --repair"


class Cache:
    """Reads objects; verified, from any thread that does not write. `writing.Writer` adds."""

    def __init__(
        self,
        folder: Path,
        *,
        pack_below_bytes: int = PACK_BELOW_BYTES,
        group: bool = False,
        project: tuple[Path, Path] | None = None,
    ) -> None:
        self.folder = folder
        self._project = project  # of a cache that clones share: git's common folder and a worktree of this one
        self.pack_below_bytes = pack_below_bytes
        self.group = group
        self._segments: dict[str, Index] | None = None
        self._order: PackOrder | None = None
        self._files = f"{folder}/files/"
        self._shards: set[str] | None = None  # folders of large files: most look-ups end here, without a system call
        self.just_verified: set[Digest] = set()  # large files that this process hashed as it stored them
        self._maps: OrderedDict[Digest, mmap.mmap] = OrderedDict()
        self._follows: tuple[memoryview, int] = (memoryview(b""), 0)  # a pack, and where in it the file read last ends
        self._purged: dict[Digest, Tombstone] | None = None
        self._tombstones: dict[str, bytes] = {}

    def create(self) -> None:
        """Makes the folders; idempotent. Raises DvliteError where this user cannot add to them."""
        if not self.folder.is_dir():
            self.make_folder(self.folder)
        for name in _FOLDERS:
            self.make_folder(self.folder / name)
        if self.group and not (self.folder / _LOCK).exists():
            os.close(os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
            self.open_to_group(self.folder / _LOCK, 0o664)
        if (place := self.unwritable()) is not None:
            hint = "if a group shares it, its owner runs: chmod -R g+rwX " + word(str(self.folder))
            raise DvliteError(
                f"cannot add to the cache: this user may not write to {quote(str(place))}",
                hint=f"{hint}\nto use another folder: dvlite config --user cache.dir FOLDER",
            )
        self.register()

    def unwritable(self) -> Path | None:
        """Returns a folder of the cache, or its lock, that this user has no right to use; None if all is well, or there is no cache yet."""
        places = [self.folder / name for name in (*_FOLDERS, "projects")]
        closed = (place for place in places if place.is_dir() and not os.access(place, os.W_OK | os.X_OK))
        lock = self.folder / _LOCK
        return next(closed, lock if lock.exists() and not os.access(lock, os.R_OK) else None)

    def make_folder(self, path: Path, *, sync: bool = True) -> None:
        """Makes one folder inside the cache, writable for the group if the cache is shared."""
        if path.is_dir():
            return
        above = files.existing_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        if sync:
            files.sync_above(path, above)
        self.open_to_group(path, 0o2775)

    def open_to_group(self, path: Path, mode: int) -> None:
        """Gives a new file or folder its mode whatever the umask, if the config says that the group uses this cache."""
        if self.group:
            with contextlib.suppress(PermissionError):  # another member has made it just now
                os.chmod(path, mode)

    # --- who uses it ---

    def register(self) -> None:
        """Notes the clone that uses this cache, if others may use it too: its needs are asked before the cache loses anything."""
        if self._project is None or not self.folder.is_dir():
            return
        text = b"".join(os.fsencode(path) + b"\n" for path in self._project)
        note = self.folder / "projects" / digest_bytes(os.fsencode(self._project[0])).hex()
        if not files.holds(note, text):
            self.make_folder(note.parent)
            files.write_atomic(note, text)
            self.open_to_group(note, 0o664)

    def projects(self) -> dict[Path, tuple[Path, Path]]:
        """Returns the notes of the clones that use this cache, each with git's common folder and a worktree. Raises DvliteError."""
        found = {}
        for name in _names(self.folder / "projects"):
            note = self.folder / "projects" / name
            data = files.read_own(note)
            if data is None:
                raise DvliteError(
                    f"cannot read {quote(str(note))}, which names a clone that shares this cache",
                    hint=f"if that clone is gone for good: rm {word(str(note))}",
                )
            lines = data.split(b"\n")
            found[note] = (Path(os.fsdecode(lines[0])), Path(os.fsdecode(lines[1] if len(lines) > 1 else lines[0])))
        return found

    # --- what was purged ---

    @property
    def purged(self) -> Mapping[Digest, Tombstone]:
        """Files that must not be here, whatever lies on the disk: to all who look for them they are absent. Read once."""
        if self._purged is None:
            self._purged = {}
            for name in _names(self.folder / "purged"):
                data = files.read_own(self.folder / "purged" / name, tombstone.MAX_BYTES)
                if data is not None and tombstone.name_of(data) == name:  # else a remote that has it brings it again
                    self._take_in(name, data)
        return self._purged

    @property
    def tombstones(self) -> Mapping[str, bytes]:
        """The tombstones by their names."""
        return self._tombstones if self.purged else {}

    def bury(self, data: bytes, *, keep: bool = True) -> None:
        """Takes in a tombstone, for good or (unless `keep`) for this process; idempotent. Raises FormatError, DvliteError."""
        name = tombstone.name_of(data)
        if name not in self.tombstones:
            self._take_in(name, data)
        target = self.folder / "purged" / name
        if keep and not files.holds(target, data):
            self.make_folder(target.parent)
            files.write_atomic(target, data, mode=0o444)
            self.open_to_group(target, 0o444)

    def _take_in(self, name: str, data: bytes) -> None:
        assert self._purged is not None
        content = tombstone.parse(data, f"the tombstone {name[:8]}")
        self._tombstones[name] = data
        for digest in content.files:
            self._purged.setdefault(digest, content)

    # --- finding ---

    def segments(self) -> dict[str, Index]:
        """Returns the index objects by name, read once."""
        if self._segments is None:
            self._segments = self._read_segments()
            indexed = {name.hex() for segment in self._segments.values() for name in segment.packs}
            orphans = [name for name in _names(self.folder / "packs") if name not in indexed]
            if orphans:
                self._adopt(orphans)
        return self._segments

    @property
    def order(self) -> PackOrder:
        """The files of packs in their order."""
        if self._order is None:
            self._order = PackOrder(self.segments, lambda name: memoryview(self.map_pack(name)))
        return self._order

    def look_through(self, segments: dict[str, Index]) -> None:
        """Has look-ups use these index objects, until the next `refresh`: a check reads them itself, and mends nothing."""
        self._segments, self._order = segments, None

    def refresh(self) -> None:
        """Forgets what is known, so that what other processes added is seen."""
        self._segments = self._order = None
        self._shards = None

    def refresh_if_changed(self) -> None:
        """Does so if other processes wrote or removed index objects since these were read; costs one listing of a folder."""
        if self._segments is not None and self._segments.keys() != set(_names(self.folder / "index")):
            self.refresh()

    def locations(self, digest: Digest, kinds: tuple[int, ...]) -> list[RecordLocation]:
        """Returns where an object lies in packs; empty if nowhere."""
        return [place for segment in self.segments().values() for place in segment.find(digest, kinds)]

    def has_packed(self, digest: Digest, kinds: tuple[int, ...]) -> bool:
        for segment in self.segments().values():  # noqa: SIM110  # runs once per file: no generator
            if segment.has(digest, kinds):
                return True
        return False

    def has_file(self, digest: Digest, size_bytes: int) -> bool:
        """Returns whether a file's bytes are here, and not purged; the size says where to look first."""
        if self.purged and digest in self.purged:
            return False
        if size_bytes <= self.pack_below_bytes:
            return self.has_packed(digest, _FILE_KINDS) or self.has_large(digest, size_bytes)
        return self.has_large(digest, size_bytes) or self.has_packed(digest, _FILE_KINDS)

    def missing(
        self,
        entries: Entries,
        chooses: Callable[[bytes], bool] | None = None,
        lacking: Iterable[int] | None = None,
    ) -> Iterator[int]:
        """Yields the positions of the files of a listing that are not here, of those that `chooses` takes by their path; purged ones are not missed.

        `lacking` are those that are not here, if they were looked up before.
        """
        purged = self.purged
        for i in self.lacking(entries.digests, entries.sizes) if lacking is None else lacking:
            if entries.flags[i] == EMPTY_DIR or (chooses is not None and not chooses(entries.paths[i])):
                continue
            if not purged or entries.digest(i) not in purged:
                yield i

    def lacking(self, digests: Buffer, sizes: Sequence[int]) -> Iterator[int]:
        """Yields the positions of those of many files that `has_file` denies; looked up a few thousand at a time."""
        purged = self.purged
        for start in range(0, len(sizes), _TOGETHER):
            part = bytes(memoryview(digests)[start * DIGEST_BYTES : (start + _TOGETHER) * DIGEST_BYTES])
            lacks = [i for i, digest in self.order.absent(part, start) if not self.has_large(digest, sizes[i])]
            gone = (i for i, digest in enumerate(each_digest(part), start) if digest in purged) if purged else ()
            yield from sorted({*lacks, *gone})

    def has_all(self, entries: Entries, chooses: Callable[[bytes], bool] | None = None) -> bool:
        """Returns whether every file of a listing is here that was not purged, of those that `chooses` takes."""
        return next(self.missing(entries, chooses), None) is None

    def has_large(self, digest: Digest, size_bytes: int | None = None) -> bool:
        """Returns whether a file is here as a whole, outside of packs."""
        text = digest.hex()
        if self._shards is None:
            self._shards = set()
            with contextlib.suppress(FileNotFoundError):
                self._shards.update(os.listdir(self.folder / "files"))
        if text[:2] not in self._shards:
            return False
        try:
            size = os.stat(f"{self._files}{text[:2]}/{text}").st_size
        except OSError:
            return False
        return size_bytes is None or size == size_bytes

    def stored_bytes(self, digest: Digest) -> int:
        """Returns the disk space that a file takes here, compressed if it is in a pack; 0 if it is not here."""
        places = self.locations(digest, _FILE_KINDS)
        if places:
            return places[0].record.stored_length
        try:
            return os.stat(self.large_path(digest)).st_blocks * 512 if self.has_large(digest) else 0
        except FileNotFoundError:
            return 0

    def is_sound(self, digest: Digest, size_bytes: int) -> bool:
        """Returns whether a file's bytes are here and right, by reading them: asked before another copy of them is removed. A size of -1, of a small file, is not known."""
        if digest in self.purged:
            return False
        try:
            if self.has_packed(digest, _FILE_KINDS):
                return size_bytes in (-1, len(self.read(digest, _FILE_KINDS)))
            with self.open_verified(digest, size_bytes):
                return True
        except (ObjectMissing, ObjectCorrupt):
            return False

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
        with self.open_large(digest) as descriptor:
            data = files.read_at(descriptor, os.fstat(descriptor).st_size)
        if digest_bytes(data) != digest:
            raise _damaged(digest)
        return data

    def read_in_order(self, digest: Digest, size_bytes: int) -> Buffer:
        """Does as `read_file`, for files that are read in the order of their paths: packs have that order too, so most need no look-up."""
        view, position = self._follows
        record = pack.record_at(view, position)
        if record is None or record.digest != digest or record.kind != KIND_FILE:
            places = self.locations(digest, _FILE_KINDS)
            if len(places) != 1:
                return self.read_file(digest, size_bytes)
            view, record = self._whole_with(places[0])
        end = record.offset + record.stored_length
        self._follows = (view, end)
        try:
            return pack.unpack_view(record, view[record.offset : end])
        except ObjectCorrupt:
            return self.read_file(digest, size_bytes)

    @contextlib.contextmanager
    def open_verified(self, digest: Digest, size_bytes: int) -> Iterator[int]:
        """Opens a large file and yields its descriptor after hashing it; raises ObjectMissing or ObjectCorrupt."""
        with self.open_large(digest) as descriptor:
            if os.fstat(descriptor).st_size != size_bytes or digest_file(descriptor, size_bytes) != digest:
                raise _damaged(digest)
            yield descriptor

    @contextlib.contextmanager
    def open_large(self, digest: Digest) -> Iterator[int]:
        """Opens a large file whose bytes the caller will check; raises ObjectMissing, and ObjectCorrupt for what is no file."""
        path = self.large_path(digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise missing_object(digest, _FILE_KINDS) from None
        except OSError as error:
            raise files.os_error(error, "read", path) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _damaged(digest)
            yield descriptor
        finally:
            os.close(descriptor)

    def stored(self, place: RecordLocation) -> memoryview:
        """Returns an object's stored bytes, as the pack has them, not verified; if it was moved to another pack, from there."""
        view, record = self._whole_with(place)
        return view[record.offset : record.offset + record.stored_length]

    def _whole_with(self, place: RecordLocation) -> tuple[memoryview, Record]:
        """Returns the pack that has a record, and where in it that is. Raises ObjectMissing, ObjectCorrupt."""
        try:
            view = memoryview(self.map_pack(place.pack))
        except ObjectMissing:
            place = self._moved(place)
            view = memoryview(self.map_pack(place.pack))
        record = place.record
        if record.offset + record.stored_length > len(view):
            raise pack.corrupt_object(record, f"pack {place.pack.hex()} is cut short")
        return view, record

    def _moved(self, place: RecordLocation) -> RecordLocation:
        """Returns where a record is whose pack is gone: a garbage collection copies records as they are stored. Raises ObjectMissing."""
        self.refresh()
        wanted = place.record._replace(offset=0)
        for other in self.locations(wanted.digest, (wanted.kind,)):
            if other.pack != place.pack and other.record._replace(offset=0) == wanted:
                return other
        raise missing_object(wanted.digest, (wanted.kind,))

    def _found(self, digest: Digest, kinds: tuple[int, ...]) -> list[RecordLocation]:
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

    def forget_map(self, name: Digest) -> None:
        """Closes the map of a pack whose file was replaced by a good one."""
        self._maps.pop(name, None)

    def _open_map(self, name: Digest) -> mmap.mmap:
        path = self.folder / "packs" / name.hex()
        try:
            with open(os.open(path, files.READ), "rb") as file:
                return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except FileNotFoundError:
            raise ObjectMissing(f"pack {name.hex()} is gone from the cache", hint=_REPAIR) from None
        except (OSError, ValueError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else "it is empty"
            raise ObjectCorrupt(f"pack {name.hex()} in the cache cannot be read: {reason}", hint=_REPAIR) from error

    def _read_segments(self) -> dict[str, Index]:
        folder = self.folder / "index"
        segments: dict[str, Index] = {}
        for name in _names(folder):
            try:
                with open(os.open(folder / name, files.READ), "rb") as file:
                    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                        raise ValueError("not an ordinary file")
                    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                        data = bytes(mapped) if len(mapped) < 1 << 16 else None
                    if data is None:
                        segments[name] = _mapped_index(file.fileno(), name)
                        continue
                index.verify_name(data, name)
                segments[name] = Index(data, name)
            except FileNotFoundError:  # merged by another process: its rows are in a newer one
                return self._read_segments()
            except (ObjectCorrupt, ValueError):  # its rows are read from the packs again
                self.set_aside(folder / name)
        standing = set(_names(self.folder / "packs"))
        for name, segment in segments.items():
            if not all(pack_name.hex() in standing for pack_name in segment.packs):
                remaining = [place for place in segment if place.pack.hex() in standing]
                segments[name] = Index(index.encode(remaining, bytes(16)), "of standing packs")
        return segments

    def _adopt(self, orphans: Sequence[str]) -> None:
        """Indexes packs that no index names: a killed process or a damaged index left them. Everything in an index is in the packs too."""
        # a process that writes now indexes its own packs; a read-only disk stays as it is
        with contextlib.suppress(Busy, OSError, DvliteError), files.lock(self.folder / _LOCK, wait=False):
            rows: list[RecordLocation] = []
            for name in orphans:
                try:
                    rows.extend(self._rows_of(Digest(bytes.fromhex(name))))
                except LaterVersion:  # stays for the dvlite that knows it
                    continue
                except (ObjectCorrupt, ObjectMissing):
                    self.set_aside(self.folder / "packs" / name)
            self.write_index(rows)

    def _rows_of(self, name: Digest) -> list[RecordLocation]:
        records = pack.open_whole(memoryview(self.map_pack(name)), name)
        return [RecordLocation(name, record) for record in records if record.kind != pack.KIND_CHUNK]

    def set_aside(self, path: Path) -> Path:
        """Moves a damaged object out of the way, under a name that says which folder it came from, and returns that; repair never deletes."""
        self.make_folder(self.folder / "quarantine")
        inside = path.parts[len(self.folder.parts) :] if path.is_relative_to(self.folder) else path.parts[-2:]
        aside = self.folder / "quarantine" / f"{inside[0]}-{path.name}-{os.urandom(4).hex()}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, aside)
        return aside

    def discard(self, digest: Digest, kinds: tuple[int, ...] = (KIND_FILE, KIND_MANIFEST)) -> None:
        """Forgets the damaged copies of an object, so that a good one can be stored: files are set aside, index rows dropped."""
        large = self.large_path(digest)
        if large.exists():
            self.set_aside(large)
        for name, segment in list(self.segments().items()):
            if not segment.find(digest, kinds):
                continue
            remaining = [place for place in segment if place.record.digest != digest or place.record.kind not in kinds]
            self.write_index(remaining)
            os.unlink(self.folder / "index" / name)
            for emptied in set(segment.packs) - {place.pack for place in remaining}:
                self.set_aside(self.folder / "packs" / emptied.hex())
        self.refresh()

    def write_index(self, locations: list[RecordLocation], *, sync: bool = True) -> None:
        """Stores index rows, durably with `sync`; does nothing without rows."""
        if locations:
            self.put_index(index.encode(locations, os.urandom(16)), sync=sync)

    def put_index(self, data: bytes, *, sync: bool = True) -> None:
        """Stores an index object, durably with `sync`."""
        name = digest_bytes(data).hex()
        files.write_atomic(self.folder / "index" / name, data, mode=0o444, sync=sync)
        self.open_to_group(self.folder / "index" / name, 0o444)
        if self._segments is not None:
            self._segments[name] = Index(index.mapped(self.folder / "index" / name, data), name)

    def merge_indexes(self) -> None:
        """Merges many small index objects into one; readers meanwhile see the old, the new, or both."""
        small = [name for name, seg in self.segments().items() if seg.size_bytes < index.MERGE_BELOW_BYTES]
        if len(small) <= index.MERGE_ABOVE:
            return
        rows = {name: each for name in small if (each := index.known_rows(self.segments()[name])) is not None}
        self.write_index([place for each in rows.values() for place in each])
        for name in rows:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.folder / "index" / name)
            self.segments().pop(name, None)


def _damaged(digest: Digest) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"object blake3:{digest.hex()} is damaged: its bytes are not the ones that its name promises", hint=_REPAIR
    )


def missing_object(digest: Digest, kinds: tuple[int, ...]) -> ObjectMissing:
    """Returns the error for an object that the cache does not have."""
    kind = "manifest" if KIND_MANIFEST in kinds else "blake3"
    return ObjectMissing(f"object {kind}:{digest.hex()} is not in the cache", hint="fetch it with dvlite pull")


def _mapped_index(descriptor: int, name: str) -> Index:
    mapped = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    view = memoryview(mapped)
    index.verify_name(view, name)
    return Index(view, name)


def _names(folder: Path) -> list[str]:
    """Returns the names in a folder of the cache that are names of objects."""
    try:
        return sorted(
            name for name in os.listdir(folder) if len(name) == 64 and not set(name) - set("0123456789abcdef")
        )
    except FileNotFoundError:
        return []
