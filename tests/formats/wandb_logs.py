"""W&B's run files for tests: records and the blocks that hold them, as its client writes them."""

import json
import struct
import zlib

from dvlite.formats.protobuf import field_bytes, field_whole

BLOCK = 1 << 15


def text(field, value):
    return field_bytes(field, value.encode())


def item(key, value, *nested):
    name = b"".join(text(2, part) for part in (key, *nested)) if nested else text(1, key)
    return name + text(16, value if isinstance(value, str) else json.dumps(value))


def items(field, values):
    return b"".join(field_bytes(field, item(key, value)) for key, value in values.items())


def run(run_id="abc123", *, config=(), tags=(), start=1_767_225_600, **texts):
    fields = {"entity": 2, "project": 3, "name": 8, "notes": 9, "host": 13}
    body = text(1, run_id) + b"".join(text(fields[key], value) for key, value in texts.items())
    body += field_bytes(4, items(1, dict(config))) + b"".join(text(10, tag) for tag in tags)
    return field_bytes(17, body + field_bytes(17, field_whole(1, start)))


def history(step, **values):
    return field_bytes(2, items(1, values) + field_bytes(2, field_whole(1, step)))


def summary(**values):
    return field_bytes(3, items(1, values))


def machine(program="train.py", *args, git=()):
    body = text(2, "CPython 3.11.7") + b"".join(text(5, one) for one in args) + text(6, program) + text(13, "ann")
    return field_bytes(26, body + (field_bytes(9, text(1, git[0]) + text(2, git[1])) if git else b""))


def artifact(name, *files):
    entries = (
        field_bytes(4, text(1, path) + text(2, digest) + field_whole(4, size) + (text(3, ref) if ref else b""))
        for path, digest, size, ref in files
    )
    return field_bytes(8, text(5, name) + field_bytes(12, b"".join(entries)))


def end(code=0, runtime=9):
    return field_bytes(18, field_whole(1, code) + field_whole(2, runtime))


def log(*records):
    """Returns the bytes of a file."""
    out = bytearray(b":W&B\xe1\xbe\x00")
    for data in records:
        left, is_first = data, True
        while left or is_first:
            room = BLOCK - len(out) % BLOCK
            if room < 7:
                out += bytes(room)
                room = BLOCK
            piece, left = left[: room - 7], left[room - 7 :]
            kind = (1 if is_first else 4) if not left else (2 if is_first else 3)
            out += struct.pack("<IHB", zlib.crc32(piece, zlib.crc32(bytes([kind]))), len(piece), kind) + piece
            is_first = False
    return bytes(out)
