"""Opens remotes. The layers above take everything about remotes from here, whichever backend keeps the objects.

Backends load when a location needs them: s3fs takes 0.25 s.
"""

from __future__ import annotations

from collections.abc import Mapping

from dvlite.store.location import FOLDER, S3, Location, check_options
from dvlite.store.objects import Buffer, Entry, Listing, ObjectAbsent, ObjectStore, Transient
from dvlite.store.retrying import RetryBudget, Retrying

__all__ = [
    "Buffer",
    "Entry",
    "Listing",
    "ObjectAbsent",
    "ObjectStore",
    "RetryBudget",
    "Transient",
    "open_store",
]


def open_store(location: Location, options: Mapping[str, str], *, budget: RetryBudget, connections: int) -> ObjectStore:
    """Returns the store at a location, for up to `connections` calls at a time; makes no request yet.

    The caller has made sure that the user trusts the place (`location.host_of`). Raises UsageError for options that do not belong.
    """
    check_options(location.scheme, options)
    if location.scheme == FOLDER:
        from dvlite.store.folder import FolderStore

        assert location.folder is not None
        return FolderStore(location.folder)
    if location.scheme == S3:
        from dvlite.store.bucket import BucketStore

        return Retrying(BucketStore(location, options, connections=connections), budget)
    from dvlite.store.experimental import ExperimentalStore

    return Retrying(ExperimentalStore(location, options), budget)
