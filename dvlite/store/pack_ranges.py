"""Which bytes of a pack to ask for, and what they hold: verified records from a range or from a whole pack."""

from __future__ import annotations

from collections.abc import Sequence

from dvlite.oid import Digest
from dvlite.store import pack
from dvlite.store.index import RecordLocation
from dvlite.store.pack import Pack

GAP_BYTES = 64 * 1024  # two ranges closer than this are fetched as one


def ranges(
    places: Sequence[RecordLocation], *, limit_bytes: int = pack.TARGET_BYTES
) -> list[tuple[int, int, list[RecordLocation]]]:
    """Groups records of one pack into `(start, end, records)` ranges to ask for, joining those that lie close together."""
    grouped: list[tuple[int, int, list[RecordLocation]]] = []
    for place in sorted(places, key=lambda place: place.record.offset):
        start, end = place.record.offset, place.record.offset + place.record.stored_length
        if grouped and start - grouped[-1][1] <= GAP_BYTES and end - grouped[-1][0] <= limit_bytes:
            first, last, group = grouped[-1]
            group.append(place)
            grouped[-1] = (first, max(last, end), group)
        else:
            grouped.append((start, end, [place]))
    return grouped


def unpack_at(place: RecordLocation, data: bytes, start: int) -> bytes:
    """Returns a record's verified content, from a range of its pack that begins at `start`."""
    offset = place.record.offset - start
    return pack.unpack(place.record, memoryview(data)[offset : offset + place.record.stored_length])


def unpack_range(place: RecordLocation, data: bytes, start: int) -> tuple[memoryview, bytes]:
    """Returns a record's stored bytes and its verified content, from a range of its pack that begins at `start`."""
    offset = place.record.offset - start
    stored = memoryview(data)[offset : offset + place.record.stored_length]
    return stored, pack.unpack(place.record, stored)


def whole_pack(data: bytes, name: Digest) -> Pack:
    """Returns a downloaded pack after checking every record in it against its oid."""
    records = pack.open_whole(data, name)
    view = memoryview(data)
    for record in records:
        pack.unpack(record, view[record.offset : record.offset + record.stored_length])
    return Pack(name, pack.check_header(view, name), data, records)
