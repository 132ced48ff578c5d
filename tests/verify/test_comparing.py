"""Comparators: which other bytes are as good as those that were recorded, and which are not."""

import io
import json
import math
import struct
import zipfile
from array import array

import pytest

from dvlite.formats.comparator import Comparator
from dvlite.verify.comparing import comparator_for, compare_files, script_of
from dvlite.verify.comparison import Comparison


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
    assert not compared(f'{{"a": {huge}}}', f'{{"a": {huge + 1}}}', name="m.json", kind="json", rtol=1.0).equivalent
    assert not compared(f'{{"a": {huge}}}', '{"a": 0.5}', name="m.json", kind="json").equivalent


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
        (b"a,b\n1,2\n", b"", "there is no column 'a'"),
        (b"a,b\n1,2\n1,3\n", b"a,b\n1,2\n", "two rows have the same"),
    ],
)
def test_what_is_no_table_is_not_equivalent_and_why_is_said(compared, old, new, words):
    found = compared(old, new, name="t.csv", kind="csv", key="a", rtol=1.0)
    assert not found.equivalent
    assert words in found.lines[0]


def test_cells_beyond_the_last_column_count(compared):
    assert not compared("a\n1\n", "a\n1,2\n", name="t.csv", kind="csv").equivalent


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


def test_a_large_array_takes_little_memory_and_time(compared):
    import time
    import tracemalloc

    old, new = npy([0.5] * 2_000_000), npy([0.5] * 1_999_999 + [0.75])
    tracemalloc.start()
    began = time.process_time()
    found = compared(old, new, name="a.npy", kind="npy")
    assert time.process_time() - began < 2
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


# --- command


def test_a_command_decides_with_both_versions(compared):
    seen = []

    def run(script, old, new):
        seen.append((script, old.read_text(), new.read_text()))
        return Comparison(equivalent=True)

    assert compared("1", "2", name="m.bin", kind="command", run="python compare.py", command=run).equivalent
    assert seen == [('python compare.py "$1" "$2"', "1", "2")]


@pytest.mark.parametrize("run", ['cmp "$1" "$2"', 'cmp "$@"', "cmp ${1} ${2}"])
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
