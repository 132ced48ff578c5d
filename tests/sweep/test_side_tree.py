"""Work trees beside the workspace: what git says of them is kept where it cannot change."""

import os
import subprocess

from dvlite.git import discover, program
from dvlite.sweep.side_tree import SteadyGit


def test_what_cannot_change_is_asked_once_and_what_is_on_disk_each_time(tmp_path, monkeypatch):
    plain = program.Git.run
    program_git = SteadyGit(discover.find(_repository(tmp_path), os.environ), os.environ)
    asked = []
    monkeypatch.setattr(
        program.Git, "run", lambda self, *words, **how: asked.append(words[0]) or plain(self, *words, **how)
    )
    for text in ("one", "two"):
        (tmp_path / "file").write_text(text)
        assert program_git.list_files() == ["file"]
        assert program_git.ignored(["file"]) == set()
        assert text in program_git.run("diff").decode()
    assert sorted(asked) == ["check-ignore", "diff", "diff", "ls-files"]


def _repository(folder):
    for words in (["init", "-q"], ["add", "file"]):
        (folder / "file").write_text("zero")
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder
