"""The words of `log`: a line for each version of a path, newest first."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.log import LogChanges, LogResult, LogVersion
from dvlite.show import Show, count, printable, short_oid, size_text, some
from dvlite.text import delta, diff, diff_rows
from dvlite.text.lineage_tree import short_values
from dvlite.text.style import table
from dvlite.workspace.delta_changes import DeltaChange

_COMMIT = 7  # hex digits, as git shows them


def text(result: LogResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if not result.versions:
        if not show.quiet:
            yield f"no commit names {show.path(result.path)} yet"
        return
    rows = [_row(version, result.path, show) for version in result.versions]
    head = ("DATE", "COMMIT", "SIZE", "FILES", "OID", "RUN", "SWEEP", "RESULT", "TABLE", "CHECKS", "SUBJECT", "AUTHOR")
    used = [i for i in range(len(head)) if any(row[i] for row in rows)]
    title, *lines = table([[row[i] for i in used] for row in (head, *rows)])
    yield title
    for version, line in zip(result.versions, lines, strict=True):
        yield line
        if version.changes is not None:
            yield from (f"  {line}" for line in _changes(version.changes, version.path, show))
    if result.more and not show.quiet:
        yield "... older versions: -n"


def _changes(changes: LogChanges, path: str, show: Show) -> Iterator[str]:
    """Yields the rows and the files that a version changed."""
    for rows in changes.rows:
        yield from diff_rows.lines(rows, show)
    yield from (diff.file_line(change, path, show) for change in changes.files)
    if changes.more:
        yield f"{count(changes.more, 'more file')}; all with --limit 0"
    if changes.problem is not None:
        yield changes.problem


def _row(version: LogVersion, path: str, show: Show) -> tuple[str, ...]:
    commit = version.commit
    subject = printable(commit.subject or "")
    if version.path != path:
        subject += f" (as {show.path(version.path)})"
    gone = version.oid is None
    return (
        printable((commit.time or "")[:16].replace("T", " ")),
        printable(commit.commit[:_COMMIT]),
        "" if version.size_bytes is None else size_text(version.size_bytes),
        "" if version.files is None else f"{version.files:,}",
        "removed" if gone else short_oid(version.oid or ""),
        printable(version.run_name or ""),
        printable(version.sweep),
        short_values(version.metrics),
        "" if version.table is None else _table(version.table),
        _checks(version),
        subject,
        printable(commit.author or ""),
    )


def _table(change: DeltaChange) -> str:
    """Returns `version 5, +1,200 rows, WRITE (Append)`."""
    if change.version is None:
        return ""
    return ", ".join(filter(None, (f"version {change.version:,}", delta.rows(change), delta.operations(change))))


def _checks(version: LogVersion) -> str:
    """Returns how its checks ended: the names of those that failed, else how many passed."""
    failed = [check.check for check in version.checks if not check.passed]
    if failed:
        return f"failed: {some([printable(name) for name in failed])}"
    return f"{len(version.checks):,} passed" if version.checks else ""
