"""The list of packs that gc is going to delete, published before anything is (docs/reference/formats/condemned.md).

Written by gc alone and never removed; every reader and pusher honours it, so it is part of the protocol from the first version on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dvlite.errors import FormatError, ObjectCorrupt
from dvlite.formats import strict_json
from dvlite.oid import Digest

FOLDER = "condemned/"
VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
_HEX32 = re.compile(r"[0-9a-f]{64}")
_NONCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Condemned:
    """Packs that no push may rely on any more, and oids purged for ever; `nonce` (32 hex) makes its name unique."""

    nonce: str
    packs: tuple[Digest, ...]
    purged: tuple[Digest, ...] = ()


def dump(entry: Condemned) -> bytes:
    """Returns the canonical bytes; the object's name is their BLAKE3."""
    body = {"packs": [pack.hex() for pack in entry.packs], "purged": [digest.hex() for digest in entry.purged]}
    return strict_json.dump({"dvlite_condemned": VERSION, "nonce": entry.nonce, **body})


def parse(data: bytes, where: str) -> Condemned:
    """Reads an entry; raises FormatError for one of a later version, which must stop a writer, and ObjectCorrupt for what is no entry."""
    try:
        body = strict_json.parse(data, where, limit_bytes=MAX_BYTES)
    except FormatError as error:
        raise ObjectCorrupt(error.message) from None
    version = body.get("dvlite_condemned")
    if type(version) is int and version > VERSION:
        strict_json.require_version(version, VERSION, f"cannot read {where}")
    nonce = body.get("nonce")
    is_known = type(version) is int and version == VERSION and len(body) == 4
    if not is_known or not isinstance(nonce, str) or _NONCE.fullmatch(nonce) is None:
        raise ObjectCorrupt(f"cannot read {where}: fields are missing or of the wrong type")
    return Condemned(nonce, _digests(body.get("packs"), where), _digests(body.get("purged"), where))


def _digests(value: object, where: str) -> tuple[Digest, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and _HEX32.fullmatch(text) for text in value):
        raise ObjectCorrupt(f"cannot read {where}: a list of names is malformed")
    return tuple(Digest(bytes.fromhex(text)) for text in value)
