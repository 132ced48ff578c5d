"""The versions that a push made complete: a tree of tracked paths, stored like the listing of a directory (docs/reference/formats/snapshot.md).

Same versions, same name, whoever pushes them and in whatever order; two pushes share all nodes but one or two. A path may stand here with
several versions: a push of many commits is one snapshot.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dvlite.errors import ObjectCorrupt
from dvlite.formats import manifest
from dvlite.formats.manifest import EXECUTABLE, Branch, Entries, Form, ReadNode, Tree
from dvlite.formats.pointer import Pointer
from dvlite.oid import FILE, MANIFEST, Digest, digest_snapshot, short
from dvlite.paths import check_paths

DIRECTORY = 3  # in place of the kinds of a listing: 1 and 2 are those of links and empty directories
_FORM = Form(b"DVLS", digest_snapshot, frozenset({manifest.FILE, manifest.FILE | EXECUTABLE, DIRECTORY}), repeats=True)

_OF_LFS = re.compile(r"lfs/([0-9a-f]{64})")  # the path of an object of Git LFS, by its SHA-256

VersionId = tuple[str, Digest]  # kind and digest, as in an oid: what a version is, wherever it stands


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a tracked path. `kind` is that of its oid: blake3 or manifest; `size_bytes` is that of all its files."""

    path: str
    kind: str
    digest: Digest
    size_bytes: int
    executable: bool = False

    @property
    def id(self) -> VersionId:
        return self.kind, self.digest


def version_of(path: str, pointer: Pointer) -> Version:
    """Returns the version of a tracked path that a pointer names."""
    return Version(path, pointer.oid_kind, pointer.digest, pointer.size_bytes, pointer.executable)


def lfs_version(sha256: str, digest: Digest, size_bytes: int) -> Version:
    """Returns the version that stands for an object of Git LFS, which names it by its SHA-256."""
    return Version(f"lfs/{sha256}", FILE, digest, size_bytes)


def lfs_sha256(version: Version) -> str | None:
    """Returns the SHA-256, in hex, of the object of Git LFS that a version stands for; None for one that stands for none."""
    match = _OF_LFS.fullmatch(version.path)
    return None if match is None or version.kind != FILE else match[1]


def build(versions: Iterable[Version]) -> Tree:
    """Returns the tree of these versions; those given twice stand in it once. Raises FormatError for a path that no listing may hold."""
    rows = sorted({(os.fsencode(each.path), _flags(each), each.digest, each.size_bytes) for each in versions})
    check_paths([path for path, _, _, _ in rows])
    entries = Entries(
        [path for path, _, _, _ in rows],
        bytes(flags for _, flags, _, _ in rows),
        array("Q", (size for _, _, _, size in rows)),
        b"".join(digest for _, _, digest, _ in rows),
    )
    return manifest.build(entries, _FORM)


def versions(root: Digest, read: ReadNode) -> Iterator[Version]:
    """Yields the versions in order; raises ObjectCorrupt or FormatError for a tree that is not sound, and what `read` raises."""
    last: tuple[bytes, int, bytes] = b"", -1, b""
    for leaf in manifest.leaves(root, read, _FORM):
        for i, path in enumerate(leaf.paths):
            flags, digest = leaf.flags[i], leaf.digest(i)
            if (
                path,
                flags,
                digest,
            ) <= last:  # so no node can stand here twice, and a few bytes cannot name a billion versions
                raise ObjectCorrupt(
                    f"snapshot {short(root)} is damaged: its versions are not in order",
                    hint="dvlite push again from a clone that has the data",
                )
            last = path, flags, digest
            yield _version(leaf, i)


def node(
    digest: Digest, data: bytes, below: int = manifest.MAX_LEVEL + 1
) -> tuple[int, tuple[Digest, ...], list[Version]]:
    """Returns the level of a node, the nodes below it, and, of a leaf (level 0), its versions. Raises ObjectCorrupt unless the level is under `below`."""
    decoded = manifest.decode(data, digest, _FORM)
    if not isinstance(decoded, Branch):
        return 0, (), [_version(decoded, i) for i in range(len(decoded))]
    if decoded.level >= below:
        raise ObjectCorrupt(
            f"snapshot {short(digest)} is damaged: its level is wrong",
            hint="dvlite push again from a clone that has the data",
        )
    return decoded.level, decoded.digests, []


def _version(leaf: Entries, i: int) -> Version:
    flags = leaf.flags[i]
    kind = MANIFEST if flags == DIRECTORY else FILE
    return Version(os.fsdecode(leaf.paths[i]), kind, leaf.digest(i), leaf.sizes[i], bool(flags & EXECUTABLE))


def _flags(version: Version) -> int:
    if version.kind == MANIFEST:
        return DIRECTORY
    return manifest.FILE | EXECUTABLE if version.executable else manifest.FILE
