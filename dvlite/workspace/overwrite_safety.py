"""Distinguishes bytes of an earlier version of a tracked path from a user's own work.

Only the former may be overwritten or removed unasked. That the cache holds some bytes is not enough: an add that was killed, or that took
in a part, may have stored them without any version that names them.
"""

from __future__ import annotations

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, Entries
from dvlite.formats.manifest_parts import LazyListing, differences
from dvlite.formats.pointer import Pointer, from_oid
from dvlite.oid import Digest
from dvlite.repo import committed_versions
from dvlite.workspace.hashing import Snapshot
from dvlite.workspace.workspace import Workspace, entries_of

_HISTORY = 3  # committed versions that are looked at where nothing is known of this worktree


class EarlierVersions:
    """Earlier versions of a path: which entries on disk belong to one of them, at the same path, and are in the cache."""

    def __init__(self, work: Workspace, path: str, have: Snapshot) -> None:
        self._work, self._path, self._have = work, path, have
        self._versions: list[Entries | LazyListing] | None = None

    def has(self, j: int) -> bool:
        have = self._have
        digest = have.digest(j)
        if self._versions is None:
            self._versions = [
                LazyListing(pointer.digest, self._work.cache.read_node)
                if pointer.kind == "directory"
                else entries_of(pointer, self._work.cache)
                for pointer in self._pointers()
            ]
        path = have.scan.paths[j]
        is_known = any(_has(version, path, digest) for version in self._versions)
        return is_known and self._work.cache.is_sound(digest, have.scan.sizes[j])

    def _pointers(self) -> list[Pointer]:
        pointers = [from_oid(text) for text in self._work.versions_here(self._path)]
        return [pointer for pointer in pointers if pointer is not None] or committed_versions.history(
            self._work.repo.git, self._path, _HISTORY
        )


def _has(version: Entries | LazyListing, path: bytes, digest: Digest) -> bool:
    try:
        entry = version.find(path)
    except (ObjectMissing, ObjectCorrupt):
        return False
    return entry is not None and entry.digest == digest


def is_earlier_version(work: Workspace, path: str, have: Snapshot) -> bool:
    """Returns whether all of what is on disk belongs to versions that were here, so that nothing is lost with it."""
    earlier = EarlierVersions(work, path, have)
    return all(flags == EMPTY_DIR or earlier.has(j) for j, flags in enumerate(have.scan.flags))


def is_exactly(work: Workspace, version: Pointer, have: Entries) -> bool:
    """Returns whether all that is on disk is a version; its manifest is rebuilt if the cache lacks it."""
    if version.kind == "file":
        return have.paths == [b""] and have.digest(0) == version.digest
    try:
        return next(differences(version.digest, have, work.cache.read_node), None) is None
    except (ObjectMissing, ObjectCorrupt):
        return manifest.build(have).root == version.digest
