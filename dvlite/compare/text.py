"""Compares text line by line, and any file byte by byte; in little memory, whatever the size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from dvlite.compare.outcome import Comparison, clipped
from dvlite.show import size_text

_PIECE_BYTES = 1 << 20
_LINE_BYTES = 1 << 16  # longer ones are compared in parts
_SAMPLE_BYTES = 8192
_SHOWN_BYTES = 8
_BEFORE = 30  # letters shown before the first that differs


def compare_text(old: Path, new: Path, ignore: Sequence[str] = ()) -> Comparison:
    """Compares lines without the text that the expressions match; a line that is matched as a whole does not count.

    If all lines of both are matched, their numbers must be equal: an empty file does not equal a file of expected lines.
    """
    cuts = [re.compile(expression) for expression in ignore]
    first: tuple[int, str | None, str | None] | None = None
    compared = differing = 0
    for (number, one), (_, other) in zip_longest(_lines(old, cuts), _lines(new, cuts), fillvalue=(0, None)):
        compared += 1
        if one != other:
            first = first or (number, one, other)
            differing += 1
    if not compared:
        counts = [sum(1 for _ in _lines(path, ())) for path in (old, new)]
        words = (f"{counts[0]:,} -> {_lines_text(counts[1])}, all of them ignored",) if counts[0] != counts[1] else ()
        return Comparison(not words, words)
    if first is None:
        return Comparison(equivalent=True)
    number, one, other = first
    if one is None:
        return Comparison(equivalent=False, lines=(clipped(f"{_lines_text(differing)} more: {other}"),))
    if other is None:
        return Comparison(
            equivalent=False, lines=(clipped(f"{_lines_text(differing)} fewer, from line {number}: {one}"),)
        )
    more = f" of {differing:,}" if differing > 1 else ""
    at = max(_common(one, other) - _BEFORE, 0)
    lines = (f"line {number} is the first that differs{more}", f"- {_from(one, at)}", f"+ {_from(other, at)}")
    return Comparison(equivalent=False, lines=tuple(map(clipped, lines)))


def compare_bytes(old: Path, new: Path) -> Comparison:
    """Compares bytes; the line has the offset of the first difference and the bytes there."""
    sizes = old.stat().st_size, new.stat().st_size
    change = f"{size_text(sizes[0])} -> {size_text(sizes[1])}" if sizes[0] != sizes[1] else size_text(sizes[0])
    with old.open("rb") as one, new.open("rb") as other:
        offset = 0
        while True:
            left, right = one.read(_PIECE_BYTES), other.read(_PIECE_BYTES)
            if left != right:
                break
            if not left:
                return Comparison(equivalent=True)
            offset += len(left)
    at = _first_difference(left, right)
    if at == min(len(left), len(right)):
        shorter = "recorded" if len(left) < len(right) else "new"
        return Comparison(equivalent=False, lines=(f"{change}; the {shorter} version is the beginning of the other",))
    shown = [piece[at : at + _SHOWN_BYTES].hex(" ") for piece in (left, right)]
    lines = (f"{change}; the first byte that differs is at offset {offset + at:,}: {shown[0]} -> {shown[1]}",)
    return Comparison(equivalent=False, lines=lines)


def is_text(path: Path) -> bool:
    """Returns whether a file starts with UTF-8 text."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    if b"\0" in sample:
        return False
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(sample) - 4 and len(sample) == _SAMPLE_BYTES  # a character cut in two
    return True


def _lines(path: Path, cuts: Sequence[re.Pattern[str]]) -> Iterator[tuple[int, str | None]]:
    number = 1
    with path.open("rb") as file:
        while piece := file.readline(_LINE_BYTES):
            if piece.endswith(b"\r"):  # the newline may come next
                piece += file.readline(1)
            end = 0 if not piece.endswith(b"\n") else 2 if piece.endswith(b"\r\n") else 1
            text = piece[: len(piece) - end].decode("utf-8", "surrogateescape")
            left = text
            for cut in cuts:
                left = cut.sub("", left)
            if left or not text:
                yield number, left
            number += piece.endswith(b"\n")


def _lines_text(number: int) -> str:
    return f"{number:,} {'line' if number == 1 else 'lines'}"


def _first_difference(one: bytes, other: bytes) -> int:
    """Returns the position of the first difference, by bisection: a loop over bytes takes too long for a megabyte."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _from(text: str, at: int) -> str:
    return f"...{text[at:]}" if at else text
