"""How values of parameters and metrics are shown: tidy, on one line, safe to print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dvlite.files import printable

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
