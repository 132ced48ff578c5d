"""TensorBoard event files: what is written is read back; a record that is none ends in one error. What others wrote: test_series."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import event_file
from dvlite.formats.event_file import Scalar, _masked_crc

SCALARS = st.builds(
    Scalar,
    tag=st.text(max_size=20),
    step=st.integers(-(2**63), 2**63 - 1),
    value=st.floats(width=32, allow_nan=False),
    time=st.floats(allow_nan=False),
)


@given(st.lists(SCALARS, max_size=5))
def test_scalars_are_read_back(written):
    data = b"".join(event_file.write(map(event_file.scalar_event, written), 1.5))
    assert list(event_file.scalars(data)) == written


def test_the_data_of_a_plugin_is_no_scalar():
    event = event_file.plugin_event("_hparams_/x", "hparams", b"any", 1.5)
    assert list(event_file.scalars(b"".join(event_file.write([event], 1.5)))) == []


def test_the_masked_crc_is_that_of_others():
    assert (
        _masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    )  # RFC 3720, B.4


@given(st.binary(max_size=60))
def test_no_record_makes_a_file_fail_otherwise(body):
    head = struct.pack("<Q", len(body))
    data = head + struct.pack("<I", _masked_crc(head)) + body + bytes(4)
    try:
        list(event_file.scalars(data))
    except FormatError:
        return


@pytest.mark.parametrize("name", ["events.out.tfevents.1.host", "in/x.tfevents"])
def test_a_file_is_known_by_its_name(name):
    assert event_file.is_event_file(name)
    assert not event_file.is_event_file("tfevents/metrics.json")
