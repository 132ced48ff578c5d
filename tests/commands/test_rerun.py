"""`verify --rerun`: stages run again in a clean clone, and each verdict that can come of it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.project import tree
from tests.polling import is_alive, pid_in, until


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Returns the folder that clean clones are made in; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def verified(pipeline):
    """Returns a function that writes a pipeline, runs and commits it, and one that verifies it."""
    return Verified(pipeline)


class Verified:
    """A committed pipeline that is verified by running it."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def stages(self, text, **files):
        self.pipeline.write("dvlite.yaml", "stages:\n" + text)
        self.pipeline.write("in.txt", "input\n")
        for name, data in files.items():
            self.pipeline.write(name.replace("__", "."), data)
        self.pipeline.repro()
        self.pipeline.commit("Run")
        self.pipeline.ran()
        return self

    def again(self, *args, code=0):
        """Returns what came of each stage, by address."""
        found = self.pipeline.json("verify", "--rerun", *args, code=code)
        self.found = found
        return {each["stage"]: each for each in found["stages"]}

    def verdicts(self, *args, code=0):
        return {name: each["verdict"] for name, each in self.again(*args, code=code).items()}


def outputs(check):
    return {each["path"]: each["verdict"] for each in check["outputs"]}


# --- what reproduces


def test_what_gives_the_same_is_identical_and_the_work_tree_is_left_alone(pipeline):
    pipeline.line().repro()
    pipeline.commit("Run")
    pipeline.write("scratch.txt", "not in git")
    pipeline.ran()
    before = tree(pipeline.root)
    found = pipeline.json("verify", "--rerun")
    assert [(each["stage"], each["verdict"], each["runs"]) for each in found["stages"]] == [
        ("prepare", "identical", 1),
        ("train", "identical", 1),
        ("report", "identical", 1),
    ]
    assert found["rerun"] is True
    assert {each["path"]: each["verdict"] for each in found["stages"][1]["outputs"]} == {
        "metrics.json": "identical",
        "model.pt": "identical",
    }
    assert found["stages"][0]["drift"] == {}
    assert pipeline.ran() == ["prepare", "train", "report"]
    after = tree(pipeline.root)
    changed = {name for name in {**before, **after} if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith(".git/")} == set()
    assert not [name for name in changed if "/cache/" in name]
    assert "Reproduced: 3 identical." in pipeline.dvlite("verify", "--rerun").stdout


def test_named_stages_are_run_with_those_before_them(pipeline):
    pipeline.line().repro()
    pipeline.commit("Run")
    pipeline.ran()
    pipeline.dvlite("verify", "--rerun", "train")
    assert pipeline.ran() == ["prepare", "train"]
    pipeline.dvlite("verify", "--rerun", "--stage-inputs", "train")
    assert pipeline.ran() == ["train"]


def test_a_pipeline_in_a_subfolder_with_wdir_reproduces(verified):
    verified.pipeline.write(
        "sub/dvlite.yaml", "stages:\n  a:\n    cmd: cat ../../in.txt > o.txt\n    wdir: deep\n    deps: [../../in.txt]\n    outs: [o.txt]\n"
    )  # fmt: skip
    verified.pipeline.write("sub/deep/keep", "")
    verified.stages(
        "  b: {cmd: cp sub/deep/o.txt p.txt, deps: [sub/deep/o.txt], outs: [{path: p.txt, cache: false}]}\n"
    )
    assert verified.verdicts() == {"sub:a": "identical", "b": "identical"}


# --- what does not


RANDOM = (
    "  prepare: {cmd: cat in.txt > clean.txt, deps: [in.txt], outs: [clean.txt]}\n"
    "  train: {cmd: 'cat clean.txt > model; echo $RANDOM$RANDOM >> model', deps: [clean.txt], outs: [model]}\n"
    "  report: {cmd: wc -l < model > report, deps: [model], outs: [report]}\n"
)


def test_what_is_random_is_named_and_what_needs_it_is_not_checked(verified):
    found = verified.stages(RANDOM).again(code=1)
    assert {name: each["verdict"] for name, each in found.items()} == {
        "prepare": "identical",
        "train": "different",
        "report": "not checked",
    }
    train = found["train"]
    assert (train["culprit"], train["repeats"], train["varies_with"]) == (True, False, None)
    assert train["outputs"][0]["detail"][0].startswith("line 2 is the first that differs")
    assert found["report"]["problem"] == "needs train"
    said = verified.pipeline.dvlite("verify", "--rerun", code=1).stdout
    assert "not deterministic" in said
    assert "report   not checked: needs train" in said
    assert "train does not reproduce. 1 identical, 1 different, 1 not checked" in said


def test_with_the_inputs_of_the_lockfile_all_culprits_are_found_at_once(verified):
    text = RANDOM.replace("wc -l < model > report", "cat model > report; echo $RANDOM >> report")
    found = verified.stages(text).again("--stage-inputs", code=1)
    assert [(name, each["verdict"], each["culprit"]) for name, each in found.items()] == [
        ("prepare", "identical", False),
        ("train", "different", True),
        ("report", "different", True),
    ]


@pytest.mark.skipif(os.cpu_count() == 1, reason="threads are no factor on one core")
def test_threads_and_the_order_of_hashes_are_told_from_chance(verified):
    verified.stages(
        "  threads: {cmd: 'echo ${OMP_NUM_THREADS:-$RANDOM} > t', outs: [t]}\n"
        "  hashes: {cmd: '" + sys.executable + ' -c "print(*set(map(str, range(99))))" > h\', outs: [h]}\n'
        "  still: {cmd: 'echo $OMP_NUM_THREADS$RANDOM > s', outs: [s], env: {OMP_NUM_THREADS: 1, PYTHONHASHSEED: 0}}\n"
    )
    found = verified.again(code=1)
    assert {name: each["varies_with"] for name, each in found.items()} == {
        "threads": "the number of threads",
        "hashes": "the order of Python's hashes",
        "still": None,
    }
    assert not any(each["repeats"] for each in found.values())
    assert (
        "varies with the number of threads" in verified.pipeline.dvlite("verify", "--rerun", "threads", code=1).stdout
    )


def test_a_result_that_differs_elsewhere_shows_what_differs_in_the_environment(verified, monkeypatch):
    monkeypatch.setenv("WHERE", "there")
    verified.stages("  a: {cmd: echo $WHERE > o, deps: [in.txt], outs: [o], capture: [{env: WHERE}]}\n")
    monkeypatch.setenv("WHERE", "here")
    found = verified.again(code=1)["a"]
    assert (found["verdict"], found["culprit"], found["repeats"]) == ("different", True, True)
    assert found["drift"] == {"env WHERE": ["there", "here"]}
    said = verified.pipeline.dvlite("verify", "--rerun", code=1).stdout
    assert "environment: env WHERE there -> here" in said


def test_drift_alone_is_no_failure(verified, monkeypatch):
    monkeypatch.setenv("WHERE", "there")
    verified.stages("  a: {cmd: echo same > o, deps: [in.txt], outs: [o], capture: [{env: WHERE}]}\n")
    monkeypatch.setenv("WHERE", "here")
    found = verified.again()["a"]
    assert (found["verdict"], found["drift"]) == ("identical", {"env WHERE": ["there", "here"]})


def test_outputs_that_are_missing_and_files_that_are_extra_are_told(verified, monkeypatch):
    monkeypatch.setenv("SECOND", "yes")
    cmd = '"mkdir d; echo a > d/a; if [ $SECOND = yes ]; then echo o > o; else echo b > d/b; echo u > undeclared; touch x.tmp; fi"'
    verified.stages(f"  a: {{cmd: {cmd}, outs: [d, 'o*']}}\n", __gitignore="*.tmp\n/d\n/o\n")
    monkeypatch.setenv("SECOND", "no")
    found = verified.again(code=1)["a"]
    assert (found["verdict"], outputs(found)) == ("different", {"d": "extra", "o": "missing", "undeclared": "extra"})
    assert found["outputs"][0]["detail"] == ["of 1 files 1 new", "+ b"]


def test_a_file_of_git_that_a_stage_changes_is_warned_of(verified):
    verified.pipeline.write("log.txt", "")
    verified.stages("  a: {cmd: echo x > o; echo run >> log.txt, outs: [o]}\n")
    assert verified.verdicts() == {"a": "identical"}
    assert "a changes 'log.txt', which is in git and declared by no stage" in verified.found["warnings"]


def test_a_stage_that_changes_its_own_input_is_told(verified):
    verified.stages("  a: {cmd: 'cat in.txt > o; echo $RANDOM >> o', deps: [in.txt], outs: [o]}\n")
    verified.pipeline.edit("dvlite.yaml", "echo $RANDOM >> o", "echo $RANDOM >> o; true")
    verified.pipeline.repro()
    verified.pipeline.edit("dvlite.yaml", "; true", "; echo $RANDOM >> in.txt")
    verified.pipeline.commit("Not run")
    found = verified.again(code=1)["a"]
    assert found["problem"].startswith("its inputs are not those of the lockfile: cmd")
    assert not found["culprit"]


def test_a_stage_that_fails_leaves_with_4(verified, monkeypatch):
    monkeypatch.setenv("FAIL", "0")
    verified.stages(
        "  a: {cmd: 'echo working; echo o > o; exit $FAIL', deps: [in.txt], outs: [o]}\n"
        "  b: {cmd: cp o p, deps: [o], outs: [p]}\n"
    )
    monkeypatch.setenv("FAIL", "7")
    found = verified.again(code=4)
    assert (found["a"]["verdict"], found["a"]["problem"], found["a"]["log_tail"]) == ("failed", "exit 7", ["working"])
    assert found["b"]["verdict"] == "not checked"
    assert "a failed in a clean clone: exit 7" in verified.pipeline.dvlite("verify", "--rerun", code=4).stderr


def test_an_output_that_cannot_be_taken_fails_its_stage_alone(verified, monkeypatch):
    monkeypatch.setenv("HOW", "cp")
    verified.stages("  a: {cmd: $HOW in.txt o, deps: [in.txt], outs: [o]}\n  b: {cmd: cp in.txt p, outs: [p]}\n")
    monkeypatch.setenv("HOW", "ln -s")
    found = verified.again(code=4)
    assert {name: each["verdict"] for name, each in found.items()} == {"a": "failed", "b": "identical"}
    assert "symbolic link" in found["a"]["problem"]


def test_what_the_lockfile_does_not_have_is_a_finding_and_not_run(pipeline):
    pipeline.line().repro("prepare")
    pipeline.commit("Run half of it")
    found = pipeline.json("verify", "--rerun", code=1)
    assert [(each["stage"], each["verdict"]) for each in found["stages"]] == [
        ("prepare", "identical"),
        ("train", "inconclusive"),
        ("report", "inconclusive"),
    ]
    assert found["findings"]


# --- comparators


def with_noise(verified, monkeypatch, entry, first="0.5000", second="0.5001"):
    monkeypatch.setenv("NOISE", first)
    verified.stages(
        f"  a:\n    cmd: 'echo {{\\\"acc\\\":$NOISE}} > m.json'\n    deps: [in.txt]\n    metrics: [{entry}]\n"
        "  b: {cmd: wc -c < m.json > size, deps: [m.json], outs: [size]}\n"
    )
    monkeypatch.setenv("NOISE", second)


def test_a_declared_tolerance_makes_it_equivalent_and_what_comes_after_is_run(verified, monkeypatch):
    with_noise(verified, monkeypatch, "{path: m.json, cache: false, compare: {type: json, rtol: 0.01}}")
    found = verified.again()
    assert {name: each["verdict"] for name, each in found.items()} == {"a": "equivalent", "b": "identical"}
    assert found["a"]["outputs"][0]["comparator"] == "json"
    said = verified.pipeline.dvlite("verify", "--rerun").stdout
    assert "other bytes, but equivalent: m.json (by json)" in said
    assert "Reproduced: 1 identical, 1 equivalent." in said


@pytest.mark.parametrize("entry", ["m.json", "{path: m.json, compare: {type: json, rtol: 0.00001}}"])
def test_beyond_the_tolerance_it_is_different(verified, monkeypatch, entry):
    with_noise(verified, monkeypatch, entry)
    found = verified.again(code=1)["a"]
    assert (found["verdict"], found["repeats"]) == ("different", True)
    assert found["outputs"][0]["detail"] == ["acc 0.5 -> 0.5001 (+0.02%)"]


def test_a_comparator_that_lacks_the_recorded_version_passes_nothing(verified, monkeypatch):
    with_noise(verified, monkeypatch, "{path: m.json, compare: {type: json, rtol: 0.01}}")
    shutil.rmtree(verified.pipeline.project.cache)
    found = verified.again(code=3)
    assert (found["a"]["verdict"], found["b"]["verdict"]) == ("inconclusive", "not checked")
    assert found["a"]["outputs"][0]["detail"] == ["the recorded version is neither in the cache nor on the remote"]


@pytest.mark.parametrize(
    ("script", "verdict", "code"),
    [
        ("bash compare.sh", "equivalent", 0),
        ("test -s $1 && grep -q acc $2", "equivalent", 0),
        ("cmp", "different", 1),
        ("no-such-program", "inconclusive", 3),
    ],
)
def test_a_command_compares(verified, monkeypatch, script, verdict, code):
    verified.pipeline.write("compare.sh", 'test $# = 2; grep -q 0.5000 "$1"; grep -q 0.5001 "$2"\n')
    with_noise(verified, monkeypatch, f"{{path: m.json, compare: {{type: command, run: '{script}'}}}}")
    found = verified.again("a", code=code)["a"]
    assert (found["verdict"], found["outputs"][0]["comparator"]) == (verdict, "command")


def test_files_of_a_folder_are_compared_by_pattern(verified, monkeypatch):
    monkeypatch.setenv("NOISE", "1.0")
    text = (
        "  a:\n"
        '    cmd: mkdir -p d/sub; echo {\\"a\\":$NOISE} > d/sub/m.json; echo took $NOISE s > d/log; echo $MORE > d/rest\n'
        "    outs:\n      - path: d\n        compare: {'*.json': {type: json, rtol: 0.1}, log: {type: text, ignore: ['took .*']}}\n"
    )
    monkeypatch.setenv("MORE", "")
    verified.stages(text.replace("cmd: ", "cmd: '").replace("d/rest\n", "d/rest'\n"))
    monkeypatch.setenv("NOISE", "1.01")
    assert verified.again()["a"]["outputs"][0]["detail"] == ["2 files differ and are equivalent"]
    monkeypatch.setenv("MORE", "x")
    found = verified.again(code=1)["a"]["outputs"][0]
    assert found["verdict"] == "different"
    assert found["detail"] == ["of 3 files 1 differ", "rest: line 1 is the first that differs"]


def test_a_folder_that_git_keeps_is_compared_without_the_cache(verified, monkeypatch):
    monkeypatch.setenv("NOISE", "1")
    verified.stages("  a: {cmd: 'mkdir d; echo $NOISE > d/a; echo b > d/b', outs: [{path: d, cache: false}]}\n")
    shutil.rmtree(verified.pipeline.project.cache)
    assert verified.verdicts() == {"a": "identical"}
    monkeypatch.setenv("NOISE", "2")
    found = verified.again(code=1)["a"]["outputs"][0]
    assert (found["verdict"], found["detail"][0]) == ("different", "of 2 files 1 differ")


def test_a_mode_that_changed_is_a_difference(verified, monkeypatch):
    monkeypatch.setenv("MODE", "755")
    verified.stages("  a: {cmd: 'echo x > o; chmod $MODE o', outs: [{path: o, compare: text}]}\n")
    monkeypatch.setenv("MODE", "644")
    assert verified.again(code=1)["a"]["outputs"][0]["detail"] == ["it is not executable any more"]


# --- twice


def test_twice_runs_every_stage_twice(verified):
    verified.stages("  a: {cmd: 'echo a >> \"$RAN\"; cp in.txt o', deps: [in.txt], outs: [o]}\n")
    found = verified.again("--twice")["a"]
    assert (found["verdict"], found["repeats"], found["runs"]) == ("identical", True, 2)
    assert verified.pipeline.ran() == ["a", "a"]


def test_twice_finds_what_only_the_second_run_shows(verified, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE", str(tmp_path / "state"))
    verified.stages("  a: {cmd: 'test -e $STATE && echo other > o || echo same > o; touch $STATE', outs: [o]}\n")
    (tmp_path / "state").unlink()
    found = verified.again("--twice", code=1)["a"]
    assert (found["verdict"], found["repeats"], found["runs"]) == ("different", False, 2)


# --- data


def test_only_the_data_that_is_needed_is_fetched(shared, invoke, tmp_path):
    from tests.commands.project import Project

    for name in ("used", "unused", "other"):
        shared.write(f"data/{name}/a.txt", f"{name}\n" * 20_000)
        shared.write(f"data/{name}/b.txt", f"{name} too\n" * 20_000)
    shared.dvlite("add", "data/used", "data/unused", "data/other")
    stages = "  a: {cmd: wc -l < data/used/a.txt > o, deps: [data/used/a.txt], outs: [o]}\n"
    stages += "  b: {cmd: 'ls data/unused > p', deps: [data/unused, o], outs: [p]}\n"
    shared.write("dvlite.yaml", "stages:\n" + stages)
    shared.dvlite("repro")
    shared.commit("Run")
    shared.dvlite("push")
    shared.git("clone", "-q", str(shared.root), str(tmp_path / "fresh"))
    fresh = Project(tmp_path / "fresh", invoke)
    found = fresh.json("verify", "--rerun", "a")
    assert [each["verdict"] for each in found["stages"]] == ["identical"]
    assert not fresh.has("data/used")
    large = [path for path in fresh.cache.glob("files/*/*") if path.is_file()]
    assert [path.stat().st_size for path in large] == [len("used\n") * 20_000]
    assert [each["verdict"] for each in fresh.json("verify", "--rerun")["stages"]] == ["identical", "identical"]
    assert fresh.git("status", "--porcelain") == ""


def test_data_that_is_nowhere_is_never_a_pass(verified):
    verified.pipeline.write("raw/a", "x" * 100)
    verified.pipeline.dvlite("add", "raw")
    verified.stages(
        "  a: {cmd: cat raw/a > o, deps: [raw], outs: [o]}\n"
        "  b: {cmd: cat o > p, deps: [o], outs: [p]}\n"
        "  c: {cmd: cat in.txt > q, deps: [in.txt], outs: [q]}\n"
    )
    shutil.rmtree(verified.pipeline.project.cache)
    found = verified.again(code=3)
    assert {name: each["verdict"] for name, each in found.items()} == {
        "a": "inconclusive",
        "b": "not checked",
        "c": "identical",
    }
    assert found["a"]["problem"].startswith("'raw' is not in the cache")
    assert "could not check a" in verified.pipeline.dvlite("verify", "--rerun", code=3).stderr


def test_inputs_of_the_lockfile_that_are_nowhere_are_no_pass(verified):
    verified.stages(RANDOM.replace("; echo $RANDOM$RANDOM >> model", ""))
    shutil.rmtree(verified.pipeline.project.cache)
    assert verified.verdicts("--stage-inputs", code=3) == {
        "prepare": "identical",
        "train": "inconclusive",
        "report": "inconclusive",
    }
    assert verified.verdicts() == dict.fromkeys(("prepare", "train", "report"), "identical")


def test_with_locked_inputs_a_stage_sees_only_what_it_declares(verified):
    verified.stages(
        "  a: {cmd: cat in.txt > o, deps: [in.txt], outs: [o]}\n"
        "  b: {cmd: cat o in.txt > p, deps: [in.txt], outs: [p]}\n"  # o is no dependency of it
    )
    assert verified.verdicts() == {"a": "identical", "b": "identical"}  # by luck of the order
    assert verified.verdicts("--stage-inputs", code=4) == {"a": "identical", "b": "failed"}


def test_a_frozen_stage_is_run_only_if_it_is_named(verified):
    verified.stages("  a: {cmd: cat in.txt > o, deps: [in.txt], outs: [o]}\n  b: {cmd: cp o p, deps: [o], outs: [p]}\n")
    verified.pipeline.edit("dvlite.yaml", "outs: [o]", "outs: [o], frozen: true")
    verified.pipeline.commit("Freeze")
    assert [each["runs"] for each in verified.again().values()] == [1, 0]
    assert verified.found["warnings"] == ["a is frozen: its outputs are taken as the lockfile has them"]
    assert verified.verdicts("a") == {"a": "identical"}


def test_a_dependency_that_git_does_not_have_is_told(verified):
    verified.pipeline.write(".gitignore", "local.txt\n")
    verified.pipeline.write("local.txt", "x")
    verified.stages("  a: {cmd: cat local.txt > o, deps: [local.txt], outs: [o]}\n")
    found = verified.again(code=None)["a"]
    assert found["verdict"] == "inconclusive"
    assert "'local.txt' of a does not exist" in found["problem"]


def test_a_program_that_is_not_installed_is_inconclusive(verified, monkeypatch, tmp_path):
    program = tmp_path / "bin" / "special-tool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho special\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    verified.stages("  a: {cmd: special-tool > o, deps: [in.txt], outs: [o]}\n")
    program.unlink()
    found = verified.again(code=3)["a"]
    assert (found["verdict"], "the command 'special-tool'" in found["problem"]) == ("inconclusive", True)


# --- the clone


def test_uncommitted_changes_are_warned_of_and_not_checked(pipeline):
    pipeline.line().repro()
    pipeline.commit("Run")
    pipeline.write("train.sh", "false\n")
    found = pipeline.json("verify", "--rerun")
    assert [each["verdict"] for each in found["stages"]] == ["identical"] * 3
    assert found["warnings"] == ["uncommitted changes are not checked, the last commit is: 'train.sh'"]


def test_any_revision_can_be_run_again(pipeline):
    pipeline.line().repro()
    pipeline.commit("Run")
    pipeline.git("tag", "good")
    pipeline.write("params.yaml", "lr: 2\n")
    pipeline.commit("Not run")
    found = pipeline.json("verify", "--rerun", code=1)
    train = found["stages"][1]
    assert (train["verdict"], train["culprit"], train["repeats"]) == ("different", False, None)
    assert train["problem"] == "its inputs are not those of the lockfile: params.yaml:lr"
    found = pipeline.json("verify", "--rerun", "--rev", "good")
    assert [each["verdict"] for each in found["stages"]] == ["identical"] * 3


def test_a_shallow_partial_sparse_clone_with_a_detached_head_is_verified(pipeline, invoke, tmp_path):
    from tests.commands.project import Project

    pipeline.line().repro()
    pipeline.commit("Run")
    pipeline.git("config", "uploadpack.allowFilter", "true")
    parts = ("--depth", "1", "--filter=blob:none", "--sparse")
    pipeline.git("clone", "-q", *parts, f"file://{pipeline.root}", str(tmp_path / "shallow"))
    shallow = Project(tmp_path / "shallow", invoke)
    shallow.git("checkout", "-q", "--detach")
    shallow.git("branch", "-q", "-D", "main")
    found = shallow.json("verify", "--rerun", "--offline", code=None)
    assert not [warning for warning in found["warnings"] if "changes" in warning], (
        "git fetched every file of the commit"
    )
    assert [each["verdict"] for each in found["stages"]] == ["identical"] * 3


def test_hooks_and_git_variables_do_not_lead_out_of_the_clone(verified, monkeypatch):
    verified.stages("  a: {cmd: git rev-parse --show-toplevel | xargs basename > o, deps: [in.txt], outs: [o]}\n")
    hook = verified.pipeline.write(".git/hooks/post-checkout", '#!/bin/sh\necho hook >> "$RAN"\n')
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", str(verified.pipeline.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(verified.pipeline.root / ".git" / "index"))
    assert verified.verdicts() == {"a": "identical"}
    assert verified.pipeline.ran() == []


def test_kept_clones_are_told(verified, temporary):
    verified.stages("  a: {cmd: cat in.txt > o, deps: [in.txt], outs: [o]}\n")
    verified.again("--keep")
    folder = Path(verified.found["kept"])
    assert (folder / "o").read_text() == "input\n"
    assert "the clean clone is kept" in verified.pipeline.dvlite("verify", "--rerun", "--keep").stdout
    for each in temporary.iterdir():
        shutil.rmtree(each)


def test_what_a_stage_made_read_only_is_removed_too(verified):
    verified.stages("  a: {cmd: mkdir d; echo x > d/x; mkdir d/e; chmod 500 d/e, outs: [d]}\n")
    assert verified.verdicts() == {"a": "identical"}


def test_an_interruption_stops_the_command_and_leaves_nothing(verified, monkeypatch, temporary, tmp_path):
    started = tmp_path / "started"
    monkeypatch.setenv("STARTED", str(started))
    monkeypatch.setenv("WAIT", "0")
    verified.stages("  a: {cmd: 'echo $$ > $STARTED; sleep $WAIT; echo x > o', outs: [o]}\n")
    started.unlink()
    command = [sys.executable, "-m", "dvlite", "verify", "--rerun"]
    process = subprocess.Popen(
        command, cwd=verified.pipeline.root, env={**os.environ, "WAIT": "60"}, stderr=subprocess.PIPE
    )
    shell = pid_in(started)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert said.endswith("interrupted; nothing of the rerun is kept; the same command starts again\n")
    until(lambda: not is_alive(shell))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "args",
    [
        ("--twice",),
        ("--stage-inputs",),
        ("--rerun", "--from-data", "--stage-inputs"),
        ("--rerun", "--range", "HEAD..HEAD"),
        ("--rerun", "nothing-like-it"),
        ("--rerun", "--rev", "no-such"),
    ],
)
def test_flags_that_make_no_sense_are_refused(pipeline, args):
    pipeline.line().repro()
    pipeline.commit("Run")
    pipeline.dvlite("verify", *args, code=2)


# --- what is said of a commit, of a stop, of a log


def test_a_file_that_the_commit_has_wrong_is_said_to_be_that_of_the_commit(verified):
    verified.stages("  one: {cmd: echo > a, outs: [a]}\n")
    good = verified.pipeline.read("dvlite.yaml")
    verified.pipeline.write("dvlite.yaml", good.replace(b"outs", b"out"))
    verified.pipeline.commit("Wrong")
    commit = verified.pipeline.git("rev-parse", "HEAD").strip()
    verified.pipeline.write("dvlite.yaml", good)  # corrected, and not committed
    said = verified.pipeline.dvlite("verify", "--rerun", code=1).stderr
    assert f"(in commit {commit[:8]})" in said
    assert "commit your correction" in said
    said = verified.pipeline.dvlite("verify", "--rerun", "new", code=2).stderr
    assert "neither tracked nor a stage in HEAD" in said
    assert "commit it first" in said


def test_the_commit_that_was_run_is_in_the_reports(verified):
    verified.stages("  one: {cmd: echo > a, outs: [a]}\n").again("--md", "r.md", "--junit", "r.xml")
    commit = verified.pipeline.git("rev-parse", "HEAD").strip()
    assert (verified.found["revision"], verified.found["commit"]) == ("HEAD", commit)
    assert f"of HEAD ({commit[:8]})".encode() in verified.pipeline.read("r.md")
    assert f'<property name="commit" value="{commit}"'.encode() in verified.pipeline.read("r.xml")
    assert verified.pipeline.json("verify")["commit"] is None


def test_the_end_of_a_log_stands_below_its_stage_and_the_hint_is_one_line(verified):
    verified.stages("  one: {cmd: 'echo first; echo second; test -z \"$FAIL\"; echo > a', outs: [a]}\n")
    verified.pipeline.write("dvlite.yaml", verified.pipeline.read("dvlite.yaml").replace(b"echo > a", b"exit 3"))
    verified.pipeline.commit("It fails")
    done = verified.pipeline.dvlite("verify", "--rerun", "--no-progress", code=4)
    assert "  | first\n  | second\n" in done.stdout
    hints = [line for line in done.stderr.splitlines() if line.startswith("hint: ")]
    assert hints == ["hint: the end of its log is above; to look at the clone: dvlite verify --rerun --keep one"]
