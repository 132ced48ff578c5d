"""Git, run as a program: what it is asked, and what it cannot be made to do."""

import os
import subprocess

import pytest

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.git.output import Change, FileStatus
from dvlite.git.program import clone_into, program, without_credentials
from tests.git.repositories import commit, git, opened


# --- running git
def test_a_git_in_the_work_tree_is_never_run(git_repo, tmp_path, monkeypatch):
    fake = git_repo / "git"
    fake.write_text(f"#!/bin/sh\ntouch {tmp_path}/PWNED\n")
    fake.chmod(0o755)
    monkeypatch.chdir(git_repo)
    opened(git_repo, PATH=f".::{git_repo}:{os.environ['PATH']}").head()
    assert not (tmp_path / "PWNED").exists()


def test_without_git_the_error_says_so(tmp_path):
    with pytest.raises(DvliteError, match="cannot find the program 'git'"):
        program({"PATH": str(tmp_path)})


def test_neither_hooks_nor_a_file_system_monitor_run(git_repo, tmp_path):
    hook = tmp_path / "pwn"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/PWNED\n")
    hook.chmod(0o755)
    git(git_repo, "config", "core.fsmonitor", str(hook))
    git(git_repo, "config", "core.hooksPath", str(tmp_path))
    (tmp_path / "post-index-change").symlink_to(hook)
    repo = opened(git_repo)
    (git_repo / "x.dvlite").write_text("x")
    repo.tracking_files()
    repo.stage(["x.dvlite"])
    repo.status()
    assert not (tmp_path / "PWNED").exists()


def test_what_git_tracks_is_not_ignored_whatever_matches_it(git_repo):
    commit(git_repo, {"kept/a.bin": "", "b.bin": ""})
    (git_repo / ".gitignore").write_text("*.bin\nkept/\ngone/\n")
    asked = ["kept", "kept/a.bin", "kept/new", "b.bin", "c.bin", "gone", "gone/x", "other"]
    assert opened(git_repo).ignored(asked) == {"kept/new", "c.bin", "gone/x"}  # as without --no-index


def test_variables_that_point_git_elsewhere_have_no_effect(git_repo, tmp_path):
    git(tmp_path, "init", "--quiet", "other")
    head = git(git_repo, "rev-parse", "HEAD")
    repo = opened(
        git_repo,
        GIT_DIR=str(tmp_path / "other" / ".git"),
        GIT_WORK_TREE=str(tmp_path),
        GIT_INDEX_FILE=str(tmp_path / "index"),
    )
    assert repo.head() == head


def test_the_index_that_git_gives_a_hook_is_used(git_repo):
    (git_repo / "x.dvlite").write_text("x")
    opened(git_repo, GIT_INDEX_FILE=".git/next-index").stage(["x.dvlite"])
    assert git(git_repo, "ls-files") == ""
    assert (git_repo / ".git" / "next-index").exists()


def test_a_failure_gives_the_first_line_of_git(git_repo):
    with pytest.raises(DvliteError, match="git cat-file failed: Not a valid object name nonsense"):
        opened(git_repo).run("cat-file", "blob", "nonsense")


def test_a_locked_index_is_explained(git_repo):
    (git_repo / ".git" / "index.lock").touch()
    (git_repo / "x.dvlite").touch()
    with pytest.raises(DvliteError) as caught:
        opened(git_repo).stage(["x.dvlite"])
    assert "another git command" in caught.value.hint


# --- pointers
def test_pointer_files_are_those_git_tracks_or_would(git_repo):
    commit(git_repo, {"gone.dvlite": "1", "data/a b.dvlite": "2", "code.py": "3", ".dvlite/config.yaml": "4"})
    (git_repo / "gone.dvlite").unlink()
    (git_repo / "nëw\n.dvlite").write_text("5")
    (git_repo / "out").mkdir()
    (git_repo / "out" / "x.dvlite").write_text("6")
    (git_repo / ".gitignore").write_text("/out\n")
    assert opened(git_repo).tracking_files() == ["data/a b.dvlite", "gone.dvlite", "nëw\n.dvlite"]


def test_the_pointers_of_a_commit_are_read_with_their_content(git_repo):
    first = commit(git_repo, {"a.dvlite": "old", "b/c.dvlite": "same", "code.py": "x"})
    second = commit(git_repo, {"a.dvlite": "new"})
    repo = opened(git_repo)
    for head, expected in ((first, b"old"), (second, b"new")):
        blobs = repo.pointer_blobs(head)
        contents = repo.read_blobs(blobs.values(), limit_bytes=100)
        assert {path: contents[blob] for path, blob in blobs.items()} == {"a.dvlite": expected, "b/c.dvlite": b"same"}


def test_many_pointers_are_read_with_one_run_of_git(git_repo, monkeypatch):
    """More than fit into the pipes to git and from it."""
    made = {f"d/{n}.dvlite": f"content {n}".ljust(60) for n in range(3000)}
    stream = ["commit refs/heads/main\ncommitter Test <test@example.com> 1 +0000\ndata 1\nx\n"]
    stream += [f"M 100644 inline {name}\ndata {len(text)}\n{text}\n" for name, text in made.items()]
    subprocess.run(
        ["git", "fast-import", "--quiet", "--force"], cwd=git_repo, input="".join(stream).encode(), check=True
    )
    repo = opened(git_repo)
    blobs = repo.pointer_blobs("HEAD")
    started = []
    start = subprocess.Popen.__init__
    monkeypatch.setattr(
        subprocess.Popen, "__init__", lambda *args, **how: (started.append(args), start(*args, **how))[1]
    )
    contents = repo.read_blobs(blobs.values(), limit_bytes=100)
    assert {name: contents[blob].decode() for name, blob in blobs.items()} == made
    assert len(started) == 1


def test_a_pointer_that_is_too_large_is_refused_before_it_is_read(git_repo):
    commit(git_repo, {"a.dvlite": "x" * 101})
    repo = opened(git_repo)
    with pytest.raises(FormatError, match="at most 100 bytes"):
        repo.read_blobs(repo.pointer_blobs("HEAD").values(), limit_bytes=100)


def test_a_committed_link_is_no_pointer(git_repo):
    (git_repo / "a.dvlite").symlink_to("/etc/passwd")
    git(git_repo, "add", "--all")
    git(git_repo, "commit", "--quiet", "-m", "Link")
    with pytest.raises(FormatError, match="not an ordinary file"):
        opened(git_repo).pointer_blobs("HEAD")


def test_one_file_of_a_commit(git_repo):
    head = commit(git_repo, {"odd\nname*.txt": "text"})
    repo = opened(git_repo)
    assert repo.read_file(head, "odd\nname*.txt", limit_bytes=100) == b"text"
    assert repo.read_file(head, "other", limit_bytes=100) is None


def test_changes_come_newest_first_and_follow_renames(git_repo):
    first = commit(git_repo, {"a.dvlite": "content one\n" * 5})
    git(git_repo, "mv", "a.dvlite", "b.dvlite")
    git(git_repo, "commit", "--quiet", "-m", "Move")
    moved = git(git_repo, "rev-parse", "HEAD")
    last = commit(git_repo, {"b.dvlite": "content two\n" * 5, "code.py": "x"})
    changes = list(opened(git_repo).pointer_changes("HEAD"))
    assert [(c.commit, c.path, c.old_path) for c in changes] == [
        (last, "b.dvlite", None),
        (moved, "b.dvlite", "a.dvlite"),
        (first, "a.dvlite", None),
    ]


def test_every_version_on_every_side_of_a_merge_is_found(git_repo):
    commit(git_repo, {"a.dvlite": "1"})
    git(git_repo, "checkout", "--quiet", "-b", "side")
    commit(git_repo, {"a.dvlite": "2"})
    git(git_repo, "checkout", "--quiet", "main")
    commit(git_repo, {"a.dvlite": "3"})
    subprocess.run(["git", "merge", "--quiet", "side"], cwd=git_repo, capture_output=True)
    commit(git_repo, {"a.dvlite": "4"}, "Merge by hand")
    git(git_repo, "rm", "--quiet", "a.dvlite")
    git(git_repo, "commit", "--quiet", "-m", "Remove")
    repo = opened(git_repo)
    blobs = {c.blob for c in repo.pointer_changes("--all", "HEAD", every=True) if c.blob}
    assert {*repo.read_blobs(blobs, limit_bytes=9).values()} == {b"1", b"2", b"3", b"4"}


def test_reading_changes_may_stop_early(git_repo):
    commit(git_repo, {"a.dvlite": "1"})
    assert isinstance(next(opened(git_repo).pointer_changes("HEAD")), Change)


# --- revisions
def test_revisions_resolve_to_commits(git_repo):
    head = git(git_repo, "rev-parse", "HEAD")
    git(git_repo, "tag", "-a", "v1", "-m", "One")
    repo = opened(git_repo)
    assert {repo.resolve(name) for name in ("HEAD", "main", "v1", head[:8])} == {head}


@pytest.mark.parametrize("revision", ["nonsense", "--all", "--output=x", "HEAD:file", "", "HEAD~99", "a\0b"])
def test_what_is_no_revision_is_refused(git_repo, revision):
    with pytest.raises(UsageError):
        opened(git_repo).resolve(revision)


def test_the_hint_for_an_unknown_commit_is_about_this_clone(git_repo):
    git(git_repo, "update-ref", "refs/remotes/origin/topic", "HEAD")
    for revision, hint in {"topic~1": "'origin/topic~1'", "nothing": "git fetch --tags"}.items():
        with pytest.raises(UsageError) as caught:
            opened(git_repo).resolve(revision)
        assert hint in caught.value.hint
    (git_repo / ".git" / "shallow").write_text("")
    with pytest.raises(UsageError, match="shallow") as caught:
        opened(git_repo).resolve("nothing")
    assert "fetch-depth: 0" in caught.value.hint


def test_before_the_first_commit_there_is_no_head(tmp_path):
    git(tmp_path, "init", "--quiet", "new")
    repo = opened(tmp_path / "new")
    assert repo.head() is None
    with pytest.raises(UsageError, match="no commit yet"):
        repo.resolve("HEAD~1")
    assert list(repo.pointer_changes("--all", every=True)) == []


def test_commits_of_branches_and_tags(git_repo):
    first = git(git_repo, "rev-parse", "HEAD")
    git(git_repo, "tag", "-a", "v1", "-m", "One")
    git(git_repo, "tag", "light")
    second = commit(git_repo, {"x": "y"})
    git(git_repo, "tag", "tree", "HEAD^{tree}")
    repo = opened(git_repo)
    assert repo.commits_of("refs/tags") == [first]
    assert repo.commits_of("refs/heads") == [second]
    assert repo.merge_base(first, second) == first


# --- index
def test_staged_tracked_and_removed(git_repo):
    (git_repo / "*.dvlite").write_text("1")
    (git_repo / "a.dvlite").write_text("2")
    repo = opened(git_repo)
    repo.stage(["*.dvlite"])  # a name, not a pattern
    assert repo.tracked_under(["*.dvlite", "a.dvlite", "none"]) == ["*.dvlite"]
    assert repo.status() == [FileStatus("*.dvlite", "A", "."), FileStatus("a.dvlite", "?", "?")]
    repo.remove_cached(["*.dvlite", "never-there"])
    assert repo.tracked_under(["*.dvlite"]) == []
    assert (git_repo / "*.dvlite").exists()


def test_files_tracked_below_a_folder_are_found_for_few_and_many(git_repo):
    commit(git_repo, {"data/a": "1", "data/deep/b": "2", "other": "3"})
    repo = opened(git_repo)
    assert repo.tracked_under(["data"]) == ["data/a", "data/deep/b"]
    assert repo.tracked_under(["data", *(f"x{n}" for n in range(200))]) == ["data/a", "data/deep/b"]


def test_staging_what_git_ignores_names_it(git_repo):
    (git_repo / ".gitignore").write_text("data/\n")
    (git_repo / "data").mkdir()
    (git_repo / "data" / "x.dvlite").write_text("1")
    with pytest.raises(DvliteError, match=r"cannot stage 'data/x\.dvlite': git ignores it") as caught:
        opened(git_repo).stage(["data/x.dvlite"])
    assert "check-ignore" in caught.value.hint


def test_reading_writes_nothing_into_git(git_repo):
    commit(git_repo, {"x.dvlite": "1"})
    os.utime(git_repo / "x.dvlite", (1, 1))  # git would like to note the new time in its index
    index = (git_repo / ".git" / "index").read_bytes()
    assert opened(git_repo).status() == []
    assert (git_repo / ".git" / "index").read_bytes() == index


# --- settings and clones
def test_settings_are_read_and_written(git_repo):
    repo = opened(git_repo)
    assert repo.config_get("diff.dvlite.command") is None
    repo.config_set("diff.dvlite.command", 'a "b" c')
    assert repo.config_get("diff.dvlite.command") == 'a "b" c'
    assert repo.remote_url() is None


def test_a_clone_is_made_and_a_failure_shows_no_password(git_repo, tmp_path):
    clone_into(str(git_repo), tmp_path / "copy", os.environ)
    assert opened(tmp_path / "copy").remote_url() == str(git_repo)
    with pytest.raises(DvliteError, match=r"could not clone 'file:///nonexistent'"):
        clone_into("file://user:secret@/nonexistent", tmp_path / "none", os.environ)
    assert without_credentials("https://me:pw@host/x") == "https://host/x"
