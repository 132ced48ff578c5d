"""Opens files of other programs, which may come from strangers: ordinary files only, never through a link, never waiting."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from dvlite import files
from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.show import quote

ODD = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
"""What a reader meets where a value is of another kind than its program writes."""
Database = sqlite3.Connection
_SMALL_BYTES = 16 << 20
_LONGEST_BYTES = 64 << 20  # of a value in a database
_SQLITE = b"SQLite format 3\0"
_MOST_ENTRIES = 200_000  # of the folders below one that is searched


def open_file(path: Path) -> BinaryIO:
    """Opens an ordinary file to read from its start. Raises DvliteError for anything else."""
    try:
        file = open(os.open(path, files.READ | files.NO_FOLLOW), "rb")  # noqa: SIM115  # the caller closes it
    except OSError as error:
        raise files.os_error(error, "read", path) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FormatError(f"cannot read {quote(str(path))}: it is not an ordinary file")
    return file


def odd(where: str) -> FormatError:
    """Returns the error for a run with such a value."""
    return FormatError(f"cannot read {where}: it holds a value that its program does not write")


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a small file of JSON, an empty one where there is none that can be read."""
    try:
        with open_file(path) as file:
            value = json.loads(file.read(_SMALL_BYTES))
    except (DvliteError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


@contextlib.contextmanager
def open_database(
    path: Path, shown: str, program: str, tables: Sequence[str], *, hint: str, unread: str
) -> Iterator[Database]:
    """Opens a file of SQLite with the tables of a program, to read only; its triggers and views run nothing that is not safe.

    Raises UsageError for another file (`hint`), and for one that cannot be read (`unread`), also while it is read.
    """
    with open_file(path) as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            raise UsageError(f"{quote(shown)} is no database of SQLite", hint=hint)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.text_factory = lambda data: data.decode("utf-8", "replace")
            database.execute("PRAGMA trusted_schema = OFF")
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_BYTES)
            known = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not known.issuperset(tables):  # a view of such a name could be a query without end
                raise UsageError(f"{quote(shown)} is no database of {program}", hint=hint)
            yield database
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            message = f"another program writes into {quote(shown)} ({error})"
            raise DvliteError(message, hint="wait for it, then run the same command again") from error
        raise UsageError(
            f"{quote(shown)} is no database of {program} that can be read ({error})", hint=unread
        ) from error


def files_below(folder: Path, ending: str) -> Iterator[Path]:
    """Yields the files in a folder, and in the folders below it, whose names end so, in order; links are not followed."""
    seen = 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        seen += len(folders) + len(names)
        if seen > _MOST_ENTRIES:
            raise UsageError(f"{quote(str(folder))} has more than {_MOST_ENTRIES} files", hint="name a folder below it")
        yield from (Path(place, name) for name in sorted(names) if name.endswith(ending))
