"""`dvlite diff --rows`: which rows and cells of a table differ between two versions of its files."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.files import os_error
from dvlite.formats.tables import TableSpec
from dvlite.oid import parse_oid
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import TableResult, even, plain
from dvlite.show import Show, quote
from dvlite.store.cache import Cache
from dvlite.tables.declared import declared, table_at
from dvlite.tables.diff import Matching, RowChange, TableDiff
from dvlite.tables.relation import FORMATS, format_of
from dvlite.tables.versions import StoredFile, bring, compare_versions, lay
from dvlite.workspace.changes import FileChange


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsOfTable:
    """How the rows of one file, or of one folder that is a table, differ. `tables` are those of a database; else there is one."""

    path: str
    tables: tuple[TableDiff, ...] = ()
    problem: str | None = None  # why its rows could not be compared


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DiffRowsResult(TableResult):
    """Rows and cells that differ between two versions of tables (`workspace` or a revision as given)."""

    schema: ClassVar[str] = "dvlite.diff-rows/1"
    ROWS = ("paths", RowChange)
    old: str
    new: str
    path: str  # as it was asked for
    paths: tuple[RowsOfTable, ...] = ()
    limit: int = 0  # so many rows of each table are listed; 0: all
    others: int = 0  # files that differ and are no tables
    warnings: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """Returns a row for each cell that differs, and one for each row that was added or removed."""
        return even(record for path in self.paths for diff in path.tables for record in _records(path.path, diff))

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what could not be compared."""
        broken = next((path for path in self.paths if path.problem is not None), None)
        if broken is None:
            return None
        return FormatError(
            f"cannot compare the rows of {quote(show.path(broken.path))}: {broken.problem}",
            hint=f"the files as such: dvlite diff -- {show.word(broken.path)}",
        )


def _records(path: str, diff: TableDiff) -> Iterator[dict[str, Any]]:
    for row in diff.rows:
        first = {"path": path, "table": diff.table, "change": row.change, "key": plain(dict(row.key))}
        for cell in row.cells:
            yield {**first, "column": cell.column, "old": cell.old, "new": cell.new}
        if row.change != "modified":
            yield {**first, "values": plain(dict(row.values))}


@dataclass(frozen=True, slots=True)
class RowOptions:
    """How rows are compared: `key` instead of what is declared, `columns` the only ones to compare, `limit` rows to list (0: all)."""

    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    limit: int = 20


def diff_rows(
    repo: Repo,
    path: str,
    sides: tuple[str, str],
    files: Sequence[FileChange],
    options: RowOptions,
    *,
    progress: Progress,
) -> DiffRowsResult:
    """Compares the rows of the tables among `files`, which differ between two sides as `diff` found them.

    Files of one declared folder, and those below folders `name=value`, are one table. What the cache lacks is fetched. A table that cannot
    be read stops no other. Raises UsageError for a path that is no table, and ObjectMissing.
    """
    cache = open_cache(repo)
    known = declared(repo.work_tree, progress.warn)
    tables: dict[str, tuple[TableSpec | None, list[FileChange]]] = {}
    others = 0
    for change in files:
        if _names(change) and change.kind == "file" and change.old_kind in (None, "file"):
            spec = table_at(known, change.path)
            root = spec.path if spec is not None else _partitioned(change.path)
            tables.setdefault(root, (spec, []))[1].append(change)
        else:
            others += 1
    if others and not tables:
        raise UsageError(f"{quote(path)} is not a table", hint=f"tables end in {', '.join(FORMATS)}")
    found = []
    for root, (spec, changes) in sorted(tables.items()):
        place = _TableAt(repo.root, cache, root, on_disk=sides[1] == "workspace")
        versions = list(place.sides(changes))
        bring(repo, cache, root, [file for side in versions for file in side], progress)
        progress.start(f"comparing the rows of {repo.display(root)}")
        found.append(_compare(place, spec, versions, options))
        progress.finish()
    kept = tuple(table for table in found if table.tables or table.problem is not None)
    return DiffRowsResult(old=sides[0], new=sides[1], path=path, paths=kept, limit=options.limit, others=others)


def _names(change: FileChange) -> bool:
    return all(format_of(name) is not None for name in (change.path, change.old_path) if name is not None)


def _partitioned(path: str) -> str:
    """Returns the folder above the first folder `name=value`, or the path itself."""
    parts = path.split("/")
    at = next((i for i, part in enumerate(parts[:-1]) if "=" in part.strip("=")), 0)
    return "/".join(parts[:at]) if at else path


@dataclass(frozen=True, slots=True)
class _TableAt:
    """A table: its path, and where its versions are. `on_disk`: the new one is in the work tree."""

    root: Path
    cache: Cache
    path: str
    on_disk: bool

    def named(self, path: str) -> str:
        """Returns the name of a file in the table."""
        return posixpath.basename(path) if path == self.path else path.removeprefix(f"{self.path}/")

    def sides(self, changes: Sequence[FileChange]) -> Iterator[list[StoredFile]]:
        """Yields the files of the old version, and those of the new one."""
        old = [(change.old_path or change.path, change.old_oid, change.old_size_bytes, None) for change in changes]
        new = [
            (change.path, change.oid, change.size_bytes, self.root / change.path if self.on_disk else None)
            for change in changes
        ]
        for side in (old, new):
            yield [
                StoredFile(self.named(path), parse_oid(oid)[1], size or 0, disk)
                for path, oid, size, disk in side
                if oid is not None
            ]


def _compare(
    place: _TableAt, spec: TableSpec | None, versions: Sequence[Sequence[StoredFile]], options: RowOptions
) -> RowsOfTable:
    how = Matching()
    if spec is not None:
        how = Matching(spec.key, "declared", spec.ignore, spec.rtol, spec.atol)
    if options.key:
        how = Matching(options.key, "given", how.ignore, how.rtol, how.atol)
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        try:
            old, new = (
                lay(side, Path(folder, word), place.cache) for word, side in zip(("old", "new"), versions, strict=True)
            )
            diffs = compare_versions(old, new, how, only=options.columns, limit=options.limit)
        except FormatError as error:
            return RowsOfTable(path=place.path, problem=error.message)
        except OSError as error:
            raise os_error(error, "write", folder) from error
    return RowsOfTable(path=place.path, tables=tuple(diffs))
