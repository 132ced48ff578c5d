"""Data that others keep, at a URL, in a bucket or in another store: what is there now, and its bytes, taken up again where they broke off.

Nothing says what the bytes should be: their length is checked, and whatever the server says to distinguish versions is kept.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from dvlite.errors import RemoteError
from dvlite.files import os_error, read_at, require_space, write_all
from dvlite.formats.reference import Item
from dvlite.oid import Digest, digest_file
from dvlite.progress import Progress
from dvlite.show import printable, quote
from dvlite.store.retry import Retries

if TYPE_CHECKING:
    from http.client import HTTPMessage

_RENEWED_BYTES = 1 << 20  # so much more counts as an answer: a server that stops after each byte is given up
_BLOCK_BYTES = 1 << 20
_MOST_LETTERS = 1000  # of a header that is kept


class NothingThere(RemoteError):
    """There is no file at a URL."""


class Origin(Protocol):
    """A place of someone else's, to be read. Methods may be called from many threads at once."""

    label: str

    def look(self) -> Sequence[Item]:
        """Returns what is there: one item without a name for a file, else all that is below. One request, or one for each 1,000 items.

        Raises Transient, ObjectAbsent for nothing, and RemoteError.
        """

    def read(self, item: Item, download: Download) -> Item:
        """Sends the bytes of an item, from where the download stands, to it; returns what the server says about it now.

        Raises Transient where a new try may help; what came stays.
        """

    def close(self) -> None:
        """Closes connections."""


class Download:
    """A file on its way. If it may be `kept`, what came stays there when the command is stopped, for the next one; else at `temporary`."""

    def __init__(
        self, kept: Path | None, temporary: Path, progress: Progress, retries: Retries, *, mode: int = 0o600
    ) -> None:
        self.path, self._file = _opened(kept, temporary, mode)
        self.size_bytes = os.fstat(self._file).st_size
        self._progress, self._retries = progress, retries
        self._renewed = self.size_bytes
        progress.advance(size_bytes=self.size_bytes)

    def restart(self) -> None:
        """Forgets what came: it is of another version, or the server only sends all of it."""
        self._progress.advance(size_bytes=-self.size_bytes)
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self.size_bytes = 0  # what came before is no progress when it comes again

    def expect(self, total_bytes: int) -> None:
        """Raises NoSpace if the disk cannot hold the rest."""
        require_space(self.path.parent, max(0, total_bytes - self.size_bytes), quote(str(self.path.parent)))

    def take(self, piece: bytes) -> None:
        """Appends the bytes that come next."""
        try:
            write_all(self._file, piece)
        except OSError as error:
            raise os_error(error, "write", self.path) from error
        self.size_bytes += len(piece)
        self._progress.advance(size_bytes=len(piece))
        if self.size_bytes - self._renewed >= _RENEWED_BYTES:
            self._renewed = self.size_bytes
            self._retries.answered()

    def digest(self) -> Digest:
        """Returns the digest of what came."""
        return digest_file(self._file, self.size_bytes)

    def copy_to(self, stream: BinaryIO) -> None:
        """Writes what came to a stream."""
        stream.writelines(
            read_at(self._file, _BLOCK_BYTES, offset) for offset in range(0, self.size_bytes, _BLOCK_BYTES)
        )

    def close(self) -> None:
        """Closes the file, which stays."""
        os.close(self._file)


def _opened(kept: Path | None, temporary: Path, mode: int) -> tuple[Path, int]:
    """Opens the file that may be kept, at its end, or the temporary one if there is none or another process fills it."""
    import fcntl  # Unix only

    for path in [temporary] if kept is None else [kept, temporary]:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        except PermissionError:
            if path == temporary:
                raise
            continue  # another member of the group began it
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.lseek(descriptor, 0, os.SEEK_END)
                return path, descriptor
        os.close(descriptor)
    raise AssertionError("a new temporary file is never locked")


def download(origin: Origin, item: Item, into: Download, retries: Retries) -> Item:
    """Brings an item, with new tries where that may help; returns what the server said. Raises RemoteError where its length is not right."""

    def attempt() -> Item:
        return origin.read(item, into)

    if item.size_bytes is not None:
        into.expect(item.size_bytes)
    now = retries.run(attempt)
    if now.size_bytes is not None and now.size_bytes != into.size_bytes:
        raise RemoteError(
            f"{origin.label} said {now.size_bytes} bytes and sent {into.size_bytes}", hint="try again later"
        )
    return now


def name_in(url: str) -> str:
    """Returns the last part of a URL, by which its data is called; empty if that is no name of a file."""
    name = unquote(urlsplit(url).path.rstrip("/")).rpartition("/")[2]
    return name if name.isprintable() and name not in (".", "..") else ""


def item_of(head: HTTPMessage, size_bytes: int | None) -> Item:
    """Returns what the headers of an answer say about a file; what is no plain text of theirs is left out."""
    etag, version, modified = (plain(head.get(name)) for name in ("etag", "x-amz-version-id", "last-modified"))
    encoding = (head.get("content-encoding") or "").strip().lower()
    encoding = "" if encoding == "identity" else printable(encoding[:40])
    return Item("", size_bytes, etag, "" if version == "null" else version, modified, encoding)


def length_in(header: str | None) -> int | None:
    """Returns the number of bytes that a header says; None if it says none."""
    return int(header) if header is not None and re.fullmatch(r"[0-9]{1,18}", header.strip()) else None


def plain(value: str | None) -> str:
    """Returns what a server said if it is plain text that can be sent back to it, else nothing."""
    text = (value or "").strip()
    return text if text.isascii() and text.isprintable() and len(text) <= _MOST_LETTERS else ""
