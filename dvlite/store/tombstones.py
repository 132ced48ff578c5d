"""The tombstones of a remote: listed where its config says that there are some, read into the cache, never removed."""

from __future__ import annotations

import os
import re

from dvlite import files
from dvlite.errors import ObjectCorrupt
from dvlite.formats import tombstone
from dvlite.store.remote import Remote

_NAME = re.compile(r"purged/([0-9a-f]{64})")


def listed(remote: Remote) -> set[str]:
    """Returns the names of the tombstones that stand now, without their folder; one listing."""
    entries = remote.store.list(tombstone.FOLDER).entries
    return {match[1] for entry in entries if (match := _NAME.fullmatch(entry.name)) is not None}


def receive(remote: Remote, names: set[str]) -> None:
    """Reads tombstones into the cache, those that it does not know; in one that cannot be written, they count for this process.

    Raises ObjectCorrupt or FormatError for one that cannot be read: content that must not come back might.
    """
    cache = remote.cache
    unknown = sorted(names - cache.tombstones.keys())
    read = remote.run_all(lambda name: remote.get(tombstone.FOLDER + name, end=tombstone.MAX_BYTES + 1), unknown)
    keep = os.access(files.existing_folder(cache.folder / "purged"), os.W_OK)
    for name, data in zip(unknown, read, strict=True):
        if tombstone.name_of(data) != name:
            raise ObjectCorrupt(
                f"object purged/{name[:8]} on {remote.store.label} is damaged: what was purged is not known",
                hint="delete that object; then dvlite push, from a clone that knows it, writes it again",
            )
        cache.bury(data, keep=keep)
