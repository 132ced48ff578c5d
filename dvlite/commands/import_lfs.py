"""`dvlite import-lfs`: makes tracked paths of dvlite out of files that Git LFS keeps, without git-lfs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar

from dvlite.errors import DvliteError, PartlyDone
from dvlite.moving.lfs_history import rewrite_history
from dvlite.moving.lfs_import import move
from dvlite.moving.lfs_tree import read_tree
from dvlite.moving.taken_over import TakenOver
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.show import Show, count


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ImportLfsResult(Result):
    """Paths that dvlite tracks now. `left`: what stays with Git LFS, with the reason; `attributes`: files that lost patterns of Git LFS.

    Where all of history was rewritten, `paths` has each content that any commit names; `refs` moved, `commits` are new, and `commit_map` lists them.
    """

    schema: ClassVar[str] = "dvlite.import-lfs/1"
    paths: tuple[TakenOver, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    dry_run: bool = False
    absent: bool = False  # data of some path is not on disk
    staged: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    commits: int = 0
    commit_map: str = ""
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns that something stays with Git LFS."""
        if not self.left:
            return None
        return PartlyDone(f"{count(len(self.left), 'file')} could not be imported", hint="see above; the rest is done")


def import_lfs(
    repo: Repo,
    *,
    all_history: bool = False,
    allow_missing: bool = False,
    dry_run: bool = False,
    progress: Progress,
) -> ImportLfsResult:
    """Replaces pointers of Git LFS in git's index by dvlite's, with the data in the cache; all is staged. Data on disk is not touched.

    With `all_history`, does so in each commit of all branches and tags, which get new ones; what they named stays below `refs/original/`.
    Raises UsageError where Git LFS keeps nothing or its pointers are not committed, ObjectMissing and ObjectCorrupt for data that is
    nowhere whole: no file was changed then.
    """
    started = time.monotonic()
    with repo.lock(progress):
        if all_history:
            history = rewrite_history(repo, allow_missing=allow_missing, dry_run=dry_run, progress=progress)
            return ImportLfsResult(
                paths=tuple(history.paths),
                left=history.left,
                dry_run=dry_run,
                absent=any(not (repo.root / item.path).exists() for item in repo.work_tree.tracked()),
                refs=tuple(history.refs),
                commits=history.commits,
                commit_map=history.commit_map,
                elapsed_seconds=time.monotonic() - started,
                warnings=tuple(history.notes),
            )
        moved = move(repo, read_tree(repo), allow_missing=allow_missing, dry_run=dry_run, progress=progress)
        return ImportLfsResult(
            paths=tuple(moved.paths),
            left=moved.left,
            attributes=tuple(moved.attributes),
            dry_run=dry_run,
            absent=not all((repo.root / row.path).exists() for row in moved.paths),
            staged=tuple(moved.written),
            elapsed_seconds=time.monotonic() - started,
            warnings=tuple(moved.notes),
        )
