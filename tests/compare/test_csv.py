"""Tables: compared by cell, numbers within a tolerance."""

import pytest


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
        (b"a,b\n1,2\n", b"a,a\n1,2\n", "two columns with the same name"),
        (b"a,b\n1,2\n", b"a,b\n\xff\xfe,3\n", "is not a table"),
        (b"a,b\n1,2\n", b"a,b\n" + b"x" * 200_000, "is not a table"),
        (b"a,b\n1,2\n", b"", "the new version is not a table: it is empty"),
        (b"a,b\n1,2\n", b"\n\n", "the new version is not a table: it is empty"),
        (b"a,b\n1,2\n", b'a,b\n1,"2\n', "is not a table"),
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
