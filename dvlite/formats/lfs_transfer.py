"""What git-lfs and a custom transfer agent say to each other: one JSON object per line (its page "Custom Transfer Agents"); and its pointers.

An object of Git LFS is named by the SHA-256 of its bytes, in hex.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from dvlite.errors import FormatError
from dvlite.formats import strict_json

LINE_BYTES = 1 << 20  # the longest request; one has a path in it
POINTER_BYTES = 1024  # no pointer is longer
_REMOTE_CHARACTERS = 4096  # of a name or URL, which goes on a command line
_SHA256 = re.compile(r"[0-9a-f]{64}")
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n((?:ext-[^\n]*\n)*)oid sha256:([0-9a-f]{64})\nsize (0|[1-9]\d{0,18})\n"
)
_EVENTS = ("init", "upload", "download", "terminate")


@dataclass(frozen=True, slots=True)
class LfsPointer:
    """What git has in place of an object. With extensions, the object is not what stands in the work tree."""

    sha256: str
    size_bytes: int
    has_extensions: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A line of git-lfs. `sha256`, `size_bytes` and `path` (of the file to send) are of transfers alone, `remote` (of git, a name or URL) is of `init`."""

    event: Literal["init", "upload", "download", "terminate"]
    sha256: str = ""
    size_bytes: int = 0
    path: str = ""
    remote: str = ""


def parse_request(line: bytes) -> Request:
    """Reads a line. Raises FormatError for anything that git-lfs does not send."""
    where = "a request of git-lfs"
    body = strict_json.parse(line, where, limit_bytes=LINE_BYTES)
    event = body.get("event")
    if event not in _EVENTS:
        raise FormatError(f"cannot read {where}: its event is not known", hint="upgrade dvlite")
    if event not in ("upload", "download"):
        remote = body.get("remote")
        is_named = isinstance(remote, str) and remote.isprintable() and len(remote) <= _REMOTE_CHARACTERS
        return Request(event, remote=str(remote) if is_named else "")
    sha256, size_bytes, path = body.get("oid"), body.get("size"), body.get("path", "")
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
        raise FormatError(f"cannot read {where}: its oid is not a SHA-256")
    if type(size_bytes) is not int or size_bytes < 0 or not isinstance(path, str) or "\0" in path:
        raise FormatError(f"cannot read {where}: its size or path is not one")
    return Request(event, sha256, size_bytes, path)


def done(sha256: str, path: str = "") -> bytes:
    """Returns the line which says that a transfer is complete; `path` is what was downloaded."""
    return _line({"event": "complete", "oid": sha256, **({"path": path} if path else {})})


def failed(sha256: str, code: int, message: str) -> bytes:
    """Returns the line which says that a transfer failed, or, without a name, that none can begin."""
    error = {"error": {"code": code, "message": message}}
    return _line({"event": "complete", "oid": sha256, **error} if sha256 else error)


def moved(sha256: str, size_bytes: int) -> bytes:
    """Returns the line which says that all bytes of an object were moved."""
    return _line({"event": "progress", "oid": sha256, "bytesSoFar": size_bytes, "bytesSinceLast": size_bytes})


def ready() -> bytes:
    """Returns the line which says that transfers may begin."""
    return _line({})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"  # what is not UTF-8 in a path is escaped


def pointer(sha256: str, size_bytes: int) -> bytes:
    """Returns the pointer that git has in place of an object; one with extensions has more lines."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size_bytes}\n".encode()


def parse_pointer(data: bytes) -> LfsPointer | None:
    """Reads a pointer; returns None for what is none."""
    match = _POINTER.fullmatch(data) if len(data) <= POINTER_BYTES else None
    return None if match is None else LfsPointer(match[2].decode(), int(match[3]), bool(match[1]))


def pointed_at(data: bytes) -> str | None:
    """Returns the name of the object that a pointer stands for; None for what is no pointer."""
    parsed = parse_pointer(data)
    return None if parsed is None else parsed.sha256
