"""Writes reports: files; those of a verification also to the job summary of GitHub Actions, annotations in its log.

Reads no environment and writes to no stream: the caller passes the places, and prints the lines that are returned.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dvlite.commands.check import CheckResult
from dvlite.commands.verify import VerifyResult
from dvlite.errors import UsageError
from dvlite.files import os_error, temporary_name, write_atomic
from dvlite.reports.annotations import annotate
from dvlite.reports.junit import junit
from dvlite.reports.page import page
from dvlite.reports.verify_markdown import checks_markdown, markdown
from dvlite.show import quote
from dvlite.text.markdown import COMMENT, SUMMARY

HERE = "-"  # the name of standard output
Reported = VerifyResult | CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """The requested reports, each with its file; `markdown` empty: into the job summary if there is one, else standard output."""

    junit: str | None = None
    html: str | None = None
    markdown: str | None = None
    summary: str | None = None  # the file of the job summary
    annotations: bool = False

    def named(self) -> Iterator[tuple[str, str]]:
        """Yields each report that goes to a file or to standard output: its flag, its name."""
        instead = None if self.summary else HERE
        own = instead if self.markdown == "" else self.markdown
        for flag, name in (("--junit", self.junit), ("--html", self.html), ("--md", own)):
            if name is not None:
                yield flag, name

    @property
    def printed(self) -> list[str]:
        """Returns the flags of the reports that take the place of the result on standard output."""
        return [flag for flag, name in self.named() if name == HERE]


def _document(flag: str, result: Reported) -> bytes:
    """Returns a report of a verification, or of checks."""
    if flag == "--html":
        assert isinstance(result, VerifyResult)  # `check` has no such flag
        return page(result).encode()
    return junit(result) if flag == "--junit" else _markdown(result, COMMENT).encode()


def _markdown(result: Reported, limit_bytes: int) -> str:
    if isinstance(result, CheckResult):
        return checks_markdown(result, limit_bytes=limit_bytes)
    return markdown(result, limit_bytes=limit_bytes)


def printed(result: Reported, wanted: ReportOptions) -> Iterator[str]:
    """Yields the lines of the report that is for standard output."""
    for flag in wanted.printed:
        yield from _document(flag, result).decode().splitlines()


def require_places(wanted: ReportOptions, *, with_json: bool) -> None:
    """Creates the folders of the reports and tries to write there, before a long run.

    Raises UsageError for an invalid name, and for two reports with the same name.
    """
    flags = [*wanted.printed, *(["--json"] if with_json else [])]
    if len(flags) > 1:
        raise UsageError(f"{' and '.join(flags)} both write to standard output", hint=f"give a file: {flags[0]} FILE")
    places: dict[str, str] = {}
    for flag, name in wanted.named():
        if name == HERE:
            continue
        _require_name(flag, name)
        place = os.path.realpath(name)
        if place in places:
            raise UsageError(f"{places[place]} and {flag} both write {quote(name)}", hint="give each a file of its own")
        places[place] = flag
        if not _is_device(name):
            _try(name, Path(place).parent)


def _require_name(flag: str, name: str) -> None:
    if flag == "--md" and not name.lower().endswith((".md", ".markdown")):
        raise UsageError(  # `--md model.bin` would replace a file that should be verified
            f"--md takes a file whose name ends in .md, not {quote(name)}",
            hint="for a path or a stage, write it first: dvlite verify PATH --md",
        )
    if os.path.isdir(name) or name.endswith("/"):
        raise UsageError(f"{flag}: {quote(name)} is a folder", hint="give the file to write")


def _is_device(name: str) -> bool:
    """Returns whether a name is that of a pipe or a device, which is written to and never replaced."""
    try:
        return not stat.S_ISREG(os.stat(name).st_mode)
    except OSError:
        return False


def _try(name: str, folder: Path) -> None:
    """Creates a folder if it is missing and a temporary file in it; raises DvliteError if that is not possible."""
    trial = folder / temporary_name()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise os_error(error, "write", name) from error


def deliver(result: Reported, wanted: ReportOptions) -> Iterator[str]:
    """Writes all reports, then yields the lines of annotations, which are for the log."""
    for flag, name in wanted.named():
        if name != HERE:
            replace_file(name, _document(flag, result))
    if wanted.markdown == "" and wanted.summary:
        _append(wanted.summary, result)
    if wanted.annotations and isinstance(result, VerifyResult):
        yield from annotate(result)


def replace_file(name: str, content: bytes) -> None:
    """Replaces a file, or the target of a symbolic link; writes to a pipe or a device."""
    if not _is_device(name):
        write_atomic(Path(os.path.realpath(name)), content, sync=False)
        return
    try:
        Path(name).write_bytes(content)
    except OSError as error:
        raise os_error(error, "write", name) from error


def _append(name: str, result: Reported) -> None:
    """Appends to the job summary, within the rest of its limit: above it, GitHub shows nothing."""
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "ab") as file:
            file.write(_markdown(result, SUMMARY - file.tell() - 1).encode() + b"\n")
    except OSError as error:
        raise os_error(error, "write", name) from error
