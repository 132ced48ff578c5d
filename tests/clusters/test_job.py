"""What all clusters have in common, the names of jobs, and the script for Slurm."""

import subprocess

import pytest

from dvlite.clusters.job import sbatch_script
from tests.clusters.jobs import EVERY, SPEC, job


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


def test_what_a_stage_needs_is_asked_of_slurm():
    assert {"--cpus-per-task=2", "--mem=8192M", "--gpus=1"} <= {
        line.removeprefix("#SBATCH ") for line in sbatch_script(EVERY[1]).splitlines()
    }


def test_names_are_such_as_clusters_take():
    names = [one.name for one in (*EVERY, job(stage="x" * 100), job(stage="___"))]
    assert all(len(name) <= 50 and name.replace("-", "").isalnum() and name == name.lower() for name in names)
    assert all(name[0] != "-" and name[-1] != "-" for name in names)
