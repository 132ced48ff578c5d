"""The processes of units: a shell command each, or one Python that calls a function for one after another. All end with this process, however it ends.

Between dvlite and them stands a guard (`unit_guard`), which is small, so that it forks fast, and outlives a dvlite that was killed for as long
as it takes to end what runs. Used from one thread, which must live as long as the guard: the system ends a child with the thread that started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dvlite.errors import UsageError
from dvlite.files import read_piece, write_all
from dvlite.pipeline.executor import Ended, Interrupted

LOG_LIMIT_BYTES = 1 << 20  # of the log of a unit: half of it its beginning, half its end
_PIECE_BYTES = 1 << 16
_POLL_MS = 100
_GRACE_SECONDS = 5.0
_SCRIPTS = Path(__file__).parent
_GUARD_ENDED = "the process that watched it was ended"


class CappedLog:
    """What a unit prints: all of it up to a limit, else its beginning and its end."""

    def __init__(self, limit_bytes: int = LOG_LIMIT_BYTES, echo: Callable[[bytes], None] | None = None) -> None:
        self._half, self._echo = limit_bytes // 2, echo
        self._head, self._tail = bytearray(), bytearray()
        self._cut = 0

    def write(self, data: bytes) -> None:
        """Adds what was printed."""
        if self._echo is not None:
            self._echo(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data
            if len(self._tail) > 2 * self._half:
                self._trim()

    def _trim(self) -> None:
        extra = max(0, len(self._tail) - self._half)
        self._cut += extra
        del self._tail[:extra]

    def take(self) -> bytes:
        """Returns the log, and begins another."""
        self._trim()
        left_out = b"\n[dvlite: %d bytes are left out here]\n" % self._cut if self._cut else b""
        log = b"".join((self._head, left_out, self._tail))
        self._head, self._tail, self._cut = bytearray(), bytearray(), 0
        return log


@dataclass(frozen=True, slots=True)
class Returned:
    """How a call of a function ended: `problem` None if it returned."""

    problem: str | None
    seconds: float
    cpu_seconds: float
    max_rss_bytes: int


class UnitProcesses:
    """Runs programs one at a time; `is_over` is asked ten times a second whether the whole command ends: then Interrupted is raised, once all has ended."""

    def __init__(self, log: CappedLog, is_over: Callable[[], bool] = lambda: False) -> None:
        self._log, self._is_over = log, is_over
        self._channel: socket.socket | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._group = 0  # of what runs
        self._early: dict[str, Any] | None = None
        self._read_log, self._write_log = os.pipe()
        os.set_blocking(self._read_log, False)
        self._requests, self._answers = -1, -1  # of the Python that waits for calls
        self._answer = b""

    def close(self) -> None:
        """Ends all. Idempotent."""
        self._end_guard()
        for descriptor in (self._read_log, self._write_log):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._read_log = self._write_log = -1

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that are known: the guard, and what it runs."""
        guard = () if self._guard is None else (self._guard.pid,)
        return (*guard, *((self._group,) if self._group else ()))

    # -- a program

    def run(self, words: Sequence[str], folder: Path, environ: Mapping[str, str], timeout: float | None) -> Ended:
        """Runs a program to its end, with all that it started. Raises OSError if it cannot be started, Interrupted if the command ends."""
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._start(words, folder, environ, timeout, (nothing, self._write_log, self._write_log))
        finally:
            os.close(nothing)
        answer = self._end_of_program()
        self._drain()
        return _ended(answer, timeout)

    def _start(
        self,
        words: Sequence[str],
        folder: Path,
        environ: Mapping[str, str],
        timeout: float | None,
        descriptors: tuple[int, int, int],
    ) -> None:
        channel = self._open_guard()
        request = {"argv": list(words), "cwd": os.fspath(folder), "env": dict(environ), "timeout": timeout}
        data = json.dumps(request).encode() + b"\n"
        try:
            sent = socket.send_fds(channel, [data], descriptors)
            channel.sendall(data[sent:])
        except OSError:
            self._end_guard()
            raise
        answer = None
        while answer is None:
            answer = self._next_answer()
        if "pid" in answer:
            self._group = int(answer["pid"])
        else:  # the guard is lost: how the program ended is not known, and it did
            self._early = answer

    def _end_of_program(self) -> dict[str, Any]:
        answer, self._early = self._early, None
        while answer is None:
            answer = self._next_answer()
        self._group = 0
        if "error" in answer:
            number = int(answer["error"])
            raise OSError(number, os.strerror(number))
        return answer

    def _next_answer(self, timeout_ms: int = _POLL_MS) -> dict[str, Any] | None:
        """Returns what the guard says next, None if it says nothing for a while; reads the log meanwhile."""
        channel = self._open_guard()
        if b"\n" not in self._buffer:
            self._wait([channel.fileno()], timeout_ms)
            try:
                data = channel.recv(_PIECE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except ConnectionError:
                data = b""
            if not data:
                return self._lost_guard()
            self._buffer += data
        if b"\n" not in self._buffer:
            return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _wait(self, descriptors: Sequence[int], timeout_ms: int = _POLL_MS) -> list[int]:
        """Waits for one of these or the log, which is read; returns what can be read. Raises Interrupted, after ending all, if the command ends."""
        if self._is_over():
            self.stop()
            raise Interrupted("the command ends")
        poll = select.poll()
        for descriptor in (*descriptors, self._read_log):
            poll.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(timeout_ms)]
        if self._read_log in ready:
            self._drain(most=16)
        return ready

    def _drain(self, most: int = 1 << 30) -> None:
        for _ in range(most):
            try:
                self._log.write(read_piece(self._read_log, _PIECE_BYTES))
            except BlockingIOError:
                return

    def stop(self) -> None:
        """Ends what runs: SIGTERM, five seconds later SIGKILL."""
        if self._group and self._guard is not None:
            _kill_group(self._group, signal.SIGTERM)
            deadline = time.monotonic() + _GRACE_SECONDS
            assert self._channel is not None
            with contextlib.suppress(KeyboardInterrupt, OSError):  # a second Ctrl-C: at once
                while time.monotonic() < deadline:
                    poll = select.poll()
                    for descriptor in (self._channel.fileno(), self._read_log):
                        poll.register(descriptor, select.POLLIN)
                    ready = {descriptor for descriptor, _ in poll.poll(_POLL_MS)}
                    if self._read_log in ready:
                        self._drain(most=16)
                    if self._channel.fileno() in ready:
                        break
        self._end_guard()

    # -- the guard

    def _open_guard(self) -> socket.socket:
        if self._channel is None:
            own, other = socket.socketpair()
            words = [
                sys.executable,
                "-I",
                "-S",
                os.fspath(_SCRIPTS / "unit_guard.py"),
                str(other.fileno()),
                str(os.getpid()),
            ]
            nothing = subprocess.DEVNULL
            try:
                self._guard = subprocess.Popen(
                    words,
                    stdin=nothing,
                    stdout=nothing,
                    stderr=nothing,
                    pass_fds=(other.fileno(),),
                    start_new_session=True,
                )
            except OSError:
                own.close()
                raise
            finally:
                other.close()
            self._channel = own
        return self._channel

    def _lost_guard(self) -> dict[str, Any]:
        """Ends what a guard that was killed left running."""
        group = self._group
        self._end_guard()
        if group:
            _kill_group(group, signal.SIGKILL)
        return {"code": -signal.SIGKILL, "guard": True}

    def _end_guard(self) -> None:
        self._close_function()
        if self._channel is not None:
            self._channel.close()  # that ends the guard, and so all
            self._channel = None
        if self._guard is not None:
            self._guard.wait()
            self._guard = None
        self._buffer, self._group = b"", 0

    # -- a function

    def call(
        self,
        function: str,
        arguments: Sequence[Any],
        folder: Path,
        environ: Mapping[str, str],
        timeout: float | None,
    ) -> Returned | Ended:
        """Calls a function in a Python that stays for the next call; returns how the Python ended if it did.

        Raises UsageError if there is no Python, Interrupted if the command ends.
        """
        if self._requests < 0:
            self._start_python(function, folder, environ)
        try:
            write_all(self._requests, json.dumps(arguments).encode() + b"\n")
        except BrokenPipeError:
            return self._lost_python(timeout=None)
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._answer:
            assert self._channel is not None
            if deadline is not None and time.monotonic() >= deadline:
                return self._end_overdue(timeout)
            left = (
                _POLL_MS if deadline is None else min(_POLL_MS, max(0, int((deadline - time.monotonic()) * 1000)) + 1)
            )
            ready = self._wait([self._answers, self._channel.fileno()], left)
            if self._answers in ready:
                piece = read_piece(self._answers, _PIECE_BYTES)
                if not piece:
                    return self._lost_python(timeout=None)
                self._answer += piece
            elif self._channel.fileno() in ready:
                return self._lost_python(timeout=None)
        line, _, self._answer = self._answer.partition(b"\n")
        self._drain()
        return Returned(*json.loads(line))

    def _start_python(self, function: str, folder: Path, environ: Mapping[str, str]) -> None:
        path = environ.get("PATH")
        python = shutil.which("python", path=path) or shutil.which("python3", path=path)
        if python is None:
            raise UsageError(
                f"cannot call {function}: there is no python on PATH", hint="activate the environment of the project"
            )
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        try:
            words = [os.path.abspath(python), os.fspath(_SCRIPTS / "function_child.py"), function]
            self._start(words, folder, environ, None, (requests, answers, self._write_log))
        except BaseException:
            self._close_function()
            raise
        finally:
            os.close(requests)
            os.close(answers)

    def _end_overdue(self, timeout: float | None) -> Ended:
        _kill_group(self._group, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline:
            answer = self._next_answer()
            if answer is not None:
                return self._lost_python(timeout=timeout, answer=answer)
        _kill_group(self._group, signal.SIGKILL)
        return self._lost_python(timeout=timeout)

    def _lost_python(self, *, timeout: float | None, answer: dict[str, Any] | None = None) -> Ended:
        """Returns how the Python ended."""
        if answer is None:
            answer = self._end_of_program()
        self._close_function()
        self._drain()
        return replace(_ended(answer, None), timeout_seconds=timeout)

    def _close_function(self) -> None:
        for descriptor in (self._requests, self._answers):
            if descriptor >= 0:
                os.close(descriptor)
        self._requests = self._answers = -1
        self._answer = b""


def _ended(answer: Mapping[str, Any], timeout: float | None) -> Ended:
    code = int(answer["code"])
    return Ended(
        name=_GUARD_ENDED if "guard" in answer else "",
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        seconds=float(answer.get("seconds", 0)),
        cpu_seconds=float(answer.get("cpu_seconds", 0)),
        max_rss_bytes=int(answer.get("max_rss_bytes", 0)),
        timeout_seconds=timeout if answer.get("timed_out") else None,
    )


def was_guard_lost(ended: Ended) -> bool:
    """Returns whether a unit ended because its guard was killed: no fault of its own."""
    return ended.name == _GUARD_ENDED


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
