"""The dialect of a CSV file, by its first row."""

import pytest

from dvlite.errors import FormatError
from dvlite.tables.csv import dialect


@pytest.mark.parametrize(
    ("text", "name", "delimiter", "columns", "end"),
    [
        ("a,b;c\n1", "t.csv", ",", ("a", "b;c"), "\n"),
        ("a;b;c\r\n", "t.csv", ";", ("a", "b", "c"), "\r\n"),
        ("a,b\tc\n", "t.TSV", "\t", ("a,b", "c"), "\n"),
        ('"a,b"|"c\nd"|"e""f"\rx', "t.csv", "|", ("a,b", "c\nd", 'e"f'), "\r"),
        ("\ufeffone", "t.csv", ",", ("one",), "\n"),
    ],
)
def test_delimiter_columns_and_line_end(tmp_path, text, name, delimiter, columns, end):
    path = tmp_path / "t"
    path.write_text(text, newline="")
    found = dialect(path, name)
    assert (found.delimiter, found.columns, found.end) == (delimiter, columns, end)


def test_a_first_row_that_never_ends_is_refused(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(b'"' + b"x\n" * 1_000_000)
    with pytest.raises(FormatError, match="its first row is longer"):
        dialect(path, "t.csv")
