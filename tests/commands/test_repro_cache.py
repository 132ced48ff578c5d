"""`dvlite repro` and what ran before: outputs of earlier runs are taken, here and from a remote; the flags of outputs."""

import dataclasses
import json
import os
import shutil
import time

import pytest

from dvlite.formats import record
from dvlite.formats.record import Input
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from dvlite.runs.records import nonces, open_records
from dvlite.store import batch

ONE = """\
stages:
  one:
    cmd: cat params.yaml > out; echo one >> $RAN
    params: [lr]
    outs: [out]
"""


@pytest.fixture
def one(prepared_pipeline):
    """A stage that was run with lr 1 and with lr 2."""

    def build(pipeline):
        pipeline.write("dvlite.yaml", ONE)
        for value in "12":
            pipeline.write("params.yaml", f"lr: {value}\n")
            pipeline.dvlite("repro")
        pipeline.commit()
        pipeline.ran()

    return prepared_pipeline("one-stage-two-runs", build)


def flagged(pipeline, flags):
    pipeline.write("dvlite.yaml", ONE.replace("[out]", f"[{{path: out, {flags}}}]"))


# --- earlier runs


def test_parameter_that_goes_back_brings_the_outputs_back_and_runs_nothing(one):
    first = one.records()[0]
    one.write("params.yaml", "lr: 1\n")
    done = one.dvlite("repro")
    assert one.ran() == []
    assert one.read("out") == b"lr: 1\n"
    name = json.loads(one.dvlite("--json", "repro", "-n").stdout)["stages"][0]["state"]
    assert name == "up to date"
    assert "one  cached" in done.stdout
    assert "1 from the run cache" in done.stdout
    made = one.records()[-1]
    assert made.status == "cached"
    assert one.locked("one").run == made.of
    assert one.records()[0] == first


def test_lockfile_that_comes_back_from_the_run_cache_is_the_same(one):
    before = one.lock()
    one.write("params.yaml", "lr: 1\n")
    one.dvlite("repro")
    one.write("params.yaml", "lr: 2\n")
    assert one.repro()["one"]["state"] == "cached"
    assert one.lock() == before
    (one.root / "dvlite.lock").unlink()
    assert one.repro()["one"]["state"] == "cached"
    assert one.lock() == before
    assert one.ran() == []


def test_no_run_cache_runs(one):
    one.write("params.yaml", "lr: 1\n")
    assert one.states("--no-run-cache") == {"one": "ok"}
    assert one.ran() == ["one"]


def test_force_runs_although_the_run_is_known(one):
    assert one.states("--force") == {"one": "ok"}
    assert one.ran() == ["one"]


def test_failed_run_is_never_taken(pipeline):
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: 'echo > out; test -e good', outs: [out]}}")
    assert pipeline.states(code=4) == {"one": "failed"}
    assert pipeline.states(code=4) == {"one": "failed"}
    pipeline.write("good", "")
    assert pipeline.states() == {"one": "ok"}


def test_run_whose_outputs_are_gone_is_run_again(one):
    shutil.rmtree(one.project.cache)
    one.write("params.yaml", "lr: 1\n")
    assert one.states() == {"one": "ok"}
    assert one.ran() == ["one"]


def test_pipeline_that_moves_keeps_its_runs(one):
    (one.root / "sub").mkdir()
    for name in ("dvlite.yaml", "params.yaml"):
        one.git("mv", name, f"sub/{name}")
    assert one.states() == {"sub:one": "cached"}
    assert one.read("sub/out") == b"lr: 2\n"
    assert one.ran() == []


# --- flags


@pytest.mark.parametrize("flags", ["push: false", "cache: false"])
def test_flag_changes_the_lockfile_and_runs_nothing(one, flags):
    flagged(one, flags)
    assert one.is_up_to_date()
    assert one.states() == {"one": "up to date"}
    assert one.ran() == []
    assert flags in one.lock().decode()
    assert one.is_up_to_date()
    if flags == "cache: false":  # staged, so git has it now
        one.git("rm", "-q", "--cached", "out")
    one.write("dvlite.yaml", ONE)
    one.git("rm", "-q", "--cached", "--ignore-unmatch", "out")  # staged while git was to keep it
    one.dvlite("repro")
    assert flags not in one.lock().decode()
    assert one.ran() == []


def test_output_that_git_is_to_keep_is_not_ignored_any_more(one):
    flagged(one, "cache: false")
    one.dvlite("repro")
    assert one.project._invoke("repro", "-n", cwd=one.root).returncode == 0
    one.git("add", "out")
    assert "out" in one.git("diff", "--cached", "--name-only").split()


def test_output_that_git_keeps_is_staged_and_restored(pipeline):
    pipeline.write("params.yaml", "lr: 1\n")
    flagged(pipeline, "cache: false")
    assert "out" in pipeline.json("repro")["staged"]
    assert not pipeline.has(".gitignore") or "out" not in pipeline.read(".gitignore").decode()
    (pipeline.root / "out").unlink()
    assert pipeline.states() == {"one": "restored"}
    assert pipeline.read("out") == b"lr: 1\n"


def test_output_that_persists_is_there_when_the_command_starts(pipeline):
    pipeline.write("a", "1")
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: cat a >> out, deps: [a], outs: [{path: out, persist: true}]}}")
    pipeline.dvlite("repro")
    pipeline.write("a", "2")
    pipeline.dvlite("repro")
    assert pipeline.read("out") == b"12"
    pipeline.write("a", "1")
    assert pipeline.states() == {"one": "ok"}, "what it makes depends on what was there: no earlier run stands for it"
    assert pipeline.read("out") == b"121"
    assert pipeline.is_up_to_date()


def test_output_that_persists_does_not_write_into_the_cache(pipeline):
    pipeline.dvlite("config", "--user", "cache.link", "hardlink")
    pipeline.write("in", "1")
    text = (
        "stages: {one: {cmd: chmod -R +w state; cat in >> state/log, deps: [in], outs: [{path: state, persist: true}]}}"
    )
    pipeline.write("dvlite.yaml", text)
    pipeline.write("state/log", "x" * 200_000)
    pipeline.dvlite("repro")
    first = pipeline.lock()
    pipeline.commit()
    shutil.rmtree(pipeline.root / "state")
    pipeline.dvlite("checkout")
    assert (pipeline.root / "state/log").stat().st_nlink > 1
    pipeline.write("in", "2")
    pipeline.dvlite("repro")
    assert pipeline.read("state/log").endswith(b"x12")
    pipeline.write("dvlite.lock", first)
    shutil.rmtree(pipeline.root / "state")
    pipeline.dvlite("checkout")
    assert pipeline.read("state/log").endswith(b"x1")


def test_other_outputs_are_gone_when_the_command_starts(pipeline):
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: test ! -e out && echo > out, outs: [out]}}")
    assert pipeline.states() == {"one": "ok"}
    assert pipeline.states("--force") == {"one": "ok"}


# --- a remote


@pytest.fixture
def pushed(prepared_pipeline):
    def build(pipeline):
        pipeline.line().dvlite("repro")
        pipeline.commit("Run")
        pipeline.dvlite("push")
        pipeline.ran()

    return prepared_pipeline("a-pushed-line", build, remote=True)


@pytest.fixture
def other(pushed, colleague, tmp_path):
    made = type(pushed)(colleague(pushed.project), pushed._ran)
    made.dvlite("remote", "trust", tmp_path / "store")
    return made


def test_colleague_without_the_lockfile_takes_every_output_from_the_remote(pushed, other):
    before = other.lock()
    (other.root / "dvlite.lock").unlink()
    assert other.states("--pull") == {"prepare": "cached", "train": "cached", "report": "cached"}
    assert other.ran() == []
    assert other.lock() == before
    assert {run.status for run in other.records()} == {"ok", "cached"}
    assert other.read("model.pt") == pushed.read("model.pt")


def test_colleague_brings_only_what_is_needed(other):
    other.edit("params.yaml", "1", "2")
    other.refused(code=12)
    assert other.states("--pull") == {"prepare": "restored", "train": "ok", "report": "ok"}
    assert other.ran() == ["train", "report"]
    other.edit("params.yaml", "2", "1")
    assert other.states("--pull") == {"prepare": "up to date", "train": "cached", "report": "cached"}


def test_output_that_is_not_pushed_is_made_again_elsewhere(pushed, colleague, tmp_path):
    pushed.edit("dvlite.yaml", "outs: [clean.txt]", "outs: [{path: clean.txt, push: false}]")
    pushed.write("raw.txt", "other data\n")
    pushed.dvlite("repro")
    pushed.commit()
    pushed.dvlite("push")
    pushed.ran()
    other = type(pushed)(colleague(pushed.project), pushed._ran)
    other.dvlite("remote", "trust", tmp_path / "store")
    (other.root / "dvlite.lock").unlink()
    assert other.states("--pull") == {"prepare": "ok", "train": "cached", "report": "cached"}


# --- records that may be forged


def forged(one, **fields):
    """Adds a record like that of the run with lr 1, newer than it."""
    first = one.records()[0]
    fields |= {"facts": dataclasses.replace(first.facts, **fields.get("facts", {}))}
    records = open_records(open_repo(one.root, os.environ), NullProgress())
    records.put(dataclasses.replace(first, id=record.new_id(time.time_ns(), os.urandom(8)), **fields))
    one.write("params.yaml", "lr: 1\n")


def test_record_of_another_clone_that_no_commit_names_is_not_reused_unasked(pipeline):
    pipeline.write("dvlite.yaml", ONE)
    for value in "12":
        pipeline.write("params.yaml", f"lr: {value}\n")
        pipeline.dvlite("repro")
    pipeline.commit()
    pipeline.ran()
    key = pipeline.records()[0].key
    records = open_records(open_repo(pipeline.root, os.environ), NullProgress())
    foreign = dataclasses.replace(
        pipeline.records()[0], user="eve\x1b[31m", host="far", outputs=pipeline.records()[1].outputs
    )
    shutil.rmtree(records.folder)  # what this clone recorded itself
    (name,) = (
        made.name for made in batch.encode([record.dump(foreign)], nonces()) if not records.adopt(made.name, made.data)
    )
    assert name in records.batches()
    pipeline.write("params.yaml", "lr: 1\n")
    done = pipeline.dvlite("repro")
    assert pipeline.ran() == ["one"]
    assert pipeline.read("out") == b"lr: 1\n"
    assert pipeline.locked("one").key == key
    assert (
        "one ran with the same inputs for eve\\x1b[31m@far, in a run that no commit names; to reuse it: dvlite repro --pull"
        in done.stderr
    )


def test_run_that_the_lockfile_of_a_commit_names_is_reused_and_its_author_shown(other):
    other.dvlite("pull")
    other.edit("params.yaml", "1", "2")
    assert other.states()["train"] == "ok"
    other.edit("params.yaml", "2", "1")
    done = other.dvlite("repro")
    assert done.stdout.count("  cached  ") == 2
    assert "'s run train-" in done.stdout
    other.edit("params.yaml", "1", "2")
    assert "'s run train-" not in other.dvlite("repro").stdout


def output(one, **fields):
    return dataclasses.replace(one.records()[0].outputs[0], **fields)


def wrong_outputs(one):
    other = one.records()[1].outputs[0]
    return {
        "repeated": (output(one), output(one, oid=other.oid)),
        "nested": (output(one), output(one, path="out/in")),
        "more": (output(one), output(one, path="dvlite.yaml")),
        "inside": (output(one, path="out/in"),),
        "elsewhere": (output(one, path="other"),),
        "mode of a folder": (output(one, oid="manifest:" + "0" * 64, executable=True),),
    }


@pytest.mark.parametrize("what", ["repeated", "nested", "more", "inside", "elsewhere", "mode of a folder"])
def test_record_whose_outputs_are_not_the_declared_ones_is_passed_over(one, what):
    forged(one, outputs=wrong_outputs(one)[what])
    assert one.states() == {"one": "cached"}
    assert one.read("out") == b"lr: 1\n"
    assert one.is_up_to_date()


@pytest.mark.parametrize(
    "fields",
    [
        {"project": "cd" * 16},
        {"facts": {"cmd": "other"}},
        {"facts": {"wdir": "sub"}},
        {"facts": {"params": {"params.yaml:lr": 2}}},
        {"facts": {"params": {"params.yaml:lr": True}}},
        {"facts": {"env": {"A": "1"}}},
        {"facts": {"capture": {"numpy": "1"}}},
        {"inputs": (Input(path="in", oid="blake3:" + "0" * 64, size_bytes=1),)},
    ],
    ids=str,
)
def test_record_that_says_it_began_with_something_else_is_passed_over(one, fields):
    forged(one, outputs=one.records()[1].outputs, **fields)
    assert one.states() == {"one": "cached"}
    assert one.read("out") == b"lr: 1\n"


def test_earlier_run_with_a_number_that_records_hold_as_text_is_taken(one):
    for value in (2**62, 1, 2**62):
        one.write("params.yaml", f"lr: {value}\n")
        last = one.states()
    assert last == {"one": "cached"}


def test_size_of_a_folder_is_what_its_listing_says(pipeline):
    pipeline.write("dvlite.yaml", ONE.replace("cat params.yaml > out", "mkdir -p out; cp params.yaml out"))
    for value in "12":
        pipeline.write("params.yaml", f"lr: {value}\n")
        pipeline.dvlite("repro")
    pipeline.ran()
    made = pipeline.records()[0].outputs[0]
    for _ in range(2):
        forged(pipeline, outputs=(output(pipeline, size_bytes=made.size_bytes + 7, files=9),))
    assert pipeline.states() == {"one": "cached"}
    (out,) = pipeline.locked("one").outs
    assert (out.size_bytes, out.files) == (made.size_bytes, made.files)
    assert pipeline.ran() == []
    assert pipeline.is_up_to_date()


def test_when_an_output_cannot_be_put_in_place_the_next_run_is_tried(pipeline):
    pipeline.write("dvlite.yaml", ONE.replace("[out]", '["out*"]'))
    for value in "12":
        pipeline.write("params.yaml", f"lr: {value}\n")
        pipeline.dvlite("repro")
    pipeline.ran()
    for _ in range(2):
        forged(pipeline, outputs=(output(pipeline, path="out/in"),))
    done = pipeline.dvlite("repro")
    assert "one  cached" in done.stdout
    assert done.stderr.count("an earlier run of one cannot be used") == 1
    assert pipeline.read("out") == b"lr: 1\n"
    assert pipeline.ran() == []
