"""What is tracked: the pointers on disk and in commits, and which paths cannot be."""

import os
import subprocess

import pytest

from dvlite.errors import DvliteError, FormatError
from dvlite.repo.tracked_paths import Tracked, Unusable, overlap, why_untrackable
from tests.repo.repositories import commit, opened, put, version


def test_tracked_paths_are_the_pointers_on_disk(work):
    commit(work, **{"data/b": "1", "a": "2", "gone": "3"})
    put(work, new="4")
    (work / "gone.dvlite").unlink()
    assert opened(work).work_tree.tracked() == [
        Tracked("a", version("2")),
        Tracked("data/b", version("1")),
        Tracked("new", version("4")),
    ]


def test_a_malformed_pointer_is_named_with_its_line(work):
    (work / "sub").mkdir()
    (work / "sub" / "x.dvlite").write_text("dvlite: 1\nkind: file\noid: nonsense\nsize: 1\n")
    with pytest.raises(FormatError, match=r"cannot read 'x.dvlite' line 3"):
        opened(work / "sub").work_tree.tracked()


def test_a_linked_pointer_is_not_followed(work, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (work / "x.dvlite").symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError, match="symbolic link") as caught:
        opened(work).work_tree.tracked()
    assert "secret" not in caught.value.message


def test_a_pointer_behind_a_link_is_gone(work, tmp_path):
    commit(work, **{"data/x": "1"})
    (work / "data").rename(tmp_path / "data")
    (work / "data").symlink_to(tmp_path / "data")
    assert opened(work).work_tree.tracked() == []


def test_a_fifo_among_the_pointers_blocks_nothing(work):
    commit(work, x="1")
    (work / "x.dvlite").unlink()
    os.mkfifo(work / "x.dvlite")
    with pytest.raises(FormatError, match="not an ordinary file"):
        opened(work).work_tree.tracked()


def test_overlapping_tracked_paths_are_refused(work):
    put(work, **{"data": "1", "data/in/side": "2", "data-2": "3"})
    with pytest.raises(FormatError, match="'data/in/side' is inside 'data'"):
        opened(work).work_tree.tracked()
    assert overlap(["a-b", "a", "b", "a b"]) is None
    assert overlap(["a/b", "a-b", "a"]) == ("a", "a/b")


def test_what_cannot_be_used_can_be_set_aside_with_its_file(work):
    put(work, **{"good": "1", "sub/broken": "2", "data": "3", "data/in/side": "4"})
    (work / "sub" / "broken.dvlite").write_text("nonsense\n")
    (work / "dvlite.lock").write_text("nonsense\n")
    broken: list[DvliteError] = []
    assert [item.path for item in opened(work).work_tree.tracked(broken)] == ["data", "good"]
    assert [error.file for error in broken] == ["dvlite.lock", "sub/broken.dvlite", "data/in/side.dvlite"]
    assert all(isinstance(error, Unusable) and error.hint for error in broken)
    with pytest.raises(Unusable, match=r"'dvlite.lock' line 1"):
        opened(work).work_tree.tracked()


def test_a_file_that_only_looks_like_a_lockfile_is_none(work):
    for name in ("my-dvlite.lock", "dvlite.lock.txt", "sub/dvlite.lock.d/x"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("nonsense\n")
    (work / "other").mkdir()
    (work / "other" / "dvlite.lock").mkdir()
    (work / "other" / "dvlite.lock" / "x").write_text("nonsense\n")
    commit(work)
    repo = opened(work)
    assert (repo.work_tree.tracked(), repo.at("HEAD").tracked(), repo.work_tree.lockfiles()) == ([], [], [])
    assert list(repo.git.lockfile_changes("--all")) == []


def test_one_run_of_git_lists_all_that_is_tracked(work, monkeypatch):
    put(work, a="1")
    (work / "dvlite.yaml").write_text("stages: {}\n")
    (work / "dvlite.lock").write_bytes(b"dvlite: 1\nstages:\n# end\n")
    repo = opened(work)
    runs = []
    original = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: runs.append(args) or original(*args, **kwargs))
    repo.work_tree.tracked()
    assert (repo.work_tree.pipeline_files(as_seen=True), repo.work_tree.lockfiles(as_seen=True)) == (
        ["dvlite.yaml"],
        ["dvlite.lock"],
    )
    assert len(runs) == 1


@pytest.mark.parametrize("path", [".git/config", ".GIT/x", "a/.git", ".gitattributes", "sub/.gitmodules", ".dvlite/x", ".Dvliteignore",
                                  "x.dvlite", "dvlite.lock", "a//b", "../x", "git~1/x", ".g\u200cit/x"])  # fmt: skip
def test_names_of_git_and_dvlite_cannot_be_tracked(path):
    assert why_untrackable(path)


@pytest.mark.parametrize("path", ["data", ".github/data", "gitlab", ".config/x", "a b", "ünï", "dvlite", "--help"])
def test_ordinary_names_can_be_tracked(path):
    assert why_untrackable(path) is None


def test_a_pointer_to_a_refused_path_is_refused(work):
    put(work, **{".gitattributes": "1"})
    with pytest.raises(FormatError, match=r"refused '.gitattributes.dvlite'"):
        opened(work).work_tree.tracked()


def test_tracked_at_a_revision_needs_no_work_tree(work):
    first = commit(work, a="1")
    commit(work, a="2", b="3")
    (work / "a.dvlite").unlink()
    repo = opened(work)
    assert repo.at(first).tracked() == [Tracked("a", version("1"))]
    assert repo.at("HEAD").tracked() == [Tracked("a", version("2")), Tracked("b", version("3"))]
