"""What tags mean together: order, stages, and what does not fit."""

import subprocess

import pytest

from dvlite.errors import UsageError
from dvlite.registry import models
from tests.registry.clones import RegistryClone


def tag_of(clone, text):
    """Writes a tag object that git itself might refuse; returns its name."""
    return subprocess.run(
        ["git", "hash-object", "-t", "tag", "-w", "--stdin"], cwd=clone.folder, input=text, text=True,
        capture_output=True, check=True,
    ).stdout.strip()  # fmt: skip


def test_order_does_not_depend_on_clocks(here, monkeypatch):
    for number, year in ((1, 2040), (2, 1999)):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{year}-01-01T00:00:00Z")
        here.add(f"content {number}")
        here.promote(number)
        assert models.find_version(here.registry(), "birds@prod").number == number
    model = here.registry().models["birds"]
    assert [event.tag for event in model.events()] == ["birds@v1", "birds#prod#1", "birds@v2", "birds#prod#2"]
    assert model.versions[1].time > model.versions[2].time


def test_a_rewritten_history_leaves_versions_what_they_are(here):
    here.add("one")
    was = models.find_version(here.registry(), "birds@1")
    commit = here.git("commit-tree", "-m", "rewritten", "HEAD^{tree}")
    lines = here.git("cat-file", "tag", "birds@v1").splitlines()
    here.git("update-ref", "refs/tags/birds@v1", tag_of(here, "\n".join([f"object {commit}", *lines[1:], ""])))
    assert here.problems() == {("moved", "birds@v1")}
    assert models.find_version(here.registry(), "birds@1") == was


def test_an_entry_that_another_was_written_after_cannot_be_replaced_unseen(here, tmp_path):
    here.add("one")
    here.promote(1)
    for ref in ("refs/tags/birds@v1", "refs/dvlite/models/birds@v1"):
        here.git("update-ref", "-d", ref)
    here.git("push", "-q", "origin", ":refs/tags/birds@v1")
    assert '"birds@v1"' in here.git("cat-file", "tag", "birds#prod#1")
    assert here.add("two") == "birds@v2", "a number that is missed is taken"
    assert here.cloned(tmp_path / "new").problems() == {("gap", "birds@v1"), ("mismatch", "birds#prod#1")}


def test_an_entry_that_was_replaced_before_this_clone_saw_it_is_named_by_what_follows(here, other, tmp_path):
    here.add("one")
    here.promote(1)
    RegistryClone(other.folder, remote=None).add("two")
    other.git("push", "-q", "-f", "origin", "refs/tags/birds@v1")
    assert here.cloned(tmp_path / "new").problems() == {("changed", "birds@v1"), ("mismatch", "birds#prod#1")}


def test_an_entry_that_cannot_be_read_is_no_model(here):
    text = f"object {here.git('rev-parse', 'HEAD')}\ntype commit\ntag fish@v1\ntagger \x1b[31m <a@b> 9 +0000\n\n"
    here.git("update-ref", "refs/tags/fish@v1", tag_of(here, text + 'fish\n\n{\n"dvlite_model": 1}\n'))
    assert here.problems() == {("unreadable", "fish@v1")}
    assert here.registry().models == {}


def test_a_model_is_named_without_version_or_stage(here):
    here.add("one")
    assert models.model_named(here.registry(), "birds").name == "birds"
    for name, said in (("birds@1", "cannot be the name"), ("bird", "no model 'bird'")):
        with pytest.raises(UsageError, match=said):
            models.model_named(here.registry(), name)


def test_tags_that_only_look_like_entries_are_none_and_their_names_are_passed_over(here):
    here.add("one")
    here.git("tag", "app@v3")
    here.git("tag", "-a", "web@v2", "-m", "a release")
    here.git("tag", "-a", "birds@v2", "-m", "by hand")
    assert here.problems() == set()
    assert list(here.registry().models) == ["birds"]
    assert here.add("two") == "birds@v3"
