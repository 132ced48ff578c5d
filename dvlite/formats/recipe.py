"""How a large file is made of chunks that lie in packs (docs/reference/formats/recipe.md).

A recipe is stored under the oid of its file, so that name does not cover its bytes: it has a checksum of its own, and a reader checks
each chunk and the whole file. The recipe of a file with many terms lists parts, records of their own with the terms of a stretch of it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dvlite.errors import LaterVersion, ObjectCorrupt
from dvlite.formats.store_config import LEAST_BYTES
from dvlite.oid import DIGEST_BYTES, Buffer, Digest, digest_bytes, short

MAGIC = b"DVLR"
VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
TERMS_PER_PART = 65_536  # that a writer puts into one record: at most 3.75 MiB, and 20 MB in memory
MAX_CHUNK_BYTES = 16 * 1024 * 1024  # a chunk is no longer
_OF_TERMS, _OF_STRETCHES, _OF_PARTS = 0, 1, 2  # forms
_HEADER = struct.Struct("<4sBB2s32sQII")  # magic, version, form, 0, file oid, size, packs, terms or parts
_TERM = struct.Struct("<IIIIQ")  # pack number, first chunk, chunk count, repeat, length
_STRETCH = struct.Struct("<IIIIQI")  # the same, and how much of the chunk is passed over, or that the chunks are whole
_WHOLE = 0xFFFFFFFF
_PART = struct.Struct("<32sQ")  # oid, length
_ROWS = {_OF_TERMS: _TERM, _OF_STRETCHES: _STRETCH, _OF_PARTS: _PART}
_CHECKSUM_BYTES = 16
_NO_FILE = Digest(bytes(DIGEST_BYTES))  # in the header of a part: any file may use it


class Term(NamedTuple):
    """`count` consecutive chunks of one pack, from chunk number `first`, the run of them `repeat` times over.

    `length_bytes` is that of all repetitions; it says where the next term begins, so that packs can arrive in any order. With `skip_bytes`
    it is a stretch of one chunk, of that length, after so many bytes; None: the chunks whole.
    """

    pack: Digest
    first: int
    count: int  # type: ignore[assignment]  # hides the method of tuples, which has no use here
    repeat: int
    length_bytes: int
    skip_bytes: int | None = None


class Part(NamedTuple):
    """A stretch of the file whose terms stand in a record of their own; `digest` is that of the record's bytes."""

    digest: Digest
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """The terms whose chunks, one after the other, are the file; or the parts that have these terms."""

    digest: Digest
    size_bytes: int
    terms: tuple[Term, ...] = ()
    parts: tuple[Part, ...] = ()


def cut(terms: Sequence[Term]) -> list[Sequence[Term]]:
    """Cuts terms into pieces that each fit into a part, as few as possible and equally long, so that none is short."""
    count = max(1, -(-len(terms) // TERMS_PER_PART))
    return [terms[len(terms) * i // count : len(terms) * (i + 1) // count] for i in range(count)]


def packs_of(terms: Sequence[Term]) -> tuple[Digest, ...]:
    """Returns the packs that terms need, each once, in order of first use."""
    return tuple(dict.fromkeys(term.pack for term in terms))


def stretch_of(term: Term, chunk: Buffer) -> Buffer:
    """Returns what a term takes of its chunk: a stretch, or all of it."""
    if term.skip_bytes is None:
        return chunk
    return memoryview(chunk)[term.skip_bytes : term.skip_bytes + term.length_bytes]


def dump(recipe: Recipe) -> bytes:
    """Returns the canonical bytes of a recipe."""
    if recipe.parts:
        rows = [_PART.pack(*part) for part in recipe.parts]
        return _sealed(_OF_PARTS, recipe.digest, recipe.size_bytes, (), rows)
    return _dump_terms(recipe.digest, recipe.size_bytes, recipe.terms)


def dump_part(terms: Sequence[Term]) -> tuple[Part, bytes]:
    """Returns a part with these terms, and the bytes of its record."""
    length = sum(term.length_bytes for term in terms)
    data = _dump_terms(_NO_FILE, length, terms)
    return Part(digest_bytes(data), length), data


def _dump_terms(digest: Digest, size_bytes: int, terms: Sequence[Term]) -> bytes:
    packs = packs_of(terms)
    number = {pack: i for i, pack in enumerate(packs)}
    form = _OF_TERMS if all(term.skip_bytes is None for term in terms) else _OF_STRETCHES
    rows = []
    for pack, *numbers, skip in terms:
        row = _STRETCH.pack(number[pack], *numbers, _WHOLE if skip is None else skip)
        rows.append(row[: _ROWS[form].size])  # of one form, a row is that of the other without its end
    return _sealed(form, digest, size_bytes, packs, rows)


def _sealed(form: int, digest: Digest, size_bytes: int, packs: Sequence[Digest], rows: Sequence[bytes]) -> bytes:
    header = _HEADER.pack(MAGIC, VERSION, form, b"", digest, size_bytes, len(packs), len(rows))
    body = b"".join([header, *packs, *rows])
    return body + digest_bytes(body)[:_CHECKSUM_BYTES]


def parse(data: bytes, digest: Digest) -> Recipe:
    """Reads the recipe of the file `digest`; raises ObjectCorrupt unless it is whole, well formed and of that file, and LaterVersion."""
    form, size_bytes, body = _opened(data, digest, digest)
    if form == _OF_PARTS:
        return Recipe(digest, size_bytes, parts=_parts(body, digest, size_bytes))
    return Recipe(digest, size_bytes, _terms(form, body, digest, size_bytes))


def parse_part(data: bytes, part: Part, digest: Digest) -> tuple[Term, ...]:
    """Reads the record of a part of the recipe of `digest`; raises as `parse` does. A part has terms: it never names parts."""
    form, size_bytes, body = _opened(data, digest, _NO_FILE)
    if form == _OF_PARTS:
        raise _corrupt(digest, "a part of it names parts")
    if size_bytes != part.length_bytes:
        raise _corrupt(digest, "a part of it has another length")
    return _terms(form, body, digest, size_bytes)


def _opened(data: bytes, digest: Digest, named: Digest) -> tuple[int, int, bytes]:
    """Returns form, size and body of a record after checking all that does not depend on its form."""
    if not _HEADER.size + _CHECKSUM_BYTES <= len(data) <= MAX_BYTES:
        raise _corrupt(digest, "its length is impossible")
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if digest_bytes(body)[:_CHECKSUM_BYTES] != checksum:
        raise _corrupt(digest, "its checksum is wrong")
    magic, version, form, reserved, name, size_bytes, packs, rows = _HEADER.unpack_from(body)
    if magic != MAGIC:
        raise _corrupt(digest, "it is not a recipe")
    if version != VERSION or form not in _ROWS or any(reserved):
        raise LaterVersion(f"the recipe of {short(digest)}")
    if name != named:
        raise _corrupt(digest, "it is not the recipe of this file")
    if len(body) != _HEADER.size + packs * DIGEST_BYTES + rows * _ROWS[form].size or (form == _OF_PARTS and packs):
        raise _corrupt(digest, "its lengths do not add up")
    return form, size_bytes, body


def _terms(form: int, body: bytes, digest: Digest, size_bytes: int) -> tuple[Term, ...]:
    packs = _HEADER.unpack_from(body)[6]
    at = _HEADER.size
    names = [Digest(body[at + i * DIGEST_BYTES : at + (i + 1) * DIGEST_BYTES]) for i in range(packs)]
    body = body[at + packs * DIGEST_BYTES :]
    terms: list[Term] = []
    chunks = length_bytes = 0
    rows = _ROWS[form].iter_unpack(body)
    if form == _OF_TERMS:
        rows = ((*row, _WHOLE) for row in rows)
    for pack, first, count, repeat, length, passed_over in rows:
        skip = None if passed_over == _WHOLE else passed_over
        if pack >= packs or not count or not repeat or length < count * repeat or length % repeat:
            raise _corrupt(digest, "a term is impossible")
        if skip is not None and (count != 1 or repeat != 1 or skip + length > MAX_CHUNK_BYTES):
            raise _corrupt(digest, "a stretch is impossible")
        chunks += count * repeat
        length_bytes += length
        terms.append(Term(names[pack], first, count, repeat, length, skip))
    if chunks > size_bytes // LEAST_BYTES + 1:
        raise _corrupt(digest, "it has impossibly many chunks")
    if length_bytes != size_bytes:
        raise _corrupt(digest, "its terms do not add up to the file's size")
    return tuple(terms)


def _parts(body: bytes, digest: Digest, size_bytes: int) -> tuple[Part, ...]:
    """A part other than the last is never short: so the parts that a stranger can have a reader ask for are bounded by the file's size."""
    parts = tuple(Part(Digest(name), length) for name, length in _PART.iter_unpack(body[_HEADER.size :]))
    least = TERMS_PER_PART // 2 * LEAST_BYTES
    if not parts or not parts[-1].length_bytes or any(part.length_bytes < least for part in parts[:-1]):
        raise _corrupt(digest, "a part is impossible")
    if sum(part.length_bytes for part in parts) != size_bytes:
        raise _corrupt(digest, "its parts do not add up to the file's size")
    return parts


def _corrupt(digest: Digest, reason: str) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"the recipe of blake3:{digest.hex()} is damaged: {reason}", hint="push the file again from a clone that has it"
    )
