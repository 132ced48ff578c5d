"""Opens remotes. The layers above take everything about remotes from here, whichever backend keeps the objects.

Backends load when a location needs them: s3fs takes 0.25 s.
"""

from __future__ import annotations

from collections.abc import Mapping

from dvlite.store.object_store import ObjectStore
from dvlite.store.retry import RetryBudget, RetryingStore
from dvlite.store.url import FOLDER, S3, Location, check_options


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
        from dvlite.store.s3 import S3Store

        return RetryingStore(S3Store(location, options, connections=connections), budget)
    from dvlite.store.fsspec_store import FsspecStore

    return RetryingStore(FsspecStore(location, options), budget)
