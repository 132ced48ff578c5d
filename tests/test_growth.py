"""How the work of a command grows with the number of tracked paths and stages: in proportion, whatever else they have in common.

Work is counted in calls of functions, so that a busy machine changes nothing. `python benchmarks/growth.py` measures time and requests.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GIT_CONFIG

PROJECT = Path(__file__).parent.parent
SIZES = (12, 24, 120)
MOST = (
    1.15  # times as many calls for each of the last 96 as for each of the 12 before: 1 is linear, above 5 is quadratic
)

STORY = r"""
import contextlib, io, json, os, shutil, subprocess, sys, threading, time
from dvlite.cli.main import main

base, answer, *sizes = sys.argv[1:]
counts = {}

def dv(title, *words):
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        if event == "call" or event == "c_call":
            calls += 1

    def begin(frame, event, argument):  # the first event of a thread
        sys.setprofile(None if threading.current_thread().name == "progress" else count)

    threading.setprofile(begin)
    sys.setprofile(count)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            code = main(list(words))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert code == 0, (words, code)
    counts.setdefault(title, []).append(calls)

def commit():
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-qnm", "Step"], check=True)

def folder(size):
    # one tracked directory: what one edit adds to a look at all files
    subprocess.run(["git", "init", "-q"], check=True)
    dv("", "init", "-q", "--no-hooks")
    for number in range(1000 + size):  # the first are alike, and end in a leaf of their own
        inside = f"data/{max(0, number // 100 - 9)}"
        os.makedirs(inside, exist_ok=True)
        with open(f"{inside}/{number}.txt", "w") as file:
            file.write(str(number))
    dv("first: add", "add", "-q", "data")
    dv("", "remote", "add", "-q", "origin", os.path.join(base, f"files{size}"))
    commit()
    dv("first: push", "push", "-q")
    time.sleep(0.05)
    dv("", "status", "-q")
    dv("folder: status", "status", "-q")
    dv("folder: pull, nothing new", "pull", "-q")
    with open("data/0/0.txt", "w") as file:
        file.write("edited")
    dv("folder: status, one edit", "status", "-q")
    dv("folder: add -u, one edit", "add", "-q", "-u")
    commit()
    subprocess.run(["git", "checkout", "-q", "HEAD~1"], check=True)
    dv("folder: checkout of another version", "checkout", "-q")
    os.environ["DVLITE_TRUST"] = "*"
    subprocess.run(["git", "clone", "-q", ".", "clone"], check=True)
    os.chdir("clone")
    dv("", "pull", "-q", "data/0")
    dv("folder: status of a part", "status", "-q")
    os.chdir("..")
    subprocess.run(["git", "clone", "-q", ".", "whole"], check=True)
    os.chdir("whole")
    dv("first: pull", "pull", "-q")
    shutil.rmtree("data")
    dv("first: checkout", "checkout", "-q")

def story(size):
    subprocess.run(["git", "init", "-q"], check=True)
    dv("init", "init", "-q", "--no-hooks")
    os.mkdir("data")
    names = [f"data/{number}.bin" for number in range(size)]
    for name in names:
        with open(name, "w") as file:
            file.write(name)
    stages = "".join(f"  s{n}: {{cmd: 'echo {n} >o{n}', deps: [in], outs: [o{n}]}}\n" for n in range(size // 4))
    with open("dvlite.yaml", "w") as file:
        file.write("stages:\n" + stages)
    with open("in", "w") as file:
        file.write("in")
    dv("add, first", "add", "-q", *names)
    commit()
    dv("repro, first", "repro", "-q")
    commit()
    dv("remote add", "remote", "add", "-q", "origin", os.path.join(base, f"store{size}"))
    dv("push, first", "push", "-q")
    dv("push, nothing new", "push", "-q")
    dv("pull, nothing new", "pull", "-q")
    dv("status --remote", "status", "-q", "--remote")
    dv("checkout, nothing to do", "checkout", "-q")
    dv("repro, nothing to do", "repro", "-q")
    dv("verify", "verify", "-q")
    with open(names[0], "w") as file:
        file.write("edited")
    dv("status, one edit", "status", "-q")
    dv("add -u, one edit", "add", "-q", "-u")
    commit()
    dv("checkout --rev", "checkout", "-q", "--rev", "HEAD~1")
    dv("diff", "diff", "HEAD~1")
    dv("gc", "gc", "-q")
    dv("fsck", "fsck", "-q")

for number, size in enumerate([4, *map(int, sizes)]):  # the first loads what is loaded once
    os.mkdir(os.path.join(base, f"repo{size}"))
    os.chdir(os.path.join(base, f"repo{size}"))
    story(size)
    if not number:
        counts.clear()
for size in (500, 2500):
    os.mkdir(os.path.join(base, f"folder{size}"))
    os.chdir(os.path.join(base, f"folder{size}"))
    folder(size)
with open(answer, "w") as file:
    json.dump(counts, file)
"""


@pytest.fixture(scope="module")
def counts(tmp_path_factory) -> dict[str, list[int]]:
    folder = tmp_path_factory.mktemp("growth")
    (folder / "gitconfig").write_text(GIT_CONFIG)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DVLITE_", "GIT_", "XDG_"))},
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
        "GIT_CONFIG_SYSTEM": os.devnull,
        "PYTHONPATH": str(PROJECT),
    }
    arguments = [folder, folder / "answer", *map(str, SIZES)]
    subprocess.run([sys.executable, "-c", STORY, *arguments], env=env, check=True, cwd=folder)
    return json.loads((folder / "answer").read_text())


def test_the_work_of_a_command_grows_no_faster_than_the_paths_and_stages(counts):
    few, some, many = SIZES
    grown = {
        title: (last - middle) / (many - some) / max((middle - first) / (some - few), 20)
        for title, (first, middle, last) in ((title, calls) for title, calls in counts.items() if len(calls) == 3)
    }
    too_fast = {title: round(times, 2) for title, times in grown.items() if times > MOST}
    assert too_fast == {}


def test_one_edit_in_a_directory_costs_no_work_for_each_of_its_files(counts):
    each = {title: (calls[1] - calls[0]) / 2000 for title, calls in counts.items() if title.startswith("folder: ")}
    look = each.pop("folder: status")
    assert look < 4  # its name is listed and its times are asked for
    assert each.pop("folder: status of a part") < 0.2
    assert {
        title: calls - look for title, calls in each.items() if calls - look > 0.7
    } == {}  # a call for each would be 1; a pull makes 0.47 to 0.53, as packs fall


def test_what_moves_small_files_makes_few_calls_for_each(counts):
    each = {title: (calls[1] - calls[0]) / 2000 for title, calls in counts.items() if title.startswith("first: ")}
    most = {"first: add": 52, "first: push": 50, "first: pull": 96, "first: checkout": 39}
    assert {title: calls for title, calls in each.items() if calls > most[title]} == {}
