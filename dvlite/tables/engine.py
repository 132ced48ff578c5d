"""The table engine: DuckDB in memory, shut off from everything but the files it is given. The only module that knows DuckDB.

A connection reads the files that it was opened with and its own temporary folder. It writes no file, uses no network, loads no extension
and no variable of the program, and cannot be unlocked by a query. Memory is limited: what does not fit goes to the temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dvlite.errors import FormatError, UsageError
from dvlite.show import printable_text

MEMORY_BYTES = 256 << 20
_MOST_THREADS = 4  # each holds buffers of its own
_MOST_LETTERS = 300  # of what DuckDB says
_ADVICE = ("Possible", "file =", "LINE ", "Try ")
_NOT_CSV = "it is no regular CSV: a stray quote, or lines that end in different ways"
_NOISE = re.compile(r"^(?:[A-Za-z]+ )+Error: |^(?:CSV Error on Line|Error in file)\b(?=: *$)")

Connection = Any  # duckdb.DuckDBPyConnection, which mypy would need the package for


@contextlib.contextmanager
def connected(
    files: Sequence[Path] = (),
    *,
    system: Any = None,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[Connection]:
    """Opens an engine that may read these files, named exactly so in queries, and those of a file system of fsspec.

    Its temporary folder is gone afterwards. A name with `*`, `?` or `[` is a pattern to DuckDB: give links with plain names (`versions.lay`). Raises UsageError without the package.
    """
    duckdb = _package()
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        connection = duckdb.connect(
            ":memory:",
            config={
                "allow_community_extensions": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "extension_directory": os.path.join(folder, "extensions"),
                "memory_limit": f"{memory_bytes}B",
                "python_enable_replacements": "false",
                "secret_directory": os.path.join(folder, "secrets"),
                "temp_directory": os.path.join(folder, "spilled"),
                "threads": str(min(os.cpu_count() or 1, _MOST_THREADS)),
            },
        )
        try:
            if system is not None:
                connection.register_filesystem(system)
                connection.execute(f"SET allowed_directories = [{literal(f'{system.protocol}://')}]")
            connection.execute(f"SET allowed_paths = [{', '.join(literal(str(path)) for path in files)}]")
            connection.execute(f"SET home_directory = {literal(folder)}")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection
        finally:
            connection.close()


class Misread(FormatError):
    """A cell is not of the type that it is read as."""


def is_installed() -> bool:
    """Returns whether there is an engine."""
    try:
        _package()
    except UsageError:
        return False
    return True


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns an error of the engine into a FormatError: one line that begins with `what`."""
    duckdb = _package()
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise FormatError(f"{what}: its rows are too large for the memory that the table engine may take") from None
    except duckdb.ConversionException as error:
        raise Misread(f"{what}: {reason_of(str(error))}") from None
    except duckdb.Error as error:
        raise FormatError(f"{what}: {reason_of(str(error))}") from None
    except RuntimeError as error:
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from None  # which the engine took for itself


def reason_of(message: str) -> str:
    """Returns what DuckDB says, as one line that is safe to print, without its advice and without a list of its options."""
    if "state machine" in message:
        return _NOT_CSV
    lines = [line.strip() for line in message.splitlines()]
    stop = next((i for i, line in enumerate(lines) if line.startswith(_ADVICE)), None)
    text = printable_text(" ".join(_NOISE.sub("", line) for line in lines[:stop] if line))
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


def one_row(connection: Connection, sql: str) -> tuple[Any, ...]:
    """Returns the only row of a query."""
    (row,) = connection.execute(sql).fetchall()  # all: a result that is not read to its end blocks the connection
    return tuple(row)


def literal(text: str) -> str:
    """Returns a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Returns the name of a column or table as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _package() -> Any:
    try:
        import duckdb
    except ImportError:
        raise UsageError(
            "tables need the package duckdb, which is not installed", hint="pip install 'dvlite[tables]'"
        ) from None
    return duckdb
