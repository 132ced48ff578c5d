"""Compares files of values, JSON and what `formats.parameters` reads, key by key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dvlite.errors import DvliteError
from dvlite.formats import parameters
from dvlite.verify.comparison import (
    Comparison,
    Findings,
    Tolerance,
    Unreadable,
    number_text,
    relative,
    size_of_difference,
)

_LIMIT_BYTES = 64 << 20
_MOST_LETTERS = 40  # of a text that is shown
_ABSENT = object()


def compare_values(old: Path, new: Path, name: str, tolerance: Tolerance, ignore: Sequence[str] = ()) -> Comparison:
    """Compares by dotted key, list items by their number; the largest relative differences come first. Raises Unreadable."""
    before, after = _load(old, name, "recorded"), _load(new, name, "new")
    findings = Findings()
    for key, one, other in _pairs("", before, after, ignore):
        if one is _ABSENT:
            findings.add(f"{key} is new: {_text(other)}")
        elif other is _ABSENT:
            findings.add(f"{key} is gone, it was {_text(one)}")
        elif _is_number(one) and _is_number(other):
            if not _allows(tolerance, one, other):
                findings.add(f"{key} {_text(one)} -> {_text(other)}{_size(one, other)}", _relative(one, other))
        elif type(one) is not type(other) or one != other:
            findings.add(f"{key} {_text(one)} -> {_text(other)}")
    return findings.comparison(what="values")


def _pairs(key: str, one: Any, other: Any, ignore: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """Yields what both have at each key, without recursion: it may be deep."""
    stack = [(key, one, other)]
    while stack:
        key, one, other = stack.pop()
        if key and any(fnmatchcase(key, pattern) for pattern in ignore):
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            inner = [
                (_joined(key, each), one.get(each, _ABSENT), other.get(each, _ABSENT)) for each in {**one, **other}
            ]
        elif isinstance(one, list) and isinstance(other, list):
            length = max(len(one), len(other))
            inner = [(_joined(key, i), _item(one, i), _item(other, i)) for i in range(length)]
        else:
            if not (isinstance(one, dict | list) and one == other):
                yield key or "the value", one, other
            continue
        stack.extend(reversed(inner))


def _joined(key: str, part: object) -> str:
    return f"{key}.{part}" if key else str(part)


def _item(items: list[Any], i: int) -> Any:
    return items[i] if i < len(items) else _ABSENT


def _load(path: Path, name: str, which: str) -> Any:
    size = path.stat().st_size
    if size > _LIMIT_BYTES:
        raise Unreadable(f"the {which} version is too large to compare its values ({size:,} bytes)")
    try:
        if name.lower().endswith((".yaml", ".yml", ".toml")):
            return parameters.load(path.read_bytes(), name)
        return json.loads(path.read_bytes())
    except (DvliteError, ValueError, RecursionError) as error:
        reason = error.message if isinstance(error, DvliteError) else f"it is not JSON: {error}"
        raise Unreadable(f"the {which} version cannot be read: {reason}") from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _allows(tolerance: Tolerance, old: Any, new: Any) -> bool:
    try:
        return tolerance.allows(old, new)
    except OverflowError:  # whole numbers beyond what a float holds
        return bool(old == new)


def _relative(old: Any, new: Any) -> float:
    try:
        return relative(old, new)
    except OverflowError:
        return math.inf


def _size(old: Any, new: Any) -> str:
    try:
        return size_of_difference(old, new)
    except OverflowError:
        return ""


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{'a mapping' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if _is_number(value):
        return number_text(value)[: _MOST_LETTERS * 2]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
