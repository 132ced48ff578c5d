"""The words of `clone`."""

from dvlite.commands.clone import CloneResult
from dvlite.show import Show
from dvlite.text.clone import text


def said(result, show=None):
    return list(text(result, show or Show()))


def test_clone():
    result = CloneResult(url="u", directory="my birds", hooks=("pre-push",), elapsed_seconds=3.2)
    assert said(result) == ["Cloned into my birds, hooks installed  3.2 s", "next: cd 'my birds'; dvlite pull [PATH]"]
