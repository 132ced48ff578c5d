"""Runs a program as a user would, and says how long it took and how much memory its largest process had.

Knows nothing of what is measured.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class StepFailed(Exception):
    """A program left with another code than 0."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run of one program and of all that it started; `peak_bytes` is of the largest process."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> Sample:
    """Runs a program to its end, in wall time from before its start; raises StepFailed with the end of what it said.

    What earlier programs wrote is put on disk first, so that nobody pays for another's writes.
    """
    os.sync()
    log = Path(env["HOME"]) / "output.log"
    with open(log, "wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen waits for a process that is gone
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        words = shlex.join(str(word) for word in argv)
        raise StepFailed(f"`{words}` left with {process.returncode}:\n{said}")
    return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
