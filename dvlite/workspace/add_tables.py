"""What `add` does about tables in the data: a Delta table is read as one version, and refused if it is none; others are named."""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from dvlite.errors import FileChanged, ObjectCorrupt, ObjectMissing, StrangeFile, UsageError
from dvlite.formats import delta_log, manifest, table_formats
from dvlite.formats.delta_log import FOLDER, HINT
from dvlite.formats.table_formats import TableFormat
from dvlite.oid import Digest
from dvlite.show import quote, some, word
from dvlite.workspace import sparse
from dvlite.workspace.add_checks import AddTarget
from dvlite.workspace.delta_changes import version_side
from dvlite.workspace.delta_scan import below, named_only
from dvlite.workspace.hashing import Reader, Snapshot, identify
from dvlite.workspace.scan import Scan, selected_scan
from dvlite.workspace.statindex import StatRows
from dvlite.workspace.workspace import Workspace

_LOOKS = 3  # at a table that is being written to


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFound:
    """A folder that is a table of another program; `version` is known of a Delta table whose log was read."""

    path: str  # inside the tracked directory; empty for all of it
    format: TableFormat
    version: int | None = None


def tables_in(scan: Scan) -> tuple[TableFound, ...]:
    """Returns the folders of a scan that are tables, in the order of their paths."""
    found = []
    for mark in scan.marks:
        folder, _, log = mark.rpartition(b"/")
        form = table_formats.format_of(log, (scan.paths[i][len(mark) + 1 :] for i in below(scan, mark)))
        delta = scan.tables.get(folder)
        if form is not None:
            version = delta.version if form == "delta" and delta is not None else None
            found.append(TableFound(path=os.fsdecode(folder), format=form, version=version))
    return tuple(sorted(found, key=attrgetter("path")))


def iceberg_warnings(shown: str, tables: Sequence[TableFound]) -> list[str]:
    """Returns what a copy of an Iceberg table cannot do, for the first of several."""
    names = [f"{shown}/{table.path}".rstrip("/") for table in tables if table.format == "iceberg"]
    what = "is an Iceberg table: its metadata names files by absolute paths, so a copy elsewhere does not open before these are rewritten"
    return [f"{quote(name)} {what}" for name in names[:1]]


class TablesReader:
    """Reads data with Delta tables in it, for a version: each as it is at one moment. `warnings` say what was taken as it is all the same."""

    def __init__(self, work: Workspace, target: AddTarget, reader: Reader, source: Path | None, *, force: bool) -> None:
        self._work, self._target, self._reader, self._source, self._force = work, target, reader, source, force
        inside = sparse.selector(target.inside) if target.inside else None
        self._chooses = inside or work.removable(target.path)
        self._inside = inside
        self.warnings: list[str] = []

    def read(self, scan: Scan) -> Snapshot:
        """Returns what is on disk, read, of the parts that were named; looks again if a writer went on meanwhile.

        Raises StrangeFile for a table that is not whole, or a mixture of two, unless such are to be taken as well.
        """
        work, target = self._work, self._target
        torn: tuple[str, str] | None = None
        rows = work.stat_rows(target.path) if self._source is None else None
        lacking = work.cache.lacking if self._source is None else None
        for _ in range(_LOOKS):
            scan = self._part(named_only(scan) if None in scan.tables.values() else scan)
            before, torn = torn, self._torn(scan)
            if torn is not None and torn == before and not self._force:
                break  # it does not change
            if torn is None or self._force:
                snapshot = identify(scan, rows, work.progress, self._reader, lacking=lacking)
                if not _has_moved_on(snapshot):
                    self._warn_or_refuse(snapshot, torn)
                    return snapshot
                rows, lacking = StatRows(snapshot.scan, snapshot.digests, bytes(snapshot.racy)), None
            scan = work.scan(target.path, self._source) or scan
        if torn is not None:
            raise self._refusal(torn, "copy the table again, its log first and then its files")
        raise FileChanged(
            f"cannot add {quote(work.repo.display(target.path))}: a Delta table in it changes faster than it is read",
            hint="run the command again when less is written to it",
        )

    def _part(self, scan: Scan) -> Scan:
        """Returns the part of a scan that was named. Raises UsageError for a part of a table, which no version of it would be."""
        if self._inside is None:
            return scan
        part = selected_scan(scan, self._inside)
        for folder in () if self._force else scan.tables:
            if 0 < len(below(part, folder)) < len(below(scan, folder)):
                table = self._shown(os.fsdecode(folder))
                raise UsageError(
                    f"cannot add a part of {quote(table)}: its files and its log are one Delta table",
                    hint=f"dvlite add {word(table)}",
                )
        return part

    def _torn(self, scan: Scan) -> tuple[str, str] | None:
        """Returns the folder of a table that is not whole, and why."""
        for folder, table in scan.tables.items():
            if table is None or not below(scan, folder):
                continue
            absent = [path for path in table.absent if not self._is_kept(path)]
            problem = table.problem
            if problem is None and absent:
                start = len(folder) + 1 if folder else 0
                names = some([quote(os.fsdecode(path[start:])) for path in absent], 1)
                are = "is" if len(absent) == 1 else "are"
                problem = f"version {table.version} of the table names {names}, which {are} not here"
            if problem is not None:
                return os.fsdecode(folder), problem
        return None

    def _is_kept(self, path: bytes) -> bool:
        """Returns whether a file that is not on disk stays in the version all the same: it was never here."""
        old = self._target.old
        if old is None or old.kind != "directory" or self._chooses is None or self._chooses(path):
            return False
        try:
            return manifest.find(old.digest, path, self._work.cache.read_node) is not None
        except ObjectMissing:
            return True

    def _warn_or_refuse(self, snapshot: Snapshot, torn: tuple[str, str] | None) -> None:
        found = torn or self._mixed(snapshot)
        if found is not None and not self._force:
            checkout = f"to have that of the pointer: dvlite checkout --force {self._word()}"
            raise self._refusal(found, checkout)
        if found is not None:
            self.warnings.append(f"{quote(self._shown(found[0]))} is added as it is: {found[1]}")
        for folder, table in snapshot.scan.tables.items():
            if table is not None and table.unread is not None:
                name = quote(self._shown(os.fsdecode(folder)))
                self.warnings.append(
                    f"whether {name} is whole is not known: its log begins with a checkpoint ({table.unread})"
                )

    def _mixed(self, snapshot: Snapshot) -> tuple[str, str] | None:
        """Returns the folder of a table whose log is a mixture of that of the pointer and of another, and what shows it."""
        old = version_side(self._target.old, self._work.cache.read_node, self._work.cache)
        for folder in snapshot.scan.tables:
            log = delta_log.inside(folder, FOLDER)
            rows = below(snapshot.scan, log)
            now = {snapshot.scan.paths[i][len(log) + 1 :]: snapshot.digest(i) for i in rows}
            with contextlib.suppress(ObjectMissing, ObjectCorrupt):
                before = {entry.path: entry.digest for entry in old.below(log)}
                first = delta_log.mixed_at(_by_version(before), _by_version(now))
                if first is not None:
                    return (
                        os.fsdecode(folder),
                        f"two histories of the table are mixed: version {first} in its log is not that of the pointer, and a later one is",
                    )
        return None

    def _refusal(self, found: tuple[str, str], remedy: str) -> StrangeFile:
        return StrangeFile(
            f"cannot add {quote(self._shown(found[0]))}: {found[1]}",
            hint=remedy
            if self._source is not None
            else f"{remedy}; to add it as it is: dvlite add --force {self._word()}",
            place=self._work.location(self._target.path),
        )

    def _shown(self, folder: str) -> str:
        return self._work.repo.display(f"{self._target.path}/{folder}".rstrip("/"))

    def _word(self) -> str:
        return word(self._work.repo.display(self._target.path))


def _by_version(names: dict[bytes, Digest]) -> dict[int, Digest]:
    return {number: names[name] for number, name in delta_log.log_files(names).commits.items()}


def _has_moved_on(snapshot: Snapshot) -> bool:
    """Returns whether a hint of the last checkpoint was written between the look at a log and the reading of the files."""
    scan = snapshot.scan
    for folder, table in scan.tables.items():
        path = delta_log.inside(folder, FOLDER + b"/" + HINT)
        i = bisect_left(scan.paths, path)
        is_there = table is not None and table.hint is not None and scan.paths[i : i + 1] == [path]
        if table is not None and is_there and snapshot.digest(i) != table.hint:
            return True
    return False
