"""Writes what versions hold into a cache of DVC: each file under its md5, read once, checked against its digest on the way.

Knows no repository of DVC, and reads nothing from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from dvlite.errors import ObjectCorrupt, UsageError
from dvlite.files import can_share_blocks, os_error, read_at, require_space, share_blocks, temporary_name, write_all
from dvlite.formats import dvc_files
from dvlite.formats.dvc_files import DvcOut
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, Entries
from dvlite.oid import Buffer, Digest, FileHasher, short
from dvlite.progress import Progress
from dvlite.show import quote
from dvlite.store.cache import Cache

_PIECE_BYTES = 1 << 20
_MODE = 0o444  # DVC takes a file that it may write for one that changed


class DvcCache:
    """The folder `files/md5` of a cache; `versions`: what DVC calls each path that was written, and each file in it."""

    def __init__(self, root: Path, source: Cache, progress: Progress) -> None:
        self._folder = self._real(root / ".dvc" / "cache" / "files" / "md5")
        self._source, self._progress = source, progress
        self._known: dict[Digest, str] = {}
        self.versions: dict[str, DvcOut] = {}

    def require_space(self, size_bytes: int) -> None:
        """Raises DvliteError if the disk is too full for copies; where it shares blocks, large files take none."""
        if not can_share_blocks(self._folder, self._source.folder):
            require_space(self._folder, size_bytes, "DVC's cache")

    def put(self, path: str, entries: Entries) -> DvcOut:
        """Writes a version, and returns what DVC calls it; empty folders are left out. Raises ObjectMissing, ObjectCorrupt."""
        rows = []
        for i, flags in enumerate(entries.flags):
            if flags == EMPTY_DIR:
                continue
            inner, size = os.fsdecode(entries.paths[i]), entries.sizes[i]
            name = f"{path}/{inner}" if inner else path
            md5 = self._file(entries.digest(i), size)
            self.versions[name] = DvcOut(name, md5, size, executable=bool(flags & EXECUTABLE) and not inner)
            rows.append((inner, md5))
        if path in self.versions:
            return self.versions[path]
        listing = dvc_files.dump_listing(rows)
        md5 = dvc_files.listing_name(listing)
        self._write(md5, listing)
        self.versions[path] = DvcOut(path, md5, sum(entries.sizes), len(rows))
        return self.versions[path]

    def _file(self, digest: Digest, size_bytes: int) -> str:
        if digest not in self._known:
            if self._source.has_large(digest):
                self._known[digest] = self._large(digest, size_bytes)
            else:
                data = self._source.read_in_order(digest, size_bytes)
                self._known[digest] = dvc_files.md5_name(data)
                self._write(self._known[digest], data)
        self._progress.advance(size_bytes=size_bytes, files=1)
        return self._known[digest]

    def _large(self, digest: Digest, size_bytes: int) -> str:
        """Copies a file and hashes what it copies; where the disk can, both share their blocks."""
        md5, own = hashlib.md5(usedforsecurity=False), FileHasher()
        with self._source.open_large(digest) as source, self._temporary() as (temporary, target):
            is_shared = share_blocks(source, target)
            for offset in range(0, os.fstat(source).st_size, _PIECE_BYTES):
                piece = read_at(source, _PIECE_BYTES, offset)
                md5.update(piece)
                own.update(piece)
                if not is_shared:
                    write_all(target, piece)
            if own.digest() != digest:
                raise ObjectCorrupt(f"the object {short(digest)} in the cache is damaged", hint="dvlite fsck --repair")
            self._publish(temporary, md5.hexdigest())
        return md5.hexdigest()

    def _write(self, name: str, data: Buffer) -> None:
        with self._temporary() as (temporary, target):
            write_all(target, data)
            self._publish(temporary, name)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[Path, int]]:
        temporary = self._folder / temporary_name()
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                yield temporary, descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise os_error(error, "write", self._folder) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _publish(self, temporary: Path, md5: str) -> None:
        os.chmod(temporary, _MODE)
        os.replace(temporary, self._real(self._folder / md5[:2]) / md5[2:])

    def _real(self, folder: Path) -> Path:
        """Makes a folder and returns it. Raises UsageError for one behind a link, which git may have brought: it could lead anywhere."""
        if not folder.exists():
            os.makedirs(folder)
        if os.path.realpath(folder) != os.fspath(folder):
            raise UsageError(f"{quote(str(folder))} is behind a symbolic link", hint="remove the link")
        return folder
