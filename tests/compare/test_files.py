"""Comparators: which other bytes are as good as those that were recorded, and which are not."""

import io
import json
import math
import struct
import warnings
import zipfile
from array import array

import pytest

from dvlite.compare.files import comparator_for, compare_files, script_of
from dvlite.compare.outcome import Comparison
from dvlite.formats.comparator import Comparator


def never(script, old, new):
    pytest.fail(f"{script} was run")


@pytest.fixture
def compared(tmp_path):
    """Returns a function that compares two contents of a file by a comparator."""

    def run(old, new, *, name, command=never, **how):
        for folder, data in (("old", old), ("new", new)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return compare_files(tmp_path / "old" / name, tmp_path / "new" / name, name, Comparator(**how), command)

    return run


def npy(numbers, code="d", descr="<f8", shape=None, *, fortran=False, version=1):
    shape = (len(numbers),) if shape is None else shape
    head = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(head) + 1)
    return b"\x93NUMPY" + bytes((version, 0)) + length + head + b"\n" + array(code, numbers).tobytes()


def npz(**arrays):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in arrays.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


# --- json


def test_json_is_compared_by_value_not_by_its_writing(compared):
    assert compared('{"a": 1, "b": [1, 2]}', '{\n "b": [1.0, 2],\n "a": 1}', name="m.json", kind="json").equivalent


def test_numbers_within_the_tolerance_are_equivalent(compared):
    old, new = '{"acc": 0.931, "n": 1000}', '{"acc": 0.934, "n": 1001}'
    assert compared(old, new, name="m.json", kind="json", rtol=0.01).equivalent
    assert compared(old, new, name="m.json", kind="json", atol=1.0).equivalent
    found = compared(old, new, name="m.json", kind="json", rtol=0.001)
    assert found == Comparison(False, ("acc 0.931 -> 0.934 (+0.322%)",))


def test_ignored_keys_may_be_anything_even_absent(compared):
    old = '{"acc": 1, "time": {"seconds": 3}, "a": {"latency": 1}, "b": {"c": {"latency": 2}}}'
    new = '{"acc": 1, "time": {"seconds": "x"}, "a": {"latency": 5}, "b": {"c": {}}}'
    assert compared(old, new, name="m.json", kind="json", ignore=("time.seconds", "*.latency")).equivalent
    assert compared(old, new, name="m.json", kind="json", ignore=("time", "a", "b")).equivalent
    found = compared(old, new, name="m.json", kind="json", ignore=("*.latency",))
    assert found.lines == ('time.seconds 3 -> "x"',)


def test_a_key_that_came_or_went_and_another_type_are_differences(compared):
    found = compared(
        '{"a": 1, "b": true, "c": [1]}', '{"b": 1, "c": [1, 2], "d": null}', name="m.json", kind="json", rtol=9
    )
    assert found.lines == ("a is gone, it was 1", "b true -> 1", "c.1 is new: 2", "d is new: null")


def test_nan_equals_nan_and_infinity_no_number(compared):
    assert compared('{"a": NaN}', '{"a":NaN}', name="m.json", kind="json").equivalent
    assert not compared('{"a": NaN}', '{"a": 1}', name="m.json", kind="json", rtol=1e9, atol=1e9).equivalent
    assert not compared('{"a": 1}', '{"a": Infinity}', name="m.json", kind="json", rtol=1e9, atol=1e9).equivalent
    assert compared('{"a": -Infinity}', '{"a" : -Infinity}', name="m.json", kind="json").equivalent


def test_whole_numbers_beyond_floats_are_compared(compared):
    huge = 10**400
    assert compared(f'{{"a": {huge}}}', f'{{"a":  {huge}}}', name="m.json", kind="json").equivalent
    assert not compared(f'{{"a": {huge}}}', f'{{"a": {huge + 1}}}', name="m.json", kind="json").equivalent
    assert not compared(f'{{"a": {huge}}}', f'{{"a": {huge + 2}}}', name="m.json", kind="json", atol=1.0).equivalent
    assert compared(f'{{"a": {huge}}}', f'{{"a": {huge + 1}}}', name="m.json", kind="json", rtol=1e-9).equivalent
    assert not compared(f'{{"a": {huge}}}', '{"a": 0.5}', name="m.json", kind="json").equivalent


def test_whole_numbers_are_compared_in_full_and_none_is_infinite(compared):
    for old, new in (("9007199254740993", "9007199254740992.0"), ("1e400", "1e999"), ("1e400", "Infinity")):
        assert not compared(f"[{old}]", f"[{new}]", name="m.json", kind="json").equivalent
        assert not compared(f"[{old}]", f"[{new}]", name="m.json", kind="json", atol=0.5).equivalent
    assert compared("[1e400, 1e3]", "[1e400, 1000]", name="m.json", kind="json").equivalent
    assert not compared("[1.7e308]", "[-1.7e308]", name="m.json", kind="json", rtol=1.5).equivalent
    assert compared("[1.7e308]", "[-1.7e308]", name="m.json", kind="json", rtol=2.5).equivalent


def test_a_key_that_is_given_twice_is_refused(compared):
    found = compared('{"a": 1, "a": 2}', '{"a": 3, "a": 2}', name="m.json", kind="json")
    assert not found.equivalent
    assert found.lines[0] == "the recorded version cannot be read: it is not JSON: a key is given twice"


def test_yaml_and_toml_are_compared_by_their_name(compared):
    assert compared("a: 1\nb: x\n", "b: x\na: 1\n", name="m.yaml", kind="json").equivalent
    assert compared("a = 1.0\n", "a = 1.001\n", name="m.toml", kind="json", rtol=0.01).equivalent


@pytest.mark.parametrize("new", ["{", "[" * 100_000, '{"a": ' + "1" * 5000 + "}", b"\xff\xfe\x00"])
def test_what_is_no_json_is_not_equivalent_and_why_is_said(compared, new):
    found = compared('{"a": 1}', new, name="m.json", kind="json", rtol=1.0)
    assert not found.equivalent
    assert found.lines[0].startswith("the new version cannot be read: it is not JSON") or "a 1 ->" in found.lines[0]
    assert all(len(line) < 200 and line.isprintable() for line in found.lines)


def test_a_deep_document_is_compared_without_recursion(compared):
    deep = "[" * 500 + "1" + "]" * 500
    assert not compared(deep, deep.replace("1", "2"), name="m.json", kind="json").equivalent


# --- csv


def test_columns_are_matched_by_name_and_rows_by_order(compared):
    old, new = "id,acc,note\n1,0.5,x\n2,0.6,y\n", "note,id,acc\nx,1,0.5001\ny,2,0.6\n"
    assert compared(old, new, name="t.csv", kind="csv", rtol=0.001).equivalent
    assert compared(old, new, name="t.csv", kind="csv").lines == ("row 1 acc: 0.5 -> 0.5001 (+0.02%)",)


def test_with_a_key_the_order_of_rows_does_not_count(compared):
    old, new = "id,v\na,1\nb,2\n", "id,v\nb,2\na,1\n"
    assert not compared(old, new, name="t.csv", kind="csv").equivalent
    assert compared(old, new, name="t.csv", kind="csv", key="id").equivalent
    found = compared(old, "id,v\nb,2\nc,1\n", name="t.csv", kind="csv", key="id")
    assert found.lines == ("id=c is new", "id=a is gone")


def test_ignored_columns_do_not_count(compared):
    old, new = "id,seconds\n1,3\n", "id,seconds\n1,4\n"
    assert compared(old, new, name="t.csv", kind="csv", ignore=("seconds",)).equivalent
    assert compared(old, "id\n1\n", name="t.csv", kind="csv", ignore=("seconds",)).equivalent


def test_columns_and_rows_that_came_or_went_are_told(compared):
    found = compared("a,b\n1,2\n1,2\n", "a,c\n1,2\n", name="t.csv", kind="csv")
    assert found.lines == ("the column b is gone", "the column c is new", "row 2 is gone", "2 -> 1 rows")


def test_tables_with_tabs_go_by_their_name(compared):
    assert compared("a\tb\n1\t2\n", "a\tb\n1.0\t2\n", name="t.tsv", kind="csv").equivalent


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"a,b\n1,2\n", b"a,a\n1,2\n", "two columns of one name"),
        (b"a,b\n1,2\n", b"a,b\n\xff\xfe,3\n", "is no table"),
        (b"a,b\n1,2\n", b"a,b\n" + b"x" * 200_000, "is no table"),
        (b"a,b\n1,2\n", b"", "the new version is no table: it is empty"),
        (b"a,b\n1,2\n", b"\n\n", "the new version is no table: it is empty"),
        (b"a,b\n1,2\n", b'a,b\n1,"2\n', "is no table"),
        (b"a,b\n1,2\n", b"b\n2\n", "there is no column 'a'"),
        (b"a,b\n1,2\n1,3\n", b"a,b\n1,2\n", "two rows have the same"),
    ],
)
def test_what_is_no_table_is_not_equivalent_and_why_is_said(compared, old, new, words):
    found = compared(old, new, name="t.csv", kind="csv", key="a", rtol=1.0)
    assert not found.equivalent
    assert words in found.lines[0]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("a\n1\n", "a\n1,2\n", "row 1 cell 2: nothing -> 2"),
        ("a\n1\n", "a\n1,\n", "row 1 cell 2: nothing -> ''"),
        ("a,b\n1,2,3\n", "a,b\n1,2,4\n", "row 1 cell 3: 3 -> 4 (+33.3%)"),
        ("column 2\nx,y\n", "column 2\nz,y\n", "row 1 column 2: x -> z"),
        ("column 2\nx,y\n", "column 2\nx,z\n", "row 1 cell 2: y -> z"),
        ("a,b\n1\n", "a,b\n1,\n", "row 1 b: nothing -> ''"),
    ],
)
def test_cells_that_are_too_many_or_too_few_count(compared, old, new, line):
    assert compared(old, new, name="t.csv", kind="csv").lines == (line,)


def test_the_columns_are_those_of_the_first_line_that_is_not_empty(compared):
    found = compared("\na,b\n1,2\n", "\nc,d\n9,9\n", name="t.csv", kind="csv")
    assert found.lines == ("the columns a, b are gone", "the columns c, d are new")
    assert compared("\n\na\n1\n", "a\n\n1\n", name="t.csv", kind="csv").equivalent


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("9007199254740993", "9007199254740992"),
        ("9007199254740993", "9007199254740992.0"),
        ("1_0", "10"),
        ("007", "7"),
        ("1e400", "1e999"),
        ("1e400", "inf"),
        ("nan", "1"),
        ("\u0661", "1"),
        ("9" * 5000, "9" * 4999 + "8"),
    ],
)
def test_cells_that_a_careless_reader_takes_for_one_number_are_different(compared, old, new):
    assert not compared(f"a\n{old}\n", f"a\n{new}\n", name="t.csv", kind="csv").equivalent


@pytest.mark.parametrize(
    ("old", "new"),
    [("1", "1.0"), ("1e3", "1000"), ("-.5", " -0.50"), ("NaN", "nan"), ("inf", "Infinity"), ("+3", "3.")],
)
def test_cells_that_are_one_number_are_equivalent(compared, old, new):
    assert compared(f"a\n{old}\n", f"a\n{new}\n", name="t.csv", kind="csv").equivalent


def test_tables_of_very_many_columns_are_compared_too(compared):
    """It was quadratic: 11 s for a fifteenth of them, and so never done with these."""
    old, new = (",".join(f"{letter}{i}" for i in range(300_000)) for letter in "ab")
    assert not compared(old, new, name="t.csv", kind="csv").equivalent


# --- what is ignored


@pytest.mark.parametrize(
    ("kind", "old", "new", "ignore"),
    [
        ("json", '{"t": 1}', '{"t": 2}', "t"),
        ("json", '{"a": {"t": 1}, "t": 1}', '{"a": {"t": 2}, "t": 1}', "*t"),
        ("csv", "t\n1\n", "t\n2\n", "t"),
    ],
)
def test_where_all_is_ignored_nothing_is_equivalent(compared, kind, old, new, ignore):
    found = compared(old, new, name="file", kind=kind, ignore=(ignore,))
    assert not found.equivalent
    assert found.lines[0].endswith("ignored: nothing is left to compare")


def test_where_all_lines_are_ignored_there_must_be_as_many(compared):
    ignored = {"name": "log", "kind": "text", "ignore": ("^took .*",)}
    assert compared("took 1 s\n", "took 2 s\n", **ignored).equivalent
    assert compared("", "took 2 s\n", **ignored).lines == ("0 -> 1 line, all of them ignored",)
    assert compared("took 1 s\ntook 1 s", "took 2 s\n", **ignored).lines == ("2 -> 1 line, all of them ignored",)


def test_what_is_empty_but_not_ignored_is_compared(compared):
    assert compared('{"t": 1, "a": []}', '{"t": 2, "a": []}', name="m.json", kind="json", ignore=("t",)).equivalent
    assert not compared('{"t": 1, "a": []}', '{"t": 2, "a": {}}', name="m.json", kind="json", ignore=("t",)).equivalent


# --- npy


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
    assert found.lines[0] == "the recorded version has two arrays of one name"


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
    assert found.lines[0] == "the recorded version has a header that cannot be read, or structures"


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


# --- text


def test_text_is_compared_without_what_is_ignored(compared):
    old, new = "start\nloss=0.5 in 3.2 s\nend\n", "start\r\nloss=0.5 in 9 s\r\nend"
    assert compared(old, new, name="log", kind="text", ignore=(r"in [0-9.]+ s",)).equivalent
    found = compared(old, new.replace("0.5", "0.7"), name="log", kind="text", ignore=(r"in [0-9.]+ s",))
    assert found.lines == ("line 2 is the first that differs", "- loss=0.5 ", "+ loss=0.7 ")


def test_a_line_of_which_nothing_is_left_does_not_count(compared):
    assert compared(
        "a\nwarning: x\nb\n", "a\nb\nwarning: y\n", name="log", kind="text", ignore=("^warning.*",)
    ).equivalent
    assert not compared("a\n\nb\n", "a\nb\n", name="log", kind="text").equivalent


def test_only_how_a_line_ends_does_not_count(compared):
    for length in (1, 65_534, 65_535, 65_536):
        assert compared("x" * length + "\r\ny", "x" * length + "\ny\n", name="log", kind="text").equivalent
    for old, new in (("", "\n"), ("a\r\r\n", "a\n"), ("a\rb\n", "a\nb\n"), (b"\xff\n", b"\xfe\n"), ("a", "a\n\n")):
        assert not compared(old, new, name="log", kind="text").equivalent


# --- command


def test_a_command_decides_with_both_versions(compared):
    seen = []

    def run(script, old, new):
        seen.append((script, old.read_text(), new.read_text()))
        return Comparison(equivalent=True)

    assert compared("1", "2", name="m.bin", kind="command", run="python compare.py", command=run).equivalent
    assert seen == [('python compare.py "$1" "$2"', "1", "2")]


def test_a_command_that_says_nothing_is_spoken_for(compared):
    def run(script, old, new):
        return Comparison(equivalent=False)

    found = compared("1", "2", name="m.bin", kind="command", run="cmp -s", command=run)
    assert found.lines[0] == "the command says so, without words"
    assert "the first byte that differs is at offset 0" in found.lines[1]


@pytest.mark.parametrize(
    ("run", "script"),
    [
        ("python compare.py\n", 'python compare.py "$1" "$2"'),
        ("cd tools\npython compare.py;\n", 'cd tools\npython compare.py "$1" "$2"'),
        ("awk '{s+=$1} END {exit s}'", 'awk \'{s+=$1} END {exit s}\' "$1" "$2"'),
        ("""sh -c 'cmp "$1" "$2"' sh""", """sh -c 'cmp "$1" "$2"' sh "$1" "$2\""""),
        ("# of $1\ncmp -l \"it's\" '$1'", '# of $1\ncmp -l "it\'s" \'$1\' "$1" "$2"'),
        ("cmp \\$1", 'cmp \\$1 "$1" "$2"'),
    ],
)
def test_the_two_versions_are_added_to_a_script_that_does_not_take_them(run, script):
    assert script_of(Comparator("command", run=run)) == script


@pytest.mark.parametrize("run", ['cmp "$1" "$2"', 'cmp "$@"', "cmp ${1} ${2}", 'cmp "it\'s/$1" x', "cmp 'a b' $1 $2\n"])
def test_a_script_that_names_its_arguments_is_left_as_it_is(run):
    assert script_of(Comparator("command", run=run)) == run


# --- which comparator


def test_the_first_pattern_that_fits_chooses_the_comparator():
    declared = {"sub/*.json": Comparator("json", rtol=1), "*.json": Comparator("json"), "**": Comparator("text")}
    assert comparator_for(declared, "sub/a.json", "a.json").rtol == 1
    assert comparator_for(declared, "other/deep/a.json", "a.json").kind == "json"
    assert comparator_for(declared, "a.json", "a.json").kind == "json"
    assert comparator_for(declared, "a.log", "a.log").kind == "text"
    assert comparator_for({"*.npy": Comparator("npy")}, "a.log", "a.log") is None
    assert comparator_for({"*.npy": Comparator("npy")}, "", "x.npy").kind == "npy"


def test_the_lines_are_few_and_safe_whatever_the_file_holds(compared):
    old = json.dumps({f"k{i}\x1b[2J": i for i in range(1000)})
    new = json.dumps({f"k{i}\x1b[2J": i + 1 for i in range(1000)})
    found = compared(old, new, name="m.json", kind="json")
    assert len(found.lines) == 10
    assert found.lines[-1] == "991 more values differ"
    assert found.lines[0] == "k0\\x1b[2J 0 -> 1"
    assert all(line.isprintable() for line in found.lines)
