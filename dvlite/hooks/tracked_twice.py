"""Finds files that git and dvlite both track: each would restore its own version of them.

Costs a few calls for each file, and no run of git unless a file is likely to be tracked twice. Opens no data.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from dvlite.errors import DvliteError
from dvlite.formats.pointer import SUFFIX
from dvlite.paths import ancestors, is_inside
from dvlite.repo.tracked_paths import Tracked
from dvlite.workspace.workspace import Workspace

_LOCKFILE = "dvlite.lock"


def held_twice(work: Workspace, paths: Sequence[str], tracked_before: Iterable[str]) -> list[tuple[Tracked, list[str]]]:
    """Returns the tracked paths that some of `paths` are, or lie inside of, and those; what `.dvliteignore` names is not in them.

    `tracked_before` is what was tracked when this worktree was last looked at.
    """
    if not _is_likely(work, paths, tracked_before):
        return []
    tracked = {item.path: item for item in work.repo.work_tree.tracked(broken=[])}
    rules = work.repo.work_tree.ignore_rules
    files_by_path: dict[str, list[str]] = {}
    for path in paths:
        outer = next((above for above in (path, *ancestors(path)) if above in tracked), None)
        inside = [above for above in (path, *ancestors(path)) if outer is not None and above.startswith(outer + "/")]
        if outer is not None and not any(rules.match(above, is_dir=above != path) for above in inside):
            files_by_path.setdefault(outer, []).append(path)
    return [(tracked[outer], files) for outer, files in sorted(files_by_path.items())]


def _is_likely(work: Workspace, paths: Iterable[str], tracked_before: Iterable[str]) -> bool:
    """Returns whether any path is, or lies below, what has a pointer or was tracked here, or has the name of an output."""
    above = {folder for path in paths for folder in (path, *ancestors(path))}
    root = work.repo.root
    if any(os.path.lexists(root / (path + SUFFIX)) for path in above) or not above.isdisjoint(tracked_before):
        return True
    return any(_names_output(work, folder, above) for folder in {"", *above})


def _names_output(work: Workspace, folder: str, paths: set[str]) -> bool:
    """Returns whether the lockfile in a folder has an output with the name of a path; one that is written in another way is taken for one."""
    name = f"{folder}/{_LOCKFILE}".lstrip("/")
    try:
        data = work.repo.work_tree.read(name)
    except DvliteError:
        return False  # other commands report it
    start = len(folder) + 1 if folder else 0
    names = {os.fsencode(path[start:]) for path in paths if is_inside(path, folder)}
    return any(row.startswith(b'"') or row.partition(b":")[0] in names for row in _outputs(data or b""))


def _outputs(data: bytes) -> Iterator[bytes]:
    """Yields the rows of outputs of a lockfile."""
    inside = False
    for line in data.split(b"\n"):
        if not line.startswith(b"      "):
            inside = line == b"    outs:"
        elif inside:
            yield line[6:]
