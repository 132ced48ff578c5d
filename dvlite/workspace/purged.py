"""What of a version was purged: left out of what is fetched and checked out, and named with who, when and why."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from dvlite.errors import DvliteError, PartlyDone
from dvlite.formats.manifest import EMPTY_DIR, Entries
from dvlite.formats.tombstone import Tombstone
from dvlite.show import Show, count, one_line, quote
from dvlite.store.cache import Cache
from dvlite.workspace.sparse import Selects


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgedFile:
    """A file whose content was removed from every version for good."""

    path: str
    reason: str
    user: str
    time: str


class Purged(PartlyDone):
    """A version has files that were purged; the rest of it is done."""


def purged_file(path: str, by: Tombstone) -> PurgedFile:
    """Returns what there is to say of a purged file."""
    return PurgedFile(path=path, reason=by.reason, user=by.user, time=by.time)


def purged_in(cache: Cache, path: str, entries: Entries, chooses: Selects | None = None) -> dict[int, PurgedFile]:
    """Returns the purged files of a version by their positions, of those that `chooses` takes; costs nothing where nothing was purged."""
    if not cache.purged:
        return {}
    gone = {}
    for i, flags in enumerate(entries.flags):
        by = cache.purged.get(entries.digest(i)) if flags != EMPTY_DIR else None
        if by is not None and (chooses is None or chooses(entries.paths[i])):
            inner = os.fsdecode(entries.paths[i])
            gone[i] = purged_file(f"{path}/{inner}" if inner else path, by)
    return gone


def without(entries: Entries, gone: Iterable[int]) -> Entries:
    """Returns entries but for those at some positions."""
    left = sorted(set(range(len(entries))).difference(gone))
    digests = b"".join(entries.digest(i) for i in left)
    sizes = array("Q", (entries.sizes[i] for i in left))
    return Entries([entries.paths[i] for i in left], bytes(entries.flags[i] for i in left), sizes, digests)


def failure_of(purged: Iterable[PurgedFile], show: Show | None = None) -> DvliteError | None:
    """Returns the error that names purged files, if there are any."""
    files = list({file.path: file for file in purged}.values())
    if not files:
        return None
    first = files[0]
    more = f" (and {count(len(files) - 1, 'more file')})" if len(files) > 1 else ""
    return Purged(
        f"{quote(first.path) if show is None else show.path(first.path)} was purged by {one_line(first.user or 'someone')} on {first.time[:10]}: {one_line(first.reason)}{more}",
        hint="all else is done; what was purged: dvlite purge --list",
    )
