"""`dvlite merge-driver`: what git calls to merge a pointer or lockfile that both sides changed (gitattributes(5), merge drivers).

Leaves git a merged file, or one with conflict markers; whatever the sides hold, one of the two. Runs nothing from the repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dvlite.errors import DvliteError, UsageError
from dvlite.files import quote, write_atomic
from dvlite.formats import lockfile
from dvlite.git import operation
from dvlite.merge.files import MARKER_SIZE, MergeConflict, Sides, merge_file, tracked_name
from dvlite.merge.markers import marked
from dvlite.progress import Progress
from dvlite.repo.config_files import read_regular
from dvlite.repo.repository import open_repo

_MOST_MARKS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeDriverResult:
    """What git gets of a merge of one file: merged, or conflict markers and why. Not for people: git calls the driver."""

    schema: ClassVar[str] = "dvlite.merge-driver/1"
    path: str  # the tracked path, or the lockfile
    merged: bool
    conflicts: tuple[MergeConflict, ...] = ()
    rebasing: bool = False  # git's line about that has no end yet
    problem: str | None = None  # why it could not be merged at all
    hint: str | None = None


def merge_driver(
    start: Path, environ: Mapping[str, str], words: Sequence[str], *, ancestor: bool = False, progress: Progress
) -> MergeDriverResult:
    """Merges the files that git names: ancestor, ours (which becomes the result), theirs, length of markers, path.

    With `ancestor`, git makes one common ancestor out of several: what is in conflict stays as it was before both. Raises UsageError, with
    nothing written, for anything that git does not send.
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
        merged = merge_file(repo, name, sides, "base" if ancestor else "", marker_size=size, progress=progress)
    except DvliteError as error:
        write_atomic(start / words[1], marked(ours, theirs, size=size), sync=False)
        path, problem, hint = tracked_name(name), error.message, error.hint
        return MergeDriverResult(path=path, merged=False, rebasing=rebasing, problem=problem, hint=hint)
    write_atomic(start / words[1], merged.text, sync=False)
    conflicts = () if merged.settled else merged.conflicts
    return MergeDriverResult(path=tracked_name(name), merged=merged.settled, conflicts=conflicts, rebasing=rebasing)


def _read(path: Path, name: str) -> bytes:
    """Reads one of git's temporary files; raises UsageError for what is too large to be a pointer or lockfile."""
    data = read_regular(path, name, lockfile.LIMIT_BYTES + 1)
    if data is None or len(data) > lockfile.LIMIT_BYTES:
        raise UsageError(f"cannot merge {quote(name)}: it is too large for a pointer or lockfile, or not there")
    return data
