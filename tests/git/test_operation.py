"""What git is in the middle of: real merges, picks and rebases that stop at a conflict."""

import subprocess

import pytest

from dvlite.git import operation
from tests.git.repositories import commit, git


@pytest.fixture
def forked(git_repo):
    """Returns a repository with two branches that edit one file, its `.git`, and the commits of `main` and `side`."""
    commit(git_repo, {"a": "base"})
    git(git_repo, "branch", "side")
    ours = commit(git_repo, {"a": "ours"})
    git(git_repo, "checkout", "--quiet", "side")
    theirs = commit(git_repo, {"a": "theirs"})
    git(git_repo, "checkout", "--quiet", "main")
    return git_repo, git_repo / ".git", ours, theirs


def stops(repo, *arguments):
    assert subprocess.run(["git", *arguments], cwd=repo, capture_output=True).returncode


def test_nothing_is_under_way(forked):
    _, git_dir, *_ = forked
    assert operation.others(git_dir) == []
    assert not operation.is_replaying(git_dir)
    assert not operation.is_rebasing(git_dir)
    assert not operation.has_steps_left(git_dir)
    assert operation.before_rebase(git_dir) is operation.before_merge(git_dir) is None


def test_a_merge_names_what_is_merged(forked):
    repo, git_dir, ours, theirs = forked
    stops(repo, "merge", "side")
    assert operation.others(git_dir) == [theirs]
    assert operation.is_replaying(git_dir)
    assert not operation.is_rebasing(git_dir)
    assert operation.before_merge(git_dir) == ours


def test_a_pick_names_what_is_picked(forked):
    repo, git_dir, _, theirs = forked
    stops(repo, "cherry-pick", "side")
    assert operation.others(git_dir) == [theirs]
    assert operation.is_replaying(git_dir)


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
def test_a_rebase_has_steps_left_until_its_last(forked, backend):
    repo, git_dir, *_ = forked
    last = commit(repo, {"b": "more"})
    stops(repo, "rebase", backend, "side")
    assert operation.is_rebasing(git_dir)
    assert operation.is_replaying(git_dir)
    assert operation.has_steps_left(git_dir)
    assert operation.before_rebase(git_dir) == last
    git(repo, "rebase", "--abort")
    assert not operation.is_rebasing(git_dir)


def test_files_of_git_that_hold_something_else_name_no_commit(forked):
    _, git_dir, *_ = forked
    (git_dir / "MERGE_HEAD").write_bytes(b"\xff not a commit\n" * 100_000)
    assert operation.others(git_dir) == []
    assert operation.is_replaying(git_dir)
