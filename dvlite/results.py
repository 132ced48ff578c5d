"""What the results of all verbs share: a short text, a table in a notebook, and rows for pandas, polars and Arrow.

Knows no verb. pandas and pyarrow are loaded when rows are handed to them. Texts in a result may be anyone's: they are escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dvlite.errors import DvliteError
from dvlite.show import count, printable_text, value_text

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SHOWN = 20  # rows of a table in a notebook
_LONGEST = 80  # letters of a text
_OID = re.compile(r"\b((?:blake3|manifest|run):[0-9a-f]{8})[0-9a-f]{56}\b")  # of an id, people see 8 digits
_MOMENTS = frozenset({"start", "time"})  # fields that hold a time as text


class Result:
    """What a verb returns. Nothing that is as it usually is, and no long list, is in its text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _text(self)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: values, and the first rows of each list."""
        values = dict(_leaves(self))
        tables = {name: value for name, value in values.items() if _is_rows(value)}
        facts = [{"": name, type(self).__name__: _short(value)} for name, value in values.items() if name not in tables]
        parts = [_table(facts, len(facts))] if facts or not tables else []
        for name, rows in tables.items():
            parts.append(f"<p>{name}</p>{_table(even(map(record_of, rows[:_SHOWN])), len(rows))}")
        return "".join(parts)


class TableResult(Result):
    """A result that is a table. `ROWS` are the field that holds its rows, and their class."""

    __slots__ = ()

    ROWS: ClassVar[tuple[str, type]]

    def records(self) -> list[dict[str, Any]]:
        """Returns the rows as mappings with the same keys: plain values, times in UTC, names with undecodable bytes escaped."""
        return even(map(record_of, getattr(self, self.ROWS[0])))

    def to_pandas(self) -> pd.DataFrame:
        """Returns the rows as a pandas DataFrame."""
        try:
            import pandas as pd
        except ImportError as error:
            raise _missing("pandas") from error
        rows = self.records()
        return pd.DataFrame(rows, columns=list(rows[0]) if rows else self._names())

    def to_arrow(self) -> pa.Table:
        """Returns the rows as a pyarrow Table. A column whose values have no type in common is text."""
        try:
            import pyarrow as pa
        except ImportError as error:
            raise _missing("pyarrow") from error
        rows = self.records()
        columns = {}
        for name in rows[0] if rows else self._names():
            values = [row[name] for row in rows]
            try:
                columns[name] = pa.array(values)
            except (pa.ArrowException, OverflowError):
                columns[name] = pa.array([value if value is None else _as_text(value) for value in values], pa.string())
        return pa.table(columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hands the rows to whatever reads Arrow: polars.DataFrame(result), duckdb, pandas."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def _repr_html_(self) -> str:
        rows = self._view()
        return _table(rows, len(rows))

    def _view(self) -> list[dict[str, Any]]:
        """Returns the rows that a notebook shows."""
        return self.records()

    def _names(self) -> list[str]:
        """Returns the columns of a table without rows."""
        return [field.name for field in fields(self.ROWS[1]) if not str(field.type).startswith("Mapping")]


def _missing(package: str) -> DvliteError:
    return DvliteError(f"{package} is not installed", hint=f"pip install {package}; rows as they are: result.records()")


# --- rows


def record_of(row: Any) -> dict[str, Any]:
    """Returns the fields of a row as one mapping; those of mappings and dataclasses in it stand beside them."""
    cells: dict[str, Any] = {}
    for field in fields(row):
        value = getattr(row, field.name)
        if is_dataclass(value):
            inner = record_of(value)
        elif isinstance(value, Mapping):
            inner = {str(key): plain(item) for key, item in value.items()}
        else:
            inner = {field.name: moment(value) if field.name in _MOMENTS else plain(value)}
        for name, item in inner.items():
            cells[f"{field.name}.{name}" if name in cells else name] = item
    return cells


def even(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns rows with the same keys, in the order in which they came; None where a row had none."""
    uneven = list(rows)
    names = dict.fromkeys(name for row in uneven for name in row)
    return [{plain(name): row.get(name) for name in names} for row in uneven]


def plain(value: Any) -> Any:
    """Returns a value as other libraries take it: lists for tuples, text that is valid."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    return {name: plain(item) for name, item in _unusual(value)} if is_dataclass(value) else value


def moment(value: Any) -> Any:
    """Returns a time that is text as a datetime in UTC, and anything else as it is."""
    import datetime as dt

    try:
        return dt.datetime.fromisoformat(value).astimezone(dt.UTC)
    except (TypeError, ValueError, OverflowError):  # none, or a stranger's
        return plain(value)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


# --- text


def _unusual(result: Any) -> Iterator[tuple[str, Any]]:
    """Yields the fields that differ from their default."""
    for field in fields(result):
        value = getattr(result, field.name)
        if getattr(value, "INLINE", False):
            yield from _unusual(value)
        elif value != _default(field):
            yield field.name, value


def _leaves(result: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yields these fields, and those of the results and graphs that they hold, as `up.runs`."""
    for name, value in _unusual(result):
        if is_dataclass(value):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _text(result: Any) -> str:
    return f"{type(result).__name__}({', '.join(f'{name}={_short(value)}' for name, value in _unusual(result))})"


def _short(value: Any) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]}...")
    if isinstance(value, Mapping):
        return f"<{count(len(value), 'key')}>"
    if isinstance(value, tuple | list):
        short = repr(list(value)) if len(value) <= 3 and not _is_rows(value) else ""
        return (
            short if 0 < len(short) <= _LONGEST else f"<{len(value):,} x {type(value[0]).__name__}>" if value else "[]"
        )
    return _text(value) if is_dataclass(value) else repr(value)


def _is_rows(value: Any) -> bool:
    return isinstance(value, tuple | list) and bool(value) and is_dataclass(value[0])


# --- HTML


def _table(rows: Sequence[Mapping[str, Any]], total: int) -> str:
    """Returns the first rows of all, without columns that are empty in all of these."""
    if not rows:
        return "<p>no rows</p>"
    shown = rows[:_SHOWN]
    names = [name for name in rows[0] if any(row[name] not in (None, "", [], {}) for row in shown)]
    lines = [_row("th", names), *(_row("td", (_cell(row[name]) for name in names)) for row in shown)]
    rest = f"<p>and {count(total - _SHOWN, 'more row')}</p>" if total > _SHOWN else ""
    return f"<table>{''.join(lines)}</table>{rest}"


def _row(tag: str, cells: Iterable[str]) -> str:
    from html import escape  # 1 ms that no command pays, as below

    return f"<tr>{''.join(f'<{tag}>{escape(printable_text(cell))}</{tag}>' for cell in cells)}</tr>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        value = _OID.sub(r"\1", value)
        return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]}..."
    return value.isoformat(" ", "seconds") if hasattr(value, "isoformat") else value_text(value)
