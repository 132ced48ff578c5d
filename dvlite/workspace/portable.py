"""Names that some other system cannot hold: legal here, worth a warning when they are added."""

from __future__ import annotations

import contextlib
import os
import re

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
    folded: dict[bytes, bytes] = {}
    if len({path.lower() for path in paths}) != len(paths):
        for path in paths:
            other = folded.setdefault(path.lower(), path)
            if other is not path:
                warnings.append(
                    f"{quote(os.fsdecode(other))} and {quote(os.fsdecode(path))} differ only in case: macOS and Windows cannot hold both"
                )
                break
    with contextlib.suppress(UnicodeDecodeError):
        joined.decode("utf-8")
        return warnings
    broken = next(path for path in paths if _undecodable(path))
    return [*warnings, f"{quote(os.fsdecode(broken))} is not UTF-8: macOS and Windows cannot hold it"]


def _undecodable(path: bytes) -> bool:
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False
