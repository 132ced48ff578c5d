"""The words of `init`."""

from dvlite.commands.init import InitResult
from dvlite.show import Show
from dvlite.text.init import text


def said(result, show=None):
    return list(text(result, show or Show()))


def test_init():
    result = InitResult(
        root="/w/birds",
        existed=False,
        created=("a",),
        staged=("a", "b"),
        hooks=("pre-commit", "pre-push"),
        merge_driver=True,
    )
    assert said(result) == [
        "Initialised /w/birds  Hooks: pre-commit, pre-push. Merge driver: on.",
        "staged in git: a b",
        "next: dvlite add PATH",
    ]
    assert said(InitResult(root="/w", existed=False))[0] == (
        "Initialised /w  Hooks: none (dvlite install). Merge driver: on."
    )
    assert said(InitResult(root="/w", existed=True, switched_on=("diff",), missing=2)) == [
        "Already initialised /w  Hooks: none (dvlite install). Merge driver: on.",
        "switched on in this clone: git diff shows what changed in data",
        "next: dvlite pull",
    ]
