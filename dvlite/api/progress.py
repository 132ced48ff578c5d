"""Progress of a verb that is called from Python: to a callback, as a bar, or nowhere. Nothing is written to standard output."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from dvlite.errors import UsageError
from dvlite.progress import NullProgress, Progress
from dvlite.show import one_line, printable_text

_EVERY_SECONDS = 0.1
_LOG = logging.getLogger("dvlite")


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """What a callback is given: a phase starts, goes on, or ends; or there is a warning, or a line that a stage printed (`message`).

    `label` says what is being done ("pushing origin"). Totals are None where they are not known. Texts are safe to print.
    """

    kind: Literal["start", "advance", "finish", "warning", "line"]
    label: str = ""
    done_bytes: int = 0
    total_bytes: int | None = None
    done_files: int = 0
    total_files: int | None = None
    message: str = ""


ProgressCallback = Callable[[ProgressEvent], None]


@contextlib.contextmanager
def reporting(progress: ProgressCallback | Literal["bar"] | None) -> Iterator[Progress]:
    """Yields where one verb reports its progress, and ends its last phase. Without progress, warnings go to the logger `dvlite`."""
    if progress is None:
        yield _Logged()
    elif progress == "bar":
        from dvlite.cli.terminal import TerminalProgress

        with TerminalProgress(sys.stderr, _warn, animate=sys.stderr.isatty() or _is_notebook()) as bar:
            yield bar
    elif callable(progress):
        calls = _Calls(progress)
        yield calls
        calls.finish()
    else:
        raise UsageError(f"progress cannot be {progress!r}", hint='give a function of one event, "bar", or None')


def _warn(message: str) -> None:
    _LOG.warning("%s", one_line(message))


def _is_notebook() -> bool:
    """Returns whether standard error is shown by a notebook: it is no terminal, and a line is redrawn by a carriage return."""
    return type(sys.stderr).__module__.startswith("ipykernel")


class _Logged(NullProgress):
    """Reports warnings, and nothing else."""

    def warn(self, message: str) -> None:
        _warn(message)


class _Calls:
    """Calls a function, one thread at a time; while a phase goes on, at most ten times a second. What the function raises ends the verb."""

    def __init__(self, callback: ProgressCallback) -> None:
        self._callback = callback
        self._lock = threading.Lock()
        self._called = 0.0
        self._label = ""  # empty: no phase is running
        self._totals: tuple[int | None, int | None] = (None, None)
        self._bytes = self._files = 0

    def start(
        self, label: str, *, total_bytes: int | None = None, total_files: int | None = None, noun: str = "file"
    ) -> None:
        with self._lock:
            self._end()
            self._label, self._totals = one_line(label), (total_bytes, total_files)
            self._bytes = self._files = 0
            self._call("start")

    def advance(self, *, size_bytes: int = 0, files: int = 0) -> None:
        with self._lock:
            self._bytes += size_bytes
            self._files += files
            if self._label and time.monotonic() - self._called >= _EVERY_SECONDS:
                self._call("advance")

    def finish(self) -> None:
        with self._lock:
            self._end()

    def warn(self, message: str) -> None:
        with self._lock:
            self._call("warning", one_line(message))

    def print_line(self, line: str) -> None:
        with self._lock:
            self._call("line", "\t".join(map(printable_text, line.split("\t"))))

    def _end(self) -> None:
        if self._label:
            self._call("finish")
            self._label = ""

    def _call(self, kind: Literal["start", "advance", "finish", "warning", "line"], message: str = "") -> None:
        self._called = time.monotonic()
        total_bytes, total_files = self._totals
        event = ProgressEvent(kind, self._label, self._bytes, total_bytes, self._files, total_files, message)
        self._callback(event)
