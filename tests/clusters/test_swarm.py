"""Stacks of Docker Swarm: replicas that claim tasks of a list, no secret, and nothing that Docker fills in."""

import pytest
import yaml

from dvlite.clusters import swarm
from dvlite.clusters.job import WORK
from tests.clusters.jobs import EVERY, SPEC, filled_in


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_replicas_of_a_stack_claim_tasks_of_a_list(one):
    (service,) = yaml.safe_load(swarm.stack([one]))["services"].values()
    assert [filled_in(word) for word in service["entrypoint"] + service["command"]] == [
        *("dvlite", "exec-task", "--remote", one.remote, "--cache", f"{WORK}/cache", SPEC)
    ]
    assert (service["deploy"]["mode"], service["deploy"]["replicas"]) == ("replicated-job", min(8, one.tasks))


def test_what_a_stage_needs_is_asked_of_the_swarm():
    (service,) = yaml.safe_load(swarm.stack([EVERY[1]]))["services"].values()
    assert service["deploy"]["resources"]["reservations"]["cpus"] == "2.5"


def test_credentials_are_secrets_and_a_folder_is_bound():
    stack = yaml.safe_load(swarm.stack([EVERY[0], EVERY[2]]))
    assert stack["secrets"] == {"dvlite-remote": {"external": True}}
    one, other = stack["services"].values()
    assert (one["secrets"], one["environment"]["AWS_SHARED_CREDENTIALS_FILE"]) == (
        ["dvlite-remote"],
        "/run/secrets/dvlite-remote",
    )
    assert other["volumes"][0]["source"] == EVERY[2].remote
