"""How sizes, counts of changes, values and columns are put in the words of a result. Knows no result type and no stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dvlite.files import printable, size_text
from dvlite.show import count
from dvlite.workspace.changes import Counts


def delta_text(delta_bytes: int) -> str:
    """Returns by how much something grew or shrank: `+161.0 MiB`, `-3 B`."""
    return ("-" if delta_bytes < 0 else "+") + size_text(abs(delta_bytes))


def short_oid(oid: str) -> str:
    """Returns the 8 hex digits of an object id that people see."""
    return oid.rpartition(":")[2][:8]


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


_DIGITS = 6  # that people read of a number; --json has all


_LONGEST = 60


def value_text(value: Any) -> str:
    """Returns a value for people: numbers to six significant digits, text as it is, the rest as JSON."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    text = value if isinstance(value, str) else json.dumps(_tidy(value), ensure_ascii=False)
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def change_text(change: float) -> str:
    """Returns by how much a number changed, with its sign: `+0.019`."""
    return f"{change:+d}" if isinstance(change, int) else f"{change:+.{_DIGITS}g}"


def pair_text(old: Any, new: Any) -> tuple[str, str]:
    """Returns two different values so that they look different: with as many digits as that takes, and text that looks like a number quoted."""
    one, other = value_text(old), value_text(new)
    if one == other and old != new and isinstance(old, float) and isinstance(new, float):
        return repr(old), repr(new)
    if type(old) is not type(new) and one == other:
        return json.dumps(old, ensure_ascii=False), json.dumps(new, ensure_ascii=False)
    return one, other


def _tidy(value: Any) -> Any:
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _tidy(item) for key, item in value.items()}
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


_PLAIN = frozenset(" ._-/+=,:")


def mermaid_label(text: str) -> str:
    """Returns a label in Mermaid's own escapes: what is not a letter, digit or plain mark is written as its number."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in printable(text))


def dot_label(text: str) -> str:
    """Returns a label as Graphviz takes it between double quotes."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
