"""The requests that a load is made of: JSON lines with method, path, headers and body (docs/how-to/measure-a-server.md), from anyone."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvlite.errors import FormatError, UsageError
from dvlite.files import read_regular
from dvlite.formats import strict_json
from dvlite.show import quote

_LIMIT_BYTES = 64 << 20  # of the file, of one body, and of all bodies in files
_MOST = 100_000
_MOST_HEADERS = 100
_DEPTH = 60
_FIELDS = frozenset({"method", "path", "headers", "body", "body_file"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PATH = re.compile(r"/[\x21-\x22\x24-\x7e]{0,8000}")  # no fragment
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
_VALUE = re.compile(r"[\x20-\x7e\t]{0,8000}")
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te"})


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One request; `path` begins with a slash and follows the address of the server."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class LoadFile:
    """All requests of a file, its bytes, and the files that it names with theirs, by their paths as `os.path.join` gives them."""

    requests: tuple[LoadRequest, ...]
    contents: dict[str, bytes]


def read_requests(folder: Path, name: str) -> LoadFile:
    """Reads a file of requests; `body_file` is relative to its folder. Raises FormatError or UsageError, which name the line."""
    data = _file(folder, name, name)
    bodies = _Bodies(folder, name)
    requests: list[LoadRequest] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        if len(requests) == _MOST:
            raise FormatError(f"{quote(name)} has more than {_MOST:,} requests", hint="leave some of them out")
        where = f"{quote(name)}, line {number}"
        requests.append(_request(strict_json.parse(line, where, floats=True, depth=_DEPTH), where, bodies))
    if not requests:
        raise FormatError(
            f"{quote(name)} has no request",
            hint='a line of it is like {"method": "POST", "path": "/predict", "body": {"x": 1}}',
        )
    return LoadFile(tuple(requests), {name: data, **bodies.contents})


def _request(fields: dict[str, Any], where: str, bodies: _Bodies) -> LoadRequest:
    for key in fields.keys() - _FIELDS:
        raise _wrong(where, f"the field {quote(key[:100])} is not known: {', '.join(sorted(_FIELDS))} are")
    if "body" in fields and "body_file" in fields:
        raise _wrong(where, "it has a body and a body_file")
    headers = fields.get("headers", {})
    if not isinstance(headers, dict) or len(headers) > _MOST_HEADERS:
        raise _wrong(where, f"'headers' is not an object of at most {_MOST_HEADERS} texts")
    for key, value in headers.items():
        if not _NAME.fullmatch(key) or not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise _wrong(where, f"the header {quote(key[:100])} is not one that can be sent")
        if key.lower() in _OWN_HEADERS:
            raise _wrong(where, f"the header {quote(key)} is set by the client itself")
    body, is_json = b"", False
    if "body" in fields:
        body, is_json = _body(fields["body"], where)
    elif "body_file" in fields:
        body = bodies.read(fields["body_file"], where)
    method = fields.get("method", "POST" if "body" in fields or "body_file" in fields else "GET")
    if method not in _METHODS:
        raise _wrong(where, f"'method' is not one of {', '.join(sorted(_METHODS))}")
    path = fields.get("path")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise _wrong(where, "'path' is not a path like /v2/models/birds/infer, with percent signs where it needs them")
    sent = tuple(headers.items())
    if is_json and "content-type" not in map(str.lower, headers):
        sent += (("Content-Type", "application/json"),)
    return LoadRequest(method, path, sent, body)


def _body(value: Any, where: str) -> tuple[bytes, bool]:
    """Returns the bytes of a body, and whether they are JSON: a text is sent as it is."""
    try:
        if isinstance(value, str):
            return value.encode(), False
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), True
    except UnicodeEncodeError:
        raise _wrong(where, "'body' holds half a character") from None


class _Bodies:
    """The bodies in files that a file of requests names; each is read once."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._beside = folder, os.path.dirname(name)
        self.contents: dict[str, bytes] = {}
        self._size_bytes = 0

    def read(self, value: Any, where: str) -> bytes:
        if not isinstance(value, str) or not value or "\0" in value or os.path.isabs(value):
            raise _wrong(where, "'body_file' is not a path relative to the file of requests")
        path = os.path.normpath(os.path.join(self._beside, value))
        if path not in self.contents:
            data = _file(self._folder, path, f"{path} ({where})")
            self._size_bytes += len(data)
            if self._size_bytes > _LIMIT_BYTES:
                raise _wrong(where, f"the bodies in files have more than {_LIMIT_BYTES >> 20} MiB together")
            self.contents[path] = data
        return self.contents[path]


def _file(folder: Path, path: str, where: str) -> bytes:
    data = read_regular(folder / path, where, _LIMIT_BYTES + 1, follow=True)
    if data is None:
        raise UsageError(
            f"there is no file {quote(where)}", hint="paths are relative to this folder, bodies to their file"
        )
    if len(data) > _LIMIT_BYTES:
        raise FormatError(f"cannot read {quote(where)}: it has more than {_LIMIT_BYTES >> 20} MiB")
    return data


def _wrong(where: str, why: str) -> FormatError:
    return FormatError(f"cannot read {where}: {why}", hint="docs/how-to/measure-a-server.md describes the lines")
