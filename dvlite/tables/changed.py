"""The tables among files that changed, and how the rows of their two versions differ."""

from __future__ import annotations

import contextlib
import posixpath
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import FormatError, ObjectCorrupt, ObjectMissing
from dvlite.files import os_error
from dvlite.formats.tables import TableSpec
from dvlite.oid import parse_oid
from dvlite.store.cache import Cache
from dvlite.tables.declared import table_at
from dvlite.tables.diff import Matching, TableDiff
from dvlite.tables.relation import format_of
from dvlite.tables.versions import StoredFile, compare_versions, lay
from dvlite.workspace.changes import FileChange

NOT_HERE = "not all of its data is in the cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsOfTable:
    """How the rows of one file, or of one folder that is a table, differ. `tables` are those of a database; else there is one."""

    path: str
    tables: tuple[TableDiff, ...] = ()
    problem: str | None = None  # why its rows could not be compared


@dataclass(frozen=True, slots=True)
class RowOptions:
    """How rows are compared: `key` instead of what is declared, `columns` the only ones to compare, `limit` rows to list (0: all)."""

    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    limit: int = 20


@dataclass(frozen=True, slots=True)
class ChangedTable:
    """A table some of whose files changed, by what is declared or by folders `name=value`; else a file by itself."""

    path: str
    spec: TableSpec | None
    files: list[FileChange]

    def sides(self, disk: Path | None = None) -> Iterator[list[StoredFile]]:
        """Yields its files in the old version, and those in the new one, which is below the folder `disk` if that is given."""
        old = [(change.old_path or change.path, change.old_oid, change.old_size_bytes, None) for change in self.files]
        new = [
            (change.path, change.oid, change.size_bytes, None if disk is None else disk / change.path)
            for change in self.files
        ]
        for side in (old, new):
            yield [
                StoredFile(self._named(path), parse_oid(oid)[1], size or 0, on_disk)
                for path, oid, size, on_disk in side
                if oid is not None
            ]

    def _named(self, path: str) -> str:
        return posixpath.basename(path) if path == self.path else path.removeprefix(f"{self.path}/")


def tables_among(
    known: Mapping[str, TableSpec], files: Sequence[FileChange]
) -> tuple[list[ChangedTable], list[FileChange]]:
    """Returns the tables among files that changed, by path, and the files that are none. `known` are the declared tables."""
    tables: dict[str, ChangedTable] = {}
    others = []
    for change in files:
        if _names(change) and change.kind == "file" and change.old_kind in (None, "file"):
            spec = table_at(known, change.path)
            root = spec.path if spec is not None else _partitioned(change.path)
            tables.setdefault(root, ChangedTable(root, spec, [])).files.append(change)
        else:
            others.append(change)
    return [table for _, table in sorted(tables.items())], others


def _names(change: FileChange) -> bool:
    return all(format_of(name) is not None for name in (change.path, change.old_path) if name is not None)


def _partitioned(path: str) -> str:
    """Returns the folder above the first folder `name=value`, or the path itself."""
    parts = path.split("/")
    at = next((i for i, part in enumerate(parts[:-1]) if "=" in part.strip("=")), 0)
    return "/".join(parts[:at]) if at else path


def compare_rows(cache: Cache, table: ChangedTable, options: RowOptions, *, disk: Path | None = None) -> RowsOfTable:
    """Compares the rows of the two versions of a table, which the cache has, or (`disk`) the work tree.

    What cannot be read is a problem in the result. Raises ObjectMissing and ObjectCorrupt, and UsageError for a column that is unknown.
    """
    how, spec = Matching(), table.spec
    if spec is not None:
        how = Matching(spec.key, "declared", spec.ignore, spec.rtol, spec.atol)
    if options.key:
        how = Matching(options.key, "given", how.ignore, how.rtol, how.atol)
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        try:
            old, new = (
                lay(side, Path(folder, word), cache)
                for word, side in zip(("old", "new"), table.sides(disk), strict=True)
            )
            diffs = compare_versions(old, new, how, only=options.columns, limit=options.limit)
        except FormatError as error:
            return RowsOfTable(path=table.path, problem=error.message)
        except OSError as error:
            raise os_error(error, "write", folder) from error
    return RowsOfTable(path=table.path, tables=tuple(diffs))


def outside_delta(files: Sequence[FileChange]) -> list[FileChange]:
    """Returns the files that are not in a Delta table whose log changed: what happened there, the log says."""
    logs = tuple(f"{change.path.partition('/_delta_log/')[0]}/" for change in files if "/_delta_log/" in change.path)
    return [change for change in files if not change.path.startswith(logs)]


def cached_rows(cache: Cache, table: ChangedTable, limit: int, *, disk: Path | None = None) -> RowsOfTable:
    """As `compare_rows`, but fetches nothing and raises nothing: a version that the cache lacks is a problem, too."""
    files = [file for side in table.sides(disk) for file in side]
    if all(file.on_disk is not None or cache.has_file(file.digest, file.size_bytes) for file in files):
        with contextlib.suppress(ObjectMissing, ObjectCorrupt):
            return compare_rows(cache, table, RowOptions(limit=limit), disk=disk)
    return RowsOfTable(path=table.path, problem=NOT_HERE)
