"""What happened to Delta tables between two versions of a tracked path, by their logs alone: commits, rows, files, columns. No data is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dvlite.errors import DvliteError, FormatError, ObjectMissing
from dvlite.formats import delta_log, manifest
from dvlite.formats.delta_log import FOLDER, LIMIT_BYTES, DeltaCommit, Table
from dvlite.formats.manifest import Entries, Entry, ReadNode
from dvlite.formats.pointer import Pointer
from dvlite.oid import Digest
from dvlite.store.cache import Cache
from dvlite.workspace import sparse
from dvlite.workspace.changes import Pair
from dvlite.workspace.delta_scan import read_log_file
from dvlite.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaChange:
    """How a Delta table differs between two sides; a version is null where there is no table. Rows and files are sums over its commits; null: not known."""

    path: str  # of its folder, relative to the repository
    old_version: int | None = None
    version: int | None = None
    rows_added: int | None = None
    rows_removed: int | None = None
    files_added: int = 0
    files_removed: int = 0
    commits: tuple[DeltaCommit, ...] = ()  # those of the old side that are undone first
    problem: str | None = None  # why its log could not be read


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: the entries below a folder, with paths inside that, and the bytes of the entry at a path."""

    below: Callable[[bytes], Sequence[Entry]]
    read: Callable[[bytes, Entry], bytes]
    done: dict[tuple[bytes, Digest], DeltaCommit] = field(default_factory=dict)  # what is known of commits


Part = tuple[Mapping[int, Entry], Side]  # commits of a side, by their numbers
Bring = Callable[[str], object]
_LOGS = ("**/_delta_log/*.json", "**/_delta_log")  # checkpoints are large, and mostly not needed


def version_side(version: Pointer | None, read_node: ReadNode, cache: Cache) -> Side:
    """Returns a version of a directory as a side; reads no more of its listing than may hold what is asked for."""

    def below(folder: bytes) -> list[Entry]:
        if version is None or version.kind != "directory":
            return []
        reach = sparse.reach([sparse.literal(os.fsdecode(folder))])
        leaves = manifest.leaves(version.digest, read_node, may_hold=reach)
        return [entry for leaf in leaves for entry in leaf.subtree(folder)]

    def read(path: bytes, entry: Entry) -> bytes:
        if entry.size_bytes > LIMIT_BYTES:
            raise FormatError(f"{os.fsdecode(path)} is too large for a file of a log")
        return cache.read_file(entry.digest, entry.size_bytes)

    return Side(below, read)


def disk_side(work: Workspace, path: str, entries: Entries) -> Side:
    """Returns what is on disk at a tracked directory as a side."""
    return Side(entries.subtree, lambda inside, _: read_log_file(work.location(path), inside))


def table_changes(
    path: str, pairs: Iterable[Pair], old: Side, new: Side, bring: Bring | None = None
) -> tuple[DeltaChange, ...]:
    """Returns the Delta tables in a tracked path whose commits differ, of all pairs of entries that do.

    `bring` fetches files of logs, by a pattern, that the cache lacks.
    """
    tables: dict[bytes, tuple[dict[int, Entry], dict[int, Entry]]] = {}
    for pair in pairs:
        for position, entry in enumerate(pair):
            found = None if entry is None else delta_log.commit_number(entry.path)
            if entry is not None and found is not None:
                tables.setdefault(found[0], ({}, {}))[position][found[1]] = entry
    changes = []
    for folder, (before, after) in sorted(tables.items()):
        log = delta_log.inside(folder, FOLDER)
        old_version, version = version_of(old, log), version_of(new, log)
        name = f"{path}/{os.fsdecode(folder)}".rstrip("/")
        undone = {
            n: entry for n, entry in before.items() if n in after or version is None or n > version
        }  # the rest expired
        change = DeltaChange(path=name, old_version=old_version, version=version)
        changes.append(_explained(change, log, (undone, old), (after, new), bring))
    return tuple(changes)


def _explained(change: DeltaChange, log: bytes, undone: Part, after: Part, bring: Bring | None) -> DeltaChange:
    """Returns a change with what its commits did, or with why that is not known."""
    try:
        for pattern in (*_LOGS, ""):
            try:
                commits = [replace(commit, undone=True) for commit in _commits(log, *undone)]
                return _summed(change, commits + _commits(log, *after))
            except ObjectMissing:
                if bring is None or not pattern:
                    break
                bring(pattern)
    except DvliteError as error:
        return replace(change, problem=error.message)
    return replace(change, problem="its log is not in the cache")


def _summed(change: DeltaChange, commits: Sequence[DeltaCommit]) -> DeltaChange:
    gains = [(c.rows_removed, c.rows_added) if c.undone else (c.rows_added, c.rows_removed) for c in commits]
    return replace(
        change,
        rows_added=_sum(gain for gain, _ in gains),
        rows_removed=_sum(loss for _, loss in gains),
        files_added=sum(c.files_removed if c.undone else c.files_added for c in commits),
        files_removed=sum(c.files_added if c.undone else c.files_removed for c in commits),
        commits=tuple(commits),
    )


def version_of(side: Side, log: bytes) -> int | None:
    """Returns the newest version of the Delta table that has its log in this folder; None if there is none."""
    files = delta_log.log_files(entry.path for entry in side.below(log))
    return files.version if files else None


def _sum(rows: Iterable[int | None]) -> int | None:
    numbers = list(rows)
    return None if None in numbers else sum(number for number in numbers if number is not None)


def _commits(log: bytes, wanted: Mapping[int, Entry], side: Side) -> list[DeltaCommit]:
    """Returns what some commits of one side did, in order; all of its log is read only if they do not say it themselves."""
    done = side.done
    if any((log, entry.digest) not in done for entry in wanted.values()) and not _say_it_all(log, wanted, side):
        entries = {entry.path: entry for entry in side.below(log)}
        _, commits = delta_log.read_table(
            delta_log.log_files(entries), lambda name: side.read(delta_log.inside(log, name), entries[name])
        )
        names = delta_log.log_files(entries).commits
        done.update({(log, entries[names[commit.version]].digest): commit for commit in commits})
    return [done[log, wanted[n].digest] for n in sorted(wanted)]


def _say_it_all(log: bytes, wanted: Mapping[int, Entry], side: Side) -> bool:
    """Takes note of what commits did, if all of them say it without those before."""
    found: dict[tuple[bytes, Digest], DeltaCommit] = {}
    for n, entry in wanted.items():
        actions = delta_log.parse_actions(side.read(entry.path, entry), f"version {n}")
        commit = Table(known=False).commit(n, actions)
        if not commit.is_whole or any("metaData" in action for action in actions):
            return False
        found[log, entry.digest] = commit
    side.done.update(found)
    return True
