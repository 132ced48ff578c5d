"""Delta tables on disk: a scan without the files that no log names, and whether what the newest version names is there.

A writer puts data files first, then the commit that names them; so what a log names is whole, and what it does not name is not part of the table yet.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.files import read_regular
from dvlite.formats import delta_log
from dvlite.formats.delta_log import FOLDER, HINT, LIMIT_BYTES, Table
from dvlite.oid import digest_bytes
from dvlite.show import quote
from dvlite.workspace.hashing import are_trusted
from dvlite.workspace.scan import DeltaTable, Scan
from dvlite.workspace.statindex import StatRows

_SHOWN = 100  # characters of a name that the log has, and no file
UNNAMED = "not in the Delta log"  # under which the files that no log names are counted


def named_only(scan: Scan, rows: StatRows | None = None) -> Scan:
    """Returns a scan without the data files that the logs of its Delta tables do not name, and with what these logs say.

    A table whose log cannot be read keeps all of its files. Of one in which nothing changed since the `rows` of the last look, which had
    named files only, the log is not read.
    """
    dropped: set[int] = set()
    for folder in list(scan.tables):
        if rows is not None and _is_as_it_was(scan, rows, folder):
            continue
        start = delta_log.inside(folder, FOLDER)
        log = {scan.paths[i][len(start) + 1 :]: i for i in below(scan, start)}
        files = delta_log.log_files(log)
        if not files:
            del scan.tables[folder]  # a folder of that name, and no table
            continue
        dropped.update(i for name, i in log.items() if delta_log.is_staged(name))
        read = _reader(scan, start)
        try:
            hint = read(HINT) if HINT in log else None  # before the log: a writer changes it last
            table = delta_log.read_table(files, read)[0]
            if hint is not None and delta_log.hinted_version(hint) not in (None, *files.checkpoints):
                raise FormatError("the checkpoint that its log names last is missing")
        except UsageError as error:  # a checkpoint, without the package that reads it
            scan.tables[folder] = DeltaTable(files.version, unread=error.hint)
            continue
        except DvliteError as error:
            scan.tables[folder] = DeltaTable(files.version, problem=error.message)
            continue
        absent, problem = _compared(scan, folder, table)
        scan.tables[folder] = DeltaTable(
            files.version, absent, problem, hint=None if hint is None else digest_bytes(hint)
        )
        dropped.update(_unnamed(scan, folder, table))
    return _without(scan, dropped) if dropped else scan


def _is_as_it_was(scan: Scan, rows: StatRows, folder: bytes) -> bool:
    now, before = below(scan, folder), below(rows.scan, folder)
    return len(now) == len(before) and are_trusted(
        scan, rows, slice(now.start, now.stop), slice(before.start, before.stop)
    )


def _without(scan: Scan, dropped: set[int]) -> Scan:
    kept = Scan(root=scan.root, shown=scan.shown, trusts_modes=scan.trusts_modes, tables=scan.tables)
    kept.left_out, kept.leftovers, kept.marks = scan.left_out, scan.leftovers, scan.marks
    kept.left_out[UNNAMED] += len(dropped)
    for i in range(len(scan.paths)):
        if i not in dropped:
            kept.copy_from(scan, i)
    return kept


def _reader(scan: Scan, folder: bytes) -> delta_log.ReadLog:
    return lambda name: read_log_file(scan.root, delta_log.inside(folder, name))


def read_log_file(root: Path, path: bytes) -> bytes:
    """Returns the bytes of a file of a log, by its path in the tracked directory. Raises FormatError for one that is gone, too large or no file."""
    name = os.fsdecode(path)
    data = read_regular(root / name, name, LIMIT_BYTES + 1)
    if data is None or len(data) > LIMIT_BYTES:
        raise FormatError(f"{name} is {'gone' if data is None else 'too large for a file of a log'}")
    return data


def _compared(scan: Scan, folder: bytes, table: Table) -> tuple[tuple[bytes, ...], str | None]:
    """Returns the files of the newest version that are not there, and why what is there cannot be that version."""
    absent: list[bytes] = []
    for file in table.live.values():
        if file.name is None:
            return (), f"its log names a file outside of it, {quote(file.path[:_SHOWN])}"
        path = delta_log.inside(folder, file.name)
        i = _find(scan, path)
        if i is None:
            absent.append(path)
        elif file.size_bytes not in (None, scan.sizes[i]):
            return (
                (),
                f"{quote(os.fsdecode(file.name))} has {scan.sizes[i]:,} bytes, and {file.size_bytes:,} by its log",
            )
        vector = None if file.vector is None else delta_log.inside(folder, file.vector)
        if vector is not None and _find(scan, vector) is None:
            absent.append(vector)
    return tuple(absent), None


def _unnamed(scan: Scan, folder: bytes, table: Table) -> Iterator[int]:
    inner = [
        other + b"/" for other in scan.tables if other.startswith(folder + b"/" if folder else b"") and other != folder
    ]
    cut = len(folder) + 1 if folder else 0
    log = FOLDER + b"/"
    for i in below(scan, folder):
        path, name = scan.paths[i], scan.paths[i][cut:]
        is_own = not name.startswith(log) and not any(map(path.startswith, inner))
        if is_own and name not in table.named and delta_log.is_data(name):
            yield i


def below(scan: Scan, folder: bytes) -> range:
    """Returns which entries of a scan lie below a folder; all of them for the tracked path itself."""
    if not folder:
        return range(len(scan.paths))
    return range(bisect_left(scan.paths, folder + b"/"), bisect_left(scan.paths, folder + b"0"))  # "0" follows "/"


def _find(scan: Scan, path: bytes) -> int | None:
    i = bisect_left(scan.paths, path)
    return i if i < len(scan.paths) and scan.paths[i] == path else None
