"""Map stages in `dvlite repro`: only what changed runs, failures keep what is done, and a kill repeats nothing that was recorded."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.commands.project import tree
from tests.polling import is_alive, parent_of, pid_in, until

UPPER = """\
stages:
  upper:
    map:
      over: data/*.txt
    cmd: tr a-z A-Z < ${in} > ${out}; echo ${name} >> "$RAN"
    outs: ["upper/${stem}.up"]
"""
FUNCTION = """\
stages:
  count:
    map:
      over: data/*.txt
    function: steps:count
    deps: [steps.py]
    outs: [counts]
"""
STEPS = """\
import os
def count(source, target):
    with open(os.environ["RAN"], "a") as ran:
        ran.write(os.path.basename(source) + "\\n")
    with open(source) as read, open(target, "w") as written:
        written.write(str(len(read.read())))
"""


def write_words(pipeline):
    for name in "abcde":
        pipeline.write(f"data/{name}.txt", name * 3)
    pipeline.dvlite("add", "data")
    pipeline.write("dvlite.yaml", UPPER)


@pytest.fixture
def words(pipeline):
    """A tracked folder with five files, and a map stage over them."""
    write_words(pipeline)
    return pipeline


@pytest.fixture
def words_done(prepared_pipeline):
    """The same, after the stage has run."""

    def build(pipeline):
        write_words(pipeline)
        pipeline.repro()

    pipeline = prepared_pipeline("words_done", build)
    assert len(pipeline.ran()) == 5
    return pipeline


def outputs(pipeline, folder="upper"):
    return {name: (pipeline.root / folder / name).read_text() for name in os.listdir(pipeline.root / folder)}


def counts(run):
    return {key: run["datums"][key] for key in ("datums", "ran", "reused", "removed", "failed")}


def test_each_file_is_run_once_and_only_what_changed_runs_again(words):
    run = words.repro()["upper"]
    assert (run["state"], counts(run)) == ("ok", {"datums": 5, "ran": 5, "reused": 0, "removed": 0, "failed": 0})
    assert outputs(words) == {f"{name}.up": name.upper() * 3 for name in "abcde"}
    assert sorted(words.ran()) == [f"{name}.txt" for name in "abcde"]
    assert words.states() == {"upper": "up to date"}
    words.write("data/f.txt", "fff")
    words.write("data/a.txt", "other")
    (words.root / "data/b.txt").unlink()
    run = words.repro()["upper"]
    assert counts(run) == {"datums": 5, "ran": 2, "reused": 3, "removed": 1, "failed": 0}
    assert sorted(words.ran()) == ["a.txt", "f.txt"]
    assert outputs(words) == {"a.up": "OTHER", **{f"{name}.up": name.upper() * 3 for name in "cdef"}}
    (record,) = [record for record in words.records("upper") if record.mapped.reused]
    assert (record.mapped.datums, record.mapped.ran, record.status) == (5, 2, "ok")


@pytest.mark.long
def test_changed_code_runs_all_and_code_that_is_back_runs_nothing(words_done):
    words_done.edit("dvlite.yaml", "tr a-z A-Z", "tr a-z B-ZA")
    assert counts(words_done.repro()["upper"])["ran"] == 5
    words_done.edit("dvlite.yaml", "tr a-z B-ZA", "tr a-z A-Z")
    words_done.ran()
    assert words_done.states() == {"upper": "cached"}
    (words_done.root / "data/e.txt").unlink()
    words_done.edit("dvlite.yaml", "tr a-z A-Z", "tr a-z B-ZA")
    assert counts(words_done.repro()["upper"]) == {"datums": 4, "ran": 0, "reused": 4, "removed": 1, "failed": 0}
    assert words_done.ran() == []


def test_a_function_is_called_for_each_file(words):
    words.write("dvlite.yaml", FUNCTION)
    words.write("steps.py", STEPS)
    assert counts(words.repro("-j", "2")["count"])["ran"] == 5
    assert outputs(words, "counts") == {f"{name}.txt": "3" for name in "abcde"}
    words.write("data/a.txt", "12345")
    words.repro()
    assert outputs(words, "counts")["a.txt"] == "5"


@pytest.mark.long
def test_stages_before_and_after_a_map_stage(words):
    words.write(
        "dvlite.yaml",
        UPPER
        + """\
  twice:
    map:
      over: upper/*.up
    cmd: cat ${in} ${in} > ${out}
    outs: ["twice/${name}"]
  all:
    cmd: cat twice/* > all.txt
    deps: [twice]
    outs: [all.txt]
""",
    )
    assert words.states() == {"upper": "ok", "twice": "ok", "all": "ok"}
    assert words.read("all.txt") == b"AAAAAABBBBBBCCCCCCDDDDDDEEEEEE"
    words.write("data/a.txt", "x")
    done = words.repro()
    assert [counts(done[name])["ran"] for name in ("upper", "twice")] == [1, 1]
    assert words.read("all.txt").startswith(b"XX")


def test_a_reason_says_how_many_files_of_the_pattern_changed(words_done):
    words_done.write("data/f.txt", "fff")
    words_done.write("data/g.txt", "ggg")
    words_done.write("data/a.txt", "other")
    (words_done.root / "data/b.txt").unlink()
    for shown in (words_done.dvlite("status").stdout, words_done.dvlite("repro", "-n", code=1).stdout):
        assert "(+2 -1 ~1 of 6 files)" in shown
    (reason,) = words_done.repro("-n", code=1)["upper"]["reasons"]
    assert (reason["kind"], reason["name"], reason["files"]) == ("dep-changed", "data/*.txt", 6)


def test_a_failure_keeps_what_is_done_and_the_next_run_does_the_rest(words_done, monkeypatch):
    before = tree(words_done.root / "upper")
    words_done.write(
        "dvlite.yaml",
        UPPER.replace("tr a-z A-Z <", 'if [ ${name} = c.txt -a ! -e "$OK" ]; then echo no; exit 3; fi; rev <'),
    )
    monkeypatch.setenv("OK", str(words_done.root / "ok"))
    words_done.ran()
    run = words_done.repro(code=4)["upper"]
    assert (run["state"], run["exit_code"], run["datums"]["failed"]) == ("failed", 3, 1)
    assert tree(words_done.root / "upper") == before  # as they were
    run = words_done.repro("-k", code=4)["upper"]
    assert counts(run)["failed"] == 1
    (failure,) = run["datums"]["failures"]
    assert (failure["name"], failure["problem"], failure["log_tail"]) == ("c.txt", "exit 3", ["no"])
    assert "== c.txt: exit 3\nno\n" in words_done.dvlite("runs", "show", "last", "--log").stdout
    assert sorted(words_done.ran()) == ["a.txt", "b.txt", "d.txt", "e.txt"]  # each once, in both runs
    words_done.write("ok", "")
    run = words_done.repro()["upper"]
    assert counts(run) == {"datums": 5, "ran": 1, "reused": 4, "removed": 0, "failed": 0}
    assert words_done.ran() == ["c.txt"]


@pytest.mark.long
def test_force_runs_all_datums(words_done):
    assert counts(words_done.repro("--force")["upper"]) == {
        "datums": 5,
        "ran": 5,
        "reused": 0,
        "removed": 0,
        "failed": 0,
    }
    assert len(words_done.ran()) == 5


@pytest.mark.long
def test_outputs_that_are_gone_or_edited_are_restored(words_done):
    before = tree(words_done.root / "upper")
    (words_done.root / "upper/a.up").unlink()
    words_done.write("upper/b.up", "edited")
    words_done.repro()
    assert (tree(words_done.root / "upper"), words_done.ran()) == (before, [])


@pytest.mark.long
def test_two_datums_that_would_make_one_path_are_refused_before_anything_runs(words):
    words.write("data/a.md", "x")
    words.edit("dvlite.yaml", "data/*.txt", "data/{word}.*")
    words.edit("dvlite.yaml", "upper/${stem}.up", "upper/${word}.up")
    assert "'a.md' and 'a.txt'" in words.refused()


@pytest.mark.long
def test_a_datum_that_writes_elsewhere_fails_alone(words):
    words.edit("dvlite.yaml", "> ${out};", "> ${out}; if [ ${name} = c.txt ]; then touch upper/d.up; fi;")
    run = words.repro("-k", code=4)["upper"]
    assert counts(run)["ran"] == 4
    assert run["datums"]["failures"][0]["problem"] == "wrote 'upper/d.up' outside its output"


@pytest.mark.long
def test_an_input_that_changes_while_the_stage_runs_is_not_taken_for_what_it_was(words):
    words.edit("dvlite.yaml", "cmd: ", f"cmd: if [ ${{name}} = a.txt ]; then echo new > {words.root}/data/e.txt; fi; ")
    run = words.repro("-k", code=4)["upper"]
    assert [(each["name"], each["problem"]) for each in run["datums"]["failures"]] == [
        ("e.txt", "its input 'data/e.txt' changed since the run began")
    ]
    words.edit("dvlite.yaml", "a.txt", "none.txt")
    words.repro()
    assert outputs(words)["e.up"] == "NEW\n"


@pytest.mark.long
def test_a_folder_that_all_datums_read_and_that_changes_taints_the_run(words):
    words.write("lib/one.sh", "one")
    words.edit("dvlite.yaml", "    outs:", "    deps: [lib]\n    outs:")
    words.edit("dvlite.yaml", "cmd: ", f"cmd: if [ ${{name}} = c.txt ]; then echo two > {words.root}/lib/one.sh; fi; ")
    run = words.repro(code=3)["upper"]
    assert (run["state"], run["tainted_by"]) == ("tainted", ["lib"])
    assert not words.has("dvlite.lock") or b"upper" not in words.lock()


@pytest.mark.long
def test_a_dry_run_runs_nothing_and_commit_takes_what_is_there(words_done):
    words_done.write("data/a.txt", "changed")
    words_done.repro("-n", code=1)
    words_done.write("upper/a.up", "by hand")
    words_done.dvlite("commit", "upper")
    assert words_done.states() == {"upper": "up to date"}
    assert words_done.ran() == []
    words_done.write("data/f.txt", "f")
    assert counts(words_done.repro()["upper"])["ran"] == 1  # what was vouched for counts
    assert outputs(words_done)["a.up"] == "by hand"


def background(pipeline, *args):
    return subprocess.Popen(
        [sys.executable, "-m", "dvlite", "--json", "repro", *args],
        cwd=pipeline.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


SLOW = """\
stages:
  slow:
    map:
      over: data/*.txt
      batch: 1
    cmd: echo ${name} >> "$RAN"; if [ ${name} = d.txt -a ! -e "$RAN.go" ]; then echo $$ > "$RAN.pid"; sleep 1000; fi; cp ${in} ${out}
    outs: [copies]
"""


def journals(pipeline):
    return (pipeline.root / ".git/dvlite/map").glob("*.jsonl")


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGINT, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_stopped_is_taken_up_where_it_was(words, tmp_path, number):
    words.write("dvlite.yaml", SLOW)
    process = background(words)
    pid = pid_in(tmp_path / "ran.pid")
    until(lambda: any('"c.txt"' in path.read_text() for path in journals(words)))  # it is recorded
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (130 if number != signal.SIGKILL else -9)
    until(lambda: not is_alive(pid))
    assert words.ran() == ["a.txt", "b.txt", "c.txt", "d.txt"]
    assert not words.has("copies")
    (tmp_path / "ran.go").write_text("")
    run = words.repro()["slow"]
    assert words.ran() == ["d.txt", "e.txt"]
    assert counts(run) == {"datums": 5, "ran": 2, "reused": 3, "removed": 0, "failed": 0}
    assert outputs(words, "copies") == {f"{name}.txt": name * 3 for name in "abcde"}
    assert not list(journals(words))


@pytest.mark.long
def test_a_worker_that_is_killed_is_replaced(words, tmp_path):
    words.write("dvlite.yaml", SLOW.replace("sleep 1000", 'touch "$RAN.go"; sleep 1000'))
    process = background(words)
    until((tmp_path / "ran.go").exists, process)
    shell = pid_in(tmp_path / "ran.pid")
    os.kill(parent_of(shell), signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["stages"][0]["datums"]["ran"] == 5
    assert not is_alive(shell)
    assert words.ran() == ["a.txt", "b.txt", "c.txt", "d.txt", "d.txt", "e.txt"]


@pytest.mark.long
def test_odd_files_and_names(pipeline):
    names = ["a'b", 'q"q', "new\nline", " lead", "$(id)", "-rf", "ünï", "*"]
    for name in names:
        pipeline.write(f"data/{name}", name)
    pipeline.write("data/empty", b"")
    pipeline.dvlite("add", "data")
    pipeline.write(
        "dvlite.yaml",
        'stages:\n  s:\n    map: {over: data/*}\n    cmd: cp -- ${in} ${out}\n    outs: ["copies/${name}"]\n',
    )
    run = pipeline.repro()["s"]
    assert counts(run)["ran"] == len(names) + 1
    assert outputs(pipeline, "copies") == {**{name: name for name in names}, "empty": ""}


@pytest.mark.long
def test_a_pattern_that_matches_nothing_is_an_error(words):
    words.edit("dvlite.yaml", "data/*.txt", "data/*.jpg")
    assert "data/*.jpg" in words.refused()


@pytest.mark.long
def test_inputs_that_are_not_on_disk_come_from_the_cache(words_done):
    words_done.commit()
    words_done.ran()
    for path in (words_done.root / "data").iterdir():
        path.unlink()
    (words_done.root / "data").rmdir()
    words_done.edit("dvlite.yaml", "tr a-z A-Z", "rev")
    words_done.repro()
    assert sorted(words_done.ran()) == [f"{name}.txt" for name in "abcde"]


@pytest.mark.long
def test_verify_rerun_runs_every_datum_again(words):
    words.repro("-j", "2")
    words.commit()
    words.ran()
    (check,) = words.json("verify", "--rerun")["stages"]
    assert check["verdict"] == "identical"
    assert sorted(words.ran()) == [f"{name}.txt" for name in "abcde"]
    assert not list((words.root / ".git/dvlite").glob("*rerun*"))
    words.edit("dvlite.yaml", "tr a-z A-Z < ${in}", "date +%N")
    words.repro()
    words.commit()
    (check,) = words.json("verify", "--rerun", code=1)["stages"]
    assert check["verdict"] == "different"


@pytest.mark.long
def test_a_colleagues_datums_are_reused(words, tmp_path):
    words.dvlite("remote", "add", "origin", str(tmp_path / "remote"))
    words.repro()
    words.commit()
    words.dvlite("push")
    other = tmp_path / "other"
    words.git("clone", "-q", str(words.root), str(other))
    mine = type(words.project)(other, words.project._invoke)
    mine.dvlite("pull")
    words.ran()
    words.write("data/f.txt", "f")
    words.repro()
    words.commit()
    words.dvlite("push")
    words.ran()
    mine.write("data/f.txt", "f")
    mine.write("data/g.txt", "g")
    run = mine.json("repro", "--pull")["stages"][0]
    assert counts(run) == {"datums": 7, "ran": 1, "reused": 6, "removed": 0, "failed": 0}
    assert words.ran() == ["g.txt"]


@pytest.mark.long
def test_try_runs_each_variant_of_a_map_stage(words):
    words.edit("dvlite.yaml", "tr a-z A-Z", "cut -c -$N")
    words.edit("dvlite.yaml", "    outs:", "    params: [n]\n    outs:")
    words.edit("dvlite.yaml", "cut -c -$N", "cut -c -$(tr -cd 0-9 < params.yaml)")
    words.write("params.yaml", "n: 1\n")
    words.repro()
    words.commit()
    words.ran()
    words.dvlite("try", "-S", "n=1,2")
    assert len(words.ran()) == 5
