"""Which tracked paths the arguments of a command stand for."""

import os

import pytest

from dvlite.errors import UsageError
from dvlite.formats.pointer import Pointer
from dvlite.oid import Digest
from dvlite.repo.repository import open_repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.workspace.path_args import select
from tests.clones import start

NAMES = ["data/images", "data/tables", "model.bin", "sub/deep/set"]
TRACKED = [Tracked(name, Pointer("directory", Digest(bytes(32)), 0)) for name in NAMES]


@pytest.fixture
def repo(tmp_path, invoke):
    clone = start(tmp_path / "here", invoke)
    (clone.path / "sub" / "deep").mkdir(parents=True)
    (clone.path / "data").mkdir()

    def at(folder=""):
        return open_repo(clone.path / folder, os.environ)

    return at


def chosen(repo, *arguments, inside=True):
    return {item.path: patterns for item, patterns in select(repo, TRACKED, arguments, inside=inside)}


def test_no_argument_is_everything(repo):
    assert chosen(repo()) == dict.fromkeys(NAMES, ())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model.bin"], {"model.bin": ()}),
        (["model.bin.dvlite"], {"model.bin": ()}),
        (["data"], {"data/images": (), "data/tables": ()}),
        (["data/"], {"data/images": (), "data/tables": ()}),
        (["."], dict.fromkeys(NAMES, ())),
        (["data/*"], {"data/images": (), "data/tables": ()}),
        (["**/set"], {"sub/deep/set": ()}),
        (["data/images/val"], {"data/images": ("val",)}),
        (["data/images/a", "data/images/b"], {"data/images": ("a", "b")}),
        (["data/images/a", "data/images"], {"data/images": ()}),
        (["data/images/*.jpg"], {"data/images": ("*.jpg",)}),
        (["./model.bin", "model.bin"], {"model.bin": ()}),
    ],
)
def test_arguments_stand_for(repo, arguments, expected):
    assert chosen(repo(), *arguments) == expected


def test_paths_are_relative_to_the_current_folder(repo):
    assert chosen(repo("sub"), "deep/set") == {"sub/deep/set": ()}
    assert chosen(repo("data"), "images/val") == {"data/images": ("val",)}
    assert chosen(repo("sub/deep"), "../../model.bin") == {"model.bin": ()}


@pytest.mark.parametrize("argument", ["absent", "dat", "data/image", "*.txt", "model.bin.dvlite.dvlite"])
def test_what_stands_for_nothing_is_refused(repo, argument):
    with pytest.raises(UsageError, match="is not tracked by dvlite"):
        chosen(repo(), argument)


def test_parts_are_refused_where_whole_paths_are_needed(repo):
    with pytest.raises(UsageError, match="only whole tracked paths"):
        chosen(repo(), "data/images/val", inside=False)
