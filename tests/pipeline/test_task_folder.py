"""The folder of a task: what units see, what they may leave, how they end, and that nothing outlives dvlite."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from dvlite.errors import NoSpace, UsageError
from dvlite.formats.task import Task, TaskFile, TaskUnit
from dvlite.oid import FILE, MANIFEST, digest_bytes, format_oid
from dvlite.pipeline.executor import Interrupted
from dvlite.pipeline.task_folder import COPIED_BYTES, LISTS, TaskFolder
from tests.polling import is_alive, pid_in, until

KEY = "0" * 64


class Files:
    """Content by path, and where it is."""

    def __init__(self, folder):
        self.folder, self.content = folder, {}

    def add(self, path, data=b"data\n", **more):
        self.content[path] = data
        if len(data) > COPIED_BYTES:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(data)
        return TaskFile(path=path, oid=format_oid(FILE, digest_bytes(data)), size_bytes=len(data), **more)

    def locate(self, file):
        data = self.content[file.path]
        return data if len(data) <= COPIED_BYTES else self.folder / file.path


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "bytes")


@pytest.fixture
def opened(tmp_path, files):
    made = []

    def open_folder(cmd, *, is_over=lambda: False, **more):
        task = Task(stage="thumbs", file="dvlite.yaml", key=KEY, cmd=cmd, units=(TaskUnit(name="none"),), **more)
        folder = TaskFolder(tmp_path / f"task-{len(made)}", task, files.locate, os.environ, is_over=is_over)
        made.append(folder.__enter__())
        return folder

    yield open_folder
    for folder in made:
        folder.__exit__()


def unit(*inputs, out="out/a", **values):
    paths = tuple(file.path for file in inputs)
    return TaskUnit(name="a", inputs=inputs, outs=(out,), values={"in": paths, "out": (out,), **values})


def test_a_unit_sees_what_is_declared_and_nothing_else(opened, files):
    folder = opened('list=$(find . -type f | sort); (echo "$list"; cat ${in}) > ${out}', files=(files.add("src/a.py"),))
    end = folder.run(unit(files.add("data/one.txt", b"one\n")))
    assert end.problem is None
    assert folder.path("out/a").read_text() == "./data/one.txt\n./src/a.py\none\n"
    folder.run(unit(files.add("data/two.txt", b"two\n"), out="out/b"))
    assert folder.path("out/b").read_text() == "./data/two.txt\n./src/a.py\ntwo\n"  # nothing of the first


def test_names_with_everything_in_them_reach_the_command(opened, files):
    name = 'data/it\'s a "$(touch x)"\n*;`id`.txt'
    folder = opened("cat ${in} > ${out}; printf %s ${name} >> ${out}")
    out = "out/-rf \n'$HOME"
    end = folder.run(unit(files.add(name, b"x"), out=out, name=("$(id)",)))
    assert (end.problem, folder.path(out).read_bytes()) == (None, b"x$(id)")


@pytest.mark.long
def test_large_files_are_linked_and_folders_too(opened, files):
    big = files.add("data/big", b"x" * (COPIED_BYTES + 1))
    (files.folder / "scene").mkdir(parents=True)
    (files.folder / "scene" / "a").write_text("a")
    scene = TaskFile(path="scene", oid=format_oid(MANIFEST, bytes(32)), size_bytes=1)
    files.content["scene"] = b"x" * (COPIED_BYTES + 1)
    folder = opened("wc -c < data/big >> ${out}; cat scene/a >> ${out}")
    assert folder.run(unit(big, scene)).problem is None
    assert folder.path("out/a").read_text() == f"{COPIED_BYTES + 1}\na"


@pytest.mark.parametrize(
    ("cmd", "problem"),
    [
        ("true", "did not create 'out/a'"),
        ("echo x > ${out}; exit 3", "exit 3"),
        ("kill -9 $$", "killed by signal 9"),
        ("echo x > ${out}; echo x > other", "wrote 'other' outside its output"),
        ("echo x > ${out}; mkdir -p a/b", "wrote 'a' outside its output"),
        ("echo x > ${out}; echo x > out/b", "wrote 'out/b' outside its output"),
        ("cp ${in} ${out}; echo y >> ${in}", "changed its input 'data/in'"),
        ("mv ${in} ${out}", "removed its input 'data/in'"),
        ("cp ${in} ${out}; echo y > src/a.py", "changed its input 'src/a.py'"),
        ("ln -s ../${in} ${out}", "made a symbolic link of 'out/a': copy what it leads to"),
        pytest.param("sleep 100", "timed out: it may run for 1.0 s", marks=pytest.mark.long),
    ],
)
def test_how_a_unit_fails_and_that_the_next_one_does_not_notice(opened, files, cmd, problem):
    shared = files.add("src/a.py")
    folder = opened(
        f"if [ ${{name}} = bad ]; then {cmd}; exit; fi; ls; cat src/a.py ${{in}} > ${{out}}",
        files=(shared,),
        timeout_seconds=1,
    )
    given = files.add("data/in", b"given\n")
    assert folder.run(unit(given, name=("bad",))).problem == problem
    end = folder.run(unit(given, name=("good",)))
    assert (end.problem, end.log) == (None, b"data\nout\nsrc\n")
    assert folder.path("out/a").read_text() == "data\ngiven\n"


def test_an_input_that_is_not_what_it_should_be_is_never_read(opened, files):
    folder = opened("cat ${in} > ${out}")
    file = files.add("data/in", b"one")
    files.content["data/in"] = b"two"
    assert folder.run(unit(file)).problem == "its input 'data/in' changed since the run began"


def test_a_large_input_that_is_written_while_it_is_read_fails_the_unit(opened, files):
    big = files.add("data/big", b"x" * (COPIED_BYTES + 1))
    folder = opened(f"echo y >> {files.folder}/data/big; echo x > ${{out}}")
    assert folder.run(unit(big)).problem == "changed its input 'data/big'"


@pytest.mark.long
def test_a_log_keeps_its_beginning_and_its_end(opened, files):
    folder = opened("echo first; head -c 50000000 /dev/zero; echo last; echo x > ${out}")
    log = folder.run(unit()).log
    assert log.startswith(b"first\n")
    assert log.endswith(b"last\n")
    assert b"bytes are left out here]" in log
    assert len(log) < 1_100_000


def test_a_unit_is_tried_again(opened, files, tmp_path):
    folder = opened(f"echo x >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) = 3 ]; echo x > ${{out}}", retries=2)
    end = folder.run(unit())
    assert (end.problem, end.tries) == (None, 3)


def test_what_a_unit_leaves_running_ends_with_it(opened, files, tmp_path):
    folder = opened(
        f"sleep 1000 & echo $! > {tmp_path}/one; setsid sh -c 'echo $$ > {tmp_path}/two; sleep 1000' & while [ ! -s {tmp_path}/two ]; do sleep 0.01; done; echo x > ${{out}}"
    )
    assert folder.run(unit()).problem is None
    assert not any(is_alive(int((tmp_path / name).read_text())) for name in ("one", "two"))


@pytest.mark.long
def test_an_interruption_ends_the_unit_with_all_that_it_started(opened, files, tmp_path):
    over = threading.Event()
    folder = opened(f"sleep 1000 & echo $! > {tmp_path}/pid; wait", is_over=over.is_set)
    threading.Thread(target=lambda: (pid_in(tmp_path / "pid"), over.set())).start()
    with pytest.raises(Interrupted):
        folder.run(unit())
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_unit_whose_guard_is_killed_runs_again(opened, files, tmp_path):
    folder = opened(
        f"echo $$ >> {tmp_path}/pids; [ $(wc -l < {tmp_path}/pids) = 2 ] || (echo > {tmp_path}/begun; sleep 1000); echo x > ${{out}}"
    )

    def kill():
        until((tmp_path / "begun").exists)
        os.kill(folder.pids[0], signal.SIGKILL)

    threading.Thread(target=kill).start()
    end = folder.run(unit())
    first, _ = (tmp_path / "pids").read_text().split()
    assert (end.problem, end.tries) == (None, 1)
    assert not is_alive(int(first))


PROGRAM = """
import os, sys
from pathlib import Path
from dvlite.formats.task import Task, TaskUnit
from dvlite.pipeline.task_folder import TaskFolder
unit = TaskUnit(name="a", outs=("out/a",), values={"in": (), "out": ("out/a",)})
task = Task(stage="s", file="dvlite.yaml", key="0" * 64, cmd=sys.argv[2], function=sys.argv[3] == "function", units=(unit,))
with TaskFolder(Path(sys.argv[1]), task, None, os.environ) as folder:
    (folder.path("steps.py")).write_text("import os, time\\ndef step(i, o):\\n    open(os.environ['PID_FILE'], 'w').write(str(os.getpid()))\\n    time.sleep(1000)\\n")
    folder.run(unit)
"""


@pytest.mark.parametrize("kind", ["shell", pytest.param("function", marks=pytest.mark.long)])
def test_nothing_outlives_a_dvlite_that_is_killed(tmp_path, kind):
    pid_file = tmp_path / "pid"
    cmd = (
        "steps:step"
        if kind == "function"
        else f"(trap '' TERM INT HUP; sh -c 'echo $$ > {pid_file}; sleep 1000'; true)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "f"), cmd, kind], env={**os.environ, "PID_FILE": str(pid_file)}
    )
    pid = pid_in(pid_file)
    process.kill()
    process.wait()
    until(lambda: not is_alive(pid))


STEPS = b"""
import os, sys, time
count = 0
def copy(source, target):
    global count
    count += 1
    print('call', count, source)
    with open(source) as a, open(target, 'w') as b:
        b.write(a.read() + str(count))
def names(source, target):
    open(target, 'w').write(repr(source))
def fail(source, target):
    raise ValueError('no good: %s' % source)
def leave(source, target):
    sys.exit(3)
def crash(source, target):
    os.kill(os.getpid(), 11)
def sleep(source, target):
    time.sleep(1000)
"""


def test_a_function_is_called_in_one_python_for_all_units(opened, files):
    folder = opened("steps:copy", function=True, files=(files.add("steps.py", STEPS),))
    first = folder.run(unit(files.add("data/1", b"one"), out="out/1"))
    assert (first.problem, first.log) == (None, b"call 1 data/1\n")
    second = folder.run(unit(files.add("data/2", b"two"), out="out/2"))
    assert (second.problem, second.log, folder.path("out/2").read_text()) == (None, b"call 2 data/2\n", "two2")


def test_what_a_function_is_called_with(opened, files):
    folder = opened("steps:names", function=True, files=(files.add("steps.py", STEPS),))
    one, two = files.add("data/1"), files.add("data/2")
    folder.run(unit(one, two, **{LISTS: ("in",)}))
    assert folder.path("out/a").read_text() == "['data/1', 'data/2']"
    folder.run(unit(one, two, **{"in.x": ("data/1",), "in.y": ("data/2",), LISTS: ("in.y",)}))
    assert folder.path("out/a").read_text() == "{'x': 'data/1', 'y': ['data/2']}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("fail", "ValueError: no good: data/1"),
        ("leave", "exit 3"),
        ("crash", "killed by signal 11"),
        pytest.param("sleep", "timed out: it may run for 1.0 s", marks=pytest.mark.long),
        ("none", "AttributeError: module 'steps' has no attribute 'none'"),
    ],
)
def test_how_a_function_fails(opened, files, name, problem):
    folder = opened(f"steps:{name}", function=True, files=(files.add("steps.py", STEPS),), timeout_seconds=1)
    given = files.add("data/1", b"one")
    end = folder.run(unit(given))
    assert end.problem == problem
    assert folder.run(unit(given)).problem == problem  # and the next call is answered too


def test_a_function_whose_module_is_not_declared_is_not_found(opened, files):
    end = opened("steps:copy", function=True).run(unit(files.add("data/1")))
    assert end.problem == "ModuleNotFoundError: No module named 'steps'"


@pytest.mark.long
def test_there_may_be_no_python(opened, files, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no python on PATH"):
        opened("steps:copy", function=True).run(unit())


def test_the_folder_is_gone_afterwards(opened, files, tmp_path):
    folder = opened("echo x > ${out}")
    folder.run(unit())
    folder.__exit__()
    assert not list(tmp_path.glob("task-*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_unit_that_fills_the_disk_says_so_and_the_next_one_has_it_again(files, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], capture_output=True).returncode:
        pytest.skip("mounts are not allowed here")
    try:
        cmd = "[ ${name} = good ] || cat /dev/zero > ${out}; echo x > ${out}"
        task = Task(stage="s", file="dvlite.yaml", key=KEY, cmd=cmd, units=(TaskUnit(name="none"),))
        with TaskFolder(disk / "task", task, files.locate, os.environ) as folder:
            assert folder.run(unit(name=("bad",))).problem == f"exit 1; the disk of '{disk}' is full"
            assert folder.run(unit(name=("good",))).problem is None
            (disk / "other").write_bytes(b"x" * 4_000_000)
            with pytest.raises(NoSpace):
                folder.run(unit(files.add("data/in", b"x" * COPIED_BYTES)))
    finally:
        subprocess.run(["umount", disk], check=True)
