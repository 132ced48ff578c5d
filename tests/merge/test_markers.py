"""Conflict markers: both texts are whole between them, and they are recognised again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.merge.markers import marked, marker_line


def test_what_is_equal_at_both_ends_stands_once():
    text = marked(b"a\nours\nz\n", b"a\ntheirs\nmore\nz\n")
    assert text == b"a\n<<<<<<< ours\nours\n=======\ntheirs\nmore\n>>>>>>> theirs\nz\n"
    assert marker_line(text) == 2


def test_markers_are_as_long_as_git_asks():
    assert marked(b"a\n", b"b\n", size=9) == b"<<<<<<<<< ours\na\n=========\nb\n>>>>>>>>> theirs\n"


def test_a_last_line_without_an_end_gets_one():
    assert marked(b"a", b"b") == b"<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"


def test_a_side_may_be_empty():
    assert marked(b"", b"b\n") == b"<<<<<<< ours\n=======\nb\n>>>>>>> theirs\n"


@pytest.mark.parametrize("text", [b"", b"a\n=======\nb\n", b"a <<<<<<< b", b"<<<<<<<", b"<<<<<< x"])
def test_what_users_write_is_no_marker(text):
    assert marker_line(text) is None


LINES = st.lists(st.sampled_from([b"a", b"b", b"c", b""]), max_size=6).map(
    lambda rows: b"".join(row + b"\n" for row in rows)
)


@given(LINES, LINES)
def test_each_side_can_be_taken_back(ours, theirs):
    head, _, rest = marked(ours, theirs).partition(b"<<<<<<< ours\n")
    left, _, rest = rest.partition(b"=======\n")
    right, _, tail = rest.partition(b">>>>>>> theirs\n")
    assert (head + left + tail, head + right + tail) == (ours, theirs)
