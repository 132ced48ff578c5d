"""TensorBoard event files: records of protocol buffers, of which the scalars are read (docs/reference/formats/series.md).

Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, framework/summary.proto, tensor.proto.
"""

from __future__ import annotations

import functools
import posixpath
import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from dvlite.errors import FormatError
from dvlite.formats.protobuf import field_bytes, field_double, field_float, field_whole, fields

_HEADER = struct.Struct("<QI")  # length, its masked CRC-32C; after the bytes comes their CRC
_FOOTER_BYTES = 4
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")
_CODES = {1: "f", 2: "d", 3: "i", 9: "q"}  # of tensors: data type -> how its content is packed
_LISTS = {5: _FLOAT, 6: _DOUBLE}  # of tensors: field of values -> how each is packed


class Scalar(NamedTuple):
    """One value of a tag; `time` is in seconds since 1970."""

    tag: str
    step: int
    value: float
    time: float


def is_event_file(name: str) -> bool:
    """Returns whether a file is one of TensorBoard's, by its name, as TensorBoard decides it."""
    return "tfevents" in posixpath.basename(name)


def scalars(data: bytes) -> Iterator[Scalar]:
    """Yields the scalars of all whole records, as old and new writers store them; a last one that is cut off is left out.

    Raises FormatError where a record before the end is none. The CRCs, which take most of the time, are not checked but for that of lengths.
    """
    at = 0
    while at + _HEADER.size <= len(data):
        length, crc = _HEADER.unpack_from(data, at)
        if crc != _masked_crc(data[at : at + 8]):
            raise FormatError(f"it is damaged, or no event file, from byte {at} on")
        start, at = at + _HEADER.size, at + _HEADER.size + length + _FOOTER_BYTES
        if at > len(data):
            return
        try:
            yield from _of_event(data, start, start + length)
        except (IndexError, struct.error, UnicodeDecodeError, ValueError):
            raise FormatError(f"the record at byte {start} is damaged") from None


def _of_event(data: bytes, start: int, stop: int) -> Iterator[Scalar]:
    time, step, summaries = 0.0, 0, []
    for field, value in fields(data, start, stop):
        if field == 1 and isinstance(value, float):
            time = value
        elif field == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >> 63 else value
        elif field == 5 and isinstance(value, slice):
            summaries.append(value)
    for summary in summaries:
        for field, part in fields(data, summary.start, summary.stop):
            if field == 1 and isinstance(part, slice):
                tag, number = _tag_and_number(data, part)
                if number is not None:
                    yield Scalar(tag, step, number, time)


def _tag_and_number(data: bytes, place: slice) -> tuple[str, float | None]:
    tag, number = "", None
    for field, value in fields(data, place.start, place.stop):
        if field == 1 and isinstance(value, slice):
            tag = data[value].decode()
        elif field == 2 and isinstance(value, float):
            number = value
        elif field == 8 and isinstance(value, slice):
            number = _of_tensor(data, value)
    return tag, number


def _of_tensor(data: bytes, place: slice) -> float | None:
    """Returns the number in a tensor that holds just one, None for any other."""
    code, content, numbers = "", b"", []
    for field, value in fields(data, place.start, place.stop):
        if field == 1 and isinstance(value, int):
            code = _CODES.get(value, "")
        elif field == 4 and isinstance(value, slice):
            content = data[value]
        elif field in _LISTS:
            one = _LISTS[field]
            packed = data[value] if isinstance(value, slice) else b""
            if isinstance(value, float):
                numbers.append(value)
            elif len(packed) == one.size:
                numbers.append(one.unpack(packed)[0])
    if code and len(content) == struct.calcsize(f"<{code}"):
        return float(struct.unpack(f"<{code}", content)[0])
    return float(numbers[0]) if code and len(numbers) == 1 else None


@functools.cache
def _crc_table() -> list[int]:
    rows = []
    for byte in range(256):
        row = byte
        for _ in range(8):
            row = row >> 1 ^ (0x82F63B78 if row & 1 else 0)
        rows.append(row)
    return rows


def _masked_crc(data: bytes) -> int:
    """Returns the CRC-32C as these files store it: rotated, with a constant added."""
    crc, table = 0xFFFF_FFFF, _crc_table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFF_FFFF
    return ((crc >> 15 | crc << 17) + 0xA282_EAD8) & 0xFFFF_FFFF


# --- writing

_VERSION = b"brain.Event:2"


def write(events: Iterable[bytes], time: float) -> Iterator[bytes]:
    """Yields the bytes of an event file, record by record; the first event says which version it is."""
    for body in chain([field_double(1, time) + field_bytes(3, _VERSION)], events):
        length = struct.pack("<Q", len(body))
        yield b"".join((length, struct.pack("<I", _masked_crc(length)), body, struct.pack("<I", _masked_crc(body))))


def scalar_event(scalar: Scalar) -> bytes:
    """Returns the event of one scalar; what a 32-bit float cannot hold becomes infinite."""
    return _event(scalar.time, scalar.step, field_bytes(1, scalar.tag.encode()) + field_float(2, scalar.value))


def plugin_event(tag: str, plugin: str, content: bytes, time: float) -> bytes:
    """Returns the event that carries data of a plugin in the metadata of a tag."""
    data = field_bytes(1, plugin.encode()) + field_bytes(2, content)
    return _event(time, 0, field_bytes(1, tag.encode()) + field_bytes(9, field_bytes(1, data)))


def _event(time: float, step: int, value: bytes) -> bytes:
    return field_double(1, time) + field_whole(2, step) + field_bytes(5, field_bytes(1, value))
