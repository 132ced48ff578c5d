"""JSON as dvlite's own formats use it: canonical when written; when read, small, shallow, without NaN or duplicate keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from dvlite.errors import FormatError, LaterVersion, ObjectCorrupt
from dvlite.oid import digest_bytes

LIMIT_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 16
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
# Matches at every quote, also one that nothing closes: else hostile bytes would be searched again from each quote in them.
_STRING = re.compile(rb'"[^"\\]*+(?:\\(?:.|\Z)[^"\\]*+)*+(?:"|\Z)', re.DOTALL)


def dump(value: object) -> bytes:
    """Returns the one encoding of a value: sorted keys, no spaces, ASCII, a final newline."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def seal(body: Mapping[str, object], binds: str = "") -> bytes:
    """Returns the encoding of an object with a `checksum` of the rest, which `binds` ties to where it belongs, such as its name."""
    return dump({**body, "checksum": _checksum(body, binds)})


def unseal(data: bytes, where: str, binds: str = "", *, limit_bytes: int = LIMIT_BYTES) -> dict[str, Any]:
    """Reads what `seal` wrote, whatever keys it has; raises ObjectCorrupt for bytes that are not whole."""
    try:
        body = parse(data, where, limit_bytes=limit_bytes)
        checksum = body.pop("checksum", None)
        whole = checksum == _checksum(body, binds) and data == dump({**body, "checksum": checksum})
    except (FormatError, ValueError):
        whole = False
    if not whole:
        raise ObjectCorrupt(f"{where} is damaged: {'its checksum is wrong' if data.strip() else 'it is empty'}")
    return body


def _checksum(body: Mapping[str, object], binds: str) -> str:
    return digest_bytes(binds.encode() + dump(body)).hex()


def parse(
    data: bytes, where: str, *, limit_bytes: int = LIMIT_BYTES, floats: bool = False, depth: int = _MAX_DEPTH
) -> dict[str, Any]:
    """Reads one JSON object; raises FormatError with `where` for anything that a lenient parser would accept.

    Numbers are whole, or with `floats` also finite fractions.
    """
    if len(data) > limit_bytes:
        raise FormatError(f"cannot read {where}: it has {len(data)} bytes, at most {limit_bytes} are accepted")
    if is_deep(data, depth):
        raise FormatError(f"cannot read {where}: it is nested too deeply")
    try:
        value = (_WITH_FRACTIONS if floats else _WHOLE_NUMBERS).decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"cannot read {where}: {why_not_json(error)}") from None
    if not isinstance(value, dict):
        raise FormatError(f"cannot read {where}: not a JSON object")
    return value


def why_not_json(error: ValueError | RecursionError) -> str:
    """Returns why a text could not be read as JSON: where that is, or what the checks here refused."""
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON (line {error.lineno}, column {error.colno})"
    if isinstance(error, UnicodeDecodeError):
        return "it is not JSON: it is not UTF-8"
    return f"it is not JSON: {'it is nested too deeply' if isinstance(error, RecursionError) else str(error)[:120]}"


def require_whole_characters(value: object, where: str) -> None:
    """Raises FormatError for half of a surrogate pair anywhere; those that stand for bytes that are not UTF-8 (`os.fsdecode`) pass."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise FormatError(f"cannot read {where}: it holds half a character") from None


def require_version(found: object, known: int, failure: str) -> None:
    """Raises FormatError, which begins with `failure`, unless a version is exactly the one that is known (`true` is not 1); LaterVersion for a higher one."""
    if type(found) is int and found > known:
        raise LaterVersion(f"{failure}: it")
    if type(found) is not int or found != known:
        raise FormatError(
            f"{failure}: version {str(found)[:20]} is not known", hint="upgrade dvlite; nothing was written"
        )


def is_deep(data: bytes, most: int = _MAX_DEPTH) -> bool:
    """Returns whether the nesting, counted before the parser recurses, is deeper than `most`; brackets inside strings do not count."""
    if data.count(b"[") + data.count(b"{") <= most:
        return False
    depth = deepest = 0
    for byte in _STRING.sub(b"", data).translate(None, _NO_BRACKETS):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest > most


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object; raises ValueError if a key is given twice."""
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key is given twice")
    return mapping


def _refuse(text: str) -> Any:
    raise ValueError(f"the number {text[:40]} is not accepted")


def _fraction(text: str) -> float:
    value = float(text)
    if len(text) > 40 or not isfinite(value):
        _refuse(text)
    return value


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError("a number is too large")
    return int(text)


_WHOLE_NUMBERS, _WITH_FRACTIONS = (  # made once: that takes as long as reading 200 bytes
    json.JSONDecoder(object_pairs_hook=once, parse_constant=_refuse, parse_float=fraction, parse_int=_whole)
    for fraction in (_refuse, _fraction)
)
