"""YAML without its traps: words stay text, the plain form is read without a parser, and what is refused names its line."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats.strict_yaml import _read_plain_blocks, _read_yaml, dump, load
from tests.formats.documents import CONFIG, DOCUMENTS


def test_the_plain_form_is_read_without_yaml_and_means_the_same():
    code = "import sys; from dvlite.formats import config; config.parse(sys.stdin.buffer.read(), 'x', 'committed'); assert 'yaml' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], input=CONFIG.encode(), check=True)
    assert _read_plain_blocks(CONFIG) == _read_yaml(CONFIG, "x")


LINES = st.lists(
    st.builds(
        lambda depth, body: "  " * depth + body,
        st.integers(0, 3),
        st.sampled_from(
            ["a:", "b:", "a: 1", "b: x", "c: ~", "d: 1:30", "e: NO", "f: -5", "g: 1e3", "h: 'q'", 'i: "q r"', "- x", "- 2", "-", "# c",
             "", "j: a # c", "k: a#b", "l: [1]", "m: a:", "n: @x", "o: 0o17", "p: 1.", "q: a, b", "r:x", "? s", "t: |", " u: 1", "v: ..."]
        ),
    ),
    max_size=8,
)  # fmt: skip


@given(LINES)
def test_what_the_short_reader_takes_yaml_reads_the_same(lines):
    text = "\n".join(lines)
    plain = _read_plain_blocks(text)
    if plain is not None:
        assert plain == _read_yaml(text, "x")


@given(DOCUMENTS)
def test_what_is_written_reads_back_the_same(value):
    assert load(dump(value), "x").value == value


@pytest.mark.parametrize(
    "text", ["NO", "off", "yes", "1:30", "0o17", "0x1f", "1_000", "2024-01-01", "1" * 5000, "1e999", ".inf", "<<", "="]
)
def test_words_that_yaml_would_turn_into_something_else_stay_text(text):
    assert load(f"a: {text}\nb: [x]\n".encode(), "x").value["a"] == text
    assert load(f"a: {text}\n".encode(), "x").value["a"] == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a: &x 1\nb: *x\n", "anchors"),
        (b"a: [x]\nb: *x\n", "aliases"),
        (b"a: !!python/object/apply:os.system [id]\n", "tags"),
        (b"a: !x 1\n", "tags"),
        (b"a: 1\na: 2\n", "'a' is given twice"),
        (b"a: {b: 1, b: 2}\n", "'b' is given twice"),
        (b"a: 1\n---\nb: 2\n", "second document"),
        (b"- a\n- b\n", "not a mapping"),
        (b"[" * 100_000, "nested deeper than 50 levels"),
        (b"a: " + b"{a: " * 100_000, "nested deeper than 50 levels"),
        (b"a: " + b"x" * (1 << 20), "more than"),
        (b"a: \xff\n", "UTF-8"),
        (b"a: b: c\n", "not allowed"),
        (b"a: \x07\n", "control character"),
        (b"<<<<<<< HEAD\na: 1\n", "."),
        (b"? {a: 1}\n: 2\n", "a key must be plain text"),
    ],
    ids=range(16),
)
def test_a_trap_is_one_clear_error_naming_a_line(data, reason):
    with pytest.raises(FormatError, match=rf"cannot read 'x' line \d+: .*({reason})") as caught:
        load(data, "x")
    assert "\n" not in caught.value.message


def test_an_empty_file_says_nothing():
    assert load(b"", "x").value == load(b"# only this\n", "x").value == load(b"---\n", "x").value == {}
