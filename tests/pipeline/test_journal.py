"""The lockfiles of one repro: written whole, in the order of the file, and only what changed."""

import os

import pytest

from dvlite.formats import lockfile
from dvlite.formats.lockfile import Facts, Locked, LockedStage
from dvlite.pipeline.journal import Locks
from tests.counting import grows_linearly
from tests.pipeline.stages_of import stages_of

OID = "blake3:" + "ab" * 32
TEXT = "b: {cmd: x, outs: [b]}\na: {cmd: x, outs: [a]}"


@pytest.fixture
def stages():
    return stages_of(TEXT)


def entry(name, key="1", out="ab", run="c"):
    outs = (Locked(name, f"blake3:{out * 32}", 1),)
    return LockedStage(name, key * 64, Facts("x"), run=f"run:{run * 64}", outs=outs)


def written(place, file="dvlite.lock"):
    return [stage.name for stage in lockfile.parse((place.root / file).read_bytes(), file).stages]


def test_entries_have_the_order_of_the_pipeline_file(place, stages):
    locks = Locks(place.repo, stages)
    locks.put(stages[1], entry("a"))
    locks.put(stages[0], entry("b"))
    assert locks.finish() == ("dvlite.lock",)
    assert written(place) == ["b", "a"]


def test_run_that_made_the_same_again_changes_nothing(place, stages):
    locks = Locks(place.repo, stages)
    locks.put(stages[0], entry("b"))
    locks.finish()
    before = (place.root / "dvlite.lock").read_bytes()
    locks = Locks(place.repo, stages)
    locks.put(stages[0], entry("b", run="d"))
    assert locks.finish() == ()
    assert (place.root / "dvlite.lock").read_bytes() == before
    for changed in (entry("b", key="2", run="d"), entry("b", out="cd", run="d")):
        locks = Locks(place.repo, stages)
        locks.put(stages[0], changed)
        assert locks.finish() == ("dvlite.lock",)


def test_stage_that_is_gone_leaves(place, stages):
    locks = Locks(place.repo, stages)
    for stage in stages:
        locks.put(stage, entry(stage.name))
    locks.finish()
    assert Locks(place.repo, stages[1:]).finish() == ("dvlite.lock",)
    assert written(place) == ["a"]


def test_what_git_or_a_person_wrote_meanwhile_is_kept(place, stages):
    locks = Locks(place.repo, stages)
    theirs = Locks(place.repo, stages)
    theirs.put(stages[1], entry("a"))
    theirs.finish()
    locks.put(stages[0], entry("b"))
    locks.finish()
    assert written(place) == ["b", "a"]


def test_a_lockfile_is_durable_whenever_it_is_written(place, stages, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    locks = Locks(place.repo, stages)
    locks.put(stages[0], entry("b"))
    locks.write()
    assert len(synced) == 2  # the file and its folder
    assert (locks.finish(), len(synced)) == (("dvlite.lock",), 2)


def test_write_is_seldom(place, stages):
    locks = Locks(place.repo, stages)
    assert not locks.is_due
    locks.put(stages[0], entry("b"))
    assert locks.is_due
    locks.write()
    assert written(place) == ["b"]
    locks.put(stages[1], entry("a"))
    assert not locks.is_due, "half a second has not passed"
    locks.finish()
    assert written(place) == ["b", "a"]


def test_each_folder_has_its_own(place):
    stages = stages_of(TEXT) + stages_of("a: {cmd: x, outs: [a]}", "sub/dvlite.yaml")
    (place.root / "sub").mkdir()
    locks = Locks(place.repo, stages)
    locks.put(stages[2], entry("a"))
    assert locks.finish() == ("sub/dvlite.lock",)
    assert written(place, "sub/dvlite.lock") == ["a"]
    assert not (place.root / "dvlite.lock").exists()


def test_four_times_the_stages_are_four_times_the_work(place):
    def enter(stages):
        locks = Locks(place.repo, stages)
        for stage in stages:
            locks.put(stage, entry(stage.name))
        locks.finish()

    def stages(count):
        return stages_of("\n".join(f"s{number}: {{cmd: x, outs: [o{number}]}}" for number in range(count)))

    assert grows_linearly(enter, stages(50), stages(200), times=4)
