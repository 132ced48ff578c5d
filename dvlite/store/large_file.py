"""Opens the large files of a cache, which lie there whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dvlite import files
from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.oid import Digest, digest_file
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST

_REPAIR = "dvlite pull fetches a good copy if a remote has one"


@contextlib.contextmanager
def open_verified(path: Path, digest: Digest, size_bytes: int) -> Iterator[int]:
    """Opens a large file of the cache and yields its descriptor after hashing it; raises ObjectMissing or ObjectCorrupt."""
    with open_large(path, digest) as descriptor:
        if os.fstat(descriptor).st_size != size_bytes or digest_file(descriptor, size_bytes) != digest:
            raise ObjectCorrupt(
                f"object blake3:{digest.hex()} is damaged: its bytes are not the ones that its name promises",
                hint=_REPAIR,
            )
        yield descriptor


@contextlib.contextmanager
def open_large(path: Path, digest: Digest) -> Iterator[int]:
    """Opens a large file of the cache whose bytes the caller will check itself; raises ObjectMissing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise missing_object(digest, (KIND_FILE,)) from None
    except OSError as error:
        raise files.os_error(error, "read", path) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def missing_object(digest: Digest, kinds: tuple[int, ...]) -> ObjectMissing:
    """Returns the error for an object that the cache does not have."""
    kind = "manifest" if KIND_MANIFEST in kinds else "blake3"
    return ObjectMissing(f"object {kind}:{digest.hex()} is not in the cache", hint="fetch it with dvlite pull")
