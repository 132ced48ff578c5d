"""The words of `fetch`."""

from dvlite.share.fetch_plan import FetchResult
from dvlite.show import Show
from dvlite.text.fetch import text
from tests.text.samples import MIB, moved


def test_what_was_fetched_is_followed_by_checkout():
    fetch = FetchResult(remote="origin", paths=(moved("fetched"),), files=2, downloaded_bytes=MIB, elapsed_seconds=1)
    assert list(text(fetch, Show())) == [
        "Fetched data/images from origin: 2 files, 1.0 MiB downloaded. 1.0 s",
        "next: dvlite checkout",
    ]


def test_a_dry_run_with_nothing_to_do():
    assert list(text(FetchResult(remote="origin", dry_run=True), Show())) == [
        "Nothing to fetch: origin and the cache agree on 0 tracked paths."
    ]
