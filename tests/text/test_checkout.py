"""The words of `checkout`."""

from dvlite.errors import ObjectMissing, PartlyDone
from dvlite.show import Show
from dvlite.text.checkout import text
from dvlite.workspace.restore import CheckedOutPath, CheckoutResult
from tests.text.samples import MIB


def said(result, show=None):
    return list(text(result, show or Show()))


def test_checkout():
    result = CheckoutResult(
        paths=(CheckedOutPath(path="d", written=2, removed=1, written_bytes=MIB, saved=("d/x",)),), elapsed_seconds=2
    )
    assert said(result) == [
        "Checked out d: 2 files written, 1.0 MiB, 1 file removed. 2.0 s",
        "1 file overwritten in d; the bytes before are in the cache",
    ]
    assert result.failure(Show()) is None
    assert said(CheckoutResult(paths=(CheckedOutPath(path="d", kept=5),))) == [
        "Nothing to check out: 1 tracked path unchanged."
    ]
    gone = CheckedOutPath(path="my photos", removed=2, untracked=True)
    assert said(CheckoutResult(paths=(CheckedOutPath(path="d", kept=5), gone))) == [
        "No longer tracked: my photos; 2 files removed. Versions: dvlite log 'my photos'",
        "Nothing to check out: 1 tracked path unchanged.",
    ]


def test_checkout_of_what_is_not_there_is_more_than_a_kept_edit():
    result = CheckoutResult(paths=(CheckedOutPath(path="d", conflicts=("d/a",), missing=("d/b",)),))
    assert isinstance(result.failure(Show()), ObjectMissing)
    assert said(result) == []
    kept = CheckoutResult(paths=(CheckedOutPath(path="d", conflicts=tuple("abcde")),)).failure(Show())
    assert isinstance(kept, PartlyDone)
    assert kept.message == "5 files not overwritten, with changes that are not added: a, b, c and 2 more"
