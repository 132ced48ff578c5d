"""The tombstones of a remote: listed where its config says that there are some, read into the cache, never removed."""

from __future__ import annotations

import os
import re

from dvlite import files
from dvlite.formats import tombstone
from dvlite.store.remote import Remote

_NAME = re.compile(r"purged/([0-9a-f]{64})")


def listed(remote: Remote) -> set[str]:
    """Returns the names of the tombstones that stand now, without their folder; one listing."""
    entries = remote.store.list(tombstone.FOLDER).entries
    return {match[1] for entry in entries if (match := _NAME.fullmatch(entry.name)) is not None}


def receive(remote: Remote, names: set[str]) -> set[str]:
    """Reads tombstones into the cache, those that it does not know; in one that cannot be written, they count for this process.

    Returns those that are damaged. Raises FormatError for one of a later version.
    """
    cache = remote.cache
    unknown = sorted(names - cache.tombstones.keys())
    read = remote.run_all(lambda name: remote.get(tombstone.FOLDER + name, end=tombstone.MAX_BYTES + 1), unknown)
    keep = os.access(files.existing_folder(cache.folder / "purged"), os.W_OK)
    sound = {name: data for name, data in zip(unknown, read, strict=True) if tombstone.name_of(data) == name}
    for data in sound.values():
        cache.bury(data, keep=keep)
    return names - cache.tombstones.keys()
