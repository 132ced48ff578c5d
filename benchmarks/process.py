"""Runs a program as a user would, and reports how long it took and how much memory it had.

Knows nothing of what is measured.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class StepFailed(Exception):
    """A program left with another code than 0, or took too long."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run of one program and of all that it started; `peak_bytes` is of the largest process, with what it maps of files.

    Of a watched run it is what all its processes together had for themselves (Linux); 0 if it was over too soon.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(
    argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], watched: bool = False, most_seconds: float = 1e9
) -> Sample:
    """Runs a program to its end, in wall time from before its start; raises StepFailed with the end of what it said.

    What earlier programs wrote is put on disk first, so that no program pays for another's writes.
    """
    os.sync()
    log = Path(env["HOME"]) / "output.log"
    with open(log, "wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in argv],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        watch = _Watch(process.pid, most_seconds) if watched else None
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen waits for a process that is gone
    peak_bytes = watch.stop() if watch else 0
    if seconds > most_seconds:
        raise StepFailed(f"`{Path(argv[0]).name} {argv[1]}` took longer than {most_seconds:.0f} s")
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        words = shlex.join(str(word) for word in argv)
        raise StepFailed(f"`{words}` left with {process.returncode}:\n{said}")
    return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 if watch is None else peak_bytes)


def do(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> None:
    """Runs what is not measured; raises StepFailed."""
    done = subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailed(
            f"`{Path(argv[0]).name} {argv[1]}` left with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
        )


class _Watch:
    """Samples the memory of a process and of all that it started, and ends them when their time is over."""

    def __init__(self, pid: int, most_seconds: float) -> None:
        self._pid, self._deadline, self._peak_bytes = pid, time.monotonic() + most_seconds, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._peak_bytes

    def _watch(self) -> None:
        while not self._over.wait(0.03):
            self._peak_bytes = max(self._peak_bytes, _own_bytes(self._pid))
            if time.monotonic() > self._deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
                return


def _own_bytes(pid: int) -> int:
    """Returns the anonymous memory of a process and of its children."""
    total_kib, left = 0, [pid]
    while left:
        process = Path(f"/proc/{left.pop()}")
        with contextlib.suppress(OSError):
            lines = (process / "status").read_text().splitlines()
            total_kib += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            for children in process.glob("task/*/children"):
                left += map(int, children.read_text().split())
    return total_kib * 1024
