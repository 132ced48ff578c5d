"""`dvlite merge-driver`: what git calls to merge a pointer or lockfile that both sides changed (gitattributes(5), merge drivers).

Writes a merged file, or one with conflict markers, whatever the sides contain. Runs nothing from the repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dvlite.errors import DvliteError, UsageError
from dvlite.files import read_regular, write_atomic
from dvlite.formats import lockfile
from dvlite.git import operation
from dvlite.merge.files import (
    MARKER_SIZE,
    MergeConflict,
    Sides,
    can_union,
    choices_of,
    declares_tables,
    merge_file,
    name_inside,
    reason_text,
    tracked_name,
)
from dvlite.merge.markers import marked
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_repo
from dvlite.results import Result
from dvlite.show import Show, quote

if TYPE_CHECKING:
    from dvlite.tables.merge_files import TableMerges

_MOST_MARKS = 100


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MergeDriverResult(Result):
    """The merge of one file: merged, or with conflict markers and why. Git calls the driver, not a user."""

    schema: ClassVar[str] = "dvlite.merge-driver/1"
    path: str  # the tracked path, or the lockfile
    merged: bool
    conflicts: tuple[MergeConflict, ...] = ()
    rebasing: bool = False  # git's line about that has no end yet
    problem: str | None = None  # why it could not be merged at all
    hint: str | None = None
    listed: str | None = None  # the file that lists the cells in conflict, of tables

    def failure(self, show: Show) -> DvliteError | None:
        """Returns why the file could not be merged."""
        if self.merged:
            return None
        name = quote(show.path(self.path))
        again = f"dvlite resolve {show.word(self.path)}"
        if self.problem is not None:
            hint = "\n".join(filter(None, (self.hint, None if again in (self.hint or "") else f"then: {again}")))
            return DvliteError(f"cannot merge {name}: {self.problem}", hint=hint)
        choices = choices_of(self.conflicts, can_union=can_union(self.path, self.conflicts))
        message = f"cannot merge {name}: {_summary(self.path, self.conflicts, show)}"
        cells = [] if self.listed is None else [f"the cells are listed in {show.word(self.listed)}"]
        return DvliteError(message, hint="\n".join([*cells, f"{again} {' or '.join(choices)}"]))


def _summary(path: str, conflicts: Sequence[MergeConflict], show: Show) -> str:
    """Returns all conflicts in a sentence: `changed on both sides: a.jpg, b.jpg and 2 more; removed by ours: c.jpg`."""
    parts = []
    for reason, group in groupby(sorted(conflicts, key=reason_text), key=reason_text):
        listed = show.some([name for conflict in group if (name := name_inside(path, conflict))])
        parts.append(reason + (f": {listed}" if listed else ""))
    return "; ".join(parts)


def merge_driver(
    start: Path, environ: Mapping[str, str], words: Sequence[str], *, ancestor: bool = False, progress: Progress
) -> MergeDriverResult:
    """Merges the files that git names: ancestor, ours (which becomes the result), theirs, length of markers, path.

    With `ancestor`, git merges several common ancestors into one: conflicts keep the version before both. Raises UsageError, with
    nothing written, for arguments that git does not pass.
    """
    if len(words) != 5:
        raise UsageError("merge-driver is called by git, with 5 words", hint="dvlite resolve PATH")
    size = int(words[3]) if words[3].isascii() and words[3].isdigit() and words[3] != "0" else MARKER_SIZE
    name = words[4]
    base, ours, theirs = (_read(start / file, name) for file in words[:3])
    sides = Sides(base or None, ours, theirs)
    size = min(size, _MOST_MARKS)
    rebasing = False
    try:
        repo = open_repo(start, environ)
        rebasing = operation.is_rebasing(repo.git_dir)
        path = tracked_name(name)
        tables = None if ancestor else _tables(repo, path, progress)
        merged = merge_file(
            repo,
            name,
            sides,
            "base" if ancestor else "",
            content=None if tables is None else tables.content(),
            marker_size=size,
            progress=progress,
        )
        listed = None if tables is None else tables.listed(is_settled=merged.settled)
    except DvliteError as error:
        write_atomic(start / words[1], marked(ours, theirs, size=size), sync=False)
        path, problem, hint = tracked_name(name), error.message, error.hint
        return MergeDriverResult(path=path, merged=False, rebasing=rebasing, problem=problem, hint=hint)
    write_atomic(start / words[1], merged.text, sync=False)
    conflicts = merged.conflicts if tables is None else tables.explained(merged.conflicts)
    return MergeDriverResult(
        path=path,
        merged=merged.settled,
        conflicts=() if merged.settled else conflicts,
        rebasing=rebasing,
        listed=listed,
    )


def _tables(repo: Repo, path: str, progress: Progress) -> TableMerges | None:
    """Returns what merges the rows of tables, None where none is declared."""
    if not declares_tables(repo.work_tree):
        return None
    from dvlite.tables.merge_files import TableMerges

    return TableMerges(repo, path, "", progress, limit_bytes=repo.config.limit_bytes("hooks.fetch_limit"))


def _read(path: Path, name: str) -> bytes:
    """Reads one of git's temporary files; raises UsageError for what is too large to be a pointer or lockfile."""
    data = read_regular(path, name, lockfile.LIMIT_BYTES + 1)
    if data is None or len(data) > lockfile.LIMIT_BYTES:
        raise UsageError(f"cannot merge {quote(name)}: it is too large for a pointer or lockfile, or not there")
    return data
