"""`dvlite install`: hooks beside other hooks, in every place where git looks for them; and their removal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.hooked import Hooked, said

HOOKS = ["pre-commit", "pre-merge-commit", "pre-push", "post-checkout", "post-merge", "post-rewrite"]
ECHO = '#!/bin/sh\necho "old $(basename "$0") $*" >> "$SEEN"\ncat >> "$SEEN"\nexit "${OLD_CODE:-0}"\n'


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """Returns the file in which an old hook writes what it was called with."""
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


@pytest.fixture
def bare(project, invoke, on_path):
    """Returns a repository with dvlite and without hooks."""
    return Hooked(project.root, invoke)


def old_hook(hooks, name, text=ECHO):
    hooks.mkdir(parents=True, exist_ok=True)
    path = hooks / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def everything(folder):
    return {
        path.name: (path.read_bytes(), path.lstat().st_mode, path.is_symlink() or path.lstat().st_mtime_ns)
        for path in folder.iterdir()
        if not path.name.endswith(".sample")
    }


def test_install_is_idempotent_and_uninstall_restores_exactly(bare):
    old_hook(bare.hooks, "pre-push")
    (bare.hooks / "post-merge").symlink_to("pre-push")
    before = everything(bare.hooks)
    done = bare.json("install")
    assert done["hooks"] == HOOKS
    assert done["chained"] == ["pre-push", "post-merge"]
    assert done["merge_driver"] is True
    assert bare.git("config", "merge.dvlite.driver")
    installed = everything(bare.hooks)
    kept = bare.hooks.with_name("hooks.before-dvlite")
    assert set(installed) == {*HOOKS}
    assert set(everything(kept)) == {"pre-push", "post-merge"}
    assert (kept / "post-merge").readlink() == Path("pre-push")
    bare.dvlite("install")
    assert everything(bare.hooks) == installed
    done = bare.json("install", "--uninstall")
    assert done["action"] == "uninstalled"
    assert done["chained"] == ["pre-push", "post-merge"]
    assert everything(bare.hooks) == before
    assert not kept.exists()
    assert (bare.hooks / "post-merge").readlink() == Path("pre-push")
    assert "merge.dvlite" not in bare.git("config", "--list")
    assert bare.json("install", "--uninstall")["hooks"] == []


def test_an_old_hook_that_git_did_not_run_stays_off(bare, seen):
    old_hook(bare.hooks, "pre-commit").chmod(0o640)
    old_hook(bare.hooks, "post-merge").chmod(0o750)
    before = everything(bare.hooks)
    done = bare.json("install")
    assert done["chained"] == ["post-merge"]
    assert "'pre-commit' that was here before is not executable" in done["warnings"][0]
    bare.does("commit", "-q", "--allow-empty", "-m", "x")
    assert not seen.exists()
    assert bare.json("install", "--uninstall")["chained"] == ["pre-commit", "post-merge"]
    assert everything(bare.hooks) == before


def test_uninstall_takes_only_what_dvlite_set_for_merges(bare):
    bare.dvlite("install")
    bare.git("config", "merge.dvlite.note", "mine")
    bare.git("config", "merge.other.driver", "other %A")
    said = bare.dvlite("install", "--uninstall").stdout
    assert "Merge driver: off." in said
    assert "dvlite resolve" in said
    found = bare.git("config", "--local", "--get-regexp", "^merge[.]").splitlines()
    assert found == ["merge.dvlite.note mine", "merge.other.driver other %A"]
    bare.dvlite("install")
    bare.git("config", "merge.dvlite.driver", "mine %A")
    done = bare.dvlite("install", "--uninstall")
    assert "merge.dvlite.driver is not what dvlite sets, and stays" in done.stderr
    found = bare.git("config", "--local", "--get-regexp", "^merge[.]").splitlines()
    assert sorted(found) == ["merge.dvlite.driver mine %A", "merge.dvlite.note mine", "merge.other.driver other %A"]


def test_init_and_clone_install_them(git_repo, invoke, tmp_path):
    made = Hooked(git_repo, invoke)
    assert "Hooks: pre-commit, pre-merge-commit, pre-push" in made.dvlite("init").stdout
    made.git("commit", "-qm", "Use dvlite")
    cloned = made.json("clone", made.root, tmp_path / "one", "--no-data", cwd="..")
    assert cloned["hooks"] == HOOKS
    assert (tmp_path / "one" / ".git" / "hooks" / "pre-push").is_file()
    assert made.json("clone", made.root, tmp_path / "two", "--no-data", "--no-hooks", cwd="..")["hooks"] == []
    assert not (tmp_path / "two" / ".git" / "hooks" / "pre-push").exists()


def test_init_goes_on_where_hooks_are_not_its_own_and_doctor_prints_the_ways_out(git_repo, invoke):
    made = Hooked(git_repo, invoke)
    made.git("config", "core.hooksPath", ".husky/_")
    old_hook(made.root / ".husky" / "_", "pre-commit")
    done = made.json("init")
    assert (done["hooks"], len(done["warnings"])) == ([], 1)
    assert "husky" in done["warnings"][0]
    assert "dvlite hook pre-commit" in done["warnings"][0]
    lines = [line for line in made.json("doctor")["lines"] if line["topic"] == "hooks"]
    assert "dvlite hook pre-commit" in lines[0]["fix"]
    for name in HOOKS:  # called from the user's own: nothing is missing
        old_hook(made.root / ".husky", name, f'#!/bin/sh\ndvlite hook {name} "$@"\n')
        old_hook(made.root / ".husky" / "_", name)
    again = made.json("init")
    assert (again["hooks"], again["warnings"]) == (HOOKS, [])


def test_the_hook_that_was_there_runs_first_and_may_refuse(team, seen, tmp_path):
    team.dvlite("install", "--uninstall")
    old_hook(team.hooks, "pre-push")
    old_hook(team.hooks, "pre-commit")
    team.dvlite("install")
    team.write("data/four.txt", "four")
    assert said(team.save()) == []
    assert seen.read_text() == "old pre-commit \n"
    seen.unlink()
    assert "refs" in team.refuses("push", OLD_CODE="3")
    assert seen.read_text().startswith(f"old pre-push origin {tmp_path / 'bare.git'}\nrefs/heads/main ")
    assert seen.read_text().count("\n") == 2
    assert said(team.does("push"))[0].startswith("pushed 1 file")


def test_the_older_hook_runs_though_ours_are_switched_off(bare, seen):
    old_hook(bare.hooks, "pre-commit")
    bare.dvlite("install")
    bare.write("x", b"\0" * (11 << 20))
    bare.git("add", "x")
    bare.does("commit", "-qm", "x", DVLITE_HOOKS="off")
    assert seen.exists()


def test_two_older_hooks_are_not_guessed_at(bare):
    old_hook(bare.hooks, "pre-push")
    old_hook(bare.hooks.with_name("hooks.before-dvlite"), "pre-push")
    before = everything(bare.hooks)
    error = bare.dvlite("install", code=1).stderr
    assert "two hooks" in error
    assert everything(bare.hooks) == before


def test_pre_commit_that_was_installed_after_us_keeps_calling_us(bare):
    """`pre-commit install` moves our script aside as NAME.legacy and calls it: to take its place again would make a circle."""
    bare.dvlite("install")
    os.rename(bare.hooks / "pre-commit", bare.hooks / "pre-commit.legacy")
    old_hook(bare.hooks, "pre-commit", '#!/bin/sh\nexec "$(dirname "$0")/pre-commit.legacy"\n')
    assert bare.json("install")["hooks"] == HOOKS
    assert not bare.hooks.with_name("hooks.before-dvlite").exists()
    bare.write("x", b"\0" * (11 << 20))
    bare.git("add", "x")
    assert said(bare.refuses("commit", "-qm", "x"))[0].startswith("blocked: 'x'")
    bare.dvlite("install", "--uninstall")
    assert not (bare.hooks / "pre-commit.legacy").exists()


# -- places


def test_worktrees_share_the_hooks(team, tmp_path):
    team.does("branch", "other")
    assert "checked out data: 3 files written" in team.does("worktree", "add", "-q", tmp_path / "tree", "other")
    tree = Hooked(tmp_path / "tree", team._invoke)
    assert tree.listing() == ["one.txt", "three.txt", "two.txt"]
    assert tree.json("install")["folder"] == str(team.hooks)
    tree.write("data/four.txt", "four")
    tree.dvlite("add", "-u")
    (tree.root / "data" / "one.txt").unlink()
    assert "-1 file: one.txt" in tree.refuses("commit", "-qm", "four")
    tree.dvlite("checkout")
    tree.does("commit", "-qm", "four")
    assert said(tree.does("push", "origin", "other"))[0].startswith("pushed 1 file")
    assert team.listing() == ["one.txt", "three.txt", "two.txt"]


def test_a_submodule_has_hooks_of_its_own(team, tmp_path, invoke):
    outer = tmp_path / "outer"
    subprocess.run(["git", "init", "-q", str(outer)], check=True)
    url = str(tmp_path / "bare.git")
    add = ["git", "-c", "protocol.file.allow=always", "submodule", "add", "-q", url, "inner"]
    subprocess.run(add, cwd=outer, check=True)
    inner = Hooked(outer / "inner", invoke)
    folder = inner.json("install")["folder"]
    assert folder == str(outer / ".git" / "modules" / "inner" / "hooks")
    inner.dvlite("config", "--local", "remotes.origin.url", tmp_path / "store")
    inner.dvlite("pull")
    inner.write("data/four.txt", "four")
    inner.save()
    assert said(inner.does("push"))[0].startswith("pushed 1 file")
    assert not (outer / ".git" / "hooks" / "pre-push").exists()


def test_a_folder_of_the_user_outside_the_repository_is_refused_without_force(bare, tmp_path):
    shared = tmp_path / "my hooks"
    bare.git("config", "--global", "core.hooksPath", str(shared))
    done = bare.dvlite("install", code=2)
    assert "core.hooksPath" in done.stderr
    assert "--force" in done.stderr
    assert not shared.exists()
    cloned = bare.dvlite("clone", bare.root, tmp_path / "one", "--no-data")
    assert "git hooks were not installed" in cloned.stderr
    assert bare.json("install", "--force")["folder"] == str(shared)
    bare.write("x", b"\0" * (11 << 20))
    bare.git("add", "x")
    assert "blocked" in bare.refuses("commit", "-qm", "x")
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    elsewhere = Hooked(other, bare._invoke)
    elsewhere.write("x", b"\0" * (11 << 20))
    elsewhere.git("add", "x")
    assert elsewhere.does("commit", "-qm", "x") == ""  # it does not use dvlite
    bare.dvlite("install", "--uninstall")
    assert list(shared.iterdir()) == []


def test_a_hooks_folder_that_is_a_link_out_of_the_repository_is_refused(bare, tmp_path):
    bare.hooks.rename(tmp_path / "hooks")
    bare.hooks.symlink_to(tmp_path / "hooks")
    assert "symbolic link" in bare.dvlite("install", code=2).stderr


def test_a_folder_of_the_work_tree_is_used_and_said(bare):
    bare.git("config", "core.hooksPath", ".githooks")
    done = bare.json("install")
    assert done["folder"] == str(bare.root / ".githooks")
    assert "commit '.githooks'" in done["warnings"][0]
    text = bare.read(".githooks/pre-push").decode()
    assert str(sys.executable.rpartition("/")[0]) not in text  # others get it with the repository
    bare.write("x", b"\0" * (11 << 20))
    bare.git("add", "x")
    assert "blocked" in bare.refuses("commit", "-qm", "x")


def test_a_hook_that_git_tracks_is_not_moved_without_force(bare):
    bare.git("config", "core.hooksPath", ".githooks")
    old_hook(bare.root / ".githooks", "pre-push")
    bare.git("add", ".githooks")
    assert "git tracks" in bare.dvlite("install", code=2).stderr
    assert everything(bare.root / ".githooks").keys() == {"pre-push"}
    assert bare.json("install", "--force")["chained"] == ["pre-push"]


# -- where dvlite is missing


def without_dvlite():
    """Returns a PATH that has git and the shell, and no dvlite."""
    return os.pathsep.join(
        folder for folder in os.environ["PATH"].split(os.pathsep) if not os.path.exists(os.path.join(folder, "dvlite"))
    )


def test_the_program_that_installed_them_is_used_where_none_is_on_path(team):
    team.write("x", b"\0" * (11 << 20))
    team.git("add", "x")
    assert "blocked: 'x'" in team.refuses("commit", "-qm", "x", PATH=without_dvlite())


def test_without_any_dvlite_commits_say_so_and_pushes_stop(team, tmp_path):
    program = os.path.join(os.path.dirname(sys.executable), "dvlite")
    for name in HOOKS:
        path = team.hooks / name
        path.write_text(path.read_text().replace(program, "/nowhere/dvlite"))
    path = without_dvlite()
    team.write("x.txt", "x")
    team.git("add", "x.txt")
    assert said(team.does("commit", "-qm", "x", PATH=path)) == [
        "note: this commit was not checked: the program dvlite is not on PATH"
    ]
    assert team.does("checkout", "-q", "-b", "other", PATH=path) == ""
    stopped = said(team.refuses("push", "origin", "main", PATH=path))
    assert stopped[0].startswith("blocked: ")
    assert "DVLITE_HOOKS=0 git push" in stopped[1]
    team.does("push", "origin", "main", PATH=path, DVLITE_HOOKS="0")


def test_no_program_of_the_repository_is_ever_run(team, tmp_path):
    """Neither through an entry of PATH that is not absolute, nor as a Python module in the current folder."""
    ran = tmp_path / "ran"
    fake = team.write("dvlite", f"#!/bin/sh\ntouch {ran}\n")
    fake.chmod(0o755)
    for module in ("click.py", "json.py", "sitecustomize.py"):
        team.write(module, f"open({str(ran)!r}, 'w')\n")
    team.git("add", ".")
    assert said(team.does("commit", "-qm", "Trap", PATH=f".{os.pathsep}{os.environ['PATH']}")) == []
    team.does("push", "-q", PATH=f".{os.pathsep}{without_dvlite()}")
    assert not ran.exists()
