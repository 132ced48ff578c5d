"""Conflict markers, as git and people who merge by hand know them."""

from __future__ import annotations

_SIZE = 7
_MARKERS = (b"<<<<<<< ", b">>>>>>> ")


def marked(ours: bytes, theirs: bytes, *, size: int = _SIZE) -> bytes:
    """Returns both texts as one: the lines at the start and the end that are equal once, markers around what differs."""
    left, right = _lines(ours), _lines(theirs)
    start = _common(left, right)
    stop = _common(left[start:][::-1], right[start:][::-1])
    head, tail = left[:start], left[len(left) - stop :]
    between = [*left[start : len(left) - stop], b"=" * size + b"\n", *right[start : len(right) - stop]]
    return b"".join([*head, b"<" * size + b" ours\n", *between, b">" * size + b" theirs\n", *tail])


def marker_line(text: bytes) -> int | None:
    """Returns the number of the first line that is a marker; one made of `=` alone may be the user's."""
    return next((number for number, line in enumerate(text.split(b"\n"), 1) if line.startswith(_MARKERS)), None)


def _lines(text: bytes) -> list[bytes]:
    """Splits a text; a last line without an end gets one, for a marker may follow."""
    return [line + b"\n" for line in text.removesuffix(b"\n").split(b"\n")] if text else []


def _common(left: list[bytes], right: list[bytes]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))
