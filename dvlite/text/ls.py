"""The words of `ls`: plain names, so that other programs can read them; sizes with `-l`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.ls import LsEntry, LsResult, SnapshotEntry, SnapshotsResult
from dvlite.show import Show, count, printable, short_oid, size_text

_MARKS = {"directory": "/", "empty-dir": "/", "symlink": "@", "file": ""}


def text(result: LsResult | SnapshotsResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, SnapshotsResult):
        yield from (_snapshot(entry) for entry in result.snapshots)
        return
    for entry in result.entries:
        yield (
            _long(entry, show, names_keeper=result.source is not None)
            if result.long
            else show.path(entry.path) + (_MARKS[entry.kind] if show.color else "")
        )


def _snapshot(entry: SnapshotEntry) -> str:
    amount, commit = count(entry.count, "version"), entry.commit[:8]
    return f"{entry.snapshot[:8]}  {printable(entry.time):20}  {commit:8}  {amount:>13}  {printable(entry.user)}"


def _long(entry: LsEntry, show: Show, *, names_keeper: bool) -> str:
    size = "" if entry.size_bytes is None else size_text(entry.size_bytes)
    files = "" if entry.files is None or entry.kind != "directory" else count(entry.files, "file")
    oid = "" if entry.oid is None else short_oid(entry.oid)
    mark = "*" if entry.executable else _MARKS[entry.kind]
    link = f" -> {printable(entry.target)}" if entry.target is not None else ""
    keeper = f"{entry.kept_by:6}  " if names_keeper else ""
    return f"{size:>10}  {files:>13}  {oid:8}  {keeper}{show.path(entry.path)}{mark}{link}"
