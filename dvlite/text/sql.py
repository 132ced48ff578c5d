"""The words of `sql`: the rows as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dvlite.commands.sql import SqlResult
from dvlite.show import Show, count, printable_text, size_text
from dvlite.text.style import table

_LONGEST = 60  # letters of a cell
_NO_VALUE = "NULL"
_RIGHT = ("INT", "DOUBLE", "FLOAT", "DECIMAL")  # types whose cells stand on the right


def text(result: SqlResult, show: Show) -> Iterator[str]:
    """Yields the rows as a table, and what was read for them."""
    if result.output is not None:
        yield f"Wrote {count(result.rows_written, 'row')} to {show.path(result.output)}."
    else:
        heads = [printable_text(column.name) for column in result.columns]
        rows = [[_cell(value) for value in row] for row in result.rows]
        rights = [any(part in column.type for part in _RIGHT) for column in result.columns]
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        aligned = [
            [cell.rjust(width) if right else cell for cell, width, right in zip(row, widths, rights, strict=True)]
            for row in (heads, *rows)
        ]
        yield from table(aligned)
        if not show.quiet:
            if result.more:
                yield f"The first {count(len(rows), 'row')}; all: --limit 0, or -o FILE"
            elif len(rows) != 1:
                yield count(len(rows), "row")
    if result.received_bytes and not show.quiet:
        yield f"{size_text(result.received_bytes)} received from the remote"


def _cell(value: Any) -> str:
    text = _NO_VALUE if value is None else printable_text(value if isinstance(value, str) else _json(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
