"""Git, run as a program: what it is asked, and what it cannot be made to do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dvlite.errors import Busy, NotARepository, UsageError
from dvlite.files import temporary_name
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from tests.repo.repositories import commit, git, opened, put, write_config


# --- opening
def test_a_git_repository_without_dvlite_says_how_to_begin(git_repo):
    with pytest.raises(NotARepository, match="not initialised") as caught:
        opened(git_repo)
    assert caught.value.hint == "dvlite init"
    assert not open_repo(git_repo, os.environ, must_be_initialised=False).is_initialised


def test_the_places_of_a_worktree(work, tmp_path):
    commit(work)
    git(work, "worktree", "add", "--quiet", str(tmp_path / "other"))
    main, other = opened(work), opened(tmp_path / "other")
    assert main.cache_dir == other.cache_dir == work / ".git" / "dvlite" / "cache"
    assert main.state_dir == work / ".git" / "dvlite"
    assert other.state_dir == work / ".git" / "worktrees" / "other" / "dvlite"


def test_a_chosen_cache_is_relative_to_the_root_or_in_a_variable_to_the_current_folder(work, tmp_path):
    (work / "sub").mkdir()
    write_config(work, "cache: {dir: ../big}\n", "config.local.yaml")
    assert opened(work / "sub").cache_dir == tmp_path / "big"
    assert opened(work / "sub", DVLITE_CACHE_DIR="here").cache_dir == work / "sub" / "here"
    assert opened(work, DVLITE_CACHE_DIR="~/c").cache_dir == Path(os.environ["HOME"]) / "c"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user_is_opened_only_if_git_trusts_it(work):
    os.chown(work / ".git", 12345, 12345)
    os.chown(work, 12345, 12345)
    with pytest.raises(NotARepository, match="dubious ownership") as caught:
        opened(work)
    assert "safe.directory" in caught.value.hint
    git(work.parent, "config", "--global", "--add", "safe.directory", str(work))
    assert opened(work).root == work


def test_a_small_repository_opens_and_lists_without_slow_imports_and_starts_git_once(work):
    commit(work, **{f"data/{n}": str(n) for n in range(20)})
    code = (
        "import os, pathlib, subprocess, sys; started = []; start = subprocess.Popen.__init__\n"
        "subprocess.Popen.__init__ = lambda *args, **options: (started.append(args), start(*args, **options))[1]\n"
        "from dvlite.repo.repository import open_repo; open_repo(pathlib.Path('.'), os.environ).work_tree.tracked()\n"
        "print(len(started), *({'yaml', 'botocore', 'fsspec', 'rich', 'pathspec', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=work, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1"]


# --- paths
def test_paths_become_relative_to_the_root_and_back(work):
    (work / "a" / "b").mkdir(parents=True)
    repo = opened(work / "a")
    assert repo.relative("b/../c.bin") == "a/c.bin"
    assert repo.relative("../x") == "x"
    assert repo.relative("..") == ""
    assert repo.relative(work / "a" / "n\new") == "a/n\new"
    assert (repo.display("a/b/c"), repo.display("x"), repo.display("")) == ("b/c", "../x", "..")
    assert opened(work).display("") == "."


def test_a_path_written_through_a_link_to_the_repository_is_inside_it(work, tmp_path):
    (tmp_path / "link").symlink_to(work)
    repo = opened(work)
    assert repo.relative(tmp_path / "link" / "x") == "x"
    assert repo.relative(tmp_path / "link") == ""
    assert opened(tmp_path / "link").root == work


def test_a_link_itself_can_be_named(work):
    (work / "link").symlink_to("/tmp")
    assert opened(work).relative("link") == "link"


@pytest.mark.parametrize("path", ["..", "../x", "/etc/passwd", "a/../../x", "/"])
def test_a_path_outside_is_refused_by_name(work, path):
    with pytest.raises(UsageError, match=re.escape(f"'{path}' is outside the repository")):
        opened(work).relative(path)


@pytest.mark.parametrize("target", ["/tmp", "real"])
def test_a_path_behind_a_link_is_refused(work, target):
    (work / "real").mkdir()
    (work / "link").symlink_to(target)
    with pytest.raises(UsageError, match="behind a symbolic link"):
        opened(work).relative("link/x")


# --- changes
def test_staging_follows_the_settings_and_stages_removals(work):
    commit(work, a="1")
    (work / "a.dvlite").unlink()
    put(work, b="2")
    assert opened(work).stage(["a.dvlite", "b.dvlite"], enabled=False) == ()
    write_config(work, "core: {autostage: false}\n", "config.local.yaml")
    assert opened(work).stage(["a.dvlite", "b.dvlite"]) == ()
    assert opened(work).stage(["a.dvlite", "b.dvlite"], enabled=True) == ("a.dvlite", "b.dvlite")
    assert git(work, "status", "--short") == "D  a.dvlite\nA  b.dvlite"


def test_a_tracked_path_is_ignored_with_and_without_its_pointer(work):
    (work / "data").mkdir()
    repo = opened(work)
    assert repo.ensure_ignored(["data/x", "top"]) == [".gitignore", "data/.gitignore"]
    assert repo.ensure_ignored(["data/x", "top"]) == []
    assert (work / "data" / ".gitignore").read_text() == "/x\n"
    (work / "data" / ".gitignore").unlink()
    assert repo.git.ignored(["data/x", "top", "x"]) == {"data/x", "top"}
    assert repo.forget_ignored(["data/x", "top"]) == [".gitignore"]
    assert repo.git.ignored(["data/x", "top"]) == set()


def test_git_ignores_what_a_killed_writer_leaves_in_a_clone_that_git_made(work, tmp_path):
    commit(work, x="1")
    git(tmp_path, "clone", "-q", str(work), "other")
    other = tmp_path / "other"
    with opened(other).lock(NullProgress()):
        (other / temporary_name()).mkdir()
        (other / temporary_name()).write_bytes(b"half of a file")
    assert git(other, "status", "--porcelain", "-uall") == ""


def test_the_lock_is_exclusive(work):
    with opened(work).lock(NullProgress()), pytest.raises(Busy), opened(work).lock(NullProgress(), wait=False):
        pass
    with opened(work).lock(NullProgress(), wait=False):
        pass
