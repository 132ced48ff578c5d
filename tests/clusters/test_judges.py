"""What clusters' own programs say of what is written for them: schemas, the official client's models, kubectl, docker. `make test-clusters`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dvlite.clusters import k8s, swarm
from tests.clusters.jobs import EVERY
from tests.test_docs import PROJECT

pytestmark = pytest.mark.servers
JUDGE = Path(__file__).with_name("judge_k8s.py")
PYTHON = Path(sys.prefix) / "clusters/bin/python"
CRONJOB = PROJECT / "examples/container/verify-cronjob.yaml"


def judged(file):
    if not PYTHON.exists():
        pytest.skip("kubernetes-validate and kubernetes are not installed: make test-clusters")
    done = subprocess.run([PYTHON, JUDGE, file], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def manifest(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(k8s.manifest(EVERY))
    return file


def test_schemas_and_the_official_client_accept_every_job(manifest):
    found = judged(manifest)
    assert [each["refused"] for each in found] == [""] * len(EVERY)
    assert all(each["same"] for each in found)
    assert [each["refused"] for each in judged(CRONJOB)] == [""]
    assert judged(CRONJOB)[0]["same"]


@pytest.mark.parametrize(("right", "wrong"), [("parallelism: 8", "parallelism: eight"), ("workingDir:", "workingdir:")])
def test_they_refuse_what_is_wrong(manifest, right, wrong):
    manifest.write_text(manifest.read_text().replace(right, wrong))
    assert any(each["refused"] and not each["same"] for each in judged(manifest))


def test_kubectl_reads_all_of_it(manifest):
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl on PATH")
    for file, kinds in ((manifest, ["Job"] * len(EVERY)), (CRONJOB, ["CronJob"])):
        command = ["kubectl", "set", "resources", "--local", "-f", str(file), "--limits=cpu=3", "-o", "json"]
        environ = {**os.environ, "KUBECONFIG": "/dev/null"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        text, decoder, found = done.stdout.strip(), json.JSONDecoder(), []
        while text:
            document, end = decoder.raw_decode(text)
            found += document.get("items", [document])
            text = text[end:].strip()
        assert [each["kind"] for each in found] == kinds
        for each in found:
            spec = each["spec"] if each["kind"] == "Job" else each["spec"]["jobTemplate"]["spec"]
            assert spec["podFailurePolicy"]["rules"][0]["action"] == "FailJob"


def test_docker_reads_the_stack(tmp_path):
    if shutil.which("docker") is None:
        pytest.skip("there is no docker on PATH")
    file = tmp_path / "stack.yml"
    file.write_text(swarm.stack([one for one in EVERY if not one.is_folder]))
    done = subprocess.run(["docker", "stack", "config", "-c", file], capture_output=True, text=True, check=False)
    if "unknown command" in done.stderr or "replicated-job" in done.stderr:
        pytest.skip(f"this docker knows no jobs in stacks: {done.stderr.strip()[:100]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mode: replicated-job") == 3
    file.write_text(file.read_text().replace("replicas: 8", "replicas: eight"))
    assert subprocess.run(["docker", "stack", "config", "-c", file], capture_output=True, check=False).returncode != 0
