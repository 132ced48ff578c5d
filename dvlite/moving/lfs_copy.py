"""Copies a file out of dvlite's cache and says what Git LFS calls it. Knows no repository."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dvlite import files
from dvlite.oid import Digest
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE


def copy_out(cache: Cache, digest: Digest, size_bytes: int, path: Path) -> str:
    """Copies a file of the cache into a new one, by sharing its blocks where the disk can, and returns the SHA-256 of what that holds.

    A large file is not compared with its digest. Raises ObjectMissing, ObjectCorrupt, OSError; then the caller removes the new file.
    """
    with open(path, "x+b", buffering=0) as copy:
        if cache.has_packed(digest, (KIND_FILE,)):
            files.write_all(copy.fileno(), cache.read_file(digest, size_bytes))
        else:
            with cache.open_large(digest) as source:
                if not files.share_blocks(source, copy.fileno()):
                    files.copy_range(source, copy.fileno(), size_bytes)
        copy.seek(0)
        return hashlib.file_digest(copy, "sha256").hexdigest()
