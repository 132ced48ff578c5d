"""Archives of TorchServe (`.mar`): a zip of a manifest and the files of a model. Written so that the same model gives the same bytes.

Nothing is compressed: what it takes on disk is what it takes to read, so no archive of a stranger is larger than it looks.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from dvlite.errors import FormatError
from dvlite.paths import check_paths
from dvlite.show import quote

MANIFEST = "MAR-INF/MANIFEST.json"
_MOST_FILES = 100_000
_MOST_LISTED_BYTES = 32 << 20  # of the archive's own list of files
_MADE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say
_ARCHIVER = "0.12.0"
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 1 << 16


@dataclass(frozen=True, slots=True)
class MarManifest:
    """What TorchServe reads first."""

    name: str
    version: str
    handler: str
    serialized: str = ""

    def dump(self) -> bytes:
        """Returns the JSON of an archive."""
        model = {"modelName": self.name, "handler": self.handler, "modelVersion": self.version}
        if self.serialized:
            model["serializedFile"] = self.serialized
        body = {
            "createdOn": "01/01/1980 00:00:00",
            "runtime": "python",
            "model": model,
            "archiverVersion": _ARCHIVER,
        }
        return json.dumps(body, indent=2).encode() + b"\n"


def entry(path: str, size_bytes: int) -> zipfile.ZipInfo:
    """Returns the head of a file in an archive."""
    made = zipfile.ZipInfo(path, _MADE)
    made.external_attr = 0o100644 << 16
    made.create_system = 3
    made.file_size = size_bytes
    return made


class MarReader:
    """The files of an archive that anyone may have made; nothing is extracted. Raises FormatError."""

    def __init__(self, file: BinaryIO, size_bytes: int, where: str) -> None:
        self._where = where
        try:
            _require_small_list(file, size_bytes)
            self._archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, UnicodeDecodeError) as error:
            raise FormatError(f"cannot read {where}: it is no archive of TorchServe ({_words(error)})") from None
        self.sizes = self._checked(size_bytes)

    def _checked(self, size_bytes: int) -> Mapping[str, int]:
        sizes: dict[str, int] = {}
        for item in self._archive.infolist():
            if item.is_dir():
                continue
            if item.filename in sizes:
                raise FormatError(f"cannot read {self._where}: it has {quote(item.filename[:80])} twice")
            if item.compress_type != zipfile.ZIP_STORED or item.file_size != item.compress_size or item.flag_bits & 1:
                raise FormatError(
                    f"cannot read {self._where}: {quote(item.filename[:80])} in it is compressed or encrypted",
                    hint="archives of dvlite are not; make it with: dvlite export serving MODEL --to torchserve --dest DIR",
                )
            sizes[item.filename] = item.file_size
        if sum(sizes.values()) > size_bytes:
            raise FormatError(f"cannot read {self._where}: its files overlap")
        try:
            check_paths(sorted(name.encode("utf-8", "surrogateescape") for name in sizes))
        except FormatError as error:
            raise FormatError(f"cannot read {self._where}: {error.message}") from None
        return sizes

    def pieces(self, path: str, size_bytes: int) -> Iterator[bytes]:
        """Yields a file. Raises FormatError where its bytes are not those of its checksum, or cannot be read."""
        try:
            with self._archive.open(path) as file:
                while piece := file.read(size_bytes):
                    yield piece
        except (zipfile.BadZipFile, EOFError, struct.error, NotImplementedError, ValueError, RuntimeError) as error:
            raise FormatError(f"cannot read {quote(path)} in {self._where}: {_words(error)}") from None

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """Returns a small file, None if it is not there."""
        if path not in self.sizes:
            return None
        if self.sizes[path] > limit_bytes:
            raise FormatError(f"cannot read {quote(path)} in {self._where}: it has more than {limit_bytes:,} bytes")
        return b"".join(self.pieces(path, limit_bytes + 1))


def first_file(head: bytes, name: str) -> bytes | None:
    """Returns a file that stands at the beginning of an archive of dvlite, from its first bytes; None where these do not have it whole."""
    at = 0
    while at + _LOCAL.size <= len(head):
        fields = _LOCAL.unpack_from(head, at)
        signature, method, stored, size, name_bytes, more_bytes = fields[0], fields[3], *fields[7:]
        start = at + _LOCAL.size + name_bytes + more_bytes
        if signature != b"PK\3\4" or method or stored != size:
            return None
        if head[at + _LOCAL.size : at + _LOCAL.size + name_bytes] == name.encode():
            return head[start : start + size] if start + size <= len(head) else None
        at = start + size
    return None


def _require_small_list(file: BinaryIO, size_bytes: int) -> None:
    """Raises ValueError for a list of files that is longer than that of any model: all of it would be read into memory."""
    start = max(0, size_bytes - _END.size - _LONGEST_COMMENT)
    file.seek(start)
    tail = file.read(_END.size + _LONGEST_COMMENT)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise ValueError("it has no list of files")
    end = _END.unpack_from(tail, at)
    count, listed = end[4], end[5]
    if 0xFFFF in end[1:5] or 0xFFFFFFFF in end[5:7]:
        if at < _LOCATOR.size:
            raise ValueError("its end is missing")
        signature, _, place, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        if signature != b"PK\6\7" or place > size_bytes:
            raise ValueError("its end is damaged")
        file.seek(place)
        fields = _END64.unpack(file.read(_END64.size))
        count, listed = fields[7], fields[8]
    if count > _MOST_FILES or listed > _MOST_LISTED_BYTES:
        raise ValueError("it lists too many files")
    file.seek(0)


def _words(error: Exception) -> str:
    text = str(error)
    return text[:100] if text.isprintable() and text else "it is damaged"
