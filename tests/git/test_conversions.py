"""What git changes when it commits files."""

import os
import subprocess

import pytest

from dvlite.git.conversions import active_filters, changed_on_commit
from dvlite.git.discover import find
from dvlite.git.program import Git


@pytest.fixture
def git(git_repo):
    return Git(find(git_repo, os.environ), os.environ)


def configure(folder, **settings):
    for key, value in settings.items():
        subprocess.run(["git", "config", key.replace("__", "."), value], cwd=folder, check=True)


def test_filters_that_take_something_away_are_named_and_those_that_give_it_back_are_not(git_repo, git):
    (git_repo / ".gitattributes").write_text("*.ipynb filter=nb\n*.bin filter=crypt\n*.txt filter=none\n")
    for name in ("a.ipynb", "clean.ipynb", "b.bin", "c.txt"):
        (git_repo / name).write_text("code outputs" if name == "a.ipynb" else "code")
    configure(git_repo, filter__nb__clean="sed 's/ outputs//'", filter__nb__smudge="cat")
    configure(git_repo, filter__crypt__clean="tr a-z A-Z", filter__crypt__smudge="tr A-Z a-z")
    assert active_filters(git, ["a.ipynb", "b.bin", "c.txt"]) == {"a.ipynb": "nb"}
    assert changed_on_commit(git, "*.ipynb", "*.bin", "*.txt") == {"a.ipynb": "filter nb"}


@pytest.mark.parametrize(
    ("attributes", "setting", "changed"),
    [
        ("", "false", False),
        ("", "true", True),
        ("", "input", True),
        ("*.txt -text", "true", False),
        ("*.txt text=auto", "false", True),
        ("*.txt text eol=lf", "false", True),
    ],
)
def test_line_ends(git_repo, git, attributes, setting, changed):
    (git_repo / ".gitattributes").write_text(attributes)
    configure(git_repo, core__autocrlf=setting)
    (git_repo / "a.txt").write_bytes(b"a\r\nb\r\n")
    (git_repo / "b.txt").write_bytes(b"a\nb\n")
    assert changed_on_commit(git, "a.txt", "b.txt") == ({"a.txt": "line ends"} if changed else {})
