"""Sizes, counts of changes, values and columns as text. Knows no result type and no stream."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dvlite.show import DIGITS, Show, count, printable, size_text, value_text

if TYPE_CHECKING:
    from dvlite.formats.source import ImportSource
    from dvlite.workspace.changes import Counts
    from dvlite.workspace.restore import CheckedOutPath


def delta_text(delta_bytes: int) -> str:
    """Returns by how much something grew or shrank: `+161.0 MiB`, `-3 B`."""
    return ("-" if delta_bytes < 0 else "+") + size_text(abs(delta_bytes))


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> Iterable[str]:
    """Yields rows as aligned columns, two spaces apart, nothing after the last one."""
    kept = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    for row in kept:
        yield indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def growth_text(counts: Counts) -> str:
    """Returns by how much the whole grew, or nothing if it did not."""
    return delta_text(counts.delta_bytes) if counts.delta_bytes else ""


def amount_text(files: int, size_bytes: int) -> str:
    """Returns `384,211 files, 50.3 GiB`."""
    return f"{count(files, 'file')}, {size_text(size_bytes)}"


def change_text(change: float) -> str:
    """Returns by how much a number changed, with its sign: `+0.019`."""
    return f"{change:+d}" if isinstance(change, int) else f"{change:+.{DIGITS}g}"


def sparkline(values: Sequence[float], *, unicode: bool, width: int = 24, height: int = 1) -> list[str]:
    """Returns values as lines of blocks, at most `width`, from the least to the greatest; a gap where none is finite.

    A block stands for the last of its values, or for the least or the greatest of all if it has that: no peak is lost.
    """
    blocks = "▁▂▃▄▅▆▇█" if unicode else "_.:-=+*#"
    finite = [value for value in values if math.isfinite(value)]
    least, greatest = min(finite, default=0.0), max(finite, default=0.0)
    span = greatest / 2 - least / 2  # halves: the difference of two floats may be too large for one
    parts, most = min(width, len(values)), 8 * height - 1
    levels = []  # eighths of a line
    for number in range(parts):
        part = [
            value
            for value in values[number * len(values) // parts : (number + 1) * len(values) // parts]
            if math.isfinite(value)
        ]
        shown = greatest if greatest in part else least if least in part else part[-1] if part else least
        level = round((shown / 2 - least / 2) / span * most) if span else most // 2
        levels.append(level + 1 if part else 0)
    return [
        "".join(" " if level <= below else blocks[min(level - below, 8) - 1] for level in levels)
        for below in range(8 * height - 8, -1, -8)
    ]


def ends_of(values: Iterable[object]) -> tuple[str, str] | None:
    """Returns the least and the greatest number, None if none is finite."""
    finite = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return (value_text(min(finite)), value_text(max(finite))) if finite else None


def range_text(values: Iterable[object]) -> str:
    """Returns `0.02 to 1.5`, the least and the greatest number."""
    ends = ends_of(values)
    return " to ".join(ends) if ends else "no finite value"


def changes_text(paths: Sequence[CheckedOutPath]) -> str:
    """Returns `2 files written, 1.0 MiB, 1 file removed`, of all the paths."""
    written, removed = sum(path.written for path in paths), sum(path.removed for path in paths)
    size = size_text(sum(path.written_bytes for path in paths))
    parts = [f"{count(written, 'file')} written, {size}"] if written else []
    parts += [f"{count(removed, 'file')} removed"] if removed else []
    return ", ".join(parts)


def untracked_text(gone: Sequence[CheckedOutPath], show: Show) -> str:
    """Returns which paths were removed because no pointer names them any more, and how to see their versions."""
    removed, names = sum(path.removed for path in gone), show.paths([path.path for path in gone])
    return (
        f"No longer tracked: {names}; {count(removed, 'file')} removed. Versions: dvlite log {show.word(gone[0].path)}"
    )


_PLAIN = frozenset(" ._-/+=,:")


def mermaid_label(text: str) -> str:
    """Returns a label in Mermaid's own escapes: what is not a letter, digit or plain mark is written as its number."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in printable(text))


def dot_label(text: str) -> str:
    """Returns a label as Graphviz takes it between double quotes."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')


def origin(source: ImportSource) -> str:
    """Returns where data is from: `models/a.pt in git@example.com:acme/birds at main (1234abcd)`."""
    if not source.repository:
        return printable(source.url)
    at = f" at {printable(source.revision)}" if source.revision else ""
    path = f"{printable(source.path)} in " if source.path else ""
    return f"{path}{printable(source.repository)}{at} ({source.commit[:8]})"
