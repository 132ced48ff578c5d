"""Messages of protocol buffers, as other programs store them: fields read one by one, and written. Knows no message.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def fields(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int | float | slice]]:
    """Yields the fields of a message: a whole number, a float, or where the bytes of a longer value are. Raises ValueError if it is none."""
    at = start
    while at < stop:
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        value: int | float | slice
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire == _FIXED64:
            value, at = _DOUBLE.unpack_from(data, at)[0], at + 8
        elif wire == _FIXED32:
            value, at = _FLOAT.unpack_from(data, at)[0], at + 4
        elif wire == _BYTES:
            length, at = _varint(data, at)
            value, at = slice(at, at + length), at + length
        else:
            raise ValueError(wire)
        if at > stop:
            raise ValueError(at)
        yield field, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns a number and where it ends; of at most 64 bits."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise ValueError(at)


# --- writing


def field_bytes(field: int, value: bytes) -> bytes:
    """Returns a field of a message that holds text, bytes or another message."""
    return _key(field, _BYTES) + _varint_bytes(len(value)) + value


def field_whole(field: int, value: int) -> bytes:
    """Returns a field of a message that holds a whole number, an enum or a truth value."""
    return _key(field, _VARINT) + _varint_bytes(value)


def field_double(field: int, value: float) -> bytes:
    """Returns a field of a message that holds a double."""
    return _key(field, _FIXED64) + _DOUBLE.pack(value)


def field_float(field: int, value: float) -> bytes:
    """Returns a field of a message that holds a float of 32 bits; what these cannot hold becomes infinite."""
    try:
        return _key(field, _FIXED32) + _FLOAT.pack(value)
    except OverflowError:
        return _key(field, _FIXED32) + _FLOAT.pack(math.copysign(math.inf, value))


def _key(field: int, wire: int) -> bytes:
    return _varint_bytes(field << 3 | wire)


def _varint_bytes(number: int) -> bytes:
    number &= 0xFFFF_FFFF_FFFF_FFFF
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
