"""`dvlite repro --on`: stages run on machines that have only the remote in common with this one; what stands here afterwards is what a local run gives.

The cluster is replaced by a machine of its own in this process: another folder, another cache, the same code that a worker runs.
"""

import json
import os
import shutil
from dataclasses import replace
from itertools import cycle

import pytest

from dvlite.commands import repro as command
from dvlite.formats import task as tasks
from dvlite.pipeline.dask_tasks import do_task
from dvlite.pipeline.executor import Interrupted

OF_A_RUN = ("run: ",)


class Machine:
    """An executor with a place of its own; `answers` may change what comes back, `before` is called before a task runs."""

    def __init__(self, folder):
        self.folder, self.texts, self.sent, self.queue = folder, [], [], []
        self.opened = self.stopped = 0
        self.answers, self.before = (lambda result: result), lambda: None

    def __call__(self, place, remote, progress):
        self.remote = remote
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def submit(self, task):
        self.opened += 1
        self.texts.append(tasks.checked(task).decode())
        self.queue.append(task)

    def is_ready(self):
        return bool(self.queue)

    def wait(self):
        task = self.queue.pop(0)
        self.before()
        found = do_task(tasks.dump(task).decode(), self.remote.text(), self.folder, "7", lambda: False)
        return [self.answers(tasks.parse_result(found.encode(), "it"))]

    def take_back(self, ids):
        self.queue = [task for task in self.queue if task.id not in ids]

    def slots(self):
        return 1

    def stop(self):
        self.stopped += 1
        self.queue.clear()
        return []


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path / "machine")
    monkeypatch.setattr(command, "DaskTasks", made)
    return made


@pytest.fixture
def line(prepared_pipeline):
    return prepared_pipeline("line with remote", lambda pipeline: pipeline.line().commit("Line"), remote=True)


def locked_facts(pipeline):
    return [row for row in pipeline.lock().decode().splitlines() if not row.strip().startswith(OF_A_RUN)]


def test_outputs_and_lockfile_are_those_of_a_local_run_and_records_say_where_it_ran(line, machine):
    line.repro()
    here, made = locked_facts(line), {name: line.read(name) for name in ("clean.txt", "model.pt", "report.txt")}
    line.ran()
    for name in made:
        (line.root / name).unlink()
    away = line.repro("--on", "dask", "--force")
    assert [(name, each["state"]) for name, each in away.items()] == [
        (name, "ok") for name in ("prepare", "train", "report")
    ]
    assert locked_facts(line) == here
    assert {name: line.read(name) for name in made} == made
    assert line.ran() == ["prepare", "train", "report"]
    ran = line.records("train")[-1]
    assert (ran.worker, ran.environment["platform"][:5], ran.metrics) == ("7", "linux", {"metrics.json:acc": 0.1})
    assert line.is_up_to_date()


def test_what_is_up_to_date_is_sent_nowhere(line, machine):
    line.repro()
    line.repro("--on", "dask")
    assert machine.texts == []


def test_data_that_is_on_the_remote_only_need_not_come_here(line, machine):
    line.write("data/a", "1")
    line.write("data/b", "2")
    line.dvlite("add", "data")
    line.dvlite("push")
    for folder in (line.root / "data", line.root / ".git/dvlite/cache"):
        shutil.rmtree(folder)
    line.write("dvlite.yaml", "stages:\n  all: {cmd: cat data/* > all, deps: [data], outs: [all]}\n")
    assert line.repro("--on", "dask")["all"]["state"] == "ok"
    assert line.read("all") == b"12"
    assert not line.has("data")


def test_a_command_that_fails_leaves_the_outputs_and_its_log_is_kept(line, machine):
    line.repro()
    before = line.read("model.pt")
    line.write("train.sh", "echo it went wrong; exit 7\n")
    failed = line.repro("--on", "dask", code=4)["train"]
    assert (failed["state"], failed["exit_code"], failed["log_tail"]) == ("failed", 7, ["it went wrong"])
    assert line.read("model.pt") == before
    assert (line.records("train")[-1].worker, line.records("train")[-1].status) == ("7", "failed")


def test_with_keep_going_what_does_not_need_the_failed_stage_runs(line, machine):
    line.edit(
        "dvlite.yaml",
        "stages:",
        "stages:\n  bad: {cmd: exit 1, outs: [never]}\n  after: {cmd: cat never, deps: [never], outs: [o]}",
    )
    states = line.states("--on", "dask", "-k", code=4)
    assert states == {"bad": "failed", "after": "not run", "prepare": "ok", "train": "ok", "report": "ok"}


def test_a_file_that_changes_while_a_task_runs_changes_nothing_of_its_result(line, machine):
    machine.before = lambda: line.write("raw.txt", "other data\n")
    assert line.states("prepare", "--on", "dask") == {"prepare": "ok"}
    assert line.read("clean.txt") == b"SOME DATA\n"
    assert line.reasons("prepare") == {"prepare": [("dep-changed", "raw.txt")]}


def test_stages_that_cannot_be_tasks_run_here_and_the_reason_is_said(line, machine):
    line.write(
        "dvlite.yaml",
        "stages:\n  stamp: {cmd: 'echo $PWD > now', outs: [now], always: true}\n  far: {cmd: cat now > o, deps: [now], outs: [o]}\n",
    )
    done = line.dvlite("repro", "--on", "dask")
    assert "stamp runs on this machine: it runs each time" in done.stderr
    assert line.read("o").decode().strip() == str(line.root)
    assert len(machine.texts) == 1


def test_a_result_that_is_on_the_remote_is_taken_without_running_again_unless_forced(line, machine):
    line.repro("--on", "dask")
    line.ran()
    for name in ("dvlite.lock", "clean.txt", "model.pt", "report.txt"):
        (line.root / name).unlink()
    shutil.rmtree(line.root / ".git/dvlite/runs")
    assert line.states("--on", "dask") == {"prepare": "ok", "train": "ok", "report": "ok"}
    assert (line.ran(), line.read("report.txt").strip()) == ([], b"12")
    line.repro("--on", "dask", "--force")
    assert line.ran() == ["prepare", "train", "report"]


@pytest.mark.parametrize("wrong", ["other/path", "clean.txt/inner"])
def test_a_result_with_other_outputs_than_those_declared_is_refused(line, machine, wrong):
    def lie(result):
        (unit,) = result.units
        return replace(result, units=(replace(unit, outputs=(replace(unit.outputs[0], path=wrong),)),))

    machine.answers = lie
    done = line.repro("prepare", "--on", "dask", code=4)["prepare"]
    assert (done["state"], done["problem"]) == ("failed", "what it made is not what it declares")
    assert not line.has(wrong)


def test_of_the_settings_of_a_remote_workers_are_given_its_place_and_no_secret(pipeline, machine, monkeypatch):
    monkeypatch.setenv("DVLITE_TRUST", "https://s3.example.com")
    pipeline.write("dvlite.yaml", "stages:\n  one: {cmd: echo > o, outs: [o], always: true}\n")
    options = (
        "url: s3://bucket/here, endpoint_url: 'https://s3.example.com', access_key_id: ABC, secret_access_key: hush"
    )
    pipeline.write(".dvlite/config.local.yaml", f"remotes:\n  origin: {{{options}}}\n")
    pipeline.repro("--on", "dask")
    sent = json.loads(machine.remote.text())
    assert (sent["url"], sent["options"]["endpoint_url"]) == ("s3://bucket/here", "https://s3.example.com")
    assert "hush" not in machine.remote.text()


def test_an_interruption_takes_tasks_back_and_is_recorded(line, machine):
    def interrupt():
        raise Interrupted("SIGTERM")

    machine.before = interrupt
    line.dvlite("repro", "--on", "dask", code=130)
    assert (machine.stopped > 0, line.records("prepare")[-1].status, line.has("clean.txt")) == (True, "canceled", False)


def test_without_a_remote_nothing_is_begun(pipeline, machine):
    pipeline.line()
    assert "remote" in pipeline.refused("--on", "dask", code=2)


def test_another_kind_of_cluster_is_refused_with_a_command_that_works(pipeline):
    pipeline.line()
    assert "dvlite repro --on dask" in pipeline.refused("--on", "ray", code=2)


def test_a_folder_of_code_with_data_in_it_is_whole_on_the_worker(line, machine):
    line.write("src/code.sh", "cat src/data/x")
    line.write("src/data/x", "deep")
    line.dvlite("add", "src/data")
    line.write("dvlite.yaml", "stages:\n  all: {cmd: sh src/code.sh > all, deps: [src], outs: [all]}\n")
    assert line.states("--on", "dask") == {"all": "ok"}
    assert line.read("all") == b"deep"


def test_python_of_a_folder_that_is_an_input_leaves_no_bytecode_in_it(line, machine, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    line.write("src/main.py", "import other; print(other.X)")
    line.write("src/other.py", "X = 1\n")
    line.write("dvlite.yaml", "stages:\n  all: {cmd: python src/main.py > all, deps: [src], outs: [all]}\n")
    assert line.states("--on", "dask") == {"all": "ok"}


def test_a_worker_with_other_captured_values_runs_nothing(line, machine, monkeypatch):
    monkeypatch.setenv("FLAVOUR", "sweet")
    line.write("dvlite.yaml", "stages:\n  all: {cmd: echo > all, outs: [all], capture: [{env: FLAVOUR}]}\n")
    machine.before = lambda: os.environ.update(FLAVOUR="sour")
    done = line.dvlite("repro", "--on", "dask", code=1)
    assert "env FLAVOUR is 'sour', not 'sweet'" in done.stderr


def test_large_files_are_brought_whole_in_both_directions(line, machine):
    line.write("big", os.urandom(3 << 20))
    line.write("dvlite.yaml", "stages:\n  all: {cmd: 'cat big big > out; seq 100000', deps: [big], outs: [out]}\n")
    assert line.states("--on", "dask") == {"all": "ok"}
    assert line.read("out") == line.read("big") * 2


def test_a_command_that_writes_to_a_large_input_fails_and_harms_no_later_one(line, machine):
    line.write("big", os.urandom(3 << 20))
    line.write(
        "dvlite.yaml",
        "stages:\n  all: {cmd: 'chmod +w big || true; echo more >> big; cp big out', deps: [big], outs: [out]}\n",
    )
    assert line.repro("--on", "dask", code=4)["all"]["problem"] == "changed its input 'big'"
    line.edit("dvlite.yaml", "chmod +w big || true; echo more >> big; ", "")
    assert line.states("--on", "dask") == {"all": "ok"}
    assert line.read("out") == line.read("big")


MAPPED = """\
stages:
  square:
    map: {over: "items/*.txt", batch: 3}
    cmd: echo square >> "$RAN"; echo $(( $(cat ${in}) * $(cat factor) )) > ${out}
    deps: [factor]
    outs: ["squares/${stem}"]
  total: {cmd: "cat squares/* | sort -n > total", deps: [squares], outs: [total]}
"""


@pytest.fixture
def mapped(line):
    for number in range(7):
        line.write(f"items/{number}.txt", f"{number}\n")
    line.dvlite("add", "items")
    line.write("factor", "3\n")
    line.write("dvlite.yaml", MAPPED)
    line.commit("Map")
    return line


def test_datums_run_away_in_batches_and_give_what_a_local_run_gives(mapped, machine):
    mapped.repro()
    here, total = locked_facts(mapped), mapped.read("total")
    mapped.ran()
    (mapped.root / "total").unlink()
    states = mapped.states("--on", "dask", "--force")
    assert (states, locked_facts(mapped), mapped.read("total")) == ({"square": "ok", "total": "ok"}, here, total)
    assert mapped.ran() == ["square"] * 7
    assert [len(tasks.parse(text.encode(), "it").units) for text in machine.texts] == [3, 3, 1, 1]


def test_one_more_datum_costs_one_task_and_its_listing_alone(mapped, machine):
    mapped.repro("--on", "dask")
    machine.texts.clear()
    mapped.write("items/7.txt", "7\n")
    mapped.repro("--on", "dask")
    first, _ = [tasks.parse(text.encode(), "it") for text in machine.texts]
    assert [unit.name for unit in first.units] == ["7.txt"]
    assert mapped.read("total").split()[-1] == b"21"


@pytest.mark.parametrize(
    ("workers", "shown"),
    [
        (("gpu-1",), None),
        (("gpu-1", "gpu\x1b-2"), "square ran on 2 workers: gpu-1 4, gpu\\x1b-2 3\n"),
        (tuple("abcde"), "square ran on 5 workers: 1 to 2 datums each\n"),
    ],
)
def test_the_share_of_each_worker_in_a_map_stage_is_printed(mapped, machine, workers, shown):
    mapped.write("dvlite.yaml", MAPPED.replace("batch: 3", "batch: 1"))
    turns = cycle(workers)
    machine.answers = lambda result: replace(result, worker=next(turns))
    printed = mapped.dvlite("repro", "--on", "dask").stderr
    assert shown in printed if shown else "ran on" not in printed


def test_a_datum_that_fails_away_leaves_the_others_done(mapped, machine):
    mapped.write("items/3.txt", "not a number )\n")
    failed = mapped.repro("--on", "dask", "-k", code=4)["square"]
    assert (failed["state"], failed["datums"]["ran"], failed["datums"]["failed"]) == ("failed", 6, 1)
    mapped.write("items/3.txt", "3\n")
    mapped.ran()
    mapped.repro("--on", "dask")
    assert mapped.ran() == ["square"]
