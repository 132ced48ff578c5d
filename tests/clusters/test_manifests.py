"""What is written for clusters: one worker for each task or list, its exit codes, no secret, and nothing that another program fills in."""

import subprocess

import pytest
import yaml

from dvlite.clusters import k8s, swarm
from dvlite.clusters.job import WORK, sbatch_script
from tests.clusters.jobs import EVERY, SPEC, job


def container(one):
    return one["spec"]["template"]["spec"]["containers"][0]


def filled_in(word):
    """Returns a word as Kubernetes, which knows no variable here, or Docker makes it."""
    return word.replace("$$", "$")


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
    (service,) = yaml.safe_load(swarm.stack([EVERY[1]]))["services"].values()
    assert service["deploy"]["resources"]["reservations"]["cpus"] == "2.5"
    assert {"--cpus-per-task=2", "--mem=8192M", "--gpus=1"} <= {
        line.removeprefix("#SBATCH ") for line in sbatch_script(EVERY[1]).splitlines()
    }


def test_credentials_are_named_and_a_folder_is_a_volume():
    bucket, folder = yaml.safe_load_all(k8s.manifest([EVERY[0], EVERY[2]]))
    assert container(bucket)["envFrom"] == [{"secretRef": {"name": "dvlite-remote"}}]
    assert "envFrom" not in container(folder)
    volumes = folder["spec"]["template"]["spec"]["volumes"]
    assert volumes[1] == {"name": "remote", "persistentVolumeClaim": {"claimName": "volume-7"}}
    stack = yaml.safe_load(swarm.stack([EVERY[0], EVERY[2]]))
    assert stack["secrets"] == {"dvlite-remote": {"external": True}}
    one, other = stack["services"].values()
    assert (one["secrets"], one["environment"]["AWS_SHARED_CREDENTIALS_FILE"]) == (
        ["dvlite-remote"],
        "/run/secrets/dvlite-remote",
    )
    assert other["volumes"][0]["source"] == EVERY[2].remote


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_replicas_of_a_stack_claim_tasks_of_a_list(one):
    (service,) = yaml.safe_load(swarm.stack([one]))["services"].values()
    assert [filled_in(word) for word in service["entrypoint"] + service["command"]] == [
        *("dvlite", "exec-task", "--remote", one.remote, "--cache", f"{WORK}/cache", SPEC)
    ]
    assert (service["deploy"]["mode"], service["deploy"]["replicas"]) == ("replicated-job", min(8, one.tasks))


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_an_array_script_runs_the_worker_with_its_number(one, tmp_path):
    program = tmp_path / "dvlite"
    program.write_text("#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done\n")
    program.chmod(0o755)
    script = sbatch_script(one)
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "exec-task",
        "--remote",
        one.remote,
        "--index-from",
        "SLURM_ARRAY_TASK_ID",
        SPEC,
    ]
    assert f"#SBATCH --array=0-{one.tasks - 1}%{min(8, one.tasks)}\n" in script


def test_names_are_such_as_clusters_take():
    names = [one.name for one in (*EVERY, job(stage="x" * 100), job(stage="___"))]
    assert all(len(name) <= 50 and name.replace("-", "").isalnum() and name == name.lower() for name in names)
    assert all(name[0] != "-" and name[-1] != "-" for name in names)
