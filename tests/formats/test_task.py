"""Tasks and their results: what one says is run exactly, and bytes from anyone are refused before anything runs."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import strict_json, task
from dvlite.formats.task import Task, TaskFile, TaskResult, TaskUnit, UnitResult
from dvlite.oid import digest_bytes, format_oid

GOLDEN = Path(__file__).parent.parent / "golden"
CODE = TaskFile(path="src/thumb.py", oid=format_oid("blake3", bytes(range(32))), size_bytes=120, executable=True)
WREN = TaskFile(path="data/wren \udce9.jpg", oid=format_oid("blake3", bytes(range(32, 64))), size_bytes=7)
FOLDER = TaskFile(path="model", oid=format_oid("manifest", bytes(32)), size_bytes=9, files=3)
TASK = Task(
    stage="thumbs",
    file="dvlite.yaml",
    key="ab" * 32,
    cmd="python src/thumb.py ${in} ${out}",
    env={"LANG": "C"},
    capture={"pillow": "11.0"},
    files=(CODE, FOLDER),
    units=(
        TaskUnit(
            name="wren",
            inputs=(WREN,),
            values={"in": (WREN.path,), "out": ("thumbs/wren.png",), "in.image": (WREN.path,)},
            outs=("thumbs/wren.png",),
        ),
        TaskUnit(name="crow", outs=("thumbs/crow.png",)),
    ),
    timeout_seconds=60,
    retries=2,
    cpu=1.5,
    memory_bytes=1 << 30,
    gpu=1,
    project="00112233445566778899aabbccddeeff",
    dvlite="0.1.0",
)
DONE = UnitResult(
    name="wren",
    exit_code=0,
    seconds=0.25,
    cpu_seconds=0.125,
    max_rss_bytes=1 << 20,
    log=format_oid("blake3", bytes(32)),
    outputs=(dataclasses.replace(WREN, path="thumbs/wren.png"),),
)
FAILED = UnitResult(name="crow", problem="exit code 3", exit_code=3, log_tail="no such bird\n")
RESULT = TaskResult(
    task=TASK.id,
    units=(DONE, FAILED),
    user="ada@example.com",
    host="node-7",
    worker="thumbs-0",
    start="2026-11-22T14:02:00.000Z",
    seconds=1.5,
    environment={"python": "3.13.5"},
    dvlite="0.1.0",
)
GOOD, GOOD_RESULT = task.dump(TASK), task.dump_result(RESULT)


def test_a_task_and_its_result_have_exactly_these_bytes():
    assert (GOLDEN / "task.json").read_bytes() == GOOD
    assert (GOLDEN / "task-result.json").read_bytes() == GOOD_RESULT
    assert task.parse(GOOD, "x") == TASK
    assert task.parse_result(GOOD_RESULT, "x") == RESULT
    assert TASK.id == "7686a2459a6238dfa0730618bcd69b1df93f33e8cb1b2016894aa5ba76f976a9"


def test_the_names_on_a_remote_follow_from_task_and_bytes():
    assert task.spec_name(TASK.id) == f"tasks/{TASK.id}/spec.json"
    name = task.result_name(TASK.id, GOOD_RESULT)
    assert name == f"tasks/{TASK.id}/result-{digest_bytes(GOOD_RESULT).hex()[:32]}.json"
    assert task.is_result_name(name)
    assert not task.is_result_name(task.spec_name(TASK.id))
    assert task.task_of(name) == task.task_of(task.spec_name(TASK.id)) == TASK.id
    for other in ("tasks/x/spec.json", f"tasks/{TASK.id}", f"tasks/{TASK.id}/a/b", f"tasks/{TASK.id}/../x", "config"):
        assert task.task_of(other) is None


def changed(**fields):
    return strict_json.dump({**json.loads(GOOD), **fields})


def one_unit(**fields):
    return changed(units=[{"name": "wren", **fields}])


def row(path, fill="0", **fields):
    return {"path": path, "oid": f"blake3:{fill * 64}", "size_bytes": 1, **fields}


BAD = {
    "no JSON": b"{",
    "no object": b"[]\n",
    "not canonical": GOOD.replace(b'"cpu":1.5', b'"cpu": 1.5'),
    "two lines": GOOD + b"\n",
    "a key twice": GOOD.replace(b'"cpu":1.5', b'"cpu":1.5,"cpu":1.5'),
    "another schema": changed(schema="dvlite.task/2"),
    "a later field": changed(chroot=True),
    "a later field of a unit": one_unit(chroot=True),
    "a default that is written": changed(function=False),
    "no units": changed(units=[]),
    "a unit twice": changed(units=[{"name": "a"}, {"name": "a"}]),
    "too many units": changed(units=[{"name": f"{n}"} for n in range(task.MOST_UNITS + 1)]),
    "one output of two": changed(units=[{"name": "a", "outs": ["o"]}, {"name": "b", "outs": ["o"]}]),
    "an output in another": changed(units=[{"name": "a", "outs": ["o"]}, {"name": "b", "outs": ["o/x"]}]),
    "an input that is an output": one_unit(inputs=[row("o/x")], outs=["o"]),
    "a file that is an output": one_unit(outs=["src"]),
    "two versions of a file": changed(files=[row("a"), row("a", "1")]),
    "another version in a unit": changed(files=[row("a")], units=[{"name": "u", "inputs": [row("a", "1")]}]),
    "a path above": one_unit(outs=["../x"]),
    "an absolute path": one_unit(outs=["/etc/passwd"]),
    "a path into git": changed(files=[row(".GIT/hooks/post-checkout")]),
    "wdir outside": changed(wdir="../x"),
    "a NUL in a path": one_unit(outs=["a\0b"]),
    "a NUL in cmd": changed(cmd="a\0b"),
    "a NUL in a value": one_unit(values={"in": ["a\0b"]}),
    "half a character": changed(cmd="\ud800"),
    "a name of a variable": changed(env={"LD PRELOAD": "x"}),
    "a name of a value": one_unit(values={"in}; rm": ["x"]}),
    "an id": changed(files=[{"path": "a", "oid": "run:" + "0" * 64, "size_bytes": 1}]),
    "a size": changed(files=[row("a", size_bytes=-1)]),
    "true for a number": changed(retries=True),
    "a number out of range": changed(timeout_seconds=0),
    "a key": changed(key="ab"),
    "a stage": changed(stage="a/b"),
    "a stage with a line break": changed(stage="a\n"),
    "too long": b" " * (task.MAX_BYTES + 1),
    "too deep": b'{"a":' * 100 + b"1" + b"}" * 100,
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_is_no_task_is_refused(data):
    with pytest.raises(FormatError) as caught:
        task.parse(data, "the task 'x'")
    assert "the task 'x'" in caught.value.message
    assert caught.value.message.isprintable()


BAD_RESULTS = {
    "a path above": {"units": [{"name": "wren", "outputs": [row("../x")]}]},
    "a path into git": {"units": [{"name": "wren", "outputs": [row(".git/config")]}]},
    "a unit twice": {"units": [{"name": "a"}, {"name": "a"}]},
    "a problem that is too long": {"units": [{"name": "a", "problem": "x" * 5000}]},
    "a log that is too long": {"units": [{"name": "a", "log_tail": "x" * 5000}]},
    "a list in the environment": {"environment": {"a": [1]}},
    "another task": {"task": "x"},
    "no time": {"start": "yesterday"},
    "an infinite time": {"seconds": 1e13},
}


@pytest.mark.parametrize("fields", BAD_RESULTS.values(), ids=BAD_RESULTS.keys())
def test_what_is_no_result_is_refused(fields):
    with pytest.raises(FormatError, match="cannot read the result"):
        task.parse_result(strict_json.dump({**json.loads(GOOD_RESULT), **fields}), "the result")


def test_a_result_of_a_later_dvlite_is_read():
    assert task.parse_result(strict_json.dump({**json.loads(GOOD_RESULT), "power": 3}), "x") == RESULT


def test_nothing_that_would_be_refused_is_given_out():
    with pytest.raises(FormatError, match="the task of 'thumbs'"):
        task.checked(dataclasses.replace(TASK, wdir="../elsewhere"))
    with pytest.raises(FormatError):
        task.dump_result(dataclasses.replace(RESULT, task="x"))


def test_ends_of_logs_are_kept_of_the_first_hundred_that_failed():
    units = tuple(UnitResult(name=f"{n}", problem="exit code 1", log_tail="x") for n in range(101))
    done = UnitResult(name="done", log_tail="fine")
    found = task.parse_result(task.dump_result(dataclasses.replace(RESULT, units=(done, *units))), "x")
    assert [unit.log_tail for unit in found.units] == ["", *["x"] * 100, ""]


@settings(max_examples=200)
@given(st.data())
def test_bytes_that_were_changed_anywhere_are_another_task_or_none(data):
    at = data.draw(st.integers(0, len(GOOD) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != GOOD[at]))
    try:
        found = task.parse(GOOD[:at] + bytes([value]) + GOOD[at + 1 :], "x")
    except FormatError:
        return
    assert found.id != TASK.id
