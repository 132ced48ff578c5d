"""What is said of an entry of a lockfile that is not what its run did, and what of it is trusted then."""

from dataclasses import replace

import pytest

from dvlite.formats import lockfile
from dvlite.formats.lockfile import Facts, Locked, LockedStage, Lockfile
from dvlite.formats.record import Input, Output, Run
from dvlite.verify.lock_entries import Examiner, differ, key_of
from dvlite.verify.parsed import Lock

RUN = "run:" + "a" * 64
PARAMS = {"params.yaml:lr": 0.1, "params.yaml:big": 10**20, "params.yaml:list": [1, 2]}


def oid(digit):
    return "blake3:" + digit * 64


def made(**changes):
    """Returns an entry whose key fits, and the record of its run."""
    entry = LockedStage(
        name="train",
        key="",
        facts=Facts(
            cmd="python train.py",
            params=PARAMS,
            env={"N": "1"},
            capture={"numpy": "2.0"},
        ),
        run=RUN,
        deps=(Locked("../data.csv", oid("1"), 10), Locked("train.py", oid("2"), 20)),
        outs=(Locked("model.pt", oid("3"), 30), Locked("other.pt", oid("4"), 40, executable=True)),
    )
    entry = replace(entry, **changes)
    entry = replace(entry, key=key_of(entry, [out.path for out in entry.outs]))
    run = Run(
        id="0" * 8,
        invocation="",
        key=entry.key,
        stage="train",
        file="old/place/dvlite.yaml",
        status="ok",
        facts=replace(entry.facts, params=entry.facts.params | {"params.yaml:big": str(10**20)}),
        inputs=(
            Input(path="old/data.csv", oid=oid("1"), size_bytes=10),
            Input(path="old/place/train.py", oid=oid("2"), size_bytes=20),
        ),
        outputs=(
            Output(path="old/place/model.pt", oid=oid("3"), size_bytes=30),
            Output(path="old/place/other.pt", oid=oid("4"), size_bytes=40, executable=True),
        ),
    )
    return entry, run


def examined(entry, run, declared=("model.pt", "other.pt")):
    lock = Lock("sub/dvlite.lock", lockfile.dump(Lockfile((entry,))))
    written = lock.by_name["train"]
    found = Examiner(lock, "sub").examine(written, "sub:train", list(declared), run)
    lines = lockfile.dump(Lockfile((entry,))).decode().split("\n")
    return found, None if found.finding is None else lines[found.finding.line - 1].strip()


def test_an_entry_is_what_its_run_did_wherever_the_pipeline_was_then():
    entry, run = made()
    assert list(differ(entry, run)) == []
    found, _ = examined(entry, run)
    assert (found.finding, found.doubtful) == (None, False)
    found, _ = examined(entry, None)
    assert (found.finding, found.doubtful) == (None, False)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"facts": {"cmd": "rm -r"}}, "cmd: "),
        ({"facts": {"wdir": "x"}}, "wdir: "),
        (
            {"facts": {"params": {**PARAMS, "params.yaml:lr": 0.2}}},
            '"params.yaml:lr"',
        ),
        (
            {"facts": {"params": {**PARAMS, "params.yaml:list": [1, True]}}},
            '"params.yaml:list"',
        ),
        ({"facts": {"env": {"N": "2"}}}, '"N"'),
        ({"facts": {"capture": {}}}, "train:"),
        ({"deps": (Locked("../data.csv", oid("1"), 10),)}, "deps:"),
    ],
)
def test_what_was_edited_and_has_to_do_with_the_key(changes, line):
    entry, run = made()
    if "facts" in changes:
        changes = {"facts": replace(entry.facts, **changes["facts"])}
    found, where = examined(replace(entry, **changes), run)
    assert found.finding.kind == "key-mismatch"
    assert where.startswith(line)
    assert (found.trusted.facts.cmd, found.trusted.facts.env) == (entry.facts.cmd, entry.facts.env)
    assert {dep.path: dep.oid for dep in found.trusted.deps} == {dep.path: dep.oid for dep in entry.deps}
    assert found.trusted.facts.params == entry.facts.params, "numbers that records keep as text are numbers again"
    found, _ = examined(replace(entry, **changes), None)
    assert found.doubtful


@pytest.mark.parametrize("field", ["oid", "size_bytes", "executable"])
def test_an_edited_output(field):
    entry, run = made()
    other = replace(entry.outs[0], **{field: {"oid": oid("5"), "size_bytes": 99, "executable": True}[field]})
    found, where = examined(replace(entry, outs=(other, entry.outs[1])), run)
    assert found.finding.kind == "record-mismatch"
    assert where.startswith("model.pt:")
    assert found.finding.path == "sub/model.pt"
    assert {out.path: out.oid for out in found.trusted.outs} == {out.path: out.oid for out in entry.outs}


def test_flags_of_outputs_follow_the_pipeline_file_and_are_no_difference():
    entry, run = made()
    outs = (replace(entry.outs[0], cache=False), replace(entry.outs[1], push=False))
    found, _ = examined(replace(entry, outs=outs), run)
    assert found.finding is None


def test_an_edited_key_and_a_run_that_is_another_or_failed():
    entry, run = made()
    found, where = examined(replace(entry, key="0" * 64), run)
    assert (found.finding.kind, where[:4]) == ("key-mismatch", "key:")
    assert found.trusted.key == entry.key
    for other in (replace(run, key="0" * 64), replace(run, status="failed")):
        found, where = examined(entry, other)
        assert (found.finding.kind, where[:4]) == ("record-mismatch", "run:")


def test_outputs_named_by_a_pattern_are_part_of_the_key_as_the_pattern():
    entry, run = made()
    key = key_of(entry, ["*.pt"])
    entry, run = replace(entry, key=key), replace(run, key=key)
    assert examined(entry, run, ["*.pt"])[0].finding is None
    found, _ = examined(entry, run)
    assert (found.finding, found.doubtful) == (None, False), "declared in another way now: told of elsewhere"
    assert examined(entry, None, ["*.pt"])[0].doubtful is False
