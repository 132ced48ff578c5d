"""Lockfiles: exact bytes, exact round trips, one line that says what is wrong with everything else."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import lockfile
from dvlite.formats.lockfile import Facts, Locked, LockedStage, Lockfile
from dvlite.formats.pointer import Pointer
from dvlite.oid import Digest
from tests.counting import grows_linearly

GOLDEN = Path(__file__).parent.parent / "golden" / "lockfile.lock"
DIGEST = Digest(bytes(range(32)))
FILE, TREE, RUN = f"blake3:{DIGEST.hex()}", f"manifest:{DIGEST.hex()}", f"run:{DIGEST.hex()}"
KEY = "ab" * 32
WHOLE = Lockfile(
    (
        LockedStage(
            name="prepare",
            key=KEY,
            facts=Facts("python src/prepare.py"),
            deps=(Locked("../raw data", TREE, 2**63 - 1, files=384211), Locked("src/prepare.py", FILE, 120)),
            outs=(Locked("tiles", TREE, 5, files=0),),
        ),
        LockedStage(
            name="train-2",
            key="0" * 64,
            run=RUN,
            facts=Facts(
                cmd='set -x\npython src/train.py | tee "ü.log"',
                wdir="sub/dir",
                params={
                    "params.yaml:lr": 0.001,
                    "params.yaml:net": {"depth": [1, 2, None, True], "name": "yes"},
                    "seed": 7,
                },
                env={"OMP_NUM_THREADS": "1"},
                capture={"numpy": "1.26.4", "nvcc --version": "Cuda 12\n"},
            ),
            deps=(Locked("tiles", TREE, 5, files=0),),
            outs=(
                Locked("1.bin", FILE, 1),
                Locked("model.pt", FILE, 97, executable=True),
                Locked("report.json", FILE, 2, cache=False),
                Locked("state", TREE, 3, files=2, push=False),
                Locked("yes", FILE, 0, executable=True, cache=False, push=False),
            ),
        ),
    )
)  # fmt: skip
OUT = f"{{oid: {FILE}, size: 3}}"


def text(*, key=KEY, cmd='"x"', more="", outs=""):
    return f"dvlite: 1\nstages:\n  train:\n    key: {key}\n    cmd: {cmd}\n{more}{outs and '    outs:' + chr(10) + outs}# end\n"


def without_lines(lock):
    return Lockfile(tuple(replace(stage, line=0) for stage in lock.stages))


def test_a_lockfile_has_exactly_these_bytes():
    golden = GOLDEN.read_bytes()
    assert lockfile.dump(WHOLE) == golden
    found = lockfile.parse(golden, "dvlite.lock")
    assert without_lines(found) == WHOLE
    assert [golden.splitlines()[stage.line - 1] for stage in found.stages] == [b"  prepare:", b"  train-2:"]


def test_yaml_readers_see_the_same(tmp_path):
    read = yaml.safe_load(lockfile.dump(WHOLE))
    assert (read["dvlite"], list(read["stages"])) == (1, ["prepare", "train-2"])
    train = read["stages"]["train-2"]
    stage = WHOLE.stages[1]
    assert train["cmd"] == stage.facts.cmd
    assert (train["params"], train["env"], train["capture"]) == (
        stage.facts.params,
        stage.facts.env,
        stage.facts.capture,
    )
    assert list(train["outs"]) == [out.path for out in stage.outs]
    assert train["outs"]["state"] == {"oid": TREE, "size": 3, "files": 2, "push": False}


def test_the_pointer_of_an_output_is_the_version_that_a_pointer_file_would_name():
    assert [out.pointer() for out in WHOLE.stages[1].outs[1:4:2]] == [
        Pointer("file", DIGEST, 97, executable=True),
        Pointer("directory", DIGEST, 3, files=2),
    ]


names = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
parts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda part: part not in (".", "..")
)
paths = st.builds(
    lambda up, inner: "../" * up + "/".join(inner), st.integers(0, 2), st.lists(parts, min_size=1, max_size=3)
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
sizes = st.integers(0, 2**63 - 1)
items = st.builds(
    lambda path, digest, size, folder, files, flags: Locked(
        path,
        f"{'manifest' if folder else 'blake3'}:{digest}",
        size,
        files if folder else 1,
        flags[0] and not folder,
        *flags[1:],
    ),
    paths,
    digests,
    sizes,
    st.booleans(),
    sizes,
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
sections = st.lists(items, max_size=4, unique_by=lambda item: item.path).map(
    lambda found: tuple(sorted(found, key=lambda item: item.path))
)
texts = st.dictionaries(words, words, max_size=3)
stages = st.builds(
    LockedStage,
    name=names,
    key=digests,
    facts=st.builds(
        Facts,
        cmd=words,
        wdir=st.just(".") | paths,
        params=st.dictionaries(words, trees, max_size=3),
        env=texts,
        capture=texts,
    ),
    run=st.none() | digests.map(lambda digest: f"run:{digest}"),
    deps=sections,
    outs=sections,
)
locks = st.lists(stages, max_size=3, unique_by=lambda stage: stage.name).map(lambda found: Lockfile(tuple(found)))


@given(locks)
def test_a_lockfile_reads_back_as_it_was(made):
    data = lockfile.dump(made)
    found = lockfile.parse(data, "dvlite.lock")
    assert without_lines(found) == made
    assert lockfile.dump(found) == data


@given(locks)
def test_every_line_but_the_first_is_of_one_stage_path_or_value(made):
    rows = sum(
        3 + (stage.run is not None) + (stage.facts.wdir != ".") + sum(len(part) + 1 for part in parts_of(stage) if part)
        for stage in made.stages
    )
    assert len(lockfile.dump(made).split(b"\n")) == 3 + rows + 2


def parts_of(stage):
    return stage.deps, stage.facts.params, stage.facts.env, stage.facts.capture, stage.outs


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 40))
def test_damage_is_refused_or_read_but_never_a_crash(noise, at, gone):
    good = lockfile.dump(WHOLE)
    refused = None
    try:
        lockfile.parse(good[:at] + noise + good[at + gone :], "dvlite.lock")
    except FormatError as error:
        refused = error
    assert refused is None or (refused.hint and "\n" not in refused.message)


def test_a_lockfile_may_have_no_stages():
    for empty in (b"dvlite: 1\nstages:\n# end\n", b"# one\ndvlite: 1\n\nstages: {}\n# end\n"):
        assert lockfile.parse(empty, "x") == Lockfile()


def test_a_stage_can_be_taken_out_by_hand():
    before, entry, after = (lockfile.stage_text(replace(WHOLE.stages[0], name=name)) for name in ("a", "b", "c"))
    data = lockfile.encoded(f"dvlite: 1\nstages:\n{before}{entry}{after}# end\n")
    assert [stage.name for stage in lockfile.parse(data, "x").stages] == ["a", "b", "c"]
    assert [stage.name for stage in lockfile.parse(data.replace(entry.encode(), b""), "x").stages] == ["a", "c"]


def test_a_lockfile_that_was_cut_anywhere_is_refused():
    whole = lockfile.dump(WHOLE)
    for at in range(len(whole)):
        with pytest.raises(FormatError):
            lockfile.parse(whole[:at], "dvlite.lock")
    with pytest.raises(FormatError, match="cut"):
        lockfile.parse(whole + b"\n", "dvlite.lock")


@pytest.mark.parametrize(
    ("line", "reason", "data"),
    [
        (1, "it is not a lockfile", "stages:\n"),
        (1, "version '2' of the format is not known", "dvlite: 2\n"),
        (2, "expected 'stages:'", "dvlite: 1\noutputs:\n"),
        (1, "unresolved merge conflict", "<<<<<<< HEAD\n"),
        (4, "unresolved merge conflict", "dvlite: 1\nstages:\n  a:\n=======\n"),
        (3, "'key' of the stage 'train' is missing", 'dvlite: 1\nstages:\n  train:\n    cmd: "x"\n'),
        (3, "'cmd' of the stage 'train' is missing", f"dvlite: 1\nstages:\n  train:\n    key: {KEY}\n"),
        (4, "'key' is malformed", text(key="short")),
        (5, "'cmd' is malformed", text(cmd="1")),
        (5, "is not a value", text(cmd="python")),
        (6, "'run' is malformed", text(more=f"    run: {FILE}\n")),
        (6, "unexpected", text(more="    owner: me\n")),
        (6, "unexpected", text(more=f"    key: {KEY}\n")),
        (6, "the stage 'train' is given twice", text(more=text()[18:])),
        (7, "'NaN' is not a value", text(more="    params:\n      lr: NaN\n")),
        (8, "'lr' is given twice", text(more="    params:\n      lr: 1\n      lr: 2\n")),
        (3, "'env' of the stage 'train' must hold text", text(more="    env:\n      A: 1\n")),
        (7, "'/etc/passwd' is not a plain relative path", text(outs=f"      /etc/passwd: {OUT}\n")),
        (7, "'a/../../b' is not a plain relative path", text(outs=f'      "a/../../b": {OUT}\n')),
        (7, "'..' is not a plain relative path", text(outs=f"      ..: {OUT}\n")),
        (7, "is not a plain relative path", text(outs=f'      "a\\u0000b": {OUT}\n')),
        (8, "'a' is given twice", text(outs=f"      a: {OUT}\n      a: {OUT}\n")),
        (7, "what stands after 'a' is malformed", text(outs=f"      a: {{oid: {TREE}, size: 3}}\n")),
        (7, "what stands after 'a' is malformed", text(outs=f"      a: {{oid: {FILE}, size: 3, files: 3}}\n")),
        (7, "what stands after 'a' is malformed", text(outs=f"      a: {{oid: {FILE}, size: {2**63}}}\n")),
        (7, "what stands after 'a' is malformed", text(outs=f"      a: {{oid: {FILE}, size: 3, cache: no}}\n")),
        (7, "what stands after 'a' is malformed", text(outs=f"      a: {{oid: {TREE}, size: 3, files: 1, executable: true}}\n")),
        (7, "nested too deeply", text(more=f"    params:\n      a: {'[' * 2000}\n")),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(line, reason, data):
    with pytest.raises(FormatError) as caught:
        lockfile.parse(data.encode(), "sub/dvlite.lock")
    message = caught.value.message
    assert message.startswith(f"cannot read 'sub/dvlite.lock' line {line}: ")
    assert reason in message
    assert caught.value.hint


def test_a_lockfile_above_the_limit_is_refused_before_it_is_read():
    with pytest.raises(FormatError, match="at most"):
        lockfile.parse(b" " * (lockfile.LIMIT_BYTES + 1), "x")


def test_an_entry_that_is_equal_leaves_its_bytes_when_another_changes():
    other = replace(WHOLE.stages[0], facts=Facts("other"))
    old, new = (lockfile.dump(Lockfile((first, WHOLE.stages[1]))).splitlines() for first in (WHOLE.stages[0], other))
    assert sum(before != after for before, after in zip(old, new, strict=True)) == 1


def stages_of_seven(count):
    made = [
        LockedStage(
            name=f"stage-{n}",
            key=KEY,
            facts=Facts("python run.py", params={"lr": 0.1}),
            deps=tuple(Locked(f"in/{n}/{k}", FILE, 3) for k in range(5)),
            outs=tuple(Locked(f"out/{n}/{k}", FILE, 3) for k in range(2)),
        )
        for n in range(count)
    ]
    return lockfile.dump(Lockfile(tuple(made)))


def test_four_times_the_stages_take_four_times_the_work_and_little_memory():
    data = stages_of_seven(400)
    assert len(lockfile.parse(data, "x").stages) == 400
    assert grows_linearly(lambda text: lockfile.parse(text, "x"), stages_of_seven(100), data, times=4)
    tracemalloc.start()
    lockfile.parse(data, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15 * len(data)


def test_path_that_would_stand_twice_is_not_written():
    item = lockfile.Locked("out", "blake3:" + "0" * 64, 1)
    stage = lockfile.LockedStage("one", "0" * 64, Facts("true"), outs=(item, item))
    with pytest.raises(FormatError, match="'out' would be in it twice"):
        lockfile.dump(lockfile.Lockfile((stage,)))
    once = lockfile.LockedStage("one", "0" * 64, Facts("true"))
    with pytest.raises(FormatError, match="'one' would be in it twice"):
        lockfile.dump(lockfile.Lockfile((once, once)))


@pytest.mark.parametrize(("text", "kind"), [("<<<<<<< HEAD\n", "conflict"), ("nonsense\n", "malformed")])
def test_an_error_has_the_place_and_its_kind_as_fields(text, kind):
    with pytest.raises(FormatError) as caught:
        lockfile.parse(text.encode(), "dvlite.lock")
    assert (caught.value.file, caught.value.line, caught.value.kind) == ("dvlite.lock", 1, kind)


def test_a_map_stage_has_its_declaration_in_one_line():
    declared = {
        "over": {"image": "images/{id}.jpg", "label": "labels/{id}.txt"},
        "by": ["id"],
        "outs": ["o/${id}.json"],
    }
    stage = LockedStage(
        "m", KEY, Facts("x ${in} \\${HOME}", map=declared), deps=(Locked("images/*.jpg", TREE, 5, files=2),)
    )
    data = lockfile.dump(Lockfile((stage,)))
    line = '    map: {"by": ["id"], "outs": ["o/${id}.json"], "over": {"image": "images/{id}.jpg", "label": "labels/{id}.txt"}}'
    assert line in data.decode().splitlines()
    assert without_lines(lockfile.parse(data, "x")).stages == (stage,)
    assert yaml.safe_load(data)["stages"]["m"]["map"] == declared


@pytest.mark.parametrize("declared", ["{}", "[1]", '"x"', "{", "null"])
def test_a_declaration_that_is_none_is_refused(declared):
    with pytest.raises(FormatError, match="line 6"):
        lockfile.parse(text(more=f"    map: {declared}\n").encode(), "dvlite.lock")
