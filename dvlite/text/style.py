"""How sizes, counts of changes, values and columns are put in the words of a result. Knows no result type and no stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dvlite.show import DIGITS, count, printable, size_text
from dvlite.workspace.changes import Counts


def delta_text(delta_bytes: int) -> str:
    """Returns by how much something grew or shrank: `+161.0 MiB`, `-3 B`."""
    return ("-" if delta_bytes < 0 else "+") + size_text(abs(delta_bytes))


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> Iterable[str]:
    """Yields rows as aligned columns, two spaces apart, nothing after the last one."""
    kept = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    for row in kept:
        yield indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def counts_text(counts: Counts, *, wide: bool = False) -> str:
    """Returns `+1,204 -3 files`, or with `wide` also what did not happen: `+1,204  -3  ~0 files`."""
    parts = [(sign, number) for sign, number in (("+", counts.added), ("-", counts.removed), ("~", counts.modified))]
    shown = [f"{sign}{number:,}" for sign, number in parts if wide or number]
    if counts.renamed:
        shown.append(f"{count(counts.renamed)} renamed")
    return ("  " if wide else " ").join(shown)


def files_text(counts: Counts) -> str:
    """Returns `+1,204 -3 files`, or `+1 file`."""
    return f"{counts_text(counts)} {'file' if counts.added + counts.removed + counts.modified + counts.renamed == 1 else 'files'}"


def growth_text(counts: Counts) -> str:
    """Returns by how much the whole grew, or nothing if it did not."""
    return delta_text(counts.delta_bytes) if counts.delta_bytes else ""


def amount_text(files: int, size_bytes: int) -> str:
    """Returns `384,211 files, 50.3 GiB`."""
    return f"{count(files, 'file')}, {size_text(size_bytes)}"


def change_text(change: float) -> str:
    """Returns by how much a number changed, with its sign: `+0.019`."""
    return f"{change:+d}" if isinstance(change, int) else f"{change:+.{DIGITS}g}"


def changes_text(written: int, removed: int, size_bytes: int) -> str:
    """Returns `2 files written, 1.0 MiB, 1 file removed`."""
    parts = []
    if written:
        parts.append(f"{count(written, 'file')} written, {size_text(size_bytes)}")
    if removed:
        parts.append(f"{count(removed, 'file')} removed")
    return ", ".join(parts)


_PLAIN = frozenset(" ._-/+=,:")


def mermaid_label(text: str) -> str:
    """Returns a label in Mermaid's own escapes: what is not a letter, digit or plain mark is written as its number."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in printable(text))


def dot_label(text: str) -> str:
    """Returns a label as Graphviz takes it between double quotes."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
