"""The words of `clone`."""

from dvlite.commands.clone import CloneResult
from dvlite.show import Show
from dvlite.text.clone import text


def said(result, show=None):
    return list(text(result, show or Show()))


def test_clone():
    result = CloneResult(url="u", directory="birds", hooks=("pre-push",), elapsed_seconds=3.2)
    assert said(result) == ["Cloned into birds, hooks installed  3.2 s", "next: cd birds; dvlite pull [PATH]"]
