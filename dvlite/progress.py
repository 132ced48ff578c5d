"""How long operations report what they do. The library gets one of these last; only `render` draws it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class Progress(Protocol):
    """Receives the advance of one phase at a time; calls may come from any thread."""

    def start(self, label: str, *, total_bytes: int | None = None, total_files: int | None = None) -> None:
        """Begins a phase (`adding data/images`), ending the one before."""

    def advance(self, *, size_bytes: int = 0, files: int = 0) -> None:
        """Adds to the counters of the running phase."""

    def finish(self) -> None:
        """Ends the running phase."""

    def warn(self, message: str) -> None:
        """Tells the user of something that did not stop the operation."""

    def tell(self, line: str) -> None:
        """Shows a line of what is going on: what begins, and what a stage's command prints."""


class NullProgress:
    """Says nothing."""

    def start(self, label: str, *, total_bytes: int | None = None, total_files: int | None = None) -> None:
        return

    def advance(self, *, size_bytes: int = 0, files: int = 0) -> None:
        return

    def finish(self) -> None:
        return

    def warn(self, message: str) -> None:
        return

    def tell(self, line: str) -> None:
        return


@dataclass(slots=True)
class RecordingProgress:
    """Keeps what it was told, for tests."""

    phases: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    size_bytes: int = 0
    files: int = 0

    def start(self, label: str, *, total_bytes: int | None = None, total_files: int | None = None) -> None:
        self.phases.append(label)

    def advance(self, *, size_bytes: int = 0, files: int = 0) -> None:
        self.size_bytes += size_bytes
        self.files += files

    def finish(self) -> None:
        return

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def tell(self, line: str) -> None:
        self.lines.append(line)
