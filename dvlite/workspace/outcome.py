"""What writing a version left on disk, put together from what was written and what was kept."""

from __future__ import annotations

from dataclasses import dataclass

from dvlite.errors import DvliteError
from dvlite.oid import DIGEST_BYTES, Digest
from dvlite.workspace.hashing import Snapshot
from dvlite.workspace.scan import Scan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done: the state of the disk afterwards, and the objects that could not be used."""

    scan: Scan
    digests: bytearray
    racy: bytearray
    damaged: list[tuple[Digest, DvliteError]]
    missing: list[int]  # of what was wanted: not in the cache
    blocked: list[bytes]  # paths that could not be written because a local file is in the way
    abandoned: (
        bool  # a fresh tree that could not be made whole: nothing was written, for its gaps would look like deletions
    )


def merge(
    scan: Scan, digests: bytearray, racy: bytearray, kept: list[int], have: Snapshot | None, local: list[int]
) -> tuple[Scan, bytearray, bytearray]:
    """Builds the state of the disk from two sources, in path order."""
    rows: list[tuple[bytes, Scan, int, bytes, int]] = [
        (scan.paths[i], scan, i, bytes(digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]), racy[i]) for i in kept
    ]
    if have is not None:
        rows.extend((have.scan.paths[j], have.scan, j, have.digest(j), have.racy[j]) for j in local)
    rows.sort(key=lambda row: row[0])
    merged = Scan()
    for _, source, i, _, _ in rows:
        merged.copy_from(source, i)
    return merged, bytearray(b"".join(row[3] for row in rows)), bytearray(row[4] for row in rows)
