"""The stat index: what each tracked path looked like when its content was last known (docs/reference/formats/stat-index.md).

It makes commands fast and never changes an answer: deleting it costs one reading of the files. One file per tracked path, replaced
atomically. A row is only trusted if the file's last change lay more than the racy window before it was read: a later change then
cannot have left the same times (git's racy-git rule, applied to the moment of reading).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from dvlite import files
from dvlite.oid import DIGEST_BYTES, Buffer, Digest, signature
from dvlite.paths import path_pieces
from dvlite.workspace.scan import Scan

MAGIC = b"DVLS"
VERSION = 1
_HEADER = struct.Struct("<4sBBHIIQ32s")  # magic, version, byte order, 0, rows, racy rows, signature, root
_CHECK = struct.Struct("<Q")
_TOGETHER = 512  # paths that are objects at a time
_PATH_BYTES = 64  # of most paths
_ORDER = 1 if sys.byteorder == "little" else 2  # it never leaves the machine


@dataclass(frozen=True, slots=True)
class StatRows:
    """The rows of a stat index; `racy[i]` says that row i must be read again."""

    scan: Scan
    digests: Buffer  # 32 bytes per row; of a file that is mapped
    racy: bytes

    def digest(self, i: int) -> Digest:
        return Digest(bytes(self.digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]))


@dataclass(frozen=True, slots=True)
class StatIndex:
    """The head of a stat index: `root` is the version (a digest) that the rows amount to; `stamp` is the signature of their scan."""

    path: Path
    root: Digest
    stamp: int
    rows: int
    racy_rows: int

    def vouches_for(self, scan: Scan) -> bool:
        """Returns whether a scan proves that nothing changed since, so that the content is still `root`."""
        return not self.racy_rows and self.rows == len(scan.paths) and self.stamp == scan.signature()

    def load(self) -> StatRows | None:
        """Returns the rows, or None if the file is damaged or gone."""
        with (
            contextlib.suppress(OSError, ValueError, struct.error),
            open(os.open(self.path, files.READ), "rb") as file,
        ):
            return _decode(memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))
        return None


def open_index(path: Path) -> StatIndex | None:
    """Reads the head only; returns None for an absent, damaged or foreign file."""
    try:
        with open(os.open(path, files.READ), "rb") as file:
            head = file.read(_HEADER.size + _CHECK.size)
        magic, version, order, _, rows, racy, stamp, root = _HEADER.unpack_from(head)
        (check,) = _CHECK.unpack_from(head, _HEADER.size)
    except (OSError, struct.error):
        return None
    if (magic, version, order) != (MAGIC, VERSION, _ORDER) or signature([head[: _HEADER.size]]) != check:
        return None
    return StatIndex(path, root, stamp, rows, racy)


def write(path: Path, root: Digest, scan: Scan, digests: Buffer, racy: bytes | bytearray) -> None:
    """Replaces the stat index of one tracked path. Not synced: a lost one is made again."""
    rows = len(scan.paths)
    header = _HEADER.pack(MAGIC, VERSION, _ORDER, 0, rows, rows - racy.count(0), scan.signature(), root)
    stats = (scan.sizes, scan.mtimes, scan.ctimes, scan.inodes)
    columns = [memoryview(c) for c in (scan.flags, racy, *stats, digests)]  # written as they are: no copies
    columns += map(memoryview, path_pieces(scan.paths))
    path.parent.mkdir(parents=True, exist_ok=True)
    head = header + _CHECK.pack(signature([header]))
    files.write_atomic(path, head, *columns, _CHECK.pack(signature(columns)), sync=False)


def _decode(view: memoryview) -> StatRows | None:
    rows = _HEADER.unpack_from(view)[4]
    at = _HEADER.size + _CHECK.size
    stamp = signature([view[at : len(view) - _CHECK.size]])
    if (
        len(view) < at + rows * (2 + 32 + DIGEST_BYTES) + _CHECK.size
        or _CHECK.unpack_from(view, len(view) - _CHECK.size)[0] != stamp
    ):
        return None

    def take(width: int) -> memoryview:
        nonlocal at
        piece = view[at : at + rows * width]
        at += rows * width
        return piece

    flags, racy = bytearray(take(1)), bytes(take(1))
    sizes, mtimes, ctimes, inodes = array("q"), array("q"), array("q"), array("Q")
    for column in (sizes, mtimes, ctimes, inodes):
        column.frombytes(take(8))
    digests = take(DIGEST_BYTES)
    paths = _Paths(view[at : len(view) - _CHECK.size], rows)
    columns = paths, flags, sizes, mtimes, ctimes, inodes
    return StatRows(Scan(*columns), digests, racy) if paths.is_sound() else None  # type: ignore[arg-type]  # a list that is only read


class _Paths(Sequence[bytes]):
    """The paths of an index that is mapped: of a million, a few hundred are objects at a time."""

    def __init__(self, joined: memoryview, rows: int) -> None:
        self._joined, self._rows = joined, rows
        self._starts = {0: 0}  # where each block begins, as far as that is known
        self._last: tuple[int, list[bytes]] = (-1, [])  # the block that was asked for last

    def is_sound(self) -> bool:
        """Returns whether there are as many paths as rows."""
        pieces = (self._joined[at : at + (1 << 20)] for at in range(0, len(self._joined), 1 << 20))
        return bool(self._rows) + sum(bytes(piece).count(b"\0") for piece in pieces) == self._rows

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        if isinstance(at, int):
            if not -self._rows <= at < self._rows:
                raise IndexError(at)
            return self._block(at % self._rows // _TOGETHER)[at % self._rows % _TOGETHER]
        first, stop, step = at.indices(self._rows)
        number = first // _TOGETHER
        found = [path for each in range(number, -(-stop // _TOGETHER)) for path in self._block(each)]
        return found[first - number * _TOGETHER : stop - number * _TOGETHER : step]

    def __iter__(self) -> Iterator[bytes]:
        for number in range(-(-self._rows // _TOGETHER)):
            yield from self._block(number)

    def _block(self, number: int) -> list[bytes]:
        if self._last[0] == number:
            return self._last[1]
        for known in range(len(self._starts) - 1, number):
            self._split(known)
        paths = self._split(number)
        self._last = number, paths
        return paths

    def _split(self, number: int) -> list[bytes]:
        """Returns a block whose beginning is known, and takes note of where the next one begins."""
        start, length = self._starts[number], _TOGETHER * _PATH_BYTES
        paths: list[bytes] = []
        while len(paths) <= _TOGETHER and length <= 2 * len(self._joined) + _TOGETHER * _PATH_BYTES:
            paths = bytes(self._joined[start : start + length]).split(b"\0", _TOGETHER)
            length *= 2
        if len(paths) > _TOGETHER:
            del paths[_TOGETHER]
            self._starts[number + 1] = start + sum(map(len, paths)) + _TOGETHER
        return paths
