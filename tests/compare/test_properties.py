"""Comparators, with any content and one change to it: equivalent exactly when a plain, slow reading of the rules says so."""

import copy
import csv
import io
import json
import math
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dvlite.compare.files import compare_files
from dvlite.formats.comparator import Comparator
from tests.compare.arrays import npy, npz
from tests.compare.conftest import never

# Powers of two, so that a product with them is exact and no rounding decides.
TOLERANCES = st.sampled_from((0.0, 0.0, 2.0**-30, 0.125, 1.0))
NUMBERS = st.one_of(
    st.integers(-20, 20),
    st.integers(2**53 - 3, 2**53 + 3),
    st.floats(),
    st.floats(-4, 4, width=16),
    st.sampled_from((9007199254740993, 9007199254740992.0, 10**400, 10**400 + 1, 1.7e308, -1.7e308, -0.0, 5e-324)),
)
TEXTS = st.sampled_from(("", "x", "X", "007", "1_0", "1e400", "1e999", "a,b", 'q"', "l\nm", "\u0663", "column 2", "-"))


def equivalent(name, old, new, **how):
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder, side) for side in ("old", "new")]
        for place, data in zip(places, (old, new), strict=True):
            place.write_bytes(data)
        found = compare_files(*places, name, Comparator(**how), never)
    assert found.equivalent or found.lines
    return found.equivalent


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def alike(old, new, rtol, atol):
    """Says whether two numbers are alike by the rule itself, with nothing rounded; other values, whether they are the same."""
    if not (is_number(old) and is_number(new)):
        return type(old) is type(new) and old == new
    finite = [isinstance(value, int) or math.isfinite(value) for value in (old, new)]
    if not all(finite):
        return old == new or (old != old and new != new)  # not a number
    difference = abs(Fraction(new) - Fraction(old))
    most = Fraction(atol) + Fraction(rtol) * abs(Fraction(old))
    assume(not difference or not most or abs(difference - most) * 2**40 > most)  # there, rounding decides
    return difference <= most


@st.composite
def changed_number(draw, value):
    """Another number, often a near one."""
    if not is_number(value) or draw(st.booleans()):
        return draw(NUMBERS)
    if isinstance(value, int):
        near = [value + 1, value - 1]
        return draw(st.sampled_from([*near, float(value)] if abs(value) < 2**60 else near))
    assume(math.isfinite(value))
    return draw(st.sampled_from((math.nextafter(value, math.inf), value * (1 + 2**-31), value + 0.0625, -value)))


# --- tables

COLUMNS = st.lists(st.sampled_from(("a", "b", "t", "column 2", "column 3", "cell 2", "")), min_size=1, unique=True)


@st.composite
def tables(draw):
    columns = draw(COLUMNS)
    row = st.lists(NUMBERS | TEXTS, min_size=1, max_size=len(columns) + 2)
    return [columns, *draw(st.lists(row, max_size=4))]


@st.composite
def changed_table(draw, table):
    new = copy.deepcopy(table)
    if draw(st.integers(0, 4)) == 0:
        new[0] = draw(COLUMNS)
        return new
    at = draw(st.integers(1, len(new)))
    if at == len(new):
        return [*new, draw(st.lists(NUMBERS | TEXTS, min_size=1, max_size=3))]
    change = draw(st.sampled_from(("cell", "longer", "shorter", "gone", "moved")))
    if change == "cell":
        place = draw(st.integers(0, len(new[at]) - 1))
        new[at][place] = draw(changed_number(new[at][place]) | TEXTS)
    elif change == "longer":
        new[at].append(draw(NUMBERS | TEXTS))
    elif change == "shorter" and len(new[at]) > 1:
        new[at].pop()
    elif change == "gone":
        new.pop(at)
    else:
        new.append(new.pop(at))
    return new


def table_bytes(table, *, blank):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in table:
        file.write("\n" * blank)
        writer.writerow([repr(cell) if is_number(cell) else cell for cell in row])
    return file.getvalue().encode()


def same_tables(old, new, rtol, atol, ignore):
    def rows(columns, rest):
        return [
            (
                {name: row[at] for at, name in enumerate(columns) if at < len(row) and name not in ignore},
                row[len(columns) :],
            )
            for row in rest
        ]

    names = [{name for name in table[0] if name not in ignore} for table in (old, new)]
    if names[0] != names[1] or not names[0] or len(old) != len(new):
        return False
    for (one, more), (other, too) in zip(rows(old[0], old[1:]), rows(new[0], new[1:]), strict=True):
        if one.keys() != other.keys() or len(more) != len(too):
            return False
        pairs = [*((one[name], other[name]) for name in one), *zip(more, too, strict=True)]
        if not all(alike(left, right, rtol, atol) for left, right in pairs):
            return False
    return True


@given(st.data(), tables(), TOLERANCES, TOLERANCES, st.sampled_from(((), ("t",))), st.integers(0, 2))
def test_tables_are_equivalent_only_within_what_is_declared(data, old, rtol, atol, ignore, blank):
    new = data.draw(changed_table(old))
    found = equivalent(
        "t.csv",
        table_bytes(old, blank=0),
        table_bytes(new, blank=blank),
        kind="csv",
        rtol=rtol,
        atol=atol,
        ignore=ignore,
    )
    assert found == same_tables(old, new, rtol, atol, ignore)


# --- values

LEAVES = NUMBERS | TEXTS | st.none() | st.booleans()
KEYS = st.sampled_from(("a", "b", "t", "a.b", "0", ""))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


@st.composite
def changed_value(draw, value):
    """The value with one part replaced, removed or added."""
    if not isinstance(value, dict | list) or draw(st.integers(0, 3)) == 0:
        return draw(changed_number(value) | VALUES)
    new = copy.copy(value)
    places = list(range(len(new))) if isinstance(new, list) else list(new)
    change = draw(st.sampled_from(("into", "into", "into", "gone", "new"))) if places else "new"
    if change == "new":
        if isinstance(new, list):
            new.append(draw(VALUES))
        else:
            new[draw(KEYS)] = draw(VALUES)
        return new
    place = draw(st.sampled_from(places))
    if change == "gone":
        del new[place]
    else:
        new[place] = draw(changed_value(new[place]))
    return new


def without(value, ignore):
    if isinstance(value, dict):
        return {key: without(child, ignore) for key, child in value.items() if key not in ignore}
    return [without(child, ignore) for child in value] if isinstance(value, list) else value


def same_values(old, new, rtol, atol):
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(same_values(old[key], new[key], rtol, atol) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        pairs = zip(old, new, strict=False)
        return len(old) == len(new) and all(same_values(one, other, rtol, atol) for one, other in pairs)
    return alike(old, new, rtol, atol)


@given(st.data(), VALUES, TOLERANCES, TOLERANCES, st.sampled_from(((), ("t",))))
def test_values_are_equivalent_only_within_what_is_declared(data, value, rtol, atol, ignore):
    old, new = ({"always": 1, "all": each} for each in (value, data.draw(changed_value(value))))
    files = [json.dumps(each, indent=indent).encode() for each, indent in ((old, None), (new, 1))]
    declared = tuple(f"*.{key}" for key in ignore)
    found = equivalent("m.json", *files, kind="json", rtol=rtol, atol=atol, ignore=declared)
    assert found == same_values(without(old, ignore), without(new, ignore), rtol, atol)


# --- arrays

ARRAYS = {
    "<f8": ("d", st.floats()),
    "<f4": ("f", st.floats(width=32)),
    "<i8": ("q", st.integers(-(2**63), 2**63 - 1)),
    "<u8": ("Q", st.integers(0, 2**64 - 1)),
    "|i1": ("b", st.integers(-128, 127)),
    "|b1": ("B", st.integers(0, 1)),
}


@st.composite
def arrays(draw):
    descr = draw(st.sampled_from(sorted(ARRAYS)))
    return descr, draw(st.lists(ARRAYS[descr][1], max_size=6)), b""


@st.composite
def changed_array(draw, old):
    descr, numbers, tail = copy.deepcopy(old)
    change = draw(st.sampled_from(("number", "number", "more", "type", "tail")))
    if change == "number" and numbers:
        at = draw(st.integers(0, len(numbers) - 1))
        near = [n for n in (numbers[at] + 1, numbers[at] - 1) if descr == "<f8" or ("8" in descr and 0 <= n < 2**63)]
        numbers[at] = draw(st.sampled_from(near) | ARRAYS[descr][1] if near else ARRAYS[descr][1])
    elif change == "more":
        numbers.append(draw(ARRAYS[descr][1]))
    elif change == "type":
        descr = draw(st.sampled_from(sorted(ARRAYS)))
        numbers = draw(st.lists(ARRAYS[descr][1], min_size=len(numbers), max_size=len(numbers)))
    else:
        tail = draw(st.binary(max_size=9))
    return descr, numbers, tail


def array_bytes(made, version=1):
    descr, numbers, tail = made
    return npy(numbers, ARRAYS[descr][0], descr, version=version) + tail


def same_arrays(old, new, rtol, atol):
    if old[0] != new[0] or len(old[1]) != len(new[1]) or old[2] != new[2]:
        return False
    rtol, atol = (0.0, 0.0) if "b1" in old[0] else (rtol, atol)
    return all(alike(one, other, rtol, atol) for one, other in zip(old[1], new[1], strict=True))


@given(st.data(), arrays(), TOLERANCES, TOLERANCES, st.booleans())
def test_arrays_are_equivalent_only_within_what_is_declared(data, old, rtol, atol, archived):
    new = data.draw(changed_array(old))
    files = array_bytes(old), array_bytes(new, version=2)
    if archived:
        still = array_bytes(("<f8", [1.0], b""))
        files = npz(x=files[0], y=still), npz(y=still, x=files[1])
    found = equivalent("a.npy", *files, kind="npy", rtol=rtol, atol=atol)
    assert found == same_arrays(old, new, rtol, atol)


# --- text

LINES = st.lists(st.text("ab#\r\u00e9\t", max_size=4).map(lambda line: line.rstrip("\r")), max_size=5)


def left_of(lines):
    """What counts where all after a # is ignored."""
    return [line.partition("#")[0] for line in lines if not line.startswith("#")]


@given(LINES, st.integers(0, 5), LINES, st.sampled_from(("\n", "\r\n")), st.booleans())
@example(["#a"], 0, ["#b"], "\n", True)
def test_lines_are_equivalent_only_within_what_is_declared(old, at, between, ending, ignores):
    new = [*old[:at], *between[:1], *old[at + len(between[1:2]) :]]
    files = "".join(line + "\n" for line in old).encode(), "".join(line + ending for line in new).encode()
    found = equivalent("log", *files, kind="text", ignore=("#[^\n]*",) if ignores else ())
    if ignores:
        assert found == (left_of(old) == left_of(new) and (left_of(old) != [] or len(old) == len(new)))
    else:
        assert found == (old == new)


# --- damage


@pytest.mark.parametrize("kind", ["json", "csv", "npy", "text"])
@given(st.data())
def test_no_bytes_make_a_comparator_fail(kind, data):
    sound = data.draw(
        st.sampled_from(
            (b'{"a": [1, 2.5, "x"]}', b'a,"b"\n1,"2"\n', npy([1.0, 2.0]), npz(x=npy([1.0])), b"a\r\nb", b"\xff\xfe")
        )
    )
    at = data.draw(st.integers(0, len(sound)))
    broken = sound[:at] + data.draw(st.binary(max_size=4)) + sound[at + data.draw(st.integers(0, 4)) :]
    assume(broken != sound)
    equivalent("file", sound, broken, kind=kind, rtol=0.125)
    equivalent("file", broken, sound, kind=kind, rtol=0.125)
