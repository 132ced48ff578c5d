"""What holds for the words of every verb."""

from importlib import import_module

import pytest

from dvlite.commands.add import AddResult
from dvlite.commands.cache import CachePruneResult
from dvlite.commands.clone import CloneResult
from dvlite.commands.init import InitResult
from dvlite.commands.mv import MvResult
from dvlite.commands.remote import RemoteAddResult
from dvlite.commands.rm import RmResult
from dvlite.commands.status import StatusResult
from dvlite.share.fetch_plan import FetchResult, PullResult
from dvlite.share.publish import PushResult
from dvlite.show import Show
from dvlite.workspace.restore import CheckedOutPath, CheckoutResult
from tests.text.samples import DIFF, IMAGES, MODEL, ORIGIN, moved


def said(result, show=None):
    verb = result.schema.removeprefix("dvlite.").split("/")[0].split("-")[0]
    return list(import_module(f"dvlite.text.{verb}").text(result, show or Show()))


DONE = [
    InitResult(root="/w", existed=False, staged=("a",)),
    CloneResult(url="u", directory="d"),
    AddResult(paths=(IMAGES, MODEL), staged=("a",)),
    RmResult(paths=("a",), staged=("a",)),
    MvResult(source="a", target="b", staged=("a",)),
    CheckoutResult(paths=(CheckedOutPath(path="d", written=2),)),
    PushResult(remote="origin", paths=(moved("pushed"),)),
    FetchResult(remote="origin", paths=(moved("fetched"),)),
    PullResult(fetch=FetchResult(remote="origin", paths=(moved("fetched"),)), checkout=CheckoutResult()),
    RemoteAddResult(remote=ORIGIN, state="empty"),
    CachePruneResult(remote="origin"),
    StatusResult(clean=True, tracked=1),
]


@pytest.mark.parametrize("result", DONE, ids=lambda result: result.schema)
def test_quiet_says_nothing_of_what_went_well(result):
    assert said(result)
    assert said(result, Show(quiet=True)) == []


@pytest.mark.parametrize("result", DONE, ids=lambda result: result.schema)
def test_no_text_has_the_words_of_the_inside(result):
    words = {word.strip(".,:()").lower() for line in said(result) for word in line.split()}
    assert not words & {"root", "roots", "pack", "packs", "manifest", "index", "recipe", "condemned"}


def test_colours_change_no_word():
    for result in (DIFF, *DONE):
        colored = "\n".join(said(result, Show(color=True)))
        for code in ("0", "1", "2", "31", "32", "33", "36"):
            colored = colored.replace(f"\x1b[{code}m", "")
        assert colored == "\n".join(said(result))
