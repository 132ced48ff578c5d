"""Adds objects to a cache: small ones into packs, large files whole; durable before they are visible."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from io import FileIO
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from dvlite import files
from dvlite.errors import Busy, DvliteError, FileChanged, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EXECUTABLE, Entries
from dvlite.formats.pointer import Pointer
from dvlite.oid import DIGEST_BYTES, Buffer, Digest, digest_bytes, digest_file
from dvlite.progress import Progress
from dvlite.show import quote
from dvlite.store import index, pack
from dvlite.store.cache import Cache
from dvlite.store.index import PackEntry, Rows
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, Pack

_PACKS_ON_THEIR_WAY = 1
_SYNCS_AT_ONCE = 16  # a disk writes its log once for all of them: one by one, files of 100 KB take three times as long
_BLOCK_BYTES = 1 << 20
_state = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


class _Unnamed(NamedTuple):
    """A large file that is complete; it gets its name once it is durable."""

    name: str  # in an error
    synced: Future[None]
    left: contextlib.ExitStack  # closes it, and removes what is left of it
    temporary: Path
    digest: Digest
    size_bytes: int


class Writer:
    """Adds objects; they are durable and visible once `commit` returns. Leaving the context without it keeps only finished packs.

    What comes from a remote need not be `durable`: it is still there, and what a power cut tore is found when it is read, and fetched again.
    A process killed in between loses nothing that was there: the cache indexes packs that have no index. What was there already is as young
    as what is new: a garbage collection that runs before anything names it leaves it alone.
    """

    def __init__(self, cache: Cache, progress: Progress | None = None, *, durable: bool = True) -> None:
        self.cache = cache
        self._durable, self._progress = durable, progress
        self._relied: set[Digest] = set()  # packs that hold what was to be added: perhaps pulled, and not synced then
        self._open: dict[int, pack.PackWriter] = {}
        self._rows = Rows()  # of finished packs that are in no index yet
        self._new: defaultdict[int, set[Digest]] = defaultdict(set)  # by kind: what is in these packs and in open ones
        self._folders: set[Path] = set()
        self._sound: set[Digest] = set()  # large files whose copy in the cache was verified or made in this session
        self.stored_bytes = 0  # what this session added to the disk
        self._stack = contextlib.ExitStack()
        self._syncing = ThreadPoolExecutor(_SYNCS_AT_ONCE)
        self._unnamed: list[_Unnamed] = []
        self._packs_on_their_way: list[Future[None]] = []

    def __enter__(self) -> Self:
        self.cache.create()
        lock = self.cache.folder / "lock"
        with contextlib.suppress(Busy), files.lock(lock, wait=False):
            for name in os.listdir(self.cache.folder / "tmp"):  # no other process writes now: these are a killed one's
                with contextlib.suppress(OSError):
                    os.unlink(self.cache.folder / "tmp" / name)
        waiting = None if self._progress is None else self._progress.warn
        self._stack.enter_context(files.lock(lock, shared=True, waiting=waiting))
        self.cache.refresh_if_changed()  # from here on, nothing is removed
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(DvliteError):  # files that were read before something failed are not read again
            self.name_files()
        self._stack.close()
        self._syncing.shutdown()
        for each in self._unnamed:
            each.left.close()

    def sync_soon(self, descriptor: int) -> Future[None]:
        """Starts to make an open file durable in the background; its result must be waited for before the file gets a name."""
        return self._syncing.submit(os.fsync if self._durable else _nothing, descriptor)

    def put(self, kind: int, digest: Digest, raw: bytes) -> bool:
        """Adds a small file or a node; returns False if the cache has it already."""
        if digest in self._new[kind]:
            return False
        if self.cache.has_packed(digest, (kind,)):
            try:
                self.cache.read(digest, (kind,))
            except (ObjectCorrupt, ObjectMissing):  # the good bytes are in our hands
                self.cache.discard(digest, (kind,))
            else:
                if self.relies_on(kind, digest):
                    return False
        self._new[kind].add(digest)
        writer = self._writer(kind)
        writer.add(kind, digest, raw)
        if writer.size_bytes >= pack.TARGET_BYTES:
            self._finish(writer.pack_class)
        return True

    def put_stored(self, record: pack.Record, stored: bytes | memoryview) -> None:
        """Adds a verified record as another pack stored it."""
        if record.digest in self._new[record.kind]:
            return
        if self.cache.has_packed(record.digest, (record.kind,)) and self.relies_on(record.kind, record.digest):
            return
        self._new[record.kind].add(record.digest)
        writer = self._writer(record.kind)
        writer.add_stored(record, stored)
        if writer.size_bytes >= pack.TARGET_BYTES:
            self._finish(writer.pack_class)

    def put_pack(self, whole: Pack) -> None:
        """Adds a pack that came from a remote and whose records were verified."""
        self._write_pack(whole)

    def put_large(self, source: int, name: str, advance: Callable[[int], None] | None = None) -> Digest:
        """Adds a large file: shares its blocks or copies it, then hashes the copy. Raises FileChanged if it changed meanwhile."""
        before = os.fstat(source)
        temporary = self.temporary()
        try:
            with self._new_file(temporary) as (copy, left):
                shares = files.share_blocks(source, copy.fileno())
                if not shares:
                    files.copy_range(source, copy.fileno(), before.st_size, advance)
                after = os.fstat(source)
                if _state(before) != _state(after) or os.fstat(copy.fileno()).st_size != before.st_size:
                    raise FileChanged(
                        f"cannot add {quote(name)}: it changed while it was read",
                        hint="run dvlite add again when nothing writes to it",
                    )
                synced = self.sync_soon(copy.fileno())
                digest = digest_file(copy.fileno(), before.st_size, advance if shares else None)
                self._unnamed.append(_Unnamed(name, synced, left.pop_all(), temporary, digest, before.st_size))
        except OSError as error:
            raise files.os_error(error, "store", name) from error
        self.name_files(but=_SYNCS_AT_ONCE)
        return digest

    def put_stream(self, stream: BinaryIO, advance: Callable[[int], None]) -> tuple[Digest, int]:
        """Adds a file that comes as a stream; returns its digest and size."""
        temporary = self.temporary()
        try:
            with self._new_file(temporary) as (copy, left):
                while block := stream.read(_BLOCK_BYTES):
                    files.write_all(copy.fileno(), block)
                    advance(len(block))
                return self._take_in(copy, temporary, left, "standard input")
        except OSError as error:
            raise files.os_error(error, "store", "standard input") from error

    def put_file(self, path: Path) -> tuple[Digest, int]:
        """Adds a file on the cache's disk that nothing else writes, and which is gone afterwards; returns its digest and size."""
        with contextlib.ExitStack() as left:
            left.callback(path.unlink, missing_ok=True)
            file = left.enter_context(open(os.open(path, files.READ), "rb", buffering=0))
            return self._take_in(file, path, left, str(path))

    def _take_in(self, file: FileIO, path: Path, left: contextlib.ExitStack, name: str) -> tuple[Digest, int]:
        """Adds an open file of the cache's disk; of a large one, `left` is kept until it has its name."""
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes <= self.cache.pack_below_bytes:
            raw = files.read_at(file.fileno(), size_bytes)
            digest = digest_bytes(raw)
            self.put(KIND_FILE, digest, raw)
        else:
            synced = self.sync_soon(file.fileno())
            digest = digest_file(file.fileno(), size_bytes)
            self._unnamed.append(_Unnamed(name, synced, left.pop_all(), path, digest, size_bytes))
            self.name_files(but=_SYNCS_AT_ONCE)
        return digest, size_bytes

    @contextlib.contextmanager
    def _new_file(self, temporary: Path) -> Iterator[tuple[FileIO, contextlib.ExitStack]]:
        """Opens a new temporary file; it is closed and removed in the end, or when the stack is closed that was taken out of `left`."""
        with contextlib.ExitStack() as left:
            left.callback(temporary.unlink, missing_ok=True)
            yield left.enter_context(open(temporary, "w+b", buffering=0)), left

    def name_files(self, *, but: int = 0) -> None:
        """Gives the large files their names that were added, in order; the last few are left to the disk. Raises DvliteError."""
        while len(self._unnamed) > but:
            unnamed = self._unnamed.pop(0)
            with unnamed.left:
                try:
                    unnamed.synced.result()
                    self.adopt_file(unnamed.temporary, unnamed.digest, unnamed.size_bytes, sync=False)
                except OSError as error:
                    raise files.os_error(error, "store", unnamed.name) from error

    def adopt_file(self, temporary: Path, digest: Digest, size_bytes: int, *, sync: bool = True) -> None:
        """Moves a verified file on the cache's disk to its place; drops it if the place is taken, by a copy that is sound."""
        target = self.cache.large_path(digest)
        is_sound = digest in self._sound or (os.path.lexists(target) and self._is_sound(target, digest, size_bytes))
        if is_sound and _renewed(target):
            self.cache.added_large(target.parent.name)  # perhaps by another process, after the last look
            self._sound.add(digest)
            temporary.unlink()
            if self._durable:
                files.sync_path(target)
                self._folders.add(target.parent)
            return
        self.cache.make_folder(target.parent, sync=False)  # `commit` syncs the folder of these folders once
        if sync and self._durable:
            files.sync_path(temporary)
        os.chmod(temporary, 0o444)
        os.rename(temporary, target)
        self.cache.added_large(target.parent.name)
        self._sound.add(digest)
        self._folders.add(target.parent)
        self.stored_bytes += size_bytes

    def relies_on(self, kind: int, digest: Digest) -> bool:
        """Takes note of the packs that hold an object and renews their times; returns whether any could be renewed, and so whether it is here."""
        packs = {place.pack for place in self.cache.locations(digest, (kind,))}
        renewed = {name for name in packs - self._relied if _renewed(self.cache.folder / "packs" / name.hex())}
        self._relied |= renewed
        return not packs.isdisjoint(self._relied)

    def lacking(self, digests: Buffer, sizes: Sequence[int]) -> Iterator[int]:
        """Yields the positions of those of many files that are not here, as `Cache.lacking`, and renews the times of the others."""
        for i, size_bytes in enumerate(sizes):
            digest = Digest(bytes(digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]))
            if self.cache.has_packed(digest, (KIND_FILE,)):
                is_here = self.relies_on(KIND_FILE, digest)
            else:
                is_here = self.cache.has_large(digest, size_bytes) and _renewed(self.cache.large_path(digest))
            if not is_here:
                yield i

    def _is_sound(self, target: Path, digest: Digest, size_bytes: int) -> bool:
        """Returns whether a good copy is there already; a damaged one is set aside, so that adding the file again heals it."""
        try:
            with self.cache.open_verified(digest, size_bytes):
                return True
        except ObjectMissing:
            return False
        except ObjectCorrupt:
            self.cache.set_aside(target)
            return False

    def temporary(self) -> Path:
        """Returns the path of a new temporary file on the cache's disk."""
        return self.cache.folder / "tmp" / files.temporary_name()

    def commit(self) -> None:
        """Makes everything added so far durable and visible."""
        for pack_class in list(self._open):
            self._finish(pack_class)
        self.name_files()
        if self._durable:
            for folder in self._folders:
                files.sync_path(folder)
            if self._folders:
                files.sync_path(self.cache.folder / "files")
            for name in self._relied:
                files.sync_path(self.cache.folder / "packs" / name.hex())
        self._folders.clear()
        self._relied.clear()
        if self._rows or self._packs_on_their_way:
            self._publish()
        if len(self.cache.segments()) > index.MERGE_ABOVE:
            self.cache.merge_indexes()

    def _publish(self) -> None:
        """Indexes the finished packs; what is in open ones is still only known to this session."""
        while self._packs_on_their_way:
            self._packs_on_their_way.pop(0).result()
        if not self._rows:
            return
        if self._durable:
            files.sync_path(self.cache.folder / "packs")
        self.cache.segments()
        self.cache.put_index(self._rows.encode(os.urandom(16)), sync=self._durable)
        self._rows = Rows()
        for kind in [kind for kind in self._new if index.class_of(kind) not in self._open]:
            del self._new[kind]

    def _writer(self, kind: int) -> pack.PackWriter:
        pack_class = pack.FILES if kind == KIND_FILE else pack.META
        writer = self._open.get(pack_class)
        if writer is None:
            writer = self._open[pack_class] = pack.PackWriter(pack_class, os.urandom(pack.NONCE_BYTES))
        return writer

    def _finish(self, pack_class: int) -> None:
        self._write_pack(self._open.pop(pack_class).finish())

    def _write_pack(self, whole: Pack) -> None:
        """Writes and syncs a pack in the background, while the next one is filled; one waits at most: memory."""
        while len(self._packs_on_their_way) >= _PACKS_ON_THEIR_WAY:
            self._packs_on_their_way.pop(0).result()
        self._packs_on_their_way.append(self._syncing.submit(self._store_pack, whole))
        self._rows.add(whole.name, PackEntry(whole.pack_class, len(whole.data)), whole.table)
        self.stored_bytes += len(whole.data)
        if len(self._rows) >= index.MANY_ROWS:
            self._publish()

    def _store_pack(self, whole: Pack) -> None:
        temporary = self.temporary()
        target = self.cache.folder / "packs" / whole.name.hex()
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            try:
                files.write_all(descriptor, whole.data)
                if self._durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self.cache.open_to_group(temporary, 0o444)
            os.rename(temporary, target)
            self.cache.forget_map(whole.name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise files.os_error(error, "write", target) from error


def version_of_entries(entries: Entries, writer: Writer) -> Pointer:
    """Returns the pointer of files that the writer stored (a single one without a path is a file), after storing their listing."""
    if entries.paths == [b""]:
        executable = bool(entries.flags[0] & EXECUTABLE)
        new = Pointer("file", entries.digest(0), entries.sizes[0], executable=executable)
    else:
        tree = manifest.build(entries, keep=partial(writer.put, KIND_MANIFEST))
        for digest, data in tree.nodes:
            writer.put(KIND_MANIFEST, digest, data)
        new = Pointer("directory", tree.root, tree.size_bytes, tree.files)
    return new


def _renewed(path: Path) -> bool:
    """Sets the times of a file to now; returns False for one that is gone or another user's."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True


def _nothing(_: int) -> None:
    return
