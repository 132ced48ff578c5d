"""Which tracked paths the arguments of a command stand for."""

import os

import pytest

from dvlite.errors import UsageError
from dvlite.formats.pointer import Pointer
from dvlite.oid import Digest
from dvlite.repo.repository import open_repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.workspace.path_args import guess, select
from tests.clones import start

NAMES = ["data/images", "data/tables", "model.bin", "sub/deep/set"]
FOLDER = Pointer("directory", Digest(bytes(32)), 0)
TRACKED = [Tracked(name, FOLDER) for name in NAMES]
OUTPUTS = [
    Tracked("model", FOLDER, "dvlite.lock", "train"),
    Tracked("report", FOLDER, "dvlite.lock", "evaluate"),
    Tracked("sub/model", FOLDER, "sub/dvlite.lock", "sub:train"),
    Tracked("sub/plots", FOLDER, "sub/dvlite.lock", "sub:draw"),
]
LISTED = {"data/images": [b"1.jpg", b"[1].jpg", b"val/2.jpg"], "data/tables": [b"a.csv", b"val/b.csv"]}


@pytest.fixture
def repo(tmp_path, invoke):
    clone = start(tmp_path / "here", invoke)
    (clone.path / "sub" / "deep").mkdir(parents=True)
    (clone.path / "data").mkdir()

    def at(folder=""):
        return open_repo(clone.path / folder, os.environ)

    return at


def chosen(repo, *arguments, inside=True, tracked=TRACKED, listing=None):
    return {item.path: parts for item, parts in select(repo, tracked, arguments, inside=inside, listing=listing)}


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
        (["data/*/val"], {"data/images": ("val",), "data/tables": ("val",)}),
        (["data/im*/**/x"], {"data/images": ("**/x",)}),
        (["data/**"], {"data/images": (), "data/tables": ()}),
        (["./model.bin", "model.bin"], {"model.bin": ()}),
    ],
)
def test_arguments_stand_for(repo, arguments, expected):
    assert chosen(repo(), *arguments) == expected


def test_paths_are_relative_to_the_current_folder(repo):
    assert chosen(repo("sub"), "deep/set") == {"sub/deep/set": ()}
    assert chosen(repo("data"), "images/val") == {"data/images": ("val",)}
    assert chosen(repo("sub/deep"), "../../model.bin") == {"model.bin": ()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data/*/val"], {"data/images": ("val",), "data/tables": ("val",)}),
        (["**/*.csv"], {"data/tables": ("**/*.csv",)}),
        (["sub/d*/*/x"], {"sub/deep/set": ("x",)}),
        (["data/images/[1].jpg"], {"data/images": ("[[]1].jpg",)}),
        (["data/images/[12].jpg"], {"data/images": ("[12].jpg",)}),
    ],
)
def test_a_glob_reaches_where_a_listing_has_matches_and_a_name_that_exists_is_none(repo, arguments, expected):
    assert chosen(repo(), *arguments, listing=lambda item: LISTED.get(item.path)) == expected
    with pytest.raises(UsageError, match="nothing in 'data/images' is named"):
        chosen(repo(), "data/images/*.csv", listing=lambda item: LISTED.get(item.path))


@pytest.mark.parametrize(
    ("folder", "argument", "paths"),
    [
        ("", "train", ["model"]),
        ("", "sub:train", ["sub/model"]),
        ("sub", "train", ["sub/model"]),
        ("sub", "sub:train", ["sub/model"]),
        ("sub", "evaluate", ["report"]),
        ("", "draw", ["sub/plots"]),
        ("", "sub:*", ["sub/model", "sub/plots"]),
        ("", "dvlite.yaml", ["model", "report"]),
        ("sub", "dvlite.lock", ["sub/model", "sub/plots"]),
        ("", "sub/dvlite.yaml:draw", ["sub/plots"]),
        ("", "model", ["model"]),
    ],
)
def test_a_stage_or_a_pipeline_file_stands_for_its_outputs(repo, folder, argument, paths):
    assert list(chosen(repo(folder), argument, tracked=OUTPUTS)) == paths


def test_a_file_that_exists_is_no_glob(repo):
    twins = [Tracked(name, FOLDER) for name in ("1.bin", "[1].bin")]
    (repo().root / "[1].bin").touch()
    assert list(chosen(repo(), "[1].bin", tracked=twins)) == ["[1].bin"]
    assert list(chosen(repo(), "[12].bin", tracked=twins)) == ["1.bin"]


@pytest.mark.parametrize(
    ("argument", "hint"), [("modle.bin", "did you mean model.bin"), ("HEAD", "--rev HEAD"), ("data", "dvlite add")]
)
def test_a_wrong_word_is_answered_with_what_was_meant(repo, argument, hint):
    with pytest.raises(UsageError) as refused:
        chosen(repo(), argument, tracked=[TRACKED[2]])
    assert hint in refused.value.hint


def test_a_folder_above_tracked_paths_may_be_meant_too():
    assert guess("dta", ["data/my images"]) == "did you mean data?   "
    assert guess("data/my imges", ["data/my images"]) == "did you mean 'data/my images'?   "
    assert guess("code", ["data/my images"]) == ""


@pytest.mark.parametrize("argument", ["absent", "dat", "data/image", "*.txt", "model.bin.dvlite.dvlite"])
def test_what_stands_for_nothing_is_refused(repo, argument):
    with pytest.raises(UsageError, match="is not tracked by dvlite"):
        chosen(repo(), argument)


def test_parts_are_refused_where_whole_paths_are_needed(repo):
    with pytest.raises(UsageError, match="only whole tracked paths"):
        chosen(repo(), "data/images/val", inside=False)
