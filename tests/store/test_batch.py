"""Batches of run records: what goes in comes out, one record alone too, and no bytes take more memory than a batch may."""

import json
import random
import subprocess
import sys

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import DvliteError, FormatError, ObjectCorrupt
from dvlite.oid import digest_bytes, digest_run
from dvlite.store import batch

HEADER = b'{"dvlite_runs":1,"nonce":"00"}\n'


def nonces():
    number = 0
    while True:
        number += 1
        yield number.to_bytes(16, "big")


def one(lines):
    (made,) = batch.encode(lines, nonces())
    return made


def frame(data, **settings):
    return zstandard.ZstdCompressor(**settings).compress(data)


def whole(*frames, counts=None):
    """Returns frames as a batch: with a table that says how many records each has, of no certain digests."""
    records = [0] * len(frames) if counts is None else counts
    parts = [(data, [bytes(32)] * count) for data, count in zip(frames, records, strict=True)]
    return batch._finish(parts).data


LINES = [b'{"number":%d,"words":"%s"}\n' % (number, b"x" * (number % 900)) for number in range(5000)]


def test_records_come_back_in_order():
    made = one(LINES)
    assert [line.data for line in batch.decode(made.data, "x")] == LINES
    assert made.name == digest_bytes(made.data).hex()


def test_one_record_is_read_from_its_frame_alone():
    made = one(LINES)
    found = list(batch.decode(made.data, "x"))
    assert len({line.frame for line in found}) > 5
    for line in found[::97]:
        part = made.data[line.frame : line.frame + line.frame_bytes]
        assert batch.read_line(part, line.start, len(line.data), "x") == line.data


def test_a_few_records_are_found_with_two_reads_and_without_the_others():
    lines = [b'{"number":%d,"words":"%s"}\n' % (n, random.Random(n).randbytes(300).hex().encode()) for n in range(3000)]
    made, reads = one(lines), []

    def read(start, end):
        reads.append(end - start)
        return made.data[start:end]

    wanted = {digest_run(lines[number]) for number in (2000, 2001)}
    found = list(batch.find(read, len(made.data), wanted, "x"))
    assert [line.data for line in found] == lines[2000:2002]
    assert len(reads) == 2
    assert sum(reads) < len(made.data) / 3
    assert list(batch.find(read, len(made.data), {digest_run(b"another")}, "x")) == []
    assert len(reads) == 3


def test_any_zstd_program_prints_the_records():
    printed = zstandard.ZstdDecompressor().stream_reader(one(LINES).data, read_across_frames=True).read()
    assert printed.partition(b"\n")[2] == b"".join(LINES)


def test_the_first_line_is_a_header_with_the_nonce():
    made = one(LINES[:1])
    first = zstandard.ZstdDecompressor().decompress(made.data).split(b"\n")[0]
    assert json.loads(first) == {"dvlite_runs": 1, "nonce": "0" * 31 + "1"}


def test_the_same_records_never_have_the_same_name_twice():
    source = nonces()
    assert next(batch.encode(LINES[:1], source)).name != next(batch.encode(LINES[:1], source)).name


def test_no_records_are_no_batch():
    assert list(batch.encode([], nonces())) == []


def test_very_many_records_become_several_batches(monkeypatch):
    monkeypatch.setattr(batch, "TARGET_RAW_BYTES", 100_000)
    made = list(batch.encode(LINES, nonces()))
    assert len(made) > 10
    assert [line.data for one_of in made for line in batch.decode(one_of.data, "x")] == LINES
    assert all(batch.raw_size(one_of.data, "x") < 102_000 for one_of in made)


def test_its_length_is_known_without_decompressing():
    made = one(LINES)
    assert batch.raw_size(made.data, "x") == sum(map(len, LINES)) + len(
        b'{"dvlite_runs":1,"nonce":"00000000000000000000000000000001"}\n'
    )


def test_a_version_that_is_not_known_asks_for_an_upgrade():
    with pytest.raises(FormatError, match="was written by a later dvlite") as caught:
        list(batch.decode(frame(b'{"dvlite_runs":2}\n') + b"something new", "the batch"))
    assert not isinstance(caught.value, ObjectCorrupt)


def with_size(data, size_bytes):
    """Returns a frame whose header claims another length (single segment, 8 bytes of length)."""
    block = (len(data) << 3 | 1).to_bytes(3, "little") + data
    return b"\x28\xb5\x2f\xfd" + b"\xe0" + size_bytes.to_bytes(8, "little") + block


BOMB = whole(frame(HEADER), frame(b"\n" * (60 << 20)), counts=[0, 1])
MANY_LINES = whole(frame(HEADER), *[frame(b"{}\n" * 80_000) for _ in range(30)], counts=[0, *[1] * 30])
MANY_BYTES = whole(frame(HEADER), *[frame(b"x" * (4 << 20) + b"\n")] * 17, counts=[0, *[1] * 17])
HOSTILE = {
    "nothing": b"",
    "no zstd": b"hello, this is no batch at all",
    "cut in a frame header": one(LINES).data[:5],
    "cut in a block": one(LINES).data[:-7],
    "rubbish at the end": one(LINES).data + b"rubbish",
    "no table": frame(HEADER + b'{"a":1}\n'),
    "a table alone": one(LINES).data[-8 * len(LINES) - 200 :],
    "a table of other records": whole(frame(HEADER + b'{"a":1}\n'), counts=[1]),
    "a table of fewer records": whole(frame(HEADER + b'{"a":1}\n')),
    "a table of a billion records": one(LINES).data[:-4] + b"\xff" * 4,
    "a table of longer frames": whole(frame(HEADER))[:-16] + b"\xff" + whole(frame(HEADER))[-15:],
    "no header": whole(frame(b'{"a":1}\n')),
    "no line end": whole(frame(HEADER + b'{"a":1}')),
    "an empty frame": whole(frame(HEADER), frame(b"")),
    "a frame of 60 MiB": BOMB,
    "two million lines": MANY_LINES,
    "68 MiB in frames that are small enough": MANY_BYTES,
    "100,000 frames": whole(frame(HEADER), *[frame(b"\n")] * 100_000),
    "a length of an exabyte": whole(with_size(HEADER, 1 << 60)),
    "a length that is not given": whole(frame(HEADER, write_content_size=False)),
    "a length that is too short": whole(with_size(HEADER, len(HEADER) - 1)),
    "a skippable frame": b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
    "a reserved block": b"\x28\xb5\x2f\xfd\x20\x01\x07\x00\x00",
    "a window of 2 GiB": b"\x28\xb5\x2f\xfd" + bytes([0x80, 21 << 3]) + (31).to_bytes(4, "little") + b"\x01\x00\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_batch_is_refused(name):
    with pytest.raises((ObjectCorrupt, FormatError)) as caught:
        for _ in batch.decode(HOSTILE[name], "the batch"):
            pass
    assert "the batch" in caught.value.message


def test_a_bomb_takes_no_memory():
    """In a process of its own, with room for no more than a batch."""
    code = (
        "import resource, sys; from dvlite.store import batch; from dvlite.errors import ObjectCorrupt\n"
        "data = sys.stdin.buffer.read()\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20),) * 2)\n"
        "try:\n    [None for _ in batch.decode(data, 'x')]\nexcept ObjectCorrupt: print('refused')"
    )
    for data in (BOMB, MANY_LINES, MANY_BYTES):
        done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True)
        assert done.stdout == b"refused\n", done.stderr.decode()


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_are_a_batch_or_an_error(data, at):
    whole = one(LINES[:3]).data
    for damaged in (data, whole[:at] + data + whole[at + len(data) :]):
        try:
            list(batch.decode(damaged, "x"))
        except DvliteError as error:
            if "\n" in error.message:
                pytest.fail(error.message)
