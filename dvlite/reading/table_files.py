"""Files of several versions as one file system of fsspec, for a reader that takes only one and reads `*` in a name as a pattern.

A file has a name of our own, `dvlite://7/part.csv`, and nothing else can be opened. What cannot be read is kept: the reader's own error
about it says less.
"""

from __future__ import annotations

import posixpath
from datetime import datetime
from typing import Any, BinaryIO, cast

from fsspec.spec import AbstractFileSystem

from dvlite.errors import DvliteError
from dvlite.reading.filesystem import DvliteFileSystem

PLAIN = str.maketrans({"*": "%2A", "?": "%3F", "[": "%5B"})  # names without patterns


class TableFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Read-only; holds what was put into it."""

    protocol = "dvlite"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, tuple[DvliteFileSystem, str]] = {}
        self.failure: DvliteError | None = None  # the first

    def put_in(self, version: DvliteFileSystem, path: str, inner: str) -> str:
        """Gives a file of a version a URL; `inner` is its name in its folder, whose parts `name=value` stay to be read."""
        name = f"{len(self._files)}/{inner.translate(PLAIN)}"
        self._files[name] = version, path
        return f"{self.protocol}://{name}"

    def received_bytes(self) -> int:
        """Returns what was read from remotes."""
        return sum(version.traffic.bytes_read for version in {id(one): one for one, _ in self._files.values()}.values())

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        version, inner = self._found(path)
        return {**version.info(inner), "name": self._strip_protocol(path)}

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:  # noqa: FBT001, FBT002
        shown = self.info(path)
        return [shown] if detail else [shown["name"]]

    def modified(self, path: str) -> datetime:
        version, inner = self._found(path)
        return version.modified(inner)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> BinaryIO:
        version, inner = self._found(path)
        return cast("BinaryIO", _Watched(self, version.open(inner, mode)))

    def _found(self, path: str) -> tuple[DvliteFileSystem, str]:
        found = self._files.get(posixpath.normpath(self._strip_protocol(path)))
        if found is None:
            raise FileNotFoundError(path)
        return found


class _Watched:
    """An open file whose first failure is kept."""

    def __init__(self, files: TableFiles, file: Any) -> None:
        self._files, self._file = files, file

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._file.read(size))
        except DvliteError as error:
            self._files.failure = self._files.failure or error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
