"""A sample of the damage that `python -m tests.faults.damage` does to every object of a remote and of a clone's cache."""

import pytest

from tests.faults.damage import CacheSweep, RemoteSweep, run_all, scene_of
from tests.faults.scene import table


@pytest.fixture
def scene(tmp_path, run_cli, monkeypatch):
    monkeypatch.setenv("DVLITE_TRUST", "")  # the sweep sets it: put back at the end
    (tmp_path / "scene").mkdir()
    return scene_of(tmp_path / "scene", run_cli)


def assert_sound(tallies):
    assert sum(tally.points for tally in tallies.values())
    assert not any(tally.bad() for tally in tallies.values()), table(tallies)


def test_damage_is_named_and_takes_away_no_more_than_it_has_to(scene):
    assert_sound(run_all(RemoteSweep(scene), every=4000, first=5))
    assert_sound(run_all(CacheSweep(scene), every=8000, first=9))


@pytest.mark.long
@pytest.mark.parametrize(("kind", "every"), [(RemoteSweep, 150), (CacheSweep, 300)])
def test_any_damage_is_named_and_takes_away_no_more_than_it_has_to(scene, kind, every):
    assert_sound(run_all(kind(scene), every=every))
