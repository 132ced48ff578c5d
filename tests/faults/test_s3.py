"""A sample of the S3 faults that `python -m tests.faults.table` tries at every request of every command."""

import pytest

from tests.faults.s3 import sweep_of
from tests.faults.scene import Tally, runner, table
from tests.store.faultproxy import running_proxy
from tests.warm import running


@pytest.fixture
def sweep(weed, tmp_path, monkeypatch):
    """Yields the sweep over a scene in a bucket; its commands give a stalled request up in a second."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "")  # the sweep sets them: put back at the end
    monkeypatch.setenv("DVLITE_TRUST", "")
    monkeypatch.setenv("DVLITE_RETRY_SECONDS", "30")
    for name in ("program", "scene"):
        (tmp_path / name).mkdir()
    with running(tmp_path / "program", "tests.faults.impatient") as program, running_proxy(weed.endpoint_url) as proxy:
        made = sweep_of(weed, proxy, tmp_path / "scene", runner(program))
        yield made
        made.scene.place.close()


def assert_sound(tallies):
    assert sum(tally.points for tally in tallies.values())
    assert not any(tally.bad() for tally in tallies.values()), table(tallies)


SAMPLE = [  # (command, request, fault)
    ("push, one edit", 7, "answer lost"),
    ("push, one edit", 9, "listing without new"),
    ("pull, fresh clone", 5, "answer flipped"),
]


def test_a_fault_at_a_request_loses_nothing_and_is_not_passed_over_in_silence(sweep):
    scenarios = {scenario.name: scenario for scenario in sweep.scenarios}
    tally = Tally()
    for name, at, fault in SAMPLE:
        broken = next(each for each in sweep.breaks if each.name == fault)
        sweep.point(scenarios[name], at, broken, tally, lasts=False)
    assert tally.points == len(SAMPLE)
    assert_sound({"sample": tally})


@pytest.mark.long
@pytest.mark.sweep
def test_faults_at_many_requests_of_every_command_lose_nothing(sweep):
    assert_sound({each.name: sweep.sweep(each, 60) for each in sweep.scenarios})
