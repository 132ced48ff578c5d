"""The small files of a work tree are opened with care: they come with a clone, and anything may stand in the place of one."""

import os
import subprocess

import pytest

from dvlite.errors import FormatError
from dvlite.repo import ignore
from dvlite.repo.repository import open_repo
from dvlite.repo.revisions import Revision, files_to_commit, limit_of

NAMES = ("dvlite.lock", "sub/dvlite.yaml", "data.bin.dvlite", "params.yaml")


@pytest.fixture
def work_tree(git_repo):
    return open_repo(git_repo, os.environ, must_be_initialised=False).work_tree


@pytest.fixture
def devices(tmp_path):
    """Returns where a device that never ends and a FIFO with no one at its other end are."""
    os.mkfifo(tmp_path / "fifo")
    return "/dev/zero", str(tmp_path / "fifo")


@pytest.mark.parametrize("name", NAMES)
def test_a_link_to_a_device_is_refused(name, git_repo, work_tree, devices):
    (git_repo / "sub").mkdir()
    for target in devices:
        os.symlink(target, git_repo / name)
        with pytest.raises(FormatError, match="symbolic link") as caught:
            work_tree.read(name)
        assert caught.value.file == name
        os.unlink(git_repo / name)


def test_a_fifo_is_refused_without_waiting(git_repo, work_tree, devices):
    os.rename(devices[1], git_repo / "dvlite.lock")
    with pytest.raises(FormatError, match="not an ordinary file"):
        work_tree.read("dvlite.lock")


@pytest.mark.parametrize("name", NAMES)
def test_no_more_is_read_than_shows_that_a_file_is_too_long(name, git_repo, work_tree):
    (git_repo / "sub").mkdir()
    (git_repo / name).touch()
    os.truncate(git_repo / name, limit_of(name) * 3)
    assert len(work_tree.read(name)) == limit_of(name) + 1


def test_a_file_that_is_not_there_is_none(git_repo, work_tree):
    (git_repo / "file").touch()
    assert work_tree.read("dvlite.lock") is None
    assert work_tree.read("file/dvlite.lock") is None


def test_the_list_of_what_is_left_out_is_no_link_to_a_device(git_repo, devices, work_tree):
    for target in devices:
        os.symlink(target, git_repo / ignore.FILE_NAME)
        with pytest.raises(FormatError, match="symbolic link"):
            _ = work_tree.ignore_rules
        os.unlink(git_repo / ignore.FILE_NAME)


# --- a commit, and what a clone would have of the work tree ---


def commit(folder):
    for arguments in (["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def test_a_commit_has_its_own_files_whatever_the_work_tree_has(git_repo, work_tree):
    (git_repo / "params.yaml").write_text("a: 1\n")
    os.symlink("params.yaml", git_repo / "link")
    commit(git_repo)
    (git_repo / "params.yaml").write_text("a: 2\n")
    at = open_repo(git_repo, os.environ, must_be_initialised=False).at("HEAD")
    assert (at.read("params.yaml"), work_tree.read("params.yaml"), at.read("none")) == (b"a: 1\n", b"a: 2\n", None)
    assert (list(at.names), at.real("link"), at.is_on_disk) == (["link", "params.yaml"], "params.yaml", False)
    with pytest.raises(FormatError, match=r"'HEAD:link'.*symbolic link"):
        at.read("link")
    with pytest.raises(FormatError, match=r"'HEAD:params.yaml'.*at most 1 bytes"):
        at.read("params.yaml", 1)


def test_what_would_be_committed_is_without_ignored_files_and_with_those_left_out_of_the_checkout(git_repo):
    for name in ("kept.txt", "left/out.txt", ".gitignore"):
        (git_repo / name).parent.mkdir(exist_ok=True)
        (git_repo / name).write_text("own\n" if name != ".gitignore" else "*.log\n")
    commit(git_repo)
    subprocess.run(["git", "-C", str(git_repo), "sparse-checkout", "set", "--no-cone", "/*", "!/left/"], check=True)
    (git_repo / "a.log").touch()
    (git_repo / "new.txt").touch()
    git = open_repo(git_repo, os.environ, must_be_initialised=False).git
    at = Revision(git, "workspace", str, files=files_to_commit(git))
    assert list(at.names) == [".gitignore", "kept.txt", "left/out.txt", "new.txt"]
    assert (at.read("left/out.txt"), at.read("a.log"), at.read("new.txt")) == (b"own\n", None, b"")
    assert (at.is_ignored("a.log"), at.is_ignored("new.txt"), at.in_git("new.txt")) == (True, False, [])
