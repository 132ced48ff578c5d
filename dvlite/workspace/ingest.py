"""Reads workspace files into the cache: the reader behind `add`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dvlite import files
from dvlite.oid import Digest, digest_bytes
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE

# how small files begin that stand for data which another tool has, its name and its command that brings the data
STAND_INS = {
    b"version https://git-lfs.github.com/spec/v1\n": ("Git LFS", "git lfs pull"),
    b"/annex/objects/": ("git-annex", "git annex get"),
}
_STARTS = tuple(STAND_INS)


class CachingReader:
    """A reader that puts what it reads into the cache. `near` is a folder on the workspace's disk."""

    doing = "adding"

    def __init__(self, cache: Cache, writer: Writer, near: Path, shown: str) -> None:
        self._cache, self._writer = cache, writer
        self._near, self._shown = near, shown
        self.limit_bytes = cache.pack_below_bytes
        self.large = writer.put_large
        self.shares_blocks = False
        self.duplicates = 0  # small files whose content the cache had already
        self.stand_ins = Counter[bytes]()

    def small(self, raw: bytes) -> Digest:
        digest = digest_bytes(raw)
        self.duplicates += not self._writer.put(KIND_FILE, digest, raw)
        if raw.startswith(_STARTS):
            self.stand_ins[next(start for start in _STARTS if raw.startswith(start))] += 1
        return digest

    def expect(self, sizes: Sequence[int]) -> None:
        """Compares the bytes needed with the bytes free before anything is written."""
        limit = self.limit_bytes
        small = sum(size for size in sizes if size <= limit)
        large = sum(sizes) - small
        self.shares_blocks = large > 0 and files.can_share_blocks(self._near, self._cache.folder)
        needed = small + (0 if self.shares_blocks else large)
        kind = files.file_system(self._cache.folder) or "its disk"
        files.require_space(
            self._cache.folder,
            needed,
            self._shown,
            hint=f"{kind} cannot share blocks here; put the cache on a larger disk: dvlite config --user cache.dir /bigdisk/dvlite"
            if large and not self.shares_blocks
            else None,
        )
