"""Names of content. The only module that hashes.

Identity is BLAKE3-256: plain for the bytes of a file or chunk (so `b3sum` checks it), with a derive-key context for every other kind,
so that one kind can never be read as another. XXH3 is for signatures and split points only: it is not collision-resistant.
Inside the store an object is known by its 32 raw bytes (`Digest`); in text by its oid (`blake3:<64 hex>`).
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NewType

from blake3 import blake3
from xxhash import xxh3_64, xxh3_64_intdigest

from dvlite.errors import FormatError
from dvlite.files import open_without_waiting, read_at

Oid = NewType("Oid", str)
Digest = NewType("Digest", bytes)

DIGEST_BYTES = 32
EMPTY_FILE: Digest
FILE, MANIFEST, RUN, SNAPSHOT = "blake3", "manifest", "run", "snapshot"
_STAGE_KEY_CONTEXT, _TASK_CONTEXT = "dvlite 2026-11 stage key v1", "dvlite 2026-11 task v1"
_CONTEXTS = {
    MANIFEST: "dvlite 2026-11 manifest v1",
    RUN: "dvlite 2026-11 run record v1",
    SNAPSHOT: "dvlite 2026-11 snapshot v1",
}
_OID = re.compile(r"(blake3|manifest|run):([0-9a-f]{64})")
_DIGEST = struct.Struct(f"{DIGEST_BYTES}s")
_PIECE_BYTES = 4 << 20

Buffer = bytes | bytearray | memoryview


def each_digest(data: Buffer) -> Iterator[Digest]:
    """Yields the digests that lie one after the other in a buffer: as objects, they would take three times as much."""
    return (Digest(digest) for (digest,) in _DIGEST.iter_unpack(data))


def digest_bytes(data: Buffer) -> Digest:
    """Returns the BLAKE3-256 of the bytes of a file, chunk, pack or index object."""
    return Digest(blake3(data).digest())


EMPTY_FILE = digest_bytes(b"")


def digest_manifest(node: Buffer) -> Digest:
    """Returns the name of one manifest node, from its canonical bytes."""
    return Digest(blake3(node, derive_key_context=_CONTEXTS[MANIFEST]).digest())


def digest_snapshot(node: Buffer) -> Digest:
    """Returns the name of one node of a snapshot, from its canonical bytes."""
    return Digest(blake3(node, derive_key_context=_CONTEXTS[SNAPSHOT]).digest())


def digest_run(record: Buffer) -> Digest:
    """Returns the name of one run record, from its canonical bytes."""
    return Digest(blake3(record, derive_key_context=_CONTEXTS[RUN]).digest())


def digest_stage_key(facts: Buffer) -> str:
    """Returns the 64 hex digits of a stage key, from the canonical bytes of everything that determines its outputs."""
    return blake3(facts, derive_key_context=_STAGE_KEY_CONTEXT).hexdigest()


def digest_task(task: Buffer) -> str:
    """Returns the 64 hex digits that name a task, from its canonical bytes."""
    return blake3(task, derive_key_context=_TASK_CONTEXT).hexdigest()


def digest_file(descriptor: int, size_bytes: int, advance: Callable[[int], None] | None = None) -> Digest:
    """Returns the BLAKE3-256 of an open file, read from its start, by all cores; `advance` gets the bytes of every piece.

    Read, not mapped: a mapping dies of SIGBUS if another program truncates the file, and fills the holes of a sparse file on tmpfs.
    """
    if size_bytes < _PIECE_BYTES:
        return digest_bytes(read_at(descriptor, size_bytes + 1))
    state = blake3(max_threads=blake3.AUTO)
    buffer = bytearray(_PIECE_BYTES)
    view = memoryview(buffer)
    offset = 0
    while count := os.preadv(descriptor, [buffer], offset):
        state.update(view[:count])
        offset += count
        if advance is not None:
            advance(count)
    return Digest(state.digest())


def digest_path(path: Path) -> tuple[Digest, int]:
    """Returns the BLAKE3-256 of a file, however large, and its size in bytes; opening it never waits. Raises OSError."""
    with open(path, "rb", buffering=0, opener=open_without_waiting) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        return digest_file(file.fileno(), size_bytes), size_bytes


class FileHasher:
    """Hashes a file that arrives in pieces."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = blake3()

    def update(self, data: Buffer) -> None:
        self._state.update(data)

    def digest(self) -> Digest:
        return Digest(self._state.digest())


def signature(parts: Iterable[Buffer]) -> int:
    """Returns the XXH3 of all parts, one after the other: detects that nothing changed, never identifies content."""
    state = xxh3_64()
    for part in parts:
        state.update(part)
    return state.intdigest()


def split_hash(key: bytes, level: int) -> int:
    """Returns the XXH3-64 that decides where a manifest node of `level` is cut after `key`."""
    return xxh3_64_intdigest(key, level)


def format_oid(kind: str, digest: bytes) -> Oid:
    """Returns the text of an oid, for example `blake3:af13...`."""
    return Oid(f"{kind}:{digest.hex()}")


def parse_oid(text: str) -> tuple[str, Digest]:
    """Returns the kind and digest of an oid; raises FormatError unless it is exactly one."""
    match = _OID.fullmatch(text)
    if match is None:
        raise FormatError(
            f"'{text[:80]}' is not an object id", hint="an object id is blake3:<64 hex> or manifest:<64 hex>"
        )
    return match[1], Digest(bytes.fromhex(match[2]))


def short(digest: bytes) -> str:
    """Returns the 8 hex digits that people see."""
    return digest[:4].hex()
