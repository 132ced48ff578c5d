"""The object that promises 'this version of a tracked path is complete on this remote' (docs/reference/formats/root.md).

Its name identifies the version, `roots/<kind>-<64 hex>-<nonce>`; the body is for people and gc: where the version came from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dvlite.errors import FormatError
from dvlite.formats import strict_json
from dvlite.oid import Digest

FOLDER = "roots/"
VERSION = 1
MAX_BYTES = 64 * 1024
_NAME = re.compile(r"roots/(blake3|manifest)-([0-9a-f]{64})-([0-9a-f]{32})")
_HEX = re.compile(r"[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class RootName:
    """What a root's name says."""

    kind: str
    digest: Digest
    nonce: str


@dataclass(frozen=True, slots=True)
class Root:
    """What a root's body says; all but `project` is advisory."""

    path: str
    size_bytes: int
    project: str
    commit: str
    user: str
    time: str  # RFC 3339, by the pusher's clock


def prefix(kind: str, digest: Digest) -> str:
    """Returns what the names of all roots of one version start with."""
    return f"{FOLDER}{kind}-{digest.hex()}-"


def name(kind: str, digest: Digest, nonce: bytes) -> str:
    """Returns the name of a root; `nonce` is 16 random bytes, so no name is ever used twice."""
    return prefix(kind, digest) + nonce.hex()


def parse_name(text: str) -> RootName | None:
    """Returns what a name says, or None for something that is not a root."""
    match = _NAME.fullmatch(text)
    return None if match is None else RootName(match[1], Digest(bytes.fromhex(match[2])), match[3])


def dump(root: Root) -> bytes:
    """Returns the canonical bytes of a root's body."""
    body = {
        "path": root.path,
        "size": root.size_bytes,
        "project": root.project,
        "commit": root.commit,
        "user": root.user,
    }
    return strict_json.dump({"dvlite_root": VERSION, "time": root.time, **body})


def parse(data: bytes, where: str) -> Root:
    """Reads a root's body; raises FormatError for anything unexpected, so that gc never guesses."""
    body = strict_json.parse(data, where, limit_bytes=MAX_BYTES)
    strict_json.require_version(body.get("dvlite_root"), VERSION, f"cannot read {where}")
    texts = [body.get(key) for key in ("path", "project", "commit", "user", "time")]
    size = body.get("size")
    if len(body) != 7 or not all(isinstance(text, str) for text in texts) or type(size) is not int or size < 0:
        raise FormatError(f"cannot read {where}: fields are missing or of the wrong type")
    path, project, commit, user, time = map(str, texts)
    if not _HEX.fullmatch(project) or not _HEX.fullmatch(commit):
        raise FormatError(f"cannot read {where}: 'project' or 'commit' is not hexadecimal")
    return Root(path, size, project, commit, user, time)
