"""Where the repository is: from a folder inside it, a worktree, a submodule."""

import os

import pytest

from dvlite.errors import NotARepository
from dvlite.git.discover import find
from tests.git.repositories import git


def test_the_work_tree_is_found_from_a_folder_inside_it(git_repo):
    (git_repo / "a" / "b").mkdir(parents=True)
    places = find(git_repo / "a" / "b", os.environ)
    assert (places.root, places.git_dir, places.common_dir) == (git_repo, git_repo / ".git", git_repo / ".git")


def test_a_worktree_has_its_own_git_folder_and_shares_the_common_one(git_repo, tmp_path):
    git(git_repo, "worktree", "add", "--quiet", str(tmp_path / "other"))
    places = find(tmp_path / "other", os.environ)
    assert places.root == tmp_path / "other"
    assert places.git_dir == git_repo / ".git" / "worktrees" / "other"
    assert places.common_dir == git_repo / ".git"


def test_a_submodule_is_a_repository_of_its_own(git_repo, tmp_path):
    git(tmp_path, "clone", "--quiet", str(git_repo), "outer")
    outer = tmp_path / "outer"
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(git_repo), "inner")
    places = find(outer / "inner", os.environ)
    assert places.root == outer / "inner"
    assert places.git_dir == places.common_dir == outer / ".git" / "modules" / "inner"


@pytest.mark.parametrize("arguments", [("--bare",), ()], ids=["bare", "inside .git"])
def test_a_git_directory_is_not_a_work_tree(tmp_path, arguments):
    git(tmp_path, "init", "--quiet", *arguments, "x")
    with pytest.raises(NotARepository, match="without a work tree"):
        find(tmp_path / "x" / ("" if arguments else ".git"), os.environ)


def test_outside_of_a_repository_the_hint_is_git_init(tmp_path):
    with pytest.raises(NotARepository, match="there is no folder"):
        find(tmp_path / "moved", {})
    with pytest.raises(NotARepository) as caught:
        find(tmp_path, os.environ)
    assert "git init" in caught.value.hint
    assert caught.value.exit_code == 10


def test_a_git_file_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / ".git").write_text("gitdir: /nonexistent\n")
    with pytest.raises(NotARepository, match="does not lead"):
        find(tmp_path, os.environ)


def test_the_ceiling_is_not_passed(git_repo):
    (git_repo / "a" / "b").mkdir(parents=True)
    with pytest.raises(NotARepository):
        find(git_repo / "a" / "b", {"GIT_CEILING_DIRECTORIES": str(git_repo / "a")})


def test_a_fifo_in_place_of_a_file_of_git_is_not_waited_for(git_repo):
    os.mkfifo(git_repo / ".git" / "commondir")
    assert find(git_repo, os.environ).common_dir == git_repo / ".git"
