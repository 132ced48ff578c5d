"""JSON of our own formats: one encoding, and nothing that another parser could read otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import strict_json

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_what_is_written_reads_back(value):
    assert strict_json.parse(strict_json.dump(value), "x") == value


def test_a_value_has_one_encoding():
    assert strict_json.dump({"b": [1, "é\n"], "a": None}) == b'{"a":null,"b":[1,"\\u00e9\\n"]}\n'


HOSTILE = {
    "23 NaN": b'{"a":NaN}',
    "23 Infinity": b'{"a":-Infinity}',
    "23 1e999": b'{"a":1e999}',
    "23 a fraction": b'{"a":1.0}',
    "24 empty": b"",
    "24 byte order mark": b'\xef\xbb\xbf{"a":1}',
    "24 Latin-1": b'{"a":"\xe9"}',
    "24 UTF-16": '{"a":1}'.encode("utf-16"),
    "25 duplicate key": b'{"a":1,"a":1}',
    "25 duplicate key inside": b'{"x":{"a":1,"a":2}}',
    "26 brackets": b"[" * 100_000,
    "26 braces": b'{"a":' * 100_000,
    "29 a number of 5,000 digits": b'{"a":' + b"1" * 5000 + b"}",
    "an array": b"[1]",
    "two values": b"{} {}",
    "a comment": b"{} // x",
    "a control character": b'{"a":"\n"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_refused_in_one_line(name):
    with pytest.raises(FormatError, match=r"^cannot read the thing: ") as caught:
        strict_json.parse(HOSTILE[name], "the thing")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 200


def test_brackets_in_strings_neither_hide_nor_make_depth():
    hidden = b'{"a":' + b'["]",' * 20 + b"1" + b"]" * 20 + b"}"
    with pytest.raises(FormatError, match="nested too deeply"):
        strict_json.parse(hidden, "x")
    assert strict_json.parse(b'{"a":"\\"' + b"[" * 100 + b'"}', "x") == {"a": '"' + "[" * 100}
    with pytest.raises(FormatError, match="nested too deeply"):
        strict_json.parse(b'{"a\\' + b'"{' * 100_000, "x")


def test_fractions_are_read_where_they_are_asked_for():
    value = {"a": 0.1, "b": 1e-300, "c": 3, "d": [2.0]}
    assert strict_json.parse(strict_json.dump(value), "x", floats=True) == value
    for number in (b"1e999", b"-1e999", b"NaN", b"Infinity", b"0." + b"1" * 50):
        with pytest.raises(FormatError, match="is not accepted"):
            strict_json.parse(b'{"a":' + number + b"}", "x", floats=True)


def test_the_depth_is_bounded_as_asked():
    value = {"a": [[[1]]]}
    assert strict_json.parse(strict_json.dump(value), "x", depth=4) == value
    with pytest.raises(FormatError, match="nested too deeply"):
        strict_json.parse(strict_json.dump(value), "x", depth=3)


def test_a_10_mb_scalar_is_refused_unread():
    with pytest.raises(FormatError, match="at most"):
        strict_json.parse(b'{"a":"' + b"x" * 10_000_000 + b'"}', "x")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_format_error(data):
    try:
        strict_json.parse(data, "x")
    except FormatError as error:
        if "\n" in error.message:
            pytest.fail(error.message)
