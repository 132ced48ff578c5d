"""The words of `diff`: one line per file, or with `--stat` one per tracked path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.files import printable, size_text
from dvlite.text.style import Show, count, counts_text, delta_text, table
from dvlite.workspace.changes import FileChange

_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "modified": ("~", "yellow"), "renamed": (">", "cyan")}


def text(result: DiffResult, show: Show) -> Iterator[str]:
    """Yields what people read."""
    for path in result.paths:
        yield _summary(path, show)
        if path.incomplete is not None:
            yield f"  files not listed: {path.incomplete}"
        for change in path.files:
            yield "  " + _change(change, path, show)


def stat(result: DiffResult, show: Show) -> Iterator[str]:
    """Yields one line for each tracked path, with the endings that most of its changes have."""
    yield from table(
        (show.path(path.path), counts_text(path.counts, wide=True), _sizes(path), _endings(path))
        for path in result.paths
    )


def _summary(path: PathDiff, show: Show) -> str:
    parts = [show.bold(show.path(path.path)), counts_text(path.counts) or "changed", _sizes(path)]
    return "  ".join(part for part in parts if part)


def _sizes(path: PathDiff) -> str:
    if path.old_size_bytes is None:
        return "" if path.size_bytes is None else f"new, {size_text(path.size_bytes)}"
    if path.size_bytes is None:
        return f"gone, was {size_text(path.old_size_bytes)}"
    if path.old_size_bytes == path.size_bytes:
        return size_text(path.size_bytes)
    return f"{size_text(path.old_size_bytes)} -> {size_text(path.size_bytes)}"


def _change(change: FileChange, path: PathDiff, show: Show) -> str:
    sign, color = _SIGNS[change.change]
    name = _inside(change.path, path.path)
    if change.old_path is not None:
        name = f"{_inside(change.old_path, path.path)} -> {name}"
    return show.style(color, f"{sign} {name}") + _details(change)


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
    endings = Counter((_SIGNS[change.change][0], PurePosixPath(change.path).suffix) for change in path.files)
    shown = [
        f"{sign}{count(number)} {printable(ending) or 'without ending'}"
        for (sign, ending), number in endings.most_common(3)
    ]
    return "  ".join(shown) if len(path.files) > 1 else ""
