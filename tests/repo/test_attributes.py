"""`.gitattributes`: what git does with pointers, lockfiles and ignore lines, beside attributes of the user."""

import os
import subprocess

from dvlite.commands.init import init
from dvlite.progress import NullProgress
from dvlite.repo import attributes
from dvlite.repo.repository import open_repo

EVERYTHING = "* filter=lfs diff=lfs merge=lfs -text\n"


def start(folder):
    init(folder, os.environ, hooks=False, progress=NullProgress())
    return open_repo(folder, os.environ)


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=False, capture_output=True, text=True)


def test_a_filter_never_gets_at_dvlites_own_files(git_repo):
    (git_repo / ".gitattributes").write_text(EVERYTHING)
    repo = start(git_repo)
    own = ["x.dvlite", "a/x.dvlite", "a/dvlite.lock", "a/dvlite.yaml", ".dvlite/config.yaml", ".dvliteignore"]
    assert repo.git.filters([*own, "a/x.bin"]) == {"a/x.bin": "lfs"}
    assert attributes.filtered(repo.git, own) is None
    # What is added below wins over earlier lines, until init moves them.
    with (git_repo / ".gitattributes").open("a") as file:
        file.write("a/** filter=crypt\n")
    error = attributes.filtered(repo.git, own)
    assert (error.file, "'crypt'" in error.message, "dvlite init" in error.hint) == ("a/x.dvlite", True, True)
    start(git_repo)
    assert attributes.filtered(repo.git, own) is None
    assert (git_repo / ".gitattributes").read_text().startswith(f"{EVERYTHING}a/** filter=crypt\n*.dvlite ")


def test_attributes_that_init_cannot_outdo_are_named(git_repo):
    repo = start(git_repo)
    (git_repo / "a" / "b").mkdir(parents=True)
    (git_repo / "a" / ".gitattributes").write_text("* filter=crypt\n")
    assert attributes.filtered(repo.git, ["x.dvlite"]) is None
    assert "at the end of a/.gitattributes" in attributes.filtered(repo.git, ["a/b/x.dvlite"]).hint
    assert "  dvlite.lock -filter  " in attributes.filtered(repo.git, ["a/dvlite.lock"]).hint
    (git_repo / ".git" / "info").mkdir(exist_ok=True)
    (git_repo / ".git" / "info" / "attributes").write_text("* filter=crypt\n")
    assert "info/attributes" in attributes.filtered(repo.git, ["x.dvlite"]).hint


def test_lines_that_two_people_add_to_a_gitignore_merge(git_repo):
    start(git_repo)
    (git_repo / ".gitignore").write_text("/z\n")
    git(git_repo, "add", "-A")
    git(git_repo, "commit", "-qm", "z")
    for branch, line in (("one", "/a\n"), ("other", "/b\n")):
        git(git_repo, "checkout", "-q", "-b", branch, "main")
        (git_repo / ".gitignore").write_text("/z\n" + line)
        git(git_repo, "commit", "-qam", branch)
    assert git(git_repo, "merge", "one").returncode == 0
    assert sorted((git_repo / ".gitignore").read_text().split()) == ["/a", "/b", "/z"]
