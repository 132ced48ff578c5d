"""The words of `rm`."""

from dvlite.commands.mv import MvResult
from dvlite.commands.rm import RmResult
from dvlite.show import Show
from dvlite.text import mv, rm


def said(result, show=None):
    text = rm.text if isinstance(result, RmResult) else mv.text
    return list(text(result, show or Show()))


def test_rm_and_mv():
    assert said(RmResult(paths=("a", "b"), kept=True)) == [
        "No longer tracked, data left in place: a, b",
        "next: git commit",
    ]
    assert said(MvResult(source="a", target="b", staged=("b.dvlite",)))[:2] == [
        "Moved a -> b",
        "staged in git: b.dvlite",
    ]
