"""The commands of stages as processes: started in a session of their own, read while they run, stopped with all that they started.

The only module besides `git` that starts programs, and the only one that runs what a repository says. Knows no stages: a script, a folder,
variables and a log are given.
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
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

Told = Callable[[str, str], None]  # (name of the process, a line that it printed, without its end)

LOG_LIMIT_BYTES = 64 << 20
_TAIL_BYTES = 8192
_TAIL_LINES = 10
_PIECE_BYTES = 1 << 16
_POLL_SECONDS = 0.05
_AFTER_EXIT_SECONDS = (
    0.2  # for what is still in the pipe when the command has ended and something that it left behind holds it open
)
_REDRAW_SECONDS = 1.0
_GRACE_SECONDS = 5.0
_PROBE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Script:
    """What to run: a shell script, where, with which variables; its output goes to `log` too."""

    name: str
    text: str
    folder: Path
    environ: Mapping[str, str]
    log: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: exactly one of exit code and signal is set. Times in seconds, memory as the system counts it."""

    name: str
    exit_code: int | None
    signal: int | None
    seconds: float
    cpu_seconds: float
    max_rss_bytes: int


class Interrupted(Exception):  # not an error: somebody asked for it
    """The user, or the system, wants the program to end."""


class Processes:
    """Runs scripts at the same time. `keep_open` are descriptors that the processes inherit: a lock that outlives this one."""

    def __init__(self, told: Told, keep_open: Sequence[int] = ()) -> None:
        self._told = told
        self._keep_open = tuple(keep_open)
        self._selector = selectors.DefaultSelector()
        self._running: dict[str, _Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    @property
    def names(self) -> list[str]:
        return list(self._running)

    def start(self, script: Script) -> None:
        """Starts a script. Raises OSError if there is no shell."""
        log = open(script.log, "wb")  # noqa: SIM115  # closed when it ends
        try:
            process = subprocess.Popen(
                shell_command(script.text, script.environ),
                cwd=script.folder,
                env=dict(script.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._keep_open,
            )
        except OSError:
            log.close()
            raise
        running = _Running(script, process, log)
        self._running[script.name] = running
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, running)

    def wait(self) -> list[Ended]:
        """Returns once at least one script has ended, or nothing runs."""
        while self._running:
            timeout = min((0.002 if running.closed else _POLL_SECONDS) for running in self._running.values())
            for key, _ in self._selector.select(timeout):
                self._read(key.data)
            ended = [found for running in list(self._running.values()) if (found := self._reap(running)) is not None]
            if ended:
                return ended
        return []

    def stop(self) -> list[Ended]:
        """Ends everything: first as Ctrl-C would, after five seconds harder, then for good. A second Ctrl-C is for good at once."""
        ended: list[Ended] = []
        groups = [running.process.pid for running in self._running.values()]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            self._signal(number)
            deadline = time.monotonic() + _GRACE_SECONDS
            try:
                while self._running and time.monotonic() < deadline:
                    for key, _ in self._selector.select(_POLL_SECONDS):
                        self._read(key.data)
                    ended += [found for each in list(self._running.values()) if (found := self._reap(each)) is not None]
            except (KeyboardInterrupt, Interrupted):
                self._signal(signal.SIGKILL)
            if not self._running:
                break
        for group in groups:  # a shell that ended may have left what did not listen
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        return ended

    def _signal(self, number: int) -> None:
        for running in self._running.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(running.process.pid, number)

    def _read(self, running: _Running) -> None:
        assert running.process.stdout is not None
        try:
            data = os.read(running.process.stdout.fileno(), _PIECE_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._close(running)
            return
        running.write(data)
        for line in running.lines(data):
            self._told(running.script.name, line)

    def _close(self, running: _Running) -> None:
        if not running.closed:
            assert running.process.stdout is not None
            self._selector.unregister(running.process.stdout)
            running.process.stdout.close()
            running.closed = True
            for line in running.last_line():
                self._told(running.script.name, line)

    def _reap(self, running: _Running) -> Ended | None:
        """Returns how a script ended, or None while it runs."""
        if running.ended is None:
            pid, status, usage = os.wait4(running.process.pid, os.WNOHANG)
            if not pid:
                return None
            code = os.waitstatus_to_exitcode(status)
            running.process.returncode = code  # so that subprocess does not wait for it too
            running.exited = time.monotonic()
            running.ended = Ended(
                running.script.name,
                code if code >= 0 else None,
                -code if code < 0 else None,
                running.exited - running.started,
                usage.ru_utime + usage.ru_stime,
                usage.ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024),
            )
        if not running.closed and time.monotonic() - running.exited < _AFTER_EXIT_SECONDS:
            return None
        self._close(running)
        running.log.close()
        del self._running[running.script.name]
        return running.ended


class _Running:
    """One process, and what it has printed of a line so far."""

    __slots__ = ("_begun", "_room", "_shown", "closed", "ended", "exited", "log", "process", "script", "started")

    def __init__(self, script: Script, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.script, self.process, self.log = script, process, log
        self.started = time.monotonic()
        self.exited = 0.0
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

    def last_line(self) -> Iterator[str]:
        if _state(self._begun):
            yield _state(self._begun)
        self._begun = b""


def _state(line: bytes) -> str:
    """Returns what a terminal would show of a line at last."""
    return next((each for each in reversed(line.split(b"\r")) if each), b"").decode("utf-8", "replace")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise Interrupted, so that the children are stopped too."""

    def raise_it(number: int, _: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for number in before:
            signal.signal(number, raise_it)
    except ValueError:  # not the main thread: whoever runs us there looks after signals
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def uninterruptible() -> Iterator[None]:
    """Makes signals that would end the program wait for nobody: they are ignored while what was stopped is put in order."""
    before: dict[int, Any] = {}
    try:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before[each] = signal.signal(each, signal.SIG_IGN)
    except ValueError:  # not the main thread
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def tail(log: Path) -> tuple[str, ...]:
    """Returns the last lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
        data = file.read(_TAIL_BYTES)
    return tuple(data.decode("utf-8", "replace").replace("\r", "\n").splitlines()[-_TAIL_LINES:])


def first_line(script: str) -> str:
    """Returns the first line of a script, marked if there are more."""
    first, _, rest = script.strip().partition("\n")
    return f"{first} ..." if rest else first
