"""Bytes that another program names by a hash of its own, into dvlite's cache: none has a name there that fails the check.

The check reads a large file while it is copied, so that the disk is read once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dvlite.files import read_at, require_space
from dvlite.oid import Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE

_BLOCK_BYTES = 1 << 20  # as DVC 2 reads: it makes CR LF to LF block by block

IsRight = Callable[[Iterable[bytes]], bool]  # are these blocks the file that is wanted?


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes that dvlite's cache has."""

    digest: Digest
    size_bytes: int


class CheckedWriter:
    """Takes files into the cache of a writer."""

    def __init__(self, writer: Writer, progress: Progress) -> None:
        self._writer, self._progress = writer, progress
        self._checking = ThreadPoolExecutor(1)

    def close(self) -> None:
        """Ends the thread that checks."""
        self._checking.shutdown()

    def take(self, descriptor: int, name: str, is_right: IsRight) -> StoredBytes | None:
        """Stores an open file; returns None, and nothing names what was stored, if it is not the right one."""
        size = os.fstat(descriptor).st_size
        if size <= self._writer.cache.pack_below_bytes:
            raw = read_at(descriptor, size)
            if not is_right([raw]):
                return None
            digest = digest_bytes(raw)
            self._writer.put(KIND_FILE, digest, raw)
            self._progress.advance(size_bytes=size, files=1)
            return StoredBytes(digest, len(raw))
        require_space(self._writer.cache.folder, size, "what is imported")
        checked = self._checking.submit(is_right, _blocks(descriptor))
        digest = self._writer.put_large(
            descriptor, name, lambda size_bytes: self._progress.advance(size_bytes=size_bytes)
        )
        if not checked.result():
            return None
        self._progress.advance(files=1)
        return StoredBytes(digest, size)


def _blocks(descriptor: int) -> Iterator[bytes]:
    offset = 0
    while block := read_at(descriptor, _BLOCK_BYTES, offset):
        yield block
        offset += len(block)
