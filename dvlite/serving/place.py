"""Where models stand for servers, a folder or a bucket, as the rest of this package uses it: names, files, and what is written there.

Knows no server. A file comes from the cache, or is in memory or in a temporary file.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.oid import Buffer, Digest, FileHasher
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE

PIECE_BYTES = 1 << 20
MOST_FILES = 200_000  # that are looked at in one place


@dataclass(frozen=True, slots=True)
class ServedContent:
    """A file to be written. `opened` yields its bytes, verified if they are from the cache."""

    size_bytes: int
    opened: Callable[[], AbstractContextManager[Buffer]]
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file that was read to its end."""

    size_bytes: int
    digest: Digest
    sha256: str


class Hasher:
    """Hashes a file in pieces, both ways."""

    def __init__(self) -> None:
        self._own, self._sha256, self.size_bytes = FileHasher(), hashlib.sha256(), 0

    def update(self, piece: Buffer) -> None:
        self._own.update(piece)
        self._sha256.update(piece)
        self.size_bytes += len(piece)

    def hashed(self) -> Hashed:
        return Hashed(self.size_bytes, self._own.digest(), self._sha256.hexdigest())


class ServingPlace(Protocol):
    """A folder or a bucket. Paths are relative to it, with slashes. Raises DvliteError."""

    label: str
    url: str
    """As the user wrote it, made absolute."""

    def above(self) -> tuple[ServingPlace, str] | None:
        """Returns the place that has this one as a folder, and the name of that; None for the root."""

    def children(self, folder: str) -> list[str]:
        """Returns the names in a folder, sorted; none if it is not there."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Returns the files below a folder by their paths inside, with their sizes in bytes; links and what is no file have -1."""

    def head(self, path: str, limit_bytes: int) -> bytes | None:
        """Returns the first bytes of a file; None if it is not there."""

    def hashed(self, path: str, most_bytes: int, advance: Callable[[int], None]) -> Hashed | None:
        """Reads a file and hashes it, no more of it than `most_bytes` and one; None if it is not there."""

    def fetched(self, path: str) -> AbstractContextManager[Path | None]:
        """Yields a file of this machine with the bytes of one that stands there; None if it is not there."""

    def held(self, name: str, warn: Callable[[str], None]) -> AbstractContextManager[None]:
        """Keeps other exports of this model out where that is possible, and removes what a killed one left."""

    def write_version(self, folder: str, contents: Mapping[str, ServedContent], sidecar: str, last: str) -> int:
        """Writes a folder of a version, or the rest of one whose sidecar is there already; returns how many bytes it wrote.

        `last` is the file that a server waits for. Raises VersionTaken where another export wrote other bytes there.
        """

    def complete(self, folder: str, contents: Mapping[str, ServedContent], last: str) -> int:
        """Writes what a version lacks that an earlier export began; returns how many bytes it wrote."""

    def write(self, path: str, content: ServedContent) -> None:
        """Replaces a file at one stroke."""

    def remove_version(self, folder: str, sidecar: str) -> None:
        """Removes a folder of a version; what is left of it if that is interrupted is no version, or is removed by the next export."""


class VersionTaken(DvliteError):
    """Another export wrote a version of this number meanwhile."""


def read(place: ServingPlace, path: str, limit_bytes: int) -> bytes | None:
    """Returns a small file; None if it is not there. Raises FormatError for a longer one."""
    data = place.head(path, limit_bytes + 1)
    if data is not None and len(data) > limit_bytes:
        raise files.refused(f"{place.url}/{path}", f"it has more than {limit_bytes:,} bytes")
    return data


def of_bytes(data: bytes) -> ServedContent:
    """Returns the content of a file that is in memory."""
    return ServedContent(len(data), lambda: contextlib.nullcontext(data))


def of_file(path: Path) -> ServedContent:
    """Returns the content of a temporary file."""
    return ServedContent(os.stat(path).st_size, lambda: _mapped_file(path))


def of_cache(cache: Cache, digest: Digest, size_bytes: int, *, executable: bool) -> ServedContent:
    """Returns the content of a file of a version."""
    return ServedContent(size_bytes, lambda: _from_cache(cache, digest, size_bytes), executable)


@contextlib.contextmanager
def _from_cache(cache: Cache, digest: Digest, size_bytes: int) -> Iterator[Buffer]:
    if not size_bytes or cache.has_packed(digest, (KIND_FILE,)):
        yield cache.read_file(digest, size_bytes)
        return
    with cache.open_verified(digest, size_bytes) as descriptor:
        yield memoryview(
            mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        )  # closed when its last view goes: an error has one


@contextlib.contextmanager
def _mapped_file(path: Path) -> Iterator[Buffer]:
    with open(os.open(path, files.READ), "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            yield b""
            return
        yield memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def hashed_content(content: ServedContent) -> Hashed:
    """Reads what is to be written, and hashes it."""
    hasher = Hasher()
    with content.opened() as data:
        view = memoryview(data)
        for at in range(0, len(view), PIECE_BYTES):
            hasher.update(view[at : at + PIECE_BYTES])
        view.release()
    return hasher.hashed()
