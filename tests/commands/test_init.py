import os
import re
import subprocess
from pathlib import Path

import pytest

from dvlite.commands.clone import clone
from dvlite.commands.init import init
from dvlite.errors import DvliteError, NotARepository
from dvlite.formats import pointer
from dvlite.formats.pointer import Pointer
from dvlite.oid import digest_bytes
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo

FILES = (".dvlite/config.yaml", ".dvlite/.gitignore", ".dvliteignore", ".gitattributes")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def start(folder, **options):
    return init(folder, os.environ, progress=NullProgress(), **{"hooks": False, **options})


def test_init_writes_and_stages_its_files(git_repo):
    result = start(git_repo)
    assert (result.created, result.staged, result.existed, result.root) == (FILES, FILES, False, str(git_repo))
    assert git(git_repo, "diff", "--cached", "--name-only").splitlines() == sorted(FILES)
    assert re.search(r"^project: [0-9a-f]{32}$", (git_repo / FILES[0]).read_text(), re.MULTILINE)
    assert git(git_repo, "check-attr", "merge", "a/x.dvlite") == "a/x.dvlite: merge: dvlite"


def test_init_again_changes_nothing(git_repo):
    start(git_repo)
    before = {name: (git_repo / name).read_bytes() for name in (*FILES, ".git/config", ".git/info/exclude")}
    result = start(git_repo)
    assert (result.created, result.staged, result.existed) == ((), (), True)
    assert before == {name: (git_repo / name).read_bytes() for name in before}


def test_init_completes_what_is_missing_and_keeps_what_is_there(git_repo):
    (git_repo / ".gitattributes").write_text("*.py diff=python")
    start(git_repo)
    (git_repo / ".dvliteignore").write_text("*.tmp\n")
    (git_repo / ".dvlite" / ".gitignore").unlink()
    assert start(git_repo).created == (".dvlite/.gitignore",)
    assert (git_repo / ".gitattributes").read_text().startswith("*.py diff=python\n*.dvlite ")
    assert (git_repo / ".dvliteignore").read_text() == "*.tmp\n"


def test_settings_that_the_last_commit_has_are_not_written_anew(git_repo):
    start(git_repo)
    git(git_repo, "commit", "-qm", "Start")
    (git_repo / FILES[0]).unlink()
    for attempt in (start, lambda folder: open_repo(folder, os.environ)):
        with pytest.raises(NotARepository) as caught:
            attempt(git_repo)
        assert caught.value.hint == "git checkout HEAD -- .dvlite"
    assert not (git_repo / FILES[0]).exists()


def test_init_without_staging_leaves_gits_index_alone(git_repo):
    assert start(git_repo, stage=False).staged == ()
    assert git(git_repo, "diff", "--cached", "--name-only") == ""


def test_init_in_a_folder_inside_sets_up_the_root(git_repo):
    (git_repo / "sub").mkdir()
    assert start(git_repo / "sub").root == str(git_repo)


def test_init_outside_of_git_says_to_begin_with_git(tmp_path):
    with pytest.raises(NotARepository) as caught:
        start(tmp_path)
    assert "git init" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_local_config_is_ignored_by_git(git_repo):
    start(git_repo)
    (git_repo / ".dvlite" / "config.local.yaml").write_text("")
    assert "config.local" not in git(git_repo, "status", "--short", "--untracked-files=all")


def test_git_diff_shows_pointers_where_dvlite_is_not_installed(git_repo):
    start(git_repo)
    (git_repo / "x.dvlite").write_text("dvlite: 1\nsize: 1\n")
    git(git_repo, "add", "--all")
    git(git_repo, "commit", "--quiet", "-m", "Add")
    (git_repo / "x.dvlite").write_text("dvlite: 1\nsize: 2\n")
    done = subprocess.run(
        ["git", "diff"], cwd=git_repo, env={**os.environ, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert "+size: 2" in done.stdout, done


def test_a_clone_is_set_up_for_its_tracked_paths(git_repo, tmp_path, monkeypatch):
    start(git_repo)
    (git_repo / "data.dvlite").write_bytes(pointer.dump(Pointer("file", digest_bytes(b"x"), 1)))
    git(git_repo, "add", "--all")
    git(git_repo, "commit", "--quiet", "-m", "Add")
    monkeypatch.chdir(tmp_path)
    result = clone(str(git_repo), Path("copy"), os.environ, progress=NullProgress())
    assert (result.directory, result.has_dvlite) == (str(tmp_path / "copy"), True)
    repo = open_repo(tmp_path / "copy", os.environ)
    assert repo.git.ignored(["data"]) == {"data"}
    assert repo.git.config_get("diff.dvlite.command")


def test_a_clone_without_dvlite_says_so(git_repo, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert not clone(str(git_repo), None, os.environ, progress=NullProgress()).has_dvlite
    assert (tmp_path / "here" / "repo" / ".git").is_dir()


def test_a_clone_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(DvliteError, match="could not clone"):
        clone(str(tmp_path / "none"), tmp_path / "copy", os.environ, progress=NullProgress())
    assert not (tmp_path / "copy").exists()


def test_init_in_a_clone_says_what_it_switched_on_and_whether_data_is_missing(team, tmp_path, invoke):
    team.git("clone", "-q", str(tmp_path / "bare.git"), str(tmp_path / "clone"))
    done = invoke("init", "--no-hooks", cwd=tmp_path / "clone").stdout.splitlines()
    assert done[0].endswith("clone  Hooks: none (dvlite install). Merge driver: on.")
    assert done[1].startswith("switched on in this clone: git diff shows ")
    assert "git merges pointers by file" in done[1]
    assert done[-1] == "next: dvlite pull"
    done = invoke("init", cwd=team.root).stdout.splitlines()
    assert done[0].endswith(
        "Hooks: pre-commit, pre-merge-commit, pre-push, post-checkout, post-merge, post-rewrite. Merge driver: on."
    )
    assert done[1:] == ["next: dvlite add PATH"]
