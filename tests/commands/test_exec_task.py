"""Tasks that are given out, run where there is no clone, and collected: what stands here afterwards is what a local run gives."""

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from dvlite.commands import exec_task
from dvlite.formats import strict_json, task
from dvlite.oid import digest_bytes, format_oid
from dvlite.store import tasks as on_remote

OF_A_RUN = ("run: ",)
JOB = ("repro", "--to", "k8s")


class Cluster:
    """The remote of a pipeline, and pods: each an empty folder, with a cache of its own."""

    def __init__(self, pipeline, folder, url=None):
        self.pipeline, self.folder = pipeline, folder
        self.url = url or str(pipeline.root.parent / "store")
        self.objects = Path(self.url)

    def give_out(self, *args, code=0):
        """Returns the ids of what was given out, by stage."""
        found = self.pipeline.json(*JOB, *args, code=code)
        return {each["stage"]: each["spec"] for each in found["stages"]}

    def pod(self, spec, *args, name="pod", code=0):
        """Returns what became of the tasks."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        done = self.pipeline.project._invoke(
            "--json", "exec-task", "--remote", self.url, "--cache", place / "cache", *args, spec, cwd=place
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stderr.splitlines()[-1] if code else done.stdout)

    def collect(self, *args, code=0):
        """Returns the states of stages."""
        found = self.pipeline.json("task", "collect", *args, code=code)
        return {each["stage"]: each["state"] for each in found["stages"] if each["state"] in ("ok", "failed")}

    def listed(self):
        return {each["stage"]: each["state"] for each in self.pipeline.json("task", "list")["tasks"]}

    def names(self, spec):
        return sorted(path.name.partition("-")[0] for path in (self.objects / "tasks" / spec).iterdir())

    def read(self, spec):
        return task.parse((self.objects / task.spec_name(spec)).read_bytes(), spec)

    def answer(self, spec, **outputs):
        """Puts a result as a worker would, with these bytes for outputs, which nobody uploaded."""
        of = self.read(spec)
        files = tuple(
            task.TaskFile(path=out, oid=format_oid("blake3", digest_bytes(data)), size_bytes=len(data))
            for out, data in outputs.items()
        )
        return self.put(spec, task.TaskResult(task=of.id, units=(task.UnitResult(outputs=files, exit_code=0),)))

    def put(self, spec, result):
        data = task.dump_result(result)
        (self.objects / task.result_name(spec, data)).write_bytes(data)


@pytest.fixture
def line(prepared_pipeline):
    return prepared_pipeline("line with remote", lambda pipeline: pipeline.line().commit("Line"), remote=True)


@pytest.fixture
def cluster(line, tmp_path):
    return Cluster(line, tmp_path)


def locked_facts(pipeline):
    return [row for row in pipeline.lock().decode().splitlines() if not row.strip().startswith(OF_A_RUN)]


@pytest.mark.long
def test_outputs_and_lockfile_are_those_of_a_local_run_and_records_say_where_it_ran(cluster, line):
    for stage in ("prepare", "train", "report"):
        given = cluster.give_out()
        assert list(given) == [stage]
        assert cluster.listed() == {stage: "waiting"}
        cluster.pod(given[stage])
        assert cluster.listed() == {stage: "done"}
        assert cluster.collect() == {stage: "ok"}
        assert cluster.listed() == {}
    assert line.is_up_to_date()
    ran = line.records("train")[-1]
    assert (ran.status, ran.worker != "", ran.metrics) == ("ok", True, {"metrics.json:acc": 0.1})
    away, made = locked_facts(line), {name: line.read(name) for name in ("clean.txt", "model.pt", "report.txt")}
    line.repro("--force", "--no-run-cache")
    assert locked_facts(line) == away
    assert {name: line.read(name) for name in made} == made


def test_what_waits_for_results_is_named_and_not_given_out(cluster, line):
    done = line.dvlite(*JOB)
    assert "'train', 'report' wait for results of stages before" in done.stderr
    assert "kind: Job" in done.stdout
    assert line.ran() == []


def test_two_scripts_for_slurm_without_a_folder_are_refused_before_anything_is_given_out(cluster, line, tmp_path):
    line.write("dvlite.yaml", "stages: {a: {cmd: echo a > a, outs: [a]}, b: {cmd: echo b > b, outs: [b]}}")
    refused = line.dvlite("repro", "--to", "slurm", code=2)
    assert "Slurm takes a script for each stage, and there are 2" in refused.stderr
    assert cluster.listed() == {}
    line.dvlite("repro", "--to", "slurm", "-o", f"{tmp_path}/jobs/")
    assert len(list((tmp_path / "jobs").iterdir())) == 2
    assert cluster.listed() == {"a": "waiting", "b": "waiting"}


@pytest.mark.long
def test_a_worker_of_a_bucket_needs_url_and_credentials_alone(pipeline, weed, s3_url, tmp_path, monkeypatch):
    monkeypatch.setenv("DVLITE_TRUST", weed.endpoint_url)
    pipeline.line().commit("Line")
    pipeline.dvlite("remote", "add", s3_url, "-o", f"endpoint_url={weed.endpoint_url}", "-o", "region=us-east-1")
    for name, value in (("AWS_ACCESS_KEY_ID", weed.access_key_id), ("AWS_SECRET_ACCESS_KEY", weed.secret_access_key)):
        monkeypatch.setenv(name, value)
    cluster = Cluster(pipeline, tmp_path, s3_url)
    text = pipeline.json(*JOB)["text"]
    assert weed.endpoint_url in text
    assert weed.secret_access_key not in text
    given = cluster.give_out()
    monkeypatch.setenv("AWS_ENDPOINT_URL", weed.endpoint_url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    cluster.pod(given["prepare"])
    assert cluster.collect() == {"prepare": "ok"}
    assert pipeline.read("clean.txt") == b"SOME DATA\n"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    found = cluster.pod(given["prepare"], name="other", code=1)
    assert "dvlite" in found["error"]
    assert not (tmp_path / "other/cache/packs").exists()


def test_a_task_that_is_done_runs_no_second_time(cluster, line):
    spec = cluster.give_out()["prepare"]
    assert [each["state"] for each in cluster.pod(spec)["tasks"]] == ["ran"]
    assert [each["state"] for each in cluster.pod(spec, name="other")["tasks"]] == ["done before"]
    assert line.ran() == ["prepare"]


def test_a_task_that_another_worker_has_is_left_to_it_and_free_when_that_is_dead(cluster, line, monkeypatch):
    spec = cluster.give_out()["prepare"]
    claim = cluster.objects / "tasks" / spec / "claim-000001.json"
    claim.write_bytes(strict_json.dump({"dvlite_claim": 1, "worker": "another", "nonce": "0"}))
    monkeypatch.setattr(exec_task, "_POLL_SECONDS", 0.0)
    waits = iter((10**6, 0.0))
    monkeypatch.setattr(on_remote, "CLAIM_SECONDS", 10**6)
    monkeypatch.setattr(
        exec_task.time, "sleep", lambda _: monkeypatch.setattr(on_remote, "CLAIM_SECONDS", next(waits, 0.0))
    )
    assert [each["state"] for each in cluster.pod(spec)["tasks"]] == ["ran"]
    assert "claim" in cluster.names(spec)
    assert line.ran() == ["prepare"]


def test_a_number_that_a_cluster_gives_one_process_at_a_time_takes_over_its_own_claim(cluster, line, monkeypatch):
    spec = cluster.give_out()["prepare"]
    claim = cluster.objects / "tasks" / spec / "claim-000001.json"
    claim.write_bytes(strict_json.dump({"dvlite_claim": 1, "worker": "JOB_COMPLETION_INDEX 0", "nonce": "0"}))
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    found = cluster.pod(spec, "--index-from", "JOB_COMPLETION_INDEX")
    assert [each["state"] for each in found["tasks"]] == ["ran"]


def test_workers_without_a_number_have_names_of_their_own_in_containers_of_one_host_too():
    options = exec_task.ExecOptions("/store")
    names = {exec_task._worker(options, {}, "host").name for _ in range(2)}
    assert len(names) == 2


@pytest.mark.long
def test_of_a_list_each_task_runs_once_and_a_number_chooses_one(cluster, line, monkeypatch):
    line.write(
        "dvlite.yaml",
        line.read("dvlite.yaml")
        + b"  other:\n    cmd: cat raw.txt > o; echo other >> $RAN\n    deps: [raw.txt]\n    outs: [o]\n",
    )
    ids = sorted(cluster.give_out().values())
    data = task.dump_list(ids)
    spec = task.digest_task(data)
    place = cluster.objects / task.list_name(spec)
    place.parent.mkdir()
    place.write_bytes(data)
    monkeypatch.setenv("NUMBER", "1")
    found = cluster.pod(spec, "--index-from", "NUMBER")
    assert [(each["task"], each["state"]) for each in found["tasks"]] == [(ids[1], "ran")]
    found = cluster.pod(spec, name="other")
    assert {each["task"]: each["state"] for each in found["tasks"]} == {ids[1]: "done before", ids[0]: "ran"}
    assert sorted(line.ran()) == ["other", "prepare"]
    monkeypatch.setenv("NUMBER", "2")
    assert "there are 2 tasks" in cluster.pod(spec, "--index-from", "NUMBER", code=2)["error"]


@pytest.mark.long
def test_a_command_that_fails_is_recorded_with_its_log_and_can_be_given_out_again(cluster, line):
    line.write("dvlite.yaml", "stages:\n  one: {cmd: 'echo so long; test -e fixed', deps: [raw.txt], outs: [o]}\n")
    spec = cluster.give_out()["one"]
    assert cluster.pod(spec, code=4)["error"] == "one failed: exit 1"
    assert cluster.listed() == {"one": "failed"}
    done = line.dvlite("task", "collect", code=4)
    (name,) = (row.split()[-2] for row in done.stderr.splitlines() if row.startswith("hint: its output"))
    assert line.dvlite("runs", "show", name, "--log").stdout.endswith("so long\n")
    run = line.records("one")[-1]
    assert (run.status, run.exit_code) == ("failed", 1)
    assert cluster.listed() == {}
    assert cluster.give_out() == {"one": spec}
    assert "result" not in cluster.names(spec)


def test_inputs_that_are_gone_are_final_for_every_pod(cluster, line):
    spec = cluster.give_out()["prepare"]
    shutil.rmtree(cluster.objects / "packs")
    assert "raw.txt" in cluster.pod(spec, code=12)["error"]
    assert "claim" not in cluster.names(spec)  # another worker may try


@pytest.mark.long
def test_inputs_that_are_damaged_are_final_for_every_pod(cluster, line):
    spec = cluster.give_out()["prepare"]
    for pack in (cluster.objects / "packs").iterdir():
        pack.chmod(0o644)
        pack.write_bytes(bytes(byte ^ 0xFF for byte in pack.read_bytes()))
    assert cluster.pod(spec, code=13)["exit_code"] == 13


@pytest.mark.parametrize("data", [b"", b"{}\n"])
def test_a_task_that_was_changed_on_the_remote_is_not_run(cluster, line, data):
    spec = cluster.give_out()["prepare"]
    place = cluster.objects / task.spec_name(spec)
    place.chmod(0o644)
    place.write_bytes(data)
    assert cluster.pod(spec, code=13)["exit_code"] == 13
    assert line.ran() == []


def test_a_task_that_was_not_given_out_is_not_run(cluster, line):
    spec = cluster.give_out()["prepare"]
    other = dataclasses.replace(cluster.read(spec), cmd="echo evil >> $RAN")
    file = cluster.folder / "spec.json"
    file.write_bytes(task.checked(other))
    assert "was not given out" in cluster.pod(str(file), code=2)["error"]
    file.write_bytes(b"[]")
    assert cluster.pod(str(file), code=1)["error"].startswith("cannot read")
    assert line.ran() == []


def test_a_result_whose_outputs_are_not_there_changes_nothing(cluster, line):
    spec = cluster.give_out()["prepare"]
    cluster.answer(spec, **{"clean.txt": b"forged\n"})
    assert "the outputs of prepare are not on the remote" in line.dvlite("task", "collect", code=12).stderr
    assert not line.has("clean.txt")
    assert not line.has("dvlite.lock")
    cluster.pod(spec)  # a forged result is in nobody's way
    cluster.answer(spec, **{"clean.txt": b"newer\n"})
    assert cluster.collect() == {"prepare": "ok"}


def test_a_result_with_other_outputs_or_of_another_task_counts_for_nothing(cluster, line):
    spec = cluster.give_out()["prepare"]
    cluster.answer(spec, **{"train.sh": b"evil\n"})
    cluster.answer(spec, **{"clean.txt": b"x", "train.sh": b"evil\n"})
    cluster.put(spec, task.TaskResult(task="0" * 64, units=(task.UnitResult(exit_code=0),)))
    (cluster.objects / "tasks" / spec / f"result-{'0' * 32}.json").write_bytes(b"{}\n")
    assert cluster.collect() == {}
    assert line.read("train.sh") != b"evil\n"


@pytest.mark.long
def test_a_clone_collects_what_another_one_gave_out_if_it_would_give_out_the_same(cluster, line, tmp_path):
    spec = cluster.give_out()["prepare"]
    cluster.pod(spec)
    line.git("clone", "-q", line.root, tmp_path / "clone")
    found = line.project._invoke("--json", "task", "collect", cwd=tmp_path / "clone")
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "clone/clean.txt").read_bytes() == b"SOME DATA\n"


def test_a_result_of_inputs_that_changed_since_stays_on_the_remote(cluster, line):
    cluster.pod(cluster.give_out()["prepare"])
    line.write("raw.txt", "other data\n")
    assert cluster.collect() == {}
    assert cluster.listed() == {"prepare": "done"}
    line.write("raw.txt", "some data\n")
    assert cluster.collect() == {"prepare": "ok"}


def test_stages_that_only_this_clone_can_run_are_named(cluster, line):
    line.write("dvlite.yaml", "stages:\n  one: {cmd: x, always: true, outs: [o]}\n")
    found = line.json(*JOB)
    assert [each["stage"] for each in found["here_only"]] == ["one"]
    assert found["stages"] == []
    assert not (cluster.objects / "tasks").exists()


def test_what_another_machine_cannot_give_stops_the_task(cluster, line, monkeypatch):
    line.write("dvlite.yaml", "stages:\n  one: {cmd: touch o, capture: [{env: FLAVOUR}], outs: [o]}\n")
    monkeypatch.setenv("FLAVOUR", "sweet")
    spec = cluster.give_out()["one"]
    monkeypatch.setenv("FLAVOUR", "sour")
    assert "env FLAVOUR is 'sour'" in cluster.pod(spec, code=1)["error"]
    monkeypatch.setenv("FLAVOUR", "sweet")
    cluster.pod(spec)


@pytest.mark.long
def test_gc_keeps_what_tasks_read_and_made_until_it_is_collected_and_forgets_old_tasks(cluster, line):
    spec = cluster.give_out()["prepare"]
    gc = ("gc", "--remote", "--grace", "0s", "--yes")
    line.dvlite(*gc)
    cluster.pod(spec)
    line.dvlite(*gc)
    assert cluster.collect() == {"prepare": "ok"}
    assert line.json("fsck", "--remote")["findings"] == []
    line.dvlite(*gc)
    assert (cluster.objects / "tasks" / spec).exists()
    for path in (cluster.objects / "tasks" / spec).iterdir():
        os.utime(path, (time.time() - 91 * 86400,) * 2)
    line.dvlite(*gc)
    assert not [path for path in (cluster.objects / "tasks").rglob("*") if path.is_file()]


MAP = """\
stages:
  sizes:
    map: {over: 'songs/*.txt', batch: 2}
    cmd: wc -c < ${in} > ${out}; test ${stem} != bad || test -e songs/fixed.txt; echo ${stem} >> "$RAN"
    outs: ['sizes/${stem}']
"""


@pytest.mark.long
def test_datums_are_given_out_in_batches_collected_and_run_no_second_time(cluster, line):
    for name in ("wren", "robin", "crow", "it's", "tit"):
        line.write(f"songs/{name}.txt", name)
    line.write("dvlite.yaml", MAP)
    spec = cluster.give_out()["sizes"]
    (count,) = (each["tasks"] for each in line.json(*JOB)["stages"])
    assert count == 3
    assert {each["state"] for each in cluster.pod(spec)["tasks"]} == {"ran"}
    assert sorted(line.ran()) == sorted(["wren", "robin", "crow", "it's", "tit"])
    assert "5 datums collected" in line.dvlite("task", "collect").stdout
    assert cluster.listed() == {}
    assert line.states() == {"sizes": "ok"}
    assert line.ran() == []
    assert {name: line.read(f"sizes/{name}") for name in ("wren", "it's")} == {"wren": b"4\n", "it's": b"4\n"}
    away = locked_facts(line)
    line.repro("--force", "--no-run-cache")
    assert locked_facts(line) == away
