"""The words of `push`."""

from dvlite.share.publish import PushResult
from dvlite.show import Show
from dvlite.text.push import text
from tests.text.samples import MIB, moved


def said(result, show=None):
    return list(text(result, show or Show()))


def test_push():
    result = PushResult(
        remote="origin",
        paths=(moved("pushed"), moved("present")),
        files=2,
        objects=791,
        uploaded_bytes=MIB,
        size_bytes=MIB,
        elapsed_seconds=421,
    )
    assert said(result) == ["Pushed data/images to origin: 2 files, 1.0 MiB in 791 objects. 7m01s", "next: git push"]
    small = PushResult(
        remote="origin", paths=(moved("pushed"),), files=1, objects=1, uploaded_bytes=MIB, size_bytes=9 * MIB
    )
    assert said(small)[0] == "Pushed data/images to origin: 1 file, 9.0 MiB as 1.0 MiB in 1 object. 0.0 s"


def test_push_of_nothing_new_and_of_what_is_nowhere():
    assert said(PushResult(remote="origin", paths=(moved("present"),))) == [
        "Nothing to push: 1 tracked path complete on origin. 0.0 s"
    ]
    gone = PushResult(remote="origin", paths=(moved("missing"),))
    assert said(gone) == []
    assert gone.failure(Show()).exit_code == 12
    assert gone.failure(Show()).message == "data/images: neither in the cache nor on origin"
    failed = PushResult(remote="origin", paths=(moved("failed", problem="timed out"), moved("pushed"))).failure(Show())
    assert failed.exit_code == 3
    assert failed.message == "cannot push 1 of 2 tracked paths, data/images: timed out"


def test_a_dry_run_says_what_would_be_done_even_quietly():
    result = PushResult(remote="origin", paths=(moved("planned", revision="0d9e8f7a1"),), dry_run=True)
    assert said(result, Show(quiet=True)) == ["would push data/images at 0d9e8f7a: 2 files, 2.0 MiB"]
