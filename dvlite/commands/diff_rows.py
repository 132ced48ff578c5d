"""`dvlite diff --rows`: which rows and cells of a table differ between two versions of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import TableResult, even, plain
from dvlite.show import Show, quote
from dvlite.tables.changed import RowOptions, RowsOfTable, compare_rows, tables_among
from dvlite.tables.declared import declared
from dvlite.tables.diff import RowChange, TableDiff
from dvlite.tables.relation import FORMATS
from dvlite.tables.versions import bring
from dvlite.workspace.changes import FileChange


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
    tables, others = tables_among(declared(repo.work_tree, progress.warn), files)
    if others and not tables:
        raise UsageError(f"{quote(path)} is not a table", hint=f"tables end in {', '.join(FORMATS)}")
    disk = repo.root if sides[1] == "workspace" else None
    found = []
    for table in tables:
        bring(repo, cache, table.path, [file for side in table.sides(disk) for file in side], progress)
        progress.start(f"comparing the rows of {repo.display(table.path)}")
        found.append(compare_rows(cache, table, options, disk=disk))
        progress.finish()
    kept = tuple(rows for rows in found if rows.tables or rows.problem is not None)
    return DiffRowsResult(old=sides[0], new=sides[1], path=path, paths=kept, limit=options.limit, others=len(others))
