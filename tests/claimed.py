"""What the roots in a folder store claim, read as dvlite reads it; and who claims it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dvlite.oid import Oid, format_oid
from dvlite.repo.open_stores import plain_cache
from dvlite.store import snapshots
from dvlite.store.catalog import Catalog
from dvlite.store.folder import FolderStore
from dvlite.store.remote import Remote


def claimed(store: Path) -> dict[tuple[str, Oid], set[str]]:
    """Returns the versions in the snapshots of a folder store, by path and oid, each with the ids of the clones that claim it."""
    found: dict[tuple[str, Oid], set[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = plain_cache(Path(folder))
        cache.create()
        with Remote(FolderStore(store), cache, "x", jobs=1) as remote:
            catalog = Catalog(remote).look()
            for _, name in snapshots.listed(remote):
                for version in snapshots.versions(catalog, name.snapshot):
                    oid = format_oid(version.kind, version.digest)
                    found.setdefault((version.path, oid), set()).add(name.clone)
    return found


def oids(store: Path) -> set[Oid]:
    """Returns the oids in the snapshots of a folder store."""
    return {oid for _, oid in claimed(store)}
