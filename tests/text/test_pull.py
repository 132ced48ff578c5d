"""The words of `pull`."""

from dvlite.share.fetch_plan import FetchResult, PullResult
from dvlite.show import Show
from dvlite.text.pull import text
from dvlite.workspace.restore import CheckedOutPath, CheckoutResult
from tests.text.samples import MIB, moved


def said(result, show=None):
    return list(text(result, show or Show()))


def test_fetch_and_pull():
    fetch = FetchResult(remote="origin", paths=(moved("fetched"),), files=2, downloaded_bytes=MIB, elapsed_seconds=1)
    checkout = CheckoutResult(paths=(CheckedOutPath(path="data/images", written=2, removed=1),))
    assert said(PullResult(fetch=fetch, checkout=checkout, elapsed_seconds=432)) == [
        "Pulled data/images: 2 files written, 1 removed, 1.0 MiB downloaded. 7m12s"
    ]
    present = FetchResult(remote="origin", paths=(moved("present"),))
    assert said(PullResult(fetch=present, checkout=CheckoutResult())) == [
        "Nothing to pull: 1 tracked path here already. 0.0 s"
    ]
    lost = PullResult(fetch=FetchResult(remote="origin", paths=(moved("missing"),)), checkout=CheckoutResult())
    assert lost.failure(Show()).exit_code == 12
