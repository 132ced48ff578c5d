"""Opens the cache of a repository."""

from __future__ import annotations

from pathlib import Path

from dvlite.repo import Repo
from dvlite.store.cache import Cache


def open_cache(repo: Repo) -> Cache:
    """Returns the repository's cache; makes no folder."""
    return Cache(repo.cache_dir, pack_below_bytes=repo.config.pack_below_bytes, group=repo.config.cache_is_shared)


def plain_cache(folder: Path) -> Cache:
    """Returns a cache of one's own in a folder, for work outside a repository."""
    return Cache(folder)
