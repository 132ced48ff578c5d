"""A server that a command runs while it is measured: its cold start, its memory, its log; ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from dvlite.errors import DvliteError, FormatError, PartlyDone, reason_of
from dvlite.files import read_regular
from dvlite.pipeline.executor import Command, Ended, tail_of
from dvlite.pipeline.process import Processes
from dvlite.show import one_line, printable, quote

_NAME = "server"
_SAMPLE_SECONDS = 0.25
_STAT_BYTES = 4096
_PROC = Path("/proc")


class MeasuredServer:
    """A command that runs. Its memory is looked at four times a second, by a thread that reads its output, too."""

    def __init__(self, command: Command) -> None:
        self._processes, self._command = Processes(wakes=self._is_due), command
        self._over = threading.Event()
        self._due = 0.0
        self._ended: Ended | None = None
        self._peak: int | None = None
        self._processes.start(command)
        self._leader = self._processes.leader(_NAME)
        self.started = time.monotonic()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def require_running(self, wait_seconds: float = 0.0) -> None:
        """Raises PartlyDone, with the end of its log, if it has ended, or ends so soon."""
        self._thread.join(wait_seconds)
        ended = self._ended
        if ended is not None:
            lines = tail_of(self._command.log)
            said = f": {printable(one_line(lines[-1])[:300])}" if lines else ""
            raise PartlyDone(
                f"the server {quote(self._command.title)} ended ({ended.problem or 'exit 0'}){said}",
                hint="it has to run until it is stopped, not in the background",
            )

    def peak_bytes(self) -> int | None:
        """Returns the most memory (RSS of all its processes) since it was asked last; None where the system does not say."""
        peak, self._peak = self._peak, None
        now = memory_of(self._leader)
        return max(filter(None, (peak, now)), default=None)

    def end(self) -> None:
        """Stops it."""
        self._over.set()
        self._thread.join()
        self._processes.stop()
        if self._ended is not None:  # by itself: what it started may run on
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._leader, signal.SIGKILL)

    def _is_due(self) -> bool:
        return self._over.is_set() or time.monotonic() >= self._due

    def _watch(self) -> None:
        while not self._over.is_set():
            now = memory_of(self._leader)
            self._peak = max(filter(None, (self._peak, now)), default=None)
            self._due = time.monotonic() + _SAMPLE_SECONDS
            ended = self._processes.wait()
            if ended:
                self._ended = ended[0]
                return


@contextlib.contextmanager
def running(script: str, folder: Path, environ: Mapping[str, str], log: Path) -> Iterator[MeasuredServer]:
    """Runs a shell command as long as the block takes. Raises DvliteError if it cannot be started."""
    command = Command(_NAME, script, folder, environ, log, lambda _line: None)
    try:
        server = MeasuredServer(command)
    except OSError as error:
        raise DvliteError(
            f"cannot start {quote(command.title)}: {reason_of(error)}", hint="is there a shell?"
        ) from error
    try:
        yield server
    finally:
        server.end()


def memory_of(leader: int) -> int | None:
    """Returns the resident memory of all processes of a session, and of what those started; None where there is no /proc."""
    parents: dict[int, tuple[int, int, int]] = {}
    try:
        names = [name for name in os.listdir(_PROC) if name.isdecimal()]
    except OSError:
        return None
    for name in names:
        try:
            data = read_regular(_PROC / name / "stat", name, _STAT_BYTES) or b""
        except (OSError, FormatError):
            continue
        fields = data.rpartition(b")")[2].split()
        if len(fields) > 21:
            parents[int(name)] = (int(fields[1]), int(fields[3]), int(fields[21]))
    if not parents:
        return None
    inside = {pid for pid, (_, session, _) in parents.items() if session == leader}
    while more := {pid for pid, (parent, _, _) in parents.items() if parent in inside} - inside:
        inside |= more
    return sum(parents[pid][2] for pid in inside) * os.sysconf("SC_PAGE_SIZE")
