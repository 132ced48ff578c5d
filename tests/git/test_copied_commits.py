"""Copies of commits on a branch of their own."""

from dvlite.git.copied_commits import BRANCH, copy_of, read_commits, write_copies
from tests.git.repositories import commit, git, opened

ODD, NEW = 'a "b"\\\n\té.txt', 'new "x"/y'
WHAT = "--format=%an %ae %at %cn %ct %s"


def test_a_copy_is_its_commit_but_for_the_files_that_change(git_repo, tmp_path):
    first = commit(git_repo, {".dvc/config": "", ODD: "odd"}, "First\n\ndata 3\n")
    git(git_repo, "checkout", "-qb", "side")
    side = commit(git_repo, {"side": "side"})
    git(git_repo, "checkout", "-q", "--orphan", "other")
    other = commit(git_repo, {}, "Another root")
    git(git_repo, "merge", "-q", "-m", "Merge", "--allow-unrelated-histories", "-s", "ours", first)
    merged = git(git_repo, "rev-parse", "HEAD")
    refs, repo = git(git_repo, "for-each-ref"), opened(git_repo)
    *texts, last = read_commits(repo, [first, other, merged, side])
    copies = [*((text, {ODD: None, "none/x": None, NEW: b"y\n"}) for text in texts), (last, {})]
    assert write_copies(repo, copies, tmp_path) == 4
    made = {name: copy_of(repo, name) or "" for name in (first, other, merged, side)}
    parents = {name: git(git_repo, "show", "-s", "--format=%P", copy).split() for name, copy in made.items()}
    start = git(git_repo, "rev-parse", f"{first}^")  # has no copy
    assert parents == {first: [start], other: [], merged: [made[other], made[first]], side: [made[first]]}
    for name, copy in made.items():
        assert git(git_repo, "show", "-s", WHAT, copy) == git(git_repo, "show", "-s", WHAT, name)
        changed = git(git_repo, "diff", "--name-status", "--no-renames", "-z", name, copy)
        assert sorted(changed.split("\0")) == ([""] if name == side else sorted(["", "D", ODD, "A", NEW]))
    assert {*made.values()} <= {*git(git_repo, "rev-list", BRANCH).split()}
    assert copy_of(repo, BRANCH) is None
    git(git_repo, "branch", "-D", BRANCH)
    assert git(git_repo, "for-each-ref") == refs
    assert copy_of(repo, first) is None


def test_a_message_that_names_another_copy_stands_for_none(git_repo, tmp_path):
    first = commit(git_repo, {"a": "1"}, "First")
    second = commit(git_repo, {"a": "2"}, f"Second\n\nCopy-of: {first}")
    repo = opened(git_repo)
    assert write_copies(repo, [(text, {}) for text in read_commits(repo, [first, second])], tmp_path) == 2
    found = [copy_of(repo, name) or "" for name in (first, second)]
    assert [git(git_repo, "show", "-s", "--format=%s", name) for name in found] == ["First", "Second"]


def test_a_commit_that_git_would_not_write_today_is_copied(git_repo, tmp_path):
    repo = opened(git_repo)
    tree = git(git_repo, "rev-parse", "HEAD^{tree}")
    data = f"tree {tree}\nauthor Old <a> <b> 12 +0000\ncommitter C <c> 12 +051800\n\nOdd\n".encode()
    odd = repo.run("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=data).decode().strip()
    (text,) = read_commits(repo, [odd])
    assert (write_copies(repo, [(text, {})], tmp_path), text.email, text.time_ns) == (1, "", 0)
    assert git(git_repo, "show", "-s", "--format=%an %ct %s", copy_of(repo, odd)) == "Old 12 Odd"
