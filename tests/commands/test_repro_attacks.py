"""What an attack on the pipeline found, each as a fact that holds now."""

import os
import subprocess
import sys

import pytest

from dvlite.git.program import without_credentials
from tests.polling import until


def test_old_outputs_are_not_put_back_while_new_ones_are_made(pipeline, tmp_path):
    go, begun = tmp_path / "go", tmp_path / "begun"
    script = f"touch {begun}; until [ -e {go} ]; do sleep 0.02; done; mkdir -p out; for f in $(cat in.txt); do echo $f > out/$f; done"
    pipeline.write("make.sh", script)
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: bash make.sh, deps: [make.sh, in.txt], outs: [out]}}")
    pipeline.write("in.txt", "a b c")
    go.touch()
    pipeline.dvlite("repro")
    go.unlink()
    begun.unlink()
    pipeline.write("in.txt", "a b")
    running = subprocess.Popen(
        [sys.executable, "-m", "dvlite", "repro"], cwd=pipeline.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(begun.exists, running)
    done = pipeline.dvlite("checkout")
    assert "'out' is being made by a running dvlite repro" in done.stderr
    now = pipeline.json("status")["running"]
    assert [stage["stage"] for stage in now["stages"]] == ["one"]
    assert now["pid"] == (running.pid if sys.platform == "linux" else None)
    assert "runs stages here, one for " in pipeline.dvlite("doctor").stdout
    assert not pipeline.has("out")
    go.touch()
    assert running.communicate(timeout=60)[0]
    assert running.returncode == 0
    assert sorted(os.listdir(pipeline.root / "out")) == ["a", "b"]
    assert pipeline.json("status")["running"] is None
    (pipeline.root / "out" / "a").unlink()
    pipeline.dvlite("checkout", "out")
    assert sorted(os.listdir(pipeline.root / "out")) == ["a", "b"]


@pytest.mark.parametrize(
    "undone",
    [
        "cp in.txt keep; echo two > in.txt; cp in.txt out; sleep 0.05; cat keep > in.txt",
        "mv in.txt keep; echo two > in.txt; cp in.txt out; cp keep in.txt",
        "echo two > d/x; cat d/x > out; git checkout -q d/x",
        "sed -i s/1/2/ params.yaml; cat params.yaml > out; sed -i s/2/1/ params.yaml",
    ],
)
def test_change_that_is_undone_before_the_end_taints(pipeline, undone):
    pipeline.write("in.txt", "one\n")
    pipeline.write("d/x", "one\n")
    pipeline.write("params.yaml", "lr: 1\n")
    pipeline.commit("inputs")
    pipeline.write("run.sh", undone)
    stage = "{cmd: bash run.sh, deps: [in.txt, d], params: [lr], outs: [out]}"
    pipeline.write("dvlite.yaml", f"stages: {{one: {stage}}}")
    assert pipeline.states(code=3) == {"one": "tainted"}
    assert not pipeline.is_up_to_date()


def test_dry_run_starts_no_python_of_the_repository(pipeline, tmp_path):
    ran = tmp_path / "ran"
    fake = pipeline.write("bin/python", f"#!/bin/sh\ntouch {ran}\n")
    fake.chmod(0o755)
    pipeline.write(
        "dvlite.yaml",
        "stages: {one: {cmd: echo > out, outs: [out], capture: [numpy], env: {PATH: 'bin:/usr/bin:/bin'}}}",
    )
    pipeline.dvlite("repro", "-n", code=1)
    pipeline.dvlite("status")
    assert not ran.exists()


def test_large_file_of_parameters_is_read_to_its_end(pipeline):
    filler = "".join(f'k{number} = "{"x" * 90}"\n' for number in range(14_000))
    pipeline.write("p.toml", f"{filler}zz = 1\n")
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: tail -1 p.toml > out, params: [{p.toml: [zz]}], outs: [out]}}")
    pipeline.dvlite("repro")
    pipeline.edit("p.toml", "zz = 1\n", "zz = 2\n")
    assert pipeline.reasons() == {"one": [("param-changed", "p.toml:zz")]}


def test_end_of_a_long_captured_output_counts(pipeline):
    pipeline.write("tail", "1")
    pipeline.write(
        "dvlite.yaml", "stages: {one: {cmd: echo > out, outs: [out], capture: [{cmd: 'seq 3000; cat tail'}]}}"
    )
    pipeline.dvlite("repro")
    pipeline.write("tail", "2")
    assert pipeline.states() == {"one": "ok"}


def test_executable_bit_of_a_dependency_counts(pipeline):
    script = pipeline.write("run.sh", "#!/bin/sh\necho > out\n")
    script.chmod(0o755)
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: ./run.sh, deps: [run.sh], outs: [out]}}")
    pipeline.dvlite("repro")
    script.chmod(0o644)
    assert pipeline.reasons() == {"one": [("dep-changed", "run.sh")]}


def test_conflict_that_comes_into_the_lockfile_during_a_run_stays(pipeline):
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: bash run.sh, outs: [out]}}")
    pipeline.write("run.sh", "echo 1 > out")
    pipeline.dvlite("repro")
    pipeline.write("run.sh", "echo '<<<<<<< ours' >> dvlite.lock; echo 2 > out")
    pipeline.dvlite("repro", "--force", code=1)
    assert b"<<<<<<< ours" in pipeline.read("dvlite.lock")


def test_what_two_failures_left_is_kept(pipeline):
    pipeline.write("run.sh", "echo 1 > mine.csv; exit 3")
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: bash run.sh, outs: ['*.csv']}}")
    places = [pipeline.repro(code=4)["one"]["kept"] for _ in range(2)]
    assert all(pipeline.read(f"{place}/mine.csv") == b"1\n" for place in places)
    assert len(set(places)) == 2


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://user:p@ss@host/r.git", "https://host/r.git"),
        ("https://host/r.git?access_token=S", "https://host/r.git"),
        ("https://user:tok/en@host/r", "https://..."),
        ("git@example.com:acme/birds", "git@example.com:acme/birds"),
        ("https://host/r.git", "https://host/r.git"),
    ],
)
def test_urls_are_recorded_without_their_secrets(url, bare):
    assert without_credentials(url) == bare
