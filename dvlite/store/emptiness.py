"""A remote to which nobody ever pushed, or that is not the place that was meant: a disk that is not mounted looks the same."""

from __future__ import annotations

from dvlite.errors import RemoteError
from dvlite.store.catalog import Catalog


def is_empty(catalog: Catalog) -> bool:
    """Says whether the last look found nothing: what the first push writes before all else is not there, nor is anything after it."""
    return catalog.config is None and not catalog.packs and not catalog.index_sizes()


def emptiness(catalog: Catalog) -> RemoteError:
    """Returns the error for an empty remote on which something was expected."""
    return RemoteError(
        f"{catalog.remote.store.label} is empty or not there",
        hint="is it the right place, and is its disk mounted? if nobody pushed yet: dvlite push, from a clone that has the data",
    )
