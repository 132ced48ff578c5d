"""Parquet files, by way of pyarrow (the extra `arrow`): tables written, and rows of others read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Literal

from dvlite.errors import FormatError, UsageError
from dvlite.show import size_text

ColumnType = Literal["text", "number", "whole", "truth", "time"]
_ROWS_AT_ONCE = 65_536
_BYTES_AT_ONCE = 1 << 28  # a few kilobytes may decode to any number of bytes: one long text that each row repeats
_MOST_BYTES = 1 << 32
_NAMES: Mapping[ColumnType, str] = {"text": "string", "number": "double", "whole": "int64", "truth": "bool"}


def write(file: BinaryIO, columns: Mapping[str, ColumnType], parts: Iterable[Sequence[Sequence[Any]]]) -> None:
    """Writes a table, part by part; each part has a list of values for each column, None where there is none."""
    pyarrow, parquet = _packages()
    types = {
        name: pyarrow.timestamp("ms", tz="UTC") if kind == "time" else pyarrow.type_for_alias(_NAMES[kind])
        for name, kind in columns.items()
    }
    schema = pyarrow.schema([*zip(_legal([*types]), types.values(), strict=True)])
    with parquet.ParquetWriter(file, schema) as writer:
        for part in parts:
            arrays = [
                pyarrow.array(_legal(values) if columns[name] == "text" else values, kind)
                for values, (name, kind) in zip(part, types.items(), strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def _legal(texts: Sequence[str | None]) -> list[str | None]:
    """Returns texts that are UTF-8: names of files may have bytes that are not."""
    return [None if text is None else text.encode("utf-8", "replace").decode() for text in texts]


def rows(file: BinaryIO, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the rows of a file with those of these columns that it has, some thousands in memory.

    Raises FormatError for a file of another kind, and for one that decodes to more than anyone writes.
    """
    pyarrow, parquet = _packages()
    try:
        opened = parquet.ParquetFile(file)
        left = _MOST_BYTES
        known = [name for name in columns if name in opened.schema_arrow.names]
        for batch in opened.iter_batches(batch_size=_rows_at_once(opened.metadata), columns=known):
            left -= batch.nbytes
            if left < 0:
                raise FormatError(f"it decodes to more than {size_text(_MOST_BYTES)}")
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise FormatError(f"it is no Parquet file that can be read ({type(error).__name__})") from error


def _rows_at_once(metadata: Any) -> int:
    """Returns how many rows fit into memory even if each holds the longest text that a column can have."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    chunks = (group.column(i) for group in groups for i in range(group.num_columns))
    longest = max((chunk.total_uncompressed_size for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"), default=0)
    return int(max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // max(1, longest))))


def _packages() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            "Parquet needs the package pyarrow, which is not installed", hint="pip install 'dvlite[arrow]'"
        ) from None
    return pa, parquet
