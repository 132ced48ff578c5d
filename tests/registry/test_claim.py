"""Numbers are given out once by a real git server, and what it loses or has in another's place is named, whoever does what to tags."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from dvlite.errors import DvliteError
from dvlite.registry.claim import ask
from dvlite.registry.models import find_version
from tests.registry.clones import RegistryClone

PROTECT = """\
#!/bin/sh
case "$1" in
refs/tags/*#prod#*) echo "only releasers may promote to prod"; exit 1;;
refs/tags/*@v*) case "$2" in *[1-9a-f]*) echo "protected tag $1"; exit 1;; esac;;
esac
"""


def server_tags(clone):
    return clone.git("ls-remote", "--tags", "--refs", "origin").split()[1::2]


def test_two_who_register_at_once_get_two_numbers(here, other):
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(lambda clone: clone.add(clone.folder.name), (here, other))) == {"birds@v1", "birds@v2"}
    assert here.problems(fetch=True) == other.problems(fetch=True) == set()
    assert here.registry().models == other.registry().models
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(lambda each: each[0].promote(each[1]), ((here, 1), (other, 2)))) == {
            "birds#prod#1",
            "birds#prod#2",
        }


def test_what_was_asked_a_moment_ago_is_asked_again_if_another_was_faster(here, other):
    here.add("one")
    here.add("two")
    known = ask(here.opened, "origin")
    ask(other.opened, "origin")
    assert other.promote(2) == "birds#prod#1"
    assert here.promote(1, known=known) == "birds#prod#2"
    assert here.problems() == set()


def test_a_tag_that_is_deleted_is_named_and_its_number_not_given_out_again(here, other):
    here.add("one")
    here.add("two")
    here.git("push", "-q", "origin", ":refs/tags/birds@v2")
    assert here.problems() == set(), "here it is"
    assert here.problems(fetch=True) == {("not there", "birds@v2")}
    here.git("tag", "-d", "birds@v2")
    assert here.problems() == {("lost", "birds@v2")}
    with pytest.raises(DvliteError, match="in doubt"):
        find_version(here.registry(), "birds@2")
    assert here.add("three") == "birds@v3"
    other.git("fetch", "-q", "--tags")
    assert other.problems() == {("gap", "birds@v2")}, "a clone that never saw it"
    hint = here.registry().problems[0].hint
    here.run(hint.partition(": ")[2].partition(";")[0])
    here.run(hint.rpartition(": ")[2])
    assert here.problems(fetch=True) == other.problems(fetch=True) == set()


def test_a_tag_that_is_moved_to_another_model_is_named(here, other):
    here.add("one")
    other.git("fetch", "-q", "--tags")
    assert other.problems() == set()
    other.git("push", "-q", "origin", ":refs/tags/birds@v1")
    other.git("tag", "-d", "birds@v1")
    other.git("update-ref", "-d", "refs/dvlite/models/birds@v1")
    assert other.add("two") == "birds@v1", "its clone forgot all"
    assert here.problems() == set()
    assert here.problems(fetch=True) == {("replaced", "birds@v1")}
    assert here.problems() == {("replaced", "birds@v1")}, "and it stays so until it is settled"
    with pytest.raises(DvliteError, match="in doubt"):
        find_version(here.registry(), "birds")
    here.git("fetch", "-q", "-f", "origin", "tag", "birds@v1")
    here.git("update-ref", "refs/dvlite/models/birds@v1", "refs/tags/birds@v1")
    assert here.problems(fetch=True) == set()


def test_protected_tags_decide_who_may_promote(here, tmp_path):
    hook = tmp_path / "server.git" / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(PROTECT)
    hook.chmod(0o755)
    here.add("one")
    with pytest.raises(DvliteError, match="did not take the tag birds#prod#1") as refused:
        here.promote(1)
    assert refused.value.hint.startswith("nothing is registered")
    assert here.registry().models["birds"].stages == {}
    here.promote(1, "staging")
    assert here.problems(fetch=True) == set()


def test_a_git_server_that_cannot_be_reached_registers_nothing(here, tmp_path):
    os.rename(tmp_path / "server.git", tmp_path / "away.git")
    with pytest.raises(DvliteError, match="cannot ask the git remote 'origin'"):
        here.add("one")
    assert here.registry().models == {}
    assert here.git("tag") == ""
    alone = RegistryClone(here.folder, remote=None)
    assert alone.add("one") == "birds@v1", "without a server this clone decides"


def test_a_shallow_clone_gets_tags_without_history(here, tmp_path):
    here.add("one", commit="HEAD~1")
    here.promote(1)
    shallow = here.cloned(tmp_path / "shallow", "--depth", "1")
    assert shallow.registry().models == {}
    assert shallow.problems(fetch=True) == set()
    assert shallow.registry().models["birds"].stages_of(1) == ["prod"]
    assert shallow.git("rev-list", "--count", "HEAD") == "1", "no history came along, and none was cut off"


def test_asking_again_is_one_request_that_fetches_nothing(here, other, monkeypatch):
    here.add("one")
    other.problems(fetch=True)
    trace = other.folder.parent / "trace"
    monkeypatch.setenv("GIT_TRACE2", str(trace))
    assert ask(other.opened, "origin").problems == ()
    started = trace.read_text()
    assert (started.count(" ls-remote --quiet"), started.count(" fetch --quiet")) == (1, 0)
    assert started.count("/git -C ") <= 5, started
