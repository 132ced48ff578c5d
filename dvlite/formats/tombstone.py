"""Tombstones: which contents were purged, of what path, by whom, when and why (docs/reference/formats/tombstone.md).

On a remote and in a cache, named by the BLAKE3 of their bytes; written once, never removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dvlite.errors import FormatError
from dvlite.formats import strict_json
from dvlite.oid import DIGEST_BYTES, Digest, digest_bytes

FOLDER = "purged/"
FEATURE = "purge-1"
VERSION = 1
MAX_BYTES = 1024 * 1024
MOST_FILES = 10_000  # that one tombstone is written with: 660 KB
_TEXTS = ("path", "user", "time", "reason", "project", "dvlite")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """`files` are sorted, each once; `path` is what was named on the command line, relative to the root of the repository."""

    files: tuple[Digest, ...]
    path: str = ""
    user: str = ""
    time: str = ""  # RFC 3339, by the clock of who purged
    reason: str = ""
    project: str = ""
    dvlite: str = ""  # the version that wrote it

    def parts(self) -> Iterator[Tombstone]:
        """Yields tombstones that are small enough to be written."""
        for start in range(0, len(self.files), MOST_FILES):
            yield replace(self, files=self.files[start : start + MOST_FILES])


def name_of(data: bytes) -> str:
    """Returns the name of a tombstone in its folder."""
    return digest_bytes(data).hex()


def dump(tombstone: Tombstone) -> bytes:
    """Returns the canonical bytes."""
    texts = {key: getattr(tombstone, key) for key in _TEXTS}
    names = [digest.hex() for digest in sorted(set(tombstone.files))]
    return strict_json.dump({"dvlite_tombstone": VERSION, "files": names, **texts})


def parse(data: bytes, where: str) -> Tombstone:
    """Reads a tombstone. A key that is not known passes; raises FormatError for another version, or a known key that cannot be."""
    body = strict_json.parse(data, where, limit_bytes=MAX_BYTES)
    strict_json.require_version(body.get("dvlite_tombstone"), VERSION, f"cannot read {where}")
    strict_json.require_whole_characters(body, where)
    texts = {key: body.get(key, "") for key in _TEXTS}
    if not all(isinstance(text, str) for text in texts.values()):
        raise FormatError(f"cannot read {where}: a field is of the wrong type")
    return Tombstone(_digests(body.get("files"), where), **texts)


def _digests(names: object, where: str) -> tuple[Digest, ...]:
    if isinstance(names, Sequence) and not isinstance(names, str) and all(isinstance(name, str) for name in names):
        try:
            digests = [Digest(bytes.fromhex(name)) for name in names]
        except ValueError:
            digests = []
        is_exact = [digest.hex() for digest in digests] == list(names) and all(len(d) == DIGEST_BYTES for d in digests)
        if digests and is_exact and digests == sorted(set(digests)):
            return tuple(digests)
    raise FormatError(f"cannot read {where}: 'files' is not a list of digests, sorted, each once")
