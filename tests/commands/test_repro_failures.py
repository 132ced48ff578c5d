"""`dvlite repro` when something goes wrong: what is put back, what is kept, what is recorded, and what is refused before anything runs."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.commands.project import tree
from tests.polling import is_alive, pid_in, until

MAKES_ALL = """\
mkdir -p dir/sub
cat word > file
cat word > dir/sub/a
cat word > metrics.json
chmod +x file
if test -e broken; then exit 7; fi
"""
ALL = "stages:\n  make: {cmd: bash make.sh, deps: [make.sh, word], outs: [file, dir], metrics: [{path: metrics.json, cache: false}]}\n"


@pytest.fixture
def made(prepared_pipeline):
    """A stage with a file, a folder and a metric that git keeps, run once."""

    def build(pipeline):
        pipeline.write("make.sh", MAKES_ALL)
        pipeline.write("word", "1")
        pipeline.write("dvlite.yaml", ALL)
        pipeline.dvlite("repro")
        pipeline.commit()

    return prepared_pipeline("all-kinds-of-outputs", build)


def outputs(pipeline):
    return {name: tree(pipeline.root).get(name) for name in ("file", "dir", "dir/sub", "dir/sub/a", "metrics.json")}


def one(pipeline, script, **fields):
    text = {"cmd": script, "outs": ["out"], **fields}
    pipeline.write("dvlite.yaml", json.dumps({"stages": {"one": text}}))
    return pipeline


def background(pipeline, *args):
    """Starts repro in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dvlite", "repro", *args],
        cwd=pipeline.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


# --- a command that fails


def test_failed_stage_leaves_what_was_there_and_keeps_what_it_wrote(made):
    before, lock = outputs(made), made.lock()
    made.write("word", "2")
    made.write("broken", "")
    done = made.repro(code=4)["make"]
    assert (done["state"], done["exit_code"], done["problem"]) == ("failed", 7, "exit 7")
    assert outputs(made) == before
    assert made.lock() == lock
    kept = made.root / done["kept"]
    assert (kept / "file").read_bytes() == b"2"
    assert (kept / "dir/sub/a").read_bytes() == b"2"
    assert made.reasons() == {"make": [("dep-changed", "word")]}


def test_failure_is_one_line_with_where_to_look(made):
    made.write("broken", "")
    made.write("word", "2")
    said = made.dvlite("repro", code=4, cwd="dir").stderr
    name = made.records("make")[-1]
    assert "error: make failed: exit 7\n" in said, said
    assert "runs show" not in said  # it printed nothing
    place = next(line.rpartition(" is in ")[2] for line in said.splitlines() if " is in " in line)
    assert (made.root / "dir" / place / "file").read_bytes() == b"2"
    assert name.status == "failed"


def test_failed_run_is_recorded_with_its_log(made):
    made.write("make.sh", "echo so far; echo and no further >&2; exit 3")
    found = made.repro(code=4)["make"]
    run = made.records("make")[-1]
    assert (run.status, run.exit_code, run.outputs) == ("failed", 3, ())
    assert found["log"] == run.log
    assert found["log_tail"] == ["so far", "and no further"]
    made.write("make.sh", 'echo "it\'s broken" >&2; exit 3')
    assert "hint: | it's broken\n" in made.dvlite("repro", "-q", code=4).stderr


def test_what_comes_after_a_failure_is_not_run(pipeline):
    pipeline.line().write("train.sh", "exit 1")
    assert pipeline.states(code=4) == {"prepare": "ok", "train": "failed", "report": "not run"}
    assert pipeline.ran() == ["prepare"]
    assert pipeline.locked("prepare") is not None, "what was done counts"
    assert pipeline.states(code=4) == {"prepare": "up to date", "train": "failed", "report": "not run"}


def test_keep_going_runs_what_does_not_need_the_failed_stage(pipeline):
    pipeline.write(
        "dvlite.yaml",
        "stages:\n  a: {cmd: exit 1, outs: [a]}\n  b: {cmd: cat a, deps: [a], outs: [b]}\n"
        "  c: {cmd: echo > c, outs: [c]}\n  d: {cmd: cp c d, deps: [c], outs: [d]}\n",
    )
    assert pipeline.states(code=4) == {"a": "failed", "b": "not run", "c": "not run", "d": "not run"}
    assert pipeline.states("-k", code=4) == {"a": "failed", "b": "not run", "c": "ok", "d": "ok"}


def test_output_that_was_not_made_is_named_with_its_line(pipeline):
    pipeline.write("dvlite.yaml", "stages:\n  one:\n    cmd: echo > a\n    outs:\n      - a\n      - b\n")
    done = pipeline.repro(code=4)["one"]
    assert "did not create 'b', which dvlite.yaml:6 lists as an output of one" in done["problem"]
    assert not pipeline.has("a")
    assert (pipeline.root / done["kept"] / "a").exists()
    assert pipeline.records()[0].status == "failed"
    assert not pipeline.has("dvlite.lock")


def test_pattern_of_outputs_that_matches_nothing_is_named(pipeline):
    one(pipeline, "true", outs=["parts/*.txt"])
    assert "'parts/*.txt'" in pipeline.repro(code=4)["one"]["problem"]


def test_output_that_is_a_link_is_refused_and_the_old_one_stays(pipeline):
    one(pipeline, "echo 1 > out").dvlite("repro")
    one(pipeline, "ln -s /etc/hostname out")
    done = pipeline.repro(code=4)["one"]
    assert "symbolic link" in done["problem"]
    assert pipeline.read("out") == b"1\n"
    assert not (pipeline.root / "out").is_symlink()


def test_output_that_is_a_link_to_a_folder_of_the_repository_is_kept_as_that_folder(pipeline):
    one(pipeline, "mkdir -p v1 && echo 1 > v1/x && ln -sfn v1 current", outs=["v1", "current"])
    assert "a copy of that takes its place" in pipeline.dvlite("repro").stderr
    assert not (pipeline.root / "current").is_symlink()
    assert pipeline.read("current/x") == b"1\n"
    assert pipeline.is_up_to_date()


def test_killed_command_is_a_failure(pipeline):
    one(pipeline, "kill -9 $$")
    assert pipeline.repro(code=4)["one"]["problem"] == "killed by signal 9"
    assert pipeline.records()[0].signal == 9


def test_second_failure_replaces_what_the_first_kept(made):
    made.write("broken", "")
    for word in "23":
        made.write("word", word)
        kept = made.repro(code=4)["make"]["kept"]
        assert (made.root / kept / "file").read_bytes() == word.encode()


def test_what_a_command_leaves_running_does_not_block_the_next_repro(pipeline, tmp_path):
    one(pipeline, f"sleep 30 & echo $! > {tmp_path}/pid; echo > out")
    pipeline.dvlite("repro")
    left = int((tmp_path / "pid").read_text())
    assert is_alive(left)
    pipeline.dvlite("repro", "--no-wait")
    os.kill(left, 9)


# --- what changes while a stage runs


@pytest.mark.parametrize("victim", ["data.txt", "script.sh", "params.yaml"])
def test_stage_whose_input_changed_while_it_ran_is_tainted(pipeline, victim):
    pipeline.write("params.yaml", "lr: 1\n")
    pipeline.write("data.txt", "1")
    pipeline.write("script.sh", "cat data.txt params.yaml > out\nif test -e edit; then . ./edit; fi\n")
    one(pipeline, "bash script.sh", deps=["script.sh", "data.txt"], params=["lr"])
    pipeline.dvlite("repro")
    lock = pipeline.lock()
    pipeline.write("data.txt", "2")
    pipeline.write("edit", f"sed -i 's/^lr.*/lr: 5/; s/2/3/; s/^cat/cat -u/' {victim}")
    done = pipeline.dvlite("repro", code=3)
    name = "params.yaml:lr" if victim == "params.yaml" else victim
    assert f"error: '{name}' changed while one ran" in done.stderr
    assert ("let it write another file" in done.stderr) == (":" in name)
    assert pipeline.lock() == lock
    (pipeline.root / "edit").unlink()
    run = pipeline.records()[-1]
    assert (run.status, run.taint) == ("tainted", (name,))
    assert not pipeline.is_up_to_date()
    assert pipeline.states() == {"one": "ok"}, "a tainted run is never taken from the run cache"
    assert pipeline.is_up_to_date()


def test_folder_that_changed_while_its_stage_ran_taints_too(pipeline):
    pipeline.write("data/a", "1")
    one(pipeline, "cat data/* > out; echo 2 > data/b", deps=["data"])
    assert pipeline.repro(code=3)["one"]["tainted_by"] == ["data"]


def test_what_changed_before_a_stage_began_does_not_taint_it(pipeline):
    pipeline.write("b.txt", "1")
    pipeline.write(
        "dvlite.yaml",
        "stages:\n  a: {cmd: 'echo 2 > b.txt; echo > a', outs: [a]}\n"
        "  b: {cmd: cat a b.txt > b, deps: [a, b.txt], outs: [b]}\n",
    )
    assert pipeline.states() == {"a": "ok", "b": "ok"}
    assert pipeline.is_up_to_date()


# --- outputs that are not what the stage made


def test_edited_output_is_restored_and_the_edit_is_kept(made):
    made.write("file", "my own work")
    assert made.reasons() == {"make": [("output-changed", "file")]}
    done = made.dvlite("repro")
    assert made.read("file") == b"1"
    assert os.access(made.root / "file", os.X_OK)
    assert "restored" in done.stdout
    words = next(line for line in done.stderr.splitlines() if "dvlite get" in line)
    saved = words.rpartition("dvlite get ")[2].split()[0]
    made.dvlite("get", saved, "-o", "back")
    assert made.read("back") == b"my own work"


def test_edited_output_that_a_run_replaces_is_kept(made):
    made.write("dir/sub/a", "my own work")
    made.write("word", "2")
    done = made.dvlite("repro")
    assert made.read("dir/sub/a") == b"2"
    words = next(line for line in done.stderr.splitlines() if "dvlite get" in line)
    made.dvlite("get", words.rpartition("dvlite get ")[2].split()[0], "-o", "back")
    assert made.read("back/sub/a") == b"my own work"


def test_file_that_stands_where_an_output_will_be_is_kept(pipeline):
    pipeline.write("out", "my own work")
    done = one(pipeline, "echo 1 > out").dvlite("repro")
    words = next(line for line in done.stderr.splitlines() if "dvlite get" in line)
    pipeline.dvlite("get", words.rpartition("dvlite get ")[2].split()[0], "-o", "back")
    assert pipeline.read("back") == b"my own work"


def test_deleted_outputs_are_restored(made):
    before = outputs(made)
    (made.root / "file").unlink()
    shutil.rmtree(made.root / "dir")
    (made.root / "metrics.json").unlink()
    assert made.is_up_to_date()
    assert made.states() == {"make": "restored"}
    assert outputs(made) == before


def test_outputs_that_are_nowhere_are_made_again_where_something_needs_them(pipeline, colleague):
    pipeline.line().dvlite("repro")
    pipeline.commit()
    pipeline.ran()
    other = type(pipeline)(colleague(pipeline), pipeline._ran)
    missing = [("output-missing", "clean.txt")]
    assert other.reasons("clean.txt") == {"prepare": missing}
    assert set(other.reasons()) == {"prepare", "train", "report"}, "the last output is what was asked for"
    assert other.states() == {"prepare": "ok", "train": "ok", "report": "ok"}
    assert other.ran() == ["prepare", "train", "report"]
    (other.root / "clean.txt").unlink()
    shutil.rmtree(other.root / ".git/dvlite/cache")
    assert other.is_up_to_date(), "nothing that runs reads it"
    assert other.repro()["prepare"]["absent"] == ["clean.txt"]
    other.edit("params.yaml", "1", "2")
    assert other.reasons()["prepare"] == missing
    assert other.states()["prepare"] == "ok"
    assert other.ran() == ["prepare", "train", "report"]


def test_outputs_that_may_be_on_a_remote_are_fetched_first(pipeline, colleague, tmp_path, monkeypatch):
    pipeline.dvlite("remote", "add", tmp_path / "store")
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    pipeline.line().edit("dvlite.yaml", "outs: [clean.txt]", "outs: [{path: clean.txt, push: false}]")
    pipeline.dvlite("repro")
    pipeline.commit()
    pipeline.ran()
    other = type(pipeline)(colleague(pipeline), pipeline._ran)
    said = other.refused(code=12)
    assert "its output 'report.txt' is neither on disk nor in the cache" in said
    assert "dvlite repro --pull" in said
    assert "'report.txt' is neither on disk nor in the cache: dvlite pull" in other.dvlite("repro", "-n").stderr
    pipeline.dvlite("push")
    assert other.states("--pull") == {"prepare": "up to date", "train": "restored", "report": "restored"}
    assert other.ran() == []
    other.edit("params.yaml", "1", "2")
    assert other.states("-n", code=1)["prepare"] == "would run", "it was never pushed, and train reads it"
    shutil.rmtree(tmp_path / "store")
    for name in ("report.txt", "model.pt"):
        (other.root / name).unlink()
    shutil.rmtree(other.root / ".git/dvlite/cache")
    other.edit("params.yaml", "2", "1")
    assert set(other.states("--pull").values()) == {"ok"}, "the remote lost it"


def test_keep_going_runs_what_does_not_need_a_stage_that_cannot_be_run(pipeline):
    pipeline.write("params.yaml", "a: 1\n")
    pipeline.write("dvlite.yaml", "stages:\n"
                   "  value: {cmd: 'echo > v', params: [nope], outs: [v]}\n"
                   "  program: {cmd: 'no-such-program > p', outs: [p]}\n"
                   "  after: {cmd: cp p q, deps: [p], outs: [q]}\n"
                   "  good: {cmd: echo > g, outs: [g]}\n")  # fmt: skip
    assert "'nope' is not in" in pipeline.refused()
    assert pipeline.states("-n", "-k", code=1)["value"] == "unknown"
    done = pipeline.repro("-k", code=4)
    assert {name: run["state"] for name, run in done.items()} == {
        "value": "failed", "program": "failed", "after": "not run", "good": "ok"}  # fmt: skip
    assert "'no-such-program' of program is not found" in done["program"]["problem"]


def test_program_may_come_from_a_stage_before_it_or_from_a_path_that_the_command_sets(pipeline):
    make = "mkdir -p env; printf '#!/bin/sh\\necho > $1' > env/t; chmod +x env/t; echo > s"
    pipeline.write("dvlite.yaml", f'stages:\n  setup:\n    cmd: "{make}"\n    outs: [s]\n'
                   "  use: {cmd: env/t a, deps: [s], outs: [a]}\n"
                   "  path: {cmd: 'PATH=$PWD/env:$PATH t b', deps: [s], outs: [b]}\n")  # fmt: skip
    assert pipeline.states() == {"setup": "ok", "use": "ok", "path": "ok"}
    pipeline.edit("dvlite.yaml", "env/t a", "env/u a")
    assert "'env/u' of use is not found" in pipeline.refused()


def test_stage_that_runs_repro_is_refused_at_once(pipeline, on_path):
    pipeline.write("dvlite.yaml", "stages:\n  a: {cmd: dvlite repro b; echo > a, outs: [a]}\n"
                   "  b: {cmd: echo > b, outs: [b]}\n")  # fmt: skip
    assert pipeline.states("a", code=4) == {"a": "failed"}
    log = pipeline.dvlite("runs", "show", "last:a", "--log").stdout
    assert "would wait for the run that 'a' is part of" in log


def test_folder_that_git_keeps_may_hold_what_git_ignores(pipeline):
    pipeline.write(".gitignore", "*.log\n")
    one(pipeline, "mkdir out; echo 1 > out/a; echo 2 > out/b.log", outs=[{"path": "out", "cache": False}])
    pipeline.write("dvlite.yaml", pipeline.read("dvlite.yaml").decode()[:-2]
                   + ', "two": {"cmd": "ls out > two", "deps": ["out"], "outs": ["two"]}}}')  # fmt: skip
    pipeline.dvlite("repro")
    assert pipeline.is_up_to_date()
    assert pipeline.states() == {"one": "up to date", "two": "up to date"}


def test_output_that_is_edited_while_another_stage_runs_is_kept(pipeline):
    stages = "stages:\n  a: {cmd: 'cat in > a.out; echo my own work > b.out', deps: [in], outs: [a.out]}\n"
    pipeline.write("dvlite.yaml", stages + "  b: {cmd: cp a.out b.out, deps: [a.out], outs: [b.out]}\n")
    for word in "12":
        pipeline.write("in", word)
        done = pipeline.dvlite("repro")
        words = next(line for line in done.stderr.splitlines() if "dvlite get" in line)
        pipeline.dvlite("get", words.rpartition("dvlite get ")[2].split()[0], "-o", f"back{word}")
        assert pipeline.read(f"back{word}") == b"my own work\n"
        assert pipeline.read("b.out") == word.encode()


# --- Ctrl-C and worse


SLOW = """\
if test -e slow; then
  echo partial > out
  python3 -c 'import time, os; open("{0}/child", "w").write(str(os.getpid())); time.sleep(300)' & wait
fi
cat word > out
"""


@pytest.fixture
def slow(pipeline, tmp_path):
    """A stage that was run once and, from now on, takes minutes; returns the pipeline and the file with its grandchild's id."""
    pipeline.write("word", "1")
    pipeline.write("make.sh", SLOW.format(tmp_path))
    one(pipeline, "bash make.sh", deps=["word"])
    pipeline.dvlite("repro")
    pipeline.write("slow", "")
    pipeline.write("word", "2")
    return pipeline, tmp_path / "child"


@pytest.mark.parametrize(("name", "jobs"), [("SIGINT", "1"), ("SIGTERM", "2")])
def test_interrupted_repro_stops_everything_and_puts_everything_back(slow, name, jobs):
    import signal

    pipeline, child = slow
    lock = pipeline.lock()
    running = background(pipeline, "-j", jobs)
    pid = pid_in(child)
    running.send_signal(getattr(signal, name))
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"Traceback" not in err
    until(lambda: not is_alive(pid))
    assert pipeline.read("out") == b"1"
    assert pipeline.lock() == lock
    assert pipeline.records()[-1].status == "canceled"
    (pipeline.root / "slow").unlink()
    assert pipeline.states() == {"one": "ok"}
    assert pipeline.read("out") == b"2"


def test_command_that_a_killed_repro_left_is_waited_for(slow):
    pipeline, child = slow
    running = background(pipeline)
    pid = pid_in(child)
    running.kill()
    running.communicate()
    assert is_alive(pid)
    said = pipeline.refused("--no-wait", code=11)
    assert "another dvlite command is running here" in said
    waiting = background(pipeline)
    said = waiting.stderr.readline()
    assert b"waiting for another dvlite repro here" in said
    if sys.platform == "linux":
        assert b"which a killed dvlite left running: " in said
    (pipeline.root / "slow").unlink()
    os.kill(int(child.read_text()), 9)
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert pipeline.read("out") == b"2"
    assert pipeline.is_up_to_date()


SIX = """\
stages:
  s1: {cmd: "sleep 0.02; cat in > o1; sleep 0.02", deps: [in], outs: [o1]}
  s2: {cmd: "mkdir o2; sleep 0.02; cp o1 o2/a; sleep 0.02; cp in o2/b", deps: [in, o1], outs: [o2]}
  s3: {cmd: "cat o1 o1 > o3", deps: [o1], outs: [o3], metrics: [{path: m.json, cache: false}]}
  s4: {cmd: "sleep 0.02; cat o2/a o3 > o4", deps: [o2, o3], outs: [o4]}
  s5: {cmd: "cat o4 in > o5", deps: [o4, in], outs: [o5]}
  s6: {cmd: "cat o5 > o6; sleep 0.02", deps: [o5], outs: [o6]}
"""


@pytest.mark.long
def test_killed_at_any_moment_the_lockfile_never_lies(pipeline):
    pipeline.write("dvlite.yaml", SIX.replace("o1 o1 > o3", "o1 o1 > o3; cat in > m.json"))
    pipeline.edit("dvlite.yaml", "deps: [o1], outs: [o3]", "deps: [o1, in], outs: [o3]")
    names = ("o1", "o2/a", "o2/b", "o3", "m.json", "o4", "o5", "o6")

    def expected(word):
        o4 = word * 3
        return dict(zip(names, (word, word, word, word * 2, word, o4, o4 + word, o4 + word), strict=True))

    pipeline.write("in", "0")
    pipeline.dvlite("repro")
    for turn in range(1, 15):
        word = str(turn % 10)
        pipeline.write("in", word)
        running = background(pipeline, *(["-j", "2"] if turn % 2 else []))
        time.sleep(0.15 + turn * 0.06)
        running.kill()
        running.communicate()
        states = pipeline.states("-n", code=None)
        made = expected(word)
        outs = {"s1": ["o1"], "s2": ["o2/a", "o2/b"], "s3": ["o3", "m.json"], "s4": ["o4"], "s5": ["o5"], "s6": ["o6"]}
        for stage, state in states.items():
            for path in outs[stage] if state == "up to date" else ():
                assert not pipeline.has(path) or pipeline.read(path).decode() == made[path], (turn, stage, path)
        pipeline.dvlite("repro")
        assert {path: pipeline.read(path).decode() for path in names} == made, turn
    lock = pipeline.lock()
    pipeline.dvlite("repro", "--force", "--no-run-cache")
    assert pipeline.lock() == lock


# --- refused before anything runs

STAGE = "stages:\n  first: {{cmd: echo first >> $RAN, outs: [f]}}\n  bad:\n{}"
BAD = {
    "a stage that needs its own output": ("    cmd: x\n    deps: [a]\n    outs: [a]\n", "line 5", "its own output"),
    "one output twice": ("    cmd: x\n    outs: [a, b, a]\n", "line 5", "given twice"),
    "an output of another stage": ("    cmd: x\n    outs: [f]\n", "line 5", "an output of two stages, first and bad"),
    "an output in another": ("    cmd: x\n    outs: [f/inner]\n", "line 5", "is inside 'f', an output of first"),
    "a dependency that is not there": (
        "    cmd: x\n    deps: [f, nowhere.py]\n    outs: [a]\n",
        "line 5",
        "'nowhere.py'",
    ),
    "a pattern that matches nothing": (
        "    cmd: x\n    deps: [f, 'no/*.py']\n    outs: [a]\n",
        "line 5",
        "matches nothing",
    ),
    "a parameter that is not there": ("    cmd: x\n    deps: [f]\n    params: [lr]\n", "line 6", "params.yaml"),
    "an unknown key": ("    cmd: x\n    outputs: [a]\n", "line 5", "did you mean 'outs'?"),
    "no cmd": ("    outs: [a]\n", "line 3", "has no cmd"),
    "a program that is not there": ("    deps: [f]\n    cmd: pyhton train.py\n", "line 5", "'pyhton'"),
    "an output outside": ("    cmd: x\n    outs: [../a]\n", "line 5", "outside the repository"),
    "a dependency outside": ("    cmd: x\n    deps: [../../a]\n", "line 5", "outside the repository"),
    "an absolute output": ("    cmd: x\n    outs: [/etc/a]\n", "line 5", "it is absolute"),
    "an output in git's folder": ("    cmd: x\n    outs: [.git/hooks/post-checkout]\n", "line 5", "'.git'"),
    "the whole repository": ("    cmd: x\n    outs: [.]\n", "line 5", "cannot be an output"),
    "a folder that is not there": ("    cmd: echo\n    wdir: no\n    outs: [a]\n", "line ", "'no'"),
    "an alias": ("    cmd: &c x\n    outs: [a]\n  other: {cmd: *c}\n", "line 4", ""),
    "a tag": ("    cmd: !!python/object/apply:os.system [touch x]\n", "line 4", ""),
    "a key twice": ("    cmd: x\n    cmd: y\n", "line 5", ""),
    "a number as cmd": ("    cmd: 5\n", "line 4", "expected text"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_pipeline_is_one_line_with_its_place_and_nothing_runs(pipeline, what):
    text, place, reason = BAD[what]
    pipeline.write("dvlite.yaml", STAGE.format(text))
    said = pipeline.refused().splitlines()[0]
    assert f"'dvlite.yaml' {place}" in said
    assert reason in said
    of_this_machine = ("a program that is not there", "a folder that is not there")
    if what not in of_this_machine:
        assert pipeline.dvlite("repro", "-n", code=1).stderr.splitlines()[0] == said


def test_circle_is_shown_with_its_line(pipeline):
    pipeline.write(
        "dvlite.yaml",
        "stages:\n  a: {cmd: x, deps: [c.out], outs: [a.out]}\n  b: {cmd: x, deps: [a.out], outs: [b.out]}\n"
        "  c: {cmd: x, deps: [b.out], outs: [c.out]}\n",
    )
    said = pipeline.refused()
    assert "'dvlite.yaml' line 2: the stages depend on each other in a circle: a <- c <- b <- a" in said


@pytest.mark.parametrize("text", ["[" * 100_000, "a: &a [x]\n" + "b: [*a]\n", "x: " + "y" * 10_000_000, "\xff\xfe"])
def test_hostile_yaml_is_one_line(pipeline, text):
    pipeline.write("dvlite.yaml", text.encode("latin-1"))
    assert "dvlite.yaml" in pipeline.refused()


def test_output_that_git_tracks_is_refused_with_what_to_do(pipeline):
    pipeline.write("out", "1")
    pipeline.commit()
    said = one(pipeline, 'echo one >> "$RAN"; echo > out').refused()
    assert "'dvlite.yaml' line 1: git tracks the output 'out'" in said
    assert "hint: git rm -r -q --cached out" in said
    one(pipeline, "echo > out", outs=[{"path": "out", "cache": False}]).dvlite("repro")


def test_output_in_or_around_tracked_data_is_refused(pipeline):
    pipeline.write("data/raw/a", "1")
    pipeline.dvlite("add", "data/raw")
    for out in ("data/raw", "data/raw/new", "data"):
        said = one(pipeline, 'echo one >> "$RAN"', outs=[out]).refused()
        assert "'dvlite.yaml' line 1: " in said
        assert "'data/raw', which is tracked on its own" in said
    assert pipeline.read("data/raw/a") == b"1"


def test_output_behind_a_link_is_refused(pipeline, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (pipeline.root / "linked").symlink_to(tmp_path / "elsewhere")
    said = one(pipeline, 'echo one >> "$RAN"; echo > linked/out', outs=["linked/out"]).refused()
    assert "'dvlite.yaml' line 1: " in said
    assert "link" in said
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("target", ["nowhere", "file", "/etc/hostname"])
def test_output_that_is_a_link_is_refused_before_the_run(pipeline, target):
    pipeline.write("file", "precious")
    (pipeline.root / "out").symlink_to(target)
    said = one(pipeline, 'echo one >> "$RAN"; echo > out').refused()
    assert "'dvlite.yaml' line 1: the output 'out' is a symbolic link" in said
    assert pipeline.read("file") == b"precious"
    assert (pipeline.root / "out").is_symlink()
    assert not (pipeline.root / "nowhere").exists()


def test_names_that_look_like_options_are_names(pipeline):
    pipeline.write("-rf", "1")
    one(pipeline, "cat ./-rf > ./--help", deps=["./-rf"], outs=["--help"]).dvlite("repro")
    assert pipeline.is_up_to_date()
    assert pipeline.read("--help") == b"1"


def test_damaged_lockfile_is_one_line_with_its_place(made):
    made.write("dvlite.lock", made.lock().replace(b"key: ", b"key: zz", 1))
    assert "'dvlite.lock' line 5" in made.refused()


def test_dependency_that_is_a_link_to_a_folder_is_refused(pipeline):
    (pipeline.root / "real").mkdir()
    (pipeline.root / "link").symlink_to("real")
    assert "symbolic link to a folder" in one(pipeline, "echo > out", deps=["link"]).dvlite("repro", code=2).stderr


def test_the_last_good_copy_of_an_output_goes_back_into_the_cache(pipeline):
    pipeline.write("dvlite.yaml", "stages:\n  a: {cmd: cat in > out, deps: [in], outs: [out]}\n")
    pipeline.write("in", b"1" * 200_000)
    pipeline.dvlite("repro")
    pipeline.commit()
    (stored,) = (path for path in (pipeline.project.cache / "files").rglob("*") if path.is_file())
    stored.chmod(0o644)
    with open(stored, "r+b") as file:
        file.write(b"X")
    pipeline.write("in", b"2" * 200_000)
    pipeline.dvlite("repro")
    pipeline.commit()
    pipeline.dvlite("checkout", "--rev", "HEAD~1", "out")
    assert pipeline.read("out") == b"1" * 200_000


def test_what_git_ignores_is_said_before_anything_runs(pipeline):
    one(pipeline, "mkdir -p models; echo 1 > models/m; touch ran", outs=["models/m"])
    pipeline.write(".gitignore", "models/\n*.lock\n")
    for words in ((), ("-n",)):
        done = pipeline.dvlite("repro", *words, code=2)
        assert "'dvlite.lock': git ignores that file" in done.stderr
    assert not pipeline.has("ran")
    pipeline.write(".gitignore", "models/\n!dvlite.lock\n")
    pipeline.dvlite("repro")  # there is nothing to stage in a folder that git ignores
    assert pipeline.has("ran")
    assert not pipeline.has("models/.gitignore")
    assert pipeline.states() == {"one": "up to date"}
    one(pipeline, "echo 1 > m.json", outs=[{"path": "m.json", "cache": False}])
    pipeline.write(".gitignore", "m.json\n")
    assert "git ignores 'm.json'" in pipeline.dvlite("repro").stderr
    pipeline.write(".gitignore", "*.yaml\n")
    assert "cannot use the stages of 'dvlite.yaml': git ignores that file" in pipeline.dvlite("repro", code=2).stderr


def test_a_cache_that_cannot_take_the_outputs_stops_the_run_before_it_begins(pipeline):
    one(pipeline, "echo 1 > out; touch ran")
    pipeline.write(".git/dvlite/cache/tmp", "in the way")
    pipeline.dvlite("repro", code=1)
    assert not pipeline.has("ran")
