"""`dvlite repro -j`: what may run at the same time does, and nothing else."""

import sys

import pytest

MEET = """\
stages:
  left: {{cmd: "touch {0}/left; {1}; echo left side; echo > l", outs: [l]}}
  right: {{cmd: "touch {0}/right; {2}; echo > r", outs: [r]}}
  join: {{cmd: "cat l r > joined; touch {0}/join", deps: [l, r], outs: [joined]}}
"""


def wait_for(path):
    return f"for i in $(seq 500); do test -e {path} && break; sleep 0.01; done; test -e {path}"


@pytest.fixture
def meeting(pipeline, tmp_path):
    """Two stages, each of which fails unless the other runs at the same time, and one that needs both."""
    pipeline.write("dvlite.yaml", MEET.format(tmp_path, wait_for(tmp_path / "right"), wait_for(tmp_path / "left")))
    return pipeline


def test_independent_stages_run_at_the_same_time(meeting):
    done = meeting.dvlite("repro", "-j", "2")
    assert [line.split()[:2] for line in done.stdout.splitlines()[:3]] == [
        ["left", "ok"],
        ["right", "ok"],
        ["join", "ok"],
    ]
    assert "left | left side\n" in done.stderr
    assert meeting.is_up_to_date()


def test_one_job_runs_one_stage_at_a_time_in_order(pipeline, tmp_path):
    pipeline.write(
        "dvlite.yaml",
        "stages:\n  a: {cmd: 'echo a >> $RAN; sleep 0.1; echo A >> $RAN; echo > a', outs: [a]}\n"
        "  b: {cmd: 'echo b >> $RAN; echo > b', outs: [b]}\n",
    )
    pipeline.dvlite("repro")
    assert pipeline.ran() == ["a", "A", "b"]


def test_lockfile_is_the_same_whatever_ran_first(pipeline):
    stages = "".join(
        f"  s{number}: {{cmd: 'sleep 0.0{9 - number}; echo {number} > o{number}', outs: [o{number}]}}\n"
        for number in range(5)
    )
    pipeline.write("dvlite.yaml", "stages:\n" + stages)
    pipeline.dvlite("repro", "-j", "5")
    first = pipeline.lock()
    (pipeline.root / "dvlite.lock").unlink()
    pipeline.dvlite("repro")
    assert pipeline.lock() == first


def test_failure_lets_what_runs_finish_and_starts_nothing_more(meeting, tmp_path):
    meeting.edit("dvlite.yaml", "echo left side; echo > l", "exit 1")
    meeting.edit("dvlite.yaml", "; echo > r", "; sleep 0.2; echo > r")
    assert meeting.states("-j", "2", code=4) == {"left": "failed", "right": "ok", "join": "not run"}
    assert meeting.locked("right") is not None
    assert meeting.locked("left") is None
    assert not (tmp_path / "join").exists()


def test_stages_of_one_name_in_two_folders_run_side_by_side(pipeline):
    for folder in ("a", "b"):
        pipeline.write(f"{folder}/dvlite.yaml", "stages: {fit: {cmd: pwd; sleep 0.05; pwd > out, outs: [out]}}")
    assert pipeline.states("-j", "2") == {"a:fit": "ok", "b:fit": "ok"}
    assert pipeline.states("-j", "2", "--force") == {"a:fit": "ok", "b:fit": "ok"}
    assert pipeline.read("a/out").endswith(b"/a\n")
    assert pipeline.read("b/out").endswith(b"/b\n")


def test_progress_bar_is_shown_now_and_then_and_its_end_in_any_case(pipeline):
    bar = 'for i in 1 2 3 4 5 6 7 8 9; do printf "\\r$i 0%%"; sleep 0.01; done; printf "\\rdone"'
    pipeline.write("bar.sh", f"{bar}; echo > out")
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: bash bar.sh, outs: [out]}}")
    shown = pipeline.dvlite("repro").stderr.splitlines()[1:]
    assert shown[-1] == "done"
    assert len(shown) < 5


def test_second_repro_waits_for_the_first_and_finds_everything_done(pipeline, run_cli):
    from concurrent.futures import ThreadPoolExecutor

    pipeline.write("dvlite.yaml", "stages: {one: {cmd: 'echo one >> $RAN; sleep 0.5; echo > out', outs: [out]}}")
    with ThreadPoolExecutor(2) as both:
        done = list(both.map(lambda _: run_cli("repro", cwd=pipeline.root), range(2)))
    assert [each.returncode for each in done] == [0, 0]
    assert pipeline.ran() == ["one"]
    assert sum("waiting for another dvlite repro here" in each.stderr for each in done) == 1


def test_data_can_be_added_while_a_stage_runs(pipeline, tmp_path):
    pipeline.write("data", "1")
    add = f"cd {pipeline.root} && {sys.executable} -m dvlite add -q --no-wait data"
    pipeline.write("dvlite.yaml", f"stages: {{one: {{cmd: '{add}; echo > out', outs: [out]}}}}")
    assert pipeline.states() == {"one": "ok"}
    assert pipeline.has("data.dvlite")
