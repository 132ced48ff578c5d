"""Names that some other system cannot hold: legal here, worth a warning when they are added."""

from __future__ import annotations

import contextlib
import os
import re
from array import array
from itertools import islice
from operator import ne

from dvlite.files import quote

_NOT_EVERYWHERE = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (rb'[<>:"|?*\\\x01-\x1f\x7f]', "has a character that Windows cannot hold"),
        (rb"[. ](?=[/\0])", "ends in a dot or a space, which Windows cannot hold"),
        (
            rb"(?i)[\0/](?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.[^/\0]*)?(?=[/\0])",
            "is the name of a device on Windows",
        ),
    )
)


def portable_warnings(paths: list[bytes]) -> list[str]:
    """Returns a warning for each kind of name that some other system cannot hold; an example in each."""
    warnings = []
    joined = b"\0" + b"\0".join(paths) + b"\0"
    for pattern, reason in _NOT_EVERYWHERE:
        match = pattern.search(joined)
        if match is not None:
            name = joined[
                joined.rfind(b"\0", 0, match.start() + 1) + 1 : joined.find(
                    b"\0", max(match.end() - 1, match.start() + 1)
                )
            ]
            warnings.append(f"{quote(os.fsdecode(name))} {reason}")
    if joined != joined.lower() and (pair := _differ_in_case(paths)):
        one, other = (quote(os.fsdecode(path)) for path in pair)
        warnings.append(f"{one} and {other} differ only in case: macOS and Windows cannot hold both")
    with contextlib.suppress(UnicodeDecodeError):
        joined.decode("utf-8")
        return warnings
    broken = next(path for path in paths if _undecodable(path))
    return [*warnings, f"{quote(os.fsdecode(broken))} is not UTF-8: macOS and Windows cannot hold it"]


def _differ_in_case(paths: list[bytes]) -> tuple[bytes, bytes] | None:
    """Returns two paths that are one on a system that ignores case; hashes first, for a million paths."""
    hashes = sorted(array("q", (hash(path.lower()) for path in paths)))
    if all(map(ne, hashes, islice(hashes, 1, None))):
        return None
    seen: dict[bytes, bytes] = {}
    for path in paths:
        other = seen.setdefault(path.lower(), path)
        if other is not path:
            return other, path
    return None


def _undecodable(path: bytes) -> bool:
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False
