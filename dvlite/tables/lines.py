"""Text files of tables, CSV and JSON lines, without the rows that two versions share: found as equal stretches of whole lines.

Stretches are cut where the content says, as chunks of large files are, so that a row that came or went changes those around it alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dvlite.files import READ, read_at, write_all
from dvlite.formats.store_config import StoreConfig
from dvlite.oid import Digest, digest_bytes
from dvlite.store.chunking import chunks

_CONFIG = StoreConfig(average_bytes=16 << 10, min_bytes=4 << 10, max_bytes=64 << 10)
_LONGEST_BYTES = 4 << 20  # of a stretch without the end of a line
_COPIED_BYTES = 1 << 20
_WORTH_BYTES = 1 << 20  # below it, a file is read faster than it is cut


class Stretch(NamedTuple):
    """Whole lines of a file, from an offset on; `digest` None where they begin or end inside of quotes."""

    offset: int
    size_bytes: int
    digest: Digest | None


def without_shared(old: Path, new: Path, heads: tuple[int, int], folder: Path) -> tuple[Path, Path] | None:
    """Writes both files without the lines that both have, behind their first rows of `heads` bytes; None if that is not worth while.

    Lines that occur more often in one file stay there as often as they are more.
    """
    if min(path.stat().st_size for path in (old, new)) < _WORTH_BYTES:
        return None
    stretches = [list(_stretches(path, head)) for path, head in zip((old, new), heads, strict=True)]
    names = [Counter(stretch.digest for stretch in side if stretch.digest is not None) for side in stretches]
    shared = names[0] & names[1]
    if not shared or any(not side for side in stretches):
        return None
    targets = []
    for path, head, side, word in zip((old, new), heads, stretches, ("old", "new"), strict=True):
        targets.append(folder / word)
        _write(path, targets[-1], [Stretch(0, head, None), *_kept(side, Counter(shared))])
    return targets[0], targets[1]


def _kept(stretches: list[Stretch], shared: Counter[Digest]) -> Iterator[Stretch]:
    for stretch in stretches:
        if stretch.digest is not None and shared[stretch.digest] > 0:
            shared[stretch.digest] -= 1
        else:
            yield stretch


def _stretches(path: Path, start: int) -> Iterator[Stretch]:
    """Yields the lines of a file in stretches; nothing if one line is too long."""
    with open(os.open(path, READ), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        offset, begun, is_open = start, b"", False
        for chunk in chunks(file.fileno(), size, _CONFIG, start_bytes=start):
            at = chunk.find(b"\n") + 1
            begun += chunk[:at] if at else chunk
            if not at:
                if len(begun) > _LONGEST_BYTES:
                    return
                continue
            stretch, is_open = _stretch(offset, begun, is_open=is_open)
            yield stretch
            offset, begun = offset + len(begun), chunk[at:]
        if begun:
            yield _stretch(offset, begun, is_open=is_open)[0]


def _stretch(offset: int, data: bytes, *, is_open: bool) -> tuple[Stretch, bool]:
    """Returns a stretch, and whether it ends inside of quotes, given whether it begins there."""
    ends_open = is_open != bool(data.count(b'"') % 2)
    return Stretch(offset, len(data), None if is_open or ends_open else digest_bytes(data)), ends_open


def _write(source: Path, target: Path, stretches: list[Stretch]) -> None:
    with open(os.open(source, READ), "rb", buffering=0) as file, target.open("xb", buffering=0) as out:
        for stretch in stretches:
            for at in range(stretch.offset, stretch.offset + stretch.size_bytes, _COPIED_BYTES):
                size = min(_COPIED_BYTES, stretch.offset + stretch.size_bytes - at)
                write_all(out.fileno(), read_at(file.fileno(), size, at))
