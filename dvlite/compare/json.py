"""Compares the values of two JSON, YAML or TOML files key by key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dvlite.compare.outcome import (
    Comparison,
    Findings,
    Tolerance,
    Unreadable,
    number_text,
    relative,
    size_of_difference,
)
from dvlite.errors import DvliteError
from dvlite.formats import parameters, strict_json

_LIMIT_BYTES = 64 << 20
_MOST_LETTERS = 40  # of a text that is shown
_ABSENT = object()


def compare_values(old: Path, new: Path, name: str, tolerance: Tolerance, ignore: Sequence[str] = ()) -> Comparison:
    """Compares by dotted key, list items by their number; the largest relative differences come first.

    Raises Unreadable, also if all keys are ignored.
    """
    before, after = _load(old, name, "recorded"), _load(new, name, "new")
    findings = Findings()
    compared = False
    for key, one, other in _pairs("", before, after, ignore):
        compared = True
        if one is _ABSENT:
            findings.add(f"{key} is new: {_text(other)}")
        elif other is _ABSENT:
            findings.add(f"{key} is gone, it was {_text(one)}")
        elif _is_number(one) and _is_number(other):
            if not tolerance.allows(one, other):
                words = f"{key} {_text(one)} -> {_text(other)}{size_of_difference(one, other)}"
                findings.add(words, relative(one, other))
        elif type(one) is not type(other) or one != other:
            findings.add(f"{key} {_text(one)} -> {_text(other)}")
    if not compared:
        raise Unreadable("all keys are ignored: nothing is left to compare")
    return findings.comparison(what="values")


def _pairs(key: str, one: Any, other: Any, ignore: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """Yields both values at each key; mappings and lists only if both are empty. Without recursion: they may be nested deeply."""
    stack = [(key, one, other)]
    while stack:
        key, one, other = stack.pop()
        if key and any(fnmatchcase(key, pattern) for pattern in ignore):
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            inner = [
                (_joined(key, name), one.get(name, _ABSENT), other.get(name, _ABSENT)) for name in {**one, **other}
            ]
        elif isinstance(one, list) and isinstance(other, list):
            length = max(len(one), len(other))
            inner = [(_joined(key, i), _item(one, i), _item(other, i)) for i in range(length)]
        else:
            inner = []
        if not inner:
            yield key or "the value", one, other
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
        return json.loads(path.read_bytes(), object_pairs_hook=strict_json.once, parse_float=_fraction)
    except (DvliteError, ValueError, RecursionError) as error:
        reason = error.message if isinstance(error, DvliteError) else strict_json.why_not_json(error)
        raise Unreadable(f"the {which} version cannot be read: {reason}") from None


class _Beyond(str):
    """A number too large for a float, as it is written: equal only to itself."""

    __slots__ = ()


def _fraction(text: str) -> float | _Beyond:
    value = float(text)
    return value if math.isfinite(value) else _Beyond(text)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{'a mapping' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if _is_number(value):
        return number_text(value)[: _MOST_LETTERS * 2]
    text = str(value) if isinstance(value, _Beyond) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
