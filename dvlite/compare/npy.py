"""Compares numpy arrays, `.npy` and `.npz`: shape, type, and numbers in pieces. Reads the format itself, and never a pickle.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import lzma
import math
import re
import struct
import sys
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dvlite.compare.outcome import (
    Comparison,
    Findings,
    Tolerance,
    Unreadable,
    clipped,
    number_text,
    relative,
    size_of_difference,
)
from dvlite.errors import reason_of

_MAGIC = b"\x93NUMPY"
_PIECE_BYTES = 1 << 20  # a multiple of the size of every number
_HEADER_LIMIT_BYTES = 1 << 16
_DESCR = re.compile(r"([<>=|])([biufc])([0-9]{1,2})")
# An entry of a header as numpy writes it, a Python literal. Not evaluated: an untrusted one could print warnings.
_ENTRY = r"\s*+['\"](\w++)['\"]\s*+:\s*+(?:['\"]([^'\"\\]*+)['\"]|(True|False)|\(([0-9L,\s]*+)\))\s*+(?:,|(?=\}))"  # key: value,
_HEADER = re.compile(rf"\{{(?:{_ENTRY}){{3}}\s*+\}}\s*+")
# kind and size of a number -> the letter of `array`; complex numbers are two each, half precision is read by struct
_LETTERS = {
    "b1": "B",
    "i1": "b",
    "u1": "B",
    "i2": "h",
    "u2": "H",
    "i4": "i",
    "u4": "I",
    "i8": "q",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
    "c8": "f",
    "c16": "d",
}
# Raised by zipfile and struct for bytes that are not an archive, or truncated.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, RuntimeError, LookupError, OverflowError),
)


@dataclass(frozen=True, slots=True)
class _Header:
    descr: str
    fortran: bool
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def index(self, position: int) -> str:
        """Returns the index of the number at a position in memory: `[3, 0]`."""
        indexes = []
        for length in self.shape if self.fortran else reversed(self.shape):
            position, at = divmod(position, length)
            indexes.append(at)
        return f"[{', '.join(map(str, indexes if self.fortran else reversed(indexes)))}]"


def compare_arrays(old: Path, new: Path, tolerance: Tolerance) -> Comparison:
    """Compares two `.npy` files, or the arrays of two `.npz` by name. Raises Unreadable."""
    try:
        if _begins(old, b"PK") and _begins(new, b"PK"):
            return _compare_archives(old, new, tolerance)
        with old.open("rb") as one, new.open("rb") as other:
            findings = Findings()
            _compare(one, other, "", tolerance, findings)
            return findings.comparison(what="numbers")
    except _DAMAGE as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise Unreadable(f"it cannot be read as arrays: {reason}") from None


def _compare_archives(old: Path, new: Path, tolerance: Tolerance) -> Comparison:
    findings = Findings()
    with zipfile.ZipFile(old) as one, zipfile.ZipFile(new) as other:
        before, after = _names(one, "recorded"), _names(other, "new")
        for name in {**before, **after}:
            array_name = name.removesuffix(".npy")
            if name not in after:
                findings.add(f"{array_name} is gone")
            elif name not in before:
                findings.add(f"{array_name} is new")
            elif not _is_same(one, other, name):  # equal bytes are equal, even if they cannot be read as arrays
                with one.open(name) as left, other.open(name) as right:
                    _compare(left, right, array_name, tolerance, findings)
    return findings.comparison(what="numbers or arrays")


def _is_same(old: zipfile.ZipFile, new: zipfile.ZipFile, name: str) -> bool:
    before, after = old.getinfo(name), new.getinfo(name)
    if (before.CRC, before.file_size) != (after.CRC, after.file_size):
        return False
    with old.open(name) as one, new.open(name) as other:
        return _ends_alike(one, other)


def _names(archive: zipfile.ZipFile, which: str) -> dict[str, None]:
    names = dict.fromkeys(archive.namelist())
    if len(names) != len(archive.namelist()):
        raise Unreadable(f"the {which} version has two arrays with the same name")
    return names


def _compare(old: IO[bytes], new: IO[bytes], name: str, tolerance: Tolerance, findings: Findings) -> None:
    start = f"{name}: " if name else ""
    before, after = _header(old, "recorded"), _header(new, "new")
    for what, one, other in (("shape", before.shape, after.shape), ("type", before.descr, after.descr)):
        if one != other:
            findings.add(f"{start}{what} {one} -> {other}")
    if before.shape != after.shape or before.descr != after.descr:
        return
    if before.fortran != after.fortran:
        raise Unreadable("its numbers are in another order in memory")
    read = _reader(before.descr)
    differences = _Differences(Tolerance() if _kind(before.descr)[0] == "b" else tolerance)
    for at, left, right in _pieces(old, new, before):
        if left != right:
            differences.add(at, read(left), read(right))
    if differences.count:
        # complex numbers have two parts
        place = before.index(differences.at // (2 if "c" in before.descr else 1)) if before.shape else ""
        old_text, new_text = number_text(differences.old), number_text(differences.new)
        size = size_of_difference(differences.old, differences.new)
        of = before.count * (2 if "c" in before.descr else 1)
        words = f"{differences.count:,} of {of:,} numbers differ, most at {place}: {old_text} -> {new_text}{size}"
        findings.add(
            f"{start}largest difference {differences.largest:.3g}; {words}", relative(differences.old, differences.new)
        )
    if not _ends_alike(old, new):
        findings.add(f"{start}what follows the array differs")


def _ends_alike(old: IO[bytes], new: IO[bytes]) -> bool:
    """Returns whether the rest of both is the same; reading a member of an archive to its end also checks its checksum."""
    while True:
        one, other = old.read(_PIECE_BYTES), new.read(_PIECE_BYTES)
        if one != other or not one:
            return one == other


class _Differences:
    """The numbers that differ by more than the tolerance: how many, and the largest difference."""

    __slots__ = ("_tolerance", "at", "count", "largest", "new", "old")

    def __init__(self, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self.count = self.at = 0
        self.largest = -1.0
        self.old = self.new = 0.0

    def add(self, start: int, left: Sequence[float], right: Sequence[float]) -> None:
        allows = self._tolerance.allows
        for i, (one, other) in enumerate(zip(left, right, strict=True)):
            if one != other and not allows(one, other):
                self.count += 1
                distance = abs(other - one)
                distance = math.inf if distance != distance else distance  # noqa: PLR0124  # not a number
                if distance > self.largest:
                    self.largest, self.at, self.old, self.new = distance, start + i, one, other


def _pieces(old: IO[bytes], new: IO[bytes], header: _Header) -> Iterator[tuple[int, bytes, bytes]]:
    """Yields the numbers of both as bytes, with the position of the first. Raises Unreadable for a truncated file."""
    kind, size = _kind(header.descr)
    parts = 2 if kind == "c" else 1
    left = header.count * size
    at = 0
    while left:
        wanted = min(left, _PIECE_BYTES)
        one, other = old.read(wanted), new.read(wanted)
        if len(one) != wanted or len(other) != wanted:
            raise Unreadable(f"the {'recorded' if len(one) != wanted else 'new'} version is truncated")
        yield at, one, other
        at += wanted // size * parts
        left -= wanted


def _reader(descr: str) -> Callable[[bytes], Sequence[float]]:
    """Returns the function that decodes bytes into numbers."""
    kind, size = _kind(descr)
    letter = _LETTERS[f"{kind}{size}"]
    swapped = descr[0] == (">" if sys.byteorder == "little" else "<")
    if letter == "e":
        order = ">" if descr[0] == ">" else "<"
        return lambda data: struct.unpack(f"{order}{len(data) // 2}e", data)

    def read(data: bytes) -> Sequence[float]:
        numbers = array(letter, data)
        if swapped:
            numbers.byteswap()
        return numbers

    return read


def _kind(descr: str) -> tuple[str, int]:
    match = _DESCR.fullmatch(descr)
    if match is None or f"{match[2]}{match[3]}" not in _LETTERS:
        raise Unreadable(f"arrays of type {clipped(descr)} are not supported")
    return match[2], int(match[3])


def _header(file: IO[bytes], which: str) -> _Header:
    """Reads the header of an array; raises Unreadable for objects (pickles), structured types, and other files."""
    start = file.read(8)
    if start[:6] != _MAGIC or len(start) < 8 or start[6] not in (1, 2, 3):
        raise Unreadable(f"the {which} version is not a numpy array")
    form = "<H" if start[6] == 1 else "<I"
    (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
    if length > _HEADER_LIMIT_BYTES:
        raise Unreadable(f"the {which} version has a header of {length} bytes")
    text = file.read(length)
    try:
        if len(text) != length or _HEADER.fullmatch(text.decode("ascii")) is None:
            raise ValueError
        fields = {key: values for key, *values in re.findall(_ENTRY, text.decode("ascii"))}
        descr, fortran, shape = fields["descr"][0], fields["fortran_order"][1], _shape(fields["shape"][2])
    except (ValueError, KeyError):
        raise Unreadable(f"the {which} version has a header that cannot be read, or a structured type") from None
    if not (all(n < 1 << 48 for n in shape) and len(shape) <= 64):
        raise Unreadable(f"the {which} version has an impossible shape")
    return _Header(descr, fortran == "True", shape)


def _shape(text: str) -> tuple[int, ...]:
    """Returns the numbers of a tuple, without its brackets; Python 2 wrote an L after them."""
    *numbers, last = text.replace("L", "").split(",")
    if last.strip():
        if not numbers:
            raise ValueError(text)
        numbers.append(last)
    return tuple(map(int, numbers))


def _begins(path: Path, data: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(data)) == data
