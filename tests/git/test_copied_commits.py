"""Copies of commits on a branch of their own."""

from dvlite.git.copied_commits import Copy, commit_texts, copy_of, write_copies
from tests.git.repositories import commit, git, opened

ODD, NEW = 'a "b"\\\n\té.txt', 'new "x"/y'
WHAT = "--format=%an %ae %at %cn %ct %s"


def test_a_copy_is_its_commit_but_for_the_files_that_change(git_repo):
    first = commit(git_repo, {".dvc/config": "", ODD: "odd"}, "First\n\ndata 3\n")
    git(git_repo, "checkout", "-qb", "side")
    side = commit(git_repo, {"side": "side"})
    git(git_repo, "checkout", "-q", "--orphan", "other")
    other = commit(git_repo, {}, "Another root")
    git(git_repo, "merge", "-q", "-m", "Merge", "--allow-unrelated-histories", "-s", "ours", first)
    merged = git(git_repo, "rev-parse", "HEAD")
    refs, repo = git(git_repo, "for-each-ref"), opened(git_repo)
    *texts, last = commit_texts(repo, [first, other, merged, side])
    assert write_copies(repo, [*(Copy(text, [ODD], {NEW: b"y\n"}) for text in texts), Copy(last)], "copies") == 4
    made = {name: copy_of(repo, name) or "" for name in (first, other, merged, side)}
    parents = {name: git(git_repo, "show", "-s", "--format=%P", copy).split() for name, copy in made.items()}
    start = git(git_repo, "rev-parse", f"{first}^")  # has no copy
    assert parents == {first: [start], other: [], merged: [made[other], made[first]], side: [made[first]]}
    for name, copy in made.items():
        assert git(git_repo, "show", "-s", WHAT, copy) == git(git_repo, "show", "-s", WHAT, name)
        changed = git(git_repo, "diff", "--name-status", "--no-renames", "-z", name, copy)
        assert sorted(changed.split("\0")) == ([""] if name == side else sorted(["", "D", ODD, "A", NEW]))
    assert {*made.values()} <= {*git(git_repo, "rev-list", "copies").split()}
    assert copy_of(repo, "copies") is None
    git(git_repo, "branch", "-D", "copies")
    assert git(git_repo, "for-each-ref") == refs
    assert copy_of(repo, first) is None
