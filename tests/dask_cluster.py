"""A Dask cluster of real processes on this machine: a scheduler, and workers watched by nannies, each in a folder of its own.

Nothing of it is shared but the scheduler: what workers have in common is what their variables name, a bucket. All that runs in it, and all
that its tasks start, carries a mark in its environment, so that what is left behind can be found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.polling import until

MARK = "DVLITE_TEST_CLUSTER"
_QUIET = {"DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "1h", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "60s"}


class Cluster:
    """Processes of one cluster; `resources` are those of each worker, by number."""

    def __init__(self, folder: Path, resources: list[str], environ: Mapping[str, str]) -> None:
        self.folder, self._resources = folder, resources
        self.mark = uuid.uuid4().hex
        self._environ = {**environ, **_QUIET, MARK: self.mark}
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._nannies: dict[int, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        """What `--on dask:` takes."""
        return str(self.folder / "scheduler.json")

    def start(self) -> None:
        """Starts what does not run."""
        if self._scheduler is None or self._scheduler.poll() is not None:
            (self.folder / "scheduler.json").unlink(missing_ok=True)
            self._scheduler = self._run("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
            until((self.folder / "scheduler.json").exists, self._scheduler)
            for number in list(self._nannies):  # those of another scheduler
                self.kill_nanny(number)
        for number, resources in enumerate(self._resources):
            if number not in self._nannies or self._nannies[number].poll() is not None:
                place = self.folder / f"worker-{number}"
                self._nannies[number] = self._run(
                    *("worker", "--nworkers", "1", "--nthreads", "2", "--name", f"w{number}", "--no-dashboard"),
                    *("--host", "127.0.0.1", "--local-directory", str(place), "--memory-limit", "0"),
                    *("--resources", resources, "--death-timeout", "60"),
                )

    def _run(self, kind: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words]
        command += ["--scheduler-file", str(self.folder / "scheduler.json")]
        with (self.folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(command, env=self._environ, stdout=log, stderr=log, cwd=self.folder)

    # -- what may happen to it

    def worker_pids(self) -> list[int]:
        """Returns the processes that the nannies watch."""
        above = {nanny.pid for nanny in self._nannies.values() if nanny.poll() is None}
        return [pid for pid, parent, words in _processes() if parent in above and "spawn_main" in words]

    def kill_worker(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill_nanny(self, number: int) -> None:
        nanny = self._nannies.pop(number)
        nanny.kill()
        nanny.wait()

    def kill_scheduler(self) -> None:
        assert self._scheduler is not None
        self._scheduler.kill()
        self._scheduler.wait()

    def stop(self) -> None:
        for process in (self._scheduler, *self._nannies.values()):
            if process is not None:
                process.kill()
                process.wait()
        self._nannies.clear()
        self._scheduler = None

    def marked(self) -> Iterator[str]:
        """Yields the commands of processes with the mark that run now."""
        wanted = f"{MARK}={self.mark}".encode()
        for pid, _, words in _processes():
            with contextlib.suppress(OSError):
                if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    yield f"{pid} {words}"


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yields pid, parent and command of each process."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            yield (
                int(place.name),
                parent,
                (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"),
            )


@contextlib.contextmanager
def running_cluster(folder: Path, resources: list[str], environ: Mapping[str, str]) -> Iterator[Cluster]:
    """Runs a cluster; afterwards nothing of it runs."""
    cluster = Cluster(folder, resources, environ)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        until(lambda: not list(cluster.marked()))
