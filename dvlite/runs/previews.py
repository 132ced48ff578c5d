"""Small parts of what runs left behind, for a page: the end of logs, edits, pictures and tables. Read from the cache only, and bounded.

A picture is one only if its bytes say so: its name is the word of whoever ran the stage.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dvlite import files
from dvlite.errors import DvliteError, ObjectMissing
from dvlite.formats import manifest
from dvlite.oid import MANIFEST, Digest, Oid, parse_oid
from dvlite.show import size_text
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE

MOST_TEXT, MOST_PICTURE, MOST_TABLE = 32 << 10, 512 << 10, 1 << 20  # bytes of one
MOST_BYTES = 8 << 20  # of all that one `Previews` reads
_MOST_VERIFIED = 1 << 20  # bytes of a text that is read whole; of a longer one, only its end
_MOST_LISTED = 200  # files of a directory that is looked through
_ROWS, _CELLS, _LETTERS = 30, 12, 60
_TABLES = {".csv": ",", ".tsv": "\t"}
_PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
_MISSING = "not in the cache"
_ENOUGH = "left out, for the page has enough of them"


@dataclass(frozen=True, slots=True)
class TextPreview:
    """A log or a diff, or a part of it; `problem` says why it cannot be read."""

    text: str = ""
    left_out_bytes: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FilePreview:
    """An output: the bytes of a picture of `kind`, or the rows of a table; or why it is not shown."""

    path: str
    kind: str  # a media type, or `table`
    picture: bytes = b""
    rows: Sequence[Sequence[str]] = ()
    problem: str = ""


class Previews:
    """Reads from one cache until MOST_BYTES were read; what comes later is left out with a word."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._left = MOST_BYTES

    def text(self, oid: Oid, keep: Literal["start", "end"]) -> TextPreview:
        """Returns the start or the end of a log or a diff."""
        if self._left <= 0:
            return TextPreview(problem=_ENOUGH)
        try:
            data, size_bytes = self._part(parse_oid(oid)[1], keep)
        except ObjectMissing:
            return TextPreview(problem=_MISSING)
        except DvliteError as error:
            return TextPreview(problem=error.message)
        self._left -= len(data)
        return TextPreview(data.decode("utf-8", "replace"), size_bytes - len(data))

    def outputs(self, path: str, oid: Oid, size_bytes: int, number: int) -> Iterator[FilePreview]:
        """Yields the pictures and tables that an output is, or that a directory of `number` files has."""
        kind, digest = parse_oid(oid)
        if kind != MANIFEST:
            yield from self._file(path, digest, size_bytes)
        elif number <= _MOST_LISTED:
            try:
                listed = manifest.load(digest, self._cache.read_node)
            except DvliteError:  # a directory of which nothing is known has no pictures to miss
                return
            for entry in map(listed.__getitem__, range(len(listed))):
                if entry.kind == manifest.FILE:
                    yield from self._file(f"{path}/{os.fsdecode(entry.path)}", entry.digest, entry.size_bytes)

    def _file(self, path: str, digest: Digest, size_bytes: int) -> Iterator[FilePreview]:
        end = os.path.splitext(path)[1].lower()
        kind = "table" if end in _TABLES else _PICTURES.get(end)
        if kind is None:
            return
        most = MOST_TABLE if kind == "table" else MOST_PICTURE
        if size_bytes > min(most, self._left):
            why = f"{size_text(size_bytes)}: too large for a page" if size_bytes > most else _ENOUGH
            yield FilePreview(path, kind, problem=why)
            return
        if not self._cache.has_file(digest, size_bytes):  # nor one of another size than the record says
            yield FilePreview(path, kind, problem=_MISSING)
            return
        try:
            data = self._cache.read_file(digest, size_bytes)
        except ObjectMissing:
            yield FilePreview(path, kind, problem=_MISSING)
        except DvliteError as error:
            yield FilePreview(path, kind, problem=error.message)
        else:
            yield self._shown(path, kind, data, _TABLES.get(end, ","))

    def _shown(self, path: str, kind: str, data: bytes, delimiter: str) -> FilePreview:
        if kind != "table":
            self._left -= len(data)
            if picture_kind(data) != kind:
                return FilePreview(path, kind, problem=f"not the picture that its name says ({kind})")
            return FilePreview(path, kind, picture=data)
        try:
            lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter, strict=True)
            rows = [[cell[:_LETTERS] for cell in row[:_CELLS]] for row in itertools.islice(lines, _ROWS)]
        except (UnicodeDecodeError, csv.Error):
            return FilePreview(path, kind, problem="not a table in UTF-8")
        self._left -= sum(len(cell) for row in rows for cell in row)
        return FilePreview(path, kind, rows=rows)

    def _part(self, digest: Digest, keep: Literal["start", "end"]) -> tuple[bytes, int]:
        """Returns a part of a file and the size of the whole; of a very long one, a part that was not verified."""
        if not self._cache.has_packed(digest, (KIND_FILE,)) and self._cache.has_large(digest):
            with self._cache.open_large(digest) as descriptor:
                size_bytes = os.fstat(descriptor).st_size
                if size_bytes > _MOST_VERIFIED:
                    return files.read_at(
                        descriptor, MOST_TEXT, size_bytes - MOST_TEXT if keep == "end" else 0
                    ), size_bytes
        data = self._cache.read_file(digest, 0)
        return (data[-MOST_TEXT:] if keep == "end" else data[:MOST_TEXT]), len(data)


def picture_kind(data: bytes) -> str | None:
    """Returns the media type of a picture by its first bytes; None for anything that a page should not show as one."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None
