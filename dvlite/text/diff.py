"""The words of `diff`: one line per file, with `--stat` one per tracked path."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.formats.delta_log import is_of_table
from dvlite.show import Show, count, printable, size_text
from dvlite.text import delta
from dvlite.text.style import delta_text, table
from dvlite.workspace.changes import FileChange, counts_text

_MOST_MOVED = 4  # files of one folder moved to another: more are one line

SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "modified": ("~", "yellow"), "renamed": (">", "cyan")}


def text(result: DiffResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if not result.paths and not result.warnings and not show.quiet:
        yield f"No data differs between {printable(result.old)} and {printable(result.new)}."
    for path in result.paths:
        yield _summary(path, show)
        if path.incomplete is not None:
            yield f"  files not listed: {path.incomplete}"
        for table_change in path.tables:
            name = "" if table_change.path == path.path else f" {_inside(table_change.path, path.path)}"
            yield f"  Delta table{name}: {delta.heading(table_change)}"
            yield from (f"  {line}" for line in delta.lines(table_change, show))
        files = path.files if show.verbose else _without_tables(path)
        for change, moved in _folded(files, most=_MOST_MOVED if not show.verbose else len(files)):
            yield "  " + (_folder(change, moved, path, show) if moved > 1 else file_line(change, path.path, show))
        if len(files) < len(path.files):
            yield f"  {count(len(path.files) - len(files), 'file')} of the table, all of them with -v"


def stat(result: DiffResult, show: Show) -> Iterator[str]:
    """Yields one line for each tracked path, with what happened to a Delta table, else the endings that most of its changes have."""
    yield from table(
        (
            show.path(path.path),
            counts_text(path.counts, wide=True),
            sizes_text(path),
            "; ".join(map(delta.heading, path.tables)) or _endings(path),
        )
        for path in result.paths
    )


def _without_tables(path: PathDiff) -> Sequence[FileChange]:
    """Returns the files that differ but for those of Delta tables whose commits say what happened."""
    folders = tuple(f"{change.path}/" for change in path.tables if change.problem is None)
    return [
        change
        for change in path.files
        if not change.path.startswith(folders) or not is_of_table(os.fsencode(change.path))
    ]


def _summary(path: PathDiff, show: Show) -> str:
    parts = [show.bold(show.path(path.path)), counts_text(path.counts) or "changed", sizes_text(path)]
    return "  ".join(part for part in parts if part)


def sizes_text(path: PathDiff, *, is_markdown: bool = False) -> str:
    """Returns the sizes of a tracked path before and after."""
    old, new = path.old_size_bytes, path.size_bytes
    if old is None:
        return "" if new is None else f"new, {size_text(new)}"
    if new is None:
        return f"gone, was {size_text(old)}"
    if old == new:
        return size_text(new)
    if is_markdown:
        return f"{size_text(old)} → {size_text(new)} ({delta_text(new - old)})"
    return f"{size_text(old)} -> {size_text(new)}"


def file_line(change: FileChange, tracked: str, show: Show) -> str:
    """Returns the line of one file, with its name inside the tracked path."""
    sign, color = SIGNS[change.change]
    name = show.path(change.path) if change.path == tracked else _inside(change.path, tracked)
    if change.old_path is not None:
        name = f"{_inside(change.old_path, tracked)} -> {name}"
    return show.style(color, f"{sign} {name}") + _details(change)


def _folded(files: Sequence[FileChange], *, most: int) -> Iterator[tuple[FileChange, int]]:
    """Yields the changes; of more than `most` files that went from one folder to another under their names, the first, and how many they are."""
    moves = {change.path: _move(change) for change in files}
    sizes = Counter(moves.values())
    shown = set()
    for change in files:
        move = moves[change.path]
        if move is None or sizes[move] <= most:
            yield change, 1
        elif move not in shown:
            shown.add(move)
            yield change, sizes[move]


def _move(change: FileChange) -> tuple[str, str] | None:
    """Returns the folders between which a file was moved, if nothing else about it changed."""
    old, new = posixpath.split(change.old_path or ""), posixpath.split(change.path)
    return (
        (old[0], new[0]) if change.old_path is not None and old[1] == new[1] and not change.executable_changed else None
    )


def _folder(change: FileChange, moved: int, path: PathDiff, show: Show) -> str:
    sign, color = SIGNS[change.change]
    old, new = (
        _inside(f"{posixpath.dirname(name)}/", path.path) or "./" for name in (change.old_path or "", change.path)
    )
    return show.style(color, f"{sign} {old} -> {new}") + f"  {count(moved, 'file')}, all of them with -v"


def _details(change: FileChange) -> str:
    old, new = change.old_size_bytes, change.size_bytes
    details = []
    if old is not None and new is not None:
        details.append(f"{size_text(new)} ({delta_text(new - old)})" if old != new else size_text(new))
    else:
        details += [size_text(size) for size in (old, new) if size is not None]
    if change.old_kind is not None and change.old_kind != change.kind:
        details.append(f"{change.old_kind} -> {change.kind}")
    if change.executable_changed:
        details.append("x bit changed")
    return "  " + ", ".join(details) if details else ""


def _inside(path: str, tracked: str) -> str:
    """Returns a file's name inside its tracked path; a tracked file is its own name."""
    return printable(path.removeprefix(tracked + "/"))


def _endings(path: PathDiff) -> str:
    endings = Counter((SIGNS[change.change][0], PurePosixPath(change.path).suffix) for change in path.files)
    shown = [
        f"{sign}{count(number)} {printable(ending) or 'without ending'}"
        for (sign, ending), number in endings.most_common(3)
    ]
    return "  ".join(shown) if len(path.files) > 1 else ""
