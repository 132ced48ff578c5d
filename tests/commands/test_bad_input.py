"""Bad input: one line that says what failed, a hint that says what to do, the documented exit code, and nothing written."""

import os
from pathlib import Path

import pytest

from dvlite.formats.pointer import Pointer, dump
from dvlite.oid import Digest
from tests.clones import Clone, git, refused, start
from tests.trees import put


def warned(clone: Clone, *args: str | Path) -> str:
    """The command goes on; returns the one line that it warns with. `status` does not call that clean."""
    lines = clone.dv(*args).stderr.splitlines()
    assert len(lines) == 1, lines
    assert not clone.is_clean()
    return lines[0]


# --- where it is run ---

VERBS = [["add", "x"], ["status"], ["checkout"], ["push"], ["pull"], ["fetch"], ["diff"], ["ls"]]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_outside_a_git_repository(tmp_path, invoke, verb):
    folder = tmp_path / "plain"
    folder.mkdir()
    said = Clone(folder, invoke).fails(10, *verb)
    assert "is not in a git repository" in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_before_init(tmp_path, invoke, verb):
    git(tmp_path, "init", "-q", "plain")
    clone = Clone(tmp_path / "plain", invoke)
    assert "dvlite is not initialised in" in clone.fails(10, *verb)
    assert os.listdir(clone.path) == [".git"]
    assert not (clone.path / ".git" / "dvlite").exists()


# --- paths ---


@pytest.mark.parametrize("verb", ["push", "pull", "fetch", "checkout", "status"])
def test_a_path_that_is_not_tracked(here, verb):
    assert "'new' is not tracked by dvlite" in refused(here, 2, verb, "new")


def test_a_part_that_is_not_there(here):
    here.dv("push")
    for verb in ("pull", "fetch", "checkout"):
        assert "absent" in refused(here, 2, verb, "data/absent")


@pytest.mark.parametrize("verb", ["checkout", "push", "pull", "fetch"])
def test_a_revision_that_is_not_there(here, verb):
    assert "nowhere" in refused(here, 2, verb, "--rev", "nowhere")
    refused(here, 2, verb, "--rev=--output=x")


# --- pointers ---


@pytest.mark.parametrize("verb", ["status", "checkout", "push", "pull", "add"])
def test_a_malformed_pointer_is_named_in_one_line(here, verb):
    (here.path / "bad.dvlite").write_bytes(b"\x1b]0;owned\x07: 1\n")
    if verb in ("status", "add"):  # they go on with the rest
        put(here.path / "fresh", b"z")
        said = warned(here, verb, *(["fresh"] if verb == "add" else []))
    else:
        said = refused(here, 3 if verb in ("checkout", "pull") else 1, verb)
    assert "bad.dvlite" in said
    assert "line " in said
    assert said.isprintable()


@pytest.mark.parametrize(
    "name", [".git", ".GIT", ".gitattributes", ".dvlite", "git~1", ".g\u200cit", "dvlite.yaml", "x.dvlite"]
)
def test_7_to_10_a_pointer_beside_a_reserved_name_is_refused(here, name):
    good = dump(Pointer("file", Digest(bytes(32)), 1))
    (here.path / "sub").mkdir()
    (here.path / "sub" / f"{name}.dvlite").write_bytes(good)
    git(here.path, "add", "-Af", "sub")
    assert "refused" in warned(here, "status")
    for verb, code in (("checkout", 3), ("pull", 3)):
        assert "refused" in refused(here, code, verb)


def test_20_pointers_that_overlap_are_refused(here):
    good = dump(Pointer("file", Digest(bytes(32)), 1))
    put(here.path / "data" / "inner.dvlite", good)
    git(here.path, "add", "-Af", "data/inner.dvlite")
    assert "is inside 'data', which is tracked too" in warned(here, "status")
    assert "is inside 'data', which is tracked too" in refused(here, 1, "push")


# --- listings that a stranger's remote holds ---


# --- remotes ---


@pytest.mark.parametrize("verb", ["push", "pull", "fetch"])
def test_an_unknown_remote(here, verb):
    assert "there is no remote 'other'" in refused(here, 2, verb, "-r", "other")


@pytest.mark.parametrize("verb", ["push", "pull", "fetch"])
def test_no_remote(tmp_path, invoke, verb):
    here = start(tmp_path / "alone", invoke)
    put(here.path / "data", b"x")
    here.dv("add", "data")
    assert "no remote is configured" in refused(here, 2, verb)


# --- disks ---
