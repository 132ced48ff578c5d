"""The words of `ls`: plain names, so that other programs can read them; sizes with `-l`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.ls import LsEntry, LsResult
from dvlite.show import Show, count, printable, short_oid, size_text

_MARKS = {"directory": "/", "empty-dir": "/", "symlink": "@", "file": ""}


def text(result: LsResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for entry in result.entries:
        yield _long(entry, show) if result.long else show.path(entry.path) + (_MARKS[entry.kind] if show.color else "")


def _long(entry: LsEntry, show: Show) -> str:
    size = "" if entry.size_bytes is None else size_text(entry.size_bytes)
    files = "" if entry.files is None or entry.kind != "directory" else count(entry.files, "file")
    oid = "" if entry.oid is None else short_oid(entry.oid)
    mark = "*" if entry.executable else _MARKS[entry.kind]
    link = f" -> {printable(entry.target)}" if entry.target is not None else ""
    return f"{size:>10}  {files:>13}  {oid:8}  {show.path(entry.path)}{mark}{link}"
