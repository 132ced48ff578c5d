"""Shows how two versions of a file without a declared comparator differ: by the format of its extension, else by lines or bytes."""

from __future__ import annotations

from pathlib import Path

from dvlite.compare import text
from dvlite.compare.csv import compare_tables
from dvlite.compare.json import compare_values
from dvlite.compare.npy import compare_arrays
from dvlite.compare.outcome import Comparison, Tolerance, Unreadable

_VALUES = (".json", ".yaml", ".yml", ".toml")
_TABLES = (".csv", ".tsv")
_ARRAYS = (".npy", ".npz")
_EXACT = Tolerance()


def differences(old: Path, new: Path, name: str) -> tuple[str, ...]:
    """Returns a few short lines that are safe to print, the most important first."""
    comparison = _by_format(old, new, name)
    if comparison is None and text.is_text(old) and text.is_text(new):
        comparison = text.compare_text(old, new)
    if comparison is not None and not comparison.equivalent:
        return comparison.lines
    same = ("its values are the same, only its bytes differ",) if comparison is not None else ()
    return (*same, *text.compare_bytes(old, new).lines)


def _by_format(old: Path, new: Path, name: str) -> Comparison | None:
    lower = name.lower()
    try:
        if lower.endswith(_VALUES):
            return compare_values(old, new, name, _EXACT)
        if lower.endswith(_TABLES):
            return compare_tables(old, new, name, _EXACT)
        if lower.endswith(_ARRAYS):
            return compare_arrays(old, new, _EXACT)
    except Unreadable:
        return None
    return None
