"""The only module that writes to a terminal: results as text or JSON, errors, warnings and progress. Owns the package rich.

Results go to standard output, everything else to standard error. The text of a result comes from `text`, which --json does not load.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import posixpath
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TextIO

from dvlite.errors import DvliteError
from dvlite.files import os_error
from dvlite.show import Show, count, duration_text, one_line, printable, size_text

if TYPE_CHECKING:
    from rich.live import Live  # costs 20 ms: only a phase of a second or more pays it

_SHOWN_AFTER_SECONDS = 1.0  # a shorter phase would only flicker
_REDRAW_SECONDS = 0.2
_LOOK_SECONDS = 1.0  # at what runs now
_LINE_EVERY_SECONDS = 30.0  # off a terminal
_RATE_SECONDS = 15.0  # the rate is that of the last seconds
EXIT_BUG = 70
_BUG_HINT = (
    "please report it with the output of: dvlite doctor\nto see where it happened, run the command again with -v"
)
_ESCAPES = re.compile(
    r"\x1b(?:(\[[0-9;:]*m)|\[[0-?]*[ -/]*[@-~]|\][^\x1b]*(?:\x1b\\)?|.|$)"
)  # the first group: colours
_UNDECODABLE = re.compile("[\udc80-\udcff]")
Words = Callable[[Any, Show], Iterable[str]]


@dataclass(frozen=True, slots=True)
class TerminalOptions:
    """The common flags."""

    quiet: bool = False
    verbose: int = 0
    json: bool = False
    progress: bool = True
    color: str = "auto"  # auto, always, never


class Terminal:
    """The two streams of one run of the program."""

    def __init__(self, settings: TerminalOptions, environ: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> None:
        self.settings = settings
        self._stdout, self._stderr = stdout, stderr
        self._colors = {id(stream): wants_color(stream, settings.color, environ) for stream in (stdout, stderr)}
        self._environ, self._pages = environ, False
        self._animates = not stderr.closed and stderr.isatty() and environ.get("TERM") != "dumb"
        self._in_actions = environ.get("GITHUB_ACTIONS") == "true"
        self._warned: set[str] = set()

    def progress(self, *, to_stderr: bool = False) -> TerminalProgress:
        """Returns the progress display of this run; a context manager that clears it on exit.

        `to_stderr`: among the lines of git, where warnings are notes.
        """
        wanted = self.settings.progress and not self.settings.quiet
        warn = self.note if to_stderr else self.warning
        return TerminalProgress(
            self._stderr, warn, animate=self._animates, silent=not wanted, in_actions=self._in_actions
        )

    def use_pager(self) -> None:
        """Lets text of results go through the user's pager if standard output is a terminal, and shows less than all of it."""
        self._pages = self._is_screen()

    def _is_screen(self) -> bool:
        return not self._stdout.closed and self._stdout.isatty() and self._environ.get("TERM") != "dumb"

    def result(
        self, result: Any, text: str | Words, form: str = "text", *, root: str | None = None, to_stderr: bool = False
    ) -> DvliteError | None:
        """Prints a result and its warnings; returns the error that the run ends with, if it is incomplete.

        `text`: the module of `dvlite.text` that formats it, and `form` the function in it; or the function itself.
        `to_stderr`: standard output belongs to git.
        """
        for warning in _warnings(result):
            (self.note if to_stderr else self.warning)(warning)
        stream = self._stderr if to_stderr else self._stdout
        folder = None if root is None else posixpath.relpath(os.path.realpath(os.curdir), root)
        unicode = str(stream.encoding).lower().replace("-", "") in {"utf8", "none"}  # None: text in memory
        if not unicode and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may have any letter
        show = Show(self._colors[id(stream)], self.settings.quiet, self.settings.verbose, folder, unicode)
        if self.settings.json:
            self._stdout.write(to_json(result) + "\n")
        else:
            words: Words = text if callable(text) else getattr(importlib.import_module(f"dvlite.text.{text}"), form)
            lines = words(result, show)
            whole = (f"{line}\n" for line in (map(_no_command, lines) if self._in_actions else lines))
            if self._pages and not to_stderr:
                from dvlite.cli import pager  # only a terminal pays it

                pager.write(whole, stream, self._environ)
            else:
                stream.writelines(whole)
        self._stdout.flush()
        failure: DvliteError | None = result.failure(show) if hasattr(result, "failure") else None
        return failure

    def watch(self, look: Callable[[], Any], text: str) -> None:
        """Draws the text of what `look` returns until Ctrl-C, once a second; only on a terminal, and not with --json."""
        if self.settings.json or not self._is_screen():
            return
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        words: Words = importlib.import_module(f"dvlite.text.{text}").text
        show = Show(self._colors[id(self._stdout)], self.settings.quiet, self.settings.verbose)
        console = Console(file=self._stdout, force_terminal=True, no_color=not show.color)
        with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                lines = "\n".join(words(look(), show))
                live.update(Text.from_ansi(lines, no_wrap=True, overflow="ellipsis"), refresh=True)
                time.sleep(_LOOK_SECONDS)

    def warning(self, message: str) -> None:
        """Prints a warning, once."""
        if message not in self._warned:
            self._warned.add(message)
            self._note("warning", "yellow", message)

    def note(self, message: str) -> None:
        """Prints a warning as a note, among the lines of git."""
        self._stderr.write(f"dvlite: note: {one_line(message)}\n")

    def failure(self, error: Exception) -> int:
        """Prints an error and returns its exit code; an unexpected exception is reported as a bug."""
        report = _as_report(error)
        if report is None:
            report = DvliteError(f"unexpected {type(error).__name__}: {error} (a bug in dvlite)", hint=_BUG_HINT)
            report.exit_code = EXIT_BUG
            if self.settings.verbose:
                import traceback

                self.plain("".join(traceback.format_exception(error)).rstrip())
        if self.settings.json:
            self._stderr.write(
                to_json({"error": report.message, "hint": report.hint, "exit_code": report.exit_code}) + "\n"
            )
        else:
            self._note("error", "red", report.message)
            for line in (report.hint or "").splitlines():
                self._note("hint", "cyan", line)
        self._stderr.flush()
        return report.exit_code

    def plain(self, text: str) -> None:
        """Prints text for people on standard error as it is (a traceback, `interrupted`)."""
        self._stderr.write(text + "\n")
        self._stderr.flush()

    def ask(self, question: str) -> None:
        """Prints a question without ending the line."""
        self._stderr.write(one_line(question) + " ")
        self._stderr.flush()

    def _note(self, label: str, color: str, message: str) -> None:
        show = Show(self._colors[id(self._stderr)])
        self._stderr.write(f"{show.style(color, label + ':')} {one_line(message)}\n")


def wants_color(stream: TextIO, choice: str, environ: Mapping[str, str]) -> bool:
    """Returns whether a stream gets colours: by the flag, else NO_COLOR (no-color.org), else if it is a terminal."""
    if choice != "auto":
        return choice == "always"
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and not stream.closed and stream.isatty()


def to_json(result: Any) -> str:
    r"""Returns a result as one line of JSON, `schema` first; a field with the metadata `json=False` is for its text only.

    A byte of a name that is not UTF-8 is written as U+0000 and two hex digits, which no name can contain: the text stays valid
    for every JSON reader, and `re.sub("\0(..)", ...)` gets the name back.
    """
    import json  # 1 ms that only --json pays

    return json.dumps(_plain(result), separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else _UNDECODABLE.sub(_escape_byte, value)
    if dataclasses.is_dataclass(value):
        schema = getattr(value, "schema", None)
        fields: dict[str, Any] = {} if schema is None else {"schema": schema}
        for field in dataclasses.fields(value):
            if not field.metadata.get("json", True):
                continue
            inner = getattr(value, field.name)
            fields |= _plain(inner) if getattr(inner, "INLINE", False) else {field.name: _plain(inner)}
        return fields
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _escape_byte(match: re.Match[str]) -> str:
    return f"\0{ord(match[0]) - 0xDC00:02x}"


def _as_report(error: Exception) -> DvliteError | None:
    """Returns an error to show to the user, or None for a bug."""
    if isinstance(error, DvliteError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename
        if isinstance(name, (str, bytes)):
            return os_error(error, "use", os.fsdecode(name))
        try:
            os.getcwd()
        except OSError:
            return DvliteError("the current folder does not exist any more", hint="cd into a folder that does")
        return DvliteError(f"cannot continue: {error.strerror}")
    return None


def _warnings(result: Any) -> Iterator[str]:
    """Yields the warnings of a result and of the results inside it."""
    yield from getattr(result, "warnings", ())
    for field in dataclasses.fields(result):
        inner = getattr(result, field.name)
        if hasattr(inner, "schema") or hasattr(inner, "INLINE"):
            yield from _warnings(inner)


def _no_command(line: str) -> str:
    """Returns a line that GitHub does not run as a command of the log (`::error::`, and `##[...]` anywhere): a `'` makes it text."""
    return (f"'{line}" if line.lstrip().startswith("::") else line).replace("##[", "##'[")


def _safe_line(line: str, *, in_actions: bool = False) -> str:
    """Returns a line of another program that is safe to print: colours stay, other escape sequences go, nor is it a command `in_actions`."""
    if in_actions:
        line = _no_command(line)
    if line.isprintable():
        return line
    kept = "".join(c if c.isprintable() or c in "\t\x1b" else printable(c) for c in line)
    return _ESCAPES.sub(lambda match: match[0] if match[1] else "", kept)


class TerminalProgress:
    """Draws the running phase: one line that is redrawn on a terminal, elsewhere a plain line every 30 s.

    `advance` only adds, under a lock (0.25 us); a thread draws, so that a stalled transfer shows too.
    """

    def __init__(
        self,
        stream: TextIO,
        warn: Callable[[str], None],
        *,
        animate: bool,
        silent: bool = False,
        in_actions: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._warn, self._clock = stream, warn, clock
        self._animate, self._silent, self._in_actions = animate, silent, in_actions
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._ticker: threading.Thread | None = None
        self._live: Live | None = None
        self._label = ""  # empty: no phase is running
        self._total_bytes: int | None = None
        self._total_files: int | None = None
        self._noun = "file"
        self._bytes = self._files = 0
        self._began = self._said = clock()
        self._samples: deque[tuple[float, int, int]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self.finish()

    def start(
        self, label: str, *, total_bytes: int | None = None, total_files: int | None = None, noun: str = "file"
    ) -> None:
        with self._lock:
            if self._live is not None:
                self._erase(self._live)
            self._label = one_line(label)
            self._total_bytes, self._total_files, self._noun = total_bytes, total_files, noun
            self._bytes = self._files = 0
            self._began = self._clock()
            self._samples.clear()
            self._samples.append((self._began, 0, 0))
            if self._ticker is None and not self._silent:
                self._ticker = threading.Thread(target=self._keep_ticking, name="progress", daemon=True)
                self._ticker.start()

    def advance(self, *, size_bytes: int = 0, files: int = 0) -> None:
        with self._lock:
            self._bytes += size_bytes
            self._files += files

    def finish(self) -> None:
        with self._lock:
            if self._live is not None:
                self._erase(self._live)
            self._label = ""

    def warn(self, message: str) -> None:
        with self._lock:
            if self._live is not None:
                self._erase(self._live)
            self._warn(message)

    def print_line(self, line: str) -> None:
        if self._silent:
            return
        with self._lock:
            if self._live is not None:
                self._erase(self._live)
            self._said = self._clock()
            self._stream.write(_safe_line(line, in_actions=self._in_actions) + "\n")
            self._stream.flush()

    def tick(self) -> None:
        """Draws the phase if it is due."""
        if self._animate and self._clock() - self._began >= _SHOWN_AFTER_SECONDS:
            import rich.live  # noqa: F401  # loaded here, so that no thread that advances waits for it
        with self._lock:
            now = self._clock()
            if not self._label or self._silent or self._closed.is_set():
                return
            self._sample(now)
            if self._animate and now - self._began >= _SHOWN_AFTER_SECONDS:
                self._draw(self._line(now))
            elif not self._animate and now - self._said >= _LINE_EVERY_SECONDS:
                self._said = now
                self._stream.write(self._line(now) + "\n")
                self._stream.flush()

    def _keep_ticking(self) -> None:
        interval = _REDRAW_SECONDS if self._animate else 1.0
        while not self._closed.wait(interval):
            try:
                self.tick()
            except (OSError, ValueError):  # standard error is gone: the work goes on
                return

    def _draw(self, line: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        text = Text(line, no_wrap=True, overflow="ellipsis", end="")
        if self._live is None:
            console = Console(file=self._stream, force_terminal=True, force_jupyter=False, color_system=None)
            self._live = Live(
                text, console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._live.update(text, refresh=True)

    def _erase(self, live: Live) -> None:
        live.stop()
        self._live = None

    def _sample(self, now: float) -> None:
        self._samples.append((now, self._bytes, self._files))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _RATE_SECONDS:
            self._samples.popleft()

    def _line(self, now: float) -> str:
        """Returns the state of the phase: `pushing origin  12.1/48.9 GiB  1,204 files  119.0 MiB/s  5m17s left`."""
        then, bytes_then, files_then = self._samples[0]
        seconds = max(now - then, 1e-9)
        byte_rate, file_rate = (self._bytes - bytes_then) / seconds, (self._files - files_then) / seconds
        parts = [self._label]
        if (
            self._total_bytes and self._bytes >= self._total_bytes
        ):  # what was read is written to disk, or the store acknowledges it
            return f"{self._label}  {size_text(self._total_bytes)}  finishing"
        if self._bytes or self._total_bytes:
            parts.append(_of_size(self._bytes, self._total_bytes))
        if self._files or (self._total_files or 0) > 1:
            of = f"/{self._total_files:,}" if self._total_files and not self._total_bytes else ""
            parts.append(f"{self._files:,}{of} {self._noun}s" if of else count(self._files, self._noun))
            if self._noun != "file" and file_rate >= 0.1:
                parts.append(f"{file_rate:,.0f}/s" if file_rate >= 10 else f"{file_rate:.1f}/s")
        if byte_rate >= 1:
            parts.append(f"{size_text(round(byte_rate))}/s")
        left = _seconds_left(self._bytes, self._total_bytes, byte_rate)
        if left is None and not self._total_bytes:
            left = _seconds_left(self._files, self._total_files, file_rate)
        if left is not None:
            parts.append(f"{duration_text(left)} left")
        return "  ".join(parts)


def _seconds_left(done: int, total: int | None, rate: float) -> float | None:
    return None if not total or rate <= 0 or done >= total else (total - done) / rate


def _of_size(done: int, total: int | None) -> str:
    """Returns `31.2/50.3 GiB`, in the unit of the total."""
    if not total:
        return size_text(done)
    whole = size_text(total)
    number, unit = whole.split(" ")
    scale = 1024 ** ("B", "KiB", "MiB", "GiB", "TiB", "PiB").index(unit)
    return f"{done / scale:.1f}/{whole}" if scale > 1 else f"{done}/{number} {unit}"
