"""The lists of packs that gc is going to delete, published before anything is (docs/reference/formats/condemned.md).

Written by gc, and merged; every reader and pusher honours them, so they are part of the protocol from the first version on.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable

from dvlite.errors import LaterVersion, ObjectCorrupt
from dvlite.oid import DIGEST_BYTES, Digest

FOLDER = "condemned/"
VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
MERGE_ABOVE = 16  # lists
MOST_PACKS = 1_000_000  # that one list is written with: 32 MB
_MAGIC = b"DVLC"
_HEADER = struct.Struct("<4sB3sII16s")  # magic, version, 0, packs, 0, nonce


def dump(packs: Iterable[Digest], nonce: bytes) -> bytes:
    """Returns the canonical bytes of a list; the object's name is their BLAKE3, and 16 random bytes make it unique."""
    names = sorted(set(packs))
    return b"".join([_HEADER.pack(_MAGIC, VERSION, b"", len(names), 0, nonce), *names])


def parse(data: bytes, where: str) -> Collection[Digest]:
    """Returns the packs of a list whose name was checked, sorted.

    Raises LaterVersion for one of a later version, which must stop readers and writers, and ObjectCorrupt for what is no list.
    """
    if len(data) < _HEADER.size or len(data) > MAX_BYTES or data[:4] != _MAGIC:
        raise ObjectCorrupt(f"cannot read {where}: it is not a list of condemned packs")
    _, version, reserved, count, later, _ = _HEADER.unpack_from(data)
    if version != VERSION or any(reserved) or later:
        raise LaterVersion(where)
    names = [Digest(data[at : at + DIGEST_BYTES]) for at in range(_HEADER.size, len(data), DIGEST_BYTES)]
    if len(data) != _HEADER.size + count * DIGEST_BYTES or names != sorted(set(names)):
        raise ObjectCorrupt(f"cannot read {where}: its names are not sorted, or not as many as it says")
    return names
