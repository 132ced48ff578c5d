"""Brings what DVC stored into dvlite's cache: out of DVC's cache and its remotes, each md5 checked before anything names the bytes.

Reads only. An object that is damaged in one place is looked for in the next.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from dvlite.errors import FormatError, ObjectCorrupt, ObjectMissing
from dvlite.files import open_without_waiting, os_error, read_at
from dvlite.formats import dvc_files
from dvlite.progress import Progress
from dvlite.show import quote
from dvlite.store.cache_writer import Writer
from dvlite.store.checked import CheckedWriter, StoredBytes


@dataclass(frozen=True, slots=True)
class DvcName:
    """What DVC calls a file or listing; `old` as for `DvcOut`."""

    md5: str
    old: bool

    @property
    def is_directory(self) -> bool:
        return self.md5.endswith(dvc_files.LISTING_SUFFIX)

    def places(self) -> list[str]:
        """Returns the names under which a cache or remote may have it."""
        new, before = f"files/md5/{self.md5[:2]}/{self.md5[2:]}", f"{self.md5[:2]}/{self.md5[2:]}"
        return [before, new] if self.old else [new]


class DvcPlace(Protocol):
    """A cache or remote of DVC."""

    def find(self, name: str) -> int | None:
        """Returns a descriptor of a regular file with the bytes of an object, for the caller to close; None if there is none."""

    def expect(self, names: Sequence[str]) -> Sequence[str]:
        """Takes note of what will be asked for, in this order; returns what other places will be asked for."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A cache or remote in a folder."""

    folder: Path

    def find(self, name: str) -> int | None:
        """Returns a descriptor of the file."""
        path = f"{self.folder}/{name}"  # a Path takes five times as long, for each file
        try:
            descriptor = open_without_waiting(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise os_error(error, "read", path) from error
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def expect(self, names: Sequence[str]) -> Sequence[str]:
        """Returns those that are not here."""
        return [name for name in names if not os.path.exists(self.folder / name)]


class DvcObjects:
    """Takes objects into the cache of a writer, each once; `known` are those that it had at some time."""

    def __init__(
        self,
        places: Sequence[DvcPlace],
        writer: Writer,
        progress: Progress,
        known: Mapping[DvcName, StoredBytes] | None = None,
    ) -> None:
        self._places, self._writer, self._known = places, writer, known or {}
        self.taken: dict[DvcName, StoredBytes] = {}
        self._checked = CheckedWriter(writer, progress)

    def close(self) -> None:
        """Ends the thread that hashes."""
        self._checked.close()

    def take(self, name: DvcName) -> StoredBytes:
        """Stores the bytes of a file and returns what they are. Raises ObjectMissing and ObjectCorrupt."""
        if name not in self.taken:
            self.taken[name] = self._had(name) or self._take(name)
        return self.taken[name]

    def expect(self, names: Iterable[DvcName]) -> None:
        """Has a remote send what will be taken, in this order, several at a time."""
        new = (name for name in dict.fromkeys(names) if name not in self.taken and self._had(name) is None)
        waiting: Sequence[str] = [name.places()[0] for name in new]
        for place in self._places:
            waiting = place.expect(waiting) if waiting else ()

    def _had(self, name: DvcName) -> StoredBytes | None:
        """Returns the bytes of a file that came before, if they are here still."""
        known = self._known.get(name)
        is_lost = known is not None and any(True for _ in self._writer.lacking(known.digest, [known.size_bytes]))
        return None if is_lost else known

    def listing(self, name: DvcName) -> list[tuple[str, DvcName]]:
        """Returns the files of a directory, as `read_listing`."""
        return read_listing(self._places, name)

    def _take(self, name: DvcName) -> StoredBytes:
        is_there = False
        for descriptor in _opened(self._places, name):
            is_there = True
            content = self._checked.take(descriptor, name.md5, partial(_is_it, name))
            if content is not None:
                return content
        raise _absent(name, is_there=is_there)


def read_listing(places: Sequence[DvcPlace], name: DvcName) -> list[tuple[str, DvcName]]:
    """Returns the files of a directory, by path. Raises ObjectMissing, ObjectCorrupt, and FormatError for one that is no listing."""
    is_there = False
    for descriptor in _opened(places, name):
        is_there = True
        if (size := os.fstat(descriptor).st_size) > dvc_files.LISTING_LIMIT_BYTES:
            raise FormatError(f"the listing {name.md5} has {size:,} bytes, too many")
        data = read_at(descriptor, size)
        if dvc_files.listing_name(data) == name.md5:
            rows = dvc_files.parse_listing(data, f"the listing {name.md5}")
            return [(path, DvcName(md5, name.old)) for path, md5 in rows]
    raise _absent(name, is_there=is_there)


def _opened(places: Sequence[DvcPlace], name: DvcName) -> Iterator[int]:
    for place in places:
        for part in name.places():
            descriptor = place.find(part)
            if descriptor is not None:
                try:
                    yield descriptor
                finally:
                    os.close(descriptor)


def _absent(name: DvcName, *, is_there: bool) -> ObjectMissing | ObjectCorrupt:
    """Returns the error for an object that no place has sound."""
    if is_there:
        return ObjectCorrupt(f"{quote(name.md5)} is damaged: its bytes have another md5")
    return ObjectMissing(f"{quote(name.md5)} is nowhere")


def _is_it(name: DvcName, blocks: Iterable[bytes]) -> bool:
    """Returns whether a file has the md5 of its name."""
    plain = hashlib.md5(usedforsecurity=False)
    lines = hashlib.md5(usedforsecurity=False) if name.old else None
    for block in blocks:
        plain.update(block)
        if lines is not None:
            lines.update(block.replace(b"\r\n", b"\n"))
    return name.md5 in (plain.hexdigest(), lines and lines.hexdigest())
