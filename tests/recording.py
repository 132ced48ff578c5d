"""A progress that keeps what is reported, for tests to read."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class RecordingProgress:
    """Keeps all that is reported."""

    phases: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    size_bytes: int = 0
    files: int = 0

    def start(
        self, label: str, *, total_bytes: int | None = None, total_files: int | None = None, noun: str = "file"
    ) -> None:
        self.phases.append(label)

    def advance(self, *, size_bytes: int = 0, files: int = 0) -> None:
        self.size_bytes += size_bytes
        self.files += files

    def finish(self) -> None:
        return

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def print_line(self, line: str) -> None:
        self.lines.append(line)
