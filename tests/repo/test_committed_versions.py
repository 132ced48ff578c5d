"""Versions in the history of git: newest first, through renames, of every branch."""

import os

import pytest

from dvlite.commands.init import init
from dvlite.errors import FormatError
from dvlite.formats import lockfile
from dvlite.formats.lockfile import Facts, Locked, LockedStage, Lockfile
from dvlite.oid import FILE, format_oid
from dvlite.progress import NullProgress
from dvlite.repo import committed_versions
from dvlite.repo.revisions import Scope
from tests.recording import RecordingProgress
from tests.repo.repositories import commit, git, opened, put, version


def test_history_is_newest_first_and_follows_renames(work):
    for text in ("1", "2", "3"):
        commit(work, a=text, other=text)
    git(work, "mv", "a.dvlite", "b.dvlite")
    commit(work)
    commit(work, b="4")
    repo = opened(work)
    assert committed_versions.history(repo.git, "b", 10) == [version(text) for text in "4321"]
    assert committed_versions.history(repo.git, "b", 2) == [version("4"), version("3")]
    assert committed_versions.histories(repo.git, ["b", "other", "none"], 1) == {
        "b": [version("4")],
        "other": [version("3")],
        "none": [],
    }


def test_reachable_versions_of_each_scope(work):
    first = commit(work, a="1")
    git(work, "tag", "v1")
    second = commit(work, a="2")
    git(work, "checkout", "--quiet", "-b", "side")
    third = commit(work, a="3", b="1")
    git(work, "checkout", "--quiet", "main")
    put(work, a="not committed")
    repo = opened(work)

    def found(**scope):
        return {(v.path, v.pointer, v.commit) for v in committed_versions.reachable(repo.git, Scope(**scope))}

    assert found(revision="v1") == {("a", version("1"), first)}
    assert found() == {("a", version("2"), second)}
    assert found(all_tags=True) == {("a", version("1"), first)}
    branches = found(all_branches=True)
    assert {(pointer_, commit_) for _, pointer_, commit_ in branches} == {
        (version("2"), second),
        (version("3"), third),
        (version("1"), third),
    }
    assert {v[1] for v in found(all_commits=True)} == {version("1"), version("2"), version("3")}
    assert Scope().is_workspace
    assert not Scope(all_tags=True).is_workspace


def test_versions_of_a_lockfile_whose_last_stage_is_the_same_are_all_known(work):
    def stage(name, text):
        out = Locked(name, format_oid(FILE, version(text).digest), len(text))
        return LockedStage(name, "0" * 64, Facts("cmd"), outs=(out,))

    for text in "234":
        (work / "dvlite.lock").write_bytes(lockfile.dump(Lockfile((stage("first", text), stage("last", "1")))))
        commit(work)
    progress = RecordingProgress()
    reachable = committed_versions.reachable(opened(work).git, Scope(all_commits=True), progress=progress)
    expected = {("last", version("1")), *(("first", version(text)) for text in "234")}
    assert {(item.path, item.pointer) for item in reachable} == expected
    assert progress.warnings == []


def test_a_broken_pointer_in_history_is_warned_of(work):
    commit(work, a="1")
    (work / "a.dvlite").write_text("<<<<<<< HEAD\n")
    broken = commit(work)
    commit(work, a="2")
    progress = RecordingProgress()
    repo = opened(work)
    assert {v.pointer for v in committed_versions.reachable(repo.git, Scope(all_commits=True), progress=progress)} == {
        version("1"),
        version("2"),
    }
    assert [broken[:8] in warning for warning in progress.warnings] == [True]
    assert committed_versions.history(repo.git, "a", 9) == [version("2"), version("1")]
    with pytest.raises(FormatError, match=broken[:8]):
        committed_versions.reachable(repo.git, Scope(revision=broken))


def test_a_repository_without_commits_refers_to_nothing(tmp_path):
    git(tmp_path, "init", "--quiet", "new")
    init(tmp_path / "new", os.environ, hooks=False, progress=NullProgress())
    repo = opened(tmp_path / "new")
    assert (
        committed_versions.reachable(repo.git, Scope())
        == committed_versions.reachable(repo.git, Scope(all_commits=True))
        == []
    )
    assert committed_versions.history(repo.git, "a", 3) == []
