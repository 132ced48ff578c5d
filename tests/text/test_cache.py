"""The words of `cache`."""

from dvlite.commands.cache import CachePruneResult
from dvlite.show import Show
from dvlite.text.cache import text
from tests.text.samples import GIB


def said(result, show=None):
    return list(text(result, show or Show()))


def test_cache_prune():
    assert said(CachePruneResult(remote="origin", objects=2, freed_bytes=GIB, kept_objects=1, kept_bytes=5)) == [
        "Freed 1.0 GiB: 2 objects that origin has.",
        "Kept 5 B that it does not have.",
        "next: dvlite push --all-commits",
    ]
