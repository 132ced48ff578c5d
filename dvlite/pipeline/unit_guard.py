"""Starts programs for the dvlite that started this script, one at a time, and ends them with all that they started, at the latest when dvlite is gone.

A process of its own and small: forking it takes a fraction of a millisecond, however large dvlite is. It outlives dvlite for as long as it
takes to end what runs. Nothing but the standard library; run by path (`unit_process` is the other side of the socket).

A request is a line of JSON, `argv`, `cwd`, `env`, `timeout`, with three descriptors (standard input, output, error); the answers are
`{"pid"}`, then `{"error"}` or how it ended. `{"kill": N}` sends a signal to what runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

_GRACE_SECONDS = 5.0
_PIECE_BYTES = 1 << 16
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_TRIES = 500


class Gone(Exception):  # not an error: it is time to end
    """dvlite ended, or asks this script to."""


class Guard:
    """Serves one socket."""

    def __init__(self, channel: socket.socket, woken: int) -> None:
        self._channel, self._woken = channel, woken
        self._pid = os.getpid()
        self._buffer = b""
        self._descriptors: list[int] = []
        self._prctl = _prctl()
        self._running = 0  # the leader of the group that runs

    def serve(self) -> None:
        """Runs what is asked for, until dvlite is gone."""
        try:
            self._set(_PR_SET_PDEATHSIG, signal.SIGTERM)
            self._set(_PR_SET_CHILD_SUBREAPER, 1)  # what leaves its group comes to us, and is ended too
            if os.getppid() != int(sys.argv[2]):
                return
            while True:
                self._run(self._received())
        except (Gone, OSError):
            return
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._end_all()

    def _set(self, option: int, value: int) -> None:
        if self._prctl is not None:
            self._prctl(option, value, 0, 0, 0)

    def _received(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._read()
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _read(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._channel, _PIECE_BYTES, 3)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors += descriptors
        if not data:
            raise Gone
        self._buffer += data

    def _send(self, **answer: object) -> None:
        self._channel.sendall(json.dumps(answer).encode() + b"\n")

    # -- one program

    def _run(self, request: dict[str, Any]) -> None:
        if "argv" not in request:
            return  # a signal for what has ended
        descriptors, self._descriptors = self._descriptors, []
        started = time.monotonic()
        problem = self._start(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if problem:
            self._send(error=problem)
            return
        timed_out = self._wait(started, request.get("timeout"))
        seconds = time.monotonic() - started
        _kill_group(self._running, signal.SIGKILL)  # before it is reaped: the number of the group is still its own
        _, status, usage = os.wait4(self._running, 0)
        self._end_all()
        code = os.waitstatus_to_exitcode(status)
        self._send(
            code=code,
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            max_rss_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            timed_out=timed_out,
        )

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Starts a program, once dvlite has its number; returns the number of the system's error, or 0."""
        failed, fails = os.pipe()
        waits, goes = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(goes)
            self._become(request, descriptors, waits, fails)
        os.close(fails)
        os.close(waits)
        self._running = pid
        self._send(pid=pid)
        os.write(goes, b"g")
        os.close(goes)
        problem = os.read(failed, 16)
        os.close(failed)
        if problem:
            os.waitpid(pid, 0)
            self._running = 0
        return int(problem or b"0")

    def _become(self, request: dict[str, Any], descriptors: list[int], waits: int, fails: int) -> None:
        try:
            os.setsid()
            self._set(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self._pid or not os.read(waits, 1):
                os._exit(127)
            for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for target, descriptor in enumerate(descriptors):
                os.dup2(descriptor, target)
            os.chdir(request["cwd"])
            os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606  # the words are given one by one
        except OSError as error:
            os.write(fails, str(error.errno).encode())
        finally:
            os._exit(127)

    def _wait(self, started: float, timeout: float | None) -> bool:
        """Returns once what runs has ended, and whether its time was over."""
        deadline = None if timeout is None else started + timeout
        timed_out = False
        while os.waitid(os.P_PID, self._running, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._channel.fileno(), self._woken], [], [], left)
            if self._woken in ready:
                os.read(self._woken, 4096)
            if self._channel.fileno() in ready:
                self._read()
                while b"\n" in self._buffer:
                    _kill_group(self._running, self._received().get("kill", 0))
            if deadline is not None and time.monotonic() >= deadline:
                _kill_group(self._running, signal.SIGKILL if timed_out else signal.SIGTERM)
                timed_out, deadline = True, time.monotonic() + _GRACE_SECONDS
        return timed_out

    def _end_all(self) -> None:
        """Ends what runs and all that it left behind."""
        if self._running:
            _kill_group(self._running, signal.SIGKILL)
            self._running = 0
        for _ in range(_TRIES):
            children = _children()
            for child in children:
                _kill(child, signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            if not children:
                return
            time.sleep(0.002)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(group, number)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _prctl() -> Any:
    """Returns the function of the C library, or None."""
    if sys.platform != "linux":
        return None
    import ctypes

    return getattr(ctypes.CDLL(None), "prctl", None)


def _end(*_: object) -> None:
    raise Gone


def main() -> None:
    """Serves the socket whose descriptor is the first argument; the second is dvlite's process."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(int(sys.argv[1]), False)  # else what it starts holds the socket open
    Guard(socket.socket(fileno=int(sys.argv[1])), woken).serve()


if __name__ == "__main__":
    main()
