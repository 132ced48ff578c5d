"""How long operations report their progress. Functions take it as their last parameter; only `cli.terminal` draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one phase at a time; may be called from any thread."""

    def start(
        self, label: str, *, total_bytes: int | None = None, total_files: int | None = None, noun: str = "file"
    ) -> None:
        """Starts a phase (`adding data/images`) and ends the previous one; `noun` is what `files` counts."""

    def advance(self, *, size_bytes: int = 0, files: int = 0) -> None:
        """Adds to the counters of the running phase."""

    def finish(self) -> None:
        """Ends the running phase."""

    def warn(self, message: str) -> None:
        """Reports a problem that did not stop the operation."""

    def print_line(self, line: str) -> None:
        """Prints a line while the operation runs: what starts, and the output of a stage's command."""


class NullProgress:
    """Reports nothing."""

    def start(
        self, label: str, *, total_bytes: int | None = None, total_files: int | None = None, noun: str = "file"
    ) -> None:
        return

    def advance(self, *, size_bytes: int = 0, files: int = 0) -> None:
        return

    def finish(self) -> None:
        return

    def warn(self, message: str) -> None:
        return

    def print_line(self, line: str) -> None:
        return
