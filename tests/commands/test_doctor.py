import os
import subprocess

import pytest

from dvlite.commands.doctor import doctor
from dvlite.commands.init import init
from dvlite.commands.remote import remote_add
from dvlite.progress import NullProgress
from dvlite.repo import open_repo

QUIET = NullProgress()


@pytest.fixture
def work(git_repo):
    init(git_repo, os.environ, progress=QUIET)
    return git_repo


def look(work):
    return doctor(open_repo(work, os.environ), os.environ, progress=QUIET)


def problems(work):
    return [line.text for line in look(work).lines if line.level == "problem"]


def test_a_sound_repository_has_no_problem(work):
    remote_add(open_repo(work, os.environ), "origin", "../store", options={}, progress=QUIET)
    before = sorted(work.rglob("*"))
    result = look(work)
    assert result.ok, result.lines
    assert {line.topic for line in result.lines} == {"versions", "git", "links", "cache", "pointers", "remotes"}
    assert sorted(work.rglob("*")) == before


def test_without_a_repository_the_installation_is_checked():
    result = doctor(None, os.environ, progress=QUIET)
    assert result.ok
    assert any("dvlite" in line.text for line in result.lines)


def test_problems_come_with_their_fix(work):
    subprocess.run(["git", "config", "core.autocrlf", "true"], cwd=work, check=True)
    (work / ".dvlite" / "config.local.yaml").write_text("remotes: {o: {url: s3://bucket, session_token: x}}\n")
    (work / "x.dvlite").write_text("nonsense\n")
    (work / ".git" / "dvlite" / "cache").mkdir()
    (work / ".git" / "dvlite" / "cache").chmod(0o777)
    (work / ".dvlite" / "config.yaml").write_text(f"project: {'0' * 32}\nremotes: {{bad: {{url: /srv/other}}}}\n")
    result = look(work)
    assert not result.ok
    for words in ("core.autocrlf", "holds secrets", "x.dvlite", "every user", "not approved"):
        found = [line for line in result.lines if words in line.text]
        assert found, words
        assert found[0].level == "problem"
        assert found[0].fix


def test_data_that_git_tracks_too_is_a_problem(work):
    (work / "x").write_text("data")
    subprocess.run(["git", "add", "x"], cwd=work, check=True)
    (work / "x.dvlite").write_text(f"dvlite: 1\nkind: file\noid: blake3:{'0' * 64}\nsize: 4\n")
    assert problems(work) == ["git tracks 'x', which dvlite tracks too"]
