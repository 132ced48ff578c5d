"""`tables:` of a pipeline file: keys, ignored columns, tolerances."""

import pytest

from dvlite.errors import FormatError
from dvlite.formats.pipeline import parse
from dvlite.formats.tables import TableSpec


def test_a_table_is_a_key_or_a_mapping():
    text = b"vars: [{of: id}]\ntables:\n  b.csv: id\n  d/*.parquet: {key: ['${of}', n], ignore: at, rtol: 0.1, atol: 2}\n  c/: [x, y]\n"
    assert parse(text, "x").tables == (
        TableSpec("b.csv", 3, ("id",)),
        TableSpec("d/*.parquet", 4, ("id", "n"), ("at",), 0.1, 2.0),
        TableSpec("c", 5, ("x", "y")),
    )
    assert parse(b"tables:\n", "x").tables == ()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("tables: [a.csv]", 1, "must be a mapping"),
        ("tables:\n  a.csv: {keys: id}", 2, "did you mean 'key'"),
        ("tables:\n  a.csv: {key: 1}", 2, "'key' names columns"),
        ("tables:\n  a.csv: {rtol: -1}", 2, "'rtol' must be a number"),
        ("tables:\n  a.csv: {key: a, ignore: [a]}", 2, "both in 'key' and in 'ignore'"),
        ("tables:\n  /a.csv: id", 2, "it is absolute"),
        ("tables: {" + ", ".join(f"a{i}.csv: id" for i in range(1001)) + "}", 1, "more than 1,000"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, line, words):
    with pytest.raises(FormatError, match=words) as raised:
        parse(text.encode(), "x")
    assert raised.value.line == line
