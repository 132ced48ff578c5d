"""How a large file is made of chunks that lie in packs (docs/reference/formats/recipe.md).

A recipe is stored under the oid of its file, so that name does not cover its bytes: it has a checksum of its own, and a reader checks
each chunk and the whole file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dvlite.errors import LaterVersion, ObjectCorrupt
from dvlite.formats.store_config import LEAST_BYTES
from dvlite.oid import DIGEST_BYTES, Digest, digest_bytes, short

MAGIC = b"DVLR"
VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
_HEADER = struct.Struct("<4sB3s32sQII")  # magic, version, 0, file oid, file size, packs, terms
_TERM = struct.Struct("<IIIIQ")  # pack number, first chunk, chunk count, repeat, length
_CHECKSUM_BYTES = 16


_NEW_BYTES_PER_TERM = 24 * 1024 * 1024  # at least, of a file that is all new: a pack of chunks holds more


def size_of(packs: int, terms: int) -> int:
    """Returns the length of a recipe in bytes."""
    return _HEADER.size + packs * DIGEST_BYTES + terms * _TERM.size + _CHECKSUM_BYTES


def size_of_new(size_bytes: int) -> int:
    """Returns how long a recipe is at most for that many bytes of which nothing is reused: a term and a pack each time a pack is full."""
    count = size_bytes // _NEW_BYTES_PER_TERM + 2
    return size_of(count, count)


@dataclass(frozen=True, slots=True)
class Term:
    """`count` consecutive chunks of one pack, from chunk number `first`, the run of them `repeat` times over.

    `length_bytes` is that of all repetitions; it says where the next term begins, so that packs can arrive in any order.
    """

    pack: Digest
    first: int
    count: int
    repeat: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """The terms whose chunks, one after the other, are the file."""

    digest: Digest
    size_bytes: int
    terms: tuple[Term, ...]

    @property
    def packs(self) -> tuple[Digest, ...]:
        """The packs it needs, each once, in order of first use."""
        return tuple(dict.fromkeys(term.pack for term in self.terms))


def dump(recipe: Recipe) -> bytes:
    """Returns the canonical bytes of a recipe."""
    packs = recipe.packs
    number = {pack: i for i, pack in enumerate(packs)}
    parts = [_HEADER.pack(MAGIC, VERSION, b"", recipe.digest, recipe.size_bytes, len(packs), len(recipe.terms)), *packs]
    parts.extend(
        _TERM.pack(number[term.pack], term.first, term.count, term.repeat, term.length_bytes) for term in recipe.terms
    )
    body = b"".join(parts)
    return body + digest_bytes(body)[:_CHECKSUM_BYTES]


def parse(data: bytes, digest: Digest) -> Recipe:
    """Reads the recipe of the file `digest`; raises ObjectCorrupt unless it is whole, well formed and of that file, and LaterVersion."""
    if not _HEADER.size + _CHECKSUM_BYTES <= len(data) <= MAX_BYTES:
        raise _corrupt(digest, "its length is impossible")
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if digest_bytes(body)[:_CHECKSUM_BYTES] != checksum:
        raise _corrupt(digest, "its checksum is wrong")
    magic, version, reserved, named, size_bytes, packs, terms = _HEADER.unpack_from(body)
    if magic != MAGIC:
        raise _corrupt(digest, "it is not a recipe")
    if version != VERSION or any(reserved):
        raise LaterVersion(f"the recipe of {short(digest)}")
    if named != digest:
        raise _corrupt(digest, "it is not the recipe of this file")
    if len(body) != _HEADER.size + packs * DIGEST_BYTES + terms * _TERM.size:
        raise _corrupt(digest, "its lengths do not add up")
    at = _HEADER.size
    names = [Digest(body[at + i * DIGEST_BYTES : at + (i + 1) * DIGEST_BYTES]) for i in range(packs)]
    rows = list(_TERM.iter_unpack(body[at + packs * DIGEST_BYTES :]))
    for pack, _, count, repeat, length in rows:
        if pack >= packs or not count or not repeat or length < count * repeat or length % repeat:
            raise _corrupt(digest, "a term is impossible")
    if sum(row[2] * row[3] for row in rows) > size_bytes // LEAST_BYTES + 1:
        raise _corrupt(digest, "it has impossibly many chunks")
    if sum(row[4] for row in rows) != size_bytes:
        raise _corrupt(digest, "its terms do not add up to the file's size")
    return Recipe(digest, size_bytes, tuple(Term(names[row[0]], *row[1:]) for row in rows))


def _corrupt(digest: Digest, reason: str) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"the recipe of blake3:{digest.hex()} is damaged: {reason}", hint="push the file again from a clone that has it"
    )
