"""Words shared by the texts: how many files differ, how many files and bytes something has."""

from __future__ import annotations

from dvlite.files import size_text
from dvlite.results.looks import Counts
from dvlite.text.show import count, delta_text


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
