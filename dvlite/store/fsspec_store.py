"""Other places that fsspec can reach (Google, Azure, sftp), through its general interface: experimental, no gc.

Uses four calls of fsspec and none of its caches. What the S3 and folder backends promise and this one cannot: conditional creation is a
look and then a write, and the store's clock is this computer's.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import fsspec

from dvlite.errors import RemoteError, UsageError
from dvlite.formats.reference import Item
from dvlite.show import quote
from dvlite.store.object_store import (
    Buffer,
    Listing,
    ObjectAbsent,
    ObjectEntry,
    Transient,
    is_name,
    require_name,
    require_prefix,
)
from dvlite.store.origins import Download
from dvlite.store.url import Location

T = TypeVar("T")

_PIECE_BYTES = 16 << 20
_EXTRAS = {"gs": "gcs", "az": "azure", "abfs": "azure", "sftp": "sftp", "ssh": "sftp"}
_PERMANENT = (PermissionError, IsADirectoryError, NotADirectoryError, ValueError, TypeError, ImportError)


class FsspecStore:
    """Objects in any file system of fsspec; a new one for each store, without listing caches."""

    def __init__(self, location: Location, options: Mapping[str, str]) -> None:
        self.label = location.text
        self._location = location
        self._files = _file_system(location, options)
        host = "" if location.scheme in ("sftp", "ssh") else location.bucket
        self._root = f"{host}/{location.prefix}".rstrip("/") + "/"

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        require_name(name)
        if end is not None and end <= (start or 0):
            return b""
        data: bytes = self._call(name, lambda: self._files.cat_file(self._root + name, start=start, end=end))
        return data

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        require_name(name)
        if only_if_absent:
            try:
                return self.get(name, end=memoryview(data).nbytes + 1) == data
            except ObjectAbsent:
                pass
        path = self._root + name
        if self._location.scheme in ("sftp", "ssh"):  # no object store: a name must not show half of the bytes
            self._call(name, lambda: self._files.makedirs(path.rpartition("/")[0], exist_ok=True))
            self._call(name, lambda: self._files.pipe_file(f"{path}.part", bytes(data)))
            self._call(name, lambda: self._files.mv(f"{path}.part", path))
        else:
            self._call(name, lambda: self._files.pipe_file(path, bytes(data)))
        return True

    def list(self, prefix: str) -> Listing:
        require_prefix(prefix)
        above = prefix.rpartition("/")[0]
        now = time.time()
        try:
            listed = self._call(prefix, lambda: self._files.find(self._root + above, detail=True))
        except ObjectAbsent:
            return Listing((), now)
        entries = []
        for path, details in listed.items():
            name = path.partition(self._root.strip("/") + "/")[2]
            if is_name(name) and name.startswith(prefix) and not name.endswith(".part"):
                entries.append(ObjectEntry(name, int(details.get("size") or 0), _modified(details)))
        return Listing(tuple(entries), now)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            require_name(name)
            try:
                self._call(name, functools.partial(self._files.rm_file, self._root + name))
            except ObjectAbsent:
                continue

    def close(self) -> None:
        return

    def _call(self, name: str, operation: Callable[[], T]) -> T:
        return _tried(self.label, name, operation)


class FsspecOrigin:
    """Files of others in any file system of fsspec: the one at the path of a location, else all below it."""

    def __init__(self, location: Location, options: Mapping[str, str]) -> None:
        self.label = quote(location.text)
        self._files = _file_system(location, options)
        host = "" if location.scheme in ("sftp", "ssh") else location.bucket
        self._root = f"{host}/{location.prefix}".rstrip("/")

    def look(self) -> Sequence[Item]:
        details = _tried(self.label, "", lambda: self._files.info(self._root))
        if details.get("type") != "directory":
            return [_origin_item("", details)]
        listed = _tried(self.label, "", lambda: self._files.find(self._root, detail=True))
        above = self._root.strip("/") + "/"
        return [
            _origin_item(path.lstrip("/").removeprefix(above), details)
            for path, details in listed.items()
            if not path.endswith("/")
        ]

    def read(self, item: Item, download: Download) -> Item:
        path = f"{self._root}/{item.name}".rstrip("/")
        while item.size_bytes is None or download.size_bytes < item.size_bytes:
            start = download.size_bytes
            read = functools.partial(self._files.cat_file, path, start=start, end=start + _PIECE_BYTES)
            piece = _tried(self.label, item.name, read)
            if not piece:
                break
            download.take(piece)
        return item

    def close(self) -> None:
        return


def _origin_item(name: str, details: Mapping[str, Any]) -> Item:
    etag = next((details[key] for key in ("etag", "ETag", "md5Hash") if isinstance(details.get(key), str)), "")
    return Item(name, details.get("size"), etag, modified=f"{_modified(details):.3f}")


def _tried(label: str, name: str, operation: Callable[[], T]) -> T:
    try:
        return operation()
    except FileNotFoundError as error:
        raise ObjectAbsent(name, label) from error
    except _PERMANENT as error:
        raise RemoteError(
            f"cannot use {label}: {type(error).__name__}", hint="check its url, options and credentials"
        ) from error
    except Exception as error:
        raise Transient(
            f"cannot reach {label}: {type(error).__name__}", hint="check the network and the credentials"
        ) from error


def _file_system(location: Location, options: Mapping[str, str]) -> Any:
    scheme = {"abfs": "az"}.get(location.scheme, location.scheme)
    settings: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False} | dict(options)
    if scheme in ("sftp", "ssh"):
        host, _, port = location.bucket.partition(":")
        settings |= {"host": host} | ({"port": int(port)} if port else {})
    try:
        return fsspec.filesystem(scheme, **settings)
    except ImportError:
        extra = _EXTRAS[location.scheme]
        raise UsageError(
            f"{location.scheme}:// needs a package that is not installed", hint=f"pip install 'dvlite[{extra}]'"
        ) from None
    except Exception as error:
        raise RemoteError(
            f"cannot use {quote(location.text)}: {type(error).__name__}", hint="check its options and credentials"
        ) from error


def _modified(details: Mapping[str, Any]) -> float:
    for key in ("mtime", "updated", "last_modified", "LastModified", "created"):
        value = details.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0
