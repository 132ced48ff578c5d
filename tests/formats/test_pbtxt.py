"""Protobuf's text format: what is read, where it stands, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import pbtxt

CONFIG = """\
name: "birds"  # a remark with "quotes" and {
input [ { name: "X" dims: [ -1, 3 ] }, { name: 'Y' dims: -1 } ]
version_policy: { specific: { versions: [ 3 ] versions: 4 } }
parameters { key: "a" value < string_value: "b\\n" "\\303\\251\\x21" > };
ratio: 1.5e-3, on: true
"""


def test_fields_are_read_with_the_place_where_they_stand():
    fields = pbtxt.parse(CONFIG, "it")
    assert [field.name for field in fields] == ["name", "input", "version_policy", "parameters", "ratio", "on"]
    assert CONFIG[fields[0].start : fields[0].end] == 'name: "birds"'
    assert CONFIG[fields[3].start : fields[3].end].endswith("};")
    (policy,) = pbtxt.messages(fields, "version_policy")
    assert pbtxt.texts(pbtxt.messages(policy, "specific")[0], "versions") == ["3", "4"]
    assert [pbtxt.texts(one, "dims") for one in pbtxt.messages(fields, "input")] == [["-1", "3"], ["-1"]]
    (value,) = pbtxt.messages(pbtxt.messages(fields, "parameters")[0], "value")
    assert pbtxt.texts(value, "string_value") == ["b\né!"]


@pytest.mark.parametrize(
    "text", ["a", "a:", "a {", "a: [1", "a: 1 }", "\0", "a" + "{a" * 40, "a:" + "[" * 40, 'a: "x', "a: 1\n: 2", "a b"]
)
def test_what_is_no_message_is_refused_with_its_line(text):
    with pytest.raises(FormatError, match=r"cannot read it line \d+: "):
        pbtxt.parse(text, "it")


def test_a_text_that_is_too_long_is_not_read():
    with pytest.raises(FormatError, match="more than"):
        pbtxt.parse(" " * (pbtxt.LIMIT_BYTES + 1), "it")


@given(st.text(st.characters(max_codepoint=0x3FF), max_size=60))
def test_a_text_is_read_as_it_was_written(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    (field,) = pbtxt.parse(f"a: {pbtxt.quoted(text)}", "it")
    assert field.value == text


@given(st.text(alphabet="ab:{}[]<>\",;# \n\\'-1", max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        fields = pbtxt.parse(text, "it")
    except FormatError:
        return
    assert all(text[field.start : field.end].startswith(field.name) for field in fields)
