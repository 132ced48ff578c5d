"""The words of `gc`."""

from dataclasses import replace

import pytest

from dvlite.commands.gc import GcPart, GcResult
from dvlite.commands.gc_remote import GcRemoteResult
from dvlite.show import Show
from dvlite.text import gc_remote
from dvlite.text.gc import text
from tests.text.samples import GIB, MIB


def said(result, show=None):
    return list(text(result, show or Show()))


GONE = (
    GcPart(reason="that nothing names", objects=1200, size_bytes=GIB),
    GcPart(reason="temporary files", objects=1, size_bytes=5),
)
KEPT = (GcPart(reason="named in git", objects=7, size_bytes=MIB),)
PLAN = GcResult(objects=1201, freed_bytes=GIB + 5, gone=GONE, kept=KEPT, quarantined=2, quarantined_bytes=10)


def test_a_plan_gives_reasons_and_the_next_command():
    assert said(PLAN) == [
        "Would remove 1,201 objects from the cache, which frees 1.0 GiB:",
        "   1.0 GiB    1,200  that nothing names",
        "       5 B        1  temporary files",
        "Kept:",
        "   1.0 MiB        7  named in git",
        "In quarantine: 2 damaged objects, 10 B; they stay until you remove them.",
        "next: dvlite gc --yes",
    ]


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0s"), (90, "90s"), (7200, "2h"), (30 * 86400, "30d")])
def test_the_next_command_has_the_options_of_the_plan(seconds, shown):
    assert said(replace(PLAN, grace_seconds=seconds))[-1] == f"next: dvlite gc --grace {shown} --yes"
    old = replace(PLAN, uncommitted_seconds=seconds, grace_seconds=86400)
    assert said(old)[-1] == f"next: dvlite gc --uncommitted{f' --older-than {shown}' if seconds else ''} --yes"
    remote = GcRemoteResult(remote="origin", url="u", claims=1, grace_seconds=float(seconds), forgotten=("5775976b",))
    assert list(gc_remote.text(remote, Show()))[-1] == (
        f"next: dvlite gc --remote origin --grace {shown} --forget-clone 5775976b --yes"
    )


def test_what_was_done_and_nothing_to_do():
    assert said(GcResult(applied=True, objects=1, gone=GONE[1:], freed_bytes=5)) == [
        "Removed 1 object from the cache, which frees 5 B:",
        "       5 B        1  temporary files",
    ]
    assert said(GcResult(kept=KEPT))[0] == "Nothing to remove from the cache."
    assert said(GcResult(uncommitted_seconds=0)) == ["Nothing to remove from the cache that is older than 1d."]
    assert said(GcResult(applied=True, gone=GONE), Show(quiet=True)) == []
