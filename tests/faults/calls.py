"""Runs dvlite with a fault at its Nth file-system call: SIGKILL, an error number, half of what was asked for, a power cut.

The calls are counted by a small C library (failpoint.c) below one folder, in the dvlite process and the processes that it forks; git and
the commands of stages are programs of their own, and are not counted. One server loads everything once and forks for each command. The
clock of counted commands stands still; randomness is the same at each fault, and real without one, so that a second run repeats no name.
Knows nothing of what the commands do.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "failpoint.c"
CHANGE, SPACE, NAME, READ, LOOK, LOCK, START = (1 << bit for bit in range(7))
"""Classes of calls: what changes the disk; what needs space; what names a file; what reads data; what looks at names; locks; programs."""
EVERY_CALL = CHANGE | NAME | READ | LOOK | LOCK
COUNT, KILL, FAIL, FAIL_FROM, SHORT, POWER = range(6)
DEADLINE_S = 100
CLOCK_S = int(time.time()) + 6 * 3600  # of counted commands: later than the dates of files, however long a sweep lasts
HUNG = -signal.SIGALRM


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at call `at` of the calls of these classes; SHORT happens at every one, FAIL_FROM from then on."""

    action: int = COUNT
    classes: int = EVERY_CALL
    at: int = 0
    error: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (a signal: negative), how many calls were counted (-1: it did not live to report), what it printed."""

    code: int
    calls: int
    text: str


NO_FAULT = Fault()


class Program:
    """Runs dvlite commands; `folder` is where it puts the library, what they print, and the log of the calls if it is asked for."""

    def __init__(self, folder: Path, library: Path) -> None:
        environ = {**os.environ, "LD_PRELOAD": str(library)}
        command = [sys.executable, "-m", "tests.faults.calls"]
        self._folder = folder
        self._server = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self,
        cwd: Path,
        *args: str,
        fault: Fault = NO_FAULT,
        root: Path | None = None,
        log: Path | None = None,
        env: Mapping[str, str] = {},
    ) -> Ended:
        """Runs one command; calls are counted below `root` (none: not counted)."""
        output = self._folder / "output"
        order = order_of(cwd, args, fault, root, log) | {"output": str(output), "env": {**os.environ, **env}}
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        code, calls = json.loads(self._server.stdout.readline())
        return Ended(code, calls, output.read_text(errors="backslashreplace"))

    def close(self) -> None:
        self._server.communicate()  # ends its input, so it ends


def order_of(cwd: Path, args: tuple[str, ...], fault: Fault, root: Path | None, log: Path | None) -> dict[str, Any]:
    """Returns an order as the server reads it."""
    return {
        "cwd": str(cwd),
        "args": list(args),
        "root": None if root is None else os.path.realpath(root),
        "fault": [fault.action, fault.classes, fault.at, fault.error],
        "log": None if log is None else str(log),
        "clock_s": CLOCK_S,
    }


def library_in(folder: Path) -> Path:
    """Compiles the library; raises RuntimeError with the reason where that is not possible."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        raise RuntimeError("the library that counts calls needs Linux and gcc")
    library = folder / "failpoint.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"gcc cannot compile {SOURCE.name}: {done.stderr.strip()[-200:]}")
    return library


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Program]:
    """Compiles the library, starts the server and yields the program."""
    program = Program(folder, library_in(folder))
    try:
        yield program
    finally:
        program.close()


def live(order: dict[str, Any], answer: int) -> None:
    """Is the child: runs one command, and reports its exit code and calls if it lives to see its end."""
    signal.alarm(DEADLINE_S)
    os.chdir(order["cwd"])
    if "env" in order:
        os.environ.clear()
        os.environ.update(order["env"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    from dvlite.cli.main import main

    library = ctypes.CDLL(None)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC) if order["log"] else -1
    sys.argv = ["dvlite", *order["args"]]
    if order["root"] is not None:
        action, classes, at, error = order["fault"]
        now = ctypes.c_long(order["clock_s"])
        library.failpoint_arm(os.fsencode(order["root"]), action, classes, ctypes.c_long(at), error, log, now)
    code = main(order["args"])
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os.write(answer, json.dumps([code, library.failpoint_count()]).encode())
    os._exit(0)


def serve() -> None:
    """Forks a child for each order; a child that was killed answers nothing."""
    from tests.warm import load

    load()
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            try:
                live(order, writing)
            finally:
                os._exit(99)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(answer.decode() or json.dumps([status, -1]), flush=True)


if __name__ == "__main__":
    os.environ.pop("LD_PRELOAD", None)  # git and stages are not counted
    if sys.argv[1:]:
        live(json.loads(sys.argv[1]), 1)
    serve()
