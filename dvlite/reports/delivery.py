"""Where the reports of a verification go: files, the job summary of GitHub Actions, annotations in its log.

Reads no environment and writes nothing to a stream: it is told where to, and returns the lines that are for one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import UsageError
from dvlite.files import os_error, quote, write_atomic
from dvlite.reports.annotations import annotate
from dvlite.reports.junit import junit
from dvlite.reports.markdown import markdown
from dvlite.reports.markup import SUMMARY
from dvlite.reports.page import page
from dvlite.results.verify import VerifyResult

HERE = "-"  # the name of standard output


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which reports are wanted, each with its file; `markdown` empty: into the job summary if there is one, else standard output."""

    junit: str | None = None
    html: str | None = None
    markdown: str | None = None
    summary: str | None = None  # the file of the job summary
    annotations: bool = False

    @property
    def prints_markdown(self) -> bool:
        """Says whether Markdown takes the place of the result on standard output."""
        return self.markdown == HERE or (self.markdown == "" and not self.summary)


def require_places(wanted: Wanted) -> None:
    """Makes the folders of the reports, before a long run that ends in one; raises UsageError for a name that cannot be a report's."""
    for flag, name in (("--junit", wanted.junit), ("--html", wanted.html), ("--md", wanted.markdown)):
        if not name or (flag == "--md" and name == HERE):
            continue
        if flag == "--md" and not name.lower().endswith((".md", ".markdown")):
            raise UsageError(  # `--md model.bin` would else replace a file that was to be verified
                f"--md takes a file whose name ends in .md, not {quote(name)}",
                hint="for a path or a stage, write it first: dvlite verify PATH --md",
            )
        path = Path(name)
        if path.is_dir():
            raise UsageError(f"{flag}: {quote(name)} is a folder", hint="give the file to write")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise os_error(error, "write", name) from error


def deliver(result: VerifyResult, wanted: Wanted) -> Iterator[str]:
    """Writes all reports, then yields the lines of annotations, which are for the log."""
    if wanted.junit is not None:
        write_atomic(Path(wanted.junit), junit(result), sync=False)
    if wanted.html is not None:
        write_atomic(Path(wanted.html), page(result).encode(), sync=False)
    if wanted.markdown is not None and not wanted.prints_markdown:
        if wanted.markdown:
            write_atomic(Path(wanted.markdown), markdown(result).encode(), sync=False)
        elif wanted.summary:
            _append(wanted.summary, result)
    if wanted.annotations:
        yield from annotate(result)


def _append(name: str, result: VerifyResult) -> None:
    """Adds to the job summary, within what is left of its limit: above it, GitHub shows none at all."""
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "ab") as file:
            file.write(markdown(result, limit_bytes=SUMMARY - file.tell() - 1).encode() + b"\n")
    except OSError as error:
        raise os_error(error, "write", name) from error
