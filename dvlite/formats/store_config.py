"""The `config` object of a remote: which version and chunker it has, and what a client must know to write there.

It holds nothing random, so that two clients that create it at once write the same bytes, and a checksum: a flipped bit must not look like
a feature of a later version (docs/reference/formats/store-config.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from dvlite.errors import FormatError
from dvlite.formats import strict_json, tombstone
from dvlite.show import quote

NAME = "config"
VERSION = 1
KNOWN_FEATURES = frozenset((tombstone.FEATURE,))
CHUNKER = "fastcdc-2020"
UPGRADE = "upgrade dvlite"
LEAST_BYTES = 256  # no chunk but a file's last may be smaller: recipes are bounded by it


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Chunk sizes are in bytes; `features` a client does not know forbid it to write, `requires` to read."""

    min_bytes: int
    average_bytes: int
    max_bytes: int
    features: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    @property
    def has_tombstones(self) -> bool:
        """Whether contents were purged there; else nothing looks for tombstones."""
        return tombstone.FEATURE in self.requires

    @property
    def unknown_features(self) -> tuple[str, ...]:
        return tuple(feature for feature in self.features if feature not in KNOWN_FEATURES)


DEFAULT = StoreConfig(8 * 1024, 32 * 1024, 128 * 1024)


def dump(config: StoreConfig) -> bytes:
    """Returns the canonical bytes."""
    chunker = {"name": CHUNKER, "min": config.min_bytes, "average": config.average_bytes, "max": config.max_bytes}
    names = {"features": list(config.features), "requires": list(config.requires)}
    return strict_json.seal({"dvlite_store": VERSION, "chunker": chunker, **names})


def parse(data: bytes, where: str) -> StoreConfig:
    """Reads a remote's config; raises FormatError for a version, a chunker or a required feature that this client does not know.

    Raises ObjectCorrupt for what is no config or not whole.
    """
    body = strict_json.unseal(data, where, limit_bytes=64 * 1024)
    strict_json.require_version(body.get("dvlite_store"), VERSION, f"cannot use {where}")
    requires = _names(body, "requires", where)
    unknown = [name for name in requires if name not in KNOWN_FEATURES]
    if unknown:
        which = ", ".join(map(quote, unknown))
        raise FormatError(
            f"cannot use {where}: it requires {which}, which this dvlite does not know", hint=UPGRADE, kind="later"
        )
    chunker = body.get("chunker")
    if not isinstance(chunker, dict) or chunker.get("name") != CHUNKER:
        raise FormatError(f"cannot use {where}: its chunker is not known", hint=UPGRADE, kind="later")
    sizes = [size for key in ("min", "average", "max") if isinstance(size := chunker.get(key), int)]
    if len(sizes) != 3 or not LEAST_BYTES <= sizes[0] <= sizes[1] <= sizes[2] <= 16 * 1024 * 1024:
        raise FormatError(f"cannot use {where}: its chunk sizes are impossible")
    return StoreConfig(sizes[0], sizes[1], sizes[2], _names(body, "features", where), requires)


def _names(body: dict[str, object], key: str, where: str) -> tuple[str, ...]:
    names = body.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FormatError(f"cannot use {where}: {quote(key)} is not a list of names")
    return tuple(map(str, names))
