"""Waiting for what other processes and threads do. Nothing here has a deadline: a busy machine is no fault, and whoever runs the tests ends a test that hangs."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def until(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Returns once the condition holds; fails the test if the `process` that is to bring it about ended without."""
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            pytest.fail(f"{process.args} left with {process.returncode} before it happened")
        time.sleep(0.01)


def pid_in(path: Path) -> int:
    """Returns the process id that a script writes into the file, which may be still to come."""
    until(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    """A process that has ended and was not waited for is not alive."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    """State, parent and more of the process; its name, which comes before, may have blanks in it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
