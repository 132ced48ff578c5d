"""The words of `purge`."""

from dvlite.commands.purge import Purge, PurgedContent, PurgedStore, PurgeListResult, PurgeResult
from dvlite.show import Show
from dvlite.text.purge import text
from tests.text.samples import MIB


def said(result, show=None):
    return list(text(result, show or Show()))


def content(path, *, asked=True):
    return PurgedContent(
        path=path, oid="blake3:" + "ab" * 32, size_bytes=MIB, versions=2, asked=asked, in_workspace=asked
    )


RESULT = PurgeResult(
    reason="law",
    command="dvlite purge data/x --all-versions --reason law --yes",
    contents=(content("data/x"), content("copy", asked=False)),
    stores=(
        PurgedStore(store="cache", url="/cache", size_bytes=MIB),
        PurgedStore(store="origin", url="s3://b", size_bytes=MIB, later_bytes=MIB, pieces=120, shared_pieces=3),
        PurgedStore(store="away", problem="it is not there"),
        PurgedStore(store="empty", url="/empty"),
    ),
)


def test_a_plan_says_what_goes_where_and_what_stays():
    assert said(RESULT) == [
        "Would purge 1 content of data/x, 1.0 MiB, from every version:",
        "  data/x  1.0 MiB  in 2 versions  abababababab",
        "The same bytes, and so gone too:",
        "  copy  1.0 MiB  in 2 versions  abababababab",
        "Would delete 1.0 MiB from the cache.",
        "Would mark 1.0 MiB on origin (s3://b) for deletion: the first dvlite gc --remote in a day or later deletes it; at once: --grace 0s.",
        "Not from away: it is not there.",
        "Nothing of it is on empty (/empty).",
        "3 of 120 pieces on origin are part of other files and stay.",
        "The files in the work tree are left alone: data/x. To remove them, and to track what is left: rm data/x && dvlite add -u",
        "next: dvlite purge data/x --all-versions --reason law --yes",
    ]


def test_the_list_names_who_when_and_why():
    purge = Purge(path="data/x", files=1, user="ada@example.com", time="2026-11-22T14:02:00Z", reason="law")
    assert said(PurgeListResult(purges=(purge,)))[1].split() == ["2026-11-22", "data/x", "1", "ada@example.com", "law"]
    assert said(PurgeListResult()) == ["Nothing was purged."]
