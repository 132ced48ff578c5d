"""A server that a command runs while it is measured: its cold start, its memory, its log; ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from dvlite.errors import DvliteError, PartlyDone, reason_of
from dvlite.files import READ, os_error, read_piece
from dvlite.pipeline.executor import Command, Ended, tail_of
from dvlite.pipeline.process import Processes
from dvlite.show import one_line, printable, quote

_NAME = "server"
_SAMPLE_SECONDS = 0.25
_SAMPLE_SHARE = 50  # a look at many processes takes at most 2 % of the processor that the load runs on
_STAT_BYTES = 4096
_PROC = "/proc"


class MeasuredServer:
    """A command that runs. Its memory is looked at four times a second, by a thread that reads its output, too.

    `end` belongs in a `finally` around `start`: an interruption may come at any time.
    """

    def __init__(self, command: Command) -> None:
        self._processes, self._command = Processes(wakes=self._is_due), command
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._over = threading.Event()
        self._due = 0.0
        self._ended: Ended | None = None
        self._failed: OSError | None = None  # nothing reads the output of the server any more
        self._peak: int | None = None
        self._leader = 0
        self.started = 0.0

    def start(self) -> None:
        """Raises OSError if there is no shell."""
        self.started = time.monotonic()
        self._processes.start(self._command)
        self._leader = self._processes.leader(_NAME)
        self._thread.start()

    def require_running(self, wait_seconds: float = 0.0) -> None:
        """Raises PartlyDone, with the end of its log, if it has ended, or ends so soon; DvliteError for a log that cannot be written."""
        self._thread.join(wait_seconds)
        if self._failed is not None:
            raise os_error(self._failed, "write", self._command.log) from self._failed
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
        if self._thread.ident is not None:
            self._thread.join()
        try:
            with contextlib.suppress(OSError):  # its log cannot be written: `require_running` says so
                self._processes.stop()
        finally:  # it may have ended by itself, and left what it started
            if self._leader:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._leader, signal.SIGKILL)

    def _is_due(self) -> bool:
        return self._over.is_set() or time.monotonic() >= self._due

    def _watch(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            now = memory_of(self._leader)
            self._peak = max(filter(None, (self._peak, now)), default=None)
            ready = time.monotonic()
            self._due = ready + max(_SAMPLE_SECONDS, _SAMPLE_SHARE * (ready - began))
            try:
                ended = self._processes.wait()
            except OSError as error:
                self._failed = error
                return
            if ended:
                self._ended = ended[0]
                return


@contextlib.contextmanager
def running(script: str, folder: Path, environ: Mapping[str, str], log: Path) -> Iterator[MeasuredServer]:
    """Runs a shell command as long as the block takes. Raises DvliteError if it cannot be started."""
    command = Command(_NAME, script, folder, environ, log, lambda _line: None)
    server = MeasuredServer(command)
    try:
        try:
            server.start()
        except OSError as error:
            raise DvliteError(
                f"cannot start {quote(command.title)}: {reason_of(error)}", hint="is there a shell?"
            ) from error
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
            descriptor = os.open(f"{_PROC}/{name}/stat", READ)
            try:
                data = read_piece(descriptor, _STAT_BYTES)  # whole: the kernel writes it at one stroke
            finally:
                os.close(descriptor)
        except OSError:  # it has ended
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
