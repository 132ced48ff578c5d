"""Blobs read from one running git, one after another. Starts no process itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Self

from dvlite.git import output as git_output


class BlobReader:
    """Reads blobs from one running git: no process for each. A context manager."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.__exit__(None, None, None)

    def read(self, blob: str, limit_bytes: int) -> bytes:
        """Returns the content of a blob; raises FormatError for one above the limit, after which the reader is of no more use."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{blob}\n".encode())
        self._process.stdin.flush()
        return git_output.next_blob(self._process.stdout, blob, limit_bytes)


class Blobs:
    """Content of git's objects, read from one running git (`Git.blob_reader`) that starts with the first; a context manager."""

    def __init__(self, start: Callable[[], BlobReader]) -> None:
        self._start = start
        self._reader: BlobReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, blob: str, limit_bytes: int) -> bytes:
        """Returns a blob; raises TooLarge if it has more bytes than the limit."""
        if self._reader is None:
            self._reader = self._start()
        try:
            return self._reader.read(blob, limit_bytes)
        except BaseException:  # the rest of its answer is still on its way
            self._close()
            raise

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.__exit__(None, None, None)
            self._reader = None
