"""Notes in the cache of packs on a remote that were read and found damaged, so that the next push sends what they hold again."""

from __future__ import annotations

from dvlite.oid import Digest
from dvlite.store.catalog import Catalog

_KIND = "distrusted"


def note(catalog: Catalog, name: Digest) -> None:
    """Notes that a pack is damaged, for later commands too."""
    catalog.distrusted.add(name)
    catalog.remote.keep(_KIND, name.hex(), b"")


def heed(catalog: Catalog) -> None:
    """Lets the catalog rely on no pack that was noted; forgets packs that are gone. Not for pulls: what is right in them can be had."""
    noted = {name: Digest(bytes.fromhex(name)) for name in catalog.remote.kept_names(_KIND)}
    catalog.remote.forget(_KIND, {name for name, digest in noted.items() if digest not in catalog.packs})
    catalog.distrusted.update(noted.values())
