"""The pods of a printed Indexed Job, each run as Kubernetes would: its command, in an empty folder, with the number of its task."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from tests.commands.conftest import prepared, prepared_pipeline  # noqa: F401  (fixtures)

pytestmark = pytest.mark.long
NAMES = ("wren", "robin", "crow", "it's", "tit")
MAP = """\
stages:
  loud:
    map: {over: 'songs/*.txt', batch: 2}
    cmd: tr a-z A-Z < ${in} > ${out}
    outs: ['loud/${stem}.txt']
  all:
    cmd: cat loud/*.txt > all.txt
    deps: [loud]
    outs: [all.txt]
"""


@pytest.fixture
def birds(prepared_pipeline, on_path):  # noqa: F811
    def build(pipeline):
        for name in NAMES:
            pipeline.write(f"songs/{name}.txt", name)
        pipeline.write("dvlite.yaml", MAP)
        pipeline.commit("Birds")

    return prepared_pipeline("birds of pods", build, remote=True)


def run_pods(manifest, folder):
    """Runs every pod of every job, three at a time; returns how many there were."""
    pods = []
    for job in yaml.safe_load_all(manifest):
        (container,) = job["spec"]["template"]["spec"]["containers"]
        pods += [(job["metadata"]["name"], number, container) for number in range(job["spec"]["completions"])]

    def run(pod):
        name, number, container = pod
        place = folder / f"{name}-{number}"
        place.mkdir()
        command = [word.replace("/work", str(place)).replace("$$", "$") for word in container["command"]]
        environ = {"PATH": os.environ["PATH"], "HOME": str(place), "JOB_COMPLETION_INDEX": str(number)}
        done = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, pods))
    return len(pods)


def test_what_pods_make_is_what_a_local_run_makes(birds, tmp_path):
    (tmp_path / "pods").mkdir()
    numbers = []
    for _ in range(2):
        numbers.append(run_pods(birds.dvlite("repro", "--to", "k8s").stdout, tmp_path / "pods"))
        birds.dvlite("task", "collect")
        birds.repro("loud")
    assert numbers == [3, 1]
    assert birds.is_up_to_date()
    made = {name: birds.read(name) for name in ("all.txt", *(f"loud/{name}.txt" for name in NAMES))}
    entries = [row for row in birds.lock().decode().splitlines() if "run: " not in row]
    birds.repro("--force", "--no-run-cache")
    assert {name: birds.read(name) for name in made} == made
    assert [row for row in birds.lock().decode().splitlines() if "run: " not in row] == entries
    assert json.loads(birds.dvlite("--json", "task", "list").stdout)["tasks"] == []
