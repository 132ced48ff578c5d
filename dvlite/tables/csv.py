"""CSV as the table engine reads it: the dialect and the columns of a file, found in its first row.

All cells are text as it stands in the file; an empty cell is no value. Python's own reader splits only the first row.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import FormatError
from dvlite.show import printable

MOST_COLUMNS = 2000  # the engine holds a vector of each, for each version and thread
_HEAD_BYTES = 1 << 20  # of a first row, and about that of any line: the engine may lose a longer one without a word
_LINE_END = re.compile(rb"\r\n|\n|\r")
_DELIMITERS = ",;\t|"
_MARK = b"\xef\xbb\xbf"  # of UTF-8, as spreadsheets write it


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How a file is written, and the names in its first row. `size_bytes`: of that row, a mark before it and its end included."""

    delimiter: str
    columns: tuple[str, ...]
    size_bytes: int
    end: str  # of a line
    is_quoted: bool  # all names are in quotes


def dialect(path: Path, name: str) -> CsvDialect:
    """Reads the first row. The delimiter is a tab for `.tsv`, else which of `,` `;` tab and `|` there is most of. Raises FormatError."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FormatError("it is not UTF-8")
    start = len(_MARK) if head.startswith(_MARK) else 0
    size = _row_bytes(head, start)
    if size is None:
        raise FormatError(f"its first row is longer than {_HEAD_BYTES:,} bytes")
    try:
        text = head[start:size].decode()
    except UnicodeDecodeError:
        raise FormatError("it is not UTF-8") from None
    end = "\r\n" if text.endswith("\r\n") else "\r" if text.endswith("\r") else "\n"
    row = text.rstrip("\r\n")
    if not row.strip():
        raise FormatError("it has no first row with the names of columns")
    delimiter = "\t" if name.lower().endswith(".tsv") else max(_DELIMITERS, key=_outside_quotes(row).count)
    try:
        names = next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise FormatError(f"its first row cannot be read: {error}") from None
    if len(names) > MOST_COLUMNS:
        raise FormatError(f"it has {len(names):,} columns, more than {MOST_COLUMNS:,}")
    twice = (
        next((one for i, one in enumerate(names) if one in names[:i]), None) if len(set(names)) < len(names) else None
    )
    if twice is not None:
        raise FormatError(f"two of its columns are called '{printable(twice[:40])}'")
    is_quoted = row.count('"') >= 2 * len(names) and row.startswith('"') and row.endswith('"')
    return CsvDialect(delimiter, tuple(names), size, end, is_quoted)


def require_lines(path: Path) -> None:
    """Raises FormatError for a file with a line that the engine does not read."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_HEAD_BYTES):
            if len(piece) == _HEAD_BYTES and b"\n" not in piece and b"\r" not in piece:
                raise FormatError("a line of it is longer than 1 MiB")


def _row_bytes(head: bytes, start: int) -> int | None:
    """Returns where the first row ends, past line breaks inside of quotes; None if it is not in `head`."""
    at, quotes = start, 0
    for end in _LINE_END.finditer(head, start):
        quotes += head.count(b'"', at, end.start())
        at = end.end()
        if quotes % 2 == 0:
            return at
    return len(head) if len(head) < _HEAD_BYTES else None


def _outside_quotes(row: str) -> str:
    return "".join(row.split('"')[::2])


def reader_sql(paths: str, found: CsvDialect) -> str:
    """Returns how SQL reads files of one dialect; the columns are called `c0`, `c1` and so on."""
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(found.columns)))
    delimiter = "\\t" if found.delimiter == "\t" else found.delimiter
    return (
        f"read_csv({paths}, auto_detect = false, header = true, columns = {{{columns}}}, delim = '{delimiter}',"
        " quote = '\"', escape = '\"', nullstr = '')"
    )
