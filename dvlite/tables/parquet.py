"""Parquet files, as far as their row groups go: those that two versions share, byte by byte, need not be read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from dvlite.files import read_at
from dvlite.oid import Digest, FileHasher
from dvlite.tables.engine import Connection, literal

_PIECE_BYTES = 1 << 20
_METADATA = (
    "SELECT row_group_id, row_group_num_rows, path_in_schema, type, compression, encodings, num_values, total_compressed_size,"
    " least(coalesce(nullif(dictionary_page_offset, 0), data_page_offset), data_page_offset)"
    " FROM parquet_metadata({}) ORDER BY row_group_id, column_id"
)
_SCHEMA = "SELECT * EXCLUDE (file_name) FROM parquet_schema({})"


class RowGroup(NamedTuple):
    """A row group: the position of its first row, how many it has, how its columns are written, and where (offset and bytes)."""

    first: int
    rows: int
    written: tuple[object, ...]
    spans: tuple[tuple[int, int], ...]


def unequal_rows(engine: Connection, old: Path, new: Path) -> tuple[str, str] | None:
    """Returns conditions on `file_row_number` for the row groups that only one of two files has; None if they share none.

    Reads the bytes of row groups that may be equal, and decodes none. Raises the engine's errors.
    """
    if (
        engine.execute(_SCHEMA.format(literal(str(old)))).fetchall()
        != engine.execute(_SCHEMA.format(literal(str(new)))).fetchall()
    ):
        return None
    groups = [_row_groups(engine, path) for path in (old, new)]
    alike = {group.written for group in groups[0]} & {group.written for group in groups[1]}
    digests = [
        [_digest(path, group) if group.written in alike else None for group in side]
        for path, side in zip((old, new), groups, strict=True)
    ]
    shared = Counter(filter(None, digests[0])) & Counter(filter(None, digests[1]))
    if not shared:
        return None
    conditions = []
    for side, names in zip(groups, digests, strict=True):
        left = Counter(shared)
        kept = []
        for group, digest in zip(side, names, strict=True):
            if digest is not None and left[digest] > 0:
                left[digest] -= 1
            elif group.rows:
                kept.append(f"file_row_number BETWEEN {group.first} AND {group.first + group.rows - 1}")
        conditions.append(" OR ".join(kept) or "false")
    return conditions[0], conditions[1]


def _row_groups(engine: Connection, path: Path) -> list[RowGroup]:
    columns: dict[int, list[tuple[object, ...]]] = {}
    for row in engine.execute(_METADATA.format(literal(str(path)))).fetchall():
        columns.setdefault(row[0], []).append(row)
    found, first, size = [], 0, path.stat().st_size
    for rows in columns.values():
        number = int(str(rows[0][1]))
        spans = tuple((int(str(row[8])), int(str(row[7]))) for row in rows)
        is_odd = any(begin < 0 or length < 0 for begin, length in spans) or sum(length for _, length in spans) > size
        written = (path, first) if is_odd else (number, *(row[2:8] for row in rows))  # an odd one is like no other
        found.append(RowGroup(first, number, written, spans))
        first += number
    return found


def _digest(path: Path, group: RowGroup) -> Digest:
    """Returns the digest of a row group's bytes as they are in the file."""
    hasher = FileHasher()
    with path.open("rb", buffering=0) as file:
        for begin, length in group.spans:
            for at in range(begin, begin + length, _PIECE_BYTES):
                hasher.update(read_at(file.fileno(), min(_PIECE_BYTES, begin + length - at), at))
    return hasher.digest()
