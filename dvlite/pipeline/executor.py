"""Where commands run, as a protocol, and how a user's interruption reaches them. `process` runs them on this machine.

Knows no stages: an executor gets a script with all that it needs, and reports how it ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from dvlite.show import duration_text

_TAIL_BYTES, _TAIL_LINES = 8192, 10


@dataclass(frozen=True, slots=True)
class Command:
    """A shell script, its working directory and its environment. The output goes to the file `log`, and to `show` line by line.

    After `timeout_seconds` it is ended, with all that it started.
    """

    name: str
    script: str
    folder: Path
    environ: Mapping[str, str]
    log: Path
    show: Callable[[str], None]
    timeout_seconds: float | None = None

    @property
    def title(self) -> str:
        """The first line of the script."""
        first, _, rest = self.script.strip().partition("\n")
        return f"{first} ..." if rest else first


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: exactly one of exit code and signal is set. Times in seconds, memory as the system counts it."""

    name: str
    exit_code: int | None
    signal: int | None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_rss_bytes: int = 0
    timeout_seconds: float | None = None  # if it was ended because it ran longer
    reason: str | None = None  # why it failed, if that is more than how its process ended

    @property
    def problem(self) -> str | None:
        """How a command failed, None if it did not."""
        if self.reason is not None:
            return self.reason
        if self.timeout_seconds is not None:
            return f"timed out: it may run for {duration_text(self.timeout_seconds)}"
        if self.signal is not None:
            return f"killed by signal {self.signal}"
        return f"exit {self.exit_code}" if self.exit_code else None


class Executor(Protocol):
    """Runs commands side by side; their names are unique. Called from one thread."""

    def start(self, command: Command) -> None:
        """Starts a command and returns at once. Raises OSError if it cannot be started."""

    def wait(self) -> list[Ended]:
        """Blocks until at least one command has ended and returns all that have, each once; nothing if none runs."""

    def stop(self) -> list[Ended]:
        """Stops all commands and what they started; returns how they ended. Idempotent."""


def interrupted(name: str) -> Ended:
    """Returns the end of a command that was stopped before it ran."""
    return Ended(name, None, signal.SIGINT)


def tail_of(log: Path) -> tuple[str, ...]:
    """Returns the last ten lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
        text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    return tuple(text.replace("\r", "\n").splitlines()[-_TAIL_LINES:])


class Interrupted(Exception):  # not an error: the user asked for it
    """The user, or the system, asks the program to end."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into Interrupted, so that the commands are stopped too."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    with _handling(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def uninterruptible() -> Iterator[None]:
    """Ignores the signals that would end the program, while files are put in order."""
    with _handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def _handling(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    before: dict[signal.Signals, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread: signals are its caller's business
        for number in numbers:
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
