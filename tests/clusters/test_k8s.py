"""Jobs of Kubernetes: one pod for each task, what its exit codes do, no secret, and nothing that Kubernetes fills in."""

import pytest
import yaml

from dvlite.clusters import k8s
from dvlite.clusters.job import WORK
from tests.clusters.jobs import EVERY, SPEC, filled_in, job


def container(one):
    return one["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_a_job_of_kubernetes_runs_the_worker_once_for_each_task(one):
    (found,) = yaml.safe_load_all(k8s.manifest([one]))
    spec = found["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (
        one.tasks,
        min(8, one.tasks),
        "Indexed",
    )
    wanted = [
        "dvlite",
        "exec-task",
        "--remote",
        one.remote,
        "--cache",
        f"{WORK}/cache",
        "--index-from",
        "JOB_COMPLETION_INDEX",
        SPEC,
    ]
    assert [filled_in(word) for word in container(found)["command"]] == wanted
    assert "$(" not in "".join(container(found)["command"]).replace("$$(", "")


def test_missing_and_damaged_data_end_a_job_and_a_failed_command_its_task():
    (found,) = yaml.safe_load_all(k8s.manifest([job()]))
    rules = found["spec"]["podFailurePolicy"]["rules"]
    actions = {code: rule["action"] for rule in rules for code in rule.get("onExitCodes", {}).get("values", ())}
    assert actions == {12: "FailJob", 13: "FailJob", 2: "FailIndex", 4: "FailIndex"}
    assert found["spec"]["backoffLimitPerIndex"] > 0
    assert found["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_what_a_stage_needs_is_asked_of_the_cluster():
    (found,) = yaml.safe_load_all(k8s.manifest([EVERY[1]]))
    asked = container(found)["resources"]
    assert asked["requests"] == {"cpu": "2.5", "memory": str(1 << 33)}
    assert asked["limits"] == {"memory": str(1 << 33), "nvidia.com/gpu": "1"}


def test_credentials_are_named_and_a_folder_is_a_volume():
    bucket, folder = yaml.safe_load_all(k8s.manifest([EVERY[0], EVERY[2]]))
    assert container(bucket)["envFrom"] == [{"secretRef": {"name": "dvlite-remote"}}]
    assert "envFrom" not in container(folder)
    volumes = folder["spec"]["template"]["spec"]["volumes"]
    assert volumes[1] == {"name": "remote", "persistentVolumeClaim": {"claimName": "volume-7"}}
