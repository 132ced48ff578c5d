"""Merges tables for the merge driver and `resolve`: which files are tables with a declared key, their data, and the list of conflicts.

The list is a CSV file beside the tracked path, which people read and may fill in: `take` of a row is `ours` or `theirs`.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dvlite.errors import DvliteError, FormatError, ObjectMissing, UsageError, reason_of
from dvlite.exports.table import csv_cell, csv_lines
from dvlite.files import read_own, write_atomic
from dvlite.formats import pointer
from dvlite.formats.manifest import Entry
from dvlite.formats.pointer import CONFLICTS_SUFFIX as SUFFIX
from dvlite.merge.files import MergeConflict
from dvlite.merge.listings import MergeContent
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.show import one_line, quote, size_text, word
from dvlite.store.cache_writer import Writer
from dvlite.tables.declared import declared, key_in_file, table_at
from dvlite.tables.merge import CellConflict, Take, merge_rows
from dvlite.tables.relation import format_of
from dvlite.tables.rewrite import can_write
from dvlite.tables.versions import StoredFile, bring, lay

_COLUMNS = ("file", "key", "column", "base", "ours", "theirs", "reason", "take")
_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class TableConflict:
    """What is in conflict in a table: cells and rows, or (`problem`) the whole, because its rows could not be merged.

    `waiting`: how many of them need a choice; `cells` are the first of them, and those that were settled.
    """

    cells: tuple[CellConflict, ...] = ()
    waiting: int = 0
    problem: str | None = None


class TableMerges:
    """Merges the tables of one tracked path; `conflicts` are what it met, by the path of the file in the repository.

    `limit_bytes`: the most that is downloaded unasked, None for no limit. `rows`: what was chosen for single rows, by file and key.
    """

    def __init__(
        self,
        repo: Repo,
        tracked: str,
        take: Take,
        progress: Progress,
        *,
        limit_bytes: int | None = None,
        rows: Mapping[tuple[str, str], Take] | None = None,
    ) -> None:
        self._repo, self._tracked, self._take, self._progress = repo, tracked, take, progress
        self._limit_bytes, self._rows = limit_bytes, rows or {}
        self._known = declared(repo.work_tree, progress.warn)
        self.conflicts: dict[str, TableConflict] = {}
        self.rows_taken = 0  # from theirs, in tables that were merged

    def content(self) -> MergeContent | None:
        """Returns what merges files, None where no table has a key: then nothing is read."""
        return self._merged if any(spec.key for spec in self._known.values()) else None

    def _merged(self, inner: bytes, base: Entry, ours: Entry, theirs: Entry) -> tuple[Entry, bool] | None:
        path = posixpath.join(self._tracked, os.fsdecode(inner)) if inner else self._tracked
        spec = table_at(self._known, path)
        key = () if spec is None else key_in_file(spec, path)
        if not key or not can_write(format_of(path)):
            return None
        name = posixpath.basename(path)
        versions = [StoredFile(name, entry.digest, entry.size_bytes) for entry in (base, ours, theirs)]
        try:
            return self._merge(path, versions, key, (base, ours, theirs))
        except (DvliteError, OSError) as error:  # as without a key: the whole file is in conflict
            hint = getattr(error, "hint", None) or ""
            self.conflicts[path] = TableConflict(
                problem="; ".join(map(one_line, filter(None, (reason_of(error), hint))))
            )
            return None

    def _merge(
        self, path: str, versions: Sequence[StoredFile], key: Sequence[str], entries: tuple[Entry, Entry, Entry]
    ) -> tuple[Entry, bool] | None:
        cache = open_cache(self._repo)
        lacking = sum(file.size_bytes for file in versions if not cache.has_file(file.digest, file.size_bytes))
        if self._limit_bytes is not None and lacking > self._limit_bytes:
            raise ObjectMissing(
                f"{size_text(lacking)} to download is more than hooks.fetch_limit",
                hint=f"dvlite resolve {word(self._repo.display(self._tracked))}",
            )
        bring(self._repo, cache, path, versions, self._progress)
        inner = path if path == self._tracked else path.removeprefix(f"{self._tracked}/")
        with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
            target = Path(folder, "merged")
            files = lay(versions, Path(folder, "versions"), cache)
            rows = {row: take for (file, row), take in self._rows.items() if file == inner}
            merged = merge_rows(files, key, target, take=self._take, rows=rows)
            if merged.conflicts:
                self.conflicts[path] = TableConflict(merged.conflicts, merged.waiting)
            if not merged.is_settled:
                return None
            with Writer(cache) as writer, target.open("rb") as stream:
                digest, size_bytes = writer.put_stream(stream, lambda _: None)
                writer.commit()
        self.rows_taken += merged.taken
        base, ours, theirs = entries
        flags = theirs.flags if ours.flags == base.flags else ours.flags
        return Entry(ours.path, flags, size_bytes, digest), bool(merged.conflicts)

    def explained(self, conflicts: Sequence[MergeConflict]) -> tuple[MergeConflict, ...]:
        """Returns conflicts, those of tables with the number of their cells, or with why their rows could not be merged."""
        return tuple(
            conflict
            if (table := self.conflicts.get(conflict.path or "")) is None
            else replace(conflict, cells=table.waiting, problem=table.problem)
            for conflict in conflicts
        )

    def listed(self, *, is_settled: bool) -> str | None:
        """Writes the list of cells in conflict beside the tracked path, or removes it if there are none; returns its path.

        Raises UsageError where that is no place to write: behind a link, or where another file is.
        """
        target = self._repo.root / f"{self._tracked}{SUFFIX}"
        rows = [
            (
                path if path == self._tracked else path.removeprefix(f"{self._tracked}/"),
                *(cell.key, cell.column, cell.base, cell.ours, cell.theirs, cell.reason, cell.take),
            )
            for path, conflict in sorted(self.conflicts.items())
            for cell in conflict.cells
        ]
        if is_settled or not rows:
            if is_list(target):
                target.unlink()
            return None
        is_behind_link = os.path.realpath(target.parent) != str(target.parent)
        if is_behind_link or (os.path.lexists(target) and not is_list(target)):
            shown = self._repo.display(f"{self._tracked}{SUFFIX}")
            reason = "it is behind a symbolic link" if is_behind_link else "another file has that name"
            raise UsageError(
                f"cannot list the cells in conflict in {quote(shown)}: {reason}",
                hint=f"dvlite resolve {word(self._repo.display(self._tracked))} --ours or --theirs",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in csv_lines([_COLUMNS, *rows]))
        write_atomic(target, text.encode("utf-8", "surrogateescape"), sync=False)
        return f"{self._tracked}{SUFFIX}"


# --- the list of conflicts ---


def is_list(path: Path) -> bool:
    """Returns whether a file is such a list: nothing else is ever removed."""
    data = read_own(path, _LIMIT_BYTES) if path.is_file() and not path.is_symlink() else None
    return data is not None and data.startswith(f"{','.join(_COLUMNS)}\n".encode())


def remove_stale(repo: Repo, tracked: Iterable[str]) -> list[str]:
    """Removes lists beside tracked paths that are in no conflict, as after `git merge --abort`, which runs no hook; returns their names."""
    waiting = repo.git.unmerged()
    names = [f"{path}{SUFFIX}" for path in tracked if path + pointer.SUFFIX not in waiting]
    in_git = set(repo.git.tracked_under(names))
    stale = [name for name in names if name not in in_git and is_list(repo.root / name)]
    for name in stale:
        os.unlink(repo.root / name)
    return stale


def listed_rows(repo: Repo, tracked: str) -> dict[tuple[str, str], Take]:
    """Returns the rows that the list beside a tracked path has, by file and key, each with what is under `take`; nothing without a list.

    Raises FormatError for another word there.
    """
    path = repo.root / f"{tracked}{SUFFIX}"
    if not is_list(path):
        return {}
    found: dict[tuple[str, str], Take] = {}
    data = (read_own(path, _LIMIT_BYTES) or b"").decode("utf-8", "replace")
    for row in csv.DictReader(io.StringIO(data)):
        take = (row.get("take") or "").strip()
        if take not in ("", "ours", "theirs"):
            shown = quote(repo.display(f"{tracked}{SUFFIX}"))
            raise FormatError(
                f"cannot use {shown}: {quote(take[:40])} under 'take'", hint="write ours, theirs or nothing"
            )
        name = (row.get("file") or "", _as_it_was(row.get("key") or ""))
        found[name] = "ours" if take == "ours" else "theirs" if take == "theirs" else found.get(name, "")
    return found


def _as_it_was(cell: str) -> str:
    """Returns a cell without the mark that `csv_cell` puts before a formula."""
    return cell[1:] if cell.startswith("'") and csv_cell(cell[1:]) == cell else cell
