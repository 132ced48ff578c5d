"""What an import from another tool takes over, and why it cannot where data is nowhere whole. Knows no tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.show import count, quote


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A path that dvlite tracks now; `file`: what named it for the other tool. No `oid` if nothing was done."""

    path: str
    file: str
    size_bytes: int
    files: int = 1
    oid: str = ""


def nowhere_whole(lost: Mapping[str, DvliteError], hint: str) -> DvliteError:
    """Returns the error for data of these paths: ObjectCorrupt if some of it is damaged, else ObjectMissing."""
    kind = ObjectCorrupt if any(isinstance(error, ObjectCorrupt) for error in lost.values()) else ObjectMissing
    first, error = next(iter(lost.items()))
    more = f" (and {count(len(lost) - 1, 'more path')})" if len(lost) > 1 else ""
    return kind(f"cannot import {quote(first)}: {error.message}{more}; no file was changed", hint=hint)
