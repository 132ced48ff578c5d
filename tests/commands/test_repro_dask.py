"""`dvlite repro --on dask` on real Dask workers, each with a folder of its own, and a real bucket in common."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.commands.project import Project
from tests.copies import copy_of, initialised
from tests.dask_cluster import running_cluster
from tests.polling import until

pytest.importorskip("distributed", reason="distributed is not installed: make test-long")

PIPELINE = """\
stages:
  part:
    matrix: {n: [1, 2, 3, 4]}
    cmd: echo part ${item.n} $PPID >> "$RAN"; sleep 0.3; seq ${item.n}00 > parts/${item.n}
    outs: ["parts/${item.n}"]
  gpu: {cmd: 'echo gpu >> "$RAN"; cat parts/* | sort | sha256sum > sum', deps: [parts/1, parts/2, parts/3, parts/4], outs: [sum], resources: {gpu: 1}}
  last: {cmd: "cut -c 1-8 sum > short", deps: [sum], outs: [short]}
"""


@pytest.fixture
def farm(tmp_path, weed, s3_url, invoke, monkeypatch):
    """Yields a project with a bucket, and two workers: the second has a GPU."""
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    root = copy_of("init", initialised, tmp_path / "repo")
    project = Project(root, invoke)
    project.dvlite("remote", "add", s3_url, "-o", f"endpoint_url={weed.endpoint_url}")
    project.write("dvlite.yaml", PIPELINE)
    with running_cluster(tmp_path / "cluster", ["cpu=2", "cpu=2 GPU=1"], os.environ) as cluster:
        yield project, cluster


def ran(tmp_path):
    return (tmp_path / "ran").read_text().splitlines()


@pytest.mark.long
def test_stages_run_on_two_workers_and_give_what_a_local_run_gives(farm, tmp_path, monkeypatch):
    project, cluster = farm
    done = project.json("repro", "--on", f"dask:{cluster.address}")
    assert {stage["state"] for stage in done["stages"]} == {"ok"}
    away, made = project.read("dvlite.lock"), project.read("short")
    assert len(ran(tmp_path)) == 5
    runs = {run["stage"]: run for run in project.json("runs")["runs"]}
    assert len(runs) == 6
    (project.root / "short").unlink()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    project.dvlite("repro", "--force", "--no-run-cache")
    assert project.read("short") == made
    keep = [line for line in away.splitlines() if b"run: " not in line]
    assert [line for line in project.read("dvlite.lock").splitlines() if b"run: " not in line] == keep


def start(project, cluster):
    words = [sys.executable, "-m", "dvlite", "repro", "--on", f"dask:{cluster.address}"]
    return subprocess.Popen(words, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def has_begun(tmp_path, beginning):
    return lambda: (tmp_path / "ran").exists() and any(line.startswith(beginning) for line in ran(tmp_path))


@pytest.mark.servers
def test_a_worker_that_is_killed_leaves_no_process_and_its_task_is_done_by_another(farm, tmp_path):
    project, cluster = farm
    project.write("dvlite.yaml", PIPELINE.replace("sleep 0.3", "sleep 3"))
    process = start(project, cluster)
    until(has_begun(tmp_path, "part"), process)
    cluster.kill_worker(cluster.worker_pids()[0])
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert json.loads(project.dvlite("--json", "repro", "-n").stdout)["stages"][0]["state"] == "up to date"


@pytest.mark.servers
def test_after_a_client_or_a_scheduler_that_died_the_next_run_takes_up_what_was_done(farm, tmp_path):
    project, cluster = farm
    process = start(project, cluster)
    until(has_begun(tmp_path, "gpu"), process)
    process.kill()
    process.communicate()
    assert project.json("repro", "--on", f"dask:{cluster.address}")["stages"][-1]["state"] == "ok"
    parts = [line for line in ran(tmp_path) if line.startswith("part")]
    assert len(parts) == 4
    project.write("dvlite.yaml", PIPELINE.replace("sleep 0.3", "sleep 30"))
    process = start(project, cluster)
    until(lambda: len(ran(tmp_path)) >= 7, process)
    cluster.kill_scheduler()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3, output
    assert "lost the Dask scheduler" in output
    until(lambda: not any("sleep 30" in line for line in cluster.marked()))


@pytest.mark.servers
def test_ctrl_c_ends_what_runs_on_workers(farm, tmp_path):
    project, cluster = farm
    project.write("dvlite.yaml", PIPELINE.replace("sleep 0.3", "sleep 301"))
    process = start(project, cluster)
    until(has_begun(tmp_path, "part"), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    until(lambda: not any("sleep 301" in line for line in cluster.marked()))
