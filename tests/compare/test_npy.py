"""Arrays of NumPy: compared by element, and never unpickled."""

import io
import math
import struct
import warnings
import zipfile
from array import array

import pytest

from tests.compare.arrays import npy, npz


def test_arrays_within_the_tolerance_are_equivalent(compared):
    old, new = npy([1.0, 2.0, 3.0]), npy([1.0, 2.002, 3.0])
    assert compared(old, new, name="a.npy", kind="npy", rtol=0.01).equivalent
    found = compared(old, new, name="a.npy", kind="npy", rtol=0.0001)
    assert found.lines == ("largest difference 0.002; 1 of 3 numbers differ, most at [1]: 2 -> 2.002 (+0.1%)",)


def test_the_place_of_the_largest_difference_follows_the_order_in_memory(compared):
    old = npy([0.0] * 6, shape=(2, 3))
    new = npy([0.0, 0.0, 0.0, 0.0, 5.0, 1.0], shape=(2, 3))
    assert "most at [1, 1]" in compared(old, new, name="a.npy", kind="npy").lines[0]
    old, new = (npy([0.0, 0.0, 0.0, value, 0.0, 0.0], shape=(2, 3), fortran=True) for value in (0.0, 5.0))
    assert "most at [1, 1]" in compared(old, new, name="a.npy", kind="npy").lines[0]


def test_shape_and_type_are_told_first(compared):
    assert compared(npy([1.0]), npy([1.0, 2.0]), name="a.npy", kind="npy").lines == ("shape (1,) -> (2,)",)
    assert compared(npy([1.0]), npy([1], "f", "<f4"), name="a.npy", kind="npy").lines == ("type <f8 -> <f4",)


@pytest.mark.parametrize(
    ("code", "descr", "values"),
    [
        ("B", "|b1", [0, 1]),
        ("b", "|i1", [-5, 5]),
        ("H", "<u2", [1, 60000]),
        ("i", "<i4", [-70000, 70000]),
        ("q", "<i8", [-(2**62), 2**62]),
        ("f", "<f4", [0.5, -1.25]),
        ("d", "<f8", [math.nan, math.inf]),
        ("H", "<f2", [0x3C00, 0x4000]),
        ("f", "<c8", [1.0, 2.0]),
        ("d", "<c16", [1.0, 2.0]),
    ],
)
def test_every_kind_of_number_is_read(compared, code, descr, values):
    count = len(values) // (2 if "c" in descr else 1)
    old = npy(values, code, descr, shape=(count,))
    assert compared(old, npy(values, code, descr, shape=(count,), version=2), name="a.npy", kind="npy").equivalent
    other = npy([values[0], values[0]], code, descr, shape=(count,))
    assert not compared(old, other, name="a.npy", kind="npy").equivalent


def test_numbers_of_the_other_byte_order_are_swapped(compared):
    def big(value):
        swapped = array("d", [value])
        swapped.byteswap()
        return npy(swapped, descr=">f8")

    assert "1 -> 1.5" in compared(big(1.0), big(1.5), name="a.npy", kind="npy").lines[0]


def test_archives_are_compared_array_by_array(compared):
    old = npz(x=npy([1.0, 2.0]), y=npy([1], "q", "<i8"), gone=npy([0.0]))
    new = npz(y=npy([2], "q", "<i8"), x=npy([1.0, 2.0 + 1e-9]), came=npy([0.0]))
    found = compared(old, new, name="a.npz", kind="npy", rtol=1e-6)
    assert sorted(found.lines) == [
        "came is new",
        "gone is gone",
        "y: largest difference 1; 1 of 1 numbers differ, most at [0]: 1 -> 2 (+100%)",
    ]
    assert compared(npz(x=npy([1.0])), npz(x=npy([1.0 + 1e-9])), name="a.npz", kind="npy", rtol=1e-6).equivalent


def test_an_array_that_cannot_be_read_counts_by_its_bytes(compared):
    """As the `format` of a sparse matrix, which is text."""
    text = b"\x93NUMPY\x01\x00v\x00{'descr': '|S3', 'fortran_order': False, 'shape': (), }".ljust(127) + b"\ncsr"
    old = npz(format=text, x=npy([1.0]))
    assert compared(old, npz(format=text, x=npy([1.0 + 1e-9])), name="a.npz", kind="npy", rtol=1e-6).equivalent
    other = npz(format=text.replace(b"csr", b"csc"), x=npy([1.0]))
    assert not compared(old, other, name="a.npz", kind="npy", rtol=1e-6).equivalent


def test_what_follows_an_array_counts(compared):
    one = npy([1.0])
    for old, new in ((one + npy([2.0]), one + npy([3.0])), (one, one + b"x"), (npy([]), npy([]) + b"x")):
        assert compared(old, new, name="a.npy", kind="npy", rtol=1.0).lines == ("what follows the array differs",)
        assert compared(npz(x=old), npz(x=new), name="a.npz", kind="npy").lines == (
            "x: what follows the array differs",
        )
    assert compared(one + b"x", npy([1.5]) + b"x", name="a.npy", kind="npy", rtol=1.0).equivalent


def test_an_archive_with_two_arrays_of_one_name_is_refused(compared):
    def twice(value):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("x.npy", npy([value]))
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("x.npy", npy([9.0]))
        return buffer.getvalue()

    found = compared(twice(1.0), twice(2.0), name="a.npz", kind="npy")
    assert not found.equivalent
    assert found.lines[0] == "the recorded version has two arrays with the same name"


def test_booleans_are_no_numbers_with_a_tolerance(compared):
    assert not compared(npy([1], "B", "|b1"), npy([0], "B", "|b1"), name="a.npy", kind="npy", atol=1.0).equivalent


def test_arrays_of_objects_are_never_equivalent_even_empty(compared):
    old, new = (npy([], descr="|O", version=version) for version in (1, 2))
    assert not compared(old, new, name="a.npy", kind="npy").equivalent


@pytest.mark.parametrize("shape", ["(1L,)", "(1 ,)", "( 1,\n)", "()"])
def test_headers_are_read_however_they_are_spaced(compared, shape):
    head = f"{{\"shape\":{shape},'fortran_order':False , 'descr': '<f8'}}   ".encode()
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + struct.pack("<d", 2.0)
    other = npy([2.0], shape=() if shape == "()" else None)
    assert compared(data, other, name="a.npy", kind="npy").equivalent


@pytest.mark.parametrize("shape", ["(1 is 1,)", "('\\d',)", "(1or 2,)", "(1)", "(1,,)", "(1 2,)", "(1_0,)", "[1]"])
def test_a_header_is_not_evaluated(compared, shape):
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + struct.pack("<d", 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compared(data, data + b"x", name="a.npy", kind="npy")
    assert found.lines[0] == "the recorded version has a header that cannot be read, or a structured type"


PICKLE = b"cos\nsystem\n(S'touch /tmp/owned'\ntR."


@pytest.mark.parametrize(
    "new",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
        npy([1.0, 2.0])[:-3],
        npy([1.0], descr="|O")[:-8] + PICKLE,
        npy([1.0], descr="<U3"),
        npy([1.0], shape=(-1,)),
        npy([1.0], shape=(1 << 60,)),
        npy([1.0], shape=(True,)),
        b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').system('false')",
        b"PK\x03\x04 not an archive",
    ],
    ids=range(12),
)
def test_hostile_arrays_are_refused_and_no_pickle_is_opened(compared, new):
    found = compared(npy([1.0, 2.0]), new, name="a.npy", kind="npy", rtol=1.0)
    assert not found.equivalent
    assert found.lines
    assert all(len(line) < 200 and line.isprintable() for line in found.lines)


def test_a_large_array_takes_little_memory(compared):
    import tracemalloc

    old, new = npy([0.5] * 2_000_000), npy([0.5] * 1_999_999 + [0.75])
    tracemalloc.start()
    found = compared(old, new, name="a.npy", kind="npy")
    assert tracemalloc.get_traced_memory()[1] < 12 << 20
    tracemalloc.stop()
    assert "most at [1999999]" in found.lines[0]
