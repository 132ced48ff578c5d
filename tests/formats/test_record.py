"""Run records: one encoding, and nothing read from a stranger that a run could not have been."""

import dataclasses
import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import record
from dvlite.formats.lockfile import Facts
from dvlite.formats.record import Code, Input, MapFailure, MapRun, Note, Output, Run
from dvlite.oid import Oid

GOLDEN = Path(__file__).parent.parent / "golden"
NOW_NS = 1_795_356_120_123_456_789
RUN = Run(
    id="01a203d2-52fb-774d-8001-020304050607",
    invocation="01a203d2-52fb-7000-8000-000000000000",
    key="ab" * 32,
    stage="train",
    file="dvlite.yaml",
    status="ok",
    facts=Facts(
        cmd="python src/train.py | tee train.log",
        params={"params.yaml:lr": 0.003, "params.yaml:epochs": 20, "params.yaml:net.layers": [64, 64]},
        env={"OMP_NUM_THREADS": "1"},
        capture={"torch": "2.9.0"},
    ),
    exit_code=0,
    log=Oid("blake3:" + "1" * 64),
    code=Code(
        repo="git@example.com:acme/birds", commit="cd" * 20, dirty=("params.yaml",), diff=Oid("blake3:" + "2" * 64)
    ),
    environment={"python": "3.11.9", "cpus": 8, "gpu": None},
    inputs=(
        Input(path="data/tiles", oid=Oid("manifest:" + "3" * 64), size_bytes=6 << 30, files=385_412),
        Input(path="src/train.py", oid=Oid("blake3:" + "4" * 64), size_bytes=4_000),
    ),
    outputs=(
        Output(path="model.pt", oid=Oid("blake3:" + "5" * 64), size_bytes=97 << 20, sha256="6" * 64),
        Output(path="metrics.json", oid=Oid("blake3:" + "7" * 64), size_bytes=30, role="metric", cached=False),
    ),
    metrics={"metrics.json:acc": 0.931},
    start="2026-11-22T14:02:00.123Z",
    end="2026-11-22T14:15:58.000Z",
    seconds=837.877,
    cpu_seconds=3000.5,
    max_rss_bytes=4 << 30,
    user="you@example.com",
    host="gpu-3",
    project="00112233445566778899aabbccddeeff",
    dvlite="0.1.0",
)
NOTE = Note(
    id="01a203d2-52fb-774d-8001-020304050608",
    run=Oid("run:" + "8" * 64),
    op="tag",
    value="best",
    time="2026-11-22T14:20:00.000Z",
    user="you@example.com",
    project="00112233445566778899aabbccddeeff",
)


def changed(**fields):
    """Returns the bytes of the run with some fields of its JSON replaced; None takes a field out."""
    body = json.loads(record.dump(RUN))
    body |= fields
    return json.dumps({key: value for key, value in body.items() if value is not ...}).encode() + b"\n"


@pytest.mark.parametrize(("name", "value"), [("run", RUN), ("note", NOTE)])
def test_a_record_has_exactly_these_bytes(name, value):
    golden = (GOLDEN / f"{name}.json").read_bytes()
    assert record.dump(value) == golden
    assert record.parse(golden, "x") == value


def test_a_name_is_that_of_the_bytes_in_their_own_kind():
    data = record.dump(RUN)
    assert record.name(data).startswith("run:")
    assert record.name(data) != record.name(record.dump(dataclasses.replace(RUN, seconds=1.0)))


def test_fields_that_say_nothing_are_left_out_and_come_back_as_their_defaults():
    least = Run(
        id=RUN.id,
        invocation=RUN.invocation,
        key=RUN.key,
        stage="a",
        file="dvlite.yaml",
        status="failed",
        facts=Facts("false"),
    )
    data = record.dump(least)
    assert set(json.loads(data)) == {"schema", "id", "invocation", "key", "stage", "file", "status", "cmd"}
    assert record.parse(data, "x") == least


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("", False), ("lr-grid", True), ("9.x_y", True), (".a", False), ("-a", False), ("a b", False), ("a" * 101, False)],
)
def test_the_name_of_a_sweep_is_one_that_a_file_may_have(name, is_one):
    assert record.is_sweep(name) is is_one
    if is_one:
        named = dataclasses.replace(RUN, sweep=name)
        assert record.parse(record.dump(named), "x") == named
    elif name:
        with pytest.raises(FormatError, match="the name of a sweep"):
            record.parse(changed(sweep=name), "x")


def test_unknown_fields_of_a_known_schema_are_passed_over():
    assert record.parse(changed(later="x", inputs=[{**vars_of(RUN.inputs[0]), "role": "observed"}]), "x") == (
        dataclasses.replace(RUN, inputs=RUN.inputs[:1])
    )


def vars_of(item):
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}


def test_an_unknown_schema_asks_for_an_upgrade():
    with pytest.raises(FormatError, match=r"schema 'dvlite.run/2' is not known") as caught:
        record.parse(changed(schema="dvlite.run/2"), "the record")
    assert "upgrade" in caught.value.hint


def test_numbers_that_json_cannot_hold_become_text():
    odd = {"nan": float("nan"), "inf": float("-inf"), "big": 10**30, "most": 10**18 - 1, "deep": [{"x": float("inf")}]}
    found = record.parse(record.dump(dataclasses.replace(RUN, facts=Facts("x", params=odd))), "x").facts
    assert found.params == {"nan": "nan", "inf": "-inf", "big": str(10**30), "most": 10**18 - 1, "deep": [{"x": "inf"}]}


def test_parameters_may_be_as_deep_as_yaml_allows():
    value = 1
    for _ in range(50):
        value = [value]
    run = dataclasses.replace(RUN, facts=Facts("x", params={"a": value}))
    assert record.parse(record.dump(run), "x").facts.params == {"a": value}


def test_brackets_in_a_command_are_no_depth():
    run = dataclasses.replace(RUN, facts=Facts("[" * 500 + "{" * 500))
    assert record.parse(record.dump(run), "x") == run


def test_a_name_that_is_not_utf8_comes_back():
    run = dataclasses.replace(RUN, inputs=(Input(path="caf\udce9", oid=RUN.inputs[1].oid, size_bytes=1),))
    assert record.parse(record.dump(run), "x") == run


def item(kind, **fields):
    return [{**vars_of(kind), **fields}]


HOSTILE = {
    "status": {"status": "done"},
    "status of another type": {"status": ["ok"]},
    "no id": {"id": ...},
    "an id of another version": {"id": str(uuid.UUID(int=0, version=4))},
    "an id in capitals": {"id": RUN.id.upper()},
    "key": {"key": "ab"},
    "stage with a slash": {"stage": "a/b"},
    "stage with an escape": {"stage": "a\x1b[31m"},
    "empty stage": {"stage": ""},
    "an absolute file": {"file": "/etc/dvlite.yaml"},
    "an absolute wdir": {"wdir": "/"},
    "input above": {"inputs": item(RUN.inputs[0], path="../x")},
    "input inside above": {"inputs": item(RUN.inputs[0], path="a/../../x")},
    "input absolute": {"inputs": item(RUN.inputs[0], path="/x")},
    "input doubled slash": {"inputs": item(RUN.inputs[0], path="a//x")},
    "input with NUL": {"inputs": item(RUN.inputs[0], path="a\0x")},
    "input oid": {"inputs": item(RUN.inputs[0], oid="blake3:12")},
    "input oid of a run": {"inputs": item(RUN.inputs[0], oid="run:" + "1" * 64)},
    "input oid in capitals": {"inputs": item(RUN.inputs[0], oid="blake3:" + "A" * 64)},
    "input size": {"inputs": item(RUN.inputs[0], size_bytes=-1)},
    "input size fraction": {"inputs": item(RUN.inputs[0], size_bytes=1.5)},
    "input size huge": {"inputs": item(RUN.inputs[0], size_bytes=1 << 63)},
    "inputs no list": {"inputs": {}},
    "an input that is a text": {"inputs": ["data"]},
    "output into git": {"outputs": item(RUN.outputs[0], path="a/.git/hooks/post-checkout")},
    "output into GIT~1": {"outputs": item(RUN.outputs[0], path="GIT~1/x")},
    "output with a long name": {"outputs": item(RUN.outputs[0], path="x" * 300)},
    "output role": {"outputs": item(RUN.outputs[0], role="plot")},
    "output flag": {"outputs": item(RUN.outputs[0], executable=1)},
    "sha256": {"outputs": item(RUN.outputs[0], sha256="zz")},
    "log": {"log": "manifest:" + "1" * 64},
    "of": {"of": "blake3:" + "1" * 64},
    "code commit": {"code": {"commit": "HEAD"}},
    "code dirty": {"code": {"dirty": ["../x"]}},
    "code diff": {"code": {"diff": "x"}},
    "code no object": {"code": []},
    "env number": {"env": {"A": 1}},
    "metric list": {"metrics": {"a": [1]}},
    "environment object": {"environment": {"a": {}}},
    "time": {"start": "yesterday"},
    "time in month 13": {"start": "2026-13-22T14:02:00.123Z"},
    "time without Z": {"end": "2026-11-22T14:02:00.123"},
    "seconds": {"seconds": -1},
    "seconds text": {"seconds": "1"},
    "true seconds": {"seconds": True},
    "exit code": {"exit_code": 1 << 40},
    "project": {"project": "x"},
    "long user": {"user": "x" * 5000},
    "null where none may be": {"cmd": None},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_record_is_refused_in_one_line(name):
    with pytest.raises(FormatError, match=r"^cannot read the record: ") as caught:
        record.parse(changed(**HOSTILE[name]), "the record")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        b"[]\n",
        record.dump(RUN)[:-1],
        record.dump(RUN) + b"\n",
        record.dump(RUN).replace(b",", b",\n", 1),
        record.dump(RUN).replace(b"0.931", b"1e999"),
        record.dump(RUN).replace(b"0.931", b"NaN"),
        record.dump(RUN).replace(b'"user"', b'"host"'),
        record.dump(RUN).replace(b'"gpu-3"', b'"\\ud800"'),
    ],
)
def test_what_is_no_record_is_refused(data):
    with pytest.raises(FormatError):
        record.parse(data, "x")


@pytest.mark.parametrize(
    ("op", "value"),
    [
        ("tag", "a b"),
        ("tag", "!a"),
        ("tag", ""),
        ("tag", "a,b"),
        ("tag", "x" * 101),
        ("commit", "HEAD"),
        ("source", "HEAD"),
        ("source", "cd" * 20),  # of what?
        ("rename", "x"),
    ],
)
def test_a_hostile_note_is_refused(op, value):
    with pytest.raises(FormatError):
        record.dump(dataclasses.replace(NOTE, op=op, value=value))


def test_a_note_says_what_a_commit_is_to_who_has_no_git():
    said = {"subject": "More gulls", "author": "Ada", "written": "2026-11-22T14:02:00.000Z"}
    content = RUN.inputs[0].oid
    note = dataclasses.replace(NOTE, op="source", value="cd" * 20, content=content, **said)
    assert record.parse(record.dump(note), "x") == note
    for wrong in ({"content": Oid("run:" + "0" * 64)}, {"subject": "x" * 5000}, {"written": "yesterday"}):
        with pytest.raises(FormatError):
            record.dump(dataclasses.replace(note, **wrong))


def test_a_record_too_large_is_not_written_and_says_what_to_do():
    with pytest.raises(FormatError, match="at most") as caught:
        record.dump(dataclasses.replace(RUN, facts=Facts("x" * record.MAX_BYTES)))
    assert "folder" in caught.value.hint


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_a_format_error(data):
    try:
        record.parse(data, "x")
    except FormatError as error:
        if "\n" in error.message:
            pytest.fail(error.message)


def test_ids_are_uuids_of_version_7_that_sort_by_time():
    ids = [record.new_id(NOW_NS + i * 1_000, bytes([255 - i] * 8)) for i in range(200)]
    assert ids == sorted(ids)
    found = uuid.UUID(ids[0])
    assert (found.version, found.variant, found.int >> 80) == (7, uuid.RFC_4122, NOW_NS // 10**6)
    assert len({record.new_id(NOW_NS, bytes([i] * 8)) for i in range(8)}) == 8


def test_a_time_is_written_with_milliseconds_in_utc():
    assert record.time_text(NOW_NS) == "2026-11-22T14:02:00.123Z"


MAPPED = dataclasses.replace(
    RUN,
    stage="thumbs",
    status="failed",
    facts=Facts("convert ${in} ${out}", map={"over": "data/tiles/**/*.jpg", "outs": ["thumbs/${stem}.png"]}),
    inputs=(Input(path="data/tiles/**/*.jpg", oid=Oid("manifest:" + "3" * 64), size_bytes=6 << 30, files=385_412),),
    mapped=MapRun(
        base="ef" * 32,
        datums=385_412,
        ran=12,
        reused=385_398,
        failed=2,
        failures=(
            MapFailure(name="a/b.jpg", problem="exit 1", log=Oid("blake3:" + "9" * 64)),
            MapFailure(name="a/c.jpg", problem="killed"),
        ),
    ),
)


def test_the_record_of_a_map_stage_has_exactly_these_bytes():
    golden = (GOLDEN / "map_run.json").read_bytes()
    assert record.dump(MAPPED) == golden
    assert record.parse(golden, "x") == MAPPED
    assert Oid("blake3:" + "9" * 64) in MAPPED.left_apart


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mapped": {"base": "ef" * 32}}, "'datums' is missing"),
        ({"mapped": {"base": "x", "datums": 1}}, "'base' is not 64 hex digits"),
        ({"mapped": {"base": "ef" * 32, "datums": -1}}, "'datums' is not a number in its range"),
        ({"mapped": {"base": "ef" * 32, "datums": 1, "failures": [{"name": "a"}]}}, "'problem' is missing"),
        (
            {"mapped": {"base": "ef" * 32, "datums": 1, "failures": [{"name": "a", "problem": "b"}] * 101}},
            "more than 100",
        ),
        ({"map": {"over": "data"}}, "'outs' of 'map' must be a list of texts"),
        ({"map": [1]}, "'map' is not a mapping"),
    ],
)
def test_what_no_map_stage_can_have_is_refused(fields, reason):
    with pytest.raises(FormatError, match=reason):
        record.parse(changed(**fields), "the record")
