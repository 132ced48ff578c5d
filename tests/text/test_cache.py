"""The words of `cache`."""

from dataclasses import replace

from dvlite.commands.cache import CachePruneResult
from dvlite.share.needs import GcPart
from dvlite.show import Show
from dvlite.text.cache import text
from tests.text.samples import GIB


def said(result, show=None):
    return list(text(result, show or Show()))


def test_what_stays_is_named_with_the_commands_that_help():
    runs = GcPart(reason="of 5 runs that no commit names", objects=5, size_bytes=4)
    result = CachePruneResult(remote="origin", objects=2, freed_bytes=GIB, kept_objects=5, kept_bytes=4, kept=(runs,))
    assert said(replace(result, fixes=("dvlite gc --uncommitted",))) == [
        "Freed 1.0 GiB: 2 objects that origin has.",
        "Kept 4 B that origin does not provably have, of 5 runs that no commit names.",
        "next: dvlite gc --uncommitted",
    ]
    logs = GcPart(reason="in run records", objects=1, size_bytes=1)
    assert said(replace(result, kept=(runs, logs), kept_bytes=5))[1:] == [
        "Kept 5 B that origin does not provably have:",
        "       4 B        5  of 5 runs that no commit names",
        "       1 B        1  in run records",
    ]
