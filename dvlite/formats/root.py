"""A clone's claim on a snapshot: 'this clone needs the versions that this snapshot names' (docs/reference/formats/root.md).

The name says what is kept and for which clone, `roots/<snapshot>-<clone id>-<nonce>`; the body is for people, and for the rules of gc.
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
_NAME = re.compile(r"roots/([0-9a-f]{64})-([0-9a-f]{32})-([0-9a-f]{32})")
_HEX = re.compile(r"[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class RootName:
    """What a root's name says."""

    snapshot: Digest
    clone: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Root:
    """What a root's body says. `commit` is empty unless its tree names exactly the versions of the snapshot."""

    project: str = ""
    clone: str = ""
    commit: str = ""
    user: str = ""
    time: str = ""  # RFC 3339, by the pusher's clock
    count: int = 0  # versions in the snapshot


def prefix(snapshot: Digest, clone: str = "") -> str:
    """Returns what the names of all roots of a snapshot start with; with `clone`, of those of one clone."""
    return f"{FOLDER}{snapshot.hex()}-{clone + '-' if clone else ''}"


def name(snapshot: Digest, clone: str, nonce: bytes) -> str:
    """Returns the name of a root; `nonce` is 16 random bytes, so no name is ever used twice."""
    return prefix(snapshot, clone) + nonce.hex()


def parse_name(text: str) -> RootName | None:
    """Returns what a name says, or None for something that is not a root."""
    match = _NAME.fullmatch(text)
    return None if match is None else RootName(Digest(bytes.fromhex(match[1])), match[2], match[3])


def dump(root: Root, name: str) -> bytes:
    """Returns the canonical bytes of a root's body, which a checksum ties to its name."""
    return strict_json.seal(
        {
            "dvlite_root": VERSION,
            "project": root.project,
            "clone": root.clone,
            "commit": root.commit,
            "user": root.user,
            "time": root.time,
            "count": root.count,
        },
        name,
    )


def parse(data: bytes, name: str) -> Root:
    """Reads a root's body. A key that is not known passes and one that is not there is empty: what is kept stands in the name.

    Raises ObjectCorrupt for bytes that are not those of a root of this name, FormatError for another version, or a known key with a value
    that cannot be.
    """
    where = f"object {name}"
    body = strict_json.unseal(data, where, name, limit_bytes=MAX_BYTES)
    strict_json.require_version(body.get("dvlite_root"), VERSION, f"cannot read {where}")
    texts = {key: body.get(key, "") for key in ("project", "clone", "commit", "user", "time")}
    count = body.get("count", 0)
    if not all(isinstance(text, str) for text in texts.values()) or type(count) is not int or count < 0:
        raise FormatError(f"cannot read {where}: a field is of the wrong type")
    known = {key: str(text) for key, text in texts.items()}
    if not all(_HEX.fullmatch(known[key]) for key in ("project", "clone", "commit")):
        raise FormatError(f"cannot read {where}: 'project', 'clone' or 'commit' is not hexadecimal")
    return Root(**known, count=count)
