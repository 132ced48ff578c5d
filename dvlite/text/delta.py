"""What happened to a Delta table, in words: `version 3 -> 5, +1,200 -3 rows`, a line for each commit and each column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dvlite.show import Show, count, one_line, printable
from dvlite.text.style import table

if TYPE_CHECKING:
    from dvlite.formats.delta_log import DeltaCommit, SchemaChange  # slow to load, and mostly there is no such table
    from dvlite.workspace.delta_changes import DeltaChange

_MOST = 20  # commits, and columns of them
_WIDEST = 60  # characters of a name or type


def heading(change: DeltaChange) -> str:
    """Returns all of it in a line: `version 3 -> 5, +1,200 -3 rows, +2 -1 files`."""
    return ", ".join(filter(None, (versions(change), rows(change), files(change))))


def versions(change: DeltaChange) -> str:
    """Returns `version 3 -> 5`, or `new, at version 0`."""
    old, new = change.old_version, change.version
    if old is None or new is None:
        return f"gone, was at version {old:,}" if new is None and old is not None else f"new, at version {new or 0:,}"
    undone = [commit.version for commit in change.commits if commit.undone]
    is_other = 0 < len(undone) < len(change.commits)
    return f"version {old:,} -> {new:,}" + (f" of another history after version {undone[0] - 1:,}" if is_other else "")


def rows(change: DeltaChange | DeltaCommit) -> str:
    """Returns `+1,200 -3 rows`; nothing if they are not known."""
    if change.rows_added is None or change.rows_removed is None:
        return ""
    return _signed(change.rows_added, change.rows_removed, "row")


def files(change: DeltaChange | DeltaCommit) -> str:
    """Returns `+2 -1 files`."""
    return _signed(change.files_added, change.files_removed, "file")


def _signed(added: int, removed: int, noun: str) -> str:
    numbers = [f"{sign}{number:,}" for sign, number in (("+", added), ("-", removed)) if number]
    return f"{' '.join(numbers)} {noun if added + removed == 1 else noun + 's'}" if numbers else ""


def operations(change: DeltaChange) -> str:
    """Returns what was done, without repetitions: `WRITE (Append), DELETE`."""
    return ", ".join(dict.fromkeys(one_line(commit.operation) for commit in change.commits[-_MOST:]))


def lines(change: DeltaChange, show: Show) -> Iterator[str]:
    """Yields a line for each commit, the oldest first, and for each column that changed."""
    if change.problem is not None:
        yield f"  {one_line(change.problem)}"
    shown = change.commits if show.verbose else change.commits[-_MOST:]
    if len(change.commits) > len(shown):
        yield f"  {count(len(change.commits) - len(shown), 'earlier commit')}, all of them with -v"
    marks = ("+ ", "- ") if any(commit.undone for commit in change.commits) else ("", "")
    yield from table(
        (
            (
                f"{marks[commit.undone]}{commit.version:,}",
                (commit.time or "")[:16].replace("T", " "),
                one_line(commit.operation),
                rows(commit),
                files(commit),
            )
            for commit in shown
        ),
        indent="  ",
    )
    columns = [f"  {marks[commit.undone]}{column_text(column)}" for commit in shown for column in commit.columns]
    yield from columns if show.verbose else columns[:_MOST]
    if len(columns) > _MOST and not show.verbose:
        yield f"  {count(len(columns) - _MOST, 'more column')}, all of them with -v"


def column_text(column: SchemaChange) -> str:
    """Returns `column city added, string`."""
    name, kind = printable(column.column[:_WIDEST]), printable(column.type[:_WIDEST])
    if column.change == "renamed":
        retyped = "" if column.old_type is None else f", {printable(column.old_type[:_WIDEST])} -> {kind}"
        return f"column {printable((column.old_column or '')[:_WIDEST])} renamed to {name}{retyped}"
    if column.change == "retyped":
        return f"column {name}: {printable((column.old_type or '')[:_WIDEST])} -> {kind}"
    return f"column {name} {column.change}, {kind}"
