"""The folder in which git-lfs keeps the objects of a clone: where it is, where an object lies in it, and copies for it out of dvlite's cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dvlite import files
from dvlite.oid import Digest
from dvlite.repo.repository import Repo
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE


def local_folder(repo: Repo) -> Path:
    """Returns the folder in which git-lfs keeps the objects of this clone."""
    chosen = repo.git.config_get("lfs.storage")
    return repo.common_dir / (chosen or "lfs")


def object_in(folder: Path, sha256: str) -> Path:
    """Returns where an object lies in this folder."""
    return folder / "objects" / sha256[:2] / sha256[2:4] / sha256


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
