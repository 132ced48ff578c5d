"""Reads files of a version from the work tree, where the stat index proves that they have its bytes.

A file is trusted only if it has the inode, the size and the times with which it was last hashed, before it is read and after. Whatever
is not known is left to the stores.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left

from dvlite import files
from dvlite.progress import NullProgress
from dvlite.reading.version_tree import Node
from dvlite.repo.repository import Repo
from dvlite.store.cache import Cache
from dvlite.workspace.statindex import StatIndex, StatRows
from dvlite.workspace.workspace import Workspace


class WorkTree:
    """The tracked files of a repository on disk."""

    def __init__(self, repo: Repo, cache: Cache) -> None:
        self._workspace = Workspace(repo, cache, NullProgress())
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[StatIndex, StatRows | None]] = {}

    def read(self, node: Node, start: int, end: int) -> bytes | None:
        """Returns a range of a file; None if what is on disk is not known to be that file."""
        if node.item is None or node.digest is None:
            return None
        rows = self._rows_of(node.item.path)
        if rows is None:
            return None
        i = bisect_left(rows.scan.paths, node.inner)
        is_known = i < len(rows.scan.paths) and rows.scan.paths[i] == node.inner and not rows.racy[i]
        if not is_known or rows.digest(i) != node.digest:
            return None
        place = self._workspace.location(node.item.path) / os.fsdecode(node.inner)
        try:
            descriptor = os.open(place, files.READ | files.NO_FOLLOW)
        except OSError:
            return None
        try:
            if not rows.scan.is_still(i, os.fstat(descriptor)):
                return None
            data = files.read_at(descriptor, end - start, start)
            return data if rows.scan.is_still(i, os.fstat(descriptor)) else None
        finally:
            os.close(descriptor)

    def _rows_of(self, path: str) -> StatRows | None:
        """Returns what is known of a tracked path, read again where it was written since."""
        head = self._workspace.stat_index(path)
        if head is None:
            return None
        with self._lock:
            known = self._rows.get(path)
            if known is None or known[0] != head:
                known = self._rows[path] = (head, head.load())
        return known[1]
