"""Hooks where git is called in unusual ways and beside hooks that look at how they are called; the git commands that a clone is given."""

import os
import subprocess

import pytest

from tests.commands.hooked import Hooked, said

# One script for all hooks, with a file beside it, as of Overcommit.
ONE_FOR_ALL = """#!/bin/sh
. "$(dirname "$0")/words.sh"
echo "$word $(basename "$0") in $(cd "$(dirname "$0")/.." && basename "$(pwd)")" >&2
"""
# husky's `.husky/_/h`
HUSKY = """#!/usr/bin/env sh
own=$(dirname "$(dirname "$0")")/$(basename "$0")
[ ! -f "$own" ] && exit 0
sh -e "$own" "$@"
"""


@pytest.fixture
def bare(project, invoke, on_path):
    """Returns a repository with dvlite and without hooks."""
    return Hooked(project.root, invoke)


def one_for_all(hooks):
    hooks.mkdir(parents=True, exist_ok=True)
    (hooks / "all").write_text(ONE_FOR_ALL)
    (hooks / "all").chmod(0o755)
    (hooks / "words.sh").write_text("word=called")
    for name in ("pre-commit", "post-checkout", "commit-msg"):
        (hooks / name).symlink_to("all")


def unlike_the_disk(team):
    """Stages a version of the data that is not the one on disk."""
    team.write("data/four.txt", "four")
    team.dvlite("add", "-q", "-u")
    (team.root / "data" / "one.txt").unlink()


# -- hooks that were there before


def test_an_older_hook_is_called_by_its_own_name_beside_what_it_uses(bare):
    one_for_all(bare.hooks)
    listed = sorted(os.listdir(bare.hooks))
    bare.dvlite("install")
    for _ in range(2):
        told = bare.does("commit", "-q", "--allow-empty", "-m", "x").splitlines()
        assert told == ["called pre-commit in .git", "called commit-msg in .git"]
        bare.dvlite("install")
    assert bare.does("checkout", "-q", "-b", "other") == "called post-checkout in .git\n"
    bare.dvlite("install", "--uninstall")
    assert sorted(os.listdir(bare.hooks)) == listed
    assert not bare.hooks.with_name("hooks.before-dvlite").exists()


def test_an_older_hook_that_leads_out_of_the_folder_still_leads_there(bare):
    script = bare.write("scripts/check.sh", '#!/bin/sh\necho "checked by $(basename "$0")" >&2\n')
    script.chmod(0o755)
    bare.hooks.mkdir(exist_ok=True)
    (bare.hooks / "pre-commit").symlink_to("../../scripts/check.sh")
    bare.dvlite("install")
    assert bare.does("commit", "-q", "--allow-empty", "-m", "x") == "checked by pre-commit\n"


def test_in_a_folder_of_several_repositories_older_hooks_still_run_for_all(bare, tmp_path):
    one_for_all(tmp_path / "mine")
    bare.git("config", "--global", "core.hooksPath", f"{tmp_path / 'mine'}/")
    bare.dvlite("install", "--force")
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    for each in (bare, Hooked(other, bare._invoke)):
        told = each.does("commit", "-q", "--allow-empty", "-m", "x")
        assert told.startswith(f"called pre-commit in {tmp_path.name}\n")


def test_hooks_of_husky_are_left_to_it_and_may_call_dvlite(bare):
    for name in ("pre-commit", "pre-push", "commit-msg"):
        bare.write(f".husky/_/{name}", '#!/usr/bin/env sh\n. "$(dirname "$0")/h"').chmod(0o755)
    bare.write(".husky/_/h", HUSKY)
    bare.write(".husky/_/.gitignore", "*\n")
    bare.git("config", "core.hooksPath", ".husky/_")
    refused = bare.dvlite("install", code=2).stderr
    assert "'.husky/_/pre-commit' is a hook that git does not track" in refused
    assert "with husky .husky/pre-commit" in refused
    assert 'dvlite hook pre-commit "$@"' in refused
    assert sorted(os.listdir(bare.root / ".husky")) == ["_"]
    bare.write(".husky/pre-commit", 'echo husky >&2\ndvlite hook pre-commit "$@"\n')
    bare.write("x", b"\0" * (11 << 20))
    bare.git("add", "x")
    told = bare.refuses("commit", "-qm", "x")
    assert told.startswith("husky\n")
    assert said(told)[0].startswith("blocked: 'x'")
    bare.dvlite("install", "--force")
    assert bare.refuses("commit", "-qm", "x").startswith("husky\n"), "moved, it still finds what it calls"


# -- which repository, which index


@pytest.mark.parametrize("folder", ["nested", ".git"])
def test_the_repository_is_that_of_the_work_tree_wherever_git_is_called(team, folder):
    subprocess.run(["git", "init", "-q", "nested"], cwd=team.root, check=True)
    unlike_the_disk(team)
    there = ["--git-dir=../.git", "--work-tree=.."] if folder == "nested" else ["--work-tree=.."]
    told = said(team.refuses(*there, "commit", "-qm", "x", cwd=folder))
    assert told[0] == "blocked: ../data.dvlite in this commit is not what is on disk (-1 file: one.txt)"
    team.dvlite("checkout", "-q")
    team.does(*there, "commit", "-qm", "x", cwd=folder)
    assert said(team.does(*there, "push", "-q", "origin", "main", cwd=folder))[0].startswith("pushed 1 file")


def test_a_push_from_within_the_git_directory_is_blocked(team):
    team.write("data/four.txt", "four")
    team.save()
    told = said(team.refuses("push", "-q", "origin", "main", cwd=".git"))
    assert told[0].startswith("blocked: ")
    assert "is a git directory without a work tree" in told[0]


def test_in_an_unknown_git_directory_commits_warn_and_pushes_stop(team, tmp_path):
    aside = tmp_path / "aside.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(team.root), str(aside)], check=True)
    for name in ("pre-commit", "pre-push"):
        (aside / "hooks").mkdir(exist_ok=True)
        (aside / "hooks" / name).write_bytes((team.hooks / name).read_bytes())
        (aside / "hooks" / name).chmod(0o755)
    there = [f"--git-dir={aside}", "--work-tree=."]
    told = said(team.does(*there, "commit", "-q", "--allow-empty", "-m", "x"))
    assert told[0].startswith("note: this commit was not checked: git works with ")
    told = said(team.refuses(*there, "push", "-q", str(tmp_path / "bare.git"), "HEAD:refs/heads/x"))
    assert told[0].startswith("blocked: git works with ")


def test_in_a_hook_of_all_repositories_dvlite_is_silent_where_it_is_not_used(bare, tmp_path):
    place = tmp_path / "none.git"
    subprocess.run(["git", "init", "-q", "--bare", str(place)], check=True)
    for name in ("pre-push", "pre-commit", "post-merge"):
        done = subprocess.run(
            ["dvlite", "hook", name], cwd=place, env={**os.environ, "GIT_DIR": "."}, capture_output=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_commit_is_checked_in_the_index_that_git_uses_wherever_that_is(team, tmp_path):
    index = tmp_path / "index"
    index.write_bytes((team.root / ".git" / "index").read_bytes())
    unlike_the_disk(team)
    team.does("add", "data.dvlite", GIT_INDEX_FILE=str(index))
    team.does("reset", "-q")
    told = said(team.refuses("commit", "-qm", "x", GIT_INDEX_FILE=str(index)))
    assert told[0].startswith("blocked: data.dvlite in this commit is not what is on disk")


# -- files that are too large to name data


def test_an_oversized_pointer_in_an_undone_commit_does_not_stop_a_push(team):
    team.write("data/four.txt", "four")
    team.save()
    team.write("z.dvlite", b"\0" * 70_000)
    team.git("add", "-f", "z.dvlite")
    team.git("commit", "-q", "--no-verify", "-m", "Oops")
    team.git("rm", "-q", "z.dvlite")
    team.git("commit", "-q", "--no-verify", "-m", "Undo")
    told = said(team.does("push", "-q", "origin", "main"))
    assert told[0].startswith("note: refused '")
    assert ":z.dvlite': it has 70000 bytes" in told[0]
    assert told[1].startswith("pushed 1 file")


def test_a_file_too_large_for_a_lockfile_stops_no_other_path_from_following(team):
    team.does("checkout", "-q", "-b", "large")
    team.write("data/four.txt", "four")
    team.save()
    team.write("z.dvlite", b"\0" * (65 << 20))
    team.git("add", "-f", "z.dvlite")
    assert said(team.refuses("commit", "-qm", "Large"))[0].startswith("blocked: refused 'z.dvlite': it is too long")
    team.git("commit", "-q", "--no-verify", "-m", "Large")
    assert said(team.does("checkout", "-q", "main"))[0].startswith("checked out data: 1 file removed")
    told = said(team.does("checkout", "-q", "large"))
    assert told[0].startswith("note: cannot read 'z.dvlite' line 1: a pointer file has at most")
    assert told[1].startswith("checked out data: 1 file written")


# -- what a merge brings


@pytest.mark.parametrize("setting", ["pre_push: off", "pre_commit: off", "large_file: 0", "push_limit: 100TiB"])
def test_a_committed_setting_that_switches_a_guard_off_stops_commit_and_push(team, setting):
    team.write("data/four.txt", "four")
    team.save()
    config = team.read(".dvlite/config.yaml").decode()
    team.write(".dvlite/config.yaml", f"{config}hooks:\n  {setting}\n")
    team.git("commit", "-qam", "Trust me", "--no-verify")
    for command in (["commit", "-q", "--allow-empty", "-m", "x"], ["push", "-q", "origin", "main"]):
        told = said(team.refuses(*command))
        assert told[0].startswith("blocked: .dvlite/config.yaml:")
        assert f"'hooks.{setting.partition(':')[0]}' may not be" in told[0]


# -- the commands in git's config


def test_no_program_of_the_repository_is_run_to_merge_or_to_show_a_pointer(team, tmp_path):
    ran = tmp_path / "ran"
    for name in ("dvlite", "diff"):
        team.write(name, f"#!/bin/sh\ntouch {ran}\n").chmod(0o755)
    team.git("add", "dvlite", "diff")
    team.git("commit", "-qm", "Trap")
    team.does("checkout", "-q", "-b", "other")
    team.write("data/other.txt", "other")
    team.save()
    team.does("checkout", "-q", "main")
    team.write("data/main.txt", "main")
    team.save()
    path = f".{os.pathsep}{os.environ['PATH']}"
    team.refuses("merge", "-q", "other", PATH=path)
    assert b"<<<<<<< ours" in team.read("data.dvlite"), "merged by lines"
    shown = subprocess.run(
        ["git", "diff", "HEAD"], cwd=team.root, env={**os.environ, "PATH": path}, capture_output=True
    )
    assert b"+<<<<<<< ours" in shown.stdout
    assert not ran.exists()
    team.git("merge", "--abort")
    team.does("merge", "-q", "other")
