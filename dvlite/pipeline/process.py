"""The executor of this machine: processes in sessions of their own, read while they run, stopped with all that they started.

The only module besides `git` that starts programs, and the only one that runs what a repository says.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from dvlite.files import read_piece
from dvlite.pipeline.executor import Command, Ended, Interrupted

LOG_LIMIT_BYTES = 64 << 20
_PIECE_BYTES = 1 << 16
_POLL_SECONDS = 0.05
_AFTER_EXIT_SECONDS = 0.2  # for what is still in the pipe, if a process that the command left behind holds it open
_REDRAW_SECONDS = 1.0
_GRACE_SECONDS = 5.0
_PROBE_SECONDS = 30


class Processes:
    """An Executor. `keep_open` are descriptors that the processes inherit: a lock that outlives this one.

    `is_over` says whether the whole command ends, for one in a thread that no signal reaches: `wait` raises Interrupted then.
    `wakes`: whether something else has ended, for which `wait` returns too.
    """

    def __init__(
        self,
        keep_open: Sequence[int] = (),
        is_over: Callable[[], bool] = lambda: False,
        wakes: Callable[[], bool] = lambda: False,
    ) -> None:
        self._keep_open = tuple(keep_open)
        self._is_over, self._wakes = is_over, wakes
        self._selector = selectors.DefaultSelector()
        self._running: dict[str, _Running] = {}

    def start(self, command: Command) -> None:
        """Starts a command. Raises OSError if there is no shell, or no such folder."""
        log = open(command.log, "wb")  # noqa: SIM115  # closed when it ends
        try:
            process = subprocess.Popen(
                shell_command(command.script, command.environ),
                cwd=command.folder,
                env=dict(command.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._keep_open,
            )
        except OSError:
            log.close()
            raise
        running = self._running[command.name] = _Running(command, process, log)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, running)

    def leader(self, name: str) -> int:
        """Returns the process id of a command that runs, which is that of its session, too."""
        return self._running[name].process.pid

    def wait(self) -> list[Ended]:
        """Returns once at least one command has ended, or nothing runs."""
        while self._running and not self._wakes():
            if self._is_over():
                raise Interrupted("the command ends")
            self._end_overdue()
            timeout = min((0.002 if running.closed else _POLL_SECONDS) for running in self._running.values())
            for key, _ in self._selector.select(timeout):
                self._read(key.data)
            ended = self._reaped()
            if ended:
                return ended
        return []

    def stop(self) -> list[Ended]:
        """Stops all commands: SIGINT, then SIGTERM, then SIGKILL, five seconds apart; a second Ctrl-C sends SIGKILL at once."""
        ended: list[Ended] = []
        groups = [running.process.pid for running in self._running.values()]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            self._signal(number)
            deadline = time.monotonic() + _GRACE_SECONDS
            try:
                while self._running and time.monotonic() < deadline:
                    for key, _ in self._selector.select(_POLL_SECONDS):
                        self._read(key.data)
                    ended += self._reaped()
            except (KeyboardInterrupt, Interrupted):
                self._signal(signal.SIGKILL)
            if not self._running:
                break
        for group in groups:  # a shell that ended may have left processes that ignored the signals
            _signal_group(group, signal.SIGKILL)
        return ended

    def _signal(self, number: int) -> None:
        for running in self._running.values():
            _signal_group(running.process.pid, number)

    def _end_overdue(self) -> None:
        """Ends commands whose time is over: SIGTERM, five seconds later SIGKILL."""
        now = time.monotonic()
        for running in self._running.values():
            limit = running.command.timeout_seconds
            if limit is None or running.ended is not None or now - running.started < limit:
                continue
            if running.overdue is None:
                running.overdue = now
                _signal_group(running.process.pid, signal.SIGTERM)
            elif now - running.overdue >= _GRACE_SECONDS:
                _signal_group(running.process.pid, signal.SIGKILL)

    def _read(self, running: _Running) -> None:
        assert running.process.stdout is not None
        try:
            data = read_piece(running.process.stdout.fileno(), _PIECE_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._close(running)
            return
        running.write(data)
        for line in running.lines(data):
            running.command.show(line)

    def _close(self, running: _Running) -> None:
        if not running.closed:
            assert running.process.stdout is not None
            self._selector.unregister(running.process.stdout)
            running.process.stdout.close()
            running.closed = True
            running.show_last_line()

    def _reaped(self) -> list[Ended]:
        return [ended for running in list(self._running.values()) if (ended := self._reap(running)) is not None]

    def _reap(self, running: _Running) -> Ended | None:
        """Returns how a command ended, or None while it runs."""
        if running.ended is None:
            pid, status, usage = os.wait4(running.process.pid, os.WNOHANG)
            if not pid:
                return None
            code = os.waitstatus_to_exitcode(status)
            running.process.returncode = code  # so that subprocess does not wait for it too
            running.exited = time.monotonic()
            if running.overdue is not None:
                _signal_group(running.process.pid, signal.SIGKILL)  # what ignored the first signal
            running.ended = Ended(
                running.command.name,
                code if code >= 0 else None,
                -code if code < 0 else None,
                running.exited - running.started,
                usage.ru_utime + usage.ru_stime,
                usage.ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024),
                timeout_seconds=None if running.overdue is None else running.command.timeout_seconds,
            )
        if not running.closed and time.monotonic() - running.exited < _AFTER_EXIT_SECONDS:
            return None
        self._close(running)
        running.log.close()
        del self._running[running.command.name]
        return running.ended


class _Running:
    """One process, and the beginning of the line that it prints."""

    __slots__ = (
        "_begun",
        "_room",
        "_shown",
        "closed",
        "command",
        "ended",
        "exited",
        "log",
        "overdue",
        "process",
        "started",
    )

    def __init__(self, command: Command, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.command, self.process, self.log = command, process, log
        self.started = time.monotonic()
        self.exited = 0.0
        self.overdue: float | None = None  # since when its time is over
        self.closed = False
        self.ended: Ended | None = None
        self._begun = b""
        self._room = LOG_LIMIT_BYTES
        self._shown = float("-inf")  # when a state of a line that redraws itself was shown last

    def write(self, data: bytes) -> None:
        """Writes to the log, up to its limit."""
        if self._room > 0:
            self.log.write(data[: self._room])
            if len(data) >= self._room:
                self.log.write(b"\n[dvlite: the log ends here, it is longer than 64 MiB]\n")
        self._room -= len(data)

    def lines(self, data: bytes) -> Iterator[str]:
        """Yields the whole lines so far; of one that redraws itself with carriage returns (a progress bar) the last state, and one a second."""
        *whole, rest = (self._begun + data).replace(b"\r\n", b"\n").split(b"\n")
        yield from (_state(line) for line in whole)
        if b"\r" in rest:
            if time.monotonic() - self._shown >= _REDRAW_SECONDS and _state(rest):
                self._shown = time.monotonic()
                yield _state(rest)
            rest = rest[rest.rstrip(b"\r").rfind(b"\r") + 1 :]
        if len(rest) > _PIECE_BYTES:
            yield _state(rest)
            rest = b""
        self._begun = rest

    def show_last_line(self) -> None:
        if _state(self._begun):
            self.command.show(_state(self._begun))


def _state(line: bytes) -> str:
    """Returns what a terminal shows of a line that was redrawn."""
    return next((state for state in reversed(line.split(b"\r")) if state), b"").decode("utf-8", "replace")


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def shell_command(script: str, environ: Mapping[str, str]) -> list[str]:
    """Returns the words that run a script: by bash, which stops at the first failure, in pipes too; else by sh."""
    bash = shutil.which("bash", path=environ.get("PATH"))
    if bash is not None:
        return [bash, "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return ["/bin/sh", "-e", "-c", script]


def output_of(words: Sequence[str], folder: Path, environ: Mapping[str, str]) -> str | None:
    """Returns what a program prints on standard output and standard error, or None if it fails or takes half a minute."""
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
