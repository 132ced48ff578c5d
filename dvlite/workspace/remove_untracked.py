"""Removes the data of paths that were tracked here and that no pointer or lockfile names any more."""

from __future__ import annotations

import os
from collections.abc import Collection

from dvlite.files import quote, word
from dvlite.formats.pointer import SUFFIX
from dvlite.repo import committed_versions
from dvlite.workspace.hashing import HashOnly
from dvlite.workspace.overwrite_safety import is_earlier_version
from dvlite.workspace.restore import CheckedOutPath, remove_tree
from dvlite.workspace.workspace import Workspace


def remove_untracked(
    work: Workspace, tracked: set[str], *, only: Collection[str] | None = None
) -> list[CheckedOutPath]:
    """Removes paths that were tracked here and that nothing names any more, if all their bytes are in the cache; with `only`, of those.

    `tracked` is everything that is named now: to be asked only where every pointer and lockfile could be read.
    """
    done = []
    for path in list(work.known_paths()):
        if only is not None and path not in only:
            continue
        if path in tracked or any(path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in tracked):
            continue
        if work.is_behind_link(path) or os.path.lexists(work.location(path + SUFFIX)):
            continue  # not ours to judge: the place is elsewhere, or the pointer is there and could not be used
        shown = work.repo.display(path)
        found = work.scan(path)
        if found is not None:
            have = work.identify(path, found, HashOnly())
            cached = is_earlier_version(work, path, have)
            if cached and not committed_versions.is_committed(work.repo.git, path):
                work.progress.warn(
                    f"{quote(shown)} is not tracked any more; it is left alone, for no commit has it ({_settles(shown)})"
                )
                continue
            if not cached or work.repo.git.tracked_under([path]):
                if not cached:
                    work.progress.warn(
                        f"{quote(shown)} is not tracked any more; it is left alone, for it holds data that no version of it has ({_settles(shown)})"
                    )
                continue
            remove_tree(work, path, have)
            done.append(CheckedOutPath(path=path, removed=len(have.scan)))
        work.forget(path)
    return done


def _settles(shown: str) -> str:
    again = word(shown)
    return f"to track it: dvlite add {again}; to be rid of it: rm -r {again}"
