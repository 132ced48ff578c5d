"""JSON as dvlite's own formats use it: canonical when written; when read, small, shallow, without NaN or duplicate keys."""

from __future__ import annotations

import json
from typing import Any

from dvlite.errors import FormatError

LIMIT_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 16


def dump(value: object) -> bytes:
    """Returns the one encoding of a value: sorted keys, no spaces, ASCII, a final newline."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def parse(data: bytes, where: str, *, limit_bytes: int = LIMIT_BYTES) -> dict[str, Any]:
    """Reads one JSON object; raises FormatError with `where` for anything that a careless parser would let through."""
    if len(data) > limit_bytes:
        raise FormatError(f"cannot read {where}: it has {len(data)} bytes, at most {limit_bytes} are accepted")
    if _too_deep(data):
        raise FormatError(f"cannot read {where}: it is nested too deeply")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse, parse_float=_refuse, parse_int=_whole
        )
    except (ValueError, RecursionError) as error:
        raise FormatError(f"cannot read {where}: {str(error)[:120] or 'not JSON'}") from None
    if not isinstance(value, dict):
        raise FormatError(f"cannot read {where}: not a JSON object")
    return value


def require_version(found: object, known: int, failure: str) -> None:
    """Raises FormatError, which begins with `failure`, unless a version is exactly the one that is known (`true` is not 1)."""
    if type(found) is not int or found != known:
        raise FormatError(
            f"{failure}: version {str(found)[:20]} is not known", hint="upgrade dvlite; nothing was written"
        )


def _too_deep(data: bytes) -> bool:
    """Bounds the nesting before the parser recurses; brackets inside strings only make it stricter."""
    depth = deepest = 0
    for byte in data if data.count(b"[") + data.count(b"{") > _MAX_DEPTH else b"":
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest > _MAX_DEPTH


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"the number {text[:40]} is not accepted")


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError("a number is too large")
    return int(text)
