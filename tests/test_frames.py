"""How far it is from the command line to the data: own functions, files and frames of the everyday commands, as upper bounds.

A command that passes through many small functions in many files is slow to read and slow to debug. The bounds are what the code needs
today: they may fall, never rise. Comprehensions and lambdas are left out, since Python 3.12 inlines some of them; so is the thread that
draws the progress line, which runs only if the machine is slow.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GIT_CONFIG

PROJECT = Path(__file__).parent.parent

# command: (functions, files, frames of the deepest call, frames of the first write of a tracked file's bytes; 0: it writes none)
BOUNDS = {
    "add": (199, 34, 12, 9),
    "status": (122, 29, 12, 0),
    "push": (427, 59, 20, 0),
    "repro": (555, 68, 20, 0),
    "checkout": (214, 36, 19, 13),
    "pull": (468, 61, 21, 3),
}
COLUMNS = ("functions", "files", "frames", "frames of the first write")

# Two equal repositories go through the same story; each command runs in the first, so that imports do not count, then in the second.
STORY = r"""
import contextlib, inspect, io, json, os, shutil, subprocess, sys, threading
import dvlite
from dvlite.cli.main import main

base, answer = sys.argv[1:]
package = os.path.dirname(dvlite.__file__) + os.sep
homes = [os.path.join(base, "warm"), os.path.join(base, "counted")]
counts = {}

def own(code):
    named = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
    return code.co_filename[len(package):] if named and code.co_filename.startswith(package) else None

def depth(frame):
    frames = 0
    while frame is not None:
        frames += own(frame.f_code) is not None
        frame = frame.f_back
    return frames

class Counter:
    def __init__(self):
        self.functions, self.deepest, self.write = set(), 0, 0

    def __call__(self, frame, event, argument):
        if event == "call":
            file = own(frame.f_code)
            if file is not None:
                self.functions.add((file, frame.f_code.co_qualname))
                self.deepest = max(self.deepest, depth(frame))
        elif event == "c_call" and not self.write:
            if getattr(argument, "__name__", "") in {"copy_file_range", "pwrite", "pwritev"}:
                self.write = depth(frame)

def dv(*words):
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(list(words))
    assert code == 0, (words, code)

def git(*words):
    subprocess.run(["git", *words], check=True, stdout=subprocess.DEVNULL)

def everywhere(step):
    for home in homes:
        os.chdir(home)
        step()

def count(verb, *words):
    os.chdir(homes[0])
    dv(verb, *words)
    os.chdir(homes[1])
    counter = Counter()

    def begin(frame, event, argument):  # the first event of a thread
        sys.setprofile(None if threading.current_thread().name == "progress" else counter)

    threading.setprofile(begin)
    sys.setprofile(counter)
    try:
        dv(verb, *words)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    files = sorted({file for file, _ in counter.functions})
    counts[verb] = {
        "bounds": [len(counter.functions), len(files), counter.deepest, counter.write],
        "functions": sorted(f"{file}:{name}" for file, name in counter.functions),
    }

def write(path, data):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)

def start():
    git("init", "-q")
    dv("init", "--no-hooks")
    for number in range(3):
        write(f"data/{number}.txt", b"%d" % number)
    write("data/large.bin", os.urandom(200_000))
    dv("add", "data")
    write("raw.txt", b"raw")
    commit()
    write("one.bin", os.urandom(200_000))

def commit():
    git("add", "-A")
    git("commit", "-qm", "A step")

def lose(*paths):
    for path in paths:
        shutil.rmtree(path)

def declare():
    write("dvlite.yaml", b"stages:\n  copy:\n    cmd: cp raw.txt copied.txt\n    deps: [raw.txt]\n    outs: [copied.txt]\n")

for home in homes:
    os.makedirs(home)
everywhere(start)
count("add", "one.bin")
everywhere(commit)
count("status")
everywhere(lambda: dv("remote", "add", os.path.join(base, "remote-of-" + os.path.basename(os.getcwd()))))
count("push")
everywhere(lambda: lose("data"))
count("checkout")
everywhere(lambda: lose("data", ".git/dvlite/cache", ".git/dvlite/index"))
count("pull")
everywhere(declare)
count("repro")
with open(answer, "w", encoding="utf-8") as file:
    json.dump(counts, file)
"""


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    (folder / "gitconfig").write_text(GIT_CONFIG)
    own = {"HOME": folder, "XDG_CONFIG_HOME": folder / ".config", "GIT_CONFIG_GLOBAL": folder / "gitconfig"}
    environ = {
        **os.environ,
        **{name: str(value) for name, value in own.items()},
    }  # what one run approves, the next must not read
    command = [sys.executable, "-c", STORY, str(folder), str(folder / "counts.json")]
    done = subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "counts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("verb", BOUNDS)
def test_the_way_to_the_data_grows_no_longer(verb, counts):
    actual = counts[verb]["bounds"]
    for column, bound, now in zip(COLUMNS, BOUNDS[verb], actual, strict=True):
        assert now <= bound, (
            f"dvlite {verb} takes {now} {column}, at most {bound} are allowed. Call the function that does the work instead of"
            f" passing through others, or put the new function beside its caller. Its functions are:\n"
            + "\n".join(counts[verb]["functions"])
        )
