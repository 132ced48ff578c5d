"""Cuts a large file into content-defined chunks (FastCDC 2020). Owns pyfastcdc; knows nothing of packs.

Cut points depend only on nearby bytes, so an insertion changes the chunks around it and no others.
"""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.files import read_at
from dvlite.formats.store_config import StoreConfig

_BLOCK_BYTES = 8 * 1024 * 1024  # read at a time; a chunk never depends on where a block ends


def chunks(descriptor: int, size_bytes: int, config: StoreConfig, *, start_bytes: int = 0) -> Iterator[bytes]:
    """Yields the chunks of an open file in order; their lengths sum to what could be read of `size_bytes`.

    From `start_bytes` on, the first few may not be those of the whole file.
    """
    from pyfastcdc import FastCDC

    cutter = FastCDC(avg_size=config.average_bytes, min_size=config.min_bytes, max_size=config.max_bytes)
    rest = b""
    offset = start_bytes
    while offset < size_bytes:
        block = read_at(descriptor, min(_BLOCK_BYTES, size_bytes - offset), offset)
        if not block:
            break
        offset += len(block)
        data = rest + block
        whole = offset >= size_bytes
        position = 0
        for chunk in cutter.cut_buf(data):
            end = chunk.offset + chunk.length
            # a chunk that ends where the data ends may only be cut there because the data stopped
            if not whole and len(data) - chunk.offset < config.max_bytes:
                break
            yield data[chunk.offset : end]
            position = end
        rest = data[position:]
    if rest:
        yield from (rest[chunk.offset : chunk.offset + chunk.length] for chunk in cutter.cut_buf(rest))
